# SPDX-License-Identifier: Apache-2.0
# Berth's build; `make help` lists what it can do. Sources are found by folder, so a new file needs no line here.
# Every variant of the build has its own tree:
#   build/obj (release)   build/asan (tests)   build/tsan   build/fuzz
.DELETE_ON_ERROR:
.SUFFIXES:

PREFIX  ?= /usr/local
DESTDIR ?=
CC      ?= gcc
CLANG   ?= clang-14
JOBS    ?= $(shell nproc)
VERSION := $(shell cat VERSION)
# Seconds for each target of `make fuzz`.
FUZZ_SECONDS ?= 60

FLOORS  := base db hypervisor operation scheduler storage network compute api
LIBS    := libvirt libvirt-qemu libmicrohttpd jansson sqlite3 libuv libxml-2.0 libsodium gnutls inih libsystemd uuid \
           libarchive libcrypt yaml-0.1 libcurl libseccomp
WARN    := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wvla -Wundef
HARDEN  := -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fstack-clash-protection -fcf-protection -fPIE
PKG     := $(shell pkg-config --cflags $(LIBS) 2>/dev/null)
LDLIBS  := $(shell pkg-config --libs $(LIBS) 2>/dev/null) -lpthread -lm
ifeq ($(CI),true)
WARN    += -Werror
endif
COMMON  := -std=gnu17 -D_GNU_SOURCE -DBERTH_VERSION='"$(VERSION)"' -I. $(PKG) $(WARN) -g -MMD -MP

# Instrumented code makes gcc guess wrongly about lengths and initialization; the release build has the last word on these.
GUESSES     := -Wno-error=format-truncation -Wno-error=maybe-uninitialized
CFLAGS_obj  := -O2 $(HARDEN)
CFLAGS_asan := -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined $(GUESSES)
CFLAGS_tsan := -O1 -fsanitize=thread $(GUESSES)
CFLAGS_fuzz := -O1 -fsanitize=address,undefined,fuzzer-no-link
LDFLAGS_obj := -pie -Wl,-z,relro,-z,now
LDFLAGS_asan := -fsanitize=address,undefined
LDFLAGS_tsan := -fsanitize=thread
LDFLAGS_fuzz := -fsanitize=address,undefined,fuzzer

SRC     := $(foreach d,$(FLOORS),$(wildcard $(d)/*.c))
GEN     := build/gen/migrations_embedded.c
DAEMON  := $(wildcard daemon/*.c)
UNIT    := $(wildcard tests/unit/*/test_*.c)
FUZZ    := $(wildcard tests/fuzz/fuzz_*.c)
BENCH   := $(wildcard tests/bench/*.c)
SIM     := $(wildcard tests/sim/*.c)
VERSIONED := $(shell grep -l BERTH_VERSION $(SRC) $(DAEMON))

# Where threads meet: what `make check-tsan` runs, as far as it exists.
TSAN_TESTS := test_bulk test_event_loop test_flow test_host_connection test_lane test_loop test_operation_engine \
	test_pipe test_server test_stream test_writer

.PHONY: all help
all: build/berthd ## build build/berthd (needs `tools/install-deps build`)

help: ## this list
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

# Short lines; V=1 shows the commands.
ifeq ($(V),1)
say =
else
Q   := @
say = @printf '  %-5s %s\n' $(1) $(2)
endif

# ---- the variants ----

# The archive is made anew when a source was removed, too.
.PHONY: FORCE
build/sources: FORCE
	@mkdir -p $(@D)
	@echo '$(SRC)' | cmp -s - $@ || echo '$(SRC)' >$@

# $(call variant,NAME,COMPILER): objects, the library, the daemon and the unit tests of one variant
define variant
OBJ_$(1) := $$(SRC:%.c=build/$(1)/%.o) build/$(1)/migrations_embedded.o
UNIT_$(1) := $$(UNIT:tests/unit/%.c=build/$(1)/unit/%)
ARCHIVE_$(1) := build/$(1)/libberth.a
build/$(1)/%.o: %.c
	@mkdir -p $$(@D)
	$$(call say,CC,$$@)
	$$(Q)$(2) $$(COMMON) $$(CFLAGS_$(1)) -c $$< -o $$@
build/$(1)/migrations_embedded.o: $$(GEN)
	@mkdir -p $$(@D)
	$$(call say,CC,$$@)
	$$(Q)$(2) $$(COMMON) $$(CFLAGS_$(1)) -c $$< -o $$@
build/$(1)/libberth.a: $$(OBJ_$(1)) build/sources
	@rm -f $$@
	$$(call say,AR,$$@)
	$$(Q)ar rcs $$@ $$(filter %.o,$$^)
build/$(1)/berthd: $$(DAEMON:%.c=build/$(1)/%.o) build/$(1)/libberth.a
	$$(call say,LINK,$$@)
	$$(Q)$(2) $$(LDFLAGS_$(1)) $$^ $$(LDLIBS) -o $$@
# The statements' test looks at every statement of the program, so it takes every object.
build/$(1)/unit/db/test_statements: ARCHIVE_$(1) := -Wl,--whole-archive build/$(1)/libberth.a -Wl,--no-whole-archive
# A short run of the simulator is a unit test.
build/$(1)/unit/scheduler/test_balloon_sim: $$(patsubst %.c,build/$(1)/%.o,$$(filter-out %/main.c,$$(SIM)))
build/$(1)/unit/%: build/$(1)/tests/unit/%.o build/$(1)/libberth.a
	@mkdir -p $$(@D)
	$$(call say,LINK,$$@)
	$$(Q)$(2) $$(LDFLAGS_$(1)) $$(filter %.o,$$^) $$(ARCHIVE_$(1)) $$(LDLIBS) -lcmocka -o $$@
$$(VERSIONED:%.c=build/$(1)/%.o): VERSION
-include $$(OBJ_$(1):.o=.d) $$(DAEMON:%.c=build/$(1)/%.d) $$(UNIT:%.c=build/$(1)/%.d) $$(SIM:%.c=build/$(1)/%.d)
endef
$(eval $(call variant,obj,$(CC)))
$(eval $(call variant,asan,$(CC)))
$(eval $(call variant,tsan,$(CC)))
$(eval $(call variant,fuzz,$(CLANG)))

build/berthd: build/obj/berthd
	$(Q)cp -f $< $@

$(GEN): tools/embed-migrations $(wildcard migrations/*.sql)
	@mkdir -p $(@D)
	$(Q)tools/embed-migrations migrations > $@

build/fuzz/bin/%: build/fuzz/tests/fuzz/%.o build/fuzz/libberth.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CLANG) $(LDFLAGS_fuzz) $^ $(LDLIBS) -o $@
build/bench/%: build/obj/tests/bench/%.o build/obj/libberth.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS_obj) $^ $(LDLIBS) -o $@
build/sim/sim: $(SIM:%.c=build/obj/%.o) build/obj/libberth.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS_obj) $^ $(LDLIBS) -o $@
-include $(FUZZ:%.c=build/fuzz/%.d) $(BENCH:%.c=build/obj/%.d)

.SECONDARY:

# ---- what one does with it ----
# Rules that install packages run make again, because pkg-config is asked when the Makefile is read.
AGAIN := +$(MAKE) --no-print-directory -j$(JOBS)

.PHONY: demo demo-stop
demo: ## install what is missing, build, and show a VM from creation to shutdown
	tools/install-deps demo
	$(AGAIN) build/berthd
	tests/guest/build
	tools/demo

demo-stop: ## remove all that the demo made
	tools/demo-stop

# The lab's tests of itself that take longest, left to check-long.
LONG_LAB  := test_aarch64_guest_boots_answers_and_shuts_down test_guest_reboots_crashes_and_powers_off_when_told
RUN_TESTS  = tools/run-tests $(UNIT_asan:%=--unit %) --suite tests/lab --suite tests/integration

.PHONY: check check-long check-unit check-tsan test-programs
check: ## install what tests need and run them (ASan + UBSan, reduced counts): N passed, N failed
	tools/install-deps test
	$(AGAIN) test-programs
	$(RUN_TESTS) $(LONG_LAB:%=--pytest=--deselect=tests/lab/test_lab.py::%)

check-long: ## the same with full counts, a Ceph cluster and NAS
	tools/install-deps test-long
	$(AGAIN) test-programs
	BERTH_LONG=1 $(RUN_TESTS)

check-unit: $(UNIT_asan) ## the unit tests alone; installs nothing
	tools/run-tests $(UNIT_asan:%=--unit %)

test-programs: build/berthd build/asan/berthd $(UNIT_asan)
	tests/guest/build
	tests/guest/build aarch64

TSAN_UNIT := $(foreach t,$(TSAN_TESTS),$(filter %/$(t),$(UNIT_tsan)))
check-tsan: ## the tests of what threads share, built with the thread sanitizer
	tools/install-deps test
	$(AGAIN) $(TSAN_UNIT)
	TSAN_OPTIONS="$(if $(wildcard tests/tsan.supp),suppressions=tests/tsan.supp )second_deadlock_stack=1" \
		setarch -R tools/run-tests $(TSAN_UNIT:%=--unit %)

.PHONY: lint generate print-man
lint: ## check the sources against the rules of the house
	tools/install-deps lint
	$(AGAIN) build/berthd
	tools/lint

generate: build/berthd ## write docs/openapi.json, etc/berth.conf and docs/berth.conf.5 from the program's tables
	build/berthd --print-openapi | jq . > docs/openapi.json
	build/berthd --print-config > etc/berth.conf
	$(MAKE) -s print-man > docs/berth.conf.5

print-man: build/berthd
	build/berthd --print-man | sed -e '/^@OPTIONS@$$/{r /dev/stdin' -e 'd}' docs/berth.conf.5.in

.PHONY: fuzz bench
fuzz: ## fuzz each parser for FUZZ_SECONDS (60); what is found lies in build/fuzz
	tools/install-deps fuzz
	$(AGAIN) $(FUZZ:tests/fuzz/%.c=build/fuzz/bin/%)
	tools/fuzz $(FUZZ_SECONDS) $(FUZZ:tests/fuzz/%.c=build/fuzz/bin/%)

bench: ## measure, as ratios beside floors of the same run
	tools/install-deps bench
	$(AGAIN) build/berthd $(BENCH:tests/bench/%.c=build/bench/%)
	if [ -x tests/bench/run ]; then tests/bench/run; else \
		for program in $(BENCH:tests/bench/%.c=build/bench/%); do $$program || exit 1; done; fi

.PHONY: sim
sim: build/sim/sim ## run memory traces through the balloon plan and its rivals (SIM_ARGS="--family web --detail")
	build/sim/sim $(SIM_ARGS)

UNITS := $(DESTDIR)$(PREFIX)/lib/systemd/system
.PHONY: install clean
install: build/berthd ## install below DESTDIR and PREFIX (/usr/local); an existing configuration stays
	install -Dm755 build/berthd $(DESTDIR)$(PREFIX)/sbin/berthd
	install -d $(UNITS)
	sed 's,/usr/local,$(PREFIX),' etc/berthd.service > $(UNITS)/berthd.service
	install -m644 etc/berthd.socket $(UNITS)/berthd.socket
	install -Dm644 etc/sysusers.d/berth.conf $(DESTDIR)$(PREFIX)/lib/sysusers.d/berth.conf
	install -Dm644 etc/tmpfiles.d/berth.conf $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/berth.conf
	install -Dm644 docs/berthd.8 $(DESTDIR)$(PREFIX)/share/man/man8/berthd.8
	install -Dm644 docs/berth.conf.5 $(DESTDIR)$(PREFIX)/share/man/man5/berth.conf.5
	[ -e $(DESTDIR)/etc/berth/berth.conf ] || install -Dm644 etc/berth.conf $(DESTDIR)/etc/berth/berth.conf

clean: ## remove build/, except the test guest's downloads
	find build -mindepth 1 -maxdepth 1 ! -name guest -exec rm -rf {} + 2>/dev/null || true

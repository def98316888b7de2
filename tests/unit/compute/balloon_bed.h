/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The balloon controller over the fake driver, whose guests have a memory that moves. Clocks are faked: a cycle is what one
 * look at the host leads to, and a second passes between two of them.
 */
#pragma once

#include "tests/unit/compute/host_fixture.h"

#include "compute/balloon_internal.h"
#include "compute/vm.h"

#define MIB    (1LL << 20)
#define GUESTS 4
#define SIZE   512
#define FLOOR  192
#define USABLE 1536

struct bed {
	struct host_fixture *f;
	struct balloons *all;
	struct balloon_site *site;
	char host_id[UUID_TEXT_SIZE], vm_ids[GUESTS][UUID_TEXT_SIZE];
	int64_t now_ms;
	int room_calls, room_rc;
	struct err room_error;
};

/* ---- rows and guests ---- */

static inline void exec(struct bed *bed, const char *format, ...)
        __attribute__((format(printf, 2, 3)));
static inline void exec(struct bed *bed, const char *format, ...)
{
	struct str sql CLEANUP(str_done) = {0};
	va_list args;
	va_start(args, format);
	str_vprintf(&sql, format, args);
	va_end(args);
	fixture_exec(bed->f, str_text(&sql));
}

static inline void add_reservation(
        struct bed *bed, const char *vm_id, const char *state, int size_mib)
{
	exec(bed,
	        "INSERT INTO reservation (vm_id, host_id, state, size_bytes, min_bytes, max_bytes, "
	        "booked_bytes, overhead_bytes, vcpus, max_vcpus, since) VALUES ('%s', '%s', '%s', "
	        "%lld, %lld, %lld, %lld, 0, 1, 1, 0)",
	        vm_id, bed->host_id, state, size_mib * MIB, FLOOR * MIB, size_mib * MIB,
	        size_mib * MIB);
}

static inline void add_vm(
        struct bed *bed, const char *vm_id, const char *name, const char *power, const char *extra)
{
	char *spec CLEANUP(cleanup_free) =
	        str_format("{\"cpu\":{\"count\":1},\"memory\":{\"size_bytes\":%lld,"
	                   "\"min_bytes\":%lld%s}}",
	                SIZE * MIB, FLOOR * MIB, extra);
	exec(bed,
	        "INSERT INTO vm (id, name, host_id, managed, spec, active_spec, desired_power, "
	        "power, "
	        "power_since, vcpus, memory_bytes, created_at) VALUES ('%s', '%s', '%s', 1, '%s', "
	        "'%s', 'running', '%s', 0, 1, %lld, 0)",
	        vm_id, name, bed->host_id, spec, spec, power, SIZE * MIB);
}

static inline void set_used(struct bed *bed, int i, int used_mib)
{
	const struct fake_guest_memory memory = {.used_bytes = used_mib * MIB};
	fake_guest_set_memory("h1", bed->vm_ids[i], &memory);
}

static inline void set_group(struct bed *bed, const char *mode, bool is_enabled, int reserve_mib)
{
	exec(bed,
	        "UPDATE host_group SET spec = '{\"overcommit\":{\"mode\":\"%s\"},\"host_reserve\":"
	        "{\"memory_bytes\":%lld},\"balloon\":{\"enabled\":%s}}'",
	        mode, reserve_mib * MIB, is_enabled ? "true" : "false");
}

static inline int64_t current_mib(struct bed *bed, int i)
{
	return fake_guest_get_current("h1", bed->vm_ids[i]) / MIB;
}

static inline int64_t booked_mib(struct bed *bed, int i)
{
	char *sql CLEANUP(cleanup_free) = str_format(
	        "SELECT booked_bytes FROM reservation WHERE vm_id = '%s'", bed->vm_ids[i]);
	return fixture_int(bed->f, sql) / MIB;
}

static inline int64_t events(struct bed *bed, const char *event)
{
	char *sql CLEANUP(cleanup_free) =
	        str_format("SELECT count(*) FROM change WHERE event = '%s'", event);
	return fixture_int(bed->f, sql);
}

static inline const struct balloon_vm_view *shown(struct bed *bed, int i)
{
	const struct balloon_view *view = bed->site->view;
	for (size_t k = 0; k < view->vms.len; k++) {
		const struct balloon_vm_view *vm =
		        (const struct balloon_vm_view *)view->vms.items + k;
		if (str_equal(vm->id, bed->vm_ids[i]))
			return vm;
	}
	fail_msg("guest %d is not shown", i);
	return NULL;
}

/* ---- time ---- */

static inline void start_controller(struct bed *bed)
{
	const struct balloons_config config = {
	        .services = &bed->f->services, .period_ms = 10, .room_timeout_ms = 60000};
	bed->all = balloons_new(&config);
	assert_true(TURN_UNTIL(bed->f->loop, (bed->site = balloons_find(bed->all, bed->host_id))));
	assert_true(TURN_UNTIL(bed->f->loop, bed->site->roster));
}

static inline void stop_controller(struct bed *bed)
{
	change_feed_reset();
	balloons_stop(bed->all);
	assert_true(TURN_UNTIL(
	        bed->f->loop, !bed->all->is_reading_changes && !bed->site->is_recording));
	loop_turn_for(bed->f->loop, 50);
	balloons_free(bed->all);
	bed->all = NULL;
}

/* A second passes, and is seen: all that was decided has been told and written. */
static inline void cycle(struct bed *bed)
{
	bed->now_ms += 1000;
	clock_fake_set(bed->now_ms);
	assert_true(TURN_UNTIL(
	        bed->f->loop, bed->site->plan_ms == bed->now_ms && !bed->site->is_recording));
	bool is_told = false;
	while (!is_told) {
		size_t cursor = 0;
		void *value;
		is_told = true;
		while (map_next(bed->site->guests, &cursor, NULL, &value)) {
			const struct balloon_live *guest = value;
			is_told = is_told && !guest->is_telling && !guest->is_limiting;
		}
		uv_run(loop_uv(bed->f->loop), UV_RUN_NOWAIT);
	}
}

static inline void cycles(struct bed *bed, int n)
{
	for (int i = 0; i < n; i++)
		cycle(bed);
}

static inline int setup(void **state)
{
	struct bed *bed = xcalloc(1, sizeof(*bed));
	bed->f = fixture_start();
	bed->f->services.hosts = bed->f->hosts;
	bed->f->services.engine = bed->f->engine;
	bed->now_ms = clock_wall_ms();
	clock_fake_set(bed->now_ms);
	assert_int_equal(fixture_create(bed->f, bed->f->hosts, "h1", "fake:///h1?memory_mib=2048",
	                         bed->host_id),
	        0);
	assert_true(TURN_UNTIL(
	        bed->f->loop, hosts_state(bed->f->hosts, bed->host_id) == HOST_OK &&
	                              fixture_int(bed->f, "SELECT memory_bytes FROM host") > 0));
	set_group(bed, "balloon", true, 2048 - USABLE);
	for (int i = 0; i < GUESTS; i++) {
		char name[] = "vm0";
		name[2] = (char)('0' + i);
		fake_domain_foreign_add("h1", name, true, bed->vm_ids[i]);
		add_vm(bed, bed->vm_ids[i], name, "running", "");
		add_reservation(bed, bed->vm_ids[i], "running", SIZE);
		set_used(bed, i, 100);
	}
	*state = bed;
	return 0;
}

static inline int teardown(void **state)
{
	struct bed *bed = *state;
	fake_host_release("h1");
	if (bed->all)
		stop_controller(bed);
	clock_fake_set(-1);
	fixture_stop(bed->f);
	free(bed);
	return 0;
}

#define IN_BED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

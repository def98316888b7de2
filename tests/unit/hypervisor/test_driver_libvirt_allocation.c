/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory and CPU of one guest on a real libvirt and QEMU, changed while it runs, and of its host.
 * What libvirt thinks is asked of virsh, what the guest has of its balloon driver and its agent.
 */
#include "hypervisor/driver.h"

#include <dirent.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "hypervisor/domain_xml.h"
#include "hypervisor/event_loop.h"
#include "lab_libvirt.h"
#include "loop_helper.h"

#define MIB     (1024LL * 1024)
#define BOOT_MS 180000
#define MOVE_MS 60000
#define ID      "6f1f3d3e-9a6c-4e5b-8a53-0f6f6ad2b0a1"
#define CPUS    "0"

static const struct driver *const driver = &driver_libvirt;
static struct lab_libvirt lab;
static struct loop *loop;
static struct driver_connection *connection;
static struct err failure; /* of the latest call that must succeed */

#define assert_ok(call)                                                                            \
	do {                                                                                       \
		if ((call) != 0)                                                                   \
			fail_msg("%s: %s", #call, failure.message);                                \
	} while (0)

/* Asks again until it is so, or the deadline. */
#define assert_becomes(condition, ms)                                                              \
	do {                                                                                       \
		int64_t until = clock_now_ms() + (ms);                                             \
		while (!(condition) && clock_now_ms() < until)                                     \
			loop_turn_for(loop, 100);                                                  \
		assert_true(condition);                                                            \
	} while (0)

static char *definition(void)
{
	static const char *const pins[] = {CPUS, NULL};
	struct domain_config c = {.id = ID,
	        .name = "guest",
	        .domain_type = "qemu",
	        .architecture = "x86_64",
	        .machine = "q35",
	        .memory_bytes = 256 * MIB,
	        .memory_max_bytes = 512 * MIB,
	        .ballooning = true,
	        .vcpus = 1,
	        .vcpus_max = 3,
	        .cpu_model = "maximum",
	        .cpu_shares = 300,
	        .cpu_limit_percent = 90,
	        .vcpu_pins = pins,
	        .n_vcpu_pins = ARRAY_LEN(pins),
	        .iothreads = 1,
	        .memory_nodes = "0",
	        .kernel = lab.kernel,
	        .initrd = lab.initrd,
	        .cmdline = "console=ttyS0 quiet panic=-1"};
	char *xml = NULL;
	assert_ok(domain_xml_build(&c, &xml, &failure));
	return xml;
}

static struct domain_stats stats_of(unsigned groups)
{
	struct domain_stats_list list CLEANUP(domain_stats_list_done) = {0};
	assert_ok(driver->get_stats(connection, groups, &list, &failure));
	assert_int_equal(list.len, 1);
	return list.items[0];
}

static int guest_vcpus(void)
{
	int online = -1;
	return driver->get_guest_vcpus(connection, ID, &online, NULL) == 0 ? online : -1;
}

static int start_guest(void **state)
{
	(void)state;
	loop = loop_new();
	if (event_loop_register(loop, NULL) != 0 || lab_libvirt_start(&lab) != 0 ||
	        driver->open(lab.uri, NULL, NULL, &connection, NULL) != 0)
		return -1;
	char *xml CLEANUP(cleanup_free) = definition();
	assert_ok(driver->define(connection, xml, &failure));
	assert_ok(driver->start(connection, ID, &failure));
	assert_becomes(guest_vcpus() == 1, BOOT_MS);
	assert_becomes(stats_of(STATS_BALLOON).balloon_usable_bytes > 0, MOVE_MS);
	return 0;
}

static int stop_guest(void **state)
{
	(void)state;
	driver->destroy(connection, ID, NULL);
	driver->close(connection);
	int r = lab_libvirt_stop(&lab);
	uv_run(loop_uv(loop), UV_RUN_NOWAIT);
	loop_free(loop);
	return r;
}

static void assert_virsh(const char *command, const char *expected)
{
	char output[4096];
	const char *const argv[] = {"virsh", "-q", "-c", lab.uri, command, "guest", "--live", NULL};
	assert_int_equal(lab_run(argv, output, sizeof(output)), 0);
	if (!strstr(output, expected))
		fail_msg("virsh %s says '%s', not '%s'", command, output, expected);
}

static void test_guest_reports_each_second_without_being_asked_to(void **state)
{
	(void)state;
	struct domain_stats s = stats_of(STATS_ALL);
	assert_int_equal(s.state, DOMAIN_RUNNING);
	assert_int_equal(s.balloon_maximum_bytes, 256 * MIB);
	assert_int_equal(s.balloon_current_bytes, 256 * MIB);
	assert_in_range(s.balloon_available_bytes, 64 * MIB, 256 * MIB);
	assert_in_range(s.balloon_usable_bytes, 1, s.balloon_available_bytes);
	assert_in_range(s.balloon_unused_bytes, 1, s.balloon_available_bytes);
	assert_true(s.balloon_rss_bytes > 0);
	assert_true(s.balloon_major_faults >= 0 && s.balloon_minor_faults > 0);
	assert_int_equal(s.balloon_swap_in_bytes, 0);
	assert_int_equal(s.vcpus_current, 1);
	assert_int_equal(s.vcpus_maximum, 3);
	assert_true(s.cpu_time_ns > 0 && s.vcpu_delay_ns > 0 && s.vcpu_wait_ns >= 0);
	int64_t before = s.balloon_last_update_s;
	assert_becomes(stats_of(STATS_BALLOON).balloon_last_update_s >= before + 2, MOVE_MS);
}

static void test_only_the_groups_asked_for_come(void **state)
{
	(void)state;
	struct domain_stats s = stats_of(STATS_BALLOON);
	assert_int_equal(s.state, DOMAIN_RUNNING);
	assert_true(s.balloon_usable_bytes > 0);
	assert_int_equal(s.cpu_time_ns, -1);
	assert_int_equal(s.vcpus_current, -1);
	s = stats_of(STATS_CPU | STATS_VCPU);
	assert_true(s.cpu_time_ns > 0);
	assert_int_equal(s.vcpus_current, 1);
	assert_int_equal(s.balloon_current_bytes, -1);
}

/* As its running definition has it. */
static int stats_period(void)
{
	struct domain_info info CLEANUP(domain_info_done) = {0};
	struct domain_facts facts CLEANUP(domain_facts_done) = {0};
	assert_ok(driver->get_domain(connection, ID, &info, &failure));
	assert_ok(domain_xml_parse(info.live_xml, &facts, &failure));
	assert_true(facts.has_balloon);
	return facts.stats_period_s;
}

static void test_reports_stop_and_start_with_the_period(void **state)
{
	(void)state;
	assert_ok(driver->set_memory_stats_period(connection, ID, 0, &failure));
	assert_int_equal(stats_period(), 0);
	assert_ok(driver->set_memory_stats_period(connection, ID, 1, &failure));
	assert_int_equal(stats_period(), 1);
	int64_t before = stats_of(STATS_BALLOON).balloon_last_update_s;
	assert_becomes(stats_of(STATS_BALLOON).balloon_last_update_s > before, MOVE_MS);
}

static void test_balloon_is_seen_to_move(void **state)
{
	(void)state;
	struct err e = {0};
	assert_ok(driver->set_memory_live(connection, ID, 224 * MIB, &failure));
	assert_becomes(stats_of(STATS_BALLOON).balloon_current_bytes == 224 * MIB, MOVE_MS);
	assert_ok(driver->set_memory_live(connection, ID, 256 * MIB, &failure));
	assert_becomes(stats_of(STATS_BALLOON).balloon_current_bytes == 256 * MIB, MOVE_MS);
	assert_int_not_equal(driver->set_memory_live(connection, ID, 300 * MIB, &e), 0);
	assert_int_equal(stats_of(STATS_BALLOON).balloon_current_bytes, 256 * MIB);
}

static void test_shares_limit_and_pins_are_as_defined_then_as_set(void **state)
{
	(void)state;
	static const char *const pins[] = {NULL, "0-1"};
	assert_virsh("schedinfo", "cpu_shares     : 300");
	assert_virsh("schedinfo", "vcpu_quota     : 90000");
	assert_virsh("vcpupin", " 0   0\n");
	assert_ok(driver->set_cpu_live(connection, ID, 700, 40, &failure));
	assert_virsh("schedinfo", "cpu_shares     : 700");
	assert_virsh("schedinfo", "vcpu_period    : 100000");
	assert_virsh("schedinfo", "vcpu_quota     : 40000");
	assert_ok(driver->set_cpu_live(connection, ID, 0, -1, &failure));
	assert_virsh("schedinfo", "cpu_shares     : 700");
	struct cpu_pins set = {.vcpus = pins, .n_vcpus = 2, .emulator = "0", .iothreads = "0"};
	assert_ok(driver->set_cpu_pins_live(connection, ID, &set, &failure));
	assert_virsh("vcpupin", " 0   0\n");
	assert_virsh("emulatorpin", "0\n");
	assert_virsh("iothreadinfo", " 1   0");
	set = (struct cpu_pins){.emulator = "0-1"};
	assert_ok(driver->set_cpu_pins_live(connection, ID, &set, &failure));
	assert_virsh("emulatorpin", "0-1");
}

static void test_bad_pins_are_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {"", "a", "3-1", "0,", ",0", "0-", "-1", "0 1", "1024",
	        "0;1", "99999999999999999999"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err e = {0};
		struct cpu_pins set = {.emulator = bad[i]};
		assert_int_equal(driver->set_cpu_pins_live(connection, ID, &set, &e), ERR_INVALID);
	}
}

static void test_guest_uses_plugged_memory(void **state)
{
	(void)state;
	struct err e = {0};
	int64_t before = stats_of(STATS_BALLOON).balloon_available_bytes;
	assert_int_equal(driver->memory_grow_live(connection, ID, 520 * MIB, &e), ERR_UNSUPPORTED);
	assert_ok(driver->memory_grow_live(connection, ID, 384 * MIB, &failure));
	/* A step of an operation may come twice. */
	assert_ok(driver->memory_grow_live(connection, ID, 384 * MIB, &failure));
	assert_becomes(
	        (driver->memory_grow_live(connection, ID, 384 * MIB, NULL),
	                stats_of(STATS_BALLOON).balloon_available_bytes >= before + 128 * MIB),
	        MOVE_MS);
	struct domain_stats s = stats_of(STATS_BALLOON);
	assert_int_equal(s.balloon_maximum_bytes, 384 * MIB);
	assert_int_equal(s.balloon_current_bytes, 384 * MIB);
	assert_ok(driver->set_memory_live(connection, ID, 320 * MIB, &failure));
	assert_becomes(stats_of(STATS_BALLOON).balloon_current_bytes == 320 * MIB, MOVE_MS);
}

/* A guest lets go at once, but QEMU 7.2 may keep the vCPU: then it is told, with the numbers. */
static void test_guest_takes_vcpus_and_lets_them_go(void **state)
{
	(void)state;
	struct err e = {0};
	assert_ok(driver->set_vcpus_live(connection, ID, 2, &failure));
	assert_becomes(guest_vcpus() == 2, MOVE_MS);
	assert_int_equal(stats_of(STATS_VCPU).vcpus_current, 2);
	int r = driver->set_vcpus_live(connection, ID, 1, &e);
	assert_becomes(guest_vcpus() == 1, MOVE_MS);
	assert_true(r == 0 || r == ERR_DEADLINE);
	if (r != 0)
		assert_non_null(strstr(e.message, "keeps 2 vCPUs instead of 1"));
	assert_int_equal(stats_of(STATS_VCPU).vcpus_current, r == 0 ? 1 : 2);
}

static void test_host_tells_its_memory_cpu_and_pressure(void **state)
{
	(void)state;
	struct host_stats s;
	struct host_facts facts CLEANUP(host_facts_done) = {0};
	assert_ok(driver->get_host_stats(connection, &s, &failure));
	assert_ok(driver->get_facts(connection, &facts, &failure));
	assert_true(s.is_local);
	assert_int_equal(s.memory_total_bytes, facts.memory_bytes);
	assert_in_range(s.memory_free_bytes, 1, s.memory_total_bytes);
	assert_in_range(s.memory_available_bytes, 1, s.memory_total_bytes);
	assert_false(s.memory_available_is_estimate);
	assert_int_equal(s.cpus_online, facts.n_host_cpus);
	assert_true(s.swap_total_bytes >= 0);
	int64_t busy = s.cpu_busy_ns;
	assert_true(busy > 0 && s.cpu_idle_ns >= 0 && s.cpu_iowait_ns >= 0);
	assert_becomes(
	        driver->get_host_stats(connection, &s, NULL) == 0 && s.cpu_busy_ns > busy, MOVE_MS);
	if (access("/proc/pressure/memory", R_OK) == 0)
		assert_true(s.memory_pressure.some_us >= 0 && s.cpu_pressure.some_us >= 0);
}

/* The kernel is the machine's own: what is changed is put back. */
static void test_ksm_is_read_and_paced(void **state)
{
	(void)state;
	struct ksm_state before, after;
	struct err e = {0};
	int r = driver->get_ksm(connection, &before, &e);
	if (r == ERR_UNSUPPORTED)
		skip();
	assert_int_equal(r, 0);
	assert_true(before.pages_sharing >= 0 && before.saved_bytes >= 0);
	struct ksm_change change = {.run = KSM_RUN_UNKNOWN,
	        .pages_to_scan = before.pages_to_scan + 1,
	        .sleep_ms = before.sleep_ms + 1};
	if (driver->set_ksm(connection, &change, &e) == ERR_HOST_PERMISSION)
		skip();
	int r_after = driver->get_ksm(connection, &after, &failure);
	struct ksm_change back = {.run = KSM_RUN_UNKNOWN,
	        .pages_to_scan = before.pages_to_scan,
	        .sleep_ms = before.sleep_ms};
	assert_ok(driver->set_ksm(connection, &back, &failure));
	assert_int_equal(r_after, 0);
	assert_int_equal(after.pages_to_scan, before.pages_to_scan + 1);
	assert_int_equal(after.sleep_ms, before.sleep_ms + 1);
	assert_int_equal(after.run, before.run);
}

static bool is_our_qemu(const char *pid)
{
	char *path CLEANUP(cleanup_free) = str_format("/proc/%s/cmdline", pid);
	char text[4096] = "";
	FILE *f = fopen(path, "re");
	if (!f)
		return false;
	size_t n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	for (size_t i = 0; i < n; i++)
		text[i] = text[i] ? text[i] : ' ';
	return strstr(text, "qemu-system-x86_64") && strstr(text, "-uuid " ID);
}

/* Its process as seen from outside of its host. */
static pid_t qemu_pid(void)
{
	pid_t found = -1;
	DIR *proc = opendir("/proc");
	assert_non_null(proc);
	for (const struct dirent *it; (it = readdir(proc));)
		if (it->d_name[0] >= '0' && it->d_name[0] <= '9' && is_our_qemu(it->d_name))
			found = (pid_t)atoi(it->d_name);
	closedir(proc);
	assert_true(found > 1);
	return found;
}

static bool is_occupied(void)
{
	char output[256];
	const char *const argv[] = {"virsh", "-q", "-c", lab.uri, "domcontrol", "guest", NULL};
	double seconds = 0;
	return lab_run(argv, output, sizeof(output)) == 0 &&
	       sscanf(output, "occupied (%lfs)", &seconds) == 1 && seconds > 1.5;
}

static void test_hung_guest_is_told_at_once(void **state)
{
	(void)state;
	struct err e = {0};
	pid_t qemu = qemu_pid();
	kill(qemu, SIGSTOP);
	pid_t holder = fork();
	if (holder == 0) {
		execlp("virsh", "virsh", "-q", "-c", lab.uri, "setmem", "guest", "300M", "--live",
		        (char *)NULL);
		_exit(127);
	}
	/* Another's call that waits for QEMU, for longer than short jobs take. */
	assert_becomes(is_occupied(), MOVE_MS);
	struct domain_stats s = stats_of(STATS_ALLOCATION);
	assert_int_equal(s.balloon_usable_bytes, -1);
	assert_int_equal(s.balloon_last_update_s, -1);
	assert_true(s.cpu_time_ns > 0);
	assert_int_equal(driver->set_memory_live(connection, ID, 320 * MIB, &e), ERR_BUSY);
	kill(qemu, SIGCONT);
	waitpid(holder, NULL, 0);
	assert_becomes(stats_of(STATS_BALLOON).balloon_usable_bytes > 0, MOVE_MS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_guest_reports_each_second_without_being_asked_to),
	        cmocka_unit_test(test_only_the_groups_asked_for_come),
	        cmocka_unit_test(test_reports_stop_and_start_with_the_period),
	        cmocka_unit_test(test_balloon_is_seen_to_move),
	        cmocka_unit_test(test_shares_limit_and_pins_are_as_defined_then_as_set),
	        cmocka_unit_test(test_bad_pins_are_refused),
	        cmocka_unit_test(test_guest_uses_plugged_memory),
	        cmocka_unit_test(test_guest_takes_vcpus_and_lets_them_go),
	        cmocka_unit_test(test_host_tells_its_memory_cpu_and_pressure),
	        cmocka_unit_test(test_ksm_is_read_and_paced),
	        cmocka_unit_test(test_hung_guest_is_told_at_once),
	};
	return cmocka_run_group_tests(tests, start_guest, stop_guest);
}

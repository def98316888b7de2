/* SPDX-License-Identifier: Apache-2.0 */
/* Balloons, statistics, host counters, KSM and pins of the fake driver: what a controller is tested
 * against. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "hypervisor/driver.h"
#include "hypervisor/driver_fake.h"
#include "tests/unit/hypervisor/loop_helper.h"

#define HOST "test"
#define URI  "fake:///test?cpus=8&memory_mib=4096"
#define ID   "11111111-2222-4333-8444-555555555555"
#define XML                                                                                        \
	"<domain type='qemu'><name>web</name><uuid>" ID "</uuid>"                                  \
	"<maxMemory slots='4' unit='MiB'>1024</maxMemory><memory unit='MiB'>512</memory>"          \
	"<vcpu current='2'>4</vcpu><devices><memballoon model='virtio' autodeflate='on'>"          \
	"<stats period='1'/></memballoon></devices></domain>"
#define MIB      ((int64_t)1 << 20)
#define START_MS ((int64_t)1000000000)

struct fixture {
	struct loop *loop;
	struct driver_connection *c;
	int64_t now_ms;
	struct err e;
};

static const struct driver *const driver = &driver_fake;

static void pass(struct fixture *f, int64_t ms)
{
	f->now_ms += ms;
	clock_fake_set(f->now_ms);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	fake_enable();
	f->now_ms = START_MS;
	clock_fake_set(f->now_ms);
	f->loop = loop_new();
	assert_int_equal(driver->open(URI, NULL, NULL, &f->c, &f->e), 0);
	assert_int_equal(driver->define(f->c, XML, &f->e), 0);
	assert_int_equal(driver->start(f->c, ID, &f->e), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	driver->close(f->c);
	loop_free(f->loop);
	free(f);
	fake_reset();
	clock_fake_set(-1);
	return 0;
}

static struct domain_stats stats_of(struct fixture *f, unsigned groups)
{
	struct domain_stats_list list CLEANUP(domain_stats_list_done) = {0};
	assert_int_equal(driver->get_stats(f->c, groups, &list, &f->e), 0);
	assert_int_equal(list.len, 1);
	return list.items[0];
}

static void set_memory(struct fixture *f, const struct fake_guest_memory *memory)
{
	(void)f;
	fake_guest_set_memory(HOST, ID, memory);
}

static void ask(struct fixture *f, int64_t bytes)
{
	assert_int_equal(driver->set_memory_live(f->c, ID, bytes, &f->e), 0);
}

static void test_balloon_moves_at_its_speed_and_stops_at_the_target(void **state)
{
	struct fixture *f = *state;
	set_memory(f, &(struct fake_guest_memory){
	                      .used_bytes = 100 * MIB, .speed_bytes_per_s = 64 * MIB});
	ask(f, 256 * MIB);
	assert_int_equal(fake_guest_get_target(HOST, ID), 256 * MIB);
	assert_int_equal(stats_of(f, STATS_BALLOON).balloon_current_bytes, 512 * MIB);
	pass(f, 1000);
	int64_t step = 64 * MIB / 1000 * 1000;
	assert_int_equal(stats_of(f, STATS_BALLOON).balloon_current_bytes, 512 * MIB - step);
	pass(f, 60000);
	struct domain_stats s = stats_of(f, STATS_BALLOON);
	assert_int_equal(s.balloon_current_bytes, 256 * MIB);
	assert_int_equal(s.balloon_maximum_bytes, 512 * MIB);
	assert_int_equal(s.balloon_usable_bytes, 156 * MIB);
	assert_int_equal(s.balloon_last_update_s, (START_MS + 61000) / 1000);
	ask(f, 512 * MIB);
	pass(f, 500);
	assert_int_equal(fake_guest_get_current(HOST, ID), 256 * MIB + step / 2);
}

static void test_guest_with_autodeflate_takes_back_what_it_needs(void **state)
{
	struct fixture *f = *state;
	struct fake_guest_memory memory = {.used_bytes = 64 * MIB, .autodeflate = true};
	set_memory(f, &memory);
	ask(f, 192 * MIB);
	assert_int_equal(fake_guest_get_current(HOST, ID), 192 * MIB);
	memory.used_bytes = 300 * MIB;
	set_memory(f, &memory);
	struct domain_stats s = stats_of(f, STATS_BALLOON);
	assert_int_equal(s.balloon_current_bytes, 300 * MIB);
	assert_int_equal(s.balloon_usable_bytes, 0);
	assert_int_equal(s.balloon_available_bytes, 512 * MIB);
	assert_int_equal(s.balloon_major_faults, 0);
	assert_int_equal(fake_guest_get_target(HOST, ID), 192 * MIB);
	memory.used_bytes = 64 * MIB;
	set_memory(f, &memory);
	assert_int_equal(fake_guest_get_current(HOST, ID), 192 * MIB);
}

static void test_guest_without_autodeflate_faults_for_what_it_lacks(void **state)
{
	struct fixture *f = *state;
	set_memory(f, &(struct fake_guest_memory){.used_bytes = 300 * MIB});
	ask(f, 256 * MIB);
	pass(f, 1000);
	struct domain_stats s = stats_of(f, STATS_BALLOON);
	assert_int_equal(s.balloon_current_bytes, 256 * MIB);
	assert_int_equal(s.balloon_major_faults, 44 * MIB / 4096);
	assert_true(s.balloon_swap_in_bytes > 43 * MIB);
}

static void test_stuck_balloon_reports_but_stays(void **state)
{
	struct fixture *f = *state;
	set_memory(f, &(struct fake_guest_memory){
	                      .used_bytes = 100 * MIB, .balloon = FAKE_BALLOON_STUCK});
	ask(f, 256 * MIB);
	pass(f, 20000);
	struct domain_stats s = stats_of(f, STATS_BALLOON);
	assert_int_equal(s.balloon_current_bytes, 512 * MIB);
	assert_int_equal(s.balloon_usable_bytes, 412 * MIB);
	assert_int_equal(s.balloon_last_update_s, (START_MS + 20000) / 1000);
}

static void test_guest_without_driver_says_nothing_and_keeps_all(void **state)
{
	struct fixture *f = *state;
	ask(f, 256 * MIB);
	set_memory(f, &(struct fake_guest_memory){
	                      .used_bytes = 100 * MIB, .balloon = FAKE_BALLOON_NO_DRIVER});
	pass(f, 5000);
	struct domain_stats s = stats_of(f, STATS_BALLOON);
	assert_int_equal(s.balloon_current_bytes, 512 * MIB);
	assert_int_equal(s.balloon_usable_bytes, -1);
	assert_int_equal(s.balloon_available_bytes, -1);
}

static void test_silent_guest_has_old_statistics(void **state)
{
	struct fixture *f = *state;
	struct fake_guest_memory memory = {.used_bytes = 100 * MIB};
	set_memory(f, &memory);
	memory = (struct fake_guest_memory){.used_bytes = 400 * MIB, .is_silent = true};
	set_memory(f, &memory);
	pass(f, 9000);
	struct domain_stats s = stats_of(f, STATS_BALLOON);
	assert_int_equal(s.balloon_usable_bytes, 412 * MIB);
	assert_int_equal(s.balloon_last_update_s, START_MS / 1000);
}

static void test_no_period_no_reports_until_it_is_set(void **state)
{
	struct fixture *f = *state;
	char id[UUID_TEXT_SIZE];
	driver->destroy(f->c, ID, &f->e);
	fake_domain_foreign_add(HOST, "foreign", true, id);
	assert_int_equal(stats_of(f, STATS_BALLOON).balloon_usable_bytes, -1);
	assert_int_equal(driver->set_memory_stats_period(f->c, id, 1, &f->e), 0);
	assert_int_not_equal(stats_of(f, STATS_BALLOON).balloon_usable_bytes, -1);
	assert_int_equal(driver->set_memory_stats_period(f->c, ID, 1, &f->e), ERR_WRONG_STATE);
}

static void test_only_the_groups_asked_for_come(void **state)
{
	struct fixture *f = *state;
	struct domain_stats s = stats_of(f, STATS_BALLOON);
	assert_int_equal(s.state, DOMAIN_RUNNING);
	assert_int_equal(s.vcpus_current, -1);
	assert_int_equal(s.cpu_time_ns, -1);
	assert_int_equal(s.block_read_bytes, -1);
	s = stats_of(f, STATS_ALL & ~(unsigned)STATS_BALLOON);
	assert_int_equal(s.balloon_maximum_bytes, -1);
	assert_int_equal(s.vcpus_maximum, 4);
	assert_int_equal(s.vcpu_delay_ns, 0);
	assert_true(s.cpu_time_ns >= 0);
	assert_true(s.net_rx_bytes >= 0);
}

static void *ask_in_a_thread(void *arg)
{
	struct fixture *f = arg;
	ask(f, 256 * MIB);
	return NULL;
}

/* As seen with libvirt: NOWAIT skips what its QEMU would say, a live change waits. */
static void test_hung_guest_holds_changes_but_not_statistics(void **state)
{
	struct fixture *f = *state;
	pthread_t thread;
	fake_guest_set_hung(HOST, ID, true);
	int64_t before = fake_host_count_calls(HOST, "set_memory_live");
	assert_int_equal(pthread_create(&thread, NULL, ask_in_a_thread, f), 0);
	while (fake_host_count_calls(HOST, "set_memory_live") == before)
		;
	struct domain_stats s = stats_of(f, STATS_ALL);
	assert_int_equal(s.balloon_usable_bytes, -1);
	assert_int_equal(s.balloon_last_update_s, -1);
	assert_int_equal(s.balloon_current_bytes, 512 * MIB);
	assert_true(s.cpu_time_ns >= 0);
	assert_int_equal(fake_guest_get_target(HOST, ID), 512 * MIB);
	fake_guest_set_hung(HOST, ID, false);
	pthread_join(thread, NULL);
	assert_int_equal(fake_guest_get_current(HOST, ID), 256 * MIB);
}

static void test_memory_grows_to_the_maximum_of_the_definition(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(driver->set_memory_live(f->c, ID, 600 * MIB, &f->e), ERR_INVALID);
	assert_int_equal(driver->memory_grow_live(f->c, ID, 1025 * MIB, &f->e), ERR_UNSUPPORTED);
	assert_int_equal(driver->memory_grow_live(f->c, ID, 768 * MIB, &f->e), 0);
	assert_int_equal(driver->memory_grow_live(f->c, ID, 768 * MIB, &f->e), 0);
	struct domain_stats s = stats_of(f, STATS_BALLOON);
	assert_int_equal(s.balloon_maximum_bytes, 768 * MIB);
	assert_int_equal(s.balloon_current_bytes, 768 * MIB);
	assert_int_equal(s.balloon_available_bytes, 768 * MIB);
	ask(f, 600 * MIB);
	assert_int_equal(fake_guest_get_current(HOST, ID), 600 * MIB);
}

static void test_host_has_free_what_guests_leave(void **state)
{
	struct fixture *f = *state;
	struct host_stats s;
	fake_host_set_other_memory(HOST, 1024 * MIB);
	ask(f, 256 * MIB);
	assert_int_equal(driver->get_host_stats(f->c, &s, &f->e), 0);
	assert_int_equal(s.memory_total_bytes, 4096 * MIB);
	assert_int_equal(s.memory_free_bytes, (4096 - 1024 - 256) * MIB);
	assert_int_equal(s.memory_available_bytes, s.memory_free_bytes);
	assert_int_equal(s.cpus_online, 8);
	assert_int_equal(s.memory_pressure.some_us, -1);
	assert_int_equal(s.swap_total_bytes, -1);
	struct host_pressure memory = {.some_us = 5, .full_us = 2, .some_avg10_percent = 1.5};
	struct host_pressure cpu = {.some_us = 9};
	fake_host_set_pressure(HOST, &memory, &cpu);
	assert_int_equal(driver->get_host_stats(f->c, &s, &f->e), 0);
	assert_int_equal(s.memory_pressure.full_us, 2);
	assert_int_equal(s.cpu_pressure.some_us, 9);
}

static void test_ksm_is_switched_only_where_it_can_be(void **state)
{
	struct fixture *f = *state;
	struct ksm_state ksm;
	struct ksm_change change = {.run = KSM_RUN_RUNNING, .pages_to_scan = 1000};
	assert_int_equal(driver->set_ksm(f->c, &change, &f->e), 0);
	assert_int_equal(driver->get_ksm(f->c, &ksm, &f->e), 0);
	assert_int_equal(ksm.run, KSM_RUN_RUNNING);
	assert_int_equal(ksm.pages_to_scan, 1000);
	assert_int_equal(ksm.sleep_ms, 20);
	ksm = (struct ksm_state){
	        .run = KSM_RUN_UNKNOWN, .pages_to_scan = 100, .pages_sharing = 256};
	fake_host_set_ksm(HOST, &ksm);
	assert_int_equal(driver->set_ksm(f->c, &change, &f->e), ERR_UNSUPPORTED);
	assert_int_equal(driver->get_ksm(f->c, &ksm, &f->e), 0);
	assert_int_equal(ksm.pages_to_scan, 100);
	assert_int_equal(ksm.saved_bytes, MIB);
}

static void assert_pins(int vcpu, const char *expected)
{
	char *cpus CLEANUP(cleanup_free) = fake_guest_get_pins(HOST, ID, vcpu);
	assert_string_equal(cpus, expected);
}

static void test_pins_are_set_one_by_one(void **state)
{
	struct fixture *f = *state;
	const char *const first[] = {"0", "1"}, *const second[] = {NULL, "4-7"};
	struct cpu_pins pins = {.vcpus = first, .n_vcpus = 2, .emulator = "2-3"};
	assert_int_equal(driver->set_cpu_pins_live(f->c, ID, &pins, &f->e), 0);
	pins = (struct cpu_pins){.vcpus = second, .n_vcpus = 2, .iothreads = "3"};
	assert_int_equal(driver->set_cpu_pins_live(f->c, ID, &pins, &f->e), 0);
	assert_pins(0, "0");
	assert_pins(1, "4-7");
	assert_pins(2, "");
	assert_pins(-1, "2-3");
	assert_pins(-2, "3");
	pins.n_vcpus = 5;
	assert_int_equal(driver->set_cpu_pins_live(f->c, ID, &pins, &f->e), ERR_INVALID);
}

static void test_guest_tells_its_vcpus_by_its_agent(void **state)
{
	struct fixture *f = *state;
	int online = 0;
	assert_int_equal(driver->set_vcpus_live(f->c, ID, 3, &f->e), 0);
	assert_int_equal(driver->get_guest_vcpus(f->c, ID, &online, &f->e), 0);
	assert_int_equal(online, 3);
	fake_guest_set_agent(HOST, ID, false);
	assert_int_equal(driver->get_guest_vcpus(f->c, ID, &online, &f->e), ERR_UNAVAILABLE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(test_balloon_moves_at_its_speed_and_stops_at_the_target),
	        TEST(test_guest_with_autodeflate_takes_back_what_it_needs),
	        TEST(test_guest_without_autodeflate_faults_for_what_it_lacks),
	        TEST(test_stuck_balloon_reports_but_stays),
	        TEST(test_guest_without_driver_says_nothing_and_keeps_all),
	        TEST(test_silent_guest_has_old_statistics),
	        TEST(test_no_period_no_reports_until_it_is_set),
	        TEST(test_only_the_groups_asked_for_come),
	        TEST(test_hung_guest_holds_changes_but_not_statistics),
	        TEST(test_memory_grows_to_the_maximum_of_the_definition),
	        TEST(test_host_has_free_what_guests_leave),
	        TEST(test_ksm_is_switched_only_where_it_can_be),
	        TEST(test_pins_are_set_one_by_one),
	        TEST(test_guest_tells_its_vcpus_by_its_agent),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

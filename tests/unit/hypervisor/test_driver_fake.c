/* SPDX-License-Identifier: Apache-2.0 */
/* The scripted driver keeps libvirt's semantics as driver.h states them, and does what scripts say.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "hypervisor/driver.h"
#include "hypervisor/driver_fake.h"
#include "tests/unit/hypervisor/loop_helper.h"

#define HOST "test"
#define URI  "fake:///test"
#define ID   "11111111-2222-4333-8444-555555555555"
#define XML                                                                                        \
	"<domain type='qemu'><name>web</name><uuid>11111111-2222-4333-8444-555555555555</uuid>"    \
	"<metadata><b:vm xmlns:b='urn:berth:vm:1'/></metadata><memory unit='MiB'>256</memory>"     \
	"<vcpu current='2'>4</vcpu><devices><interface type='network'>"                            \
	"<mac address='52:54:00:01:02:03'/></interface></devices></domain>"

struct fixture {
	struct loop *loop;
	struct driver_connection *c;
	struct domain_event events[64];
	int n_events, n_closed;
	struct err e;
};

static const struct driver *const driver = &driver_fake;

static void on_domain(void *arg, const struct domain_event *event)
{
	struct fixture *f = arg;
	if (f->n_events < 64)
		f->events[f->n_events++] = *event;
}

static void on_closed(void *arg, const char *reason)
{
	struct fixture *f = arg;
	assert_non_null(reason);
	f->n_closed++;
}

static struct driver_connection *open_host(struct fixture *f, const char *uri)
{
	struct driver_events events = {.domain = on_domain, .closed = on_closed, .arg = f};
	struct driver_connection *c = NULL;
	assert_int_equal(driver->open(uri, f->loop, &events, &c, &f->e), 0);
	return c;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	fake_enable();
	f->loop = loop_new();
	f->c = open_host(f, URI);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	if (f->c)
		driver->close(f->c);
	loop_turn_for(f->loop, 1);
	loop_free(f->loop);
	free(f);
	fake_reset();
	return 0;
}

static void define(struct fixture *f)
{
	assert_int_equal(driver->define(f->c, XML, &f->e), 0);
}

static void define_and_start(struct fixture *f)
{
	define(f);
	assert_int_equal(driver->start(f->c, ID, &f->e), 0);
}

static enum domain_state state_of(struct fixture *f, enum domain_reason *ret_reason)
{
	struct domain_info info = {0};
	assert_int_equal(driver->get_domain(f->c, ID, &info, &f->e), 0);
	enum domain_state state = info.state;
	if (ret_reason)
		*ret_reason = info.reason;
	domain_info_done(&info);
	return state;
}

static void test_define_reads_identity_size_and_metadata(void **state)
{
	struct fixture *f = *state;
	define(f);
	struct domain_info info = {0};
	assert_int_equal(driver->get_domain(f->c, ID, &info, &f->e), 0);
	assert_string_equal(info.name, "web");
	assert_string_equal(info.xml, XML);
	assert_null(info.live_xml);
	assert_true(info.is_ours && info.persistent);
	assert_int_equal(info.state, DOMAIN_SHUTOFF);
	domain_info_done(&info);
	char id[UUID_TEXT_SIZE];
	assert_int_equal(driver->find_domain(f->c, "web", id, &f->e), 0);
	assert_string_equal(id, ID);
}

static void test_define_refuses_a_taken_name_and_bad_xml(void **state)
{
	struct fixture *f = *state;
	define(f);
	assert_int_equal(driver->define(f->c, XML, &f->e), 0);
	assert_int_equal(driver->define(f->c,
	                         "<domain><name>web</name><memory>1024</memory></domain>", &f->e),
	        ERR_EXISTS);
	assert_int_equal(driver->define(f->c, "<domain><name>", &f->e), ERR_HYPERVISOR);
	assert_int_equal(
	        driver->define(f->c, "<domain><memory>1</memory></domain>", &f->e), ERR_HYPERVISOR);
	struct domain_list list = {0};
	assert_int_equal(driver->list_domains(f->c, &list, &f->e), 0);
	assert_int_equal(list.len, 1);
	domain_list_done(&list);
}

static void test_power_calls_are_idempotent_and_checked(void **state)
{
	struct fixture *f = *state;
	enum domain_reason reason;
	define(f);
	assert_int_equal(driver->destroy(f->c, ID, &f->e), 0);
	assert_int_equal(driver->pause(f->c, ID, &f->e), ERR_WRONG_STATE);
	assert_int_equal(driver->shutdown(f->c, ID, SHUTDOWN_ACPI, &f->e), ERR_WRONG_STATE);
	for (int i = 0; i < 2; i++)
		assert_int_equal(driver->start(f->c, ID, &f->e), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(driver->pause(f->c, ID, &f->e), 0);
	assert_int_equal(state_of(f, &reason), DOMAIN_PAUSED);
	assert_int_equal(reason, DOMAIN_REASON_USER);
	for (int i = 0; i < 2; i++)
		assert_int_equal(driver->resume(f->c, ID, &f->e), 0);
	assert_int_equal(driver->shutdown(f->c, ID, SHUTDOWN_ACPI, &f->e), 0);
	assert_int_equal(state_of(f, &reason), DOMAIN_SHUTOFF);
	assert_int_equal(reason, DOMAIN_REASON_GUEST_SHUTDOWN);
	assert_int_equal(driver->start(f->c, "no-such-id", &f->e), ERR_NOT_FOUND);
}

static void test_deaf_guest_ignores_shutdown_but_not_destroy(void **state)
{
	struct fixture *f = *state;
	enum domain_reason reason;
	define_and_start(f);
	fake_guest_set_deaf(HOST, ID, true);
	assert_int_equal(driver->shutdown(f->c, ID, SHUTDOWN_DEFAULT, &f->e), 0);
	assert_int_equal(state_of(f, NULL), DOMAIN_RUNNING);
	assert_int_equal(driver->destroy(f->c, ID, &f->e), 0);
	assert_int_equal(state_of(f, &reason), DOMAIN_SHUTOFF);
	assert_int_equal(reason, DOMAIN_REASON_DESTROYED);
}

static void test_managed_save_stops_and_start_restores(void **state)
{
	struct fixture *f = *state;
	define_and_start(f);
	assert_int_equal(driver->managed_save(f->c, ID, &f->e), 0);
	struct domain_info info = {0};
	assert_int_equal(driver->get_domain(f->c, ID, &info, &f->e), 0);
	assert_true(info.has_managed_save);
	assert_int_equal(info.reason, DOMAIN_REASON_SAVED);
	domain_info_done(&info);
	assert_int_equal(driver->start(f->c, ID, &f->e), 0);
	assert_int_equal(driver->get_domain(f->c, ID, &info, &f->e), 0);
	assert_false(info.has_managed_save);
	domain_info_done(&info);
}

static void test_undefined_running_domain_lives_until_it_stops(void **state)
{
	struct fixture *f = *state;
	define_and_start(f);
	assert_int_equal(driver->undefine(f->c, ID, &f->e), 0);
	assert_int_equal(state_of(f, NULL), DOMAIN_RUNNING);
	assert_int_equal(driver->destroy(f->c, ID, &f->e), 0);
	struct domain_info info;
	assert_int_equal(driver->get_domain(f->c, ID, &info, &f->e), ERR_NOT_FOUND);
	assert_int_equal(driver->undefine(f->c, ID, &f->e), 0);
}

static void test_redefinition_takes_effect_at_the_next_start(void **state)
{
	struct fixture *f = *state;
	define_and_start(f);
	CLEANUP(cleanup_free) char *more = strdup(XML);
	memcpy(strstr(more, "256"), "512", 3);
	assert_int_equal(driver->define(f->c, more, &f->e), 0);
	struct domain_info info = {0};
	assert_int_equal(driver->get_domain(f->c, ID, &info, &f->e), 0);
	assert_non_null(strstr(info.xml, "512"));
	assert_non_null(strstr(info.live_xml, "256"));
	domain_info_done(&info);
	struct domain_stats_list stats = {0};
	assert_int_equal(driver->get_stats(f->c, STATS_ALL, &stats, &f->e), 0);
	assert_int_equal(stats.items[0].balloon_maximum_bytes, 256 * 1024 * 1024);
	domain_stats_list_done(&stats);
	driver->destroy(f->c, ID, &f->e);
	driver->start(f->c, ID, &f->e);
	assert_int_equal(driver->get_stats(f->c, STATS_ALL, &stats, &f->e), 0);
	assert_int_equal(stats.items[0].balloon_maximum_bytes, 512 * 1024 * 1024);
	domain_stats_list_done(&stats);
}

static void test_rename_needs_a_stopped_domain_and_a_free_name(void **state)
{
	struct fixture *f = *state;
	char other[UUID_TEXT_SIZE];
	fake_domain_foreign_add(HOST, "other", false, other);
	define_and_start(f);
	assert_int_equal(driver->rename(f->c, ID, "web2", &f->e), ERR_WRONG_STATE);
	driver->destroy(f->c, ID, &f->e);
	assert_int_equal(driver->rename(f->c, ID, "other", &f->e), ERR_EXISTS);
	assert_int_equal(driver->rename(f->c, ID, "a<b&c", &f->e), 0);
	struct domain_info info = {0};
	assert_int_equal(driver->get_domain(f->c, ID, &info, &f->e), 0);
	assert_string_equal(info.name, "a<b&c");
	assert_non_null(strstr(info.xml, "<name>a&lt;b&amp;c</name>"));
	domain_info_done(&info);
}

static void test_live_changes_keep_to_the_maximum(void **state)
{
	struct fixture *f = *state;
	define_and_start(f);
	assert_int_equal(driver->set_memory_live(f->c, ID, 512 << 20, &f->e), ERR_INVALID);
	assert_int_equal(driver->set_memory_live(f->c, ID, 128 << 20, &f->e), 0);
	assert_int_equal(driver->set_vcpus_live(f->c, ID, 5, &f->e), ERR_INVALID);
	assert_int_equal(driver->set_vcpus_live(f->c, ID, 4, &f->e), 0);
	assert_int_equal(driver->set_cpu_live(f->c, ID, 512, -1, &f->e), 0);
	struct domain_stats_list stats = {0};
	assert_int_equal(driver->get_stats(f->c, STATS_ALL, &stats, &f->e), 0);
	assert_int_equal(stats.len, 1);
	assert_int_equal(stats.items[0].balloon_current_bytes, 128 << 20);
	assert_int_equal(stats.items[0].vcpus_current, 4);
	domain_stats_list_done(&stats);
}

static void test_devices_come_and_go_live_and_in_the_definition(void **state)
{
	struct fixture *f = *state;
	static const char disk[] =
	        "<disk type='file'><target dev='vdb'/><alias name='ua-disk-b'/></disk>";
	struct domain_info info = {0};
	define_and_start(f);
	assert_int_equal(driver->attach_device(f->c, ID, disk, ATTACH_LIVE, &f->e), 0);
	assert_int_equal(driver->attach_device(f->c, ID, disk, ATTACH_LIVE, &f->e), ERR_EXISTS);
	assert_int_equal(driver->get_domain(f->c, ID, &info, &f->e), 0);
	assert_null(strstr(info.xml, "vdb"));
	assert_non_null(strstr(info.live_xml, "vdb"));
	domain_info_done(&info);
	loop_turn_for(f->loop, 1);
	f->n_events = 0;
	assert_int_equal(driver->detach_device(f->c, ID, disk, ATTACH_LIVE, &f->e), 0);
	assert_true(TURN_UNTIL(f->loop, f->n_events > 0));
	assert_int_equal(f->events[0].kind, DOMAIN_EVENT_DEVICE_REMOVED);
	assert_string_equal(f->events[0].device, "ua-disk-b");
	assert_int_equal(driver->detach_device(f->c, ID, disk, ATTACH_LIVE, &f->e), ERR_NOT_FOUND);
}

static void test_guest_has_lease_addresses_while_running(void **state)
{
	struct fixture *f = *state;
	struct guest_info info = {0};
	define(f);
	assert_int_equal(driver->get_guest(f->c, ID, &info, &f->e), ERR_WRONG_STATE);
	driver->start(f->c, ID, &f->e);
	assert_int_equal(driver->get_guest(f->c, ID, &info, &f->e), 0);
	assert_true(info.agent_connected);
	assert_int_equal(info.n_addresses, 1);
	assert_string_equal(info.addresses[0].address, "10.1.2.3");
	guest_info_done(&info);
	fake_guest_set_agent(HOST, ID, false);
	assert_int_equal(driver->shutdown(f->c, ID, SHUTDOWN_AGENT, &f->e), ERR_UNAVAILABLE);
}

static void test_networks(void **state)
{
	struct fixture *f = *state;
	fake_network_set(HOST, "asleep", false);
	assert_int_equal(driver->network_check(f->c, "default", &f->e), 0);
	assert_int_equal(driver->network_check(f->c, "asleep", &f->e), ERR_WRONG_STATE);
	assert_int_equal(driver->network_check(f->c, "none", &f->e), ERR_NOT_FOUND);
	char **active = NULL;
	assert_int_equal(driver->network_list(f->c, &active, &f->e), 0);
	assert_string_equal(active[0], "default");
	assert_null(active[1]);
	str_list_free(active);
}

static void test_guest_events_reach_the_loop_in_order(void **state)
{
	struct fixture *f = *state;
	define_and_start(f);
	fake_guest_shutdown(HOST, ID);
	driver->start(f->c, ID, &f->e);
	fake_guest_crash(HOST, ID);
	assert_true(TURN_UNTIL(f->loop, f->n_events == 5));
	assert_int_equal(f->events[0].kind, DOMAIN_EVENT_DEFINED);
	assert_int_equal(f->events[1].state, DOMAIN_RUNNING);
	assert_int_equal(f->events[2].reason, DOMAIN_REASON_GUEST_SHUTDOWN);
	assert_int_equal(f->events[3].state, DOMAIN_RUNNING);
	assert_int_equal(f->events[4].state, DOMAIN_SHUTOFF);
	assert_int_equal(f->events[4].reason, DOMAIN_REASON_CRASHED);
	assert_string_equal(f->events[4].id, ID);
}

static void test_events_of_a_hung_host_wait_for_its_release(void **state)
{
	struct fixture *f = *state;
	define_and_start(f);
	assert_true(TURN_UNTIL(f->loop, f->n_events == 2));
	fake_host_hang(HOST);
	fake_guest_crash(HOST, ID);
	fake_domain_foreign_start(HOST, ID);
	loop_turn_for(f->loop, 10);
	assert_int_equal(f->n_events, 2);
	fake_host_release(HOST);
	assert_true(TURN_UNTIL(f->loop, f->n_events == 4));
	assert_int_equal(f->events[2].reason, DOMAIN_REASON_CRASHED);
	assert_int_equal(f->events[3].state, DOMAIN_RUNNING);
}

static void test_no_event_after_close(void **state)
{
	struct fixture *f = *state;
	define(f);
	driver->close(f->c);
	f->c = NULL;
	loop_turn_for(f->loop, 20);
	assert_int_equal(f->n_events, 0);
}

static void test_domains_survive_broken_connections(void **state)
{
	struct fixture *f = *state;
	define_and_start(f);
	fake_host_break_connections(HOST);
	assert_int_equal(driver->ping(f->c, &f->e), ERR_HOST_DOWN);
	assert_true(TURN_UNTIL(f->loop, f->n_closed == 1));
	driver->close(f->c);
	f->c = open_host(f, URI);
	assert_int_equal(state_of(f, NULL), DOMAIN_RUNNING);
}

static void test_script_fails_the_chosen_calls_only(void **state)
{
	struct fixture *f = *state;
	define(f);
	fake_script_set(HOST, "start", ID,
	        &(struct fake_behaviour){
	                .error_code = ERR_NO_CAPACITY, .message = "no", .count = 1});
	assert_int_equal(driver->ping(f->c, &f->e), 0);
	assert_int_equal(driver->start(f->c, ID, &f->e), ERR_NO_CAPACITY);
	assert_string_equal(f->e.message, "no");
	assert_int_equal(driver->start(f->c, ID, &f->e), 0);
	fake_script_set(HOST, "*", NULL, &(struct fake_behaviour){.error_code = ERR_INTERNAL});
	assert_int_equal(driver->ping(f->c, &f->e), ERR_INTERNAL);
	fake_script_clear(HOST);
	assert_int_equal(driver->ping(f->c, &f->e), 0);
}

static void *ping_in_thread(void *arg)
{
	return (void *)(intptr_t)driver->ping(arg, NULL);
}

static void test_hung_host_goes_on_when_released(void **state)
{
	struct fixture *f = *state;
	pthread_t threads[6];
	fake_host_hang(HOST);
	for (int i = 0; i < 6; i++)
		pthread_create(&threads[i], NULL, ping_in_thread, f->c);
	while (fake_host_count_calls(HOST, "ping") < 5)
		sched_yield();
	fake_host_release(HOST);
	for (int i = 0; i < 6; i++) {
		void *rc;
		pthread_join(threads[i], &rc);
		assert_null(rc);
	}
	struct fake_host_stats stats;
	fake_host_get_stats(HOST, &stats);
	assert_int_equal(stats.most_in_flight, 5); /* as libvirtd serves a client */
}

static void test_break_ends_hung_calls(void **state)
{
	struct fixture *f = *state;
	pthread_t thread;
	fake_script_set(HOST, "ping", NULL, &(struct fake_behaviour){.hang = true});
	pthread_create(&thread, NULL, ping_in_thread, f->c);
	while (fake_host_count_calls(HOST, "ping") < 1)
		sched_yield();
	fake_host_break_connections(HOST);
	void *rc;
	pthread_join(thread, &rc);
	assert_int_equal((intptr_t)rc, ERR_HOST_DOWN);
}

static void test_parameters_make_a_populated_host(void **state)
{
	struct fixture *f = *state;
	struct driver_connection *c =
	        open_host(f, "fake:///big?domains=5000&running=100&cpus=64&memory_mib=1024");
	struct domain_list list = {0};
	struct domain_stats_list stats = {0};
	struct host_facts facts = {0};
	assert_int_equal(driver->list_domains(c, &list, &f->e), 0);
	assert_int_equal(list.len, 5000);
	struct domain_info info = {0};
	assert_int_equal(driver->get_domain(c, list.items[17].id, &info, &f->e), 0);
	assert_non_null(strstr(info.xml, info.name));
	assert_false(info.is_ours);
	domain_info_done(&info);
	domain_list_done(&list);
	assert_int_equal(driver->get_stats(c, STATS_ALL, &stats, &f->e), 0);
	assert_int_equal(stats.len, 100);
	domain_stats_list_done(&stats);
	assert_int_equal(driver->get_facts(c, &facts, &f->e), 0);
	assert_int_equal(facts.threads, 64);
	assert_int_equal(facts.memory_bytes, 1024LL << 20);
	host_facts_done(&facts);
	driver->close(c);
}

static void test_bad_uris_are_refused(void **state)
{
	struct fixture *f = *state;
	static const char *const bad[] = {"fake:///", "fake:///x?nonsense=1",
	        "fake:///x?delay_ms=a", "fake:///x?delay_ms=-1", "fake:///a/b"};
	struct driver_events events = {0};
	struct driver_connection *c = NULL;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(driver->open(bad[i], f->loop, &events, &c, &f->e), ERR_INVALID);
	assert_ptr_equal(driver_for_uri(URI), &driver_fake);
	assert_ptr_equal(driver_for_uri("qemu:///system"), &driver_libvirt);
	assert_null(driver_for_uri("xen:///"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(test_define_reads_identity_size_and_metadata),
	        TEST(test_define_refuses_a_taken_name_and_bad_xml),
	        TEST(test_power_calls_are_idempotent_and_checked),
	        TEST(test_deaf_guest_ignores_shutdown_but_not_destroy),
	        TEST(test_managed_save_stops_and_start_restores),
	        TEST(test_undefined_running_domain_lives_until_it_stops),
	        TEST(test_redefinition_takes_effect_at_the_next_start),
	        TEST(test_rename_needs_a_stopped_domain_and_a_free_name),
	        TEST(test_live_changes_keep_to_the_maximum),
	        TEST(test_devices_come_and_go_live_and_in_the_definition),
	        TEST(test_guest_has_lease_addresses_while_running),
	        TEST(test_networks),
	        TEST(test_guest_events_reach_the_loop_in_order),
	        TEST(test_events_of_a_hung_host_wait_for_its_release),
	        TEST(test_no_event_after_close),
	        TEST(test_domains_survive_broken_connections),
	        TEST(test_script_fails_the_chosen_calls_only),
	        TEST(test_hung_host_goes_on_when_released),
	        TEST(test_break_ends_hung_calls),
	        TEST(test_parameters_make_a_populated_host),
	        TEST(test_bad_uris_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

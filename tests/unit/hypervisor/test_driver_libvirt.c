/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The libvirt driver against libvirt's in-memory hypervisor test:///default: lifecycle, events on a
 * core loop, storage, and libvirt's refusals.
 */
#include "hypervisor/driver.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/vec.h"
#include "hypervisor/domain_xml.h"
#include "hypervisor/event_loop.h"
#include "loop_helper.h"

#define MIB (1024LL * 1024)

static const struct driver *const driver = &driver_libvirt;
static struct loop *loop;
static struct driver_connection *connection;
static VEC(struct domain_event) received;

static void receive_event(void *arg, const struct domain_event *event)
{
	(void)arg;
	assert_true(loop_is_mine(loop));
	VEC_PUSH(&received, *event);
}

static void receive_closed(void *arg, const char *reason)
{
	(void)arg;
	(void)reason;
}

static const struct driver_events events = {.domain = receive_event, .closed = receive_closed};

static int start_loop(void **state)
{
	(void)state;
	loop = loop_new();
	return event_loop_register(loop, NULL);
}

static int free_loop(void **state)
{
	(void)state;
	uv_run(loop_uv(loop), UV_RUN_NOWAIT); /* what libvirt leaves to be freed later */
	VEC_DONE(&received);
	loop_free(loop);
	return 0;
}

static int connect_to_test(void **state)
{
	(void)state;
	received.len = 0;
	return driver->open("test:///default", loop, &events, &connection, NULL);
}

static int disconnect(void **state)
{
	(void)state;
	driver->close(connection);
	connection = NULL;
	return 0;
}

/* Events of a domain of that kind (and state, unless UNKNOWN) so far. */
static int count_events(const char *id, enum domain_event_kind kind, enum domain_state domain_state)
{
	int n = 0;
	VEC_FOR_EACH (&received, event)
		n += strcmp(event->id, id) == 0 && event->kind == kind &&
		     (domain_state == DOMAIN_UNKNOWN || event->state == domain_state);
	return n;
}

#define assert_event(id, kind, domain_state)                                                       \
	assert_true(TURN_UNTIL(loop, count_events(id, kind, domain_state) > 0))

static struct err failure; /* of the latest call that must succeed */

#define assert_ok(call)                                                                            \
	do {                                                                                       \
		if ((call) != 0)                                                                   \
			fail_msg("%s: %s", #call, failure.message);                                \
	} while (0)

static struct domain_config sample(const char *id, const char *name)
{
	static const struct domain_source source = {.path = "/p/a.qcow2", .format = "qcow2"};
	static const struct domain_disk disk = {
	        .name = "root", .chain = &source, .n_chain = 1, .bus = "virtio"};
	return (struct domain_config){.id = id,
	        .name = name,
	        .domain_type = "test",
	        .architecture = "i686",
	        .machine = "pc",
	        .memory_bytes = 256 * MIB,
	        .vcpus = 2,
	        .vcpus_max = 4,
	        .cpu_model = "host",
	        .disks = &disk,
	        .n_disks = 1,
	        .is_test_driver = true};
}

static void define_sample(const char *name, char ret_id[UUID_TEXT_SIZE])
{
	uuid_make(ret_id);
	struct domain_config config = sample(ret_id, name);
	char *xml CLEANUP(cleanup_free) = NULL;
	assert_ok(domain_xml_build(&config, &xml, &failure));
	assert_ok(driver->define(connection, xml, &failure));
}

static struct domain_info get_info(const char *id)
{
	struct domain_info info = {0};
	assert_ok(driver->get_domain(connection, id, &info, &failure));
	return info;
}

static enum domain_state state_of(const char *id)
{
	struct domain_info info CLEANUP(domain_info_done) = get_info(id);
	return info.state;
}

/* --- the connection --- */

static void test_ping_and_facts_answer(void **state)
{
	(void)state;
	struct host_facts facts CLEANUP(host_facts_done) = {0};
	assert_ok(driver->ping(connection, &failure));
	assert_ok(driver->get_facts(connection, &facts, &failure));
	assert_true(facts.is_test_driver);
	assert_true(facts.has_libvirt_storage);
	assert_string_equal(facts.domain_type, "test");
	assert_int_equal(facts.threads, 16);
	assert_true(facts.memory_bytes > 0);
	assert_true(facts.libvirt_version >= 9000000);
	assert_non_null(facts.hostname);
}

static void test_unreachable_host_is_down_with_a_hint(void **state)
{
	(void)state;
	struct driver_connection *c = NULL;
	struct err e = {0};
	assert_int_equal(driver->open("qemu+unix:///system?socket=/nonexistent/libvirt-sock", loop,
	                         &events, &c, &e),
	        ERR_HOST_DOWN);
	assert_null(c);
	assert_non_null(strstr(e.message, "/nonexistent/libvirt-sock"));
	assert_string_not_equal(e.hint, "");
}

static void test_malformed_test_file_shows_no_content(void **state)
{
	(void)state;
	struct driver_connection *c = NULL;
	struct err e = {0};
	assert_int_not_equal(driver->open("test:///etc/passwd", loop, &events, &c, &e), 0);
	assert_null(c);
	assert_null(strstr(e.message, "/root"));
}

/* --- domains --- */

static void test_lifecycle_with_events(void **state)
{
	(void)state;
	char id[UUID_TEXT_SIZE];
	define_sample("life", id);
	assert_event(id, DOMAIN_EVENT_DEFINED, DOMAIN_UNKNOWN);
	assert_int_equal(state_of(id), DOMAIN_SHUTOFF);
	assert_ok(driver->start(connection, id, &failure));
	assert_event(id, DOMAIN_EVENT_STATE, DOMAIN_RUNNING);
	assert_int_equal(state_of(id), DOMAIN_RUNNING);
	assert_ok(driver->pause(connection, id, &failure));
	assert_event(id, DOMAIN_EVENT_STATE, DOMAIN_PAUSED);
	assert_int_equal(state_of(id), DOMAIN_PAUSED);
	assert_ok(driver->resume(connection, id, &failure));
	assert_int_equal(state_of(id), DOMAIN_RUNNING);
	assert_ok(driver->shutdown(connection, id, SHUTDOWN_ACPI, &failure));
	assert_event(id, DOMAIN_EVENT_STATE, DOMAIN_SHUTOFF);
	assert_ok(driver->undefine(connection, id, &failure));
	assert_event(id, DOMAIN_EVENT_UNDEFINED, DOMAIN_UNKNOWN);
	VEC_FOR_EACH (&received, event)
		if (strcmp(event->id, id) == 0)
			assert_string_equal(event->name, "life");
}

static void test_stop_event_says_who_stopped_it(void **state)
{
	(void)state;
	char id[UUID_TEXT_SIZE];
	define_sample("why", id);
	assert_ok(driver->start(connection, id, &failure));
	assert_ok(driver->destroy(connection, id, &failure));
	assert_event(id, DOMAIN_EVENT_STATE, DOMAIN_SHUTOFF);
	VEC_FOR_EACH (&received, event)
		if (strcmp(event->id, id) == 0 && event->state == DOMAIN_SHUTOFF)
			assert_int_equal(event->reason, DOMAIN_REASON_DESTROYED);
	struct domain_info info CLEANUP(domain_info_done) = get_info(id);
	assert_int_equal(info.reason, DOMAIN_REASON_DESTROYED);
	assert_ok(driver->undefine(connection, id, &failure));
}

static void test_repeated_requests_succeed(void **state)
{
	(void)state;
	char id[UUID_TEXT_SIZE];
	define_sample("again", id);
	for (int i = 0; i < 2; i++)
		assert_ok(driver->start(connection, id, &failure));
	for (int i = 0; i < 2; i++)
		assert_ok(driver->pause(connection, id, &failure));
	for (int i = 0; i < 2; i++)
		assert_ok(driver->resume(connection, id, &failure));
	for (int i = 0; i < 2; i++)
		assert_ok(driver->managed_save(connection, id, &failure));
	for (int i = 0; i < 2; i++)
		assert_ok(driver->managed_save_remove(connection, id, &failure));
	assert_ok(driver->start(connection, id, &failure));
	for (int i = 0; i < 2; i++)
		assert_ok(driver->destroy(connection, id, &failure));
	for (int i = 0; i < 2; i++)
		assert_ok(driver->undefine(connection, id, &failure));
	assert_ok(driver->destroy(connection, id, &failure));
}

static void test_managed_save_is_seen_and_restored(void **state)
{
	(void)state;
	char id[UUID_TEXT_SIZE];
	define_sample("saved", id);
	assert_ok(driver->start(connection, id, &failure));
	assert_ok(driver->managed_save(connection, id, &failure));
	struct domain_info saved CLEANUP(domain_info_done) = get_info(id);
	assert_int_equal(saved.state, DOMAIN_SHUTOFF);
	assert_int_equal(saved.reason, DOMAIN_REASON_SAVED);
	assert_true(saved.has_managed_save);
	assert_ok(driver->start(connection, id, &failure));
	struct domain_info started CLEANUP(domain_info_done) = get_info(id);
	assert_int_equal(started.state, DOMAIN_RUNNING);
	assert_false(started.has_managed_save);
	assert_ok(driver->destroy(connection, id, &failure));
	assert_ok(driver->undefine(connection, id, &failure));
}

static void test_undefine_drops_a_managed_save(void **state)
{
	(void)state;
	char id[UUID_TEXT_SIZE];
	struct err e = {0};
	struct domain_info info = {0};
	define_sample("gone", id);
	assert_ok(driver->start(connection, id, &failure));
	assert_ok(driver->managed_save(connection, id, &failure));
	assert_ok(driver->undefine(connection, id, &failure));
	assert_int_equal(driver->get_domain(connection, id, &info, &e), ERR_NOT_FOUND);
	assert_null(info.name);
}

static void test_definition_and_live_definition_are_read(void **state)
{
	(void)state;
	char id[UUID_TEXT_SIZE];
	define_sample("read", id);
	struct domain_info off CLEANUP(domain_info_done) = get_info(id);
	assert_true(off.persistent);
	assert_true(off.is_ours);
	assert_non_null(off.xml);
	assert_null(off.live_xml);
	struct domain_facts facts CLEANUP(domain_facts_done) = {0};
	assert_ok(domain_xml_parse(off.xml, &facts, &failure));
	assert_string_equal(facts.disks[0].path, "/p/a.qcow2");
	assert_ok(driver->start(connection, id, &failure));
	struct domain_info on CLEANUP(domain_info_done) = get_info(id);
	assert_non_null(on.live_xml);
	assert_ok(driver->destroy(connection, id, &failure));
	assert_ok(driver->undefine(connection, id, &failure));
}

static const struct domain_info *in_list(const struct domain_list *list, const char *name)
{
	for (size_t i = 0; i < list->len; i++)
		if (strcmp(list->items[i].name, name) == 0)
			return &list->items[i];
	return NULL;
}

static void test_list_tells_ours_from_foreign(void **state)
{
	(void)state;
	char id[UUID_TEXT_SIZE];
	define_sample("mine", id);
	struct domain_list list CLEANUP(domain_list_done) = {0};
	assert_ok(driver->list_domains(connection, &list, &failure));
	const struct domain_info *mine = in_list(&list, "mine");
	const struct domain_info *foreign = in_list(&list, "test");
	assert_non_null(mine);
	assert_true(mine->is_ours);
	assert_true(mine->persistent);
	assert_int_equal(mine->state, DOMAIN_SHUTOFF);
	assert_string_equal(mine->id, id);
	assert_non_null(foreign);
	assert_false(foreign->is_ours);
	assert_int_equal(foreign->state, DOMAIN_RUNNING);
	assert_null(foreign->xml);
	assert_ok(driver->undefine(connection, id, &failure));
}

static void test_domain_is_found_by_name_and_renamed(void **state)
{
	(void)state;
	char id[UUID_TEXT_SIZE], found[UUID_TEXT_SIZE];
	struct err e = {0};
	define_sample("before", id);
	assert_ok(driver->find_domain(connection, "before", found, &failure));
	assert_string_equal(found, id);
	assert_int_equal(driver->find_domain(connection, "nobody", found, &e), ERR_NOT_FOUND);
	int r = driver->rename(connection, id, "after", &e);
	/* Older test drivers cannot rename. */
	if (r == 0)
		assert_ok(driver->find_domain(connection, "after", found, &failure));
	else
		assert_int_equal(r, ERR_UNSUPPORTED);
	assert_ok(driver->undefine(connection, id, &failure));
}

static void test_stats_fall_back_to_the_basic_ones(void **state)
{
	(void)state;
	char id[UUID_TEXT_SIZE];
	define_sample("counted", id);
	assert_ok(driver->start(connection, id, &failure));
	struct domain_stats_list list CLEANUP(domain_stats_list_done) = {0};
	assert_ok(driver->get_stats(connection, STATS_ALL, &list, &failure));
	const struct domain_stats *stats = NULL;
	for (size_t i = 0; i < list.len; i++)
		if (strcmp(list.items[i].id, id) == 0)
			stats = &list.items[i];
	assert_non_null(stats);
	assert_int_equal(stats->state, DOMAIN_RUNNING);
	assert_int_equal(stats->balloon_maximum_bytes, 256 * MIB);
	assert_int_equal(stats->vcpus_current, 2);
	assert_int_equal(stats->balloon_usable_bytes, -1);
	assert_int_equal(stats->block_read_bytes, -1);
	assert_ok(driver->destroy(connection, id, &failure));
	assert_ok(driver->undefine(connection, id, &failure));
}

static void test_live_changes_need_a_running_domain(void **state)
{
	(void)state;
	char id[UUID_TEXT_SIZE];
	struct err e = {0};
	define_sample("small", id);
	assert_int_equal(driver->set_memory_live(connection, id, 128 * MIB, &e), ERR_WRONG_STATE);
	assert_int_equal(driver->resume(connection, id, &e), ERR_WRONG_STATE);
	assert_int_equal(driver->pause(connection, id, &e), ERR_WRONG_STATE);
	assert_ok(driver->start(connection, id, &failure));
	assert_ok(driver->set_memory_live(connection, id, 128 * MIB, &failure));
	assert_ok(driver->set_vcpus_live(connection, id, 3, &failure));
	struct domain_info info CLEANUP(domain_info_done) = get_info(id);
	struct domain_facts facts CLEANUP(domain_facts_done) = {0};
	assert_ok(domain_xml_parse(info.live_xml, &facts, &failure));
	assert_int_equal(facts.memory_current_bytes, 128 * MIB);
	assert_int_equal(facts.vcpus, 3);
	assert_ok(driver->destroy(connection, id, &failure));
	assert_ok(driver->undefine(connection, id, &failure));
}

static void test_what_the_test_driver_lacks_is_unsupported(void **state)
{
	(void)state;
	char id[UUID_TEXT_SIZE];
	struct err e = {0};
	define_sample("plain", id);
	assert_ok(driver->start(connection, id, &failure));
	assert_int_equal(driver->shutdown(connection, id, SHUTDOWN_AGENT, &e), ERR_UNSUPPORTED);
	assert_int_equal(driver->reboot(connection, id, SHUTDOWN_AGENT, &e), ERR_UNSUPPORTED);
	assert_int_equal(driver->set_cpu_live(connection, id, 512, 50, &e), ERR_UNSUPPORTED);
	assert_int_equal(driver->attach_device(connection, id,
	                         "<disk type='file'><target dev='vdx'/></disk>", ATTACH_LIVE, &e),
	        ERR_UNSUPPORTED);
	struct guest_info guest CLEANUP(guest_info_done) = {0};
	assert_ok(driver->get_guest(connection, id, &guest, &failure));
	assert_false(guest.agent_connected);
	assert_int_equal(guest.n_addresses, 0);
	assert_ok(driver->destroy(connection, id, &failure));
	assert_ok(driver->undefine(connection, id, &failure));
}

static void test_missing_domain_is_not_found(void **state)
{
	(void)state;
	static const char id[] = "00000000-1111-2222-3333-444444444444";
	struct err e = {0};
	assert_int_equal(driver->start(connection, id, &e), ERR_NOT_FOUND);
	assert_int_equal(driver->pause(connection, id, &e), ERR_NOT_FOUND);
	assert_int_equal(driver->managed_save(connection, id, &e), ERR_NOT_FOUND);
	assert_int_equal(driver->set_memory_live(connection, id, MIB, &e), ERR_NOT_FOUND);
	assert_int_equal(e.source, ERR_SOURCE_LIBVIRT);
}

static void test_bad_definitions_are_refused(void **state)
{
	(void)state;
	char id[UUID_TEXT_SIZE];
	struct err e = {0};
	assert_int_equal(driver->define(connection, "<domain", &e), ERR_INTERNAL);
	assert_int_equal(driver->define(connection, "<domain type='test'/>", &e), ERR_INTERNAL);
	define_sample("twin", id);
	struct domain_config other = sample("aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee", "twin");
	char *xml CLEANUP(cleanup_free) = NULL;
	assert_ok(domain_xml_build(&other, &xml, &failure));
	assert_int_equal(driver->define(connection, xml, &e), ERR_EXISTS);
	assert_ok(driver->undefine(connection, id, &failure));
}

/* --- closing --- */

static void test_no_event_comes_after_close(void **state)
{
	(void)state;
	char id[UUID_TEXT_SIZE];
	struct driver_connection *second = NULL;
	assert_ok(driver->open("test:///default", loop, &events, &second, &failure));
	define_sample("late", id);
	assert_ok(driver->start(connection, id, &failure));
	/* Both events of both connections are queued in libvirt; one connection goes before the
	 * loop turns. */
	received.len = 0;
	driver->close(second);
	assert_event(id, DOMAIN_EVENT_STATE, DOMAIN_RUNNING);
	loop_turn_for(loop, 50);
	assert_int_equal(count_events(id, DOMAIN_EVENT_STATE, DOMAIN_RUNNING), 1);
	assert_ok(driver->destroy(connection, id, &failure));
	assert_ok(driver->undefine(connection, id, &failure));
}

static void *close_elsewhere(void *arg)
{
	driver->close(arg);
	return NULL;
}

/* A lane thread closes while events are on their way; the sanitizers judge. */
static void test_closing_on_another_thread_amid_events_is_safe(void **state)
{
	(void)state;
	char id[UUID_TEXT_SIZE];
	define_sample("storm", id);
	for (int i = 0; i < 50; i++) {
		struct driver_connection *c = NULL;
		pthread_t thread;
		assert_ok(driver->open("test:///default", loop, &events, &c, &failure));
		assert_ok(driver->start(connection, id, &failure));
		assert_int_equal(pthread_create(&thread, NULL, close_elsewhere, c), 0);
		assert_ok(driver->destroy(connection, id, &failure));
		uv_run(loop_uv(loop), UV_RUN_NOWAIT);
		pthread_join(thread, NULL);
		uv_run(loop_uv(loop), UV_RUN_NOWAIT);
	}
	assert_ok(driver->undefine(connection, id, &failure));
}

/* --- networks --- */

static void test_network_is_checked(void **state)
{
	(void)state;
	struct err e = {0};
	assert_ok(driver->network_check(connection, "default", &failure));
	assert_int_equal(driver->network_check(connection, "none", &e), ERR_NOT_FOUND);
	char **active = NULL;
	assert_ok(driver->network_list(connection, &active, &failure));
	assert_string_equal(active[0], "default");
	assert_null(active[1]);
	str_list_free(active);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, connect_to_test, disconnect)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(test_ping_and_facts_answer),
	        TEST(test_unreachable_host_is_down_with_a_hint),
	        TEST(test_malformed_test_file_shows_no_content),
	        TEST(test_lifecycle_with_events),
	        TEST(test_stop_event_says_who_stopped_it),
	        TEST(test_repeated_requests_succeed),
	        TEST(test_managed_save_is_seen_and_restored),
	        TEST(test_undefine_drops_a_managed_save),
	        TEST(test_definition_and_live_definition_are_read),
	        TEST(test_list_tells_ours_from_foreign),
	        TEST(test_domain_is_found_by_name_and_renamed),
	        TEST(test_stats_fall_back_to_the_basic_ones),
	        TEST(test_live_changes_need_a_running_domain),
	        TEST(test_what_the_test_driver_lacks_is_unsupported),
	        TEST(test_missing_domain_is_not_found),
	        TEST(test_bad_definitions_are_refused),
	        TEST(test_no_event_comes_after_close),
	        TEST(test_closing_on_another_thread_amid_events_is_safe),
	        TEST(test_network_is_checked),
	};
	return cmocka_run_group_tests(tests, start_loop, free_loop);
}

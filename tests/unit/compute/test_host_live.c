/* SPDX-License-Identifier: Apache-2.0 */
/* The live side of hosts over the fake driver: what is recorded is what was so, and when it became
 * so. */
#include "tests/unit/compute/host_fixture.h"

#include <semaphore.h>

#include "compute/host_live.h"

#define STATE_IS(f, text) fixture_is(f, "SELECT state FROM host", text)

/* Registers fake:///h1 as h1 and waits until its row says ok. */
static void connect_one(struct host_fixture *f, char ret_id[UUID_TEXT_SIZE])
{
	assert_int_equal(fixture_create(f, f->hosts, "h1", "fake:///h1?cpus=6", ret_id), 0);
	assert_true(TURN_UNTIL(f->loop, STATE_IS(f, "ok")));
}

static void test_reachable_host_becomes_ok_and_its_facts_are_kept(void **state)
{
	struct host_fixture *f = *state;
	char id[UUID_TEXT_SIZE];
	connect_one(f, id);
	assert_int_equal(f->ups, 1);
	assert_string_equal(f->last_host, id);
	assert_int_equal(hosts_state(f->hosts, id), HOST_OK);
	assert_true(fixture_is(f, "SELECT state_reason FROM host", ""));
	assert_int_equal(fixture_int(f, "SELECT cpu_threads FROM host"), 6);
	assert_true(fixture_int(f, "SELECT memory_bytes FROM host") > 0);
	assert_true(fixture_is(f, "SELECT data FROM change WHERE kind = 'host' AND event = 'state'",
	        "{\"state\":\"ok\",\"reason\":\"\"}"));
	assert_int_equal(hosts_facts(f->hosts, id)->threads, 6);
	const char *type = hosts_domain_type(f->hosts, id, "x86_64");
	assert_non_null(type);
	assert_non_null(host_directory_get(f->directory, id));
}

static void test_unreachable_host_is_down_with_the_reason(void **state)
{
	struct host_fixture *f = *state;
	char id[UUID_TEXT_SIZE];
	struct fake_behaviour refuse = {
	        .error_code = ERR_HOST_PERMISSION, .message = "no such key"};
	fake_script_set("h1", "open", NULL, &refuse);
	assert_int_equal(fixture_create(f, f->hosts, "h1", "fake:///h1", id), 0);
	assert_true(TURN_UNTIL(f->loop, STATE_IS(f, "down")));
	char *reason CLEANUP(cleanup_free) = fixture_text(f, "SELECT state_reason FROM host");
	assert_non_null(strstr(reason, "no such key"));
	assert_null(hosts_facts(f->hosts, id));
	assert_null(hosts_domain_type(f->hosts, id, "x86_64"));
	fake_script_clear("h1");
	assert_true(TURN_UNTIL(f->loop, STATE_IS(f, "ok")));
	assert_true(fixture_is(f, "SELECT state_reason FROM host", ""));
}

static void test_hung_host_is_slow_then_down_and_ok_again_when_it_answers(void **state)
{
	struct host_fixture *f = *state;
	connect_one(f, NULL);
	fake_host_hang("h1");
	assert_true(TURN_UNTIL(f->loop, STATE_IS(f, "down")));
	fake_host_release("h1");
	assert_true(TURN_UNTIL(f->loop, STATE_IS(f, "ok")));
	char *states CLEANUP(cleanup_free) =
	        fixture_text(f, "SELECT group_concat(substr(data, 11, 4), ' ') FROM change "
	                        "WHERE kind = 'host' AND event = 'state' ORDER BY seq");
	assert_string_equal(states, "ok\", slow down ok\",");
}

static void test_broken_connection_is_reported_and_reconnects(void **state)
{
	struct host_fixture *f = *state;
	connect_one(f, NULL);
	fake_host_break_connections("h1");
	assert_true(TURN_UNTIL(f->loop, f->ups == 2));
	assert_true(TURN_UNTIL(f->loop, STATE_IS(f, "ok")));
	assert_int_equal(
	        fixture_int(f, "SELECT count(*) FROM change WHERE data LIKE '%\"down\"%'"), 1);
	/* The same facts were found again: that is no news. */
	assert_int_equal(fixture_int(f, "SELECT count(*) FROM change WHERE kind = 'host' AND "
	                                "event = 'updated'"),
	        1);
}

static bool networks_are(struct host_fixture *f, const char *json)
{
	char pattern[128], *facts CLEANUP(cleanup_free) = fixture_text(f, "SELECT facts FROM host");
	snprintf(pattern, sizeof(pattern), "\"networks\":%s,", json);
	return strstr(facts, pattern) != NULL;
}

static void test_networks_are_asked_again_and_what_cannot_be_told_stays(void **state)
{
	struct host_fixture *f = *state;
	fake_network_set("h1", "asleep", false);
	connect_one(f, NULL);
	assert_true(TURN_UNTIL(f->loop, networks_are(f, "[\"default\"]")));
	fake_network_set("h1", "asleep", true);
	hosts_ask_networks(f->hosts);
	assert_true(TURN_UNTIL(f->loop, networks_are(f, "[\"asleep\",\"default\"]")));
	fake_network_set("h1", "default", false);
	struct fake_behaviour refuse = {.error_code = ERR_HYPERVISOR};
	fake_script_set("h1", "network_list", NULL, &refuse);
	int64_t calls = fake_host_count_calls("h1", "network_list");
	hosts_ask_networks(f->hosts);
	assert_true(TURN_UNTIL(f->loop, fake_host_count_calls("h1", "network_list") > calls));
	assert_true(networks_are(f, "[\"asleep\",\"default\"]"));
	fake_script_clear("h1");
	assert_true(TURN_UNTIL(
	        f->loop, (hosts_ask_networks(f->hosts), networks_are(f, "[\"asleep\"]"))));
}

static sem_t writer_is_stalled, writer_may_go;

static int stall_job(struct db *db, void *arg, struct err *e)
{
	(void)db;
	(void)arg;
	(void)e;
	sem_post(&writer_is_stalled);
	sem_wait(&writer_may_go);
	return 0;
}

static void test_since_is_the_moment_of_the_transition_not_of_the_write(void **state)
{
	struct host_fixture *f = *state;
	char id[UUID_TEXT_SIZE];
	const int64_t then = 1700000000000;
	connect_one(f, id);
	sem_init(&writer_is_stalled, 0, 0);
	sem_init(&writer_may_go, 0, 0);
	writer_submit(f->writer, (struct writer_job){.run = stall_job});
	sem_wait(&writer_is_stalled);
	clock_fake_set(then);
	struct fake_behaviour refuse = {.error_code = ERR_HOST_PERMISSION};
	fake_script_set("h1", "open", NULL, &refuse);
	fake_host_break_connections("h1");
	assert_true(TURN_UNTIL(f->loop, hosts_state(f->hosts, id) == HOST_DOWN));
	clock_fake_set(then + 5000);
	assert_true(STATE_IS(f, "ok")); /* nothing is written yet */
	sem_post(&writer_may_go);
	assert_true(TURN_UNTIL(f->loop, STATE_IS(f, "down")));
	assert_int_equal(fixture_int(f, "SELECT state_since FROM host"), then);
}

/* As above, with the host staying down: the row keeps the first moment through later reasons. */
static void test_another_reason_for_the_same_state_keeps_since(void **state)
{
	struct host_fixture *f = *state;
	struct fake_behaviour refuse = {.error_code = ERR_HOST_PERMISSION, .message = "reason one"};
	fake_script_set("h1", "open", NULL, &refuse);
	clock_fake_set(1700000000000);
	assert_int_equal(fixture_create(f, f->hosts, "h1", "fake:///h1", NULL), 0);
	assert_true(TURN_UNTIL(f->loop, STATE_IS(f, "down")));
	clock_fake_set(1700000009000);
	refuse.message = "reason two";
	fake_script_set("h1", "open", NULL, &refuse);
	assert_true(TURN_UNTIL(
	        f->loop, fixture_is(f, "SELECT state_reason LIKE '%reason two%' FROM host", "1")));
	assert_int_equal(fixture_int(f, "SELECT state_since FROM host"), 1700000000000);
}

static void test_state_that_could_not_be_written_is_written_later(void **state)
{
	struct host_fixture *f = *state;
	connect_one(f, NULL);
	fixture_exec(f, "CREATE TRIGGER refuse BEFORE UPDATE ON host BEGIN "
	                "SELECT RAISE(ABORT, 'disk trouble'); END");
	struct fake_behaviour refuse = {.error_code = ERR_HOST_PERMISSION};
	fake_script_set("h1", "open", NULL, &refuse);
	fake_host_break_connections("h1");
	loop_turn_for(f->loop, 50);
	assert_true(STATE_IS(f, "ok"));
	fixture_exec(f, "DROP TRIGGER refuse");
	assert_true(TURN_UNTIL(f->loop, STATE_IS(f, "down")));
}

static void test_start_makes_every_host_connecting_first(void **state)
{
	struct host_fixture *f = *state;
	assert_int_equal(fixture_create(f, NULL, "h1", "fake:///h1", NULL), 0);
	fixture_exec(f, "UPDATE host SET state = 'ok', state_since = 1");
	clock_fake_set(1700000000000);
	assert_int_equal(writer_run(f->writer, fixture_load_job, f->hosts, &f->e), 0);
	assert_true(STATE_IS(f, "connecting"));
	assert_int_equal(fixture_int(f, "SELECT state_since FROM host"), 1700000000000);
	assert_true(TURN_UNTIL(f->loop, STATE_IS(f, "ok")));
}

static void test_rolled_back_registration_connects_to_nothing(void **state)
{
	struct host_fixture *f = *state;
	struct host_spec spec = {.name = "h1", .uri = "fake:///h1", .group = "default"};
	struct fixture_job job = {.hosts = f->hosts, .spec = &spec, .is_rolled_back = true};
	assert_int_equal(writer_run(f->writer, fixture_create_job, &job, &f->e), ERR_CONFLICT);
	loop_turn_for(f->loop, 20);
	assert_null(host_directory_get(f->directory, job.id));
	struct fake_host_stats stats = {0};
	fake_host_get_stats("h1", &stats);
	assert_int_equal(stats.opens, 0);
}

static void test_removed_host_is_let_go(void **state)
{
	struct host_fixture *f = *state;
	char id[UUID_TEXT_SIZE];
	struct fake_host_stats stats = {0};
	connect_one(f, id);
	assert_int_equal(fixture_delete(f, f->hosts, "h1"), 0);
	assert_true(TURN_UNTIL(f->loop, !host_directory_get(f->directory, id)));
	assert_true(
	        TURN_UNTIL(f->loop, (fake_host_get_stats("h1", &stats), stats.connections == 0)));
	assert_null(hosts_facts(f->hosts, id));
	struct host_live_stats live;
	assert_false(hosts_get_stats(f->hosts, id, &live));
	assert_int_equal(fixture_int(f, "SELECT count(*) FROM host"), 0);
}

static void test_changed_uri_reconnects_and_other_changes_do_not(void **state)
{
	struct host_fixture *f = *state;
	struct fake_host_stats stats = {0};
	char id[UUID_TEXT_SIZE];
	connect_one(f, id);
	assert_int_equal(
	        fixture_patch(f, f->hosts, "h1", "{\"name\":\"h2\",\"accelerator\":\"tcg\"}", NULL),
	        0);
	assert_true(
	        TURN_UNTIL(f->loop, str_equal(hosts_domain_type(f->hosts, id, "x86_64"), "qemu")));
	assert_int_equal(f->ups, 1);
	assert_int_equal(
	        fixture_patch(f, f->hosts, "h2", "{\"uri\":\"fake:///other?cpus=9\"}", NULL), 0);
	assert_true(TURN_UNTIL(
	        f->loop, STATE_IS(f, "ok") && fixture_int(f, "SELECT cpu_threads FROM host") == 9));
	assert_true(
	        TURN_UNTIL(f->loop, (fake_host_get_stats("h1", &stats), stats.connections == 0)));
	assert_int_equal(f->ups, 2);
}

static void test_domain_events_come_with_their_host(void **state)
{
	struct host_fixture *f = *state;
	char id[UUID_TEXT_SIZE], domain[UUID_TEXT_SIZE];
	connect_one(f, id);
	f->last_host[0] = '\0';
	fake_domain_foreign_add("h1", "theirs", true, domain);
	assert_true(TURN_UNTIL(f->loop, f->domains > 0));
	assert_string_equal(f->last_host, id);
	assert_string_equal(f->last_domain, domain);
}

static void test_counters_are_published(void **state)
{
	struct host_fixture *f = *state;
	struct host_live_stats stats = {0};
	char id[UUID_TEXT_SIZE];
	connect_one(f, id);
	assert_true(TURN_UNTIL(f->loop,
	        hosts_get_stats(f->hosts, id, &stats) && stats.connection.heartbeat_rtt_ns > 0));
	assert_true(stats.at > 0);
	assert_int_equal(stats.connection.hung, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(test_reachable_host_becomes_ok_and_its_facts_are_kept),
	        TEST(test_unreachable_host_is_down_with_the_reason),
	        TEST(test_hung_host_is_slow_then_down_and_ok_again_when_it_answers),
	        TEST(test_broken_connection_is_reported_and_reconnects),
	        TEST(test_networks_are_asked_again_and_what_cannot_be_told_stays),
	        TEST(test_since_is_the_moment_of_the_transition_not_of_the_write),
	        TEST(test_another_reason_for_the_same_state_keeps_since),
	        TEST(test_state_that_could_not_be_written_is_written_later),
	        TEST(test_start_makes_every_host_connecting_first),
	        TEST(test_rolled_back_registration_connects_to_nothing),
	        TEST(test_removed_host_is_let_go),
	        TEST(test_changed_uri_reconnects_and_other_changes_do_not),
	        TEST(test_domain_events_come_with_their_host),
	        TEST(test_counters_are_published),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

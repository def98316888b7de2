/* SPDX-License-Identifier: Apache-2.0 */
/* The pool monitor on fake hosts: what hangs, fails, fills or differs is recorded, and recovers by itself. */
#include "tests/unit/storage/pool_fixture.h"

#define DIR_A "{\"name\":\"a\",\"kind\":\"dir\",\"path\":\"/srv/a\"}"
#define DIR_B "{\"name\":\"b\",\"kind\":\"dir\",\"path\":\"/srv/b\"}"
#define NET_S                                                                                      \
	"{\"name\":\"s\",\"kind\":\"netfs\",\"path\":\"/mnt/s\",\"source\":{\"hosts\":[\"nas\"],"  \
	"\"dir\":\"/export\"}}"

static void start(struct pool_fixture *p, int drift_every)
{
	const struct pool_monitor_config config = {
	        .services = &p->base->services,
	        .check_ms = 60,
	        .drift_every = drift_every,
	        .deadline_ms = 150,
	};
	p->monitor = pool_monitor_new(&config);
	p->base->services.pool_monitor = p->monitor;
}

static bool is(struct pool_fixture *p, const char *pool, const char *host, const char *column,
        const char *expected)
{
	char *sql CLEANUP(cleanup_free) = str_format(
	        "SELECT pool_host.%s FROM pool_host JOIN pool ON pool.id = pool_id JOIN host ON "
	        "host.id = host_id WHERE pool.name = '%s' AND host.name = '%s'",
	        column, pool, host);
	return fixture_is(p->base, sql, expected);
}

static void assert_becomes(struct pool_fixture *p, const char *pool, const char *host,
        const char *column, const char *expected)
{
	if (!TURN_UNTIL(p->base->loop, is(p, pool, host, column, expected)))
		fail_msg("%s of pool %s on %s did not become %s", column, pool, host, expected);
}

static int64_t count_changes(struct pool_fixture *p, const char *event)
{
	char *sql CLEANUP(cleanup_free) =
	        str_format("SELECT count(*) FROM change WHERE event = '%s' AND kind IN ('pool', "
	                   "'volume') AND data NOT LIKE '{\"state\":\"ready\"%%'",
	                event);
	return fixture_int(p->base, sql);
}

static int64_t looks(const char *host)
{
	return fake_host_count_calls(host, "pool_info");
}

static void test_pools_are_looked_at_again_and_again_on_each_host(void **state)
{
	struct pool_fixture *p = *state;
	pool_make(p, DIR_A, NULL);
	fixture_exec(p->base, "DELETE FROM pool_host");
	start(p, 0);
	assert_becomes(p, "a", "h1", "state", "ok");
	assert_becomes(p, "a", "h2", "state", "ok");
	int64_t before = looks("h1");
	assert_true(TURN_UNTIL(p->base->loop, looks("h1") > before + 3));
	assert_int_equal(count_changes(p, "state"), 0);
}

static void test_hung_pool_is_unknown_and_delays_no_other(void **state)
{
	struct pool_fixture *p = *state;
	struct fake_behaviour hang = {.hang = true}, none = {0};
	pool_make(p, DIR_A, NULL);
	pool_make(p, DIR_B, NULL);
	start(p, 0);
	fake_script_set("h1", "pool_info", "berth-a", &hang);
	assert_becomes(p, "a", "h1", "state", "unknown");
	int64_t in_flight = looks("h1");
	fixture_exec(p->base, "UPDATE pool_host SET checked_at = 7 WHERE state = 'ok'");
	assert_true(TURN_UNTIL(p->base->loop, !is(p, "b", "h1", "checked_at", "7")));
	assert_true(TURN_UNTIL(p->base->loop, !is(p, "a", "h2", "checked_at", "7")));
	assert_true(is(p, "a", "h1", "state", "unknown"));
	assert_true(TURN_UNTIL(p->base->loop, looks("h1") > in_flight + 1)); /* of the other */
	char *id CLEANUP(cleanup_free) =
	        fixture_text(p->base, "SELECT id FROM pool WHERE name = 'a'");
	assert_int_equal(pool_check_host(p->base->reader, id, p->h1, &p->base->e), ERR_UNAVAILABLE);
	assert_int_equal(count_changes(p, "state"), 1);
	fake_script_set("h1", "pool_info", "berth-a", &none);
	assert_becomes(p, "a", "h1", "state", "ok");
	assert_int_equal(count_changes(p, "state"), 2);
}

static void test_failing_pool_is_an_error_with_its_reason_and_keeps_its_numbers(void **state)
{
	struct pool_fixture *p = *state;
	struct fake_behaviour fail = {.error_code = ERR_HYPERVISOR, .message = "No such device"};
	pool_make(p, DIR_A, NULL);
	start(p, 0);
	fake_script_set("h1", "pool_info", "berth-a", &fail);
	assert_becomes(p, "a", "h1", "state", "error");
	char *since CLEANUP(cleanup_free) =
	        fixture_text(p->base, "SELECT since FROM pool_host WHERE state = 'error'");
	assert_int_equal(fixture_int(p->base, "SELECT count(*) FROM pool_host WHERE state = "
	                                      "'error' AND reason LIKE '%No such device' AND "
	                                      "capacity_bytes > 0"),
	        1);
	int64_t before = looks("h1");
	assert_true(TURN_UNTIL(p->base->loop, looks("h1") > before + 2));
	assert_true(is(p, "a", "h1", "since", since));
	assert_int_equal(count_changes(p, "state"), 1);
	fake_script_clear("h1");
	assert_becomes(p, "a", "h1", "state", "ok");
	assert_true(is(p, "a", "h1", "reason", ""));
}

static void test_host_that_is_down_leaves_its_pools_as_they_were_seen(void **state)
{
	struct pool_fixture *p = *state;
	struct fake_behaviour refuse = {.error_code = ERR_HOST_PERMISSION};
	pool_make(p, DIR_A, NULL);
	start(p, 0);
	fake_script_set("h2", "open", NULL, &refuse);
	fake_host_break_connections("h2");
	assert_true(TURN_UNTIL(p->base->loop,
	        fixture_is(p->base, "SELECT state FROM host WHERE name = 'h2'", "down")));
	loop_turn_for(p->base->loop, 300);
	assert_true(is(p, "a", "h2", "state", "ok"));
	assert_int_equal(count_changes(p, "state"), 0);
}

static void test_pool_made_while_a_host_was_down_is_made_there_later(void **state)
{
	struct pool_fixture *p = *state;
	struct fake_behaviour refuse = {.error_code = ERR_HOST_PERMISSION};
	start(p, 0);
	fake_script_set("h2", "open", NULL, &refuse);
	fake_host_break_connections("h2");
	assert_true(TURN_UNTIL(p->base->loop,
	        fixture_is(p->base, "SELECT state FROM host WHERE name = 'h2'", "down")));
	pool_make(p, DIR_A, NULL);
	assert_false(is(p, "a", "h2", "state", "ok"));
	fake_script_clear("h2");
	assert_becomes(p, "a", "h2", "state", "ok");
	assert_int_equal(pool_count_files(p, "fake:///h2", "berth-a"), 0);
}

static void fill_to(struct pool_fixture *p, int percent)
{
	/* One file of 64 MiB is there. */
	int64_t capacity = 64 * MIB * 100 / percent;
	char *expected CLEANUP(cleanup_free) = str_format("%lld", (long long)capacity);
	fake_pool_set_capacity("h1", "berth-a", capacity);
	assert_becomes(p, "a", "h1", "capacity_bytes", expected);
}

static void test_filling_pool_warns_once_with_numbers(void **state)
{
	struct pool_fixture *p = *state;
	pool_make(p,
	        "{\"name\":\"a\",\"kind\":\"dir\",\"path\":\"/a\",\"hosts\":[\"h1\"],"
	        "\"warn_percent\":80}",
	        NULL);
	pool_add_full_file(p, "fake:///h1", "berth-a", 64 * MIB);
	start(p, 0);
	fill_to(p, 50);
	assert_int_equal(count_changes(p, "filling"), 0);
	fill_to(p, 81);
	assert_int_equal(count_changes(p, "filling"), 1);
	char *data CLEANUP(cleanup_free) =
	        fixture_text(p->base, "SELECT data FROM change WHERE event = 'filling'");
	assert_non_null(strstr(data, "\"host\":\"h1\""));
	assert_non_null(strstr(data, "\"warn_percent\":80"));
	assert_non_null(strstr(data, "\"allocation_bytes\":67108864"));
	fill_to(p, 77);
	fill_to(p, 82);
	assert_int_equal(count_changes(p, "filling"), 1); /* within the hysteresis */
	fill_to(p, 70);
	fill_to(p, 90);
	assert_int_equal(count_changes(p, "filling"), 2);
}

static void test_shared_pool_warns_once_for_all_its_hosts(void **state)
{
	struct pool_fixture *p = *state;
	pool_make(p, NET_S, NULL);
	pool_add_full_file(p, "fake:///h1", "berth-s", 64 * MIB);
	start(p, 0);
	fake_pool_set_capacity("h1", "berth-s", 65 * MIB);
	fake_pool_set_capacity("h2", "berth-s", 65 * MIB);
	assert_becomes(p, "s", "h1", "warned", "1");
	assert_becomes(p, "s", "h2", "warned", "1");
	assert_int_equal(count_changes(p, "filling"), 1);
}

/* ---- drift ---- */

static bool drift_is(struct pool_fixture *p, const char *volume, const char *expected)
{
	char *sql CLEANUP(cleanup_free) =
	        str_format("SELECT drift FROM volume WHERE id = '%s'", volume);
	return fixture_is(p->base, sql, expected);
}

static void test_deleted_file_is_shown_and_its_return_too(void **state)
{
	struct pool_fixture *p = *state;
	pool_make(p, DIR_A, NULL);
	fake_volume_foreign_add("h1", "berth-a", VOLUME_A ".raw", "raw", MIB);
	pool_add_volume(p, "a", p->h1, VOLUME_A, "raw", MIB);
	start(p, 1);
	assert_becomes(p, "a", "h1", "state", "ok");
	assert_true(drift_is(p, VOLUME_A, ""));
	fake_volume_foreign_remove("h1", "berth-a", VOLUME_A ".raw");
	assert_true(TURN_UNTIL(
	        p->base->loop, drift_is(p, VOLUME_A, "file " VOLUME_A ".raw is not there")));
	assert_int_equal(count_changes(p, "drift"), 1);
	fake_volume_foreign_add("h1", "berth-a", VOLUME_A ".raw", "raw", MIB);
	assert_true(TURN_UNTIL(p->base->loop, drift_is(p, VOLUME_A, "")));
	assert_int_equal(count_changes(p, "drift"), 2);
}

static void test_drift_of_a_lower_layer_shows_on_those_that_stand_on_it(void **state)
{
	struct pool_fixture *p = *state;
	pool_make(p, DIR_A, NULL);
	fake_volume_foreign_add("h1", "berth-a", VOLUME_B ".raw", "raw", MIB);
	pool_add_volume(p, "a", p->h1, VOLUME_A, "raw", MIB);
	pool_add_volume(p, "a", p->h1, VOLUME_B, "raw", MIB);
	fixture_exec(
	        p->base, "UPDATE layer SET backing_id = '" VOLUME_A "' WHERE id = '" VOLUME_B "'");
	start(p, 1);
	assert_true(TURN_UNTIL(
	        p->base->loop, drift_is(p, VOLUME_B, "file " VOLUME_A ".raw is not there")));
	assert_true(drift_is(p, VOLUME_A, "file " VOLUME_A ".raw is not there"));
	assert_int_equal(fixture_int(p->base, "SELECT count(*) FROM layer WHERE drift <> ''"), 1);
	/* A merge takes the layer away: what stood on it is well again. */
	fixture_exec(p->base, "UPDATE layer SET backing_id = NULL");
	assert_true(TURN_UNTIL(p->base->loop, drift_is(p, VOLUME_B, "")));
}

static void test_layers_in_the_making_are_left_alone(void **state)
{
	struct pool_fixture *p = *state;
	pool_make(p, DIR_A, NULL);
	pool_add_volume(p, "a", p->h1, VOLUME_A, "raw", MIB);
	fixture_exec(p->base, "UPDATE layer SET state = 'creating'");
	start(p, 1);
	int64_t before = fake_host_count_calls("h1", "volume_list");
	assert_true(
	        TURN_UNTIL(p->base->loop, fake_host_count_calls("h1", "volume_list") > before + 4));
	assert_true(drift_is(p, VOLUME_A, ""));
	assert_int_equal(count_changes(p, "drift"), 0);
}

static void test_shared_pool_is_listed_by_one_host(void **state)
{
	struct pool_fixture *p = *state;
	pool_make(p, NET_S, NULL);
	pool_add_volume(p, "s", NULL, VOLUME_A, "raw", MIB);
	start(p, 1);
	assert_true(TURN_UNTIL(
	        p->base->loop, drift_is(p, VOLUME_A, "file " VOLUME_A ".raw is not there")));
	int64_t n1 = fake_host_count_calls("h1", "volume_list");
	int64_t n2 = fake_host_count_calls("h2", "volume_list");
	assert_true(n1 == 0 || n2 == 0);
	assert_true(n1 + n2 > 1);
}

static void test_check_on_demand_lists_at_once(void **state)
{
	struct pool_fixture *p = *state;
	char id[UUID_TEXT_SIZE];
	pool_make(p, DIR_A, id);
	const struct pool_monitor_config config = {
	        .services = &p->base->services, .check_ms = 600000, .drift_every = 1000};
	p->monitor = pool_monitor_new(&config);
	assert_true(TURN_UNTIL(p->base->loop, fake_host_count_calls("h1", "volume_list") == 1));
	loop_turn_for(p->base->loop, 50);
	pool_monitor_check(p->monitor, id);
	assert_true(TURN_UNTIL(p->base->loop, fake_host_count_calls("h1", "volume_list") == 2));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        POOL_TEST(test_pools_are_looked_at_again_and_again_on_each_host),
	        POOL_TEST(test_hung_pool_is_unknown_and_delays_no_other),
	        POOL_TEST(test_failing_pool_is_an_error_with_its_reason_and_keeps_its_numbers),
	        POOL_TEST(test_host_that_is_down_leaves_its_pools_as_they_were_seen),
	        POOL_TEST(test_pool_made_while_a_host_was_down_is_made_there_later),
	        POOL_TEST(test_filling_pool_warns_once_with_numbers),
	        POOL_TEST(test_shared_pool_warns_once_for_all_its_hosts),
	        POOL_TEST(test_deleted_file_is_shown_and_its_return_too),
	        POOL_TEST(test_drift_of_a_lower_layer_shows_on_those_that_stand_on_it),
	        POOL_TEST(test_layers_in_the_making_are_left_alone),
	        POOL_TEST(test_shared_pool_is_listed_by_one_host),
	        POOL_TEST(test_check_on_demand_lists_at_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

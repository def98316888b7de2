/* SPDX-License-Identifier: Apache-2.0 */
/* Order within a queue, who may run beside whom, independence across queues. */
#include "tests/unit/operation/world.h"

static void test_operations_of_one_queue_run_in_order_of_creation(void **state)
{
	struct world *w = *state;
	char id[3][UUID_TEXT_SIZE];
	const char *const targets[] = {"x1", "x2", "x3"};
	for (int i = 0; i < 3; i++) {
		struct operation_request request = world_request("test.final", targets[i]);
		request.queue = "shared";
		world_create_request(w, request, id[i]);
	}
	world_wait_end(w, id[2], OPERATION_SUCCEEDED);
	world_assert_state(w, id[0], OPERATION_SUCCEEDED);
	world_assert_state(w, id[1], OPERATION_SUCCEEDED);
	assert_string_equal(str_text(&w->trace), "x1/run a;x2/run a;x3/run a;");
}

static void test_second_waits_until_the_end_of_the_first_is_durable(void **state)
{
	struct world *w = *state;
	char first[UUID_TEXT_SIZE], second[UUID_TEXT_SIZE];
	world_hold(w, "x/run d");
	world_create(w, "test.four", "x", first);
	world_create(w, "test.final", "x", second);
	world_wait_held(w, "x/run d");
	world_assert_state(w, second, OPERATION_QUEUED);
	int running, queued;
	operation_engine_count(w->engine, &running, &queued);
	assert_int_equal(running, 1);
	assert_int_equal(queued, 1);
	world_hold(w, "x/run a");
	world_release(w, "x/run d");
	world_wait_held(w, "x/run a");
	world_assert_state(w, first, OPERATION_SUCCEEDED);
	world_release(w, "x/run a");
	world_wait_end(w, second, OPERATION_SUCCEEDED);
}

static void test_other_queues_do_not_wait(void **state)
{
	struct world *w = *state;
	char stuck[UUID_TEXT_SIZE], other[UUID_TEXT_SIZE];
	world_hold(w, "x/run a");
	world_create(w, "test.four", "x", stuck);
	world_wait_held(w, "x/run a");
	world_create(w, "test.four", "y", other);
	world_wait_end(w, other, OPERATION_SUCCEEDED);
	world_assert_state(w, stuck, OPERATION_RUNNING);
}

static void test_cancelled_in_line_ends_without_its_turn(void **state)
{
	struct world *w = *state;
	char first[UUID_TEXT_SIZE], second[UUID_TEXT_SIZE], third[UUID_TEXT_SIZE];
	struct err e;
	world_hold(w, "x/run a");
	world_create(w, "test.four", "x", first);
	world_create(w, "test.four", "x", second);
	world_create(w, "test.four", "x", third);
	world_wait_held(w, "x/run a");
	world_check(world_cancel(w, second, &e), &e);
	world_wait_end(w, second, OPERATION_CANCELLED);
	world_assert_finished(w, second, "C");
	world_script(w, "x/run a")->hold = false;
	world_release(w, "x/run a");
	world_wait_end(w, third, OPERATION_SUCCEEDED);
	assert_string_equal(str_text(&w->trace), "x/run a;x/run b;x/run c;x/run d;"
	                                         "x/run a;x/run b;x/run c;x/run d;");
}

static void test_failed_operation_lets_the_next_one_begin_after_its_undo(void **state)
{
	struct world *w = *state;
	char first[UUID_TEXT_SIZE], second[UUID_TEXT_SIZE];
	world_fail(w, "x/run b", ERR_HYPERVISOR, 1);
	world_create(w, "test.four", "x", first);
	world_create(w, "test.four", "x", second);
	world_wait_end(w, second, OPERATION_SUCCEEDED);
	world_assert_state(w, first, OPERATION_FAILED);
	assert_string_equal(str_text(&w->trace), "x/run a;x/run b;x/undo b;x/undo a;"
	                                         "x/run a;x/run b;x/run c;x/run d;");
}

static void test_restart_keeps_the_order(void **state)
{
	struct world *w = *state;
	char id[3][UUID_TEXT_SIZE];
	struct err e;
	world_hold(w, "x/run b");
	for (int i = 0; i < 3; i++)
		world_create(w, i == 0 ? "test.four" : "test.late", "x", id[i]);
	world_wait_held(w, "x/run b");
	world_check(world_cancel(w, id[1], &e), &e);
	world_restart(w);
	world_release(w, "x/run b");
	world_release(w, "x/run b");
	world_wait_end(w, id[2], OPERATION_SUCCEEDED);
	world_assert_state(w, id[0], OPERATION_SUCCEEDED);
	world_assert_state(w, id[1], OPERATION_CANCELLED);
	assert_string_equal(str_text(&w->trace), "x/run a;x/run b;x/run b;x/run c;x/run d;"
	                                         "x/run a;x/run b;x/run c;");
}

static void test_busy_names_the_oldest_unfinished_operation(void **state)
{
	struct world *w = *state;
	char first[UUID_TEXT_SIZE], second[UUID_TEXT_SIZE], busy[UUID_TEXT_SIZE], kind[64];
	struct err e;
	world_check(operation_find_busy(w->db, "x", busy, kind, &e), &e);
	assert_string_equal(busy, "");
	world_hold(w, "x/run a");
	world_create(w, "test.four", "x", first);
	world_create(w, "test.late", "x", second);
	world_check(operation_find_busy(w->db, "x", busy, kind, &e), &e);
	assert_string_equal(busy, first);
	assert_string_equal(kind, "test.four");
	world_check(operation_find_kind(w->db, "x", "test.late", busy, &e), &e);
	assert_string_equal(busy, second);
	world_check(operation_find_kind(w->db, "x", "test.none", busy, &e), &e);
	assert_string_equal(busy, "");
}

static bool world_has_run(struct world *w, const char *call)
{
	return strstr(str_text(&w->trace), call) != NULL;
}

static void test_short_work_runs_beside_long_work_that_allows_it(void **state)
{
	struct world *w = *state;
	char slow[UUID_TEXT_SIZE], quick[UUID_TEXT_SIZE], again[UUID_TEXT_SIZE];
	world_hold(w, "x/run a");
	world_create(w, "test.long", "x", slow);
	world_wait_held(w, "x/run a");
	assert_int_not_equal(operation_engine_jobs(w->engine, "x"), 0);
	assert_int_equal(operation_engine_jobs(w->engine, "y"), 0);
	world_script(w, "x/run a")->hold = false;
	world_create(w, "test.side", "x", quick);
	world_wait_end(w, quick, OPERATION_SUCCEEDED);
	world_create(w, "test.side", "x", again);
	world_wait_end(w, again, OPERATION_SUCCEEDED);
	world_assert_state(w, slow, OPERATION_RUNNING);
	world_release(w, "x/run a");
	world_wait_end(w, slow, OPERATION_SUCCEEDED);
}

static struct operation_request on_queue(const char *kind, const char *target)
{
	struct operation_request request = world_request(kind, target);
	request.queue = "shared";
	return request;
}

static void test_nothing_overtakes_what_it_may_not_run_beside(void **state)
{
	struct world *w = *state;
	char slow[UUID_TEXT_SIZE], alone[UUID_TEXT_SIZE], side[UUID_TEXT_SIZE];
	world_hold(w, "slow/run a");
	world_hold(w, "alone/run a");
	world_create_request(w, on_queue("test.long", "slow"), slow);
	world_create_request(w, on_queue("test.plain", "alone"), alone);
	world_create_request(w, on_queue("test.side", "side"), side);
	world_wait_held(w, "slow/run a");
	world_drain(w);
	world_assert_state(w, side, OPERATION_QUEUED);
	world_release(w, "slow/run a");
	world_wait_held(w, "alone/run a");
	world_drain(w);
	assert_false(world_has_run(w, "side/run a"));
	world_release(w, "alone/run a");
	world_wait_end(w, side, OPERATION_SUCCEEDED);
}

static void test_two_of_a_kind_that_is_not_beside_itself_wait_for_each_other(void **state)
{
	struct world *w = *state;
	char first[UUID_TEXT_SIZE], second[UUID_TEXT_SIZE];
	world_hold(w, "first/run b");
	world_create_request(w, on_queue("test.side", "first"), first);
	world_create_request(w, on_queue("test.side", "second"), second);
	world_wait_held(w, "first/run b");
	world_drain(w);
	assert_false(world_has_run(w, "second/run a"));
	world_release(w, "first/run b");
	world_wait_end(w, second, OPERATION_SUCCEEDED);
}

static void test_what_ran_side_by_side_does_so_after_a_restart(void **state)
{
	struct world *w = *state;
	char slow[UUID_TEXT_SIZE], side[UUID_TEXT_SIZE], next[UUID_TEXT_SIZE];
	world_hold(w, "slow/run b");
	world_hold(w, "side/run a");
	world_create_request(w, on_queue("test.long", "slow"), slow);
	world_create_request(w, on_queue("test.side", "side"), side);
	world_create_request(w, on_queue("test.long", "next"), next);
	world_wait_held(w, "slow/run b");
	world_wait_held(w, "side/run a");
	world_restart(w);
	world_wait_held(w, "slow/run b");
	world_wait_held(w, "side/run a");
	world_drain(w);
	assert_false(world_has_run(w, "next/run a"));
	world_release(w, "slow/run b");
	world_wait_end(w, slow, OPERATION_SUCCEEDED);
	world_release(w, "side/run a");
	world_wait_end(w, next, OPERATION_SUCCEEDED);
}

/* It ran beside the first, so what it did must be undone, though it is not first in line. */
static void test_cancelled_before_a_restart_is_undone_when_it_ran_beside_another(void **state)
{
	struct world *w = *state;
	char slow[UUID_TEXT_SIZE], side[UUID_TEXT_SIZE];
	struct err e;
	world_hold(w, "slow/run b");
	world_hold(w, "side/run a");
	world_create_request(w, on_queue("test.long", "slow"), slow);
	world_create_request(w, on_queue("test.side", "side"), side);
	world_wait_held(w, "slow/run b");
	world_wait_held(w, "side/run a");
	world_check(world_cancel(w, side, &e), &e);
	world_restart(w);
	world_wait_end(w, side, OPERATION_CANCELLED);
	assert_true(world_has_run(w, "side/undo a"));
	world_release(w, "slow/run b");
	world_wait_end(w, slow, OPERATION_SUCCEEDED);
}

#define MANY 170

static void test_many_unfinished_operations_begin_over_several_turns_after_a_start(void **state)
{
	struct world *w = *state;
	char target[16], id[UUID_TEXT_SIZE];
	for (int i = 0; i < MANY; i++) {
		snprintf(target, sizeof(target), "m%03d", i);
		snprintf(id, sizeof(id), "%s/run a", target);
		world_hold(w, id);
		world_create(w, "test.plain", target, id);
	}
	world_restart(w);
	int most = 0, before = 0, begun = 0;
	while (begun < MANY) {
		uv_run(loop_uv(w->loop), UV_RUN_ONCE);
		begun = (int)w->held.len;
		most = begun - before > most ? begun - before : most;
		before = begun;
	}
	assert_int_equal(most, 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
	        TEST(test_operations_of_one_queue_run_in_order_of_creation),
	        TEST(test_second_waits_until_the_end_of_the_first_is_durable),
	        TEST(test_other_queues_do_not_wait),
	        TEST(test_cancelled_in_line_ends_without_its_turn),
	        TEST(test_failed_operation_lets_the_next_one_begin_after_its_undo),
	        TEST(test_restart_keeps_the_order),
	        TEST(test_busy_names_the_oldest_unfinished_operation),
	        TEST(test_short_work_runs_beside_long_work_that_allows_it),
	        TEST(test_nothing_overtakes_what_it_may_not_run_beside),
	        TEST(test_two_of_a_kind_that_is_not_beside_itself_wait_for_each_other),
	        TEST(test_what_ran_side_by_side_does_so_after_a_restart),
	        TEST(test_cancelled_before_a_restart_is_undone_when_it_ran_beside_another),
	        TEST(test_many_unfinished_operations_begin_over_several_turns_after_a_start),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Waiters: told once, at the end, when their time is up, or when the engine stops. */
#include "tests/unit/operation/world.h"

struct told {
	int calls;
	bool ended;
};

static void on_told(void *arg, bool ended)
{
	struct told *told = arg;
	told->calls++;
	told->ended = ended;
}

static struct told *told_for_wait;

static bool was_told(struct world *w, const char *arg)
{
	(void)w;
	(void)arg;
	return told_for_wait->calls > 0;
}

static void wait_told(struct world *w, struct told *told)
{
	told_for_wait = told;
	world_run_until(w, was_told, "");
}

static void test_waiter_is_told_once_at_the_end(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	struct told told[3] = {0};
	world_hold(w, "x/run a");
	world_create(w, "test.four", "x", id);
	for (int i = 0; i < 3; i++)
		operation_engine_wait(w->engine, id, 3600000, on_told, &told[i]);
	world_wait_held(w, "x/run a");
	assert_int_equal(told[0].calls, 0);
	world_release(w, "x/run a");
	wait_told(w, &told[2]);
	world_assert_state(w, id, OPERATION_SUCCEEDED);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(told[i].calls, 1);
		assert_true(told[i].ended);
	}
}

static void test_waiter_times_out(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	struct told told[2] = {0};
	world_hold(w, "x/run a");
	world_create(w, "test.four", "x", id);
	operation_engine_wait(w->engine, id, 1, on_told, &told[0]);
	operation_engine_wait(w->engine, id, 0, on_told, &told[1]);
	wait_told(w, &told[0]);
	wait_told(w, &told[1]);
	assert_false(told[0].ended);
	assert_false(told[1].ended);
	world_release(w, "x/run a");
	world_wait_end(w, id, OPERATION_SUCCEEDED);
	world_run_until(w, world_is_idle, "");
	assert_int_equal(told[0].calls, 1);
}

static void test_waiting_for_an_ended_or_unknown_operation_answers_at_once(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	struct told told[2] = {0};
	world_create(w, "test.empty", "x", id);
	world_wait_end(w, id, OPERATION_SUCCEEDED);
	world_run_until(w, world_is_idle, "");
	operation_engine_wait(w->engine, id, 3600000, on_told, &told[0]);
	operation_engine_wait(w->engine, "nobody", 3600000, on_told, &told[1]);
	wait_told(w, &told[1]);
	assert_true(told[0].ended);
	assert_true(told[1].ended);
}

static void test_stop_tells_the_waiters(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	struct told told[2] = {0};
	world_hold(w, "x/run a");
	world_create(w, "test.four", "x", id);
	operation_engine_wait(w->engine, id, 3600000, on_told, &told[0]);
	world_wait_held(w, "x/run a");
	operation_engine_stop(w->engine);
	assert_int_equal(told[0].calls, 1);
	assert_false(told[0].ended);
	operation_engine_wait(w->engine, id, 3600000, on_told, &told[1]);
	world_restart(w); /* frees the engine */
	assert_int_equal(told[1].calls, 1);
	assert_false(told[1].ended);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
	        TEST(test_waiter_is_told_once_at_the_end),
	        TEST(test_waiter_times_out),
	        TEST(test_waiting_for_an_ended_or_unknown_operation_answers_at_once),
	        TEST(test_stop_tells_the_waiters),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Cancelling: in line, while a step runs, past the point of no return, and every race with the
 * writer. */
#include "tests/unit/operation/world.h"

static int store_row(struct db *db, void *arg, struct err *e)
{
	(void)arg;
	return db_exec(db, "INSERT INTO meta (key, value) VALUES ('stored', 'yes')", e);
}

static void test_cancel_while_a_step_runs_undoes_it(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	struct err e;
	world_hold(w, "x/run c");
	world_script(w, "x/run c")->store = store_row;
	world_create(w, "test.four", "x", id);
	world_wait_held(w, "x/run c");
	world_check(world_cancel(w, id, &e), &e);
	world_release(w, "x/run c");
	world_wait_end(w, id, OPERATION_CANCELLED);
	assert_string_equal(str_text(&w->trace), "x/run a;x/run b;x/run c;x/undo b;x/undo a;");
	world_assert_finished(w, id, "C");
	CLEANUP(cleanup_free)
	char *stored = world_query(w, "SELECT value FROM meta WHERE key = 'stored'", NULL);
	assert_string_equal(stored, "");
	assert_int_equal(w->released, 1);
}

static void test_on_cancel_may_end_the_step_early(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	struct err e;
	world_hold(w, "x/run b");
	world_script(w, "x/run b")->done_on_cancel = true;
	world_create(w, "test.four", "x", id);
	world_wait_held(w, "x/run b");
	world_check(world_cancel(w, id, &e), &e);
	world_wait_end(w, id, OPERATION_CANCELLED);
	assert_string_equal(str_text(&w->trace), "x/run a;x/run b;x/undo b;x/undo a;");
}

static void test_cancel_twice_is_fine_and_after_the_end_refused(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	struct err e;
	world_hold(w, "x/run a");
	world_create(w, "test.four", "x", id);
	world_wait_held(w, "x/run a");
	world_check(world_cancel(w, id, &e), &e);
	world_check(world_cancel(w, id, &e), &e);
	world_release(w, "x/run a");
	world_wait_end(w, id, OPERATION_CANCELLED);
	assert_int_equal(world_cancel(w, id, &e), ERR_WRONG_STATE);
	assert_int_equal(world_cancel(w, "no-such-operation", &e), ERR_NOT_FOUND);
}

static void test_cancel_is_refused_past_the_final_step_and_while_undoing(void **state)
{
	struct world *w = *state;
	char late[UUID_TEXT_SIZE], failed[UUID_TEXT_SIZE];
	struct err e;
	world_hold(w, "x/run c");
	world_hold(w, "y/undo a");
	world_fail(w, "y/run a", ERR_HYPERVISOR, 1);
	world_create(w, "test.late", "x", late);
	world_create(w, "test.four", "y", failed);
	world_wait_held(w, "x/run c");
	assert_int_equal(world_cancel(w, late, &e), ERR_WRONG_STATE);
	assert_non_null(strstr(e.message, "step 'b'"));
	world_wait_held(w, "y/undo a");
	assert_int_equal(world_cancel(w, failed, &e), ERR_WRONG_STATE);
	world_release(w, "x/run c");
	world_release(w, "y/undo a");
	world_wait_end(w, late, OPERATION_SUCCEEDED);
	world_wait_end(w, failed, OPERATION_FAILED);
}

/* The step is done and its advance is asked for, but the cancel is first in the writer's queue. */
static void test_cancel_that_beats_the_advance_wins(void **state)
{
	struct world *w = *state;
	char late[UUID_TEXT_SIZE], whole[UUID_TEXT_SIZE];
	struct err e;
	world_hold(w, "x/run a");
	world_hold(w, "y/run d");
	world_create(w, "test.late", "x", late);
	world_create(w, "test.four", "y", whole);
	world_wait_held(w, "x/run a");
	world_wait_held(w, "y/run d");
	world_check(world_cancel(w, late, &e), &e);
	world_check(world_cancel(w, whole, &e), &e);
	world_release(w, "x/run a"); /* the core loop has not heard of the cancel yet */
	world_release(w, "y/run d");
	world_wait_end(w, late, OPERATION_CANCELLED);
	world_wait_end(w, whole, OPERATION_CANCELLED);
	assert_null(strstr(str_text(&w->trace), "x/run b"));
	world_assert_finished(w, whole, "C");
}

/* The step fails before the core loop hears of a cancel that was accepted: the word is kept. */
static void test_cancel_that_beats_a_failure_wins(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	struct err e;
	world_hold(w, "x/run a");
	world_fail(w, "x/run a", ERR_HYPERVISOR, 1);
	world_create(w, "test.plain", "x", id);
	world_wait_held(w, "x/run a");
	world_check(world_cancel(w, id, &e), &e);
	world_release(w, "x/run a");
	world_wait_end(w, id, OPERATION_CANCELLED);
	world_assert_finished(w, id, "C");
}

/* The process died with "running" not yet written: step a may have begun, so it is undone. */
static void test_cancelled_before_a_restart_is_undone_even_if_it_looks_queued(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	operation_engine_stop(w->engine);
	world_create(w, "test.four", "x", id);
	world_exec(w, "UPDATE operation SET cancel = 1");
	world_restart(w);
	world_wait_end(w, id, OPERATION_CANCELLED);
	assert_string_equal(str_text(&w->trace), "x/undo a;");
}

static void test_cancel_before_a_final_first_step_wins(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	struct err e;
	world_create(w, "test.final", "x", id);
	world_check(world_cancel(w, id, &e), &e); /* before the loop turns */
	world_wait_end(w, id, OPERATION_CANCELLED);
	assert_string_equal(str_text(&w->trace), "");
}

static void test_cancel_survives_a_restart(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	struct err e;
	world_hold(w, "x/run b");
	world_create(w, "test.four", "x", id);
	world_wait_held(w, "x/run b");
	world_check(world_cancel(w, id, &e), &e);
	world_restart(w);
	world_wait_end(w, id, OPERATION_CANCELLED);
	assert_string_equal(str_text(&w->trace), "x/run a;x/run b;x/undo b;x/undo a;");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
	        TEST(test_cancel_while_a_step_runs_undoes_it),
	        TEST(test_on_cancel_may_end_the_step_early),
	        TEST(test_cancel_twice_is_fine_and_after_the_end_refused),
	        TEST(test_cancel_is_refused_past_the_final_step_and_while_undoing),
	        TEST(test_cancel_that_beats_the_advance_wins),
	        TEST(test_cancel_that_beats_a_failure_wins),
	        TEST(test_cancelled_before_a_restart_is_undone_even_if_it_looks_queued),
	        TEST(test_cancel_before_a_final_first_step_wins),
	        TEST(test_cancel_survives_a_restart),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

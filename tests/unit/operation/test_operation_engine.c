/* SPDX-License-Identifier: Apache-2.0 */
/* The machine: steps, undo, waiting for a host, failing writes, progress, restart. */
#include "tests/unit/operation/world.h"

#include "base/clock.h"

#define ALL_STEPS "x/run a;x/run b;x/run c;x/run d;"

static bool has_trace(struct world *w, const char *text)
{
	return strstr(str_text(&w->trace), text) != NULL;
}

static bool has_phase(struct world *w, const char *phase)
{
	CLEANUP(cleanup_free)
	char *found = world_query(w, "SELECT phase FROM operation ORDER BY seq DESC LIMIT 1", NULL);
	return strcmp(found, phase) == 0;
}

static bool is_running(struct world *w, const char *id)
{
	CLEANUP(operation_row_done) struct operation_row row = {0};
	world_get(w, id, &row);
	return row.state == OPERATION_RUNNING;
}

/* ---- steps ---- */

static void test_steps_run_in_order_and_finish_once(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	world_create(w, "test.four", "x", id);
	world_wait_end(w, id, OPERATION_SUCCEEDED);
	assert_string_equal(str_text(&w->trace), ALL_STEPS);
	world_assert_finished(w, id, "S");
	CLEANUP(operation_row_done) struct operation_row row = {0};
	world_get(w, id, &row);
	assert_int_equal(row.percent, 100);
	assert_true(row.started_at >= row.created_at && row.ended_at >= row.started_at);
	assert_null(row.error);
}

static void test_synchronous_answers_work(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	const char *const keys[] = {"x/run a", "x/run b", "x/run c", "x/run d"};
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		world_script(w, keys[i])->sync = true;
	world_create(w, "test.four", "x", id);
	world_wait_end(w, id, OPERATION_SUCCEEDED);
	assert_string_equal(str_text(&w->trace), ALL_STEPS);
}

static void test_operation_without_steps_succeeds_at_once(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	world_create(w, "test.empty", "x", id);
	world_wait_end(w, id, OPERATION_SUCCEEDED);
	world_assert_finished(w, id, "S");
}

static void test_running_is_visible_while_the_first_step_runs(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	world_hold(w, "x/run a");
	world_create(w, "test.four", "x", id);
	world_assert_state(w, id, OPERATION_QUEUED);
	world_run_until(w, is_running, id);
	assert_true(has_phase(w, "a"));
}

static void check_step_is_durable(struct world *w, struct operation *op, const char *key)
{
	CLEANUP(operation_row_done) struct operation_row row = {0};
	world_get(w, operation_id(op), &row);
	const char *step = world_four_steps[row.step].name;
	assert_string_equal(key + strlen(key) - 1, step);
	assert_int_equal(row.undoing, operation_is_undoing(op));
}

static void test_index_of_a_step_is_durable_before_it_runs(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	w->on_call = check_step_is_durable;
	world_fail(w, "x/run d", ERR_HYPERVISOR, -1);
	world_create(w, "test.four", "x", id);
	world_wait_end(w, id, OPERATION_FAILED);
	assert_string_equal(str_text(&w->trace), ALL_STEPS "x/undo d;x/undo b;x/undo a;");
}

static void test_final_first_step_begins_after_running_is_durable(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	struct err e;
	world_hold(w, "x/run a");
	world_create(w, "test.final", "x", id);
	world_wait_held(w, "x/run a");
	world_assert_state(w, id, OPERATION_RUNNING);
	assert_int_equal(world_cancel(w, id, &e), ERR_WRONG_STATE);
	world_release(w, "x/run a");
	world_wait_end(w, id, OPERATION_SUCCEEDED);
}

static void test_one_advance_is_one_writer_job(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	struct writer_stats before, after;
	world_create(w, "test.four", "x", id);
	writer_get_stats(w->writer, &before);
	world_wait_end(w, id, OPERATION_SUCCEEDED);
	world_run_until(w, world_is_idle, "");
	writer_get_stats(w->writer, &after);
	/* "running", three advances, the end */
	assert_int_equal(after.jobs - before.jobs, 5);
}

static void keep_step_in_memory(struct world *w, struct operation *op, const char *key)
{
	(void)w;
	json_object_set_new(operation_memory(op), key + 2, json_true());
}

static void test_memory_survives_a_restart(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	w->on_call = keep_step_in_memory;
	world_hold(w, "x/run c");
	world_create(w, "test.four", "x", id);
	world_wait_held(w, "x/run c");
	world_restart(w);
	world_wait_held(w, "x/run c");
	struct operation *op = w->held.items[0].op;
	assert_non_null(json_object_get(operation_memory(op), "run b"));
	world_release(w, "x/run c");
	world_wait_end(w, id, OPERATION_SUCCEEDED);
	assert_string_equal(str_text(&w->trace), "x/run a;x/run b;x/run c;x/run c;x/run d;");
}

static void test_input_and_target_reach_the_step(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	world_hold(w, "x/run a");
	struct operation_request request = world_request("test.four", "x");
	json_t *input = json_pack("{s:i}", "size", 7);
	request.input = input;
	world_create_request(w, request, id);
	json_decref(input);
	world_wait_held(w, "x/run a");
	struct operation *op = w->held.items[0].op;
	assert_int_equal(json_integer_value(json_object_get(operation_input(op), "size")), 7);
	assert_string_equal(operation_target_name(op), "x");
	assert_string_equal(operation_host_id(op), "host-1");
	assert_string_equal(operation_id(op), id);
}

/* ---- storing ---- */

static int store_row(struct db *db, void *arg, struct err *e)
{
	(void)arg;
	return db_exec(db, "INSERT INTO meta (key, value) VALUES ('stored', 'yes')", e);
}

static int store_badly(struct db *db, void *arg, struct err *e)
{
	(void)arg;
	int rc = db_exec(db, "INSERT INTO meta (key, value) VALUES ('stored', 'yes')", e);
	return rc < 0 ? rc : err_set(e, ERR_CONFLICT, "somebody else has it");
}

static void test_store_is_in_the_transaction_of_the_advance(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	world_script(w, "x/run b")->store = store_row;
	world_create(w, "test.four", "x", id);
	world_wait_end(w, id, OPERATION_SUCCEEDED);
	CLEANUP(cleanup_free)
	char *stored = world_query(w, "SELECT value FROM meta WHERE key = 'stored'", NULL);
	assert_string_equal(stored, "yes");
	assert_int_equal(w->released, 1);
}

static void test_failed_store_fails_the_step_with_its_error(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	world_script(w, "x/run b")->store = store_badly;
	world_create(w, "test.four", "x", id);
	world_wait_end(w, id, OPERATION_FAILED);
	CLEANUP(cleanup_free)
	char *stored = world_query(w, "SELECT value FROM meta WHERE key = 'stored'", NULL);
	assert_string_equal(stored, "");
	CLEANUP(operation_row_done) struct operation_row row = {0};
	world_get(w, id, &row);
	assert_non_null(strstr(row.error, "somebody else has it"));
	assert_string_equal(str_text(&w->trace), "x/run a;x/run b;x/undo b;x/undo a;");
	assert_int_equal(w->released, 1);
}

/* ---- failing and undoing ---- */

static void test_failure_undoes_from_the_failed_step_down(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	world_fail(w, "x/run b", ERR_HYPERVISOR, 1);
	world_create(w, "test.four", "x", id);
	world_wait_end(w, id, OPERATION_FAILED);
	assert_string_equal(str_text(&w->trace), "x/run a;x/run b;x/undo b;x/undo a;");
	world_assert_finished(w, id, "F");
	CLEANUP(operation_row_done) struct operation_row row = {0};
	world_get(w, id, &row);
	json_t *error = json_loads(row.error, 0, NULL);
	assert_string_equal(json_string_value(json_object_get(error, "code")), "hypervisor");
	assert_string_equal(json_string_value(json_object_get(error, "step")), "b");
	json_decref(error);
}

static void test_undo_is_tried_until_it_works(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	world_fail(w, "x/run a", ERR_HYPERVISOR, 1);
	world_fail(w, "x/undo a", ERR_INTERNAL, 3);
	world_create(w, "test.four", "x", id);
	world_wait_end(w, id, OPERATION_FAILED);
	assert_string_equal(str_text(&w->trace), "x/run a;x/undo a;x/undo a;x/undo a;x/undo a;");
}

static void test_poke_tries_an_undo_at_once(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	operation_engine_set_times(w->engine, (struct operation_times){.retry_min_ms = 3600000,
	                                              .retry_max_ms = 3600000,
	                                              .patience_ms = 1,
	                                              .report_ms = 5});
	world_fail(w, "x/run a", ERR_HYPERVISOR, 1);
	world_fail(w, "x/undo a", ERR_HOST_DOWN, 1);
	world_create(w, "test.four", "x", id);
	world_run_until(w, has_phase, "waiting for host");
	operation_engine_poke(w->engine, "host-1");
	world_wait_end(w, id, OPERATION_FAILED);
}

static void test_undo_goes_on_after_a_restart_with_the_first_error(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	world_fail(w, "x/run d", ERR_NO_CAPACITY, 1);
	world_hold(w, "x/undo b");
	world_create(w, "test.four", "x", id);
	world_wait_held(w, "x/undo b");
	world_restart(w);
	world_release(w, "x/undo b");
	world_wait_end(w, id, OPERATION_FAILED);
	assert_string_equal(str_text(&w->trace), ALL_STEPS "x/undo d;x/undo b;x/undo b;x/undo a;");
	CLEANUP(operation_row_done) struct operation_row row = {0};
	world_get(w, id, &row);
	assert_non_null(strstr(row.error, "insufficient_capacity"));
	assert_non_null(strstr(row.error, "scripted failure of x/run d"));
	assert_non_null(strstr(row.error, "\"step\":\"d\""));
}

/* ---- waiting for the host ---- */

static void set_patient(struct world *w, int patience_ms)
{
	operation_engine_set_times(w->engine, (struct operation_times){.retry_min_ms = 3600000,
	                                              .retry_max_ms = 3600000,
	                                              .patience_ms = patience_ms,
	                                              .report_ms = 5});
}

static void test_host_error_waits_and_a_poke_of_that_host_goes_on(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	set_patient(w, HOST_PATIENCE_MS);
	world_fail(w, "x/run b", ERR_HOST_DOWN, 1);
	world_create(w, "test.four", "x", id);
	world_run_until(w, has_phase, "waiting for host");
	CLEANUP(operation_row_done) struct operation_row row = {0};
	world_get(w, id, &row);
	assert_string_equal(row.reason, "scripted failure of x/run b");
	operation_engine_poke(w->engine, "host-2");
	world_drain(w);
	assert_string_equal(str_text(&w->trace), "x/run a;x/run b;");
	operation_engine_poke(w->engine, "host-1");
	world_wait_end(w, id, OPERATION_SUCCEEDED);
	assert_string_equal(str_text(&w->trace), "x/run a;x/run b;x/run b;x/run c;x/run d;");
	world_get(w, id, &row);
	assert_string_equal(row.reason, "");
	assert_null(row.error);
}

static void test_poke_during_the_failing_try_is_not_lost(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	set_patient(w, HOST_PATIENCE_MS);
	world_hold(w, "x/run a");
	world_fail(w, "x/run a", ERR_HOST_SLOW, 1);
	world_create(w, "test.four", "x", id);
	world_wait_held(w, "x/run a");
	operation_engine_poke(w->engine, NULL);
	world_release(w, "x/run a");
	world_release(w, "x/run a");
	world_wait_end(w, id, OPERATION_SUCCEEDED);
}

static void test_host_is_also_tried_without_a_poke(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	world_fail(w, "x/run a", ERR_HOST_SLOW, 3);
	world_create(w, "test.four", "x", id);
	world_wait_end(w, id, OPERATION_SUCCEEDED);
}

static void test_patience_ends_with_the_hosts_error(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	set_patient(w, 20);
	world_fail(w, "x/run b", ERR_HOST_DOWN, -1);
	world_create(w, "test.four", "x", id);
	world_wait_end(w, id, OPERATION_FAILED);
	CLEANUP(operation_row_done) struct operation_row row = {0};
	world_get(w, id, &row);
	assert_non_null(strstr(row.error, "\"host_down\""));
	assert_non_null(strstr(row.error, "gave up after waiting"));
	assert_true(has_trace(w, "x/undo b;x/undo a;"));
}

static void test_deadline_ends_the_waiting(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	set_patient(w, HOST_PATIENCE_MS);
	world_fail(w, "x/run a", ERR_HOST_DOWN, -1);
	clock_fake_set(1000000);
	struct operation_request request = world_request("test.four", "x");
	request.deadline_ms = 1000000 + 3600000;
	world_create_request(w, request, id);
	world_run_until(w, has_phase, "waiting for host");
	clock_fake_set(request.deadline_ms);
	operation_engine_poke(w->engine, "host-1"); /* one more try, then it is too late */
	world_wait_end(w, id, OPERATION_FAILED);
	clock_fake_set(-1);
	CLEANUP(operation_row_done) struct operation_row row = {0};
	world_get(w, id, &row);
	assert_non_null(strstr(row.error, "\"deadline_exceeded\""));
}

static void test_turn_after_the_deadline_fails_without_running(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	struct operation_request request = world_request("test.four", "x");
	request.deadline_ms = 1;
	world_create_request(w, request, id);
	world_wait_end(w, id, OPERATION_FAILED);
	assert_string_equal(str_text(&w->trace), "");
	world_assert_finished(w, id, "F");
}

static void test_host_free_step_does_not_wait(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	set_patient(w, HOST_PATIENCE_MS);
	world_fail(w, "x/run a", ERR_HOST_DOWN, -1);
	world_create(w, "test.final", "x", id);
	world_wait_end(w, id, OPERATION_FAILED);
}

static void test_cancel_ends_the_waiting(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	struct err e;
	set_patient(w, HOST_PATIENCE_MS);
	world_fail(w, "x/run a", ERR_HOST_DOWN, -1);
	world_create(w, "test.four", "x", id);
	world_run_until(w, has_phase, "waiting for host");
	world_check(world_cancel(w, id, &e), &e);
	world_wait_end(w, id, OPERATION_CANCELLED);
	assert_string_equal(str_text(&w->trace), "x/run a;x/undo a;");
}

/* ---- writes that fail ---- */

static bool has_failed_jobs(struct world *w, const char *arg)
{
	(void)arg;
	struct writer_stats stats;
	writer_get_stats(w->writer, &stats);
	return stats.failed_jobs >= 3;
}

static void test_failed_write_neither_loses_nor_doubles_the_step(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	world_hold(w, "x/run b");
	world_script(w, "x/run b")->store = store_row;
	world_create(w, "test.four", "x", id);
	world_wait_held(w, "x/run b");
	world_exec(w, "CREATE TEMP TRIGGER no_update BEFORE UPDATE ON operation "
	              "BEGIN SELECT RAISE(ABORT, 'the disk is on fire'); END");
	world_release(w, "x/run b");
	world_run_until(w, has_failed_jobs, "");
	assert_string_equal(str_text(&w->trace), "x/run a;x/run b;");
	assert_int_equal(w->released, 0);
	world_exec(w, "DROP TRIGGER no_update");
	world_wait_end(w, id, OPERATION_SUCCEEDED);
	assert_string_equal(str_text(&w->trace), ALL_STEPS);
	assert_int_equal(w->released, 1);
}

static void test_failed_end_is_tried_again_and_finishes_once(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	world_hold(w, "x/run d");
	world_create(w, "test.four", "x", id);
	world_wait_held(w, "x/run d");
	world_exec(w, "CREATE TEMP TRIGGER no_end BEFORE INSERT ON change "
	              "BEGIN SELECT RAISE(ABORT, 'the disk is on fire'); END");
	world_release(w, "x/run d");
	world_run_until(w, has_failed_jobs, "");
	world_assert_finished(w, id, "");
	world_exec(w, "DROP TRIGGER no_end");
	world_wait_end(w, id, OPERATION_SUCCEEDED);
	world_assert_finished(w, id, "S");
}

static void fill_memory(struct world *w, struct operation *op, const char *key)
{
	(void)w;
	static char big[200000];
	memset(big, 'x', sizeof(big) - 1);
	if (strcmp(key, "x/run b") == 0)
		json_object_set_new(operation_memory(op), "big", json_string(big));
}

static void test_full_disk_is_waited_out(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	w->on_call = fill_memory;
	world_hold(w, "x/run b");
	world_create(w, "test.four", "x", id);
	world_wait_held(w, "x/run b");
	world_exec(w, "PRAGMA max_page_count = 1"); /* as small as it is now */
	world_release(w, "x/run b");
	world_run_until(w, has_failed_jobs, "");
	world_assert_state(w, id, OPERATION_RUNNING);
	world_exec(w, "PRAGMA max_page_count = 1000000");
	world_wait_end(w, id, OPERATION_SUCCEEDED);
	assert_string_equal(str_text(&w->trace), ALL_STEPS);
}

/* ---- progress, events, restart ---- */

static bool is_half_way(struct world *w, const char *id)
{
	CLEANUP(operation_row_done) struct operation_row row = {0};
	world_get(w, id, &row);
	return row.percent == 50 && row.done_bytes == 512 && row.total_bytes == 1024;
}

static void test_progress_reaches_the_row_in_few_writes(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	struct writer_stats before, after;
	set_patient(w, 1);
	world_hold(w, "x/run a");
	world_create(w, "test.four", "x", id);
	world_wait_held(w, "x/run a");
	world_run_until(w, is_running, id);
	writer_get_stats(w->writer, &before);
	struct operation *op = w->held.items[0].op;
	for (int i = 1; i <= 512; i++)
		operation_progress(op, i * 50 / 512, i, 1024);
	world_run_until(w, is_half_way, id);
	writer_get_stats(w->writer, &after);
	assert_true(after.jobs - before.jobs <= 3);
}

static void test_transitions_are_in_the_change_feed(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	world_create(w, "test.four", "x", id);
	world_wait_end(w, id, OPERATION_SUCCEEDED);
	CLEANUP(cleanup_free)
	char *events = world_query(w,
	        "SELECT group_concat(event, ' ') FROM (SELECT event FROM change "
	        "WHERE object_id = ? AND kind = 'operation' ORDER BY seq)",
	        id);
	assert_string_equal(events, "created updated updated updated updated ended");
	CLEANUP(cleanup_free)
	char *data = world_query(
	        w, "SELECT data FROM change WHERE object_id = ? ORDER BY seq LIMIT 1 OFFSET 2", id);
	assert_string_equal(data, "{\"state\":\"running\",\"kind\":\"test.four\",\"target_id\":"
	                          "\"x\",\"phase\":\"b\"}");
}

static void test_unknown_kind_ends_as_interrupted(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE], next[UUID_TEXT_SIZE];
	world_hold(w, "x/run a");
	world_create(w, "test.four", "x", id);
	world_create(w, "test.empty", "x", next);
	world_wait_held(w, "x/run a");
	world_stop(w);
	world_start_with(w, /* knows_four= */ false);
	world_wait_end(w, next, OPERATION_SUCCEEDED);
	world_assert_state(w, id, OPERATION_INTERRUPTED);
}

static void test_dry_run_and_rollback_leave_nothing(void **state)
{
	struct world *w = *state;
	struct create_job job = {.engine = w->engine, .request = world_request("test.four", "x")};
	writer_submit(w->writer,
	        (struct writer_job){.run = world_create_run, .arg = &job, .mode = WRITER_DRY_RUN});
	world_exec(w, "SELECT 1"); /* behind it in the queue */
	world_drain(w);
	assert_true(world_is_idle(w, ""));
	CLEANUP(cleanup_free) char *n = world_query(w, "SELECT COUNT(*) FROM operation", NULL);
	assert_string_equal(n, "0");
}

static void test_unregistered_kind_is_refused(void **state)
{
	struct world *w = *state;
	struct create_job job = {.engine = w->engine, .request = world_request("test.none", "x")};
	struct err e;
	assert_int_equal(writer_run(w->writer, world_create_run, &job, &e), ERR_INTERNAL);
}

static void test_stopped_engine_starts_nothing(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE], next[UUID_TEXT_SIZE];
	world_hold(w, "x/run a");
	world_create(w, "test.four", "x", id);
	world_wait_held(w, "x/run a");
	operation_engine_stop(w->engine);
	world_create(w, "test.four", "y", next);
	int running, queued;
	operation_engine_count(w->engine, &running, &queued);
	assert_int_equal(running, 1); /* a draining daemon waits for its answer */
	world_release(w, "x/run a");
	world_drain(w);
	operation_engine_count(w->engine, &running, &queued);
	assert_int_equal(running, 0);
	assert_string_equal(str_text(&w->trace), "x/run a;");
	world_restart(w);
	world_release(w, "x/run a");
	world_wait_end(w, id, OPERATION_SUCCEEDED);
	world_wait_end(w, next, OPERATION_SUCCEEDED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
	        TEST(test_steps_run_in_order_and_finish_once),
	        TEST(test_synchronous_answers_work),
	        TEST(test_operation_without_steps_succeeds_at_once),
	        TEST(test_running_is_visible_while_the_first_step_runs),
	        TEST(test_index_of_a_step_is_durable_before_it_runs),
	        TEST(test_final_first_step_begins_after_running_is_durable),
	        TEST(test_one_advance_is_one_writer_job),
	        TEST(test_memory_survives_a_restart),
	        TEST(test_input_and_target_reach_the_step),
	        TEST(test_store_is_in_the_transaction_of_the_advance),
	        TEST(test_failed_store_fails_the_step_with_its_error),
	        TEST(test_failure_undoes_from_the_failed_step_down),
	        TEST(test_undo_is_tried_until_it_works),
	        TEST(test_poke_tries_an_undo_at_once),
	        TEST(test_undo_goes_on_after_a_restart_with_the_first_error),
	        TEST(test_host_error_waits_and_a_poke_of_that_host_goes_on),
	        TEST(test_poke_during_the_failing_try_is_not_lost),
	        TEST(test_host_is_also_tried_without_a_poke),
	        TEST(test_patience_ends_with_the_hosts_error),
	        TEST(test_deadline_ends_the_waiting),
	        TEST(test_turn_after_the_deadline_fails_without_running),
	        TEST(test_host_free_step_does_not_wait),
	        TEST(test_cancel_ends_the_waiting),
	        TEST(test_failed_write_neither_loses_nor_doubles_the_step),
	        TEST(test_failed_end_is_tried_again_and_finishes_once),
	        TEST(test_full_disk_is_waited_out),
	        TEST(test_progress_reaches_the_row_in_few_writes),
	        TEST(test_transitions_are_in_the_change_feed),
	        TEST(test_unknown_kind_ends_as_interrupted),
	        TEST(test_dry_run_and_rollback_leave_nothing),
	        TEST(test_unregistered_kind_is_refused),
	        TEST(test_stopped_engine_starts_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

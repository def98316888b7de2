/* SPDX-License-Identifier: Apache-2.0 */
/* Rows: what is written is read back, listed, pruned and encoded. */
#include "tests/unit/operation/world.h"

static void encode(struct world *w, const struct operation_row *row, struct json_writer *writer)
{
	json_writer_done(writer);
	operation_encode(w->engine, row, writer);
}

static json_t *encode_by_id(struct world *w, const char *id)
{
	CLEANUP(operation_row_done) struct operation_row row = {0};
	CLEANUP(json_writer_done) struct json_writer writer = {0};
	world_get(w, id, &row);
	encode(w, &row, &writer);
	json_t *value = json_loads(str_text(&writer.out), JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(value);
	return value;
}

/* "a:done b:running ..." */
static void assert_steps(json_t *answer, const char *wanted)
{
	CLEANUP(str_done) struct str steps = {0};
	size_t i;
	json_t *step;
	json_array_foreach(json_object_get(answer, "steps"), i, step)
	{
		str_printf(&steps, "%s%s:%s", i > 0 ? " " : "",
		        json_string_value(json_object_get(step, "name")),
		        json_string_value(json_object_get(step, "state")));
	}
	assert_string_equal(str_text(&steps), wanted);
}

static const char *text_of(json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static void test_row_is_read_back(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	world_hold(w, "x/run a");
	struct operation_request request = world_request("test.four", "x");
	json_t *input = json_pack("{s:s}", "name", "web");
	request.input = input;
	request.queue = "q";
	request.request_id = "request-1";
	request.deadline_ms = 4102444800000;
	world_create_request(w, request, id);
	json_decref(input);
	CLEANUP(operation_row_done) struct operation_row row = {0};
	world_get(w, id, &row);
	assert_string_equal(row.kind, "test.four");
	assert_string_equal(row.target_kind, "vm");
	assert_string_equal(row.target_id, "x");
	assert_string_equal(row.host_id, "host-1");
	assert_string_equal(row.queue, "q");
	assert_string_equal(row.input, "{\"name\":\"web\"}");
	assert_string_equal(row.memory, "{}");
	assert_string_equal(row.requested_by, "tester");
	assert_string_equal(row.request_id, "request-1");
	assert_int_equal(row.deadline, 4102444800000);
	assert_int_equal(row.seq, 1);
	assert_true(row.created_at > 0);
	assert_int_equal(row.started_at, 0);
}

static void test_unknown_id_is_not_found(void **state)
{
	struct world *w = *state;
	struct operation_row row;
	struct err e;
	assert_int_equal(operation_store_get(w->db, "nobody", &row, &e), ERR_NOT_FOUND);
	assert_non_null(strstr(e.message, "nobody"));
}

static int update_ended(struct db *db, void *arg, struct err *e)
{
	struct operation_update update = {
	        .id = arg, .state = OPERATION_RUNNING, .phase = "", .reason = ""};
	return operation_store_update(db, &update, e);
}

static void test_ended_row_is_never_changed(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	struct err e;
	world_create(w, "test.empty", "x", id);
	world_wait_end(w, id, OPERATION_SUCCEEDED);
	assert_int_equal(writer_run(w->writer, update_ended, id, &e), ERR_NOT_FOUND);
	world_assert_state(w, id, OPERATION_SUCCEEDED);
}

static void test_failure_is_explained_to_what_needed_it(void **state)
{
	(void)state;
	char full[] = "{\"code\":\"disk_full\",\"detail\":\"pool p is full\"}";
	char down[] = "{\"code\":\"host_down\",\"detail\":\"host h is down\"}";
	char reason[] = "it waits";
	const struct {
		struct operation_row row;
		int code;
		const char *message;
	} cases[] = {
	        {{.error = full, .reason = reason}, ERR_DISK_FULL, "pool p is full"},
	        {{.error = down, .reason = reason}, ERR_UNPROCESSABLE, "host h is down"},
	        {{.reason = reason}, ERR_UNPROCESSABLE, "it waits"},
	        {{.state = OPERATION_CANCELLED}, ERR_UNPROCESSABLE, "cancelled"},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err e = {0};
		assert_int_equal(operation_row_explain(&cases[i].row, &e), cases[i].code);
		assert_int_equal(e.code, cases[i].code);
		assert_string_equal(e.message, cases[i].message);
		assert_int_equal(operation_row_explain(&cases[i].row, NULL), cases[i].code);
	}
}

static int add_target(void *arg, const struct operation_row *row, struct err *e)
{
	(void)e;
	str_printf(arg, "%s;", row->target_id);
	return 0;
}

static int refuse_row(void *arg, const struct operation_row *row, struct err *e)
{
	(*(int *)arg)++;
	return err_set(e, ERR_CONFLICT, "not %s", row->target_id);
}

static void test_list_takes_a_filter_an_order_and_a_limit(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	struct err e;
	const char *const targets[] = {"x", "y", "z", "x"};
	for (size_t i = 0; i < ARRAY_LEN(targets); i++)
		world_create(w, "test.empty", targets[i], id);
	CLEANUP(str_done) struct str found = {0};
	struct db_page query = {.where = "", .order = "ORDER BY seq DESC", .limit = 3};
	world_check(operation_store_list(w->db, &query, add_target, &found, &e), &e);
	assert_string_equal(str_text(&found), "x;z;y;");
	str_reset(&found);
	const struct sql_bind binds[] = {
	        {.type = SQL_BIND_TEXT, .text = "x"}, {.type = SQL_BIND_INT, .integer = 1}};
	query = (struct db_page){.where = "target_id = ? AND seq > ?",
	        .order = "ORDER BY seq",
	        .binds = binds,
	        .n_binds = 2,
	        .limit = 100};
	world_check(operation_store_list(w->db, &query, add_target, &found, &e), &e);
	assert_string_equal(str_text(&found), "x;");
	int calls = 0;
	assert_int_equal(operation_store_list(w->db, &query, refuse_row, &calls, &e), ERR_CONFLICT);
	assert_int_equal(calls, 1);
}

static int prune_run(struct db *db, void *arg, struct err *e)
{
	return operation_prune(db, *(int64_t *)arg, e);
}

static void test_prune_forgets_only_what_ended_before(void **state)
{
	struct world *w = *state;
	char old[UUID_TEXT_SIZE], stuck[UUID_TEXT_SIZE];
	struct err e;
	world_hold(w, "y/run a");
	world_create(w, "test.empty", "x", old);
	world_create(w, "test.four", "y", stuck);
	world_wait_end(w, old, OPERATION_SUCCEEDED);
	CLEANUP(operation_row_done) struct operation_row row = {0};
	world_get(w, old, &row);
	int64_t before = row.ended_at;
	world_check(writer_run(w->writer, prune_run, &before, &e), &e);
	world_assert_state(w, old, OPERATION_SUCCEEDED);
	before++;
	world_check(writer_run(w->writer, prune_run, &before, &e), &e);
	struct operation_row none;
	assert_int_equal(operation_store_get(w->db, old, &none, &e), ERR_NOT_FOUND);
	world_wait_held(w, "y/run a");
}

static void test_answer_of_a_success(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	world_create(w, "test.four", "x", id);
	json_t *queued = encode_by_id(w, id);
	assert_string_equal(text_of(queued, "state"), "queued");
	assert_true(json_is_null(json_object_get(queued, "started_at")));
	assert_steps(queued, "a:pending b:pending c:pending d:pending");
	json_decref(queued);
	world_wait_end(w, id, OPERATION_SUCCEEDED);
	json_t *answer = encode_by_id(w, id);
	assert_string_equal(text_of(answer, "id"), id);
	assert_string_equal(text_of(answer, "kind"), "test.four");
	assert_string_equal(text_of(answer, "state"), "succeeded");
	assert_string_equal(text_of(answer, "host_id"), "host-1");
	assert_string_equal(text_of(answer, "requested_by"), "tester");
	assert_string_equal(text_of(answer, "reason"), "");
	assert_string_equal(text_of(json_object_get(answer, "target"), "kind"), "vm");
	assert_string_equal(text_of(json_object_get(answer, "target"), "name"), "x");
	assert_true(json_is_null(json_object_get(answer, "error")));
	assert_true(json_is_string(json_object_get(answer, "ended_at")));
	json_t *progress = json_object_get(answer, "progress");
	assert_int_equal(json_integer_value(json_object_get(progress, "percent")), 100);
	assert_steps(answer, "a:done b:done c:done d:done");
	json_decref(answer);
}

/* Steps a and b each tell something; b's step has not ended while it is held. */
static void tell_step(struct world *w, struct operation *op, const char *key)
{
	(void)w;
	if (operation_is_undoing(op))
		return;
	operation_add_result(op, json_pack("{s:s, s:s}", key + 6, "seen", "last", key + 6));
}

static void assert_result(struct world *w, const char *id, const char *expected)
{
	json_t *answer = encode_by_id(w, id);
	char *text = json_dumps(
	        json_object_get(answer, "result"), JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
	assert_string_equal(text, expected);
	free(text);
	json_decref(answer);
}

static void test_result_is_shown_once_its_step_has_ended(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE], plain[UUID_TEXT_SIZE];
	w->on_call = tell_step;
	world_hold(w, "x/run a");
	world_hold(w, "x/run b");
	world_create(w, "test.late", "x", id);
	world_wait_held(w, "x/run a");
	assert_result(w, id, "null");
	world_release(w, "x/run a");
	world_wait_held(w, "x/run b");
	assert_result(w, id, "{\"a\":\"seen\",\"last\":\"a\"}");
	world_release(w, "x/run b");
	world_wait_end(w, id, OPERATION_SUCCEEDED);
	assert_result(w, id, "{\"a\":\"seen\",\"b\":\"seen\",\"c\":\"seen\",\"last\":\"c\"}");
	w->on_call = NULL;
	world_create(w, "test.plain", "y", plain);
	world_wait_end(w, plain, OPERATION_SUCCEEDED);
	assert_result(w, plain, "null");
}

static void test_result_of_what_was_undone_is_not_shown(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	w->on_call = tell_step;
	world_fail(w, "x/run b", ERR_HYPERVISOR, 1);
	world_create(w, "test.late", "x", id);
	world_wait_end(w, id, OPERATION_FAILED);
	assert_result(w, id, "null");
}

static void test_answer_while_running_and_undoing(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	world_hold(w, "x/run c");
	world_hold(w, "x/undo b");
	world_fail(w, "x/run d", ERR_HYPERVISOR, -1);
	world_create(w, "test.four", "x", id);
	world_wait_held(w, "x/run c");
	json_t *answer = encode_by_id(w, id);
	assert_steps(answer, "a:done b:done c:running d:pending");
	assert_string_equal(text_of(json_object_get(answer, "progress"), "phase"), "c");
	json_decref(answer);
	world_release(w, "x/run c");
	world_wait_held(w, "x/undo b");
	answer = encode_by_id(w, id);
	assert_steps(answer, "a:done b:undoing c:done d:failed");
	assert_string_equal(text_of(answer, "state"), "running");
	assert_string_equal(text_of(json_object_get(answer, "progress"), "phase"), "undo b");
	json_decref(answer);
	world_release(w, "x/undo b");
	world_wait_end(w, id, OPERATION_FAILED);
	answer = encode_by_id(w, id);
	assert_steps(answer, "a:undone b:undone c:done d:failed");
	json_t *error = json_object_get(answer, "error");
	assert_string_equal(text_of(error, "code"), "hypervisor");
	assert_string_equal(text_of(error, "type"), "urn:berth:error:hypervisor");
	assert_string_equal(text_of(answer, "reason"), "scripted failure of x/run d");
	json_decref(answer);
}

static void test_answer_of_a_cancel(void **state)
{
	struct world *w = *state;
	char first[UUID_TEXT_SIZE], second[UUID_TEXT_SIZE];
	struct err e;
	world_hold(w, "x/run b");
	world_create(w, "test.four", "x", first);
	world_create(w, "test.four", "x", second);
	world_wait_held(w, "x/run b");
	world_check(world_cancel(w, second, &e), &e);
	world_wait_end(w, second, OPERATION_CANCELLED);
	world_check(world_cancel(w, first, &e), &e);
	world_release(w, "x/run b");
	world_wait_end(w, first, OPERATION_CANCELLED);
	json_t *answer = encode_by_id(w, first);
	assert_steps(answer, "a:undone b:cancelled c:pending d:pending");
	assert_string_equal(text_of(json_object_get(answer, "error"), "code"), "cancelled");
	json_decref(answer);
	answer = encode_by_id(w, second);
	assert_steps(answer, "a:pending b:pending c:pending d:pending");
	json_decref(answer);
}

/* The table is for the schema; it must name what the answer has, in both directions. */
static void test_field_table_and_answer_name_the_same_members(void **state)
{
	struct world *w = *state;
	char id[UUID_TEXT_SIZE];
	world_create(w, "test.four", "x", id);
	json_t *answer = encode_by_id(w, id);
	assert_int_equal(json_object_size(answer), operation_fields.n_fields);
	for (size_t i = 0; i < operation_fields.n_fields; i++)
		assert_non_null(json_object_get(answer, operation_fields.fields[i].name));
	json_decref(answer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
	        TEST(test_row_is_read_back),
	        TEST(test_unknown_id_is_not_found),
	        TEST(test_ended_row_is_never_changed),
	        cmocka_unit_test(test_failure_is_explained_to_what_needed_it),
	        TEST(test_list_takes_a_filter_an_order_and_a_limit),
	        TEST(test_prune_forgets_only_what_ended_before),
	        TEST(test_answer_of_a_success),
	        TEST(test_result_is_shown_once_its_step_has_ended),
	        TEST(test_result_of_what_was_undone_is_not_shown),
	        TEST(test_answer_while_running_and_undoing),
	        TEST(test_answer_of_a_cancel),
	        TEST(test_field_table_and_answer_name_the_same_members),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

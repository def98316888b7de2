/* SPDX-License-Identifier: Apache-2.0 */
/* The dispatcher, over a real server on a unix socket. */
#include "api_world.h"

static void test_read_answers_with_etag_and_request_id(void **state)
{
	(void)state;
	struct answer a = ask("GET", "/api/v1/things/web1", "X-Request-Id: my-1\r\n", NULL);
	assert_int_equal(a.status, 200);
	assert_non_null(strstr(a.text, "ETag: \"11111111-1111-4111-8111-111111111111-3\""));
	assert_non_null(strstr(a.text, "X-Request-Id: my-1"));
	assert_string_equal(a.body, "{\"name\":\"web1\",\"size\":7}");
	answer_done(&a);
}

static void test_odd_request_id_is_replaced(void **state)
{
	(void)state;
	struct answer a = ask("GET", "/api/v1/things/web1", "X-Request-Id: a\"b\r\n", NULL);
	assert_null(strstr(a.text, "a\"b"));
	assert_non_null(strstr(a.text, "X-Request-Id: "));
	answer_done(&a);
}

static void test_problem_has_all_members(void **state)
{
	(void)state;
	struct answer a =
	        ask("GET", "/api/v1/things/missing?depth=2", "X-Request-Id: q7\r\n", NULL);
	assert_int_equal(a.status, 404);
	assert_non_null(strstr(a.text, "application/problem+json"));
	json_t *problem = json_loads(a.body, 0, NULL);
	assert_non_null(problem);
	assert_string_equal(json_string_value(json_object_get(problem, "code")), "not_found");
	assert_string_equal(json_string_value(json_object_get(problem, "request_id")), "q7");
	assert_string_equal(
	        json_string_value(json_object_get(problem, "instance")), "/api/v1/things/missing");
	assert_int_equal(json_integer_value(json_object_get(problem, "status")), 404);
	assert_false(json_is_true(json_object_get(problem, "retryable")));
	assert_non_null(json_object_get(problem, "type"));
	assert_non_null(json_object_get(problem, "title"));
	assert_non_null(json_object_get(problem, "detail"));
	json_decref(problem);
	answer_done(&a);
}

static void test_internal_details_stay_inside(void **state)
{
	(void)state;
	struct answer a = ask("GET", "/api/v1/things/broken", "", NULL);
	assert_int_equal(a.status, 500);
	assert_null(strstr(a.text, "secret details"));
	answer_done(&a);
}

static void test_unknown_path_and_method(void **state)
{
	(void)state;
	expect(ask("GET", "/api/v1/nothing", "", NULL), 404, "not_found");
	expect(ask("DELETE", "/api/v1/things/a", "", NULL), 405, "Allow: GET, HEAD, PATCH");
	expect(ask("OPTIONS", "/api/v1/things/a", "", NULL), 405, "Allow: ");
	expect(ask("BREW", "/api/v1/things/a", "", NULL), 405, "method_not_allowed");
	expect(ask("GET", "/api/v1/things/a%2Fb", "", NULL), 400, "malformed");
	expect(ask("GET", "/api/v1/things/a%00b", "", NULL), 400, "malformed");
	expect(ask("GET", "/api/v1/things/%ff", "", NULL), 400, "malformed");
}

static void test_head_is_get_without_body(void **state)
{
	(void)state;
	struct answer a = ask("HEAD", "/api/v1/things/web1", "", NULL);
	assert_int_equal(a.status, 200);
	assert_non_null(strstr(a.text, "Content-Length: 24"));
	assert_string_equal(a.body, "");
	answer_done(&a);
}

static void test_all_input_errors_are_told_at_once(void **state)
{
	(void)state;
	struct answer a = ask("POST", "/api/v1/things?colour=red&dry_run=perhaps&wait=many", "",
	        "{\"name\":\"../x\",\"size\":0,\"weight\":1}");
	assert_int_equal(a.status, 400);
	json_t *problem = json_loads(a.body, 0, NULL);
	json_t *errors = json_object_get(problem, "errors");
	assert_int_equal(json_array_size(errors), 6);
	static const char *const pointers[] = {
	        "?colour", "?dry_run", "?wait", "/name", "/size", "/weight"};
	for (size_t i = 0; i < ARRAY_LEN(pointers); i++)
		assert_non_null(strstr(a.body, pointers[i]));
	json_decref(problem);
	answer_done(&a);
	assert_int_equal(world.things_made, 0);
}

static void test_query_values_are_checked(void **state)
{
	(void)state;
	expect(ask("GET", "/api/v1/things/a?depth=10", "", NULL), 400, "out_of_range");
	expect(ask("GET", "/api/v1/things/a?depth=2&depth=3", "", NULL), 400, "duplicate");
	expect(ask("GET", "/api/v1/things/a?loud=yes", "", NULL), 400, "?loud");
	expect(ask("GET", "/api/v1/things/a?loud=%zz", "", NULL), 400, "malformed");
	expect(ask("GET", "/api/v1/things/a?depth=%32&loud=true", "", NULL), 200, NULL);
	expect(ask("GET", "/api/v1/things/a?dry_run=true", "", NULL), 400, "unknown_parameter");
}

static void test_body_must_be_strict_json(void **state)
{
	(void)state;
	expect(ask("POST", "/api/v1/things", "", "{\"name\":\"a\",\"name\":\"b\"}"), 400,
	        "malformed");
	expect(ask("POST", "/api/v1/things", "", "{\"name\":NaN}"), 400, "malformed");
	expect(ask("POST", "/api/v1/things", "", "[1]"), 400, "malformed");
	expect(ask("POST", "/api/v1/things", "", "{\"name\":\"a\\u0000b\"}"), 400, "malformed");
	expect(ask("POST", "/api/v1/things", "", "{\"name\":\"\xff\"}"), 400, "malformed");
	expect(ask("POST", "/api/v1/things", "", NULL), 400, "malformed");
	expect(ask("GET", "/api/v1/things/a", "", "{}"), 400, "no body");
	char bomb[4096];
	memset(bomb, '[', sizeof(bomb) - 1);
	bomb[sizeof(bomb) - 1] = '\0';
	expect(ask("POST", "/api/v1/things", "", bomb), 400, "malformed");
	assert_int_equal(world.things_made, 0);
}

static void test_media_type_is_checked(void **state)
{
	(void)state;
	int fd = connect_unix();
	send_text(fd, "POST /api/v1/things HTTP/1.1\r\nHost: x\r\nContent-Type: "
	              "text/xml\r\nContent-Length: 2\r\n\r\n{}");
	expect(read_answer(fd), 415, "unsupported_media_type");
	/* the body was read, so the connection goes on */
	send_text(fd, "GET /api/v1/things/a HTTP/1.1\r\nHost: x\r\n\r\n");
	expect(read_answer(fd), 200, NULL);
	close(fd);
}

static void test_create_is_durable_and_located(void **state)
{
	(void)state;
	expect(ask("POST", "/api/v1/things", "", "{\"name\":\"a\"}"), 201,
	        "Location: /api/v1/things/a");
	assert_int_equal(count_rows("SELECT count(*) FROM meta WHERE value = 'a'"), 1);
	expect(ask("POST", "/api/v1/things", "", "{\"name\":\"a\"}"), 409, "already_exists");
}

static void test_dry_run_answers_alike_and_changes_nothing(void **state)
{
	(void)state;
	struct answer dry = ask("POST", "/api/v1/things?dry_run=true", "", "{\"name\":\"a\"}");
	assert_int_equal(dry.status, 201);
	assert_non_null(strstr(dry.text, "Dry-Run: true"));
	assert_null(strstr(dry.text, "Location:"));
	assert_int_equal(count_rows("SELECT count(*) FROM meta"), 0);
	assert_int_equal(count_rows("SELECT count(*) FROM change"), 0);
	struct answer real = ask("POST", "/api/v1/things", "", "{\"name\":\"a\"}");
	assert_string_equal(dry.body, real.body);
	answer_done(&dry);
	answer_done(&real);
	expect(ask("POST", "/api/v1/things?dry_run=true", "", "{\"name\":\"a\"}"), 409, NULL);
}

static void test_same_key_and_body_replays(void **state)
{
	(void)state;
	const char *key = "Idempotency-Key: k1\r\n";
	struct answer first = ask("POST", "/api/v1/things", key, "{\"name\":\"a\"}");
	struct answer second = ask("POST", "/api/v1/things", key, "{\"name\":\"a\"}");
	assert_int_equal(first.status, 201);
	assert_int_equal(second.status, 201);
	assert_null(strstr(first.text, "Idempotency-Replayed"));
	assert_non_null(strstr(second.text, "Idempotency-Replayed: true"));
	assert_non_null(strstr(second.text, "Location: /api/v1/things/a"));
	assert_non_null(strstr(second.text, "ETag: \"11111111-1111-4111-8111-111111111111-1\""));
	assert_string_equal(first.body, second.body);
	assert_int_equal(world.things_made, 1);
	answer_done(&first);
	answer_done(&second);
}

static void test_same_key_with_another_body_is_refused(void **state)
{
	(void)state;
	const char *key = "Idempotency-Key: k1\r\n";
	expect(ask("POST", "/api/v1/things", key, "{\"name\":\"a\"}"), 201, NULL);
	expect(ask("POST", "/api/v1/things", key, "{\"name\":\"b\"}"), 422,
	        "idempotency_key_reused");
	expect(ask("POST", "/api/v1/things?wait=1", key, "{\"name\":\"a\"}"), 422, NULL);
	assert_int_equal(world.things_made, 1);
}

static void test_failed_request_keeps_no_key(void **state)
{
	(void)state;
	expect(ask("POST", "/api/v1/things", "", "{\"name\":\"a\"}"), 201, NULL);
	expect(ask("POST", "/api/v1/things", "Idempotency-Key: k\r\n", "{\"name\":\"a\"}"), 409,
	        NULL);
	expect(ask("POST", "/api/v1/things", "Idempotency-Key: k\r\n", "{\"name\":\"b\"}"), 201,
	        NULL);
	expect(ask("POST", "/api/v1/tokens", "Idempotency-Key: t\r\n",
	               "{\"name\":\"t\",\"role\":\"admin\"}"),
	        422, "unsupported");
}

static void test_dry_run_keeps_no_key(void **state)
{
	(void)state;
	expect(ask("POST", "/api/v1/things?dry_run=true", "Idempotency-Key: k\r\n",
	               "{\"name\":\"a\"}"),
	        201, NULL);
	assert_int_equal(count_rows("SELECT count(*) FROM idempotency"), 0);
}

static void test_if_match(void **state)
{
	(void)state;
	const char *patch = "{\"size\":9}";
	expect(ask("PATCH", "/api/v1/things/a",
	               "If-Match: \"11111111-1111-4111-8111-111111111111-3\"\r\n", patch),
	        200, "\"size\":9");
	expect(ask("PATCH", "/api/v1/things/a",
	               "If-Match: \"11111111-1111-4111-8111-111111111111-2\"\r\n", patch),
	        412, "precondition_failed");
	expect(ask("PATCH", "/api/v1/things/a",
	               "If-Match: \"x\", \"11111111-1111-4111-8111-111111111111-3\"\r\n", patch),
	        200, NULL);
	expect(ask("PATCH", "/api/v1/things/a",
	               "If-Match: W/\"11111111-1111-4111-8111-111111111111-3\"\r\n", patch),
	        412, NULL);
	expect(ask("PATCH", "/api/v1/things/a", "If-None-Match: *\r\n", patch), 412, NULL);
}

static void test_wait_holds_the_answer_until_the_end(void **state)
{
	(void)state;
	expect(ask("POST", "/api/v1/things/a/work", "", NULL), 202, "\"state\":\"queued\"");
	expect(ask("POST", "/api/v1/things/a/work?wait=10", "", NULL), 200,
	        "\"state\":\"succeeded\"");
}

static void test_wait_ends_at_its_time(void **state)
{
	(void)state;
	expect(ask("POST", "/api/v1/things/held/work?wait=1", "", NULL), 202,
	        "\"state\":\"running\"");
	loop_post(world.loop, release_held, NULL);
}

static void test_replayed_operation_can_be_waited_for(void **state)
{
	(void)state;
	const char *key = "Idempotency-Key: w\r\n";
	expect(ask("POST", "/api/v1/things/a/work?wait=10", key, NULL), 200, "succeeded");
	expect(ask("POST", "/api/v1/things/a/work?wait=10", key, NULL), 200,
	        "Idempotency-Replayed: true");
	assert_int_equal(count_rows("SELECT count(*) FROM operation"), 1);
}

static void test_dry_run_of_an_operation_makes_none(void **state)
{
	(void)state;
	expect(ask("POST", "/api/v1/things/a/work?dry_run=true&wait=5", "", NULL), 202,
	        "\"state\":\"queued\"");
	assert_int_equal(count_rows("SELECT count(*) FROM operation"), 0);
}

static void test_if_busy_names_the_operation(void **state)
{
	(void)state;
	expect(ask("POST", "/api/v1/things/held/work", "", NULL), 202, NULL);
	expect(ask("POST", "/api/v1/things/held/work?if_busy=fail", "", NULL), 409, "thing.hold");
	expect(ask("POST", "/api/v1/things/held/work?if_busy=maybe", "", NULL), 400, "?if_busy");
	expect(ask("POST", "/api/v1/things/other/work?if_busy=fail&wait=5", "", NULL), 200, NULL);
	loop_post(world.loop, release_held, NULL);
}

static void test_operation_can_be_read_waited_for_and_listed(void **state)
{
	(void)state;
	struct answer a = ask("POST", "/api/v1/things/a/work", "", NULL);
	const char *location = find_header(a.text, "Location: ");
	char path[80];
	snprintf(path, sizeof(path), "%.*s?wait=10", (int)strcspn(location, "\r"), location);
	expect(ask("GET", path, "", NULL), 200, "\"state\":\"succeeded\"");
	answer_done(&a);
	expect(ask("GET", "/api/v1/operations?filter=state%20eq%20succeeded&fields=id,kind", "",
	               NULL),
	        200, "thing.work");
	expect(ask("GET", "/api/v1/operations/00000000-0000-4000-8000-000000000000?wait=5", "",
	               NULL),
	        404, NULL);
	path[strcspn(path, "?")] = '\0';
	expect(ask("DELETE", path, "", NULL), 409, "wrong_state");
}

static void test_fields_selects_members(void **state)
{
	(void)state;
	struct answer a = ask("GET", "/api/v1/things/a?fields=size", "", NULL);
	assert_string_equal(a.body, "{\"size\":7}");
	answer_done(&a);
	expect(ask("GET", "/api/v1/things/a?fields=size,colour", "", NULL), 400, "?fields");
}

static void test_draining_refuses_changes_only(void **state)
{
	(void)state;
	world.app.is_draining = true;
	struct answer a = ask("POST", "/api/v1/things", "", "{\"name\":\"a\"}");
	assert_int_equal(a.status, 503);
	assert_non_null(strstr(a.text, "Retry-After: "));
	answer_done(&a);
	expect(ask("GET", "/api/v1/things/a", "", NULL), 200, NULL);
	expect(ask("GET", "/readyz", "", NULL), 503, NULL);
	expect(ask("GET", "/healthz", "", NULL), 200, NULL);
}

static void test_system_resources(void **state)
{
	(void)state;
	expect(ask("GET", "/api/v1", "", NULL), 200, "\"operations\":\"/api/v1/operations\"");
	expect(ask("GET", "/readyz", "", NULL), 200, NULL);
	expect(ask("GET", "/metrics", "", NULL), 200,
	        "berth_http_requests_total{route=\"root_get\",status=\"2xx\"} 1");
	expect(ask("GET", "/api/v1/openapi.json", "", NULL), 200, "\"3.1.0\"");
}

static void test_token_secret_is_shown_once(void **state)
{
	(void)state;
	expect(ask("POST", "/api/v1/tokens", "", "{\"name\":\"ci\",\"role\":\"viewer\"}"), 201,
	        "\"secret\":\"berth_");
	struct answer a = ask("GET", "/api/v1/tokens/ci", "", NULL);
	assert_int_equal(a.status, 200);
	assert_null(strstr(a.text, "berth_"));
	answer_done(&a);
	expect(ask("GET", "/api/v1/tokens?filter=name%20eq%20ci", "", NULL), 200,
	        "\"role\":\"viewer\"");
	expect(ask("DELETE", "/api/v1/tokens/ci", "", NULL), 204, NULL);
	expect(ask("GET", "/api/v1/tokens/ci", "", NULL), 404, NULL);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        T(test_read_answers_with_etag_and_request_id),
	        T(test_odd_request_id_is_replaced),
	        T(test_problem_has_all_members),
	        T(test_internal_details_stay_inside),
	        T(test_unknown_path_and_method),
	        T(test_head_is_get_without_body),
	        T(test_all_input_errors_are_told_at_once),
	        T(test_query_values_are_checked),
	        T(test_body_must_be_strict_json),
	        T(test_media_type_is_checked),
	        T(test_create_is_durable_and_located),
	        T(test_dry_run_answers_alike_and_changes_nothing),
	        T(test_same_key_and_body_replays),
	        T(test_same_key_with_another_body_is_refused),
	        T(test_failed_request_keeps_no_key),
	        T(test_dry_run_keeps_no_key),
	        T(test_if_match),
	        T(test_wait_holds_the_answer_until_the_end),
	        T(test_wait_ends_at_its_time),
	        T(test_replayed_operation_can_be_waited_for),
	        T(test_dry_run_of_an_operation_makes_none),
	        T(test_if_busy_names_the_operation),
	        T(test_operation_can_be_read_waited_for_and_listed),
	        T(test_fields_selects_members),
	        T(test_draining_refuses_changes_only),
	        T(test_system_resources),
	        T(test_token_secret_is_shown_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

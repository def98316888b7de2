/* SPDX-License-Identifier: Apache-2.0 */
/* The OpenAPI document of a few tables. Pure. */
#include "api_world.h"

static json_t *document;

static int setup_document(void **state)
{
	(void)state;
	struct json_writer w = {0};
	openapi_write(test_tables, &w);
	json_error_t error;
	document = json_loads(w.out.data, JSON_REJECT_DUPLICATES, &error);
	json_writer_done(&w);
	return document ? 0 : -1;
}

static int teardown_document(void **state)
{
	(void)state;
	json_decref(document);
	return 0;
}

static json_t *at(json_t *value, const char *key)
{
	json_t *member = json_object_get(value, key);
	if (!member)
		fail_msg("no member %s", key);
	return member;
}

static json_t *operation(const char *path, const char *method)
{
	return at(at(at(document, "paths"), path), method);
}

static void test_every_route_is_there(void **state)
{
	(void)state;
	for (size_t t = 0; test_tables[t]; t++)
		for (size_t i = 0; i < test_tables[t]->n_routes; i++) {
			const struct route *route = &test_tables[t]->routes[i];
			char path[200], method[16] = "";
			bool is_absolute = route->path[0] == '!';
			snprintf(path, sizeof(path), "%s%s", is_absolute ? "" : "/api/v1",
			        route->path + is_absolute);
			for (size_t c = 0; route->method[c]; c++)
				method[c] = (char)(route->method[c] | 0x20);
			assert_string_equal(
			        json_string_value(at(operation(path, method), "operationId")),
			        route->id);
		}
}

/* All values of "$ref" below. */
static void check_refs(json_t *value)
{
	const char *key;
	json_t *member;
	size_t i;
	json_object_foreach(value, key, member)
	{
		if (strcmp(key, "$ref") == 0) {
			const char *name = strrchr(json_string_value(member), '/') + 1;
			assert_non_null(
			        json_object_get(at(at(document, "components"), "schemas"), name));
		}
		check_refs(member);
	}
	json_array_foreach(value, i, member) check_refs(member);
}

static void test_references_have_their_schema(void **state)
{
	(void)state;
	check_refs(document);
}

static bool has_parameter(json_t *op, const char *in, const char *name)
{
	size_t i;
	json_t *p;
	json_array_foreach(at(op, "parameters"), i,
	        p) if (strcmp(json_string_value(at(p, "in")), in) == 0 &&
	               strcmp(json_string_value(at(p, "name")), name) == 0) return true;
	return false;
}

static void test_flags_give_parameters(void **state)
{
	(void)state;
	assert_true(has_parameter(operation("/api/v1/things", "get"), "query", "page_token"));
	assert_true(has_parameter(operation("/api/v1/things", "post"), "query", "dry_run"));
	assert_true(
	        has_parameter(operation("/api/v1/things", "post"), "header", "Idempotency-Key"));
	assert_true(has_parameter(operation("/api/v1/things/{thing}", "get"), "path", "thing"));
	assert_true(
	        has_parameter(operation("/api/v1/things/{thing}", "patch"), "header", "If-Match"));
	assert_true(has_parameter(
	        operation("/api/v1/things/{thing}/work", "post"), "query", "if_busy"));
	assert_false(has_parameter(operation("/api/v1/things", "post"), "query", "if_busy"));
	assert_false(has_parameter(operation("/api/v1/things/{thing}", "get"), "query", "dry_run"));
}

static void test_answers_are_declared(void **state)
{
	(void)state;
	json_t *responses = at(operation("/api/v1/things", "post"), "responses");
	at(responses, "201");
	at(at(at(responses, "401"), "content"), "application/problem+json");
	at(responses, "415");
	responses = at(operation("/api/v1/things/{thing}/work", "post"), "responses");
	at(responses, "200");
	at(responses, "202");
	assert_null(json_object_get(at(operation("/healthz", "get"), "responses"), "401"));
	assert_int_equal(json_array_size(at(operation("/healthz", "get"), "security")), 0);
}

static void test_patch_takes_a_merge_patch(void **state)
{
	(void)state;
	at(at(at(operation("/api/v1/things/{thing}", "patch"), "requestBody"), "content"),
	        "application/merge-patch+json");
}

static void test_output_is_the_same_each_time(void **state)
{
	(void)state;
	struct json_writer a = {0}, b = {0};
	openapi_write(test_tables, &a);
	openapi_write(test_tables, &b);
	assert_string_equal(a.out.data, b.out.data);
	json_writer_done(&a);
	json_writer_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_every_route_is_there),
	        cmocka_unit_test(test_references_have_their_schema),
	        cmocka_unit_test(test_flags_give_parameters),
	        cmocka_unit_test(test_answers_are_declared),
	        cmocka_unit_test(test_patch_takes_a_merge_patch),
	        cmocka_unit_test(test_output_is_the_same_each_time),
	};
	return cmocka_run_group_tests(tests, setup_document, teardown_document);
}

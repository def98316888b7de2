/* SPDX-License-Identifier: Apache-2.0 */
/* What is live stands in the configuration's memory and nowhere else, whatever owners call their things. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <jansson.h>

#include "base/cleanup.h"
#include "compute/vm_encode.h"

static json_t *encoded(const char *written, int64_t memory_bytes)
{
	struct field_errors errors = {0};
	struct vm_spec spec CLEANUP(vm_spec_done) = {0};
	json_t *json CLEANUP(cleanup_json) = json_loads(written, 0, NULL);
	assert_int_equal(
	        field_decode(&vm_write_fields, json, FIELD_DECODE_CREATE, &spec, &errors), 0);
	char *stored CLEANUP(cleanup_free) = vm_spec_store(&spec);
	const struct vm_row row = {.name = "v", .spec = stored, .pending = "{}", .guest = "null"};
	struct json_writer w = {0};
	vm_encode(&row, memory_bytes, &w);
	json_t *answer = json_loads(str_text(&w.out), JSON_REJECT_DUPLICATES, NULL);
	json_writer_done(&w);
	assert_non_null(answer);
	return answer;
}

static void test_live_memory_is_in_the_memory_group(void **state)
{
	(void)state;
	static const char written[] =
	        "{\"name\":\"v\",\"description\":\"\\\"memory\\\":{\",\"labels\":{\"memory\":\"{\"}"
	        ","
	        "\"disks\":{\"memory\":{\"size_bytes\":1048576}},\"nics\":{\"memory\":{}},"
	        "\"memory\":{\"size_bytes\":268435456}}";
	json_t *answer CLEANUP(cleanup_json) = encoded(written, 77);
	json_t *memory = json_object_get(answer, "memory");
	assert_int_equal(json_integer_value(json_object_get(memory, "current_bytes")), 77);
	assert_int_equal(json_integer_value(json_object_get(memory, "size_bytes")), 268435456);
	json_t *disk = json_object_get(json_object_get(answer, "disks"), "memory");
	assert_non_null(disk);
	assert_null(json_object_get(disk, "current_bytes"));
	assert_string_equal(
	        json_string_value(json_object_get(answer, "description")), "\"memory\":{");
}

static void test_unknown_memory_is_null(void **state)
{
	(void)state;
	json_t *answer CLEANUP(cleanup_json) =
	        encoded("{\"name\":\"v\",\"memory\":{\"size_bytes\":268435456}}", -1);
	assert_true(
	        json_is_null(json_object_get(json_object_get(answer, "memory"), "current_bytes")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_live_memory_is_in_the_memory_group),
	        cmocka_unit_test(test_unknown_memory_is_null),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

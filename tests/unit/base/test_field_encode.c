/* SPDX-License-Identifier: Apache-2.0 */
/* Encoding by field tables: what is shown, what is stored, and that both come back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "tests/unit/base/field_sample_table.h"

static const char full[] =
        "{\"name\":\"web\",\"description\":\"q\\\"\",\"password\":\"p\",\"data\":{\"a\":[1]},"
        "\"vcpus\":3,\"delay\":0,\"created_at\":\"2026-01-31T12:00:00.500Z\",\"ratio\":2.5,"
        "\"power\":\"on\",\"managed\":true,"
        "\"boot\":{\"firmware\":\"bios\",\"secure_boot\":false,\"kernel\":\"k\"},"
        "\"tpm\":{\"firmware\":\"uefi\",\"secure_boot\":false,\"kernel\":\"vmlinuz\"},"
        "\"keys\":[\"k\"],\"labels\":{\"a\":\"1\",\"b\\\"\":\"2\"},"
        "\"rules\":[{\"label\":\"x\",\"hard\":false}],"
        "\"disks\":{\"root\":{\"size_bytes\":5,\"bus\":\"virtio\",\"backup\":false}}}";

static void decode(const char *text, enum field_decode_mode mode, struct sample *object)
{
	struct field_errors errors = {0};
	memset(object, 0, sizeof(*object));
	json_t *value = json_loads(text, 0, NULL);
	assert_int_equal(field_decode(&sample_fields, value, mode, object, &errors), 0);
	json_decref(value);
}

static char *encode(const struct sample *object, enum field_encode_mode mode)
{
	struct json_writer w = {0};
	field_encode(&sample_fields, object, mode, &w);
	return str_take(&w.out);
}

static void test_stored_text_comes_back_the_same(void **state)
{
	(void)state;
	struct sample object;
	decode(full, FIELD_DECODE_CREATE, &object);
	char *stored CLEANUP(cleanup_free) = encode(&object, FIELD_ENCODE_STORE);
	assert_string_equal(stored, full);
	struct sample again;
	decode(stored, FIELD_DECODE_STORED, &again);
	char *twice CLEANUP(cleanup_free) = encode(&again, FIELD_ENCODE_STORE);
	assert_string_equal(twice, stored);
	field_release(&sample_fields, &object);
	field_release(&sample_fields, &again);
}

static void test_answers_hide_secrets_and_show_read_only_members(void **state)
{
	(void)state;
	struct sample object;
	decode("{\"id\":\"i1\",\"name\":\"web\",\"password\":\"p\"}", FIELD_DECODE_STORED, &object);
	char *answer CLEANUP(cleanup_free) = encode(&object, FIELD_ENCODE_ANSWER);
	char *stored CLEANUP(cleanup_free) = encode(&object, FIELD_ENCODE_STORE);
	assert_non_null(strstr(answer, "\"id\":\"i1\""));
	assert_null(strstr(answer, "password"));
	assert_null(strstr(stored, "\"id\""));
	assert_non_null(strstr(stored, "\"password\":\"p\""));
	field_release(&sample_fields, &object);
}

static void test_unset_members_are_left_out_or_null(void **state)
{
	(void)state;
	struct sample object;
	decode("{\"name\":\"web\",\"keys\":[]}", FIELD_DECODE_CREATE, &object);
	char *answer CLEANUP(cleanup_free) = encode(&object, FIELD_ENCODE_ANSWER);
	assert_string_equal(answer,
	        "{\"name\":\"web\",\"description\":null,\"vcpus\":2,\"ratio\":4,\"power\":\"off\","
	        "\"managed\":false,\"boot\":{\"firmware\":\"uefi\",\"secure_boot\":false,"
	        "\"kernel\":\"vmlinuz\"},\"tpm\":null,\"keys\":[],\"labels\":{},\"rules\":[],"
	        "\"disks\":{}}");
	field_release(&sample_fields, &object);
}

static void test_members_can_join_an_open_object(void **state)
{
	(void)state;
	struct sample object;
	decode("{\"name\":\"web\"}", FIELD_DECODE_CREATE, &object);
	struct json_writer w CLEANUP(json_writer_done) = {0};
	json_object_begin(&w);
	json_member_int(&w, "live", 1);
	field_encode_members(&sample_fields, &object, FIELD_ENCODE_STORE, &w);
	json_member_int(&w, "end", 2);
	json_object_end(&w);
	json_t *value = json_loads(w.out.data, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(value);
	assert_int_equal(json_integer_value(json_object_get(value, "end")), 2);
	assert_string_equal(json_string_value(json_object_get(value, "name")), "web");
	json_decref(value);
	field_release(&sample_fields, &object);
}

static void test_release_takes_empty_and_released_objects(void **state)
{
	(void)state;
	struct sample object = {0};
	field_release(&sample_fields, &object);
	decode(full, FIELD_DECODE_CREATE, &object);
	field_release(&sample_fields, &object);
	field_release(&sample_fields, &object);
	assert_null(object.name);
	assert_int_equal(object.disks.len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_stored_text_comes_back_the_same),
	        cmocka_unit_test(test_answers_hide_secrets_and_show_read_only_members),
	        cmocka_unit_test(test_unset_members_are_left_out_or_null),
	        cmocka_unit_test(test_members_can_join_an_open_object),
	        cmocka_unit_test(test_release_takes_empty_and_released_objects),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Decoding by field tables: values, defaults, and every kind of refusal with its pointer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/unit/base/field_sample_table.h"

struct run {
	struct sample object;
	struct field_errors errors;
	int rc;
};

static void decode(struct run *run, enum field_decode_mode mode, const char *text)
{
	memset(run, 0, sizeof(*run));
	json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
	assert_non_null(value);
	run->rc = field_decode(&sample_fields, value, mode, &run->object, &run->errors);
	json_decref(value);
}

static void finish(struct run *run)
{
	field_release(&sample_fields, &run->object);
	static const struct sample zero;
	assert_memory_equal(&run->object, &zero, sizeof(zero));
}

/* Asserts that the text is refused with exactly this one error. */
static void assert_refused(const char *text, const char *pointer, const char *code)
{
	struct run run;
	decode(&run, FIELD_DECODE_CREATE, text);
	assert_int_equal(run.rc, ERR_INVALID);
	assert_int_equal(run.errors.len, 1);
	assert_string_equal(run.errors.items[0].pointer, pointer);
	assert_string_equal(run.errors.items[0].code, code);
	assert_true(run.errors.items[0].detail[0] != '\0');
	finish(&run);
}

static void test_every_type_is_decoded(void **state)
{
	(void)state;
	struct run run;
	decode(&run, FIELD_DECODE_CREATE,
	        "{\"name\":\"web\",\"description\":\"d\",\"password\":\"p\",\"data\":{\"a\":[1]},"
	        "\"vcpus\":64,\"delay\":0,\"created_at\":\"1970-01-01T00:00:01Z\",\"ratio\":2,"
	        "\"power\":\"on\",\"managed\":true,\"boot\":{\"firmware\":\"bios\"},\"tpm\":{},"
	        "\"keys\":[\"k\"],\"labels\":{\"b\":\"2\",\"a\":\"1\"},"
	        "\"rules\":[{\"label\":\"x\",\"hard\":false}],"
	        "\"disks\":{\"root\":{\"size_bytes\":5,\"bus\":\"virtio\",\"backup\":false},"
	        "\"data\":{\"size_bytes\":6}}}");
	assert_int_equal(run.rc, 0);
	const struct sample *o = &run.object;
	assert_string_equal(o->name, "web");
	assert_string_equal(o->data, "{\"a\":[1]}");
	assert_int_equal(o->vcpus, 64);
	assert_true(o->has_delay);
	assert_int_equal(o->created_at, 1000);
	assert_true(o->ratio == 2.0);
	assert_int_equal(o->power, SAMPLE_ON);
	assert_int_equal(o->boot.firmware, 0);
	assert_true(o->has_tpm);
	assert_int_equal(o->keys.len, 1);
	assert_string_equal(o->labels.items[0].key, "a");
	assert_string_equal(o->labels.items[1].value, "2");
	const struct sample_rule *rules = o->rules.items;
	assert_false(rules[0].hard);
	const struct sample_disk *disks = o->disks.items;
	assert_int_equal(o->disks.len, 2);
	assert_string_equal(disks[0].name, "data");
	assert_int_equal(disks[0].bus, SAMPLE_SATA);
	assert_true(disks[0].backup);
	assert_string_equal(disks[1].name, "root");
	assert_int_equal(disks[1].size_bytes, 5);
	finish(&run);
}

static void test_defaults_reach_objects_that_were_not_given(void **state)
{
	(void)state;
	struct run run;
	decode(&run, FIELD_DECODE_CREATE, "{\"name\":\"web\",\"rules\":[{\"label\":\"x\"}]}");
	assert_int_equal(run.rc, 0);
	const struct sample *o = &run.object;
	assert_int_equal(o->vcpus, 2);
	assert_true(o->ratio == 4.0);
	assert_int_equal(o->boot.firmware, 1);
	assert_string_equal(o->boot.kernel, "vmlinuz");
	assert_int_equal(o->keys.len, 2);
	assert_string_equal(o->keys.items[1], "b");
	assert_true(((const struct sample_rule *)o->rules.items)[0].hard);
	assert_false(o->has_delay);
	assert_false(o->has_tpm);
	assert_null(o->description);
	finish(&run);
}

static void test_null_equals_absence(void **state)
{
	(void)state;
	struct run run;
	decode(&run, FIELD_DECODE_CREATE,
	        "{\"name\":\"web\",\"vcpus\":null,\"delay\":null,\"disks\":{\"a\":null},"
	        "\"labels\":{\"a\":null},\"boot\":null}");
	assert_int_equal(run.rc, 0);
	assert_int_equal(run.object.vcpus, 2);
	assert_false(run.object.has_delay);
	assert_int_equal(run.object.disks.len, 0);
	assert_int_equal(run.object.labels.len, 0);
	assert_int_equal(run.object.boot.firmware, 1);
	finish(&run);
	assert_refused("{\"name\":null}", "/name", "missing");
}

static void test_each_wrong_value_has_its_pointer_and_code(void **state)
{
	(void)state;
	static const struct {
		const char *member, *pointer, *code;
	} cases[] = {
	        {"\"nope\":1", "/nope", "unknown_member"},
	        {"\"a/b~c\":1", "/a~1b~0c", "unknown_member"},
	        {"\"boot\":{\"nope\":1}", "/boot/nope", "unknown_member"},
	        {"\"id\":\"x\"", "/id", "read_only"},
	        {"\"id\":null", "/id", "read_only"},
	        {"\"vcpus\":\"2\"", "/vcpus", "wrong_type"},
	        {"\"vcpus\":1.0", "/vcpus", "wrong_type"},
	        {"\"vcpus\":true", "/vcpus", "wrong_type"},
	        {"\"vcpus\":0", "/vcpus", "out_of_range"},
	        {"\"vcpus\":65", "/vcpus", "out_of_range"},
	        {"\"vcpus\":-9223372036854775808", "/vcpus", "out_of_range"},
	        {"\"ratio\":\"1\"", "/ratio", "wrong_type"},
	        {"\"ratio\":16.5", "/ratio", "out_of_range"},
	        {"\"ratio\":0", "/ratio", "out_of_range"},
	        {"\"managed\":1", "/managed", "wrong_type"},
	        {"\"power\":\"ON\"", "/power", "bad_value"},
	        {"\"power\":1", "/power", "wrong_type"},
	        {"\"created_at\":\"yesterday\"", "/created_at", "bad_value"},
	        {"\"created_at\":5", "/created_at", "wrong_type"},
	        {"\"description\":\"01234567890\"", "/description", "too_long"},
	        {"\"description\":\"a\\u0001\"", "/description", "bad_value"},
	        {"\"description\":\"a\\u0085\"", "/description", "bad_value"},
	        {"\"boot\":[]", "/boot", "wrong_type"},
	        {"\"tpm\":{\"firmware\":\"x\"}", "/tpm/firmware", "bad_value"},
	        {"\"keys\":{}", "/keys", "wrong_type"},
	        {"\"keys\":[\"a\",2]", "/keys/1", "wrong_type"},
	        {"\"keys\":[null]", "/keys/0", "wrong_type"},
	        {"\"keys\":[\"a\",\"b\",\"c\",\"d\"]", "/keys", "too_many"},
	        {"\"labels\":{\"a\":1}", "/labels/a", "wrong_type"},
	        {"\"labels\":{\"\":\"x\"}", "/labels/", "bad_value"},
	        {"\"labels\":{\"a\\nb\":\"x\"}", "/labels/a\nb", "bad_value"},
	        {"\"labels\":[]", "/labels", "wrong_type"},
	        {"\"rules\":[{}]", "/rules/0/label", "missing"},
	        {"\"rules\":[{\"label\":\"x\"},3]", "/rules/1", "wrong_type"},
	        {"\"disks\":{\"A\":{\"size_bytes\":1}}", "/disks/A", "bad_value"},
	        {"\"disks\":{\"../x\":{\"size_bytes\":1}}", "/disks/..~1x", "bad_value"},
	        {"\"disks\":{\"a\":{}}", "/disks/a/size_bytes", "missing"},
	        {"\"disks\":{\"a\":5}", "/disks/a", "wrong_type"},
	        {"\"disks\":{\"a\":{\"size_bytes\":1,\"name\":\"b\"}}", "/disks/a/name",
	                "unknown_member"},
	        {"\"disks\":[]", "/disks", "wrong_type"},
	        {"\"data\":\"0123456789012345678901234567890\"", "/data", "too_long"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[256];
		snprintf(text, sizeof(text), "{\"name\":\"web\",%s}", cases[i].member);
		assert_refused(text, cases[i].pointer, cases[i].code);
	}
	assert_refused("[]", "", "wrong_type");
	assert_refused("{}", "/name", "missing");
}

static void test_bad_names_are_refused(void **state)
{
	(void)state;
	static const char *const names[] = {"", "A", "1a", "-a", "a_b", "a b", "a.b", "../a",
	        "a\\n", "<b>", "$(x)", "\\u00e4", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
	        "a234567890123456789012345678901234567890123456789012345678901234"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char text[128];
		snprintf(text, sizeof(text), "{\"name\":\"%s\"}", names[i]);
		assert_refused(text, "/name", "bad_value");
	}
}

static void test_all_errors_come_at_once(void **state)
{
	(void)state;
	struct run run;
	decode(&run, FIELD_DECODE_CREATE,
	        "{\"vcpus\":0,\"power\":\"x\",\"disks\":{\"a\":{\"bus\":\"scsi\"}},\"zzz\":1,"
	        "\"id\":\"i\"}");
	assert_int_equal(run.rc, ERR_INVALID);
	static const char *const pointers[] = {
	        "/id", "/name", "/vcpus", "/power", "/disks/a/size_bytes", "/disks/a/bus", "/zzz"};
	assert_int_equal(run.errors.len, 7);
	for (size_t i = 0; i < 7; i++)
		assert_string_equal(run.errors.items[i].pointer, pointers[i]);
	assert_string_equal(run.errors.items[3].detail, "must be one of off, on");
	assert_string_equal(run.errors.items[2].detail, "must be from 1 to 64, not 0");
	finish(&run);
}

static void test_more_errors_than_fit_are_still_an_error(void **state)
{
	(void)state;
	json_t *value = json_object();
	json_object_set_new(value, "name", json_string("web"));
	for (int i = 0; i < 1000; i++) {
		char key[32];
		snprintf(key, sizeof(key), "unknown%d", i);
		json_object_set_new(value, key, json_true());
	}
	struct run run = {0};
	run.rc = field_decode(&sample_fields, value, FIELD_DECODE_CREATE, &run.object, &run.errors);
	assert_int_equal(run.rc, ERR_INVALID);
	assert_int_equal(run.errors.len, FIELD_ERRORS_MAX);
	json_decref(value);
	finish(&run);
}

static void test_long_pointers_are_cut_at_whole_characters(void **state)
{
	(void)state;
	char text[1024] = "{\"name\":\"web\",\"x";
	for (int i = 0; i < 200; i++)
		strcat(text, "\xc3\xa4");
	strcat(text, "\":1}");
	struct run run;
	decode(&run, FIELD_DECODE_CREATE, text);
	size_t len = strlen(run.errors.items[0].pointer);
	assert_true(len >= 157 && len <= 159);
	assert_int_equal((unsigned char)run.errors.items[0].pointer[len - 1], 0xa4);
	finish(&run);
}

static void test_patch_sets_only_what_is_given(void **state)
{
	(void)state;
	struct run run;
	decode(&run, FIELD_DECODE_PATCH, "{\"delay\":7,\"disks\":{\"a\":{\"bus\":\"virtio\"}}}");
	assert_int_equal(run.rc, 0);
	assert_true(run.object.has_delay);
	assert_int_equal(run.object.vcpus, 0);
	assert_int_equal(run.object.keys.len, 0);
	assert_null(run.object.boot.kernel);
	assert_int_equal(((struct sample_disk *)run.object.disks.items)[0].size_bytes, 0);
	finish(&run);
	decode(&run, FIELD_DECODE_PATCH, "{\"rules\":[{\"hard\":true}],\"id\":\"x\",\"vcpus\":0}");
	assert_int_equal(run.errors.len, 3);
	assert_string_equal(run.errors.items[0].code, "read_only");
	assert_string_equal(run.errors.items[1].code, "out_of_range");
	assert_string_equal(run.errors.items[2].pointer, "/rules/0/label");
	finish(&run);
}

static void test_stored_rows_survive_stricter_rules(void **state)
{
	(void)state;
	struct run run;
	decode(&run, FIELD_DECODE_STORED,
	        "{\"id\":\"i\",\"password\":\"p\",\"vcpus\":1000,\"gone\":1,\"name\":\"OLD_"
	        "NAME\"}");
	assert_int_equal(run.rc, 0);
	assert_string_equal(run.object.id, "i");
	assert_string_equal(run.object.name, "OLD_NAME");
	assert_int_equal(run.object.vcpus, 1000);
	assert_true(run.object.ratio == 4.0);
	finish(&run);
	decode(&run, FIELD_DECODE_STORED, "{\"power\":\"warp\"}");
	assert_int_equal(run.rc, ERR_INVALID);
	finish(&run);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_every_type_is_decoded),
	        cmocka_unit_test(test_defaults_reach_objects_that_were_not_given),
	        cmocka_unit_test(test_null_equals_absence),
	        cmocka_unit_test(test_each_wrong_value_has_its_pointer_and_code),
	        cmocka_unit_test(test_bad_names_are_refused),
	        cmocka_unit_test(test_all_errors_come_at_once),
	        cmocka_unit_test(test_more_errors_than_fit_are_still_an_error),
	        cmocka_unit_test(test_long_pointers_are_cut_at_whole_characters),
	        cmocka_unit_test(test_patch_sets_only_what_is_given),
	        cmocka_unit_test(test_stored_rows_survive_stricter_rules),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

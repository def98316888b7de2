/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON Schema of a field table says what the decoder enforces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/unit/base/field_sample_table.h"

static json_t *schema; /* owned by the group */

static int make_schema(void **state)
{
	(void)state;
	struct json_writer w = {0};
	field_schema(&sample_fields, &w);
	schema = json_loads(w.out.data, JSON_REJECT_DUPLICATES, NULL);
	json_writer_done(&w);
	return schema ? 0 : -1;
}

static int drop_schema(void **state)
{
	(void)state;
	json_decref(schema);
	return 0;
}

/* The compact text of what stands at "member/member/...", "" if nothing does. */
static void assert_at(const char *path, const char *wanted)
{
	json_t *value = schema;
	char copy[128];
	snprintf(copy, sizeof(copy), "%s", path);
	for (char *rest = copy, *word; value && (word = strsep(&rest, "/"));)
		value = json_object_get(value, word);
	char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : strdup("");
	assert_string_equal(text, wanted);
	free(text);
}

static void test_numbers_carry_their_bounds(void **state)
{
	(void)state;
	assert_at("properties/vcpus",
	        "{\"type\":\"integer\",\"format\":\"int64\",\"minimum\":1,\"maximum\":64,"
	        "\"default\":2,\"description\":\"Virtual CPUs.\"}");
	assert_at("properties/delay/minimum", "");
	assert_at("properties/ratio/maximum", "16");
}

static void test_texts_carry_pattern_length_and_names(void **state)
{
	(void)state;
	assert_at("properties/name/pattern", "\"^[a-z][a-z0-9-]{0,62}$\"");
	assert_at("properties/name/x-filterable", "true");
	assert_at("properties/description/maxLength", "10");
	assert_at("properties/description/type", "[\"string\",\"null\"]");
	assert_at("properties/power/enum", "[\"off\",\"on\"]");
	assert_at("properties/created_at/format", "\"date-time\"");
}

static void test_flags_are_shown(void **state)
{
	(void)state;
	assert_at("properties/id/readOnly", "true");
	assert_at("properties/password/writeOnly", "true");
	assert_at("required", "[\"name\"]");
	assert_at("additionalProperties", "false");
}

static void test_named_tables_are_references_and_others_inline(void **state)
{
	(void)state;
	assert_at("properties/disks/additionalProperties",
	        "{\"$ref\":\"#/components/schemas/SampleDisk\"}");
	assert_at("properties/rules/items/required", "[\"label\"]");
	assert_at("properties/boot/properties/firmware/default", "\"uefi\"");
	assert_at("properties/keys/default", "[\"a\",\"b\"]");
	assert_at("properties/keys/maxItems", "3");
	json_t *any_of = json_object_get(
	        json_object_get(json_object_get(schema, "properties"), "tpm"), "anyOf");
	assert_int_equal(json_array_size(any_of), 2);
}

static void count_table(const struct field_table *table, void *arg)
{
	struct {
		int sample, disk, other;
	} *counts = arg;
	counts->sample += table == &sample_fields;
	counts->disk += table == &sample_disk_fields;
	counts->other += table != &sample_fields && table != &sample_disk_fields;
}

static void test_visit_finds_the_table_and_the_named_ones_below(void **state)
{
	(void)state;
	struct {
		int sample, disk, other;
	} counts = {0};
	field_visit_tables(&sample_fields, count_table, &counts);
	assert_int_equal(counts.sample, 1);
	assert_int_equal(counts.disk, 1);
	assert_int_equal(counts.other, 0);
}

static void test_find_knows_members_by_name(void **state)
{
	(void)state;
	assert_ptr_equal(field_find(&sample_fields, "name"), &sample_field_list[1]);
	assert_null(field_find(&sample_fields, "nam"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_numbers_carry_their_bounds),
	        cmocka_unit_test(test_texts_carry_pattern_length_and_names),
	        cmocka_unit_test(test_flags_are_shown),
	        cmocka_unit_test(test_named_tables_are_references_and_others_inline),
	        cmocka_unit_test(test_visit_finds_the_table_and_the_named_ones_below),
	        cmocka_unit_test(test_find_knows_members_by_name),
	};
	return cmocka_run_group_tests(tests, make_schema, drop_schema);
}

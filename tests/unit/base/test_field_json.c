/* SPDX-License-Identifier: Apache-2.0 */
/* Strict parsing of bodies, merge patch (the examples of RFC 7396), and differences. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/field.h"

static void assert_malformed(const char *text, size_t len, const char *part_of_message)
{
	struct err e = {0};
	json_t *value = NULL;
	assert_int_equal(field_parse_json(text, len, &value, &e), ERR_MALFORMED);
	assert_null(value);
	if (!strstr(e.message, part_of_message))
		fail_msg("'%s' does not contain '%s'", e.message, part_of_message);
}

static void test_bad_bodies_are_refused_with_reason_and_position(void **state)
{
	(void)state;
	static const struct {
		const char *text, *part;
	} cases[] = {
	        {"", "empty"},
	        {"{", "ends too early"},
	        {"{\"a\":1", "ends too early"},
	        {"[]", "must be a JSON object"},
	        {"\"x\"", "must be a JSON object"},
	        {"null", "must be a JSON object"},
	        {"{\"a\":NaN}", "syntax"},
	        {"{\"a\":Infinity}", "syntax"},
	        {"{\"a\":01}", "syntax"},
	        {"{'a':1}", "syntax"},
	        {"{\"a\":1,}", "syntax"},
	        {"{\"a\":1} {}", "text follows its end"},
	        {"{\"a\":1}x", "text follows its end"},
	        {"{\n\"a\":tru}", "line 2"},
	        {"{\"a\":9223372036854775808}", "too large"},
	        {"{\"a\":1e999}", "too large"},
	        {"{\"a\":\"\\u0000\"}", "NUL"},
	        {"{\"a\\u0000\":1}", "NUL"},
	        {"{\"a\":\"\xff\"}", "not UTF-8"},
	        {"{\"a\":\"\xc0\xaf\"}", "not UTF-8"},
	        {"{\"a\":\"\xed\xa0\x80\"}", "not UTF-8"},
	        {"{\"a\":\"\\ud800\"}", "at line 1"},
	        {"{\"a\":\"\n\"}", "syntax"},
	        {"\xef\xbb\xbf{}", "at line 1"},
	        {"{\"a\":1,\"b\":2,\"a\":3}", "the key \"a\" appears twice"},
	        {"{\"x\":{\"very-long-key-name-beyond-what-a-library-shows\":1,"
	         "\"very-long-key-name-beyond-what-a-library-shows\":2}}",
	                "the key \"very-long-key-name-beyond-what-a-library-shows\" appears twice"},
	        {"{\"a\\\"b\":1,\"a\\\"b\":1}", "the key \"a\\\"b\" appears twice"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_malformed(cases[i].text, strlen(cases[i].text), cases[i].part);
	assert_malformed("{\"a\":\"\0\"}", 9, "at line 1, byte");
}

/* An object of `depth` levels in all. */
static char *nested(int depth)
{
	size_t size = (size_t)depth * 8 + 16;
	char *text = calloc(1, size);
	strcpy(text, "{\"a\":");
	for (int i = 1; i < depth; i++)
		strcat(text, "[");
	strcat(text, depth > 1 ? "" : "1");
	for (int i = 1; i < depth; i++)
		strcat(text, "]");
	strcat(text, "}");
	return text;
}

static void test_depth_is_limited_to_32(void **state)
{
	(void)state;
	char *fits = nested(32), *too_deep = nested(33);
	json_t *value = NULL;
	assert_int_equal(field_parse_json(fits, strlen(fits), &value, NULL), 0);
	json_decref(value);
	assert_malformed(too_deep, strlen(too_deep), "deeper than 32 levels");
	free(fits);
	free(too_deep);
	static char bomb[1 << 20];
	memset(bomb, '[', sizeof(bomb));
	assert_malformed(bomb, sizeof(bomb), "deeper than 32 levels, at byte 32");
}

static void test_brackets_in_strings_do_not_count_as_depth(void **state)
{
	(void)state;
	char text[256] = "{\"a\":\"\\\"";
	memset(text + strlen(text), '[', 100);
	strcat(text, "\"}");
	json_t *value = NULL;
	assert_int_equal(field_parse_json(text, strlen(text), &value, NULL), 0);
	json_decref(value);
}

static void test_merge_patch_follows_rfc_7396(void **state)
{
	(void)state;
	static const struct {
		const char *target, *patch, *result;
	} cases[] = {
	        {"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
	        {"{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}"},
	        {"{\"a\":\"b\"}", "{\"a\":null}", "{}"},
	        {"{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}"},
	        {"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
	        {"{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}"},
	        {"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}",
	                "{\"a\":{\"b\":\"d\"}}"},
	        {"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}"},
	        {"[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]"},
	        {"{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]"},
	        {"{\"a\":\"foo\"}", "null", "null"},
	        {"{\"a\":\"foo\"}", "\"bar\"", "\"bar\""},
	        {"{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}"},
	        {"[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}"},
	        {"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		json_t *target = json_loads(cases[i].target, JSON_DECODE_ANY, NULL);
		json_t *patch = json_loads(cases[i].patch, JSON_DECODE_ANY, NULL);
		json_t *before = json_deep_copy(target);
		json_t *result = field_merge_patch(target, patch);
		char *text = json_dumps(result, JSON_COMPACT | JSON_ENCODE_ANY);
		assert_string_equal(text, cases[i].result);
		assert_true(json_equal(target, before));
		free(text);
		json_decref(result);
		json_decref(before);
		json_decref(patch);
		json_decref(target);
	}
}

static void test_diff_lists_leaves_and_whole_entries_sorted(void **state)
{
	(void)state;
	json_t *before = json_loads("{\"z\":1,\"same\":[1],\"boot\":{\"order\":[1],\"a/b\":1},"
	                            "\"disks\":{\"old\":{\"size\":1}}}",
	        0, NULL);
	json_t *after = json_loads("{\"z\":2,\"same\":[1],\"boot\":{\"order\":[2],\"a/b\":2},"
	                           "\"disks\":{\"new\":{\"size\":1}}}",
	        0, NULL);
	struct field_changes changes;
	field_diff(before, after, &changes);
	static const char *const pointers[] = {
	        "/boot/a~1b", "/boot/order", "/disks/new", "/disks/old", "/z"};
	assert_int_equal(changes.len, 5);
	for (size_t i = 0; i < 5; i++)
		assert_string_equal(changes.items[i].pointer, pointers[i]);
	assert_null(changes.items[2].before);
	assert_true(json_is_object(changes.items[2].after));
	assert_null(changes.items[3].after);
	assert_int_equal(json_integer_value(changes.items[4].before), 1);
	json_decref(before);
	json_decref(after);
	field_changes_done(&changes); /* holds references of its own */
	assert_int_equal(changes.len, 0);
}

static void test_diff_of_equal_objects_is_empty(void **state)
{
	(void)state;
	json_t *value = json_loads("{\"a\":{\"b\":[{}]}}", 0, NULL);
	struct field_changes changes;
	field_diff(value, value, &changes);
	assert_int_equal(changes.len, 0);
	field_changes_done(&changes);
	json_decref(value);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_bad_bodies_are_refused_with_reason_and_position),
	        cmocka_unit_test(test_depth_is_limited_to_32),
	        cmocka_unit_test(test_brackets_in_strings_do_not_count_as_depth),
	        cmocka_unit_test(test_merge_patch_follows_rfc_7396),
	        cmocka_unit_test(test_diff_lists_leaves_and_whole_entries_sorted),
	        cmocka_unit_test(test_diff_of_equal_objects_is_empty),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

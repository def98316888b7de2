/* SPDX-License-Identifier: Apache-2.0 */
/* Growable strings, predicates, UTF-8. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/str.h"

static void test_building_grows_and_stays_terminated(void **state)
{
	(void)state;
	struct str s = {0};
	assert_string_equal(str_text(&s), "");
	for (int i = 0; i < 1000; i++)
		str_printf(&s, "%d,", i % 10);
	assert_int_equal(s.len, 2000);
	assert_int_equal(strlen(s.data), 2000);
	str_reset(&s);
	assert_string_equal(s.data, "");
	str_add_len(&s, "a\0b", 3);
	str_add_char(&s, 'c');
	assert_int_equal(s.len, 4);
	assert_memory_equal(s.data, "a\0bc", 5);
	str_done(&s);
	assert_null(s.data);
}

static void test_take_hands_over_and_leaves_empty(void **state)
{
	(void)state;
	struct str s = {0};
	char *empty = str_take(&s);
	assert_string_equal(empty, "");
	free(empty);
	str_add(&s, "abc");
	char *text = str_take(&s);
	assert_string_equal(text, "abc");
	assert_null(s.data);
	free(text);
	text = str_format("%s-%d", "x", 5);
	assert_string_equal(text, "x-5");
	free(text);
}

static void test_predicates(void **state)
{
	(void)state;
	assert_true(str_equal(NULL, NULL));
	assert_false(str_equal(NULL, ""));
	assert_true(str_equal("a", "a"));
	assert_true(str_starts_with("abc", "ab"));
	assert_false(str_starts_with("a", "ab"));
	assert_true(str_is_empty(NULL));
	assert_true(str_is_empty(""));
	assert_false(str_is_empty(" "));
}

static void test_only_whole_decimal_numbers_are_numbers(void **state)
{
	(void)state;
	long long value = 0;
	assert_true(str_to_int64("-9223372036854775808", &value));
	assert_true(value == INT64_MIN);
	assert_true(str_to_int64("007", &value));
	assert_int_equal(value, 7);
	static const char *const wrong[] = {
	        "", " 1", "1 ", "+1", "-", "--1", "0x10", "1e3", "9223372036854775808", "1.0", "a"};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_false(str_to_int64(wrong[i], &value));
}

static void test_utf8_length_knows_the_forbidden_forms(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		size_t len;
	} cases[] = {{"", 0}, {"a", 1}, {"\xc3\xa4", 2}, {"\xe2\x82\xac", 3},
	        {"\xf0\x9f\x98\x80", 4}, {"\x80", 0}, {"\xc0\xaf", 0}, {"\xc3", 0}, {"\xe2\x82", 0},
	        {"\xe0\x80\x80", 0}, {"\xed\xa0\x80", 0}, {"\xf0\x80\x80\x80", 0},
	        {"\xf4\x90\x80\x80", 0}, {"\xff", 0}};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(str_utf8_len(cases[i].text), cases[i].len);
}

static void test_cut_removes_only_an_incomplete_character(void **state)
{
	(void)state;
	static const struct {
		const char *text, *result;
	} cases[] = {{"", ""}, {"abc", "abc"}, {"a\xc3\xa4", "a\xc3\xa4"}, {"a\xc3", "a"},
	        {"a\xe2\x82", "a"}, {"a\xe2\x82\xac", "a\xe2\x82\xac"}, {"\xf0\x9f\x98", ""},
	        {"a\xf0\x9f\x98\x80", "a\xf0\x9f\x98\x80"}};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[16];
		strcpy(text, cases[i].text);
		str_cut_utf8(text);
		assert_string_equal(text, cases[i].result);
	}
}

static void test_lists_are_copied_compared_and_sorted(void **state)
{
	(void)state;
	char b[] = "b", a[] = "a";
	char *list[] = {b, a, NULL}, *shorter[] = {b, NULL};
	char **copy = str_list_copy(list);
	assert_true(str_list_equal(copy, list) && copy[0] != list[0]);
	assert_false(str_list_equal(shorter, list) || str_list_equal(list, shorter));
	str_list_sort(copy);
	assert_string_equal(copy[0], "a");
	assert_string_equal(copy[1], "b");
	assert_false(str_list_equal(copy, list));
	str_list_free(copy);
	assert_null(str_list_copy(NULL));
	assert_true(str_list_equal(NULL, NULL));
	assert_false(str_list_equal(NULL, list) || str_list_equal(list, NULL));
	str_list_sort(NULL);
	str_list_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_building_grows_and_stays_terminated),
	        cmocka_unit_test(test_take_hands_over_and_leaves_empty),
	        cmocka_unit_test(test_predicates),
	        cmocka_unit_test(test_only_whole_decimal_numbers_are_numbers),
	        cmocka_unit_test(test_utf8_length_knows_the_forbidden_forms),
	        cmocka_unit_test(test_cut_removes_only_an_incomplete_character),
	        cmocka_unit_test(test_lists_are_copied_compared_and_sorted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

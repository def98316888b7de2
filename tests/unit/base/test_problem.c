/* SPDX-License-Identifier: Apache-2.0 */
/* Error values as problem members, and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/cleanup.h"
#include "base/problem.h"

static void encode(const struct err *e, struct json_writer *w)
{
	json_object_begin(w);
	problem_encode_members(e, w);
	json_object_end(w);
}

static void test_plain_error_has_the_five_members(void **state)
{
	(void)state;
	struct err e;
	CLEANUP(json_writer_done) struct json_writer w = {0};
	err_set(&e, ERR_NOT_FOUND, "there is no VM '%s'", "web");
	encode(&e, &w);
	assert_string_equal(str_text(&w.out),
	        "{\"type\":\"urn:berth:error:not_found\",\"title\":\"Not found\",\"status\":404,"
	        "\"detail\":\"there is no VM 'web'\",\"code\":\"not_found\"}");
}

static void test_pointer_hint_and_numbers_are_members(void **state)
{
	(void)state;
	struct err e;
	CLEANUP(json_writer_done) struct json_writer w = {0};
	err_set_at(&e, ERR_INVALID, "/cpu/count", "must be at most %d", 8);
	err_hint(&e, "ask for \"less\"");
	err_numbers(&e, "{\"asked\":%d,\"free\":%d}", 9, 8);
	encode(&e, &w);
	json_t *problem = json_loads(str_text(&w.out), JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(problem);
	const char *pointer, *code, *detail, *hint;
	int asked;
	assert_int_equal(json_unpack(problem, "{s:s, s:{s:i}, s:[{s:s, s:s, s:s}]}", "hint", &hint,
	                         "numbers", "asked", &asked, "errors", "pointer", &pointer, "code",
	                         &code, "detail", &detail),
	        0);
	assert_string_equal(hint, "ask for \"less\"");
	assert_int_equal(asked, 9);
	assert_string_equal(pointer, "/cpu/count");
	assert_string_equal(code, "invalid");
	assert_string_equal(detail, "must be at most 8");
	json_decref(problem);
}

static void assert_same(const struct err *a, const struct err *b)
{
	assert_int_equal(a->code, b->code);
	assert_string_equal(a->message, b->message);
	assert_string_equal(a->pointer, b->pointer);
	assert_string_equal(a->hint, b->hint);
	assert_string_equal(a->numbers, b->numbers);
}

static void test_every_code_comes_back_whole(void **state)
{
	(void)state;
	for (int i = 0; i < ERR_INDEX_COUNT; i++) {
		struct err e, back;
		CLEANUP(json_writer_done) struct json_writer w = {0};
		err_set_at(&e, -(1 + i), i % 2 ? "/a~1b/0" : "", "odd \"text\"\n\\ %d", i);
		if (i % 3 == 0)
			err_hint(&e, "try again");
		if (i % 5 == 0)
			err_numbers(&e, "{\"n\":%d,\"m\":-1}", i);
		encode(&e, &w);
		assert_true(problem_from_json(str_text(&w.out), &back));
		assert_same(&e, &back);
	}
}

static void test_longest_error_comes_back_whole(void **state)
{
	(void)state;
	struct err e = {.code = ERR_LIMIT}, back;
	CLEANUP(json_writer_done) struct json_writer w = {0};
	memset(e.message, '"', sizeof(e.message) - 1);
	memset(e.hint, '\\', sizeof(e.hint) - 1);
	memset(e.pointer, '/', sizeof(e.pointer) - 1);
	encode(&e, &w);
	assert_true(problem_from_json(str_text(&w.out), &back));
	assert_same(&e, &back);
}

static void test_members_of_others_are_passed_over(void **state)
{
	(void)state;
	struct err back;
	assert_true(problem_from_json(
	        "{\"code\":\"busy\",\"step\":\"define\",\"numbers\":7,\"errors\":[]}", &back));
	assert_int_equal(back.code, ERR_BUSY);
	assert_string_equal(back.message, "");
	assert_string_equal(back.numbers, "");
}

static void test_what_is_no_problem_is_an_internal_error(void **state)
{
	(void)state;
	const char *const texts[] = {"", "null", "[]", "{}", "{\"code\":7}", "{\"code\":\"busy\""};
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct err back = {0};
		assert_false(problem_from_json(texts[i], &back));
		assert_int_equal(back.code, ERR_INTERNAL);
	}
	struct err back;
	assert_true(problem_from_json("{\"code\":\"from_the_future\"}", &back));
	assert_int_equal(back.code, ERR_INTERNAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_plain_error_has_the_five_members),
	        cmocka_unit_test(test_pointer_hint_and_numbers_are_members),
	        cmocka_unit_test(test_every_code_comes_back_whole),
	        cmocka_unit_test(test_longest_error_comes_back_whole),
	        cmocka_unit_test(test_members_of_others_are_passed_over),
	        cmocka_unit_test(test_what_is_no_problem_is_an_internal_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

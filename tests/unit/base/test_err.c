/* SPDX-License-Identifier: Apache-2.0 */
/* Error values: filling, cutting, describing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"
#include "base/str.h"

#include <errno.h>
#include <stdio.h>

static void test_every_code_is_described_and_found_by_name(void **state)
{
	(void)state;
	for (int index = 0; index < ERR_INDEX_COUNT; index++) {
		const struct err_info *info = err_info(-(1 + index));
		assert_int_equal(info->code, -(1 + index));
		assert_int_equal(err_code_from_name(info->name), info->code);
		assert_in_range(info->http_status, 400, 599);
	}
	assert_int_equal(err_info(-9999)->code, ERR_INTERNAL);
	assert_int_equal(err_info(0)->code, ERR_INTERNAL);
	assert_int_equal(err_code_from_name("nonsense"), ERR_INTERNAL);
}

static void test_set_returns_its_code_and_forgets_what_was_there(void **state)
{
	(void)state;
	struct err e = {0};
	assert_int_equal(err_set_at(&e, ERR_INVALID, "/a", "bad %d", 1), ERR_INVALID);
	err_hint(&e, "do %s", "this");
	assert_string_equal(e.pointer, "/a");
	assert_int_equal(err_set(&e, ERR_BUSY, "busy"), ERR_BUSY);
	assert_string_equal(e.message, "busy");
	assert_string_equal(e.pointer, "");
	assert_string_equal(e.hint, "");
	assert_int_equal(err_set(NULL, ERR_BUSY, "nobody listens"), ERR_BUSY);
	err_clear(NULL);
}

static void test_an_error_may_quote_itself(void **state)
{
	(void)state;
	struct err e = {0};
	err_set_at(&e, ERR_INVALID, "/x", "inner");
	err_set_at(&e, ERR_CONFLICT, e.pointer, "outer: %s", e.message);
	assert_string_equal(e.message, "outer: inner");
	assert_string_equal(e.pointer, "/x");
	assert_int_equal(err_prefix(&e, "vm %s", "web"), ERR_CONFLICT);
	assert_string_equal(e.message, "vm web: outer: inner");
}

static void test_errno_maps_to_codes(void **state)
{
	(void)state;
	struct err e = {0};
	assert_int_equal(err_set_errno(&e, ENOSPC, "write"), ERR_DISK_FULL);
	assert_int_equal(e.source, ERR_SOURCE_OS);
	assert_int_equal(e.source_code, ENOSPC);
	assert_true(str_starts_with(e.message, "write: "));
	assert_int_equal(err_set_errno(NULL, EACCES, "open"), ERR_HOST_PERMISSION);
	assert_int_equal(err_set_errno(NULL, ENOENT, "open"), ERR_NOT_FOUND);
	assert_int_equal(err_set_errno(NULL, EIO, "open"), ERR_INTERNAL);
}

static void test_long_texts_are_cut_at_whole_characters(void **state)
{
	(void)state;
	char text[1200] = "x";
	while (strlen(text) < 1100)
		strcat(text, "\xc3\xa4");
	struct err e = {0};
	err_set_at(&e, ERR_INVALID, text, "%s", text);
	err_hint(&e, "%s", text);
	assert_int_equal(strlen(e.message), sizeof(e.message) - 1);
	assert_int_equal((unsigned char)e.message[strlen(e.message) - 1], 0xa4);
	assert_int_equal(strlen(e.hint) % 2, 1);
	err_prefix(&e, "12");
	assert_int_equal(strlen(e.message) % 2, 1);
	assert_int_equal((unsigned char)e.message[strlen(e.message) - 1], 0xa4);
}

static void test_numbers_that_do_not_fit_are_dropped_whole(void **state)
{
	(void)state;
	struct err e = {0};
	err_set(&e, ERR_NO_CAPACITY, "full");
	assert_int_equal(err_numbers(&e, "{\"asked\":%d}", 5), ERR_NO_CAPACITY);
	assert_string_equal(e.numbers, "{\"asked\":5}");
	err_numbers(&e, "{\"x\":\"%*s\"}", (int)sizeof(e.numbers), "");
	assert_string_equal(e.numbers, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_every_code_is_described_and_found_by_name),
	        cmocka_unit_test(test_set_returns_its_code_and_forgets_what_was_there),
	        cmocka_unit_test(test_an_error_may_quote_itself),
	        cmocka_unit_test(test_errno_maps_to_codes),
	        cmocka_unit_test(test_long_texts_are_cut_at_whole_characters),
	        cmocka_unit_test(test_numbers_that_do_not_fit_are_dropped_whole),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

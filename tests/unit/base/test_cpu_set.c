/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of CPUs read back as they were written, and odd texts are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/base/cpu_set_text.h"

static void test_sets_are_written_and_read_as_ranges(void **state)
{
	(void)state;
	struct cpu_set set;
	static const char *const good[] = {"", "0", "0-3,8", "1,3,5", "1000-1023"};
	static const char *const bad[] = {"-", "1-", "3-1", "1,", ",1", "1024", "a", "1 2", "1--2"};
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		assert_true(cpu_set_parse(good[i], &set));
		assert_string_equal(text_of(&set), good[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(cpu_set_parse(bad[i], &set));
	assert_true(cpu_set_parse("0-9", &set));
	assert_int_equal(cpu_set_count(&set), 10);
}

static void test_sets_are_joined_and_taken_away(void **state)
{
	(void)state;
	struct cpu_set set, other;
	assert_true(cpu_set_parse("0-3,70", &set) && cpu_set_parse("2-5,70", &other));
	cpu_set_merge(&set, &other);
	assert_string_equal(text_of(&set), "0-5,70");
	cpu_set_subtract(&set, &other);
	assert_string_equal(text_of(&set), "0-1");
	cpu_set_add(&set, CPU_SET_MAX);
	cpu_set_add(&set, -1);
	assert_int_equal(cpu_set_count(&set), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_sets_are_written_and_read_as_ranges),
	        cmocka_unit_test(test_sets_are_joined_and_taken_away),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* One guest against one host's limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "scheduler/admission.h"

#define GIB ((int64_t)1 << 30)

static const struct admission_host host = {
        .name = "h1", .cpu_threads = 8, .memory_bytes = 16 * GIB, .reserved_bytes = 2 * GIB};

static void test_what_fits_exactly_is_admitted(void **state)
{
	(void)state;
	struct err e = {0};
	assert_int_equal(admission_check(&host, 8, 14 * GIB, &e), 0);
	assert_int_equal(e.code, 0);
}

static void test_more_vcpus_than_threads_are_refused_with_numbers(void **state)
{
	(void)state;
	struct err e = {0};
	assert_int_equal(admission_check(&host, 9, GIB, &e), ERR_UNPROCESSABLE);
	assert_string_equal(e.pointer, "/cpu/count");
	assert_string_equal(e.numbers, "{\"asked_vcpus\":9,\"host_threads\":8}");
	assert_non_null(strstr(e.message, "h1"));
	assert_true(e.hint[0] != '\0');
}

static void test_the_reserve_is_not_for_guests(void **state)
{
	(void)state;
	struct err e = {0};
	assert_int_equal(admission_check(&host, 1, 14 * GIB + 1, &e), ERR_UNPROCESSABLE);
	assert_string_equal(e.pointer, "/memory/size_bytes");
	json_t *numbers = json_loads(e.numbers, 0, NULL);
	assert_int_equal(json_integer_value(json_object_get(numbers, "asked_bytes")), 14 * GIB + 1);
	assert_int_equal(json_integer_value(json_object_get(numbers, "host_bytes")), 16 * GIB);
	assert_int_equal(json_integer_value(json_object_get(numbers, "reserved_bytes")), 2 * GIB);
	json_decref(numbers);
}

static void test_a_reserve_above_the_memory_leaves_nothing(void **state)
{
	(void)state;
	struct admission_host small = host;
	struct err e = {0};
	small.reserved_bytes = 17 * GIB;
	assert_int_equal(admission_check(&small, 1, 1, &e), ERR_UNPROCESSABLE);
	assert_int_equal(admission_check(&small, 1, INT64_MAX, &e), ERR_UNPROCESSABLE);
}

static void test_an_unknown_capacity_refuses_nothing(void **state)
{
	(void)state;
	struct admission_host unknown = {.name = "new"};
	assert_int_equal(admission_check(&unknown, 4096, INT64_MAX, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_what_fits_exactly_is_admitted),
	        cmocka_unit_test(test_more_vcpus_than_threads_are_refused_with_numbers),
	        cmocka_unit_test(test_the_reserve_is_not_for_guests),
	        cmocka_unit_test(test_a_reserve_above_the_memory_leaves_nothing),
	        cmocka_unit_test(test_an_unknown_capacity_refuses_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

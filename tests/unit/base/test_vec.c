/* SPDX-License-Identifier: Apache-2.0 */
/* The typed vector. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/vec.h"

typedef VEC(int) int_vec;

static void test_pushed_items_keep_their_order_through_growth(void **state)
{
	(void)state;
	int_vec v = {0};
	for (int i = 0; i < 1000; i++)
		VEC_PUSH(&v, i);
	int wanted = 0;
	VEC_FOR_EACH (&v, item)
		assert_int_equal(*item, wanted++);
	assert_int_equal(wanted, 1000);
	assert_true(v.capacity >= v.len);
	VEC_DONE(&v);
	assert_null(v.items);
	assert_int_equal(v.len, 0);
}

static void test_remove_closes_the_gap(void **state)
{
	(void)state;
	int_vec v = {0};
	for (int i = 0; i < 5; i++)
		VEC_PUSH(&v, i);
	VEC_REMOVE(&v, 0);
	VEC_REMOVE(&v, 3);
	VEC_REMOVE(&v, 1);
	assert_int_equal(v.len, 2);
	assert_int_equal(v.items[0], 1);
	assert_int_equal(v.items[1], 3);
	VEC_DONE(&v);
}

static void test_an_item_may_be_pushed_from_the_vector_itself(void **state)
{
	(void)state;
	int_vec v = {0};
	VEC_PUSH(&v, 42);
	for (int i = 0; i < 100; i++)
		VEC_PUSH(&v, v.items[0]);
	assert_int_equal(v.items[100], 42);
	VEC_DONE(&v);
}

static void test_reserve_makes_room_without_items(void **state)
{
	(void)state;
	int_vec v = {0};
	VEC_RESERVE(&v, 100);
	int *before = v.items;
	for (int i = 0; i < 100; i++)
		VEC_PUSH(&v, i);
	assert_ptr_equal(v.items, before);
	VEC_DONE(&v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_pushed_items_keep_their_order_through_growth),
	        cmocka_unit_test(test_remove_closes_the_gap),
	        cmocka_unit_test(test_an_item_may_be_pushed_from_the_vector_itself),
	        cmocka_unit_test(test_reserve_makes_room_without_items),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

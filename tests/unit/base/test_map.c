/* SPDX-License-Identifier: Apache-2.0 */
/* The hash map against a plain array, through growth and removal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <stdio.h>

#include "base/map.h"

static void test_put_get_replace_remove(void **state)
{
	(void)state;
	int a = 1, b = 2;
	struct map *m = map_new();
	assert_null(map_get(m, "k"));
	assert_null(map_put(m, "k", &a));
	assert_ptr_equal(map_put(m, "k", &b), &a);
	assert_int_equal(map_len(m), 1);
	assert_ptr_equal(map_get(m, "k"), &b);
	assert_ptr_equal(map_remove(m, "k"), &b);
	assert_null(map_remove(m, "k"));
	assert_null(map_get(m, "k"));
	assert_int_equal(map_len(m), 0);
	map_free(m);
	map_free(NULL);
}

static void test_keys_are_copied(void **state)
{
	(void)state;
	int a = 1;
	char key[] = "key";
	struct map *m = map_new();
	map_put(m, key, &a);
	key[0] = 'x';
	assert_ptr_equal(map_get(m, "key"), &a);
	assert_null(map_get(m, "xey"));
	map_free(m);
}

#define KEYS 500

static void test_it_agrees_with_an_array_over_many_changes(void **state)
{
	(void)state;
	static int values[KEYS];
	bool there[KEYS] = {false};
	size_t len = 0;
	unsigned seed = 7;
	struct map *m = map_new();
	for (int i = 0; i < 200000; i++) {
		seed = seed * 1103515245u + 12345u;
		unsigned k = (seed >> 8) % KEYS;
		char key[16];
		snprintf(key, sizeof(key), "k%u", k);
		bool put = (seed >> 20) % 3 != 0;
		void *before = put ? map_put(m, key, &values[k]) : map_remove(m, key);
		assert_ptr_equal(before, there[k] ? &values[k] : NULL);
		len = len + (put && !there[k]) - (!put && there[k]);
		there[k] = put;
		assert_int_equal(map_len(m), len);
	}
	map_free(m);
}

static void test_iteration_sees_each_key_once_and_may_remove_it(void **state)
{
	(void)state;
	static int values[100];
	struct map *m = map_new();
	for (int i = 0; i < 100; i++) {
		char key[16];
		snprintf(key, sizeof(key), "%d", i);
		map_put(m, key, &values[i]);
	}
	size_t cursor = 0;
	const char *key;
	void *value;
	while (map_next(m, &cursor, &key, &value)) {
		++*(int *)value;
		if (atoi(key) % 2 == 0)
			assert_ptr_equal(map_remove(m, key), value);
	}
	for (int i = 0; i < 100; i++)
		assert_int_equal(values[i], 1);
	assert_int_equal(map_len(m), 50);
	map_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_put_get_replace_remove),
	        cmocka_unit_test(test_keys_are_copied),
	        cmocka_unit_test(test_it_agrees_with_an_array_over_many_changes),
	        cmocka_unit_test(test_iteration_sees_each_key_once_and_may_remove_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

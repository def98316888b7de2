/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "network/mac.h"

static void test_only_whole_unicast_addresses_pass(void **state)
{
	(void)state;
	assert_null(mac_check("52:54:00:aB:cd:01"));
	const char *bad[] = {"", "52:54:00:ab:cd", "52-54-00-ab-cd-01", "52:54:00:ab:cd:0g",
	        "53:54:00:ab:cd:01", "ff:ff:ff:ff:ff:ff", "52:54:00:ab:cd:012"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_non_null(mac_check(bad[i]));
}

static void test_made_addresses_pass_and_differ(void **state)
{
	(void)state;
	char a[MAC_TEXT_SIZE], b[MAC_TEXT_SIZE];
	mac_make(a);
	mac_make(b);
	assert_null(mac_check(a));
	assert_int_equal(strncmp(a, "52:54:00:", 9), 0);
	assert_string_not_equal(a, b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_only_whole_unicast_addresses_pass),
	        cmocka_unit_test(test_made_addresses_pass_and_differ),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

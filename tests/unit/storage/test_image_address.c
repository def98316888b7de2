/* SPDX-License-Identifier: Apache-2.0 */
/* Which addresses and URLs images may come from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>

#include "base/cleanup.h"
#include "storage/image_address.h"
#include "storage/qemu_img.h"

static bool is_public(const char *text)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
	if (inet_pton(AF_INET, text, &in.sin_addr) == 1)
		return image_address_is_public((const struct sockaddr *)&in, sizeof(in));
	assert_int_equal(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
	return image_address_is_public((const struct sockaddr *)&in6, sizeof(in6));
}

static void test_only_public_addresses_are_public(void **state)
{
	(void)state;
	static const char *const public[] = {"1.1.1.1", "9.255.255.255", "11.0.0.1",
	        "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.1", "192.167.255.255",
	        "192.169.0.1", "223.255.255.255", "2606:4700::1111", "2a00::1", "::ffff:8.8.8.8",
	        "64:ff9b::808:808", "2002:808:808::1"};
	static const char *const special[] = {"0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255",
	        "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.254", "169.254.169.254",
	        "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.168.0.1",
	        "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.9", "224.0.0.1",
	        "239.1.1.1", "240.0.0.1", "255.255.255.255", "::", "::1", "::7f00:1",
	        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1",
	        "64:ff9b::a00:1", "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1",
	        "2002:7f00:1::1", "2002:a00:1::1", "3fff::1", "fc00::1", "fd12:3456::1", "fe80::1",
	        "febf::1", "fec0::1", "ff02::1", "ff0e::1"};
	for (size_t i = 0; i < ARRAY_LEN(public); i++)
		if (!is_public(public[i]))
			fail_msg("%s is public", public[i]);
	for (size_t i = 0; i < ARRAY_LEN(special); i++)
		if (is_public(special[i]))
			fail_msg("%s is not public", special[i]);
}

static void test_other_families_and_short_addresses_are_not_public(void **state)
{
	(void)state;
	struct sockaddr_storage address = {.ss_family = AF_UNIX};
	assert_false(image_address_is_public((const struct sockaddr *)&address, sizeof(address)));
	address.ss_family = AF_INET6;
	assert_false(image_address_is_public((const struct sockaddr *)&address, 4));
}

static void test_urls_of_other_kinds_and_with_credentials_are_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {"", "x", "http:", "http://", "ftp://h/x", "file:///etc/x",
	        "gopher://h/", "http://user@h/x", "http://u:p@h/x", "http://:p@h/", "HTTP//h",
	        "javascript:1", "http://h o/x", "//h/x"};
	static const char *const good[] = {"http://example.com/x.qcow2",
	        "https://example.com:8443/x?y=z", "http://[2a00::1]/x"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err e = {0};
		if (image_url_check(bad[i], &e) != ERR_INVALID || strcmp(e.pointer, "/url") != 0)
			fail_msg("%s is taken", bad[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_int_equal(image_url_check(good[i], NULL), 0);
}

static double progress(const char *text)
{
	return qemu_img_parse_progress(text, strlen(text));
}

static void test_newest_progress_is_read_from_any_piece(void **state)
{
	(void)state;
	assert_true(progress("    (0.00/100%)\r") == 0);
	assert_true(progress("    (1.50/100%)\r    (99.25/100%)\r    (99.") == 99.25);
	assert_true(progress("") < 0);
	assert_true(progress("(") < 0);
	assert_true(progress("(1e9/100%)") < 0);
	assert_true(progress("(nan/100%)") < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_only_public_addresses_are_public),
	        cmocka_unit_test(test_other_families_and_short_addresses_are_not_public),
	        cmocka_unit_test(test_urls_of_other_kinds_and_with_credentials_are_refused),
	        cmocka_unit_test(test_newest_progress_is_read_from_any_piece),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

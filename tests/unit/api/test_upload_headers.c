/* SPDX-License-Identifier: Apache-2.0 */
/* The headers of uploads and downloads: what is understood, and that nothing else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <sodium.h>

#include "api/download.h"
#include "api/upload.h"
#include "base/cleanup.h"

static void test_ranges_are_read_as_rfc_9110_says(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int64_t length;
		int rc;
		int64_t offset, ret_length;
	} cases[] = {
	        {NULL, 100, 0, 0, -1},
	        {"bytes=0-0", 100, 0, 0, 1},
	        {"bytes=10-", 100, 0, 10, 90},
	        {"bytes=10-19", 100, 0, 10, 10},
	        {"bytes=90-1000", 100, 0, 90, 10},
	        {"bytes=-1", 100, 0, 99, 1},
	        {"bytes=-1000", 100, 0, 0, 100},
	        {"bytes=99-99", 100, 0, 99, 1},
	        {"bytes=100-", 100, ERR_RANGE, 0, 0},
	        {"bytes=-0", 100, ERR_RANGE, 0, 0},
	        {"bytes=0-", 0, ERR_RANGE, 0, 0},
	        {"bytes=5-4", 100, 0, 0, -1},
	        {"bytes=a-b", 100, 0, 0, -1},
	        {"bytes=1-2,4-5", 100, 0, 0, -1},
	        {"bytes=", 100, 0, 0, -1},
	        {"bytes=-", 100, 0, 0, -1},
	        {"bytes=1-2x", 100, 0, 0, -1},
	        {"bytes=99999999999999999999-", 100, 0, 0, -1},
	        {"rows=1-2", 100, 0, 0, -1},
	        {"bytes=1-2", -1, 0, 0, -1},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		int64_t offset = -7, length = -7;
		struct err e = {0};
		int rc = range_parse(cases[i].text, cases[i].length, &offset, &length, &e);
		if (rc != cases[i].rc ||
		        (rc == 0 && (offset != cases[i].offset || length != cases[i].ret_length)))
			fail_msg("%s of %lld: %d %lld %lld", cases[i].text,
			        (long long)cases[i].length, rc, (long long)offset,
			        (long long)length);
	}
}

static void test_content_ranges_are_read_strictly(void **state)
{
	(void)state;
	struct content_range range;
	struct err e = {0};
	assert_int_equal(content_range_parse("bytes 5-9/20", &range, &e), 0);
	assert_int_equal(range.first, 5);
	assert_int_equal(range.last, 9);
	assert_int_equal(range.total, 20);
	assert_int_equal(content_range_parse("bytes 0-0/*", &range, &e), 0);
	assert_int_equal(range.total, -1);
	static const char *const bad[] = {"", "bytes", "bytes 5-4/20", "bytes 5-20/20",
	        "bytes */20", "bytes 5-9", "bytes 5-9/20 ", "bytes -1-9/20", "rows 1-2/3",
	        "bytes 1-2/x", "bytes 1-9999999999999999999/*"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (content_range_parse(bad[i], &range, &e) != ERR_MALFORMED)
			fail_msg("'%s' was understood", bad[i]);
}

static void test_content_digests_are_read_strictly(void **state)
{
	(void)state;
	unsigned char digest[32], wanted[32];
	struct err e = {0};
	crypto_hash_sha256(wanted, (const unsigned char *)"hello", 5);
	static const char *const good[] = {"sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:",
	        "md5=:eA==:, sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=: ,x=:eA==:"};
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		memset(digest, 0, sizeof(digest));
		assert_int_equal(content_digest_parse(good[i], digest, &e), 0);
		assert_memory_equal(digest, wanted, 32);
	}
	static const char *const bad[] = {"sha-256=:LPJN:", "sha-256=::", "sha-256=", "sha-256=:",
	        "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=",
	        "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=AA:",
	        "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLm!!=:"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (content_digest_parse(bad[i], digest, &e) != ERR_MALFORMED)
			fail_msg("'%s' was understood", bad[i]);
	assert_int_equal(content_digest_parse("sha-512=:eA==:", digest, &e), ERR_UNSUPPORTED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_ranges_are_read_as_rfc_9110_says),
	        cmocka_unit_test(test_content_ranges_are_read_strictly),
	        cmocka_unit_test(test_content_digests_are_read_strictly),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

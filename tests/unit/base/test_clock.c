/* SPDX-License-Identifier: Apache-2.0 */
/* RFC 3339 both ways, against the C library; the fake clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <stdio.h>
#include <time.h>

#include "base/clock.h"

static void test_formatting_agrees_with_the_c_library(void **state)
{
	(void)state;
	/* about every 11 days of ten thousand years, at odd times of day */
	for (int64_t ms = -62167219200000; ms <= 253402300799999; ms += 987654321) {
		time_t seconds = (time_t)((ms - (ms % 1000 + 1000) % 1000) / 1000);
		struct tm tm;
		gmtime_r(&seconds, &tm);
		char wanted[64], text[CLOCK_TEXT_SIZE];
		snprintf(wanted, sizeof(wanted), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ",
		        tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
		        tm.tm_sec, (int)((ms % 1000 + 1000) % 1000));
		clock_format(ms, text);
		assert_string_equal(text, wanted);
		int64_t back = 0;
		assert_int_equal(clock_parse(text, &back), 0);
		assert_true(back == ms);
	}
}

static void test_times_beyond_four_digit_years_are_clamped(void **state)
{
	(void)state;
	char text[CLOCK_TEXT_SIZE];
	clock_format(INT64_MAX, text);
	assert_string_equal(text, "9999-12-31T23:59:59.999Z");
	clock_format(INT64_MIN, text);
	assert_string_equal(text, "0000-01-01T00:00:00.000Z");
}

static void test_offsets_fractions_and_leap_seconds_are_read(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int64_t ms;
	} cases[] = {
	        {"1970-01-01T00:00:00Z", 0},
	        {"1970-01-01t00:00:00z", 0},
	        {"1970-01-01T01:00:00+01:00", 0},
	        {"1969-12-31T19:30:00-04:30", 0},
	        {"1970-01-01T00:00:00.5Z", 500},
	        {"1970-01-01T00:00:00.123456789Z", 123},
	        {"1970-01-01T00:00:60Z", 60000},
	        {"2000-02-29T00:00:00Z", 951782400000},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t ms = -1;
		assert_int_equal(clock_parse(cases[i].text, &ms), 0);
		assert_true(ms == cases[i].ms);
	}
}

static void test_what_is_not_rfc_3339_is_refused(void **state)
{
	(void)state;
	static const char *const wrong[] = {"", "now", "1970-01-01", "1970-01-01T00:00:00",
	        " 1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z ", "1970-01-01 00:00:00Z",
	        "70-01-01T00:00:00Z", "1970-1-1T00:00:00Z", "1970-13-01T00:00:00Z",
	        "1970-00-01T00:00:00Z", "1970-02-29T00:00:00Z", "1900-02-29T00:00:00Z",
	        "1970-04-31T00:00:00Z", "1970-01-00T00:00:00Z", "1970-01-01T24:00:00Z",
	        "1970-01-01T00:60:00Z", "1970-01-01T00:00:61Z", "1970-01-01T00:00:00.Z",
	        "1970-01-01T00:00:00+1:00", "1970-01-01T00:00:00+24:00",
	        "1970-01-01T00:00:00+01:60", "1970-01-01T00:00:00+0100", "+1970-01-01T00:00:00Z",
	        "-001-01-01T00:00:00Z",
	        "1970\x0d"
	        "01-01T00:00:00Z"};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		int64_t ms = 0;
		if (clock_parse(wrong[i], &ms) == 0)
			fail_msg("'%s' was accepted", wrong[i]);
	}
}

static void test_the_fake_clock_stands_still_until_set(void **state)
{
	(void)state;
	clock_fake_set(5000);
	assert_true(clock_now_ms() == 5000);
	assert_true(clock_wall_ms() == 5000);
	clock_fake_set(6000);
	assert_true(clock_now_ms() == 6000);
	clock_fake_set(-1);
	int64_t now = clock_now_ms();
	assert_true(clock_now_ms() >= now);
	assert_true(clock_wall_ms() > 1600000000000);
	assert_true(clock_now_ns() / 1000000 >= now);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_formatting_agrees_with_the_c_library),
	        cmocka_unit_test(test_times_beyond_four_digit_years_are_clamped),
	        cmocka_unit_test(test_offsets_fractions_and_leap_seconds_are_read),
	        cmocka_unit_test(test_what_is_not_rfc_3339_is_refused),
	        cmocka_unit_test(test_the_fake_clock_stands_still_until_set),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

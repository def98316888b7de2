/* SPDX-License-Identifier: Apache-2.0 */
/* When a snapshot policy runs, what its snapshots are called, and when its chains will be full. Pure. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "compute/snapshot_policy.h"

#define MINUTE ((int64_t)60000)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)
#define T0     ((int64_t)1767225600000) /* 2026-01-01T00:00:00Z */

static void test_every_n_minutes_keeps_its_grid(void **state)
{
	(void)state;
	const struct snapshot_schedule s = {.every_minutes = 15};
	assert_true(snapshot_schedule_next(&s, T0, T0) == T0 + 15 * MINUTE);
	/* run 40 s late: the next is not late */
	assert_true(snapshot_schedule_next(&s, T0 + 15 * MINUTE, T0 + 15 * MINUTE + 40000) ==
	            T0 + 30 * MINUTE);
	assert_true(snapshot_schedule_next(&s, T0 + HOUR, T0) == T0 + HOUR);
}

static void test_missed_runs_are_made_up_for_once(void **state)
{
	(void)state;
	const struct snapshot_schedule s = {.every_minutes = 60};
	int64_t now = T0 + 10 * DAY + 17 * MINUTE; /* down for ten days */
	int64_t next = snapshot_schedule_next(&s, T0, now);
	assert_true(next == T0 + 10 * DAY + HOUR);
}

static void test_daily_runs_at_its_time_in_utc(void **state)
{
	(void)state;
	const struct snapshot_schedule s = {.daily_at = (char *)"23:30"};
	int64_t time_of_day = 23 * HOUR + 30 * MINUTE;
	assert_true(snapshot_schedule_next(&s, 0, T0) == T0 + time_of_day);
	assert_true(snapshot_schedule_next(&s, 0, T0 + time_of_day - 1) == T0 + time_of_day);
	assert_true(snapshot_schedule_next(&s, 0, T0 + time_of_day) == T0 + DAY + time_of_day);
	assert_true(snapshot_schedule_next(&s, T0, T0 + 9 * DAY) == T0 + 9 * DAY + time_of_day);
}

/* Whatever the slot and the moment: in the future, on the grid, and not further than one period. */
static void test_next_run_is_the_first_of_the_grid_after_now(void **state)
{
	(void)state;
	unsigned seed = 1;
	for (int i = 0; i < 10000; i++) {
		const struct snapshot_schedule s = {.every_minutes = 1 + rand_r(&seed) % 20000};
		int64_t period = s.every_minutes * MINUTE, slot = T0 + rand_r(&seed) % 100000;
		int64_t now = slot + (int64_t)rand_r(&seed) * 10;
		int64_t next = snapshot_schedule_next(&s, slot, now);
		assert_true(next > now && next <= now + period && (next - slot) % period == 0);
	}
}

static void test_snapshots_are_named_after_policy_and_time(void **state)
{
	(void)state;
	char *name = snapshot_policy_make_name("nightly", T0 + 23 * HOUR + 30 * MINUTE + 5999);
	assert_string_equal(name, "nightly-20260101-233005");
	free(name);
}

static struct snapshot_forecast forecast(int64_t depth, int64_t own, int64_t keep)
{
	struct snapshot_policy_spec spec = {.keep = keep, .schedule = {.every_minutes = 60}};
	struct snapshot_forecast f = {.depth = depth, .limit = 16, .own = own};
	snapshot_policy_forecast(&spec, T0, &f);
	return f;
}

static void test_forecast_says_when_the_chain_is_full(void **state)
{
	(void)state;
	/* 1 layer below, keeps 7: 1 + 7 + 1 fit */
	assert_true(forecast(1, 0, 7).reached_at == 0);
	assert_true(forecast(8, 7, 7).reached_at == 0);
	/* keeps 20: the 15 more that fit are used up from the 16th run on */
	assert_true(forecast(1, 0, 20).reached_at == T0 + 15 * HOUR);
	/* full now */
	assert_true(forecast(16, 15, 20).reached_at == T0);
	/* exactly the limit counts as fitting, one more does not */
	assert_true(forecast(1, 0, 14).reached_at == 0);
	assert_true(forecast(1, 0, 15).reached_at != 0);
}

static void test_forecast_of_a_policy_that_does_not_run_is_never(void **state)
{
	(void)state;
	struct snapshot_policy_spec spec = {.keep = 50, .schedule = {.every_minutes = 60}};
	struct snapshot_forecast f = {.depth = 15, .limit = 16};
	snapshot_policy_forecast(&spec, INT64_MAX, &f);
	assert_true(f.reached_at == 0);
}

static int check(const char *daily_at, int64_t every, char **vms, size_t n)
{
	const struct snapshot_policy_spec spec = {.selector = {.vms = {.items = vms, .len = n}},
	        .schedule = {.every_minutes = every, .daily_at = (char *)daily_at}};
	return snapshot_policy_check(&spec, NULL);
}

static void test_schedule_is_one_of_two(void **state)
{
	(void)state;
	char *vms[] = {(char *)"a"};
	assert_int_equal(check("00:00", 0, vms, 1), 0);
	assert_int_equal(check(NULL, 5, vms, 1), 0);
	static const char *const bad[] = {
	        "24:00", "12:60", "1:30", "12:3", "-1:30", "12-30", " 1:30", "12:+3", "ab:cd"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(check(bad[i], 0, vms, 1), ERR_INVALID);
	assert_int_equal(check("12:30", 5, vms, 1), ERR_INVALID);
	assert_int_equal(check(NULL, 0, vms, 1), ERR_INVALID);
	assert_int_equal(check(NULL, 5, NULL, 0), ERR_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_every_n_minutes_keeps_its_grid),
	        cmocka_unit_test(test_missed_runs_are_made_up_for_once),
	        cmocka_unit_test(test_daily_runs_at_its_time_in_utc),
	        cmocka_unit_test(test_next_run_is_the_first_of_the_grid_after_now),
	        cmocka_unit_test(test_snapshots_are_named_after_policy_and_time),
	        cmocka_unit_test(test_forecast_says_when_the_chain_is_full),
	        cmocka_unit_test(test_forecast_of_a_policy_that_does_not_run_is_never),
	        cmocka_unit_test(test_schedule_is_one_of_two),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

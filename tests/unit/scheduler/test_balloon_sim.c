/* SPDX-License-Identifier: Apache-2.0 */
/* A short run of tests/sim: no promise is broken, and at equal pressure more is reclaimed than by the rivals' rules. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/sim/compare.h"

static struct sim_summary summary;

static int run(void **state)
{
	(void)state;
	bool is_long = getenv("BERTH_LONG") != NULL;
	struct sim_options options = {.hosts = is_long ? 2 : 1,
	        .hours = is_long ? 8 : 1,
	        .from = 1,
	        .to = 1.9,
	        .step = 0.3,
	        .seed = 7,
	        .quiet = true};
	sim_compare(&options, &summary);
	return 0;
}

static void test_no_promise_is_broken(void **state)
{
	(void)state;
	assert_true(summary.granted[SIM_BERTH] == 0);
	/* A guest without swap takes what it needs, faster than others give; that is rare even at 1.9 times the memory. */
	for (int rival = SIM_BERTH + 1; rival < N_SIM_POLICIES; rival++)
		assert_true(50 * summary.broken[SIM_BERTH] <= summary.broken[rival]);
}

static void test_more_is_reclaimed_than_by_the_rivals_at_equal_pressure(void **state)
{
	(void)state;
	for (int budget = 0; budget < SIM_BUDGETS; budget++) {
		const double *reclaimed = summary.reclaimed[budget];
		assert_true(reclaimed[SIM_BERTH] > 0);
		for (int rival = SIM_BERTH + 1; rival < N_SIM_POLICIES; rival++)
			assert_true(reclaimed[SIM_BERTH] >= 1.3 * reclaimed[rival]);
	}
}

static void test_rivals_reclaim_where_their_rules_allow_it(void **state)
{
	(void)state; /* else the comparison would mean nothing */
	for (int rival = SIM_BERTH + 1; rival < N_SIM_POLICIES; rival++)
		assert_true(summary.reclaimed[SIM_BUDGETS - 1][rival] > 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_no_promise_is_broken),
	        cmocka_unit_test(test_more_is_reclaimed_than_by_the_rivals_at_equal_pressure),
	        cmocka_unit_test(test_rivals_reclaim_where_their_rules_allow_it),
	};
	return cmocka_run_group_tests(tests, run, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* How fast KSM looks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "scheduler/ksm_plan.h"

static int64_t pages(enum balloon_state state, bool is_boosted, bool may_merge, int64_t now)
{
	const struct ksm_question question = {.state = state,
	        .is_boosted = is_boosted,
	        .may_merge = may_merge,
	        .base_pages = 100,
	        .pages = now};
	return ksm_plan_pages(&question);
}

static void test_steps_up_while_short_and_no_further_than_eightfold(void **state)
{
	(void)state;
	assert_int_equal(pages(BALLOON_SHORT, false, true, 100), 200);
	assert_int_equal(pages(BALLOON_SHORT, false, true, 400), 800);
	assert_int_equal(pages(BALLOON_CRITICAL, false, true, 800), 800);
}

static void test_boost_is_all_at_once_and_over_at_once(void **state)
{
	(void)state;
	assert_int_equal(pages(BALLOON_CRITICAL, true, true, 100), 1600);
	assert_int_equal(pages(BALLOON_NORMAL, false, true, 1600), 800);
}

static void test_steps_down_to_what_it_was_when_relaxed(void **state)
{
	(void)state;
	assert_int_equal(pages(BALLOON_RELAXED, false, true, 800), 400);
	assert_int_equal(pages(BALLOON_RELAXED, false, true, 200), 100);
	assert_int_equal(pages(BALLOON_RELAXED, false, true, 100), 100);
	assert_int_equal(pages(BALLOON_NORMAL, false, true, 400), 400);
}

static void test_nothing_is_sped_up_when_no_guest_may_merge(void **state)
{
	(void)state;
	assert_int_equal(pages(BALLOON_CRITICAL, true, false, 400), 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_steps_up_while_short_and_no_further_than_eightfold),
	        cmocka_unit_test(test_boost_is_all_at_once_and_over_at_once),
	        cmocka_unit_test(test_steps_down_to_what_it_was_when_relaxed),
	        cmocka_unit_test(test_nothing_is_sped_up_when_no_guest_may_merge),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Who keeps whom from computing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "scheduler/noise.h"

#define GUESTS 3

struct world {
	struct noise_memory memories[GUESTS];
	struct noise_vm vms[GUESTS];
	struct noise_verdict verdicts[GUESTS];
};

/* Two small guests beside a large one, on two CPUs. */
static void begin(struct world *w)
{
	*w = (struct world){0};
	for (int i = 0; i < GUESTS; i++)
		w->vms[i] = (struct noise_vm){
		        .vcpus = i == 2 ? 4 : 1, .shares = 1024, .memory = &w->memories[i]};
}

static void use(struct world *w, int i, double run, double delay)
{
	w->vms[i].run_cpus = run;
	w->vms[i].delay_cpus = delay;
}

static void judge(struct world *w, int times)
{
	for (int i = 0; i < times; i++)
		noise_judge(w->vms, GUESTS, 2, w->verdicts);
}

static void test_victim_and_cause_are_named_after_some_cycles(void **state)
{
	(void)state;
	struct world w;
	begin(&w);
	use(&w, 0, 0.1, 0.2);
	use(&w, 1, 0.1, 0.0);
	use(&w, 2, 1.8, 0.5);
	judge(&w, NOISE_CYCLES - 1);
	assert_false(w.verdicts[0].suffers);
	judge(&w, 1);
	assert_true(w.verdicts[0].suffers && w.verdicts[0].begins);
	assert_int_equal(w.verdicts[0].cause, 2);
	assert_true(w.verdicts[0].delay_percent > 66 && w.verdicts[0].delay_percent < 67);
	assert_false(w.verdicts[1].suffers);
	assert_false(w.verdicts[2].suffers);
	judge(&w, 1);
	assert_true(w.verdicts[0].suffers && !w.verdicts[0].begins);
}

static void test_suffering_ends_only_when_it_is_clearly_better(void **state)
{
	(void)state;
	struct world w;
	begin(&w);
	use(&w, 0, 0.1, 0.2);
	use(&w, 2, 1.8, 0.5);
	judge(&w, NOISE_CYCLES);
	use(&w, 0, 0.25, 0.05); /* 17 %: neither bad nor good */
	judge(&w, 10);
	assert_true(w.verdicts[0].suffers);
	use(&w, 0, 0.3, 0.0);
	judge(&w, NOISE_CYCLES - 1);
	assert_true(w.verdicts[0].suffers);
	judge(&w, 1);
	assert_true(!w.verdicts[0].suffers && w.verdicts[0].ends);
	assert_int_equal(w.verdicts[0].cause, -1);
}

static void test_guest_at_its_own_limit_does_not_suffer_from_others(void **state)
{
	(void)state;
	struct world w;
	begin(&w);
	use(&w, 0, 0.1, 0.2);
	use(&w, 2, 1.8, 0.5);
	w.vms[0].limit_percent = 10;
	judge(&w, 10);
	assert_false(w.verdicts[0].suffers);
}

static void test_guest_above_its_share_is_no_victim(void **state)
{
	(void)state;
	struct world w;
	begin(&w);
	use(&w, 0, 0.3, 0.0);
	use(&w, 2, 1.7, 2.3); /* waits, because it wants more than there is */
	judge(&w, 10);
	assert_false(w.verdicts[2].suffers);
}

static void test_shares_decide_what_is_fair(void **state)
{
	(void)state;
	struct world w;
	begin(&w);
	use(&w, 0, 1.0, 0.5);
	use(&w, 1, 0.9, 0.6);
	w.vms[1].shares = 4096;
	w.vms[0].shares = 1024;
	use(&w, 2, 0, 0);
	judge(&w, NOISE_CYCLES);
	assert_true(w.verdicts[1].suffers);
	assert_int_equal(w.verdicts[1].cause, 0);
	assert_false(w.verdicts[0].suffers);
}

static void test_unknown_counters_change_nothing(void **state)
{
	(void)state;
	struct world w;
	begin(&w);
	use(&w, 0, 0.1, 0.2);
	use(&w, 2, 1.8, 0.5);
	judge(&w, NOISE_CYCLES);
	use(&w, 0, -1, -1);
	judge(&w, 10);
	assert_true(w.verdicts[0].suffers && !w.verdicts[0].ends);
	begin(&w);
	judge(&w, 10);
	assert_false(w.verdicts[0].suffers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_victim_and_cause_are_named_after_some_cycles),
	        cmocka_unit_test(test_suffering_ends_only_when_it_is_clearly_better),
	        cmocka_unit_test(test_guest_at_its_own_limit_does_not_suffer_from_others),
	        cmocka_unit_test(test_guest_above_its_share_is_no_victim),
	        cmocka_unit_test(test_shares_decide_what_is_fair),
	        cmocka_unit_test(test_unknown_counters_change_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Guests that do not follow their targets, hosts that are critical, and the ladder. */
#include "tests/unit/scheduler/balloon_bed.h"

/* Three guests of 2 GiB that use little, on a host for 4.5 GiB that wants 1 GiB for a start. */
static struct bed *three_idle(void)
{
	struct bed *bed = bed_new(9 * GIB / 2);
	for (int i = 0; i < 3; i++) {
		size_t k = bed_add(bed, 2 * GIB, GIB / 4, GIB / 2);
		bed->guests[k].has = bed->guests[k].told = 3 * GIB / 2;
	}
	bed_run(bed, 5);
	bed->host.wanted_bytes = 3 * GIB / 2;
	return bed;
}

static int seconds_until(struct bed *bed, size_t i, enum balloon_vm_state vm_state, int most)
{
	for (int s = 1; s <= most; s++) {
		bed_step(bed);
		if (bed->plans[i].state == vm_state)
			return s;
	}
	return most + 1;
}

static void test_a_deaf_guest_is_flagged_and_its_share_asked_of_others(void **state)
{
	(void)state;
	struct bed *bed = three_idle();
	bed->guests[0].deaf = true;
	assert_in_range(seconds_until(bed, 0, BALLOON_VM_INACTIVE, 10), 5, 7);
	assert_in_range(seconds_until(bed, 0, BALLOON_VM_UNCOOPERATIVE, 20), 10, 17);
	bed_run(bed, 5);
	assert_int_equal(bed->plans[0].reason, BALLOON_NO_ANSWER);
	assert_int_equal(bed->plans[0].booked_bytes, bed->guests[0].has);
	assert_true(bed->plan.room_ready);
	free(bed);
}

static void test_a_deaf_guest_is_asked_again_with_back_off_and_forgiven(void **state)
{
	(void)state;
	struct bed *bed = three_idle();
	bed->guests[0].deaf = true;
	bed->host.wanted_bytes = 4 * GIB; /* more than the others have */
	assert_true(seconds_until(bed, 0, BALLOON_VM_UNCOOPERATIVE, 30) <= 22);
	int asked = 0;
	for (int s = 0; s < 600; s++) {
		bed_step(bed);
		asked += bed->plans[0].tell;
	}
	assert_in_range(asked, 6, 14); /* twice for each of 30, 60, 120, 240 s: asked, given up */
	bed->guests[0].deaf = false;
	assert_true(seconds_until(bed, 0, BALLOON_VM_ACTIVE, 600) <= 500);
	free(bed);
}

static void test_a_guest_without_driver_is_flagged_within_20_s(void **state)
{
	(void)state;
	struct bed *bed = three_idle();
	size_t bare = bed_add(bed, GIB, GIB / 4, GIB / 4);
	bed->guests[bare].deaf = bed->guests[bare].silent = true;
	assert_int_equal(seconds_until(bed, bare, BALLOON_VM_WARMING, 1), 1);
	assert_true(seconds_until(bed, bare, BALLOON_VM_NO_DRIVER, 30) <= 20);
	assert_int_equal(bed->plans[bare].booked_bytes, GIB);
	bed->guests[bare].silent = false; /* its driver is loaded after all */
	assert_true(seconds_until(bed, bare, BALLOON_VM_ACTIVE, 5) <= 2);
	free(bed);
}

static void test_a_guest_that_took_memory_unasked_counts_with_it(void **state)
{
	(void)state;
	struct bed *bed = three_idle();
	bed_run(bed, 20);
	int64_t target = bed->plans[0].target_bytes;
	bed->guests[0].has = bed->guests[0].uses = target + 200 * MIB;
	bed_step(bed);
	assert_int_equal(bed->plans[0].reason, BALLOON_EXCEEDS);
	assert_true(bed->plans[0].moved_bytes >= 199 * MIB);
	assert_true(bed->plans[0].target_bytes >= target + 200 * MIB);
	assert_int_equal(bed->plan.exceeding, 1);
	bed_run(bed, 2);
	assert_int_equal(bed->plan.exceeding, 0);
	assert_int_equal(bed->plan.exceeded_cycles, 1);
	free(bed);
}

/* Two guests that need more than there is; the second weighs three times as much. */
static struct bed *overloaded(void)
{
	struct bed *bed = bed_new(4 * GIB);
	for (int i = 0; i < 2; i++) {
		size_t k = bed_add(bed, 4 * GIB, GIB / 2, 3 * GIB);
		bed->guests[k].has = bed->guests[k].told = 2 * GIB;
		bed->guests[k].deflates = false;
	}
	bed->vms[1].shares = 3000;
	return bed;
}

static void test_an_overloaded_host_is_critical_and_shares_decide(void **state)
{
	(void)state;
	struct bed *bed = overloaded();
	bed_run(bed, 2);
	assert_int_equal(bed->plan.state, BALLOON_SHORT);
	bed_run(bed, 10);
	assert_int_equal(bed->plan.state, BALLOON_CRITICAL);
	assert_int_equal(bed->plan.reason, BALLOON_BY_OVERLOAD);
	assert_int_equal(bed->plans[0].reason, BALLOON_SQUEEZED);
	assert_true(bed->guests[1].has > 5 * GIB / 2);
	assert_true(bed->guests[0].has >= GIB / 2);
	free(bed);
}

static void test_the_ladder_is_climbed_and_left_rung_by_rung(void **state)
{
	(void)state;
	struct bed *bed = overloaded();
	bed->vms[0].best_effort = bed->vms[1].best_effort = true;
	bed->vms[1].may_suspend = true;
	enum balloon_rung last = BALLOON_RUNG_NONE;
	for (int s = 0; s < 40; s++) {
		bed_step(bed);
		assert_true(bed->plan.rung == last || bed->plan.rung == last + 1);
		last = bed->plan.rung;
	}
	assert_int_equal(last, BALLOON_RUNG_SUSPEND);
	assert_true(bed->plan.ksm_boost);
	assert_true(bed->plans[0].throttle != bed->plans[1].throttle);
	assert_true(bed->plans[1].suspend && !bed->plans[0].suspend);
	bed->guests[0].uses = bed->guests[1].uses = GIB;
	for (int s = 0; s < 120; s++) {
		bed_step(bed);
		assert_true(bed->plan.rung == last || bed->plan.rung == last - 1);
		last = bed->plan.rung;
	}
	assert_int_equal(last, BALLOON_RUNG_NONE);
	assert_false(bed->plans[0].throttle || bed->plans[1].throttle || bed->plans[1].suspend);
	assert_true(bed->plan.state <= BALLOON_NORMAL);
	free(bed);
}

static void test_a_guest_that_allowed_nothing_is_neither_throttled_nor_suspended(void **state)
{
	(void)state;
	struct bed *bed = overloaded();
	for (int s = 0; s < 60; s++) {
		bed_step(bed);
		for (size_t i = 0; i < bed->n; i++)
			assert_false(bed->plans[i].throttle || bed->plans[i].suspend);
	}
	assert_int_equal(bed->plan.rung, BALLOON_RUNG_KSM);
	free(bed);
}

static void test_pressure_of_the_kernel_counts_only_where_memory_is_scarce(void **state)
{
	(void)state;
	struct bed *bed = three_idle();
	bed->host.wanted_bytes = 0;
	bed->host.psi_full = 50;
	bed->host.available_bytes = 5 * GIB;
	bed_run(bed, 20);
	assert_true(bed->plan.state <= BALLOON_NORMAL);
	bed->host.available_bytes = GIB / 2;
	bed_step(bed);
	assert_int_equal(bed->plan.state, BALLOON_CRITICAL);
	assert_int_equal(bed->plan.reason, BALLOON_BY_PRESSURE);
	free(bed);
}

static void test_a_better_state_is_entered_one_step_at_a_time(void **state)
{
	(void)state;
	struct bed *bed = overloaded();
	bed_run(bed, 20);
	bed->guests[0].uses = bed->guests[1].uses = GIB / 2;
	int64_t changed_ms = bed->now_ms;
	enum balloon_state last = bed->plan.state;
	for (int s = 0; s < 200; s++) {
		bed_step(bed);
		if (bed->plan.state == last)
			continue;
		assert_int_equal(bed->plan.state, last - 1);
		assert_true(bed->now_ms - changed_ms >= 5000);
		changed_ms = bed->now_ms;
		last = bed->plan.state;
	}
	assert_true(last <= BALLOON_NORMAL);
	free(bed);
}

/* Four guests of 512 MiB, 1.5 GiB for them; two fill memory at 32 MiB/s while two idle, and swap roles. */
static void swap_roles(int64_t rate, bool lags)
{
	struct bed *bed = bed_new(3 * GIB / 2);
	for (int i = 0; i < 4; i++) {
		bed_add(bed, 512 * MIB, 192 * MIB, 70 * MIB);
		bed->guests[i].has = bed->guests[i].told = bed->guests[i].reported = 384 * MIB;
		bed->guests[i].rate = rate;
		bed->guests[i].lags = lags;
	}
	bed_run(bed, 10);
	for (int round = 0; round < 6; round++) {
		for (int s = 0; s < 30; s++) {
			for (int i = 0; i < 4; i++) {
				int64_t *uses = &bed->guests[i].uses;
				bool fills = (i / 2 + round) % 2 == 0;
				*uses = !fills                         ? 70 * MIB
				        : *uses < 400 * MIB - 32 * MIB ? *uses + 32 * MIB
				                                       : 400 * MIB;
			}
			int64_t before = bed->memory.exceeded_cycles;
			bed_step(bed);
			assert_true(bed->memory.exceeded_cycles - before <= 1);
			for (int i = 0; i < 4; i++) {
				assert_true(bed->guests[i].has >= 192 * MIB);
				assert_true(s < 10 || bed->guests[i].has >= bed->guests[i].uses);
				assert_true(bed->memories[i].exceeded_cycles <= 2);
			}
			assert_true(bed->plan.state != BALLOON_CRITICAL);
		}
	}
	assert_true(bed->memory.exceeded_cycles <= 2);
	free(bed);
}

static void test_guests_that_swap_roles_have_what_they_need_in_time(void **state)
{
	(void)state;
	swap_roles(256 * MIB, false);
	swap_roles(48 * MIB, false);
}

/* QEMU reports a balloon's size at most once a second: what a guest has and what it calls usable differ in age. */
static void test_sizes_that_are_reported_late_mislead_nobody(void **state)
{
	(void)state;
	swap_roles(256 * MIB, true);
	swap_roles(48 * MIB, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_a_deaf_guest_is_flagged_and_its_share_asked_of_others),
	        cmocka_unit_test(test_a_deaf_guest_is_asked_again_with_back_off_and_forgiven),
	        cmocka_unit_test(test_a_guest_without_driver_is_flagged_within_20_s),
	        cmocka_unit_test(test_a_guest_that_took_memory_unasked_counts_with_it),
	        cmocka_unit_test(test_an_overloaded_host_is_critical_and_shares_decide),
	        cmocka_unit_test(test_the_ladder_is_climbed_and_left_rung_by_rung),
	        cmocka_unit_test(
	                test_a_guest_that_allowed_nothing_is_neither_throttled_nor_suspended),
	        cmocka_unit_test(test_pressure_of_the_kernel_counts_only_where_memory_is_scarce),
	        cmocka_unit_test(test_guests_that_swap_roles_have_what_they_need_in_time),
	        cmocka_unit_test(test_sizes_that_are_reported_late_mislead_nobody),
	        cmocka_unit_test(test_a_better_state_is_entered_one_step_at_a_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

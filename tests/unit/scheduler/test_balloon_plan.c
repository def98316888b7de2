/* SPDX-License-Identifier: Apache-2.0 */
/* What the balloon plan promises: who grows, who gives, when and why. */
#include "tests/unit/scheduler/balloon_bed.h"

/* Two guests of 4 GiB on a host for 5 GiB: the first squeezed, 0 and 1 by name. */
static struct bed *full_pair(int64_t uses_first, int64_t uses_second)
{
	struct bed *bed = bed_new(5 * GIB);
	bed_add(bed, 4 * GIB, GIB / 2, uses_first);
	bed_add(bed, 4 * GIB, GIB / 2, uses_second);
	bed->guests[0].has = bed->guests[0].told = 5 * GIB / 2;
	bed->guests[1].has = bed->guests[1].told = 5 * GIB / 2;
	return bed;
}

static void test_a_needy_guest_has_what_it_needs_after_two_cycles(void **state)
{
	(void)state;
	struct bed *bed = full_pair(GIB, GIB);
	bed_run(bed, 60);
	bed->guests[0].uses = 5 * GIB / 2 - 100 * MIB;
	bed_run(bed, 1);
	assert_int_equal(bed->plan.state, BALLOON_SHORT);
	assert_int_equal(bed->plans[1].reason, BALLOON_GIVES_VM);
	assert_int_equal(bed->plans[1].peer, 0);
	bed_run(bed, 2);
	assert_true(bed->guests[0].has >= bed->guests[0].uses + 32 * MIB);
	assert_true(bed->guests[1].has >= GIB);
	free(bed);
}

static void test_free_memory_is_given_in_the_same_cycle(void **state)
{
	(void)state;
	struct bed *bed = full_pair(GIB, GIB);
	bed->guests[1].has = bed->guests[1].told = GIB + 512 * MIB;
	bed_run(bed, 5);
	bed->guests[0].uses = 5 * GIB / 2 - 50 * MIB;
	bed_run(bed, 1);
	assert_int_equal(bed->plans[0].reason, BALLOON_GROWS);
	assert_true(bed->plans[0].target_bytes >= bed->guests[0].uses + 200 * MIB);
	free(bed);
}

static void test_little_for_many_is_given_to_some(void **state)
{
	(void)state;
	struct bed *bed = bed_new(20 * GIB + 400 * MIB);
	for (int i = 0; i < 20; i++) {
		bed_add(bed, 4 * GIB, GIB / 2, GIB);
		bed->guests[i].has = bed->guests[i].told = GIB;
		bed->guests[i].deflates = false;
	}
	bed_step(bed);
	assert_true(bed->plan.booked_bytes >= 20 * GIB + 350 * MIB);
	free(bed);
}

static void test_steady_load_moves_nothing(void **state)
{
	(void)state;
	struct bed *bed = full_pair(2 * GIB, GIB);
	bed_run(bed, 300);
	int64_t tells = bed->tells;
	for (int i = 0; i < 600; i++) {
		bed->guests[0].uses = 2 * GIB + (i % 7) * 4 * MIB;
		bed->guests[1].uses = GIB + (i % 5) * 4 * MIB;
		bed_step(bed);
	}
	assert_true(bed->tells - tells <= 4);
	free(bed);
}

static void test_a_relaxed_host_squeezes_nobody_and_returns_memory(void **state)
{
	(void)state;
	struct bed *bed = bed_new(16 * GIB);
	bed_add(bed, 4 * GIB, GIB, GIB);
	bed->guests[0].has = bed->guests[0].told = 2 * GIB;
	bed_run(bed, 10);
	assert_int_equal(bed->plan.state, BALLOON_RELAXED);
	assert_int_equal(bed->guests[0].has, 4 * GIB);
	free(bed);
}

static void test_an_idle_guest_is_asked_gently_for_a_start(void **state)
{
	(void)state;
	struct bed *bed = full_pair(GIB, GIB);
	bed->guests[1].has = bed->guests[1].told = 9 * GIB / 4; /* 256 MiB are free: no hurry */
	bed_run(bed, 10);
	bed->host.wanted_bytes = GIB;
	for (int i = 0; i < 10 && !bed->plan.room_ready; i++) {
		int64_t before[2] = {bed->guests[0].has, bed->guests[1].has};
		bed_step(bed);
		for (size_t k = 0; k < 2; k++)
			assert_true(before[k] - bed->plans[k].target_bytes <= 4 * GIB / 10 + MIB);
		assert_true(bed->plan.state <= BALLOON_NORMAL);
	}
	assert_true(bed->plan.room_ready);
	assert_true(bed_booked(bed) + GIB <= 5 * GIB);
	free(bed);
}

static void test_room_that_is_ready_is_kept_for_the_start(void **state)
{
	(void)state;
	struct bed *bed = full_pair(GIB, GIB);
	bed->host.wanted_bytes = GIB;
	for (int i = 0; i < 30 && !bed->plan.room_ready; i++)
		bed_step(bed);
	assert_true(bed->plan.room_ready);
	bed->guests[0].uses = bed->guests[0].has; /* now it needs more, but that room is promised */
	for (int i = 0; i < 5; i++) {
		bed_step(bed);
		assert_true(bed->plan.room_ready);
	}
	size_t started = bed_add(bed, GIB - 50 * MIB, GIB / 2, 100 * MIB);
	bed->host.wanted_bytes = 0;
	bed->host.reserve_bytes += 50 * MIB; /* its overhead */
	bed->vms[started].starting = true;
	bed_step(bed);
	assert_true(bed->plan.free_bytes >= 0);
	free(bed);
}

static void test_shares_weigh_who_gives(void **state)
{
	(void)state;
	struct bed *bed = full_pair(GIB, GIB);
	bed->vms[0].shares = 3000;
	bed_run(bed, 5);
	bed->host.wanted_bytes = GIB;
	bed_run(bed, 20);
	int64_t first = 5 * GIB / 2 - bed->guests[0].has, second = 5 * GIB / 2 - bed->guests[1].has;
	assert_true(second > 2 * first);
	free(bed);
}

static void test_idle_memory_is_taxed(void **state)
{
	(void)state;
	int64_t taken[2];
	for (int taxed = 0; taxed < 2; taxed++) {
		struct bed *bed = full_pair(7 * GIB / 4, GIB / 2);
		bed->policy.idle_tax_percent = taxed ? 75 : 0;
		bed_run(bed, 5);
		bed->host.wanted_bytes = 768 * MIB;
		bed_run(bed, 20);
		taken[taxed] = 5 * GIB / 2 - bed->guests[1].has;
		free(bed);
	}
	assert_true(taken[1] > taken[0] + 32 * MIB);
}

static void test_no_signal_is_no_idleness(void **state)
{
	(void)state;
	struct bed *bed = full_pair(GIB, GIB);
	bed_run(bed, 10);
	int64_t has = bed->guests[1].has;
	bed->guests[1].silent = true;
	bed->host.wanted_bytes = 3 * GIB;
	bed_run(bed, 30);
	assert_int_equal(bed->plans[1].reason, BALLOON_NO_SIGNAL);
	assert_int_equal(bed->plans[1].need_bytes, BALLOON_UNKNOWN);
	assert_int_equal(bed->guests[1].has, has);
	assert_true(bed->guests[0].has < 5 * GIB / 4);
	assert_true(bed->plans[1].state == BALLOON_VM_UNCOOPERATIVE);
	free(bed);
}

static void test_old_statistics_are_no_idleness(void **state)
{
	(void)state;
	struct bed *bed = full_pair(GIB, GIB);
	bed_run(bed, 10);
	int64_t has = bed->guests[1].has;
	bed->vms[1].stats_age_ms = 6000;
	bed->host.wanted_bytes = 3 * GIB;
	bed_run(bed, 10);
	assert_int_equal(bed->guests[1].has, has);
	assert_int_equal(bed->plans[1].state, BALLOON_VM_INACTIVE);
	free(bed);
}

static void test_a_restarted_controller_begins_with_what_guests_have(void **state)
{
	(void)state;
	struct bed *bed = full_pair(3 * GIB / 2, GIB);
	bed_run(bed, 100);
	int64_t has[2] = {bed->guests[0].has, bed->guests[1].has};
	memset(bed->memories, 0, sizeof(bed->memories));
	memset(&bed->memory, 0, sizeof(bed->memory));
	bed->tells = 0;
	bed_run(bed, 30);
	assert_true(bed->tells <= 1);
	assert_true(llabs(bed->guests[0].has - has[0]) <= 256 * MIB);
	assert_true(llabs(bed->guests[1].has - has[1]) <= 256 * MIB);
	free(bed);
}

static void test_a_held_guest_is_left_alone(void **state)
{
	(void)state;
	struct bed *bed = full_pair(GIB, GIB);
	bed->vms[0].held = true;
	bed->vms[1].ballooning = false;
	bed->host.wanted_bytes = 3 * GIB;
	bed_run(bed, 30);
	assert_int_equal(bed->tells, 0);
	assert_int_equal(bed->plans[0].state, BALLOON_VM_HELD);
	assert_int_equal(bed->plans[1].state, BALLOON_VM_OFF);
	assert_int_equal(bed->plan.booked_bytes, 5 * GIB);
	assert_false(bed->plan.room_ready);
	free(bed);
}

static void test_disabled_ballooning_leaves_all_alone(void **state)
{
	(void)state;
	struct bed *bed = full_pair(GIB, 5 * GIB / 2);
	bed->policy.enabled = false;
	bed_run(bed, 30);
	assert_int_equal(bed->tells, 0);
	assert_int_equal(bed->plans[0].state, BALLOON_VM_OFF);
	free(bed);
}

static void test_a_guest_that_boots_counts_with_its_size(void **state)
{
	(void)state;
	struct bed *bed = full_pair(GIB, GIB);
	bed->guests[1].has = GIB;
	bed->vms[1].starting = true;
	bed_step(bed);
	assert_int_equal(bed->plans[1].booked_bytes, 4 * GIB);
	assert_int_equal(bed->plans[1].state, BALLOON_VM_WARMING);
	assert_false(bed->plans[1].tell);
	free(bed);
}

static void test_a_raised_floor_is_given_at_once(void **state)
{
	(void)state;
	struct bed *bed = full_pair(GIB, 15 * GIB / 4 - 64 * MIB);
	bed->guests[0].has = bed->guests[0].told = 5 * GIB / 4;
	bed->guests[1].has = bed->guests[1].told =
	        15 * GIB / 4; /* nothing is free, and it has nothing to give */
	bed_run(bed, 2);
	bed->vms[0].min_bytes = 2 * GIB;
	bed_step(bed);
	assert_int_equal(bed->plans[0].target_bytes, 2 * GIB);
	free(bed);
}

static void test_faults_teach_what_usable_hides(void **state)
{
	(void)state;
	struct bed *bed = full_pair(GIB, GIB);
	bed->guests[0].reads = GIB; /* hot cache, which the guest calls usable */
	bed->host.wanted_bytes = 2 * GIB;
	int64_t faults = 0;
	for (int i = 0; i < 300; i++) {
		bed_step(bed);
		if (i == 100)
			faults = bed->guests[0].faults;
	}
	assert_true(bed->guests[0].has >= 2 * GIB);
	assert_true(bed->guests[0].faults - faults <= 1000); /* two seconds of 200 */
	free(bed);
}

static void test_less_on_the_host_is_less_to_give(void **state)
{
	(void)state;
	struct bed *bed = full_pair(GIB, GIB);
	bed->guests[0].has = bed->guests[0].told = GIB + 512 * MIB; /* 1 GiB free by the books */
	bed->vms[0].rss_bytes = GIB + 512 * MIB;
	bed->vms[1].rss_bytes = 5 * GIB / 2;
	bed->host.available_bytes = 8 * MIB;
	bed_run(bed, 5);
	assert_int_equal(bed->plan.state, BALLOON_SHORT);
	assert_int_equal(bed->plan.reason, BALLOON_BY_HOST);
	assert_int_equal(bed->plan.free_bytes, 8 * MIB);
	assert_true(bed->guests[1].has < 5 * GIB / 2);
	bed->vms[0].rss_bytes = bed->vms[1].rss_bytes = GIB / 2; /* not touched yet, but promised */
	bed->guests[0].uses = bed->guests[1].uses = 5 * GIB / 2;
	bed->guests[0].deflates = bed->guests[1].deflates = false;
	bed_run(bed, 5);
	assert_int_equal(bed->plan.state, BALLOON_CRITICAL);
	assert_true(bed->guests[1].has < 2 * GIB);
	free(bed);
}

static void test_the_same_input_gives_the_same_plan(void **state)
{
	(void)state;
	struct bed *one = full_pair(2 * GIB, GIB), *two = full_pair(2 * GIB, GIB);
	for (int i = 0; i < 50; i++) {
		one->guests[0].uses = two->guests[0].uses = 2 * GIB + i * 20 * MIB;
		bed_step(one);
		bed_step(two);
		assert_memory_equal(one->plans, two->plans, sizeof(one->plans));
		assert_memory_equal(&one->plan, &two->plan, sizeof(one->plan));
	}
	free(one);
	free(two);
}

static void test_reasons_speak_with_numbers(void **state)
{
	(void)state;
	char text[160];
	struct balloon_vm_plan plan = {
	        .reason = BALLOON_KEEPS, .need_bytes = 300 * MIB, .margin_bytes = 48 * MIB};
	balloon_reason_text(&plan, NULL, text, sizeof(text));
	assert_string_equal(text, "has what it needs: 300 MiB + 48 MiB margin");
	plan = (struct balloon_vm_plan){.reason = BALLOON_GIVES_VM, .moved_bytes = 64 * MIB};
	balloon_reason_text(&plan, "web1", text, sizeof(text));
	assert_string_equal(text, "idle, gives 64 MiB to web1");
	balloon_reason_text(&plan, "web1", text, 6);
	assert_int_equal(strlen(text), 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_a_needy_guest_has_what_it_needs_after_two_cycles),
	        cmocka_unit_test(test_free_memory_is_given_in_the_same_cycle),
	        cmocka_unit_test(test_little_for_many_is_given_to_some),
	        cmocka_unit_test(test_steady_load_moves_nothing),
	        cmocka_unit_test(test_a_relaxed_host_squeezes_nobody_and_returns_memory),
	        cmocka_unit_test(test_an_idle_guest_is_asked_gently_for_a_start),
	        cmocka_unit_test(test_room_that_is_ready_is_kept_for_the_start),
	        cmocka_unit_test(test_shares_weigh_who_gives),
	        cmocka_unit_test(test_idle_memory_is_taxed),
	        cmocka_unit_test(test_no_signal_is_no_idleness),
	        cmocka_unit_test(test_old_statistics_are_no_idleness),
	        cmocka_unit_test(test_a_restarted_controller_begins_with_what_guests_have),
	        cmocka_unit_test(test_a_held_guest_is_left_alone),
	        cmocka_unit_test(test_disabled_ballooning_leaves_all_alone),
	        cmocka_unit_test(test_a_guest_that_boots_counts_with_its_size),
	        cmocka_unit_test(test_a_raised_floor_is_given_at_once),
	        cmocka_unit_test(test_faults_teach_what_usable_hides),
	        cmocka_unit_test(test_less_on_the_host_is_less_to_give),
	        cmocka_unit_test(test_the_same_input_gives_the_same_plan),
	        cmocka_unit_test(test_reasons_speak_with_numbers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Thousands of random hosts, seconds and guests: what must hold holds in every cycle (bed_check), whatever happens. */
#include "tests/unit/scheduler/balloon_bed.h"

#include "scheduler/balloon_internal.h"

static uint64_t seed = 4;

static int64_t pick(int64_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return n > 0 ? (int64_t)(seed >> 11) % n : 0;
}

static bool one_in(int64_t n)
{
	return pick(n) == 0;
}

static struct bed *random_bed(void)
{
	struct bed *bed = bed_new(0);
	int64_t minima = 0;
	size_t n = (size_t)pick(12) + 1;
	for (size_t k = 0; k < n; k++) {
		int64_t size = (64 + pick(4000)) * MIB;
		size_t i = bed_add(bed, size, pick(size / MIB + 1) * MIB, pick(size));
		minima += bed->vms[i].min_bytes;
		bed->vms[i].shares = 1 + pick(3000);
		bed->vms[i].ballooning = !one_in(10);
		bed->vms[i].best_effort = one_in(2);
		bed->vms[i].may_suspend = one_in(3);
		bed->guests[i].rate = (1 + pick(2000)) * MIB;
		bed->guests[i].deflates = !one_in(4);
		bed->guests[i].has = bed->guests[i].told =
		        bed->vms[i].min_bytes + pick(size - bed->vms[i].min_bytes + 1);
	}
	bed->host.total_bytes = GIB + minima + pick(8000) * MIB;
	return bed;
}

static void disturb_guest(struct bed *bed, size_t i)
{
	struct bed_guest *guest = &bed->guests[i];
	struct balloon_vm *vm = &bed->vms[i];
	if (one_in(10))
		guest->uses = pick(vm->size_bytes + 1);
	if (one_in(5))
		guest->uses = (guest->uses + pick(64) * MIB) % (vm->size_bytes + 1);
	if (one_in(40))
		guest->deaf = !guest->deaf;
	if (one_in(40))
		guest->silent = !guest->silent;
	if (one_in(40))
		vm->held = !vm->held;
	if (one_in(60))
		guest->reads = pick(GIB);
	vm->stats_age_ms = one_in(20) ? pick(20000) : pick(1500);
	if (one_in(100))
		memset(&bed->memories[i], 0, sizeof(bed->memories[i]));
}

static void disturb(struct bed *bed)
{
	struct balloon_host *host = &bed->host;
	for (size_t i = 0; i < bed->n; i++)
		disturb_guest(bed, i);
	if (one_in(15))
		host->wanted_bytes = pick(3) * pick(2 * GIB);
	host->wanted_next_bytes = host->wanted_bytes / (1 + pick(3));
	host->available_bytes = one_in(3) ? BALLOON_UNKNOWN : pick(host->total_bytes);
	host->psi_full = one_in(10) ? (double)pick(40) : -1;
	if (one_in(200))
		memset(&bed->memory, 0, sizeof(bed->memory));
}

static void test_promises_hold_for_random_hosts(void **state)
{
	(void)state;
	int hosts = getenv("BERTH_LONG") ? 20000 : 1500;
	for (int h = 0; h < hosts; h++) {
		struct bed *bed = random_bed();
		for (int s = 0; s < 60; s++) {
			disturb(bed);
			bed_step(bed);
			for (size_t i = 0; i < bed->n; i++) {
				const struct balloon_vm_plan *plan = &bed->plans[i];
				assert_true(plan->booked_bytes >= plan->target_bytes);
				assert_true(plan->peer < (ptrdiff_t)bed->n);
				assert_true(!plan->tell ||
				            (bed->vms[i].ballooning && !bed->vms[i].held));
				if (bed->plan.state != BALLOON_CRITICAL && plan->need_bytes >= 0 &&
				        plan->tell && plan->target_bytes < bed->guests[i].has)
					assert_true(plan->target_bytes >= plan->need_bytes - MIB ||
					            plan->reason == BALLOON_EXCEEDS ||
					            plan->target_bytes >= bed->guests[i].told);
			}
		}
		free(bed);
	}
}

/* Cooperative guests whose needs fit, and then stay: all are served, and nothing moves any more. */
static void test_random_loads_that_fit_are_served_and_settle(void **state)
{
	(void)state;
	for (int h = 0; h < 300; h++) {
		struct bed *bed = bed_new(0);
		int64_t needs = 0, has = 0;
		size_t n = (size_t)pick(20) + 2;
		for (size_t k = 0; k < n; k++) {
			int64_t size = (1024 + pick(3000)) * MIB, uses = size / 8 + pick(size / 2);
			size_t i = bed_add(bed, size, size / 8, uses);
			bed->guests[i].has = bed->guests[i].told = size / 8 + pick(size * 7 / 8);
			needs += uses + uses / 8 + 32 * MIB;
			has += bed->guests[i].has;
		}
		bed->host.total_bytes = GIB + needs + needs / 8 + pick(GIB);
		if (has > bed->host.total_bytes - GIB)
			bed->host.total_bytes = has + GIB;
		bed_run(bed, 120);
		int64_t tells = bed->tells;
		for (size_t i = 0; i < n; i++)
			assert_true(bed->guests[i].has >= bed->guests[i].uses + 16 * MIB);
		bed_run(bed, 200);
		assert_true(bed->tells - tells <= (int64_t)n / 4);
		free(bed);
	}
}

static void test_shares_are_exact_and_capped(void **state)
{
	(void)state;
	struct balloon_claim claims[64];
	for (int round = 0; round < 20000; round++) {
		size_t n = (size_t)pick(64);
		int64_t caps = 0, sum = 0, amount = pick(4 * GIB);
		for (size_t i = 0; i < n; i++) {
			claims[i] = (struct balloon_claim){.index = i,
			        .cap = pick(GIB) * pick(3),
			        .weight = 1 + (double)pick(5000)};
			caps += claims[i].cap;
		}
		int64_t given = balloon_share_out(claims, n, amount);
		for (size_t i = 0; i < n; i++) {
			assert_true(claims[i].part >= 0 && claims[i].part <= claims[i].cap);
			sum += claims[i].part;
		}
		assert_int_equal(given, sum);
		assert_true(given <= amount);
		assert_true(given >= int64_min(caps, amount) - (int64_t)n);
		for (size_t i = 1; i < n && caps > amount;
		        i++) /* none that is not full has less for its weight */
			assert_true(
			        claims[i - 1].part == claims[i - 1].cap ||
			        (double)claims[i].part / claims[i].weight <=
			                (double)(claims[i - 1].part + 2) / claims[i - 1].weight +
			                        1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_promises_hold_for_random_hosts),
	        cmocka_unit_test(test_random_loads_that_fit_are_served_and_settle),
	        cmocka_unit_test(test_shares_are_exact_and_capped),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

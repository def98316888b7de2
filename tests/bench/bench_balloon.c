/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Planning one cycle of a host with many VMs. The floor is a plain pass over the same arrays that reads every sample
 * and writes every plan. Prints the fastest of some rounds, and the median, in microseconds:
 *
 *	bench_balloon [VMS]
 *	vms=1000 plan_us=... plan_median_us=... steady_us=... floor_us=...
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "scheduler/balloon_plan.h"

#define MIB    ((int64_t)1 << 20)
#define GIB    ((int64_t)1 << 30)
#define ROUNDS 400

struct bench {
	size_t n;
	struct balloon_policy policy;
	struct balloon_host host;
	struct balloon_host_memory memory;
	struct balloon_host_plan plan;
	struct balloon_vm *vms;
	struct balloon_vm_memory *memories;
	struct balloon_vm_plan *plans;
	int64_t now_ms;
};

static double now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void set_up(struct bench *bench)
{
	bench->vms = calloc(bench->n, sizeof(*bench->vms));
	bench->memories = calloc(bench->n, sizeof(*bench->memories));
	bench->plans = calloc(bench->n, sizeof(*bench->plans));
	balloon_policy_default(&bench->policy);
	bench->now_ms = 1000000;
	bench->host = (struct balloon_host){.total_bytes = (int64_t)bench->n * 3 * GIB,
	        .reserve_bytes = 8 * GIB,
	        .available_bytes = BALLOON_UNKNOWN,
	        .psi_some = -1,
	        .psi_full = -1,
	        .swap_bytes = BALLOON_UNKNOWN};
	for (size_t i = 0; i < bench->n; i++)
		bench->vms[i] = (struct balloon_vm){.size_bytes = 4 * GIB,
		        .min_bytes = GIB / 2,
		        .shares = 500 + (int64_t)(i * 7919 % 1500),
		        .ballooning = true,
		        .rss_bytes = BALLOON_UNKNOWN,
		        .current_bytes = 3 * GIB - 8 * MIB,
		        .memory = &bench->memories[i]};
}

/* Every guest's use changes; in the busy case a third grows by more than is free, so that all parts have work. */
static void next_second(struct bench *bench, int round, int64_t swing)
{
	bench->now_ms += 1000;
	for (size_t i = 0; i < bench->n; i++) {
		struct balloon_vm *vm = &bench->vms[i];
		int64_t uses = GIB + (int64_t)((i * 31 + (size_t)round * 17) % 97) * swing;
		if (vm->memory->target_bytes > 0)
			vm->current_bytes = vm->memory->target_bytes;
		vm->usable_bytes = vm->current_bytes > uses ? vm->current_bytes - uses : 0;
		vm->unused_bytes = vm->usable_bytes / 2;
		vm->major_faults = round * 10;
		vm->swap_in_bytes = 0;
	}
}

static void plan(struct bench *bench)
{
	balloon_plan(&bench->policy, &bench->host, &bench->memory, bench->vms, bench->n,
	        bench->now_ms, &bench->plan, bench->plans);
}

static void plain_pass(struct bench *bench)
{
	int64_t booked = 0;
	for (size_t i = 0; i < bench->n; i++) {
		const struct balloon_vm *vm = &bench->vms[i];
		int64_t used = vm->current_bytes - vm->usable_bytes;
		booked += vm->current_bytes;
		bench->plans[i] = (struct balloon_vm_plan){.target_bytes = vm->current_bytes,
		        .demand_bytes = used,
		        .booked_bytes = booked};
		vm->memory->used_bytes = used;
	}
	bench->plan.booked_bytes = booked;
}

static int by_value(const void *a, const void *b)
{
	const double *x = a, *y = b;
	return *x < *y ? -1 : *x > *y;
}

/* Fastest and median of the rounds after the guests are known. */
static void measure(struct bench *bench, void (*work)(struct bench *), int64_t swing,
        double *ret_best, double *ret_median)
{
	double took[ROUNDS];
	for (int round = 0; round < ROUNDS + 10; round++) {
		next_second(bench, round, swing);
		double start = now_us();
		work(bench);
		if (round >= 10)
			took[round - 10] = now_us() - start;
	}
	qsort(took, ROUNDS, sizeof(took[0]), by_value);
	*ret_best = took[0];
	*ret_median = took[ROUNDS / 2];
}

int main(int argc, char **argv)
{
	struct bench bench = {.n = argc > 1 ? (size_t)atol(argv[1]) : 1000};
	double busy, busy_median, steady, steady_median, floor, floor_median;
	set_up(&bench);
	measure(&bench, plan, 24 * MIB, &busy, &busy_median);
	measure(&bench, plan, 0, &steady, &steady_median);
	measure(&bench, plain_pass, 0, &floor, &floor_median);
	printf("vms=%zu plan_us=%.1f plan_median_us=%.1f steady_us=%.1f floor_us=%.1f\n", bench.n,
	        busy, busy_median, steady, floor);
	free(bench.vms);
	free(bench.memories);
	free(bench.plans);
	return 0;
}

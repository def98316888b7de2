/* SPDX-License-Identifier: Apache-2.0 */
/* A host with simple guests on which balloon_plan is tried second by second. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "scheduler/balloon_plan.h"

#define MIB     ((int64_t)1 << 20)
#define GIB     ((int64_t)1 << 30)
#define BED_MAX 64

struct bed_guest {
	int64_t has, told, uses,
	        reads; /* reads: page cache that it faults for when it has too little */
	int64_t rate;  /* bytes per second that its balloon moves */
	bool deaf, silent, deflates; /* does not follow; sends no statistics; autodeflate */
	bool lags;                   /* its size is reported a second late, unlike its statistics */
	int64_t reported;
	int64_t faults;
};

struct bed {
	struct balloon_policy policy;
	struct balloon_host host;
	struct balloon_host_memory memory;
	struct balloon_host_plan plan;
	struct balloon_vm vms[BED_MAX];
	struct balloon_vm_memory memories[BED_MAX];
	struct balloon_vm_plan plans[BED_MAX];
	struct bed_guest guests[BED_MAX];
	size_t n;
	int64_t now_ms, tells;
};

static inline struct bed *bed_new(int64_t usable)
{
	struct bed *bed = calloc(1, sizeof(*bed));
	balloon_policy_default(&bed->policy);
	bed->host = (struct balloon_host){.total_bytes = usable + GIB,
	        .reserve_bytes = GIB,
	        .available_bytes = BALLOON_UNKNOWN,
	        .psi_some = -1,
	        .psi_full = -1,
	        .swap_bytes = BALLOON_UNKNOWN};
	bed->now_ms = 1000000;
	return bed;
}

static inline size_t bed_add(struct bed *bed, int64_t size, int64_t min, int64_t uses)
{
	size_t i = bed->n++;
	bed->guests[i] = (struct bed_guest){
	        .has = size, .told = size, .uses = uses, .rate = GIB, .deflates = true};
	bed->vms[i] = (struct balloon_vm){.size_bytes = size,
	        .min_bytes = min,
	        .shares = 1000,
	        .ballooning = true,
	        .rss_bytes = BALLOON_UNKNOWN,
	        .memory = &bed->memories[i]};
	return i;
}

static inline void bed_sample(struct bed *bed, size_t i)
{
	const struct bed_guest *guest = &bed->guests[i];
	struct balloon_vm *vm = &bed->vms[i];
	int64_t spare = guest->has > guest->uses ? guest->has - guest->uses : 0;
	vm->current_bytes = guest->lags ? guest->reported : guest->has;
	vm->usable_bytes = guest->silent ? BALLOON_UNKNOWN : spare;
	vm->unused_bytes = vm->available_bytes = BALLOON_UNKNOWN;
	vm->major_faults = guest->silent ? BALLOON_UNKNOWN : guest->faults;
	vm->swap_in_bytes = BALLOON_UNKNOWN;
}

/* One second in the life of a guest, after it was told its target. */
static inline void bed_live(struct bed_guest *guest, int64_t size)
{
	int64_t to = guest->told;
	guest->reported = guest->has;
	if (guest->deflates && to < guest->uses)
		to = guest->uses < size ? guest->uses : size;
	int64_t gap = to - guest->has;
	if (guest->deaf && !(guest->deflates && guest->has < guest->uses))
		gap = 0;
	guest->has += gap > guest->rate ? guest->rate : gap < -guest->rate ? -guest->rate : gap;
	if (guest->has < guest->uses + guest->reads)
		guest->faults += 500;
}

static inline int64_t bed_booked(const struct bed *bed)
{
	int64_t sum = 0;
	for (size_t i = 0; i < bed->n; i++) {
		int64_t told = bed->vms[i].starting ? bed->vms[i].size_bytes
		                                    : bed->memories[i].target_bytes;
		int64_t has = bed->vms[i].current_bytes;
		sum += told > has ? told : has;
	}
	return sum;
}

/* The promises that hold in every cycle. */
static inline void bed_check(const struct bed *bed, int64_t before)
{
	int64_t usable = bed->host.total_bytes - bed->host.reserve_bytes, after = 0, raised = 0;
	for (size_t i = 0; i < bed->n; i++) {
		const struct balloon_vm_plan *plan = &bed->plans[i];
		const struct balloon_vm *vm = &bed->vms[i];
		int64_t has = vm->current_bytes;
		assert_true(plan->target_bytes >= vm->min_bytes || plan->state == BALLOON_VM_HELD ||
		            plan->state == BALLOON_VM_OFF || vm->starting);
		assert_true(plan->target_bytes <= vm->size_bytes);
		after += plan->target_bytes > has ? plan->target_bytes : has;
		raised += has < vm->min_bytes ? vm->min_bytes - has : 0;
	}
	assert_true(after - raised <= (before > usable ? before : usable));
}

static inline void bed_step(struct bed *bed)
{
	for (size_t i = 0; i < bed->n; i++)
		bed_sample(bed, i);
	int64_t before = bed_booked(bed);
	bed->now_ms += 1000;
	balloon_plan(&bed->policy, &bed->host, &bed->memory, bed->vms, bed->n, bed->now_ms,
	        &bed->plan, bed->plans);
	bed_check(bed, before);
	for (size_t i = 0; i < bed->n; i++) {
		if (bed->plans[i].tell) {
			bed->tells++;
			bed->guests[i].told = bed->plans[i].target_bytes;
		}
		bed_live(&bed->guests[i], bed->vms[i].size_bytes);
	}
}

static inline void bed_run(struct bed *bed, int seconds)
{
	for (int i = 0; i < seconds; i++)
		bed_step(bed);
}

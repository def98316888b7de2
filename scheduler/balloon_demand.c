/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest needs. used = current - usable: with autodeflate `available` does not shrink with the balloon, so
 * available - usable would mislead. On top of what it uses comes a margin, larger while it grows; what it used lately
 * counts a while longer, unless others lack memory; and if it faulted or swapped, what it had beside that was too little, however much it calls
 * usable, because hot page cache is called that too.
 */
#include "scheduler/balloon_internal.h"

enum {
	GROWTH_AHEAD_S = 3, /* asked in this cycle, seen to be free in the next, given, deflated */
	TAKE_AHEAD_S =
	        3, /* and that much longer others need to give it: a busy guest gives 20 MiB a second */
	GROWTH_HOLD_MS =
	        3000, /* what a guest has and what it calls usable are not of the same moment */
	PEAK_DECAY_S = 45,     /* a peak of use is forgotten in about that time */
	PRESSED_DECAY_S = 900, /* and a size that was too small in that */
	FAULTS_PER_S = 64,     /* major faults of a guest that reads back what it had to drop */
	SWAP_IN_PER_S = 256 * 1024,
};

static bool is_fresh(const struct balloon_vm *vm)
{
	return vm->current_bytes >= 0 && (vm->usable_bytes >= 0 || vm->unused_bytes >= 0) &&
	       vm->stats_age_ms >= 0 && vm->stats_age_ms <= BALLOON_STALE_MS;
}

static int64_t used_bytes(const struct balloon_vm *vm)
{
	int64_t spare = vm->usable_bytes >= 0 ? vm->usable_bytes : vm->unused_bytes;
	return int64_max(vm->current_bytes - spare, 0);
}

/* Of a cumulative counter; one that is unknown or began anew (the guest rebooted) says nothing. */
static int64_t rate_per_s(int64_t before, int64_t after, int64_t ms)
{
	return before >= 0 && after > before ? (after - before) * 1000 / ms : 0;
}

/* `value` with a share of ms / (1000 x decay_s) taken off. */
static int64_t decayed(int64_t value, int64_t ms, int64_t decay_s)
{
	return value - (int64_t)((double)value * (double)int64_min(ms, 1000 * decay_s) /
	                         (1000.0 * (double)decay_s));
}

static void learn_pressure(const struct balloon_guest *guest, int64_t used, int64_t ms)
{
	const struct balloon_vm *vm = guest->vm;
	struct balloon_vm_memory *memory = guest->memory;
	bool faults = rate_per_s(memory->major_faults, vm->major_faults, ms) > FAULTS_PER_S ||
	              rate_per_s(memory->swap_in_bytes, vm->swap_in_bytes, ms) > SWAP_IN_PER_S;
	/* the faults are of the time in between, when it may have used more than now */
	int64_t used_then = int64_max(used, memory->used_bytes);
	int64_t more = int64_min(guest->has + guest->has / 8 + 16 * MIB, guest->high) - used_then;
	if (faults && guest->has < guest->high)
		memory->pressed_bytes = int64_max(memory->pressed_bytes, more);
	else
		memory->pressed_bytes = decayed(memory->pressed_bytes, ms, PRESSED_DECAY_S);
}

/* The first sample of a guest, or the first for long: no rates. */
static void learn_afresh(struct balloon_vm_memory *memory, int64_t used)
{
	memory->peak_bytes = int64_max(memory->peak_bytes, used);
	memory->growth_bytes = 0;
}

/*
 * A guest that grew lately goes on, whatever one sample says, unless it let go of as much. One that gives may have
 * given more than is seen yet: that looks like growth and is none.
 */
static void learn_growth(
        const struct balloon_guest *guest, int64_t used, int64_t ms, int64_t taken_ms)
{
	struct balloon_vm_memory *memory = guest->memory;
	int64_t before = memory->growth_bytes;
	int64_t unseen =
	        memory->target_bytes > 0 ? int64_max(guest->has - memory->target_bytes, 0) : 0;
	int64_t more = used - memory->used_bytes;
	int64_t growth = (more > 0 ? int64_max(more - unseen, 0) : more) * 1000 / ms;
	if (growth >= before) {
		memory->growth_bytes = growth;
		memory->growth_ms = taken_ms;
	} else if (growth < -before) {
		memory->growth_bytes = 0;
	} else if (taken_ms - memory->growth_ms >= GROWTH_HOLD_MS) {
		memory->growth_bytes = int64_max(growth, decayed(before, ms, 4));
	}
}

static void learn_use(const struct balloon_guest *guest, int64_t used, int64_t ms, int64_t taken_ms)
{
	struct balloon_vm_memory *memory = guest->memory;
	learn_growth(guest, used, ms, taken_ms);
	memory->peak_bytes = int64_max(
	        used, used + decayed(int64_max(memory->peak_bytes - used, 0), ms, PEAK_DECAY_S));
}

static void learn(
        const struct balloon_cycle *cycle, const struct balloon_guest *guest, int64_t used)
{
	const struct balloon_vm *vm = guest->vm;
	struct balloon_vm_memory *memory = guest->memory;
	int64_t taken_ms = cycle->now_ms - vm->stats_age_ms;
	int64_t ms = taken_ms - memory->stats_ms;
	bool first = !(memory->flags & BALLOON_STATS_SEEN) || ms > 4 * BALLOON_STALE_MS;
	if (!first && ms < cycle->policy->period_ms / 2)
		return; /* seen already */
	if (first) {
		learn_afresh(memory, used);
	} else {
		learn_pressure(guest, used, ms);
		learn_use(guest, used, ms, taken_ms);
	}
	memory->flags |= BALLOON_STATS_SEEN;
	memory->stats_ms = taken_ms;
	memory->used_bytes = used;
	memory->major_faults = vm->major_faults;
	memory->swap_in_bytes = vm->swap_in_bytes;
}

/* A guest with nearly nothing left cannot show what it needs: half as much again. */
static int64_t hidden_need(const struct balloon_guest *guest, int64_t used)
{
	return guest->has - used < guest->has / 32 ? guest->has / 2 : 0;
}

static int64_t with_margin(const struct balloon_cycle *cycle, const struct balloon_guest *guest,
        int64_t used, int64_t more)
{
	const struct balloon_policy *policy = cycle->policy;
	int64_t margin =
	        int64_max(policy->margin_bytes, used * policy->margin_percent / 100) + more;
	return balloon_clamp(
	        used + int64_max(margin, guest->memory->pressed_bytes), guest->low, guest->high);
}

void balloon_demand(const struct balloon_cycle *cycle, struct balloon_guest *guest)
{
	struct balloon_vm_memory *memory = guest->memory;
	guest->signal = is_fresh(guest->vm);
	guest->need = guest->margin = BALLOON_UNKNOWN;
	guest->demand = guest->bare = guest->booked;
	if (!guest->signal)
		return;
	int64_t used = used_bytes(guest->vm);
	learn(cycle, guest, used);
	int64_t lively = memory->growth_bytes * GROWTH_AHEAD_S + hidden_need(guest, used);
	guest->need = int64_min(used, guest->high);
	guest->demand = with_margin(cycle, guest, int64_max(used, memory->peak_bytes), lively);
	guest->bare = with_margin(cycle, guest, used, lively);
	guest->margin = int64_max(guest->demand - guest->need, 0);
	guest->ahead = int64_min(
	        memory->growth_bytes * TAKE_AHEAD_S, int64_max(guest->high - guest->demand, 0));
}

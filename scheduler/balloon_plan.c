/* SPDX-License-Identifier: Apache-2.0 */
/* The plan of one cycle: what was seen is taken in, the host's state follows, then targets and the reasons for them. */
#include <stdlib.h>

#include "base/alloc.h"
#include "scheduler/balloon_internal.h"

void balloon_policy_default(struct balloon_policy *policy)
{
	*policy = (struct balloon_policy){
	        .enabled = true,
	        .period_ms = 1000,
	        .margin_percent = 12,
	        .margin_bytes = 32 * MIB,
	        .step_percent = 10,
	        .idle_tax_percent = 75,
	        .pool_percent = 4,
	};
}

/* ---- what was seen ---- */

static int64_t current_bytes(const struct balloon_vm *vm)
{
	if (vm->starting)
		return vm->size_bytes;
	if (vm->current_bytes >= 0)
		return vm->current_bytes;
	return vm->memory->current_bytes > 0 ? vm->memory->current_bytes : vm->size_bytes;
}

/* What is given up is free only when it was seen, also what had just been given. */
static int64_t booked_with(
        const struct balloon_cycle *cycle, const struct balloon_guest *guest, int64_t target)
{
	return int64_max(int64_max(guest->has, target), balloon_followed(cycle, guest));
}

static void take_in(struct balloon_cycle *cycle, size_t i, const struct balloon_vm *vm,
        struct balloon_vm_plan *plan)
{
	struct balloon_guest *guest = &cycle->guests[i];
	*plan = (struct balloon_vm_plan){.reason = BALLOON_KEEPS, .peer = -1};
	*guest = (struct balloon_guest){.vm = vm,
	        .memory = vm->memory,
	        .plan = plan,
	        .high = vm->size_bytes,
	        .low = balloon_clamp(vm->min_bytes, 0, vm->size_bytes),
	        .has = current_bytes(vm)};
	if (!cycle->policy->enabled || !vm->ballooning || vm->starting)
		guest->memory->target_bytes = 0;
	guest->base = guest->memory->target_bytes > 0 ? guest->memory->target_bytes : guest->has;
	guest->booked = booked_with(cycle, guest, guest->base);
	balloon_demand(cycle, guest);
	balloon_answer(cycle, guest);
	cycle->booked += guest->booked;
}

/* What the host has left if every guest touches all that is booked for it. */
static int64_t left_on_host(const struct balloon_cycle *cycle)
{
	int64_t left = cycle->host->available_bytes;
	for (size_t i = 0; i < cycle->n; i++) {
		const struct balloon_guest *guest = &cycle->guests[i];
		if (guest->vm->rss_bytes >= 0)
			left -= int64_max(guest->booked - guest->vm->rss_bytes, 0);
	}
	return left;
}

static void find_free(struct balloon_cycle *cycle)
{
	cycle->free = cycle->usable - cycle->booked;
	if (cycle->host->available_bytes < 0)
		return;
	int64_t left = left_on_host(cycle);
	cycle->limited_by_host = left < cycle->free;
	cycle->free = int64_min(left, cycle->free);
}

/* ---- what is answered ---- */

/* Towards a new target from where it stands: its time without progress begins anew only if it had none, or turns. */
static void restart_watch(struct balloon_cycle *cycle, struct balloon_guest *guest)
{
	struct balloon_vm_memory *memory = guest->memory;
	bool same_way = memory->target_bytes > 0 && !(memory->flags & BALLOON_REACHED) &&
	                (memory->target_bytes > guest->has) == (guest->target > guest->has);
	if (!same_way) {
		memory->progress_ms = cycle->now_ms;
		memory->flags &= ~(unsigned)BALLOON_SILENT;
	}
	memory->progress_bytes = guest->has;
	memory->flags &= ~(unsigned)(BALLOON_REACHED | BALLOON_TELL);
	if (memory->target_bytes > int64_max(guest->target, guest->has)) {
		memory->followed_bytes = memory->target_bytes;
		memory->followed_ms = cycle->now_ms + BALLOON_FOLLOW_MS;
	}
	memory->target_bytes = guest->target;
	memory->target_ms = cycle->now_ms;
}

static bool is_left_alone(enum balloon_vm_state state, const struct balloon_vm *vm)
{
	return state == BALLOON_VM_OFF || state == BALLOON_VM_HELD || vm->starting;
}

static void decide(struct balloon_cycle *cycle, struct balloon_guest *guest)
{
	struct balloon_vm_plan *plan = guest->plan;
	bool left_alone = is_left_alone(plan->state, guest->vm);
	if (!left_alone) {
		guest->target = balloon_clamp(guest->target, guest->low, guest->high);
		plan->tell = guest->target != guest->base || (guest->memory->flags & BALLOON_TELL);
	}
	if (plan->tell)
		restart_watch(cycle, guest);
	plan->target_bytes = guest->target;
	plan->booked_bytes = booked_with(cycle, guest, guest->target);
	cycle->plan->booked_bytes += plan->booked_bytes;
}

static enum balloon_reason standing_reason(
        const struct balloon_cycle *cycle, const struct balloon_guest *guest)
{
	const struct balloon_vm_memory *memory = guest->memory;
	if (is_left_alone(guest->plan->state, guest->vm))
		return BALLOON_LEFT_ALONE;
	if (!guest->signal)
		return BALLOON_NO_SIGNAL;
	if (memory->flags & (BALLOON_GAVE_UP | BALLOON_SILENT))
		return BALLOON_NO_ANSWER;
	if (cycle->memory->state == BALLOON_CRITICAL && guest->plan->missing_bytes > 0)
		return BALLOON_SQUEEZED;
	if (guest->has - guest->target > balloon_tolerance(guest) && memory->asked_for)
		return (enum balloon_reason)memory->asked_for;
	return guest->target <= guest->low && guest->low < guest->high ? BALLOON_AT_FLOOR
	                                                               : BALLOON_KEEPS;
}

/* Unless a reason was given while memory moved. */
static void explain(struct balloon_cycle *cycle, struct balloon_guest *guest)
{
	struct balloon_vm_plan *plan = guest->plan;
	plan->need_bytes = guest->need;
	plan->margin_bytes = guest->margin;
	plan->demand_bytes = guest->need >= 0 ? guest->need + guest->margin : guest->booked;
	if (cycle->memory->state == BALLOON_CRITICAL && guest->asked)
		plan->missing_bytes = int64_max(plan->demand_bytes - guest->target, 0);
	if (plan->reason != BALLOON_KEEPS)
		return;
	plan->reason = standing_reason(cycle, guest);
	plan->moved_bytes = int64_max(guest->has - guest->target, 0);
	if (plan->reason == BALLOON_GIVES_VM)
		plan->peer = cycle->neediest;
}

static void count_freeable(struct balloon_cycle *cycle, const struct balloon_guest *guest)
{
	if (!guest->donor || guest->plan->state != BALLOON_VM_ACTIVE)
		return;
	cycle->plan->freeable_bytes += int64_max(guest->has - guest->plan->demand_bytes, 0);
	cycle->plan->freeable_floor_bytes += int64_max(guest->has - guest->low, 0);
}

static void answer_host(struct balloon_cycle *cycle)
{
	struct balloon_host_memory *memory = cycle->memory;
	struct balloon_host_plan *plan = cycle->plan;
	int64_t wanted = int64_max(cycle->host->wanted_bytes, 0);
	int64_t next = cycle->host->wanted_next_bytes > 0 ? cycle->host->wanted_next_bytes : wanted;
	memory->exceeded_cycles += plan->exceeding > 0;
	memory->room_bytes = cycle->room;
	plan->state = memory->state;
	plan->reason = memory->reason;
	plan->since_ms = memory->since_ms;
	plan->usable_bytes = cycle->usable;
	plan->free_bytes = cycle->free;
	plan->missing_bytes = cycle->lacking - cycle->granted;
	plan->room_bytes = cycle->room;
	plan->room_ready = wanted > 0 && cycle->room >= next;
	plan->exceeded_cycles = memory->exceeded_cycles;
}

void balloon_plan(const struct balloon_policy *policy, const struct balloon_host *host,
        struct balloon_host_memory *memory, const struct balloon_vm *vms, size_t n, int64_t now_ms,
        struct balloon_host_plan *ret_host, struct balloon_vm_plan *plans)
{
	struct balloon_cycle cycle = {.policy = policy,
	        .host = host,
	        .memory = memory,
	        .plan = ret_host,
	        .guests = xcalloc(n + 1, sizeof(struct balloon_guest)),
	        .claims = xcalloc(n + 1, sizeof(struct balloon_claim)),
	        .n = n,
	        .now_ms = now_ms,
	        .usable = int64_max(host->total_bytes - host->reserve_bytes, 0)};
	*ret_host = (struct balloon_host_plan){0};
	cycle.pool = cycle.usable / 100 * policy->pool_percent;
	for (size_t i = 0; i < n; i++)
		take_in(&cycle, i, &vms[i], &plans[i]);
	find_free(&cycle);
	balloon_sum_up(&cycle);
	balloon_state_step(&cycle);
	if (memory->state == BALLOON_CRITICAL)
		balloon_squeeze(&cycle);
	balloon_move(&cycle);
	for (size_t i = 0; i < n; i++) {
		decide(&cycle, &cycle.guests[i]);
		explain(&cycle, &cycle.guests[i]);
		count_freeable(&cycle, &cycle.guests[i]);
	}
	answer_host(&cycle);
	balloon_ladder_step(&cycle);
	free(cycle.claims);
	free(cycle.guests);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a guest follows what it was told:
 *
 *	            told                     5 s without progress       20 s
 *	on target --------> on its way ----------------------> silent ------> given up --(30 s, doubled)--> told again
 *	    ^                   |                                 |               |                              |
 *	    '-------------------'---- moves towards it -----------'---------------'---------- moves -------------'
 *
 * Of a silent guest nothing is expected, and one that was given up counts with what it has. A guest that has more than
 * its target though it was there already, or that grows against it, took the memory unasked (autodeflate): it needs
 * it, so what it has becomes its target.
 */
#include <stdlib.h>

#include "scheduler/balloon_internal.h"

static bool is_on_target(const struct balloon_guest *guest)
{
	return llabs(guest->has - guest->memory->target_bytes) <= balloon_tolerance(guest);
}

static void mark_progress(struct balloon_cycle *cycle, struct balloon_guest *guest)
{
	guest->memory->progress_bytes = guest->has;
	guest->memory->progress_ms = cycle->now_ms;
	guest->memory->flags &= ~(unsigned)BALLOON_SILENT;
}

static void forgive(struct balloon_cycle *cycle, struct balloon_guest *guest)
{
	mark_progress(cycle, guest);
	guest->memory->flags &= ~(unsigned)BALLOON_GAVE_UP;
	guest->memory->backoff_ms = 0;
}

/* What it has becomes its target: told, so that it does not jump to an old one later. */
static void accept_what_it_has(struct balloon_cycle *cycle, struct balloon_guest *guest)
{
	guest->target = guest->base = guest->booked = guest->has;
	guest->memory->target_bytes = guest->memory->followed_ms = 0;
	guest->memory->flags |= BALLOON_TELL;
	mark_progress(cycle, guest);
}

static void give_up(struct balloon_cycle *cycle, struct balloon_guest *guest)
{
	struct balloon_vm_memory *memory = guest->memory;
	memory->flags |= BALLOON_GAVE_UP;
	memory->backoff_ms =
	        balloon_clamp(2 * memory->backoff_ms, BALLOON_BACKOFF_MS, BALLOON_BACKOFF_MAX_MS);
	memory->retry_ms = cycle->now_ms + memory->backoff_ms;
	accept_what_it_has(cycle, guest);
}

int64_t balloon_followed(const struct balloon_cycle *cycle, const struct balloon_guest *guest)
{
	const struct balloon_vm_memory *memory = guest->memory;
	return memory->followed_ms > cycle->now_ms ? memory->followed_bytes : 0;
}

static bool took_unasked(
        const struct balloon_cycle *cycle, const struct balloon_guest *guest, int64_t before)
{
	const struct balloon_vm_memory *memory = guest->memory;
	int64_t told = int64_max(memory->target_bytes, balloon_followed(cycle, guest));
	if (guest->has <= told + balloon_tolerance(guest))
		return false;
	return (memory->flags & BALLOON_REACHED) || guest->has > before + balloon_tolerance(guest);
}

static void note_exceeded(struct balloon_cycle *cycle, struct balloon_guest *guest)
{
	guest->plan->reason = BALLOON_EXCEEDS;
	guest->plan->moved_bytes = guest->has - guest->memory->target_bytes;
	guest->memory->exceeded_cycles++;
	guest->memory->exceeded_ms = cycle->now_ms;
	guest->memory->flags |= BALLOON_MOVED;
	cycle->plan->exceeding++;
	accept_what_it_has(cycle, guest);
}

static void note_silence(struct balloon_cycle *cycle, struct balloon_guest *guest)
{
	struct balloon_vm_memory *memory = guest->memory;
	bool again = memory->flags & BALLOON_GAVE_UP;
	int64_t silent_ms = cycle->now_ms - memory->progress_ms;
	if (silent_ms >= BALLOON_INACTIVE_MS)
		memory->flags |= BALLOON_SILENT;
	if (silent_ms >= (again ? BALLOON_INACTIVE_MS : BALLOON_UNCOOPERATIVE_MS))
		give_up(cycle, guest);
}

/* Of a guest that was told something. */
static void follow(struct balloon_cycle *cycle, struct balloon_guest *guest, int64_t before)
{
	struct balloon_vm_memory *memory = guest->memory;
	if (took_unasked(cycle, guest, before)) {
		note_exceeded(cycle, guest);
		return;
	}
	memory->exceeded_cycles = 0;
	if (is_on_target(guest)) {
		memory->flags |= BALLOON_REACHED;
		if (!(memory->flags & BALLOON_GAVE_UP))
			forgive(cycle, guest);
		return;
	}
	int64_t gap = llabs(memory->progress_bytes - memory->target_bytes) -
	              llabs(guest->has - memory->target_bytes);
	if (gap >= MIB)
		forgive(cycle, guest);
	else
		note_silence(cycle, guest);
}

/* That a balloon works shows in its moving, or in a guest that has less than it booted with. */
static void note_movement(struct balloon_cycle *cycle, struct balloon_guest *guest, int64_t before)
{
	struct balloon_vm_memory *memory = guest->memory;
	bool moved = before > 0 && llabs(guest->has - before) >= MIB;
	if (moved || guest->has < guest->high - balloon_tolerance(guest))
		memory->flags |= BALLOON_MOVED;
	if (moved && guest->has < before)
		memory->followed_ms = 0;
	if (moved && (memory->flags & BALLOON_GAVE_UP))
		forgive(cycle, guest);
}

static enum balloon_vm_state silent_state(
        const struct balloon_cycle *cycle, const struct balloon_guest *guest)
{
	const struct balloon_vm_memory *memory = guest->memory;
	int64_t since = (memory->flags & BALLOON_STATS_SEEN) ? memory->stats_ms : memory->first_ms;
	bool early = cycle->now_ms - since < BALLOON_UNCOOPERATIVE_MS;
	if (memory->flags & BALLOON_STATS_SEEN)
		return early ? BALLOON_VM_INACTIVE : BALLOON_VM_UNCOOPERATIVE;
	if (early)
		return BALLOON_VM_WARMING;
	return memory->flags & BALLOON_MOVED ? BALLOON_VM_INACTIVE : BALLOON_VM_NO_DRIVER;
}

static enum balloon_vm_state vm_state(
        const struct balloon_cycle *cycle, const struct balloon_guest *guest)
{
	const struct balloon_vm *vm = guest->vm;
	const struct balloon_vm_memory *memory = guest->memory;
	if (!cycle->policy->enabled || !vm->ballooning)
		return BALLOON_VM_OFF;
	if (vm->held)
		return BALLOON_VM_HELD;
	if (vm->starting)
		return BALLOON_VM_WARMING;
	if (!guest->signal)
		return silent_state(cycle, guest);
	if (memory->flags & BALLOON_GAVE_UP)
		return BALLOON_VM_UNCOOPERATIVE;
	if (memory->flags & BALLOON_SILENT)
		return BALLOON_VM_INACTIVE;
	return cycle->now_ms - memory->first_ms < BALLOON_KNOWN_MS ? BALLOON_VM_WARMING
	                                                           : BALLOON_VM_ACTIVE;
}

/* It took memory unasked a short while ago, and uses most of it yet. */
static bool is_respected(const struct balloon_cycle *cycle, const struct balloon_guest *guest)
{
	const struct balloon_vm_memory *memory = guest->memory;
	bool lately =
	        memory->exceeded_ms > 0 && cycle->now_ms - memory->exceeded_ms < BALLOON_RESPECT_MS;
	return lately && guest->bare >= guest->has / 4 * 3;
}

void balloon_answer(struct balloon_cycle *cycle, struct balloon_guest *guest)
{
	struct balloon_vm_memory *memory = guest->memory;
	const struct balloon_vm *vm = guest->vm;
	int64_t before = memory->current_bytes;
	bool left_alone = !cycle->policy->enabled || !vm->ballooning || vm->held || vm->starting;
	if (memory->first_ms == 0 || vm->starting)
		memory->first_ms = cycle->now_ms;
	if (vm->current_bytes >= 0 && !left_alone) {
		note_movement(cycle, guest, before);
		if (memory->target_bytes > 0)
			follow(cycle, guest, before);
	}
	if (left_alone && memory->target_bytes > 0)
		mark_progress(cycle, guest);
	memory->current_bytes = guest->has;

	enum balloon_vm_state state = guest->plan->state = vm_state(cycle, guest);
	bool retry = (memory->flags & BALLOON_GAVE_UP) && cycle->now_ms >= memory->retry_ms;
	guest->asked =
	        !left_alone && guest->signal && (!(memory->flags & BALLOON_GAVE_UP) || retry);
	guest->donor = guest->asked && (state == BALLOON_VM_ACTIVE || retry) &&
	               !is_respected(cycle, guest);
}

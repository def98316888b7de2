/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is done beyond ballooning while a host stays critical. Each rung is given 3 s to bring relief, then the next one
 * is climbed; once the host is better they are left in reverse order, 3 s each. One guest at a time is throttled, and
 * one at a time suspended, and that one only if its owner allowed it.
 */
#include "scheduler/balloon_internal.h"

typedef bool (*candidate)(const struct balloon_guest *guest);

static bool may_be_throttled(const struct balloon_guest *guest)
{
	return guest->vm->best_effort && !guest->vm->held && !guest->vm->starting;
}

static bool may_be_suspended(const struct balloon_guest *guest)
{
	return guest->vm->may_suspend && !guest->vm->held && !guest->vm->starting;
}

/* What it has above its floor, for its shares; of those that are alike the one that computes more. */
static double greed(const struct balloon_guest *guest)
{
	double above = (double)int64_max(guest->has - guest->low, 0) / (double)guest->vm->shares;
	return above * (1.0 + (guest->vm->cpu_percent > 0 ? guest->vm->cpu_percent : 0) / 1e6);
}

static struct balloon_guest *greediest(const struct balloon_cycle *cycle, candidate allowed)
{
	struct balloon_guest *best = NULL;
	for (size_t i = 0; i < cycle->n; i++) {
		struct balloon_guest *guest = &cycle->guests[i];
		if (allowed(guest) && (!best || greed(guest) > greed(best)))
			best = guest;
	}
	return best;
}

static bool is_marked(const struct balloon_cycle *cycle, unsigned flag)
{
	for (size_t i = 0; i < cycle->n; i++) {
		if (cycle->guests[i].memory->flags & flag)
			return true;
	}
	return false;
}

static void unmark(struct balloon_cycle *cycle, unsigned flag)
{
	for (size_t i = 0; i < cycle->n; i++)
		cycle->guests[i].memory->flags &= ~flag;
}

/* What each rung marks, and whom. */
static const struct {
	unsigned flag;
	candidate allowed;
} marks[N_BALLOON_RUNGS] = {
        [BALLOON_RUNG_THROTTLE] = {BALLOON_THROTTLED, may_be_throttled},
        [BALLOON_RUNG_SUSPEND] = {BALLOON_SUSPENDING, may_be_suspended},
};

/* A rung that marks a guest needs one: false if there is none, so that the next rung is tried. */
static bool stand_on(struct balloon_cycle *cycle, enum balloon_rung rung)
{
	if (marks[rung].flag && !is_marked(cycle, marks[rung].flag)) {
		struct balloon_guest *guest = greediest(cycle, marks[rung].allowed);
		if (!guest)
			return false;
		guest->memory->flags |= marks[rung].flag;
	}
	cycle->memory->rung = rung;
	return true;
}

/* How far the host is from having too little; grows with relief. */
static int64_t standing(const struct balloon_cycle *cycle)
{
	return cycle->free - cycle->lacking;
}

static void take_stock(struct balloon_cycle *cycle)
{
	cycle->memory->rung_ms = cycle->now_ms;
	cycle->memory->relief_free_bytes = standing(cycle);
}

static void climb(struct balloon_cycle *cycle)
{
	struct balloon_host_memory *memory = cycle->memory;
	bool relief = standing(cycle) - memory->relief_free_bytes >= cycle->usable / 64;
	bool waited = cycle->now_ms - memory->rung_ms >= BALLOON_RUNG_MS;
	if (memory->rung != BALLOON_RUNG_NONE && !relief && !waited)
		return;
	if (memory->rung == BALLOON_RUNG_NONE || !relief) {
		enum balloon_rung rung = memory->rung + (memory->rung < BALLOON_RUNG_SUSPEND);
		while (rung < N_BALLOON_RUNGS && !stand_on(cycle, rung))
			rung++;
	}
	take_stock(cycle);
}

static void leave(struct balloon_cycle *cycle)
{
	struct balloon_host_memory *memory = cycle->memory;
	if (memory->rung == BALLOON_RUNG_NONE || cycle->now_ms - memory->rung_ms < BALLOON_RUNG_MS)
		return;
	unmark(cycle, marks[memory->rung].flag);
	memory->rung--;
	take_stock(cycle);
}

void balloon_ladder_step(struct balloon_cycle *cycle)
{
	if (cycle->memory->state == BALLOON_CRITICAL)
		climb(cycle);
	else
		leave(cycle);
	for (size_t i = 0; i < cycle->n; i++) {
		const struct balloon_guest *guest = &cycle->guests[i];
		guest->plan->throttle = guest->memory->flags & BALLOON_THROTTLED;
		guest->plan->suspend = guest->memory->flags & BALLOON_SUSPENDING;
	}
	cycle->plan->rung = cycle->memory->rung;
	cycle->plan->ksm_boost = cycle->memory->rung >= BALLOON_RUNG_KSM;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the balloon plan share: one cycle and its guests. */
#pragma once

#include "base/number.h"
#include "scheduler/balloon_plan.h"

#define MIB ((int64_t)1 << 20)

enum {
	BALLOON_INACTIVE_MS = 5000, /* no progress: nothing is expected of the guest any more */
	BALLOON_UNCOOPERATIVE_MS = 20000, /* it is not asked any more, but for the back-off below */
	BALLOON_BACKOFF_MS = 30000,       /* doubled each time */
	BALLOON_BACKOFF_MAX_MS = 600000,
	BALLOON_STALE_MS = 5000,  /* older statistics are no signal */
	BALLOON_FOLLOW_MS = 2500, /* the size of a balloon that is seen is up to a second old */
	BALLOON_KNOWN_MS = 3000,  /* a guest is known that long before it is asked to give */
	BALLOON_RESPECT_MS =
	        10000, /* a guest that took memory unasked is not asked for it again so soon */
	BALLOON_BETTER_MS = 5000,   /* a better state must be right for that long */
	BALLOON_OVERLOAD_MS = 3000, /* needing more than there is makes a host critical */
	BALLOON_RUNG_MS = 3000,     /* without relief, before the next rung */
};

struct balloon_guest {
	const struct balloon_vm *vm;
	struct balloon_vm_memory *memory;
	struct balloon_vm_plan *plan;
	int64_t low, high; /* its floor and its size */
	int64_t has;       /* what its balloon leaves it, as last known */
	int64_t booked;    /* what it may have by now: max(has, told) */
	int64_t base;      /* what it was told, or has if it was told nothing */
	int64_t need, margin,
	        demand; /* need is what it uses now; demand = need + margin within its limits */
	int64_t bare;   /* the same without what it used lately: enough while others lack memory */
	int64_t target; /* being decided; begins as base */
	int64_t lacks;  /* demand beyond what is booked */
	int64_t ahead;  /* what it will want beyond its demand if it goes on growing */
	bool signal;    /* fresh statistics */
	bool asked;     /* may be told a target at all */
	bool donor;     /* may be asked to give */
};

struct balloon_cycle {
	const struct balloon_policy *policy;
	const struct balloon_host *host;
	struct balloon_host_memory *memory;
	struct balloon_host_plan *plan;
	struct balloon_guest *guests;
	struct balloon_claim *claims; /* scratch, one per guest */
	size_t n;
	int64_t now_ms;
	int64_t usable, pool;
	int64_t booked;
	int64_t free; /* beyond what is booked and what the host itself has; may be negative */
	bool limited_by_host; /* it is the host that has less */
	int64_t lacking;      /* what guests want beyond what is booked for them */
	int64_t urgent;       /* the part of it that they need to live */
	int64_t pending;      /* asked for and on its way */
	int64_t idle; /* what donors could give beyond pending and still have what is barely enough */
	int64_t ahead;      /* what growing guests will want after that: freeing it takes time */
	int64_t granted;    /* of lacking, from what is free */
	int64_t room;       /* free and kept for starts */
	ptrdiff_t neediest; /* index, or -1 */
};

/* One part of an amount that is shared out. */
struct balloon_claim {
	int64_t cap;   /* at most */
	double weight; /* > 0 */
	int64_t part;  /* result */
	size_t index;
	double fullness; /* of balloon_share_out: how far the amount may rise before it is full */
};

static inline int64_t balloon_clamp(int64_t value, int64_t low, int64_t high)
{
	return int64_max(low, int64_min(value, high));
}

/* What cannot be told apart from being on target. */
static inline int64_t balloon_tolerance(const struct balloon_guest *guest)
{
	return int64_max(guest->high / 128, 4 * MIB);
}

/* balloon_demand.c: what the guest needs, from its statistics. Sets need, margin, demand, bare, signal. */
void balloon_demand(const struct balloon_cycle *cycle, struct balloon_guest *guest);

/* balloon_answer.c: a higher target than it has now that it may follow yet; 0: none. */
int64_t balloon_followed(const struct balloon_cycle *cycle, const struct balloon_guest *guest);

/* The same: whether the guest follows what it was told. Sets plan->state, asked, donor; may accept what it took. */
void balloon_answer(struct balloon_cycle *cycle, struct balloon_guest *guest);

/* balloon_state.c: the state of the host, from what is summed up. */
void balloon_state_step(struct balloon_cycle *cycle);

/* balloon_share.c: parts in proportion to the weights, none above its cap; returns their sum. */
int64_t balloon_share_out(struct balloon_claim *claims, size_t n, int64_t amount);

/* balloon_move.c: sums up what guests lack and could give; then decides their targets in the state the host is in. */
void balloon_sum_up(struct balloon_cycle *cycle);
void balloon_squeeze(struct balloon_cycle *cycle);
void balloon_move(struct balloon_cycle *cycle);

/* balloon_ladder.c: climbs and leaves the rungs; the plans of the guests are made already. */
void balloon_ladder_step(struct balloon_cycle *cycle);

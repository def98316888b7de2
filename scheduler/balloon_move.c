/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who grows and who gives. What is free goes first to guests that lack memory, then to starts that wait, and the rest
 * stays as a pool. What all of them lack beyond that, less what is on its way, is asked of idle guests: in proportion
 * to what they hold for their shares, where an idle byte weighs 1 / (1 - tax) (min-funding revocation and idle memory
 * tax: Waldspurger, Memory Resource Management in VMware ESX Server, OSDI 2002). It is granted in a later cycle, once
 * it was seen to be free.
 */
#include "scheduler/balloon_internal.h"

/* Below that a guest is not told: an eighth of the margin may be used up, so that steady load moves nothing. */
static int64_t deadband(const struct balloon_guest *guest)
{
	return int64_max(4 * MIB, guest->demand / 64);
}

static void note_lack(struct balloon_cycle *cycle, size_t i)
{
	struct balloon_guest *guest = &cycle->guests[i];
	guest->lacks = 0;
	if (!guest->asked || guest->demand - guest->base < deadband(guest))
		return;
	/* what it was asked to give but has still costs nothing */
	int64_t may_have = int64_max(guest->has, guest->base);
	guest->target = int64_min(guest->demand, may_have);
	guest->lacks = int64_max(guest->demand - may_have, 0);
	int64_t to_live = guest->need + int64_min(guest->margin, cycle->policy->margin_bytes) / 4;
	cycle->lacking += guest->lacks;
	cycle->urgent += int64_max(int64_min(to_live, guest->demand) - may_have, 0);
	if (guest->lacks > 0 &&
	        (cycle->neediest < 0 || guest->lacks > cycle->guests[cycle->neediest].lacks))
		cycle->neediest = (ptrdiff_t)i;
}

static int64_t on_its_way(const struct balloon_guest *guest)
{
	bool expected =
	        guest->asked && !(guest->memory->flags & (BALLOON_SILENT | BALLOON_GAVE_UP));
	return expected ? int64_max(guest->booked - guest->target, 0) : 0;
}

static int64_t above(const struct balloon_guest *guest, int64_t level)
{
	return guest->donor ? int64_max(guest->target - level, 0) : 0;
}

/* That it used more lately does not count any more. */
static void settle_for_bare(struct balloon_guest *guest)
{
	guest->memory->peak_bytes = int64_min(guest->memory->peak_bytes, guest->need);
	guest->demand = int64_min(guest->demand, guest->bare);
	guest->margin = int64_max(guest->demand - guest->need, 0);
}

/* Room that was reported as ready stays kept until its VM is listed; before that guests in need go first. */
static int64_t promised_room(const struct balloon_cycle *cycle)
{
	const struct balloon_host *host = cycle->host;
	int64_t next = host->wanted_next_bytes > 0 ? host->wanted_next_bytes : host->wanted_bytes;
	bool ready = host->wanted_bytes > 0 && cycle->memory->room_bytes >= next;
	return ready ? int64_min(cycle->memory->room_bytes, host->wanted_bytes) : 0;
}

void balloon_sum_up(struct balloon_cycle *cycle)
{
	cycle->lacking = cycle->urgent = cycle->pending = cycle->idle = cycle->ahead = 0;
	cycle->neediest = -1;
	for (size_t i = 0; i < cycle->n; i++) {
		struct balloon_guest *guest = &cycle->guests[i];
		guest->target = guest->base;
		note_lack(cycle, i);
		cycle->pending += on_its_way(guest);
		cycle->ahead += guest->asked ? guest->ahead : 0;
		cycle->idle += above(guest, int64_min(guest->demand, guest->bare));
	}
	cycle->granted = balloon_clamp(cycle->free - promised_room(cycle), 0, cycle->lacking);
	cycle->room = balloon_clamp(
	        cycle->free - cycle->granted, 0, int64_max(cycle->host->wanted_bytes, 0));
}

/* More is needed than there is: every guest gets its floor, and what is left by shares. */
void balloon_squeeze(struct balloon_cycle *cycle)
{
	int64_t left = cycle->free;
	size_t n = 0;
	for (size_t i = 0; i < cycle->n; i++) {
		struct balloon_guest *guest = &cycle->guests[i];
		if (!guest->asked)
			continue;
		settle_for_bare(guest);
		int64_t floor = guest->donor ? guest->low : int64_min(guest->has, guest->demand);
		left += guest->booked - floor;
		cycle->claims[n++] = (struct balloon_claim){.index = i,
		        .cap = guest->demand - floor,
		        .weight = (double)guest->vm->shares};
	}
	balloon_share_out(cycle->claims, n, left);
	for (size_t k = 0; k < n; k++) {
		struct balloon_guest *guest = &cycle->guests[cycle->claims[k].index];
		int64_t fair = guest->demand - cycle->claims[k].cap + cycle->claims[k].part;
		bool near = int64_max(fair - guest->base, guest->base - fair) < guest->high / 64;
		guest->demand = near && fair < guest->demand ? guest->base : fair;
	}
	balloon_sum_up(cycle);
}

/* ---- who grows ---- */

/* Whole MiB of what there is; no crumbs while more is lacking. */
static int64_t worth_telling(const struct balloon_guest *guest, int64_t bytes)
{
	int64_t part = int64_min(bytes, guest->lacks);
	bool crumb = part < guest->lacks && part < balloon_tolerance(guest);
	return crumb ? 0 : part / MIB * MIB;
}

static void grow(struct balloon_cycle *cycle)
{
	size_t n = 0;
	for (size_t i = 0; i < cycle->n; i++) {
		if (cycle->guests[i].lacks > 0)
			cycle->claims[n++] = (struct balloon_claim){.index = i,
			        .cap = cycle->guests[i].lacks,
			        .weight = (double)cycle->guests[i].vm->shares};
	}
	balloon_share_out(cycle->claims, n, cycle->granted);
	int64_t crumbs = 0; /* of one guest go to the next */
	for (size_t k = 0; k < n; k++) {
		struct balloon_guest *guest = &cycle->guests[cycle->claims[k].index];
		int64_t part = worth_telling(guest, cycle->claims[k].part + crumbs);
		crumbs += cycle->claims[k].part - part;
		guest->plan->missing_bytes = guest->lacks - part;
		guest->target += part;
		if (guest->plan->reason == BALLOON_EXCEEDS)
			continue; /* that it took memory says more */
		guest->plan->moved_bytes = part;
		guest->plan->reason = part > 0 ? BALLOON_GROWS : BALLOON_WAITS;
	}
}

/* In a relaxed host those that were squeezed get their memory back, as far as plenty stays free. */
static void give_back(struct balloon_cycle *cycle)
{
	int64_t plenty = cycle->free - cycle->granted - 3 * cycle->pool;
	size_t n = 0;
	if (cycle->memory->state != BALLOON_RELAXED || plenty < cycle->usable / 128)
		return;
	for (size_t i = 0; i < cycle->n; i++) {
		const struct balloon_guest *guest = &cycle->guests[i];
		int64_t squeezed = guest->high - int64_max(guest->target, guest->booked);
		if (guest->donor && squeezed >= MIB)
			cycle->claims[n++] = (struct balloon_claim){
			        .index = i, .cap = squeezed, .weight = (double)guest->vm->shares};
	}
	balloon_share_out(cycle->claims, n, plenty);
	for (size_t k = 0; k < n; k++) {
		struct balloon_guest *guest = &cycle->guests[cycle->claims[k].index];
		int64_t to =
		        int64_max(guest->target, guest->booked) + cycle->claims[k].part / MIB * MIB;
		if (to - guest->target <
		        int64_min(balloon_tolerance(guest), guest->high - guest->target))
			continue;
		guest->plan->moved_bytes = to - guest->base;
		guest->plan->reason = BALLOON_RETURNS;
		guest->target = to;
	}
}

/* ---- who gives ---- */

/* Gently while there is no hurry: all that is on its way and asked now is at most a step. */
static int64_t may_give(const struct balloon_cycle *cycle, const struct balloon_guest *guest)
{
	int64_t idle = above(guest, guest->demand);
	if (cycle->memory->state >= BALLOON_SHORT)
		return idle;
	int64_t step = guest->high * cycle->policy->step_percent / 100;
	return balloon_clamp(step - int64_max(guest->has - guest->target, 0), 0, idle);
}

static double claim_weight(const struct balloon_cycle *cycle, const struct balloon_guest *guest)
{
	double idle = (double)above(guest, guest->demand), held = (double)guest->target;
	double tax = (double)balloon_clamp(cycle->policy->idle_tax_percent, 0, 95) / 100;
	return (held - idle + idle / (1 - tax) + 1) / (double)guest->vm->shares;
}

/* What the pool lacks once it is nearly used up: it is larger while guests grow. */
static int64_t pool_required(const struct balloon_cycle *cycle)
{
	int64_t left = cycle->free - cycle->granted - cycle->room;
	return left < cycle->pool / 2 + cycle->ahead ? cycle->pool + cycle->ahead - left : 0;
}

/* What guests, the host itself and the pool for growing guests lack beyond what is on its way. */
static int64_t urgently_required(const struct balloon_cycle *cycle)
{
	int64_t pool = cycle->granted > 0 ? pool_required(cycle) : 0;
	int64_t guests = cycle->lacking - cycle->granted + int64_max(-cycle->free, 0);
	return guests + pool - cycle->pending;
}

/* What has to be asked for, and for whom in the first place. */
static int64_t required(const struct balloon_cycle *cycle, enum balloon_reason *ret_reason)
{
	int64_t lacking = cycle->lacking - cycle->granted;
	int64_t starts = int64_max(cycle->host->wanted_bytes, 0) - cycle->room;
	*ret_reason = lacking > 0  ? BALLOON_GIVES_VM
	              : starts > 0 ? BALLOON_GIVES_ROOM
	                           : BALLOON_GIVES_POOL;
	return lacking + starts + pool_required(cycle) - cycle->pending;
}

static void ask(struct balloon_cycle *cycle, struct balloon_guest *guest, int64_t bytes,
        enum balloon_reason reason)
{
	guest->target -= bytes;
	guest->plan->reason = reason;
	guest->plan->peer = reason == BALLOON_GIVES_VM ? cycle->neediest : -1;
	guest->plan->moved_bytes = int64_max(guest->has - guest->target, bytes);
	guest->memory->asked_for = (int)reason;
}

/* Asks the donors for so much in proportion to their claims; returns what they were asked for. */
static int64_t ask_donors(struct balloon_cycle *cycle, int64_t wanted, enum balloon_reason reason)
{
	size_t n = 0;
	int64_t asked = 0;
	for (size_t i = 0; i < cycle->n; i++) {
		const struct balloon_guest *guest = &cycle->guests[i];
		int64_t cap = may_give(cycle, guest);
		if (cap >= balloon_tolerance(guest)) /* crumbs are not worth telling */
			cycle->claims[n++] = (struct balloon_claim){
			        .index = i, .cap = cap, .weight = claim_weight(cycle, guest)};
	}
	balloon_share_out(cycle->claims, n, wanted);
	for (size_t k = 0; k < n && asked < wanted; k++) {
		int64_t whole = (cycle->claims[k].part + MIB - 1) / MIB * MIB;
		int64_t part = int64_min(whole, cycle->claims[k].cap / MIB * MIB);
		asked += part;
		if (part > 0)
			ask(cycle, &cycle->guests[cycle->claims[k].index], part, reason);
	}
	return asked;
}

/* If what donors have above their demand is not enough for guests in need, what they used lately counts no more. */
static void take(struct balloon_cycle *cycle)
{
	enum balloon_reason reason;
	int64_t wanted = required(cycle, &reason), urgent = urgently_required(cycle);
	if (cycle->memory->state == BALLOON_RELAXED || wanted < MIB)
		return;
	int64_t asked = ask_donors(cycle, wanted, reason);
	if (urgent - asked < MIB)
		return;
	for (size_t i = 0; i < cycle->n; i++) {
		if (above(&cycle->guests[i], cycle->guests[i].bare) > 0)
			settle_for_bare(&cycle->guests[i]);
	}
	ask_donors(cycle, urgent - asked, reason);
}

void balloon_move(struct balloon_cycle *cycle)
{
	grow(cycle);
	give_back(cycle);
	take(cycle);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RIVAL, not a part of Berth: the rules by which Proxmox VE's pvestatd balloons, written anew from their description
 * (PVE::AutoBalloon and pvestatd, pve-manager 8 and 9). Every 10 s the host is steered to 80 % of its memory used. The
 * difference is spread so that each guest has floor + its part by shares of what all have above their floors, at most
 * 100 MiB per guest and round. Guests with free memory below a quarter of their floor grow first; those with more
 * shrink first; only if these make no progress all guests are considered. Less than 10 MiB is left alone.
 */
#include <stdlib.h>

#include "tests/sim/sim.h"

#define PERIOD_S   10
#define MAX_CHANGE (100 * MIB)
#define IGNORED    (10 * MIB)

struct round {
	struct sim_host *host;
	int64_t target[SIM_MAX];
	bool listed[SIM_MAX], pressed[SIM_MAX];
};

enum list { ALL, PRESSED, FREE };

static bool in_list(const struct round *round, size_t i, enum list list)
{
	return round->listed[i] && (list == ALL || round->pressed[i] == (list == PRESSED));
}

static int64_t clamp(int64_t value, int64_t low, int64_t high)
{
	return value < low ? low : value > high ? high : value;
}

/* One pass over those that are not done; returns the sum of changes. */
static int64_t pass(struct round *round, enum list list, int64_t goal, int64_t rest, bool *done)
{
	int64_t above = rest, shares = 0, changes = 0;
	for (size_t i = 0; i < round->host->n; i++) {
		if (!in_list(round, i, list) || done[i])
			continue;
		above += round->target[i] - round->host->guests[i].min;
		shares += round->host->guests[i].shares;
	}
	for (size_t i = 0; i < round->host->n; i++) {
		const struct sim_guest *guest = &round->host->guests[i];
		if (!in_list(round, i, list) || done[i])
			continue;
		double part = (double)above / (double)shares * (double)guest->shares;
		int64_t to = clamp(guest->min + (int64_t)part, guest->min, guest->size);
		to = clamp(to, guest->has - MAX_CHANGE, guest->has + MAX_CHANGE);
		if (to == guest->has || (to > guest->has) != (goal > 0)) {
			done[i] = true;
			continue;
		}
		changes += to - round->target[i];
		round->target[i] = to;
	}
	return changes;
}

static int64_t change(struct round *round, enum list list, int64_t goal)
{
	bool done[SIM_MAX] = {false};
	int64_t rest = goal;
	for (int passes = 0; passes < 32 && rest != 0; passes++) {
		int64_t changes = pass(round, list, goal, rest, done);
		if (changes == 0)
			break;
		rest -= changes;
	}
	return rest;
}

static int64_t look(struct round *round)
{
	struct sim_host *host = round->host;
	int64_t used = host->own;
	for (size_t i = 0; i < host->n; i++) {
		const struct sim_guest *guest = &host->guests[i];
		if (!guest->running)
			continue;
		int64_t unused = sim_guest_unused(guest);
		used += guest->has;
		round->listed[i] = unused >= 0;
		round->pressed[i] = unused <= guest->min / 4 || guest->has < guest->min;
		round->target[i] = guest->has;
	}
	return host->total / 100 * 80 - used;
}

static void proxmox_step(void *state, struct sim_host *host)
{
	(void)state;
	struct round round = {.host = host};
	if (host->now_s % PERIOD_S != 0)
		return;
	int64_t goal = look(&round);
	if (llabs(goal) <= IGNORED)
		return;
	int64_t rest = change(&round, goal > 0 ? PRESSED : FREE, goal);
	if (rest == goal)
		change(&round, ALL, rest);
	for (size_t i = 0; i < host->n; i++) {
		if (round.listed[i] && round.target[i] != host->guests[i].has)
			sim_tell(host, i, round.target[i]);
	}
}

static void *proxmox_open(void)
{
	return calloc(1, 1);
}

/* It has no room to wait for: a VM is started once its memory is free. */
static bool proxmox_may_start(
        void *state, const struct sim_host *host, const struct sim_guest *guest)
{
	(void)state;
	return sim_free(host) >= guest->size;
}

static void proxmox_started(void *state, size_t i)
{
	(void)state;
	(void)i;
}

const struct sim_policy sim_proxmox = {
        "proxmox", proxmox_open, proxmox_step, proxmox_may_start, proxmox_started};

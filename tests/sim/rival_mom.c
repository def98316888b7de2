/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RIVAL, not a part of Berth: the balloon rules of oVirt's Memory Overcommitment Manager, written anew from their
 * description (mom-balloon.policy). Every 15 s, on averages of the last 10 samples taken every 5 s: with less than 20 %
 * of the host free every guest shrinks by at most 5 % of what it has, not below what it uses + a margin of 20 % scaled
 * down with the host's free share, nor below its guaranteed memory; with 5 % free or less the margin is negative. Else
 * every guest that was shrunk grows by 5 %, at least to what it uses + 20 % of its size. Changes of less than 0.25 %
 * are left out. What a guest uses is read from `unused`, in which page cache counts as used; the second variant is
 * given `usable` instead, which is more than MOM has.
 */
#include <stdlib.h>

#include "tests/sim/sim.h"

#define PERIOD_S  15
#define SAMPLE_S  5
#define HISTORY   10
#define PRESSURE  0.20
#define CRITICAL  0.05
#define WANT_FREE 0.20
#define STEP      0.05
#define IGNORED   0.0025

struct samples {
	double at[HISTORY];
	int n;
};

struct state {
	bool usable;
	struct samples host_free, has[SIM_MAX], spare[SIM_MAX];
};

static void add(struct samples *samples, double value)
{
	samples->at[samples->n++ % HISTORY] = value;
}

static double average(const struct samples *samples)
{
	int n = samples->n < HISTORY ? samples->n : HISTORY;
	double sum = 0;
	for (int i = 0; i < n; i++)
		sum += samples->at[i];
	return n ? sum / n : 0;
}

static void take_samples(struct state *state, const struct sim_host *host)
{
	int64_t free_bytes = host->total - host->own;
	for (size_t i = 0; i < host->n; i++) {
		const struct sim_guest *guest = &host->guests[i];
		int64_t spare = state->usable ? sim_guest_usable(guest) : sim_guest_unused(guest);
		if (!guest->running)
			continue;
		free_bytes -= guest->has;
		if (spare < 0)
			continue;
		add(&state->has[i], (double)guest->has);
		add(&state->spare[i], (double)spare);
	}
	add(&state->host_free, (double)free_bytes / (double)host->total);
}

static double shrunk(const struct sim_guest *guest, double used, double host_free)
{
	double margin = host_free <= CRITICAL ? host_free - 0.05 : WANT_FREE * host_free / PRESSURE;
	double has = (double)guest->has, floor = used + margin * has, to = has * (1 - STEP);
	to = to < floor ? floor : to;
	to = to < (double)guest->min ? (double)guest->min : to;
	return to < has ? to : has;
}

static double grown(const struct sim_guest *guest, double used)
{
	double size = (double)guest->size, to = (double)guest->has * (1 + STEP),
	       wants = used + WANT_FREE * size;
	to = to < wants ? wants : to;
	return to < size ? to : size;
}

static void mom_step(void *opaque, struct sim_host *host)
{
	struct state *state = opaque;
	if (host->now_s % SAMPLE_S == 0)
		take_samples(state, host);
	if (host->now_s % PERIOD_S != 0)
		return;
	double host_free = average(&state->host_free);
	for (size_t i = 0; i < host->n; i++) {
		struct sim_guest *guest = &host->guests[i];
		if (!guest->running || guest->booting || state->has[i].n == 0)
			continue;
		double used = average(&state->has[i]) - average(&state->spare[i]),
		       has = (double)guest->has;
		double to =
		        host_free < PRESSURE ? shrunk(guest, used, host_free) : grown(guest, used);
		if (to > has * (1 + IGNORED) || to < has * (1 - IGNORED))
			sim_tell(host, i, (int64_t)to);
	}
}

static void *mom_open(void)
{
	return calloc(1, sizeof(struct state));
}

static void *mom_usable_open(void)
{
	struct state *state = mom_open();
	state->usable = true;
	return state;
}

/* A VM is started once its memory is free. */
static bool mom_may_start(void *opaque, const struct sim_host *host, const struct sim_guest *guest)
{
	(void)opaque;
	return sim_free(host) >= guest->size;
}

static void mom_started(void *opaque, size_t i)
{
	struct state *state = opaque;
	state->has[i] = state->spare[i] = (struct samples){0};
}

const struct sim_policy sim_mom = {"mom", mom_open, mom_step, mom_may_start, mom_started};
const struct sim_policy sim_mom_usable = {
        "mom+usable", mom_usable_open, mom_step, mom_may_start, mom_started};

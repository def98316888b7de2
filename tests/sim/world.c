/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One host for some hours. VMs are offered until their sizes make up `offered` times the memory for guests; each waits
 * until its whole size is free, as Berth does it and as anyone has to who boots a guest with what it was promised. The
 * sum of floors never exceeds that memory, whatever the policy. Now and then a VM stops and wants to start again.
 */
#include <stdlib.h>

#include "tests/sim/sim.h"

#define PATIENCE_S 300   /* a start that found no room goes to the end of the queue */
#define RUNS_S     14400 /* mean time until a VM stops */

void sim_tell(struct sim_host *host, size_t i, int64_t target)
{
	struct sim_guest *guest = &host->guests[i];
	if (host->measured)
		host->result.tells++;
	if (target < guest->min && host->measured)
		host->result.below_min++;
	host->has_granted |= target > guest->told && target > guest->has;
	guest->told = target;
}

int64_t sim_free(const struct sim_host *host)
{
	int64_t free_bytes = host->total - host->own;
	for (size_t i = 0; i < host->n; i++) {
		const struct sim_guest *guest = &host->guests[i];
		if (guest->running)
			free_bytes -= guest->has > guest->told ? guest->has : guest->told;
	}
	return free_bytes;
}

static void add_guest(struct sim_host *host, const struct sim_setup *setup)
{
	struct sim_random *random = &host->random;
	struct sim_guest *guest = &host->guests[host->n++];
	sim_trace_init(&guest->trace, setup->family, sim_next(random));
	guest->size = (2 + (int64_t)(sim_next(random) % 4)) * GIB;
	guest->min = guest->size / 5;
	guest->shares = 1000 * (1 + (int64_t)(sim_next(random) % 2));
	guest->swap = sim_next(random) % 2;
	guest->mute = sim_next(random) % 50 == 0;
	guest->deaf = sim_next(random) % 50 == 0;
}

static void fill_host(struct sim_host *host, const struct sim_setup *setup)
{
	int64_t offered = (int64_t)(setup->offered * (double)(host->total - host->reserve)),
	        sum = 0;
	while (sum < offered && host->n < SIM_MAX) {
		add_guest(host, setup);
		sum += host->guests[host->n - 1].size;
	}
}

static bool floors_allow(const struct sim_host *host, const struct sim_guest *next)
{
	int64_t sum = next->size;
	for (size_t i = 0; i < host->n; i++) {
		const struct sim_guest *guest = &host->guests[i];
		if (guest->running)
			sum += guest->mute || guest->deaf ? guest->size : guest->min;
	}
	return sum <= host->total - host->reserve;
}

/* Who waits for longest and may start as far as floors go. */
static ptrdiff_t first_in_line(const struct sim_host *host)
{
	ptrdiff_t first = -1;
	for (size_t i = 0; i < host->n; i++) {
		const struct sim_guest *guest = &host->guests[i];
		if (guest->running ||
		        (first >= 0 && guest->waits_since_s >= host->guests[first].waits_since_s))
			continue;
		if (floors_allow(host, guest))
			first = (ptrdiff_t)i;
	}
	return first;
}

static void start_and_stop(
        struct sim_host *host, const struct sim_policy *policy, void *state, int64_t *asked_s)
{
	for (size_t i = 0; i < host->n; i++) {
		struct sim_guest *guest = &host->guests[i];
		guest->booting = guest->running && host->now_s < guest->boots_until_s;
		if (guest->running && sim_once_in(&guest->trace.random, RUNS_S)) {
			guest->running = false;
			guest->waits_since_s = host->now_s;
		}
	}
	if (host->next >= 0 && policy->may_start(state, host, &host->guests[host->next])) {
		sim_guest_start(&host->guests[host->next], host->now_s);
		policy->started(state, (size_t)host->next);
		host->result.starts += host->measured;
		host->next = -1;
	} else if (host->next >= 0 && host->now_s - *asked_s >= PATIENCE_S) {
		host->guests[host->next].waits_since_s = host->now_s;
		host->next = -1;
	}
	if (host->next < 0) {
		host->next = first_in_line(host);
		*asked_s = host->now_s;
	}
}

static void step_policy(struct sim_host *host, const struct sim_policy *policy, void *state)
{
	host->has_granted = false;
	policy->step(state, host);
	host->result.granted_over += host->measured && host->has_granted && sim_free(host) < 0;
}

/* A host over its capacity swaps, and all of its guests suffer; if their programs would fit, the policy is to blame. */
static void measure(struct sim_host *host)
{
	struct sim_result *result = &host->result;
	int64_t taken = 0, programs = 0, running = 0, lacking = 0;
	for (size_t i = 0; i < host->n; i++) {
		const struct sim_guest *guest = &host->guests[i];
		if (!guest->running)
			continue;
		taken += guest->has;
		programs += guest->anon;
		running += !guest->booting;
		lacking += sim_guest_lacks(guest);
		result->reclaimed += (double)(guest->size - guest->has) / (double)GIB;
		result->idle += (double)(guest->size - guest->anon - guest->hot) / (double)GIB;
		result->hosted += (double)guest->size / (double)GIB;
	}
	bool over = taken > host->total - host->own;
	result->guest_seconds += (double)running;
	result->pressure_seconds += (double)(over ? running : lacking);
	result->over_capacity += over && programs <= host->total - host->own;
	result->seconds++;
}

static void add_result(struct sim_result *sum, const struct sim_result *more)
{
	double *to = (double *)sum;
	const double *from = (const double *)more;
	for (size_t i = 0; i < sizeof(*sum) / sizeof(double); i++)
		to[i] += from[i];
}

void sim_run(
        const struct sim_setup *setup, const struct sim_policy *policy, struct sim_result *result)
{
	struct sim_host *host = calloc(1, sizeof(*host));
	void *state = policy->open();
	int64_t asked_s = 0;
	host->total = 64 * GIB;
	host->own = 2 * GIB;
	host->reserve = 4 * GIB;
	host->next = -1;
	host->random.state = setup->seed;
	fill_host(host, setup);
	for (host->now_s = 1; host->now_s <= setup->seconds; host->now_s++) {
		host->measured = host->now_s > setup->warm_s;
		for (size_t i = 0; i < host->n; i++) {
			sim_trace_step(&host->guests[i].trace, (double)host->now_s, setup->day_s);
			if (host->guests[i].running)
				sim_guest_step(&host->guests[i]);
		}
		start_and_stop(host, policy, state, &asked_s);
		step_policy(host, policy, state);
		if (host->measured)
			measure(host);
	}
	add_result(result, &host->result);
	free(state);
	free(host);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Berth's balloon_plan, told what a host would tell it. */
#include <stdlib.h>
#include <string.h>

#include "scheduler/balloon_plan.h"
#include "tests/sim/sim.h"

struct state {
	struct balloon_policy policy;
	struct balloon_host_memory memory;
	struct balloon_host_plan plan;
	struct balloon_vm_memory memories[SIM_MAX];
	struct balloon_vm vms[SIM_MAX];
	struct balloon_vm_plan plans[SIM_MAX];
	size_t index[SIM_MAX];
};

static void *berth_open(void)
{
	struct state *state = calloc(1, sizeof(*state));
	balloon_policy_default(&state->policy);
	return state;
}

static struct balloon_vm sample(const struct sim_guest *guest, struct balloon_vm_memory *memory)
{
	bool says = sim_guest_usable(guest) >= 0;
	return (struct balloon_vm){.size_bytes = guest->size,
	        .min_bytes = guest->min,
	        .shares = guest->shares,
	        .ballooning = true,
	        .starting = guest->booting,
	        .rss_bytes = guest->has,
	        .current_bytes = guest->has,
	        .usable_bytes = sim_guest_usable(guest),
	        .available_bytes = BALLOON_UNKNOWN,
	        .unused_bytes = sim_guest_unused(guest),
	        .major_faults = says ? guest->faults : BALLOON_UNKNOWN,
	        .swap_in_bytes = says ? guest->swapped_in : BALLOON_UNKNOWN,
	        .memory = memory};
}

static void berth_step(void *opaque, struct sim_host *host)
{
	struct state *state = opaque;
	struct balloon_host seen = {.total_bytes = host->total,
	        .reserve_bytes = host->reserve,
	        .available_bytes = host->total - host->own,
	        .psi_some = -1,
	        .psi_full = -1,
	        .swap_bytes = BALLOON_UNKNOWN};
	size_t n = 0;
	for (size_t i = 0; i < host->n; i++) {
		if (!host->guests[i].running)
			continue;
		state->index[n] = i;
		state->vms[n++] = sample(&host->guests[i], &state->memories[i]);
		seen.available_bytes -= host->guests[i].has;
	}
	if (host->next >= 0)
		seen.wanted_bytes = host->guests[host->next].size;
	balloon_plan(&state->policy, &seen, &state->memory, state->vms, n, host->now_s * 1000,
	        &state->plan, state->plans);
	for (size_t k = 0; k < n; k++) {
		if (state->plans[k].tell)
			sim_tell(host, state->index[k], state->plans[k].target_bytes);
	}
	if (host->measured)
		host->result.exceeding += state->plan.exceeding > 0;
}

/* Room that was seen and kept; the guest is listed from the next cycle on. */
static bool berth_may_start(
        void *opaque, const struct sim_host *host, const struct sim_guest *guest)
{
	const struct state *state = opaque;
	(void)host;
	return state->plan.room_ready && state->plan.room_bytes >= guest->size;
}

static void berth_started(void *opaque, size_t i)
{
	struct state *state = opaque;
	memset(&state->memories[i], 0, sizeof(state->memories[i]));
	state->plan.room_ready = false;
}

const struct sim_policy sim_berth = {
        "berth", berth_open, berth_step, berth_may_start, berth_started};

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From what was seen to what the plan is asked. A guest counts when the host says that it has a process and the roster
 * knows it; one whose memory comes from huge pages counts with its overhead alone.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "compute/balloon_internal.h"
#include "compute/host.h"
#include "compute/vm_jobs.h"
#include "operation/operation.h"

#define JOBS_THAT_HOLD                                                                             \
	(VM_JOB_SUSPEND | VM_JOB_SNAPSHOT | VM_JOB_REVERT | VM_JOB_MIGRATE | VM_JOB_BACKUP)

static struct balloon_live *find_or_add_guest(
        struct balloon_site *site, const struct balloon_member *m)
{
	struct balloon_live *guest = map_get(site->guests, m->id);
	if (guest)
		return guest;
	guest = xcalloc(1, sizeof(*guest));
	uuid_text_copy(guest->id, m->id);
	guest->recorded_bytes = m->booked_bytes;
	guest->is_marked = guest->is_limited = m->is_throttled;
	/* It was off before this process knew it, and its size is booked: it was brought back. */
	guest->is_returned = m->booked_bytes == 0 || m->booked_bytes >= m->size_bytes;
	map_put(site->guests, guest->id, guest);
	return guest;
}

/* By our own clock, because a host's may differ: how long ago the statistics became these. */
static int64_t stats_age(struct balloon_live *guest, const struct domain_stats *s, int64_t now_ms)
{
	if (s->balloon_last_update_s != guest->stats_update_s || guest->stats_seen_ms == 0) {
		guest->stats_update_s = s->balloon_last_update_s;
		guest->stats_seen_ms = now_ms;
	}
	return now_ms - guest->stats_seen_ms;
}

static double cpu_percent(struct balloon_live *guest, const struct domain_stats *s, int64_t now_ms)
{
	double percent = -1;
	int64_t passed_ms = now_ms - guest->cpu_at_ms;
	if (guest->cpu_at_ms > 0 && passed_ms > 0 && s->cpu_time_ns >= guest->cpu_time_ns)
		percent = (double)(s->cpu_time_ns - guest->cpu_time_ns) / 1e4 / (double)passed_ms;
	guest->cpu_at_ms = s->cpu_time_ns >= 0 ? now_ms : 0;
	guest->cpu_time_ns = s->cpu_time_ns;
	return percent;
}

static void add_guest(
        struct balloon_round *round, const struct balloon_member *m, const struct domain_stats *s)
{
	struct balloon_site *site = round->site;
	struct balloon_live *guest = find_or_add_guest(site, m);
	unsigned jobs = operation_engine_jobs(site->all->config.services->engine, m->id);
	size_t i = round->n++;
	guest->round = site->round;
	round->members[i] = m;
	round->guests[i] = guest;
	round->vms[i] = (struct balloon_vm){
	        .id = guest->id,
	        .size_bytes = m->size_bytes,
	        .min_bytes = m->min_bytes,
	        .shares = m->shares,
	        .ballooning = m->ballooning,
	        .held = (jobs & JOBS_THAT_HOLD) != 0 || s->state == DOMAIN_PAUSED,
	        .starting = m->is_starting || (jobs & VM_JOB_START) != 0,
	        .best_effort = m->managed && m->cpu_reservation_percent == 0,
	        .may_suspend = m->managed && m->may_suspend,
	        .cpu_percent = cpu_percent(guest, s, round->now_ms),
	        .rss_bytes = s->balloon_rss_bytes,
	        .current_bytes = s->balloon_current_bytes,
	        .usable_bytes = s->balloon_usable_bytes,
	        .available_bytes = s->balloon_available_bytes,
	        .unused_bytes = s->balloon_unused_bytes,
	        .major_faults = s->balloon_major_faults,
	        .swap_in_bytes = s->balloon_swap_in_bytes,
	        .stats_age_ms = stats_age(guest, s, round->now_ms),
	        .memory = &guest->memory,
	};
}

static void gather_guests(struct balloon_round *round)
{
	const struct balloon_roster *roster = round->site->roster;
	size_t most = round->sample->list.len;
	round->members = xcalloc(most + 1, sizeof(struct balloon_member *));
	round->guests = xcalloc(most + 1, sizeof(struct balloon_live *));
	round->vms = xcalloc(most + 1, sizeof(round->vms[0]));
	round->plans = xcalloc(most + 1, sizeof(round->plans[0]));
	for (size_t i = 0; i < most; i++) {
		const struct domain_stats *s = &round->sample->list.items[i];
		const struct balloon_member *m = balloon_roster_find(roster, s->id);
		if (!m || domain_state_is_off(s->state))
			continue;
		round->host.reserve_bytes += m->overhead_bytes;
		if (!m->hugepages)
			add_guest(round, m, s);
	}
}

static int64_t hugepage_bytes(const struct host_facts *facts)
{
	int64_t sum = 0;
	for (size_t i = 0; facts && i < facts->n_hugepages; i++)
		sum += facts->hugepages[i].pages * facts->hugepages[i].page_bytes;
	return sum;
}

/* Swapping both ways counts; what is read back stays in the swap as a copy, so only what it is filled with is seen. */
static int64_t swapped_bytes(struct balloon_site *site, const struct host_stats *host)
{
	int64_t before = site->free_swap_bytes;
	site->free_swap_bytes = host->swap_free_bytes;
	if (before < 0 || host->swap_free_bytes < 0)
		return BALLOON_UNKNOWN;
	return before > host->swap_free_bytes ? before - host->swap_free_bytes
	                                      : host->swap_free_bytes - before;
}

static void gather_host(struct balloon_round *round)
{
	struct balloon_site *site = round->site;
	const struct balloon_sample *sample = round->sample;
	const struct host_facts *facts = hosts_facts(site->all->config.services->hosts, site->id);
	struct balloon_host *host = &round->host;
	host->total_bytes = site->roster->total_bytes - hugepage_bytes(facts);
	host->reserve_bytes = site->roster->reserve_bytes;
	host->available_bytes = BALLOON_UNKNOWN;
	host->swap_bytes = BALLOON_UNKNOWN;
	host->psi_some = host->psi_full = -1;
	host->wanted_bytes = balloon_room_wanted(site, &host->wanted_next_bytes);
	if (!sample->has_host)
		return;
	host->available_bytes = sample->host.memory_available_bytes;
	host->swap_bytes = swapped_bytes(site, &sample->host);
	if (sample->host.memory_pressure.some_us >= 0) {
		host->psi_some = sample->host.memory_pressure.some_avg10_percent;
		host->psi_full = sample->host.memory_pressure.full_avg10_percent;
	}
}

void balloon_round_gather(struct balloon_round *round)
{
	const struct balloon_site *site = round->site;
	round->policy = site->roster->policy;
	round->policy.period_ms = site->all->config.period_ms;
	gather_host(round);
	gather_guests(round);
}

void balloon_round_done(struct balloon_round *round)
{
	free(round->members);
	free(round->guests);
	free(round->vms);
	free(round->plans);
}

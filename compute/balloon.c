/* SPDX-License-Identifier: Apache-2.0 */
/* The balloon controller's hosts: who they are, when they are looked at. Core loop, but for the writer jobs. */
#include "compute/balloon.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "compute/balloon_internal.h"
#include "compute/balloon_store.h"
#include "compute/host.h"
#include "db/change_feed.h"
#include "hypervisor/host_directory.h"

#define CHANGES_PAUSE_MS 200 /* changes are read at most this often */

/* ---- sites ---- */

struct balloon_site *balloons_find(struct balloons *all, const char *host_id)
{
	return map_get(all->sites, host_id);
}

struct balloon_site *balloons_find_or_add(struct balloons *all, const char *host_id)
{
	struct balloon_site *site = balloons_find(all, host_id);
	if (site)
		return site;
	site = xcalloc(1, sizeof(*site));
	site->all = all;
	uuid_text_copy(site->id, host_id);
	site->guests = map_new();
	site->free_swap_bytes = -1;
	map_put(all->sites, site->id, site);
	return site;
}

struct balloon_live *balloons_find_guest(
        struct balloons *all, const char *host_id, const char *vm_id)
{
	struct balloon_site *site = balloons_find(all, host_id);
	return site ? map_get(site->guests, vm_id) : NULL;
}

static void free_site(struct balloon_site *site)
{
	loop_timer_free(site->timer);
	balloon_room_forget_all(site);
	size_t cursor = 0;
	void *guest;
	while (map_next(site->guests, &cursor, NULL, &guest))
		free(guest);
	map_free(site->guests);
	balloon_roster_free(site->roster);
	balloon_view_unref(site->view);
	free(site);
}

bool balloon_site_has_work(const struct balloon_site *site)
{
	return site->waiters || (site->roster && site->roster->has_work);
}

/* ---- when ---- */

static void on_timer(void *arg)
{
	struct balloon_site *site = arg;
	const struct balloons *all = site->all;
	if (!site->is_sampling && hosts_state(all->config.services->hosts, site->id) == HOST_OK)
		balloon_sample_submit(site);
}

/* Hosts are not all looked at in the same moment. */
static int64_t phase_of(const struct balloon_site *site)
{
	uint32_t hash = 2166136261u; /* FNV-1a */
	for (const char *it = site->id; *it; it++)
		hash = (hash ^ (unsigned char)*it) * 16777619u;
	return hash % site->all->config.period_ms;
}

/* The timer runs while there is something to do, or to find out. */
static void follow_work(struct balloon_site *site)
{
	const struct balloons_config *config = &site->all->config;
	bool is_wanted = balloon_site_has_work(site) || site->is_stale;
	if (is_wanted && !site->timer && !site->all->is_stopped) {
		site->timer = loop_timer_start(
		        config->services->loop, phase_of(site), config->period_ms, on_timer, site);
	} else if (!is_wanted && site->timer) {
		loop_timer_free(TAKE(site->timer));
		balloon_site_unpublish(site);
	}
}

void balloon_site_mark_stale(struct balloon_site *site)
{
	bool was_idle = !site->timer;
	site->is_stale = true;
	if (was_idle && !site->all->is_stopped)
		on_timer(site); /* now, not with the next tick */
	follow_work(site);
}

static void remove_site(struct balloon_site *site)
{
	map_remove(site->all->sites, site->id);
	balloon_site_unpublish(site);
	free_site(site);
}

/* ---- a look is back ---- */

static void adopt_booked(struct balloon_site *site, const struct balloon_sample *sample)
{
	size_t cursor = 0;
	void *value;
	if (sample->records != site->records)
		return; /* what it read may be older than what was written since */
	while (map_next(site->guests, &cursor, NULL, &value)) {
		struct balloon_live *guest = value;
		const struct balloon_member *m = balloon_roster_find(site->roster, guest->id);
		if (m)
			guest->recorded_bytes = m->booked_bytes;
	}
}

static void adopt_roster(struct balloon_site *site, struct balloon_sample *sample)
{
	if (!sample->roster)
		return;
	balloon_roster_free(site->roster);
	site->roster = TAKE(sample->roster);
	site->is_ksm_marked = site->roster->ksm_mark != NULL;
	adopt_booked(site, sample);
}

static void drop_gone_guests(struct balloon_site *site)
{
	size_t cursor = 0;
	const char *id;
	void *value;
	while (map_next(site->guests, &cursor, &id, &value)) {
		struct balloon_live *guest = value;
		if (guest->round == site->round)
			continue;
		map_remove(site->guests, id);
		free(guest);
	}
}

static void run_round(struct balloon_site *site, const struct balloon_sample *sample)
{
	struct balloon_round round CLEANUP(balloon_round_done) = {.site = site, .sample = sample};
	round.now_ms = clock_now_ms();
	round.wall_ms = clock_wall_ms();
	site->round++;
	balloon_room_settle(site, sample);
	balloon_round_gather(&round);
	balloon_plan(&round.policy, &round.host, &site->memory, round.vms, round.n, round.now_ms,
	        &round.plan, round.plans);
	site->plan_ms = round.now_ms;
	balloon_round_apply(&round);
	balloon_round_publish(&round);
	balloon_round_room(&round);
	drop_gone_guests(site);
}

void balloon_site_saw(struct balloon_site *site, struct balloon_sample *sample)
{
	site->is_sampling = false;
	if (site->all->is_stopped)
		return;
	if (sample)
		adopt_roster(site, sample);
	if (site->roster && !site->roster->host_name) {
		remove_site(site);
		return;
	}
	if (sample && sample->has_stats)
		run_round(site, sample);
	follow_work(site);
}

/* ---- the change feed says who is to be looked at ---- */

struct host_id {
	char id[UUID_TEXT_SIZE];
};
struct changes {
	struct balloons *all;
	bool is_first;
	VEC(struct host_id) hosts;
};

static void note_host(void *arg, const char *host_id)
{
	struct changes *changes = arg;
	struct host_id id;
	uuid_text_copy(id.id, host_id);
	VEC_PUSH(&changes->hosts, id);
}

static int read_changes(struct db *db, void *arg, struct err *e)
{
	struct changes *changes = arg;
	struct balloons *all = changes->all;
	if (!changes->is_first)
		return balloon_store_changed_hosts(
		        db, all->seen_seq, &all->seen_seq, note_host, changes, e);
	int rc = change_newest(db, &all->seen_seq, e);
	return rc < 0 ? rc : balloon_store_all_hosts(db, note_host, changes, e);
}

static void follow_change(struct balloons *all, const char *host_id)
{
	struct balloon_site *site = balloons_find(all, host_id);
	if (host_directory_get(all->config.services->directory, host_id))
		balloon_site_mark_stale(site ? site : balloons_find_or_add(all, host_id));
	else if (site && !site->waiters)
		remove_site(site);
}

static void on_changes_back(void *arg)
{
	struct changes *changes = arg;
	struct balloons *all = changes->all;
	all->is_reading_changes = false;
	VEC_FOR_EACH (&changes->hosts, host)
		if (!all->is_stopped)
			follow_change(all, host->id);
	VEC_DONE(&changes->hosts);
	free(changes);
}

/* Writer thread. */
static void on_changes_read(void *arg, int rc, const struct err *e)
{
	struct changes *changes = arg;
	if (rc < 0)
		log_err(LOG_LEVEL_WARNING, e, "what changed for the balloons could not be read");
	loop_post(changes->all->config.services->loop, on_changes_back, changes);
}

static void submit_changes(struct balloons *all, bool is_first)
{
	struct changes *changes = xcalloc(1, sizeof(*changes));
	changes->all = all;
	changes->is_first = is_first;
	all->is_reading_changes = true;
	writer_submit(all->config.services->writer,
	        (struct writer_job){.run = read_changes, .done = on_changes_read, .arg = changes});
}

static void on_changes_timer(void *arg)
{
	struct balloons *all = arg;
	loop_timer_free(TAKE(all->changes_timer));
	if (all->is_reading_changes)
		all->changes_timer = loop_timer_start(
		        all->config.services->loop, CHANGES_PAUSE_MS, 0, on_changes_timer, all);
	else
		submit_changes(all, /* is_first= */ false);
}

static void on_woken(void *arg)
{
	struct balloons *all = arg;
	all->is_woken = false;
	if (!all->changes_timer && !all->is_stopped)
		all->changes_timer = loop_timer_start(
		        all->config.services->loop, CHANGES_PAUSE_MS, 0, on_changes_timer, all);
}

/* Writer thread. */
static void wake(void *arg)
{
	struct balloons *all = arg;
	bool was_woken = false;
	if (atomic_compare_exchange_strong(&all->is_woken, &was_woken, true))
		loop_post(all->config.services->loop, on_woken, all);
}

/* ---- the whole ---- */

struct balloons *balloons_new(const struct balloons_config *config)
{
	struct balloons *all = xcalloc(1, sizeof(*all));
	all->config = *config;
	all->sites = map_new();
	all->views = map_new();
	all->currents = map_new();
	all->noises = map_new();
	all->noise_views = map_new();
	pthread_mutex_init(&all->lock, NULL);
	change_feed_listen((struct change_listener){.wake = wake, .arg = all});
	submit_changes(all, /* is_first= */ true);
	return all;
}

void balloons_stop(struct balloons *all)
{
	if (!all)
		return;
	all->is_stopped = true;
	loop_timer_free(TAKE(all->changes_timer));
	size_t cursor = 0;
	void *value;
	while (map_next(all->sites, &cursor, NULL, &value)) {
		struct balloon_site *site = value;
		loop_timer_free(TAKE(site->timer));
		balloon_room_forget_all(site);
	}
}

void balloons_free(struct balloons *all)
{
	if (!all)
		return;
	balloons_stop(all);
	size_t cursor = 0;
	void *value;
	while (map_next(all->sites, &cursor, NULL, &value)) {
		balloon_site_unpublish(value);
		free_site(value);
	}
	cursor = 0;
	while (map_next(all->currents, &cursor, NULL, &value))
		free(value);
	balloon_noise_free_all(all);
	balloon_noise_views_free(all);
	map_free(all->sites);
	map_free(all->views);
	map_free(all->currents);
	pthread_mutex_destroy(&all->lock);
	free(all);
}

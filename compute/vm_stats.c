/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Live counters: each host with running VMs is asked in bulk every 5 s (never waiting for a busy
 * domain); the newest answer of each host is kept behind a mutex that is held only to copy one
 * entry or to swap a pointer.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "compute/balloon.h"
#include "compute/room.h"
#include "compute/room_busy.h"
#include "compute/vm_live.h"
#include "hypervisor/host_directory.h"

#define STATS_PERIOD_MS  5000
#define STATS_TIMEOUT_MS 10000
#define STATS_FRESH_MS   15000 /* older counters say nothing of now */

struct vm_stats_entry {
	struct domain_stats stats;
	int64_t at_ms;
	char host_id[UUID_TEXT_SIZE];
};

struct vm_stats {
	pthread_mutex_t lock;
	struct map *entries; /* under lock: vm id -> struct vm_stats_entry (owned) */
	struct map *asking;  /* core loop: host ids with a call in flight */
};

struct stats_call {
	struct vms *vms;
	char host_id[UUID_TEXT_SIZE];
	struct domain_stats_list list;
	bool wants_host, has_host;
	struct host_stats host;
};

static void release_call(void *arg)
{
	struct stats_call *call = arg;
	domain_stats_list_done(&call->list);
	free(call);
}

static int run_stats(
        const struct driver *driver, struct driver_connection *c, void *arg, struct err *e)
{
	struct stats_call *call = arg;
	if (!driver->get_stats)
		return err_set(e, ERR_UNSUPPORTED, "no statistics from this host");
	int rc = driver->get_stats(c, STATS_ALL, &call->list, e);
	struct err ignored = {0}; /* what a host does not say is unknown, not an error */
	call->has_host = rc == 0 && call->wants_host && driver->get_host_stats &&
	                 driver->get_host_stats(c, &call->host, &ignored) == 0;
	return rc;
}

/* Entries of this host that the answer no longer has are dropped: those VMs do not run there. */
static void drop_old(struct vm_stats *stats, const char *host_id, int64_t at_ms)
{
	size_t cursor = 0;
	void *value;
	while (map_next(stats->entries, &cursor, NULL, &value)) {
		struct vm_stats_entry *entry = value;
		if (entry->at_ms == at_ms || strcmp(entry->host_id, host_id) != 0)
			continue;
		map_remove(stats->entries, entry->stats.id);
		free(entry);
	}
}

static void publish(struct vm_stats *stats, const struct stats_call *call)
{
	int64_t now = clock_wall_ms();
	LOCK_SCOPE(&stats->lock);
	for (size_t i = 0; i < call->list.len; i++) {
		const struct domain_stats *s = &call->list.items[i];
		struct vm_stats_entry *entry = map_get(stats->entries, s->id);
		if (!entry) {
			entry = xcalloc(1, sizeof(*entry));
			map_put(stats->entries, s->id, entry);
		}
		entry->stats = *s;
		entry->at_ms = now;
		memcpy(entry->host_id, call->host_id, sizeof(entry->host_id));
	}
	drop_old(stats, call->host_id, now);
}

static struct room_busy *busy_of(const struct vms *vms)
{
	struct room *room = vms->config.services->room;
	return room ? room_busy(room) : NULL;
}

static void on_stats(void *arg, int rc, const struct err *e)
{
	struct stats_call *call = arg;
	struct vm_stats *stats = call->vms->stats;
	(void)e;
	if (!stats)
		return;
	map_remove(stats->asking, call->host_id);
	if (rc < 0)
		return;
	publish(stats, call);
	if (call->has_host)
		room_busy_note(busy_of(call->vms), call->host_id, &call->host, clock_now_ms());
	struct balloons *balloons = call->vms->config.services->balloons;
	if (balloons)
		balloons_hear_stats(balloons, call->host_id, &call->list);
}

static void ask_host(struct vms *vms, const char *host_id)
{
	struct stats_call *call = xcalloc(1, sizeof(*call));
	struct room_busy *busy = busy_of(vms);
	call->vms = vms;
	call->wants_host = busy && room_busy_is_due(busy, host_id, clock_now_ms());
	uuid_text_copy(call->host_id, host_id);
	map_put(vms->stats->asking, host_id, vms);
	const struct lane_call lane_call = {
	        .class = LANE_BACKGROUND,
	        .timeout_ms = STATS_TIMEOUT_MS,
	        .run = run_stats,
	        .done = on_stats,
	        .release = release_call,
	        .arg = call,
	};
	host_directory_submit(vms->config.services->directory, call->host_id, &lane_call);
}

static void on_tick(void *arg)
{
	struct vms *vms = arg;
	struct map *asked = map_new();
	size_t cursor = 0;
	void *value;
	while (map_next(vms->live, &cursor, NULL, &value)) {
		const struct vm_live *live = value;
		if (live->power != POWER_RUNNING || map_put(asked, live->host_id, vms) ||
		        map_get(vms->stats->asking, live->host_id) ||
		        hosts_state(vms->config.services->hosts, live->host_id) != HOST_OK)
			continue;
		ask_host(vms, live->host_id);
	}
	map_free(asked);
}

void vms_start_stats(struct vms *vms)
{
	struct vm_stats *stats = xcalloc(1, sizeof(*stats));
	pthread_mutex_init(&stats->lock, NULL);
	stats->entries = map_new();
	stats->asking = map_new();
	vms->stats = stats;
	vms->stats_timer = loop_timer_start(
	        vms->config.services->loop, STATS_PERIOD_MS, STATS_PERIOD_MS, on_tick, vms);
}

void vms_free_stats(struct vms *vms)
{
	struct vm_stats *stats = TAKE(vms->stats);
	size_t cursor = 0;
	void *value;
	while (map_next(stats->entries, &cursor, NULL, &value))
		free(value);
	map_free(stats->entries);
	map_free(stats->asking);
	pthread_mutex_destroy(&stats->lock);
	free(stats);
}

bool vms_get_stats(
        struct vms *vms, const char *vm_id, struct domain_stats *ret_stats, int64_t *ret_at_ms)
{
	LOCK_SCOPE(&vms->stats->lock);
	const struct vm_stats_entry *entry = map_get(vms->stats->entries, vm_id);
	if (!entry)
		return false;
	*ret_stats = entry->stats;
	*ret_at_ms = entry->at_ms;
	return true;
}

/* Of this run of the guest, and not of long ago. */
static bool is_fresh(const struct vm_stats_entry *entry, const struct vm_row *row)
{
	return entry->at_ms >= row->power_since && entry->at_ms >= clock_wall_ms() - STATS_FRESH_MS;
}

int64_t vms_get_memory(struct vms *vms, const struct vm_row *row)
{
	struct balloons *balloons = vms->config.services->balloons;
	int64_t bytes;
	if (row->power != POWER_RUNNING && row->power != POWER_PAUSED)
		return -1;
	if (balloons && balloons_get_current(balloons, row->id, &bytes))
		return bytes;
	/* Where no guest gives memory, balloons are not looked at. */
	LOCK_SCOPE(&vms->stats->lock);
	const struct vm_stats_entry *entry = map_get(vms->stats->entries, row->id);
	return entry && is_fresh(entry, row) ? entry->stats.balloon_current_bytes : -1;
}

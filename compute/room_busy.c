/* SPDX-License-Identifier: Apache-2.0 */
/* From counters of the hosts' CPUs to steps of use. */
#include "compute/room_busy.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/map.h"

#define EVERY_MS     10000
#define FORGET_MS    60000
#define STEP_PERCENT 10

struct use {
	int64_t busy_ns, all_ns, at_ms; /* the counters when they were last taken */
	int64_t percent;                /* -1: not known */
};

struct room_busy {
	pthread_mutex_t lock;    /* a leaf; guards all of it */
	struct map *uses;        /* host id -> struct use (owned) */
	int64_t version;         /* grows when a percentage changes */
	int64_t next_forgets_ms; /* nothing is too old before */
};

struct room_busy *room_busy_new(void)
{
	struct room_busy *busy = xcalloc(1, sizeof(*busy));
	pthread_mutex_init(&busy->lock, NULL);
	busy->uses = map_new();
	busy->version = 1;
	return busy;
}

void room_busy_free(struct room_busy *busy)
{
	size_t cursor = 0;
	void *use;
	if (!busy)
		return;
	while (map_next(busy->uses, &cursor, NULL, &use))
		free(use);
	map_free(busy->uses);
	pthread_mutex_destroy(&busy->lock);
	free(busy);
}

bool room_busy_is_due(struct room_busy *busy, const char *host_id, int64_t now_ms)
{
	LOCK_SCOPE(&busy->lock);
	const struct use *use = map_get(busy->uses, host_id);
	return !use || now_ms - use->at_ms >= EVERY_MS;
}

static int64_t known(int64_t value)
{
	return value > 0 ? value : 0;
}

/* -1: the host was started anew, or was silent for so long that it says nothing of now. */
static int64_t measure(const struct use *before, const struct use *now)
{
	int64_t all = now->all_ns - before->all_ns, busy = now->busy_ns - before->busy_ns;
	if (now->at_ms - before->at_ms >= FORGET_MS || busy < 0 || all <= 0 || busy > all)
		return -1;
	int64_t percent = (int64_t)((double)busy / (double)all * 100);
	return (percent + STEP_PERCENT / 2) / STEP_PERCENT * STEP_PERCENT;
}

static void set_percent(struct room_busy *busy, struct use *use, int64_t percent)
{
	if (use->percent != percent)
		busy->version++;
	use->percent = percent;
}

void room_busy_note(
        struct room_busy *busy, const char *host_id, const struct host_stats *stats, int64_t now_ms)
{
	if (stats->cpu_busy_ns < 0 || stats->cpu_idle_ns < 0)
		return;
	struct use now = {.busy_ns = stats->cpu_busy_ns,
	        .all_ns = stats->cpu_busy_ns + stats->cpu_idle_ns + known(stats->cpu_iowait_ns),
	        .at_ms = now_ms,
	        .percent = -1};
	LOCK_SCOPE(&busy->lock);
	struct use *use = map_get(busy->uses, host_id);
	if (!use) {
		use = xmemdup(&now, sizeof(now));
		map_put(busy->uses, host_id, use);
	} else if (now_ms - use->at_ms >= EVERY_MS) {
		set_percent(busy, use, measure(use, &now));
		now.percent = use->percent;
		*use = now;
	}
}

/* Under the lock. */
static void forget_old(struct room_busy *busy, int64_t now_ms)
{
	size_t cursor = 0;
	void *value;
	if (now_ms < busy->next_forgets_ms)
		return;
	busy->next_forgets_ms = now_ms + FORGET_MS;
	while (map_next(busy->uses, &cursor, NULL, &value)) {
		struct use *use = value;
		if (use->percent < 0)
			continue;
		if (now_ms - use->at_ms >= FORGET_MS)
			set_percent(busy, use, -1);
		else if (use->at_ms + FORGET_MS < busy->next_forgets_ms)
			busy->next_forgets_ms = use->at_ms + FORGET_MS;
	}
}

void room_busy_apply(
        struct room_busy *busy, int64_t *version, struct inventory *inventory, int64_t now_ms)
{
	size_t cursor = 0;
	const char *host_id;
	void *value;
	LOCK_SCOPE(&busy->lock);
	forget_old(busy, now_ms);
	if (*version == busy->version)
		return;
	while (map_next(busy->uses, &cursor, &host_id, &value))
		inventory_set_host_busy(inventory, host_id, ((const struct use *)value)->percent);
	*version = busy->version;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The pool monitor: who is due, the calls, and handing on what they find. */
#include "storage/pool_monitor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/str.h"
#include "db/writer.h"
#include "hypervisor/host_directory.h"
#include "operation/services.h"
#include "storage/pool_look.h"

#define DEADLINE_MS       10000
#define QUEUE_DEADLINE_MS 60000
#define TICKS_PER_PERIOD  30 /* how finely looks are spread: each second, by default */
#define TICK_MIN_MS       20
#define CONFIRM_MS        2000 /* a new drift is looked at again before it is believed */

typedef VEC(struct pool_finding) finding_vector;

struct pool_monitor {
	struct pool_monitor_config config;
	struct map *entries; /* "POOL HOST" -> struct entry */
	struct map *listed;  /* shared pools: pool -> struct entry that lists its volumes */
	struct loop_timer *timer;
	finding_vector findings; /* not handed to the writer yet */
	int64_t refresh_at_ms;
	bool is_refreshing, refresh_again;
	bool is_stopping;
};

struct entry {
	struct pool_pair pair;
	int64_t next_ms;
	int looks_until_list;
	bool is_looking;
	bool is_wanted;                /* is in the newest listing */
	struct drift_verdicts earlier; /* of the last list */
};

static char *entry_key(const char *pool_id, const char *host_id)
{
	return str_format("%s %s", pool_id, host_id);
}

static struct entry *find_entry(
        const struct pool_monitor *m, const char *pool_id, const char *host_id)
{
	char *key CLEANUP(cleanup_free) = entry_key(pool_id, host_id);
	return map_get(m->entries, key);
}

/* ---- handing on what was found ---- */

struct batch {
	finding_vector findings;
};

static int run_batch(struct db *db, void *arg, struct err *e)
{
	struct batch *batch = arg;
	int rc = 0;
	VEC_FOR_EACH (&batch->findings, finding) {
		if (rc == 0)
			rc = pool_finding_record(db, finding, e);
	}
	return rc;
}

/* Writer thread. What is lost here is found again by the next look. */
static void batch_done(void *arg, int rc, const struct err *e)
{
	struct batch *batch = arg;
	if (rc < 0 && rc != ERR_UNAVAILABLE)
		log_err(LOG_LEVEL_WARNING, e, "what was found of storage pools is not recorded");
	VEC_FOR_EACH (&batch->findings, finding) {
		pool_finding_done(finding);
	}
	VEC_DONE(&batch->findings);
	free(batch);
}

/* One transaction for all that came since the last tick. */
static void flush(struct pool_monitor *m)
{
	if (m->findings.len == 0)
		return;
	struct batch *batch = xcalloc(1, sizeof(*batch));
	batch->findings = m->findings;
	m->findings = (finding_vector){0};
	writer_submit(m->config.services->writer,
	        (struct writer_job){.run = run_batch, .done = batch_done, .arg = batch});
}

/* ---- one look ---- */

struct look {
	struct pool_monitor *monitor;
	struct pool_look look;
};

static int run_look(
        const struct driver *driver, struct driver_connection *c, void *arg, struct err *e)
{
	return pool_look_run(driver, c, &((struct look *)arg)->look, e);
}

/* ---- what it means (core loop) ---- */

/* A new one that waits for the next tick; borrowed until another is added. */
static struct pool_finding *add_finding(
        struct pool_monitor *m, const struct pool_look *look, const char *state, const char *reason)
{
	struct pool_finding finding = {
	        .host = {.state = xstrdup(state), .reason = xstrdup(reason)}};
	uuid_text_copy(finding.pool_id, look->pair.pool_id);
	uuid_text_copy(finding.host.host_id, look->pair.host_id);
	VEC_PUSH(&m->findings, finding);
	return &m->findings.items[m->findings.len - 1];
}

/* What is new must be seen twice; meanwhile the next look comes soon. */
static void take_verdicts(
        struct entry *entry, struct pool_look *look, struct pool_finding *finding, int64_t now)
{
	finding->has_list = true;
	size_t n_left_out =
	        pool_drift_confirm(&look->verdicts, &entry->earlier, &finding->verdicts);
	drift_verdicts_done(&entry->earlier);
	entry->earlier = look->verdicts;
	look->verdicts = (struct drift_verdicts){0};
	if (n_left_out == 0)
		return;
	entry->looks_until_list = 1;
	if (now + CONFIRM_MS < entry->next_ms)
		entry->next_ms = now + CONFIRM_MS;
}

static void take_numbers(struct pool_monitor *m, struct entry *entry, struct pool_look *look)
{
	struct pool_finding *finding = add_finding(m, look, "ok", "");
	finding->host.capacity_bytes = look->info.capacity_bytes;
	finding->host.allocation_bytes = look->info.allocation_bytes;
	finding->host.available_bytes = look->info.available_bytes;
	finding->host.checked_at = clock_wall_ms();
	finding->warn_percent = look->warn_percent;
	if (look->wants_list)
		take_verdicts(entry, look, finding, clock_now_ms());
}

/* No answer from the host, or none of the pool's doing: its last state holds. */
static bool tells_nothing(const struct pool_monitor *m, const struct pool_look *look, int rc)
{
	const struct host_connection *c =
	        host_directory_get(m->config.services->directory, look->pair.host_id);
	if (!c || host_connection_state(c) != HOST_OK || rc == ERR_CANCELLED || rc == ERR_BUSY)
		return true;
	return rc != ERR_VM_STUCK && !atomic_load(&look->has_begun);
}

static void look_done(void *arg, int rc, const struct err *e)
{
	struct pool_monitor *m = ((struct look *)arg)->monitor;
	struct pool_look *look = &((struct look *)arg)->look;
	struct entry *entry = find_entry(m, look->pair.pool_id, look->pair.host_id);
	if (m->is_stopping || !entry)
		return;
	if (rc < 0 && look->wants_list)
		entry->looks_until_list = 1; /* owed */
	if (tells_nothing(m, look, rc) || (rc == 0 && look->is_gone))
		return;
	if (rc == 0)
		take_numbers(m, entry, look);
	else if (rc == ERR_DEADLINE || rc == ERR_VM_STUCK)
		add_finding(m, look, "unknown", "a call to its storage hangs");
	else
		add_finding(m, look, "error", e->message);
}

/* Core loop, when the call has returned, however late: one that was given up tells that the storage answers again. */
static void look_release(void *arg)
{
	struct look *look = arg;
	const struct pool_pair *pair = &look->look.pair;
	struct entry *entry = find_entry(look->monitor, pair->pool_id, pair->host_id);
	if (entry) {
		entry->is_looking = false;
		if (clock_now_ms() > entry->next_ms)
			entry->next_ms = 0;
	}
	drift_verdicts_done(&look->look.verdicts);
	free(look);
}

/* ---- who is due ---- */

/* A shared pool's volumes are listed by one of its hosts; another takes over when that one is gone. */
static bool lists(struct pool_monitor *m, struct entry *entry)
{
	if (!entry->pair.is_shared)
		return true;
	const struct entry *chosen = map_get(m->listed, entry->pair.pool_id);
	const struct host_connection *c =
	        chosen ? host_directory_get(m->config.services->directory, chosen->pair.host_id)
	               : NULL;
	if (c && host_connection_state(c) == HOST_OK)
		return chosen == entry;
	map_put(m->listed, entry->pair.pool_id, entry);
	return true;
}

/* Spread a little, so that the looks at many hosts drift apart. */
static int64_t next_due(const struct pool_monitor *m, int64_t now)
{
	int64_t period = m->config.check_ms;
	return now + period - period / 16 + (int64_t)random() % (period / 8 + 1);
}

static bool is_list_due(struct pool_monitor *m, struct entry *entry)
{
	if (m->config.drift_every <= 0 || --entry->looks_until_list > 0)
		return false;
	entry->looks_until_list = m->config.drift_every;
	return lists(m, entry);
}

static void start_look(struct pool_monitor *m, struct entry *entry, int64_t now)
{
	struct look *look = xcalloc(1, sizeof(*look));
	look->monitor = m;
	look->look.readers = m->config.services->readers;
	look->look.pair = entry->pair;
	look->look.wants_list = is_list_due(m, entry);
	entry->is_looking = true;
	entry->next_ms = next_due(m, now);
	const struct lane_call call = {
	        .class = LANE_BACKGROUND,
	        .domain = entry->pair.pool_id,
	        .timeout_ms = m->config.deadline_ms,
	        .queue_timeout_ms = QUEUE_DEADLINE_MS,
	        .run = run_look,
	        .done = look_done,
	        .release = look_release,
	        .arg = look,
	};
	host_directory_submit(m->config.services->directory, entry->pair.host_id, &call);
}

static bool is_due(const struct pool_monitor *m, const struct entry *entry, int64_t now)
{
	const struct host_connection *c =
	        host_directory_get(m->config.services->directory, entry->pair.host_id);
	return !entry->is_looking && now >= entry->next_ms && c &&
	       host_connection_state(c) == HOST_OK;
}

static void on_tick(void *arg)
{
	struct pool_monitor *m = arg;
	int64_t now = clock_now_ms();
	size_t cursor = 0;
	void *value;
	flush(m);
	if (now >= m->refresh_at_ms)
		pool_monitor_refresh(m);
	while (map_next(m->entries, &cursor, NULL, &value))
		if (is_due(m, value, now))
			start_look(m, value, now);
}

/* ---- the listing of pairs ---- */

struct listing {
	struct pool_monitor *monitor;
	struct pool_pairs pairs;
	int rc;
};

static void free_entry(struct pool_monitor *m, struct entry *entry)
{
	if (map_get(m->listed, entry->pair.pool_id) == entry)
		map_remove(m->listed, entry->pair.pool_id);
	drift_verdicts_done(&entry->earlier);
	free(entry);
}

static void want_entry(struct pool_monitor *m, const struct pool_pair *pair)
{
	char *key CLEANUP(cleanup_free) = entry_key(pair->pool_id, pair->host_id);
	struct entry *entry = map_get(m->entries, key);
	if (!entry) {
		entry = xcalloc(1, sizeof(*entry));
		entry->looks_until_list = 1;
		map_put(m->entries, key, entry);
	}
	entry->pair = *pair;
	entry->is_wanted = true;
}

static void drop_unwanted(struct pool_monitor *m)
{
	size_t cursor = 0;
	const char *key;
	void *value;
	while (map_next(m->entries, &cursor, &key, &value)) {
		struct entry *entry = value;
		if (!entry->is_wanted) {
			map_remove(m->entries, key);
			free_entry(m, entry);
		} else {
			entry->is_wanted = false;
		}
	}
}

/* Core loop. */
static void apply_listing(void *arg)
{
	struct listing *listing = arg;
	struct pool_monitor *m = listing->monitor;
	m->is_refreshing = false;
	if (listing->rc == 0 && !m->is_stopping) {
		for (size_t i = 0; i < listing->pairs.len; i++)
			want_entry(m, &listing->pairs.items[i]);
		drop_unwanted(m);
		on_tick(m);
	}
	pool_pairs_done(&listing->pairs);
	free(listing);
	if (m->refresh_again && !m->is_stopping)
		pool_monitor_refresh(m);
}

static int run_listing(struct db *db, void *arg, struct err *e)
{
	struct listing *listing = arg;
	return pool_monitor_store_pairs(db, &listing->pairs, e);
}

static void listing_done(void *arg, int rc, const struct err *e)
{
	struct listing *listing = arg;
	(void)e;
	listing->rc = rc;
	loop_post(listing->monitor->config.services->loop, apply_listing, listing);
}

static void refresh_on_loop(void *arg)
{
	struct pool_monitor *m = arg;
	if (m->is_stopping)
		return;
	m->refresh_again = m->is_refreshing;
	if (m->is_refreshing)
		return;
	m->is_refreshing = true;
	m->refresh_at_ms = clock_now_ms() + m->config.check_ms;
	struct listing *listing = xcalloc(1, sizeof(*listing));
	listing->monitor = m;
	writer_submit(m->config.services->writer,
	        (struct writer_job){.run = run_listing, .done = listing_done, .arg = listing});
}

void pool_monitor_refresh(struct pool_monitor *m)
{
	if (m)
		loop_post(m->config.services->loop, refresh_on_loop, m);
}

/* ---- asked for ---- */

struct check {
	struct pool_monitor *monitor;
	char pool_id[UUID_TEXT_SIZE];
};

static void check_on_loop(void *arg)
{
	struct check *check = arg;
	struct pool_monitor *m = check->monitor;
	size_t cursor = 0;
	void *value;
	while (map_next(m->entries, &cursor, NULL, &value)) {
		struct entry *entry = value;
		if (!str_equal(entry->pair.pool_id, check->pool_id))
			continue;
		entry->next_ms = 0;
		entry->looks_until_list = 1;
	}
	if (!m->is_stopping)
		on_tick(m);
	free(check);
}

void pool_monitor_check(struct pool_monitor *m, const char *pool_id)
{
	if (!m)
		return;
	struct check *check = xcalloc(1, sizeof(*check));
	check->monitor = m;
	uuid_text_copy(check->pool_id, pool_id);
	loop_post(m->config.services->loop, check_on_loop, check);
}

void pool_monitor_host_up(struct pool_monitor *m, const char *host_id)
{
	size_t cursor = 0;
	void *value;
	while (map_next(m->entries, &cursor, NULL, &value)) {
		struct entry *entry = value;
		if (str_equal(entry->pair.host_id, host_id))
			entry->next_ms = 0;
	}
	pool_monitor_refresh(m); /* it may be a new one; the look follows when it is "ok" */
}

/* ---- life ---- */

struct pool_monitor *pool_monitor_new(const struct pool_monitor_config *config)
{
	struct pool_monitor *m = xcalloc(1, sizeof(*m));
	m->config = *config;
	if (m->config.deadline_ms <= 0)
		m->config.deadline_ms = DEADLINE_MS;
	m->entries = map_new();
	m->listed = map_new();
	int64_t tick_ms = m->config.check_ms / TICKS_PER_PERIOD;
	if (tick_ms < TICK_MIN_MS)
		tick_ms = TICK_MIN_MS;
	m->timer = loop_timer_start(config->services->loop, 0, tick_ms, on_tick, m);
	return m;
}

void pool_monitor_stop(struct pool_monitor *m)
{
	if (!m)
		return;
	flush(m);
	m->is_stopping = true;
	loop_timer_free(TAKE(m->timer));
}

void pool_monitor_free(struct pool_monitor *m)
{
	if (!m)
		return;
	size_t cursor = 0;
	void *value;
	while (map_next(m->entries, &cursor, NULL, &value))
		free_entry(m, value);
	VEC_FOR_EACH (&m->findings, finding) {
		pool_finding_done(finding);
	}
	VEC_DONE(&m->findings);
	map_free(m->entries);
	map_free(m->listed);
	free(m);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Recording what a look at a pool found: how the host sees it, its layers, and the events that follow. Writer. */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json_writer.h"
#include "base/str.h"
#include "db/change_feed.h"
#include "storage/pool_monitor_store.h"

#define HYSTERESIS_POINTS 5

void pool_finding_done(struct pool_finding *finding)
{
	pool_host_done(&finding->host);
	drift_verdicts_done(&finding->verdicts);
}

bool pool_is_filling(
        bool was_filling, int64_t allocation_bytes, int64_t capacity_bytes, int64_t warn_percent)
{
	if (capacity_bytes <= 0)
		return was_filling;
	double percent = 100.0 * (double)allocation_bytes / (double)capacity_bytes;
	int64_t limit = was_filling ? warn_percent - HYSTERESIS_POINTS : warn_percent;
	return percent >= (double)limit;
}

/* ---- events ---- */

static int add_pool_change(struct db *db, const struct pool_row *pool, const char *event,
        struct json_writer *data, struct err *e)
{
	const struct change change = {
	        .kind = "pool",
	        .event = event,
	        .object_id = pool->id,
	        .name = pool->name,
	        .data = str_text(&data->out),
	};
	return change_add(db, &change, e);
}

static int tell_state(struct db *db, const struct pool_row *pool, const struct pool_host *before,
        const struct pool_host *now, struct err *e)
{
	struct json_writer data CLEANUP(json_writer_done) = {0};
	bool is_news = before->is_seen ? !str_equal(before->state, now->state)
	                               : !str_equal(now->state, "ok");
	if (!is_news)
		return 0;
	json_object_begin(&data);
	json_member_string(&data, "host", before->host);
	json_member_string(&data, "state", now->state);
	json_member_string(&data, "reason", now->reason);
	json_member_time(&data, "since", now->since);
	json_object_end(&data);
	return add_pool_change(db, pool, "state", &data, e);
}

static int tell_filling(struct db *db, const struct pool_row *pool, const char *host,
        const struct pool_finding *finding, struct err *e)
{
	const struct pool_host *now = &finding->host;
	struct json_writer data CLEANUP(json_writer_done) = {0};
	json_object_begin(&data);
	json_member_string(&data, "host", host);
	json_member_int(&data, "used_percent",
	        (int64_t)(100.0 * (double)now->allocation_bytes / (double)now->capacity_bytes));
	json_member_int(&data, "warn_percent", finding->warn_percent);
	json_member_int(&data, "capacity_bytes", now->capacity_bytes);
	json_member_int(&data, "allocation_bytes", now->allocation_bytes);
	json_member_int(&data, "available_bytes", now->available_bytes);
	json_object_end(&data);
	return add_pool_change(db, pool, "filling", &data, e);
}

/* All hosts see the same space of a shared pool: one of them is enough to warn. */
static int was_told(struct db *db, const struct pool_row *pool, bool *ret_told, struct err *e)
{
	struct pool_host_list hosts CLEANUP(pool_host_list_done) = {0};
	*ret_told = false;
	if (!pool->shared)
		return 0;
	int rc = pool_store_hosts(db, pool->id, &hosts, e);
	for (size_t i = 0; i < hosts.len; i++)
		*ret_told |= hosts.items[i].warned;
	return rc;
}

static int check_filling(struct db *db, const struct pool_row *pool, const struct pool_host *before,
        struct pool_finding *finding, struct err *e)
{
	struct pool_host *now = &finding->host;
	bool is_told;
	now->warned = pool_is_filling(
	        before->warned, now->allocation_bytes, now->capacity_bytes, finding->warn_percent);
	if (!now->warned || before->warned)
		return 0;
	int rc = was_told(db, pool, &is_told, e);
	return rc < 0 || is_told ? rc : tell_filling(db, pool, before->host, finding, e);
}

/* ---- the host's view ---- */

static void keep_numbers(const struct pool_host *before, struct pool_host *now)
{
	now->capacity_bytes = before->capacity_bytes;
	now->allocation_bytes = before->allocation_bytes;
	now->available_bytes = before->available_bytes;
	now->checked_at = before->checked_at;
	now->warned = before->warned;
}

static int record_host(
        struct db *db, const struct pool_row *pool, struct pool_finding *finding, struct err *e)
{
	struct pool_host before CLEANUP(pool_host_done) = {0};
	struct pool_host *now = &finding->host;
	int rc = pool_store_host(db, pool->id, now->host_id, &before, e);
	if (rc < 0)
		return rc;
	bool is_same = before.is_seen && str_equal(before.state, now->state);
	now->since = is_same ? before.since : clock_wall_ms();
	if (str_equal(now->state, "ok"))
		rc = check_filling(db, pool, &before, finding, e);
	else
		keep_numbers(&before, now);
	if (rc == 0)
		rc = pool_store_put_host(db, pool->id, now, e);
	return rc < 0 ? rc : tell_state(db, pool, &before, now, e);
}

/* ---- drift ---- */

static int tell_drift(
        struct db *db, const char *id, const char *name, const char *drift, struct err *e)
{
	struct json_writer data CLEANUP(json_writer_done) = {0};
	json_object_begin(&data);
	json_member_string(&data, "drift", drift);
	json_object_end(&data);
	const struct change change = {
	        .kind = "volume",
	        .event = "drift",
	        .object_id = id,
	        .name = name,
	        .data = str_text(&data.out),
	};
	return change_add(db, &change, e);
}

/* A volume's drift is that of its layers and of those they stand on. */
static int follow_volume(
        struct db *db, const char *id, const char *name, const char *before, struct err *e)
{
	char *drift CLEANUP(cleanup_free) = NULL;
	int rc = pool_monitor_store_find_drift(db, id, &drift, e);
	if (rc < 0 || str_equal(before, drift))
		return rc;
	rc = pool_monitor_store_set_drift(db, id, drift, e);
	return rc < 0 ? rc : tell_drift(db, id, name, drift, e);
}

static int record_layer(struct db *db, const struct drift_verdict *verdict, struct err *e)
{
	bool is_changed;
	int rc = pool_monitor_store_put_layer(db, verdict, &is_changed, e);
	if (rc < 0 || !is_changed) /* changed by others: the next listing tells */
		return rc;
	return pool_monitor_store_above(db, verdict->layer_id, follow_volume, e);
}

static int record_layers(struct db *db, const struct pool_finding *finding, struct err *e)
{
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < finding->verdicts.len; i++)
		rc = record_layer(db, &finding->verdicts.items[i], e);
	/* Whose layer was deleted or merged since is well again. */
	return rc < 0 ? rc : pool_monitor_store_drifted(db, finding->pool_id, follow_volume, e);
}

int pool_finding_record(struct db *db, struct pool_finding *finding, struct err *e)
{
	struct pool_row pool CLEANUP(pool_row_done) = {0};
	int rc = pool_store_get(db, finding->pool_id, &pool, e);
	if (rc == 0 && str_equal(pool.state, "ready"))
		rc = record_host(db, &pool, finding, e);
	if (rc == 0 && finding->has_list)
		rc = record_layers(db, finding, e);
	if (rc != ERR_NOT_FOUND && rc != ERR_REFERENCE)
		return rc;
	err_clear(e);
	return 0;
}

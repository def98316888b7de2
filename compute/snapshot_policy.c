/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of snapshot policies. */
#include "compute/snapshot_policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "compute/snapshot_policy_internal.h"
#include "compute/snapshot_policy_store.h"
#include "db/change_feed.h"
#include "storage/layer.h"

#define MINUTE_MS    ((int64_t)60000)
#define DAY_MS       (24 * 60 * MINUTE_MS)
#define FORECAST_VMS 200

/* ---- fields ---- */

#define OF(member) .offset = offsetof(struct snapshot_policy_spec, member)

static const struct field schedule_fields[] = {
        {.name = "every_minutes",
                .type = FIELD_INT,
                .offset = offsetof(struct snapshot_schedule, every_minutes),
                .max = 366 * 24 * 60,
                .doc = "Minutes from one run to the next; 0: daily_at instead"},
        {.name = "daily_at",
                .type = FIELD_STRING,
                .offset = offsetof(struct snapshot_schedule, daily_at),
                .max = 5,
                .format = "HH:MM",
                .doc = "Once a day at this time, UTC"},
};
static const struct field_table schedule_table =
        FIELD_TABLE("SnapshotSchedule", struct snapshot_schedule, schedule_fields);

#define CONFIG_FIELDS                                                                              \
	{.name = "description",                                                                    \
	        .type = FIELD_STRING,                                                              \
	        OF(description),                                                                   \
	        .max = 1024,                                                                       \
	        .doc = "What it is for"},                                                          \
	        {.name = "selector",                                                               \
	                .type = FIELD_OBJECT,                                                      \
	                OF(selector),                                                              \
	                .sub = &snapshot_selector_fields,                                          \
	                .doc = "Which VMs; looked up anew for each run"},                          \
	        {.name = "schedule",                                                               \
	                .type = FIELD_OBJECT,                                                      \
	                OF(schedule),                                                              \
	                .sub = &schedule_table,                                                    \
	                .doc = "When: every_minutes or daily_at"},                                 \
	        {.name = "keep",                                                                   \
	                .type = FIELD_INT,                                                         \
	                OF(keep),                                                                  \
	                .min = 1,                                                                  \
	                .max = 1000,                                                               \
	                .default_text = "7",                                                       \
	                .doc = "How many of its snapshots each VM keeps; the oldest go first"},    \
	        {.name = "expire_after_hours",                                                     \
	                .type = FIELD_INT,                                                         \
	                OF(expire_after_hours),                                                    \
	                .max = 10 * 366 * 24,                                                      \
	                .doc = "Hours after which a snapshot is deleted; 0: no limit"},            \
	        {.name = "memory",                                                                 \
	                .type = FIELD_BOOL,                                                        \
	                OF(memory),                                                                \
	                .doc = "With the memory of running VMs"},                                  \
	        {.name = "quiesce",                                                                \
	                .type = FIELD_BOOL,                                                        \
	                OF(quiesce),                                                               \
	                .doc = "Freeze the filesystems of running guests meanwhile"},              \
	{                                                                                          \
		.name = "enabled", .type = FIELD_BOOL, OF(enabled), .default_text = "true",        \
		.doc = "false: it does not run by itself"                                          \
	}

static const struct field config_fields[] = {CONFIG_FIELDS};
static const struct field_table config_table =
        FIELD_TABLE("SnapshotPolicyConfig", struct snapshot_policy_spec, config_fields);

#define NAME_FIELD                                                                                 \
	{                                                                                          \
		.name = "name", .type = FIELD_STRING, OF(name), .flags = FIELD_REQUIRED,           \
		.max = SNAPSHOT_POLICY_NAME_MAX, .check = field_check_name,                        \
		.format = "^[a-z][a-z0-9-]{0,46}$",                                                \
		.doc = "Unique name; its snapshots are named NAME-YYYYMMDD-HHMMSS"                 \
	}

static const struct field write_fields[] = {NAME_FIELD, CONFIG_FIELDS};
const struct field_table snapshot_policy_write_fields =
        FIELD_TABLE("SnapshotPolicyWrite", struct snapshot_policy_spec, write_fields);

#define READ_ONLY .flags = FIELD_READ_ONLY
static const struct field answer_fields[] = {
        {.name = "id", .type = FIELD_STRING, READ_ONLY, .doc = "UUID"},
        {.name = "name", .type = FIELD_STRING, OF(name), .doc = "Unique name"},
        CONFIG_FIELDS,
        {.name = "next_run_at",
                .type = FIELD_TIME,
                .flags = FIELD_READ_ONLY | FIELD_NULLABLE,
                .doc = "When it runs next; null: not by itself"},
        {.name = "last_run_at",
                .type = FIELD_TIME,
                .flags = FIELD_READ_ONLY | FIELD_NULLABLE,
                .doc = "When it ran last"},
        {.name = "last_result",
                .type = FIELD_JSON,
                .flags = FIELD_READ_ONLY | FIELD_NULLABLE,
                .doc = "Of that run: {operation, snapshots, deleted, failed: {VM: why}}"},
        {.name = "forecast",
                .type = FIELD_JSON,
                .flags = FIELD_READ_ONLY | FIELD_NULLABLE,
                .doc = "Of the VM with the longest chain: {vm, depth, limit, reached_at}; from "
                       "reached_at on fewer than `keep` fit; null in lists"},
        {.name = "created_at", .type = FIELD_TIME, READ_ONLY, .doc = "Time of creation"},
        {.name = "version",
                .type = FIELD_INT,
                READ_ONLY,
                .doc = "Counts changes of the configuration"},
};
const struct field_table snapshot_policy_fields =
        FIELD_TABLE("SnapshotPolicy", struct snapshot_policy_spec, answer_fields);

void snapshot_policy_spec_done(struct snapshot_policy_spec *spec)
{
	field_release(&snapshot_policy_write_fields, spec);
}

void snapshot_policy_row_done(struct snapshot_policy_row *row)
{
	snapshot_policy_spec_done(&row->spec);
	free(row->last_result);
	row->last_result = NULL;
}

int snapshot_policy_load(const char *stored, struct snapshot_policy_spec *ret_spec, struct err *e)
{
	struct field_errors errors = {0};
	json_t *json = json_loads(stored, 0, NULL);
	int rc = json ? field_decode(&config_table, json, FIELD_DECODE_STORED, ret_spec, &errors)
	              : ERR_INVALID;
	json_decref(json);
	return rc < 0 ? err_set(e, ERR_INTERNAL, "a stored snapshot policy is invalid") : 0;
}

/* ---- pure ---- */

/* Minutes since midnight, or -1. */
static int64_t parse_daily(const char *text)
{
	int hours = 0, minutes = 0, used = 0;
	if (strlen(text) != 5 || sscanf(text, "%2d:%2d%n", &hours, &minutes, &used) != 2 ||
	        used != 5 || text[0] < '0' || text[3] < '0' || text[0] > '9' || text[3] > '9' ||
	        hours > 23 || minutes > 59)
		return -1;
	return hours * 60 + minutes;
}

static int check_schedule(const struct snapshot_schedule *schedule, struct err *e)
{
	bool is_daily = !str_is_empty(schedule->daily_at);
	if ((schedule->every_minutes > 0) == is_daily)
		return err_set_at(
		        e, ERR_INVALID, "/schedule", "must have one of every_minutes and daily_at");
	if (is_daily && parse_daily(schedule->daily_at) < 0)
		return err_set_at(e, ERR_INVALID, "/schedule/daily_at",
		        "must be a time of day such as 23:30 (UTC), not \"%s\"",
		        schedule->daily_at);
	return 0;
}

int snapshot_policy_check(const struct snapshot_policy_spec *spec, struct err *e)
{
	int rc = snapshot_selector_check(&spec->selector, "/selector", e);
	if (rc == 0)
		rc = check_schedule(&spec->schedule, e);
	if (rc == 0 && spec->memory && spec->quiesce)
		return err_set_at(e, ERR_INVALID, "/quiesce",
		        "a snapshot with memory needs no quiescing: the guest goes on where it "
		        "was");
	return rc;
}

/* The first slot_ms + k * period after now. */
static int64_t next_on_grid(int64_t slot_ms, int64_t period_ms, int64_t now_ms)
{
	if (now_ms < slot_ms)
		return slot_ms;
	return slot_ms + ((now_ms - slot_ms) / period_ms + 1) * period_ms;
}

int64_t snapshot_schedule_next(
        const struct snapshot_schedule *schedule, int64_t slot_ms, int64_t now_ms)
{
	if (schedule->every_minutes > 0)
		return next_on_grid(slot_ms, schedule->every_minutes * MINUTE_MS, now_ms);
	int64_t minutes = schedule->daily_at ? parse_daily(schedule->daily_at) : -1;
	if (minutes < 0)
		return INT64_MAX;
	return next_on_grid(now_ms / DAY_MS * DAY_MS + minutes * MINUTE_MS, DAY_MS, now_ms);
}

char *snapshot_policy_make_name(const char *policy, int64_t at_ms)
{
	time_t seconds = (time_t)(at_ms / 1000);
	struct tm tm;
	char stamp[32];
	gmtime_r(&seconds, &tm);
	strftime(stamp, sizeof(stamp), "%Y%m%d-%H%M%S", &tm);
	return str_format("%s-%s", policy, stamp);
}

static int64_t period_of(const struct snapshot_schedule *schedule)
{
	return schedule->every_minutes > 0 ? schedule->every_minutes * MINUTE_MS : DAY_MS;
}

void snapshot_policy_forecast(const struct snapshot_policy_spec *spec, int64_t next_run_at,
        struct snapshot_forecast *forecast)
{
	/* A new one is made before the oldest goes, so keep + 1 must fit beside what is not ours. */
	int64_t others = forecast->depth - forecast->own;
	int64_t room = forecast->limit - forecast->depth;
	forecast->reached_at = 0;
	if (others + spec->keep + 1 <= forecast->limit || next_run_at == INT64_MAX)
		return;
	forecast->reached_at = next_run_at + (room > 0 ? room : 0) * period_of(&spec->schedule);
}

/* ---- mutations ---- */

int snapshot_policy_add_change(
        struct db *db, const char *event, const char *id, const char *name, struct err *e)
{
	const struct change change = {
	        .kind = "snapshot_policy", .event = event, .object_id = id, .name = name};
	return change_add(db, &change, e);
}

static int64_t first_run(const struct snapshot_policy_spec *spec, int64_t now_ms)
{
	return spec->enabled ? snapshot_schedule_next(&spec->schedule, now_ms, now_ms) : INT64_MAX;
}

static char *stored_form(const struct snapshot_policy_spec *spec)
{
	struct json_writer w = {0};
	field_encode(&config_table, spec, FIELD_ENCODE_STORE, &w);
	return str_take(&w.out);
}

static int name_taken(int rc, const char *name, struct err *e)
{
	if (rc != ERR_EXISTS)
		return rc;
	return err_set_at(e, ERR_EXISTS, "/name", "a snapshot policy named %s exists", name);
}

int snapshot_policy_create(struct db *db, const struct snapshot_policy_spec *spec,
        char ret_id[UUID_TEXT_SIZE], struct err *e)
{
	char *stored CLEANUP(cleanup_free) = stored_form(spec);
	struct snapshot_policy_row row = {.created_at = clock_wall_ms()};
	int rc = snapshot_policy_check(spec, e);
	if (rc < 0)
		return rc;
	uuid_make(row.id);
	row.spec.name = spec->name; /* borrowed */
	row.next_run_at = first_run(spec, row.created_at);
	rc = snapshot_policy_store_insert(db, &row, stored, e);
	if (rc < 0)
		return name_taken(rc, spec->name, e);
	uuid_text_copy(ret_id, row.id);
	return snapshot_policy_add_change(db, "created", row.id, spec->name, e);
}

static bool same_schedule(
        const struct snapshot_policy_spec *a, const struct snapshot_policy_spec *b)
{
	return a->enabled == b->enabled && a->schedule.every_minutes == b->schedule.every_minutes &&
	       str_equal(a->schedule.daily_at, b->schedule.daily_at);
}

int snapshot_policy_replace(struct db *db, const struct snapshot_policy_row *row,
        const struct snapshot_policy_spec *spec, struct err *e)
{
	char *stored CLEANUP(cleanup_free) = stored_form(spec);
	int rc = snapshot_policy_check(spec, e);
	if (rc < 0)
		return rc;
	int64_t next = same_schedule(&row->spec, spec) ? row->next_run_at
	                                               : first_run(spec, clock_wall_ms());
	rc = snapshot_policy_store_update(db, row->id, spec->name, stored, next, e);
	if (rc < 0)
		return name_taken(rc, spec->name, e);
	return snapshot_policy_add_change(db, "updated", row->id, spec->name, e);
}

int snapshot_policy_update(struct db *db, const struct snapshot_policy_row *row, json_t *patch,
        struct field_errors *errors, struct err *e)
{
	struct snapshot_policy_spec spec CLEANUP(snapshot_policy_spec_done) = {0};
	struct json_writer w CLEANUP(json_writer_done) = {0};
	field_encode(&snapshot_policy_write_fields, &row->spec, FIELD_ENCODE_STORE, &w);
	json_t *before = json_loads(str_text(&w.out), 0, NULL);
	json_t *after = field_merge_patch(before, patch);
	int rc = field_decode(
	        &snapshot_policy_write_fields, after, FIELD_DECODE_CREATE, &spec, errors);
	json_decref(before);
	json_decref(after);
	if (rc < 0)
		return err_set(e, rc, "the patch does not lead to a valid snapshot policy");
	return snapshot_policy_replace(db, row, &spec, e);
}

int snapshot_policy_delete(struct db *db, const struct snapshot_policy_row *row, struct err *e)
{
	int rc = snapshot_policy_store_delete(db, row->id, e);
	return rc < 0 ? rc : snapshot_policy_add_change(db, "deleted", row->id, row->spec.name, e);
}

/* ---- answers ---- */

/* The VM with the longest chain among the first FORECAST_VMS; depth 0: there is none. */
static int find_deepest(struct db *db, const struct snapshot_policy_row *row,
        struct snapshot_forecast *forecast, char ret_vm_id[UUID_TEXT_SIZE], struct err *e)
{
	struct snapshot_selection selection CLEANUP(snapshot_selection_done) = {0};
	int rc = snapshot_select(db, &row->spec.selector, /* is_strict= */ false, &selection, e);
	forecast->limit = layer_max_chain_depth();
	for (size_t i = 0; rc == 0 && i < selection.len && i < FORECAST_VMS; i++) {
		int64_t depth = 0;
		char disk[64];
		rc = snapshot_chain_depth(db, selection.ids[i], &depth, disk, e);
		if (rc == 0 && depth > forecast->depth) {
			forecast->depth = depth;
			uuid_text_copy(ret_vm_id, selection.ids[i]);
		}
	}
	return rc;
}

static int encode_forecast(
        struct db *db, const struct snapshot_policy_row *row, struct json_writer *w, struct err *e)
{
	struct snapshot_forecast forecast = {0};
	struct snapshot_ids own CLEANUP(snapshot_ids_done) = {0};
	struct vm_row vm CLEANUP(vm_row_done) = {0};
	char vm_id[UUID_TEXT_SIZE] = "";
	int rc = find_deepest(db, row, &forecast, vm_id, e);
	if (rc == 0 && vm_id[0])
		rc = snapshot_policy_store_of_vm(db, row->id, vm_id, &own, e);
	if (rc == 0 && vm_id[0])
		rc = vm_store_get(db, vm_id, &vm, e);
	if (rc < 0)
		return rc;
	if (!vm_id[0]) {
		json_member_raw(w, "forecast", "null");
		return 0;
	}
	forecast.own = (int64_t)own.len;
	snapshot_policy_forecast(&row->spec, row->next_run_at, &forecast);
	json_key(w, "forecast");
	json_object_begin(w);
	json_member_string(w, "vm", vm.name);
	json_member_int(w, "depth", forecast.depth);
	json_member_int(w, "limit", forecast.limit);
	json_member_time(w, "reached_at", forecast.reached_at);
	json_object_end(w);
	return 0;
}

int snapshot_policy_encode(struct db *db, const struct snapshot_policy_row *row, bool with_forecast,
        struct json_writer *w, struct err *e)
{
	int rc = 0;
	json_object_begin(w);
	json_member_string(w, "id", row->id);
	json_member_string(w, "name", row->spec.name);
	field_encode_members(&config_table, &row->spec, FIELD_ENCODE_ANSWER, w);
	json_member_time(w, "next_run_at", row->next_run_at == INT64_MAX ? 0 : row->next_run_at);
	json_member_time(w, "last_run_at", row->last_run_at);
	json_member_raw(
	        w, "last_result", str_is_empty(row->last_result) ? "null" : row->last_result);
	if (with_forecast)
		rc = encode_forecast(db, row, w, e);
	else
		json_member_raw(w, "forecast", "null");
	json_member_time(w, "created_at", row->created_at);
	json_member_int(w, "version", row->version);
	json_object_end(w);
	return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshot policies: snapshots by a schedule, of VMs that a selector means, with an end.
 *
 * A timer looks for policies whose time has come (next_run_at) and makes an operation snapshot_policy.run of each; a run
 * that was missed is made up for once. A policy deletes only snapshots of its own: those beyond `keep` per VM, oldest first,
 * and earlier ones when a chain has no room for another layer. What has expires_at goes at that time.
 */
#pragma once

#include "compute/snapshot.h"
#include "compute/snapshot_group_select.h"

/* "-YYYYMMDD-HHMMSS" is appended for a snapshot's name, which has 63 bytes. */
#define SNAPSHOT_POLICY_NAME_MAX 47

/* One of the two. */
struct snapshot_schedule {
	int64_t every_minutes; /* 0: not this one */
	char *daily_at;        /* "HH:MM", UTC; owned; NULL: not this one */
};

struct snapshot_policy_spec {
	char *name, *description; /* owned; the name is a column of its own */
	struct snapshot_selector selector;
	struct snapshot_schedule schedule;
	int64_t keep, expire_after_hours; /* per VM; 0 hours: no time limit */
	bool memory, quiesce, enabled;
};
extern const struct field_table snapshot_policy_write_fields, snapshot_policy_fields;
void snapshot_policy_spec_done(struct snapshot_policy_spec *spec);

struct snapshot_policy_row {
	char id[UUID_TEXT_SIZE];
	struct snapshot_policy_spec spec; /* owned, with the name */
	int64_t next_run_at;              /* INT64_MAX: never (not enabled) */
	int64_t last_run_at;              /* 0: never */
	char *last_result;                /* owned: JSON, or "" */
	int64_t version, created_at;
};
void snapshot_policy_row_done(struct snapshot_policy_row *row);

/* ---- pure ---- */

/* What the field table cannot say. ERR_INVALID with a pointer. */
int snapshot_policy_check(const struct snapshot_policy_spec *spec, struct err *e);
/*
 * The first time after `now_ms`. `slot_ms` is a time of the schedule (the last one that was due, or its creation): every
 * N minutes counts from there, so late runs do not shift the schedule, and missed ones do not pile up.
 */
int64_t snapshot_schedule_next(
        const struct snapshot_schedule *schedule, int64_t slot_ms, int64_t now_ms);
/* "NAME-YYYYMMDD-HHMMSS" in UTC. Caller frees. */
char *snapshot_policy_make_name(const char *policy, int64_t at_ms);

/* Where a chain will stand, given the snapshots that the policy keeps. */
struct snapshot_forecast {
	int64_t depth, limit; /* of the longest chain now */
	int64_t own;          /* snapshots of this policy of that VM */
	int64_t reached_at;   /* from when on fewer than `keep` fit; 0: never */
};
void snapshot_policy_forecast(const struct snapshot_policy_spec *spec, int64_t next_run_at,
        struct snapshot_forecast *forecast);

/* ---- mutations: writer thread, inside a job ---- */
int snapshot_policy_create(struct db *db, const struct snapshot_policy_spec *spec,
        char ret_id[UUID_TEXT_SIZE], struct err *e);
int snapshot_policy_replace(struct db *db, const struct snapshot_policy_row *row,
        const struct snapshot_policy_spec *spec, struct err *e);
int snapshot_policy_update(struct db *db, const struct snapshot_policy_row *row, json_t *patch,
        struct field_errors *errors, struct err *e);
/* Its snapshots stay; those with a time limit keep it. */
int snapshot_policy_delete(struct db *db, const struct snapshot_policy_row *row, struct err *e);
/* Now, whatever its schedule says. ERR_BUSY while it runs. */
int snapshot_policy_run(struct db *db, struct operation_engine *engine,
        const struct snapshot_policy_row *row, int64_t at_ms, const struct vm_request *asked,
        char ret_operation[UUID_TEXT_SIZE], struct err *e);

/* ---- answers: any connection ---- */

/* With `with_forecast` the VMs are looked at: one policy at a time. */
int snapshot_policy_encode(struct db *db, const struct snapshot_policy_row *row, bool with_forecast,
        struct json_writer *w, struct err *e);

/* ---- the timer: core loop ---- */
struct snapshot_policies;
struct snapshot_policies *snapshot_policies_start(
        const struct operation_services *services, int64_t tick_ms);
/* No further looks. Accepts NULL, like the next. */
void snapshot_policies_stop(struct snapshot_policies *policies);
/* After the writer has stopped and the loop has ended. */
void snapshot_policies_free(struct snapshot_policies *policies);
/* The kind snapshot_policy.run. */
void snapshot_policy_register_kinds(struct operation_engine *engine);

/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of table operation: read, inserted, advanced, listed. */
#pragma once

#include "base/field.h"
#include "db/db.h"
#include "operation/operation.h"

/* One row. Texts owned. */
struct operation_row {
	char *id, *kind, *target_kind, *target_id, *target_name, *host_id, *queue;
	int64_t seq;
	enum operation_state state;
	int step;
	bool undoing, cancel;
	char *input, *memory, *phase, *reason, *error, *requested_by, *request_id;
	int64_t done_bytes, total_bytes, deadline, created_at, started_at, ended_at;
	int percent;
};
void operation_row_done(struct operation_row *row);
/* Why it did not succeed, for an operation that needed it: ERR_DISK_FULL stays that, else ERR_UNPROCESSABLE. */
int operation_row_explain(const struct operation_row *row, struct err *e);

/* A row's next state. All texts borrowed for the call. */
struct operation_update {
	const char *id;
	enum operation_state state;
	int step;
	bool undoing;
	const char *memory; /* NULL: as it was */
	const char *phase, *reason;
	const char *error; /* or NULL */
	int percent;
	int64_t done_bytes, total_bytes, started_at, ended_at;
};
/* What users see while nothing else changes. */
struct operation_report {
	const char *id;
	const char *phase, *reason;
	int percent;
	int64_t done_bytes, total_bytes, started_at;
};

/* Adds the row; sets row->seq, and fills in nothing else. Writer thread, like the next four. */
int operation_store_insert(struct db *db, struct operation_row *row, struct err *e);
/* ERR_NOT_FOUND if it has ended or is gone. */
int operation_store_update(struct db *db, const struct operation_update *update, struct err *e);
int operation_store_report(struct db *db, const struct operation_report *report, struct err *e);
int operation_store_set_cancel(struct db *db, const char *id, struct err *e);
/* ERR_NOT_FOUND if it has ended or is gone. */
int operation_store_is_cancelled(struct db *db, const char *id, bool *ret_cancelled, struct err *e);

/* Called per row; a negative result ends the walk and is returned. */
typedef int (*operation_row_fn)(void *arg, const struct operation_row *row, struct err *e);
/* The unfinished ones in order of creation. Any connection. */
int operation_store_each_active(struct db *db, operation_row_fn fn, void *arg, struct err *e);
/* One page of the list; the row is borrowed for the call. */
int operation_store_list(
        struct db *db, const struct db_page *page, operation_row_fn fn, void *arg, struct err *e);
/* ERR_NOT_FOUND if there is none. Any connection. */
int operation_store_get(
        struct db *db, const char *id, struct operation_row *ret_row, struct err *e);
/* Writes the resource as api.md describes it (progress, steps with their states, ...). */
void operation_encode(const struct operation_engine *engine, const struct operation_row *row,
        struct json_writer *w);
/* The field table of the answer, for OpenAPI. */
extern const struct field_table operation_fields;

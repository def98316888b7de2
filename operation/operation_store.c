/* SPDX-License-Identifier: Apache-2.0 */
/* All SQL of operations. */
#include "operation/operation_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/problem.h"
#include "base/str.h"

#define COLUMNS                                                                                    \
	"id, kind, target_kind, target_id, target_name, host_id, queue, seq, state, step, "        \
	"undoing, cancel, input, memory, phase, reason, error, requested_by, request_id, "         \
	"done_bytes, total_bytes, percent, deadline, created_at, started_at, ended_at "

SQL(operation_by_id, 0, "SELECT " COLUMNS "FROM operation WHERE id = ?");
SQL(operation_active, SQL_SCAN, "SELECT " COLUMNS "FROM operation WHERE ended_at = 0 ORDER BY seq");
SQL(operation_unfinished_on_queue, 0,
        "SELECT id, kind FROM operation WHERE queue = ? AND ended_at = 0 ORDER BY seq");
SQL(operation_unfinished_input, 0,
        "SELECT input FROM operation WHERE queue = ?1 AND ended_at = 0 AND kind = ?2 "
        "ORDER BY seq LIMIT 1");
SQL(operation_cancel_flag, 0, "SELECT cancel FROM operation WHERE id = ? AND ended_at = 0");
SQL(operation_insert, 0,
        "INSERT INTO operation (id, kind, target_kind, target_id, target_name, host_id, queue, "
        "seq, state, input, phase, requested_by, request_id, deadline, created_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, COALESCE((SELECT MAX(seq) FROM operation), 0) + 1, "
        "'queued', ?, ?, ?, ?, ?, ?) "
        "RETURNING seq");
SQL(operation_update, 0,
        "UPDATE operation SET state = ?, step = ?, undoing = ?, memory = COALESCE(?, memory), "
        "phase = ?, reason = ?, error = ?, percent = ?, done_bytes = ?, total_bytes = ?, "
        "started_at = ?, ended_at = ? "
        "WHERE id = ? AND ended_at = 0");
SQL(operation_show, 0,
        "UPDATE operation SET state = 'running', phase = ?, reason = ?, percent = ?, "
        "done_bytes = ?, total_bytes = ?, started_at = ? "
        "WHERE id = ? AND ended_at = 0");
SQL(operation_mark_cancel, 0, "UPDATE operation SET cancel = 1 WHERE id = ? AND ended_at = 0");
SQL(operation_delete_old, 0, "DELETE FROM operation WHERE ended_at > 0 AND ended_at < ?");

void operation_row_done(struct operation_row *row)
{
	char *const texts[] = {row->id, row->kind, row->target_kind, row->target_id,
	        row->target_name, row->host_id, row->queue, row->input, row->memory, row->phase,
	        row->reason, row->error, row->requested_by, row->request_id};
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		free(texts[i]);
	*row = (struct operation_row){0};
}

int operation_row_explain(const struct operation_row *row, struct err *e)
{
	struct err why;
	if (!row->error || !problem_from_json(row->error, &why))
		return err_set(e, ERR_UNPROCESSABLE, "%s",
		        str_is_empty(row->reason) ? operation_state_names[row->state]
		                                  : row->reason);
	if (why.code != ERR_DISK_FULL)
		why.code = ERR_UNPROCESSABLE;
	why.pointer[0] = '\0'; /* into another request's body */
	if (e)
		*e = why;
	return why.code;
}

static enum operation_state state_from_name(const char *name)
{
	for (int i = 0; i < OPERATION_STATES; i++)
		if (strcmp(operation_state_names[i], name) == 0)
			return (enum operation_state)i;
	return OPERATION_INTERRUPTED;
}

/* Reads one row; the columns are in the order of COLUMNS. */
static void read_row(struct statement *s, struct operation_row *row)
{
	int c = 0;
	row->id = statement_text_copy(s, c++);
	row->kind = statement_text_copy(s, c++);
	row->target_kind = statement_text_copy(s, c++);
	row->target_id = statement_text_copy(s, c++);
	row->target_name = statement_text_copy(s, c++);
	row->host_id = statement_text_copy(s, c++);
	row->queue = statement_text_copy(s, c++);
	row->seq = statement_int(s, c++);
	row->state = state_from_name(statement_text(s, c++));
	row->step = (int)statement_int(s, c++);
	row->undoing = statement_int(s, c++) != 0;
	row->cancel = statement_int(s, c++) != 0;
	row->input = statement_text_copy(s, c++);
	row->memory = statement_text_copy(s, c++);
	row->phase = statement_text_copy(s, c++);
	row->reason = statement_text_copy(s, c++);
	row->error = statement_text_copy(s, c++);
	row->requested_by = statement_text_copy(s, c++);
	row->request_id = statement_text_copy(s, c++);
	row->done_bytes = statement_int(s, c++);
	row->total_bytes = statement_int(s, c++);
	row->percent = (int)statement_int(s, c++);
	row->deadline = statement_int(s, c++);
	row->created_at = statement_int(s, c++);
	row->started_at = statement_int(s, c++);
	row->ended_at = statement_int(s, c++);
}

int operation_store_get(struct db *db, const char *id, struct operation_row *ret_row, struct err *e)
{
	CLEANUP(statement_done) struct statement *s = NULL;
	int rc = db_prepare(db, operation_by_id.text, &s, e);
	if (rc < 0)
		return rc;
	statement_bind_text(s, 1, id);
	if ((rc = statement_step(s, e)) < 0)
		return rc;
	if (rc == 0)
		return err_set(e, ERR_NOT_FOUND, "there is no operation '%s'", id);
	*ret_row = (struct operation_row){0};
	read_row(s, ret_row);
	return 0;
}

static int each_row(struct statement *s, operation_row_fn fn, void *arg, struct err *e)
{
	int rc;
	while ((rc = statement_step(s, e)) == 1) {
		struct operation_row row = {0};
		read_row(s, &row);
		rc = fn(arg, &row, e);
		operation_row_done(&row);
		if (rc < 0)
			return rc;
	}
	return rc;
}

int operation_store_each_active(struct db *db, operation_row_fn fn, void *arg, struct err *e)
{
	CLEANUP(statement_done) struct statement *s = NULL;
	int rc = db_prepare(db, operation_active.text, &s, e);
	return rc < 0 ? rc : each_row(s, fn, arg, e);
}

int operation_store_list(
        struct db *db, const struct db_page *page, operation_row_fn fn, void *arg, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_prepare_page(db, "SELECT " COLUMNS "FROM operation", page, NULL, NULL, &s, e);
	if (rc < 0)
		return rc;
	return each_row(s, fn, arg, e);
}

int operation_store_insert(struct db *db, struct operation_row *row, struct err *e)
{
	CLEANUP(statement_done) struct statement *s = NULL;
	int rc = db_prepare(db, operation_insert.text, &s, e);
	if (rc < 0)
		return rc;
	const char *const texts[] = {row->id, row->kind, row->target_kind, row->target_id,
	        row->target_name, row->host_id, row->queue, row->input, row->phase,
	        row->requested_by, row->request_id};
	int i = 0;
	while (i < (int)ARRAY_LEN(texts)) {
		statement_bind_text(s, i + 1, texts[i]);
		i++;
	}
	statement_bind_int(s, ++i, row->deadline);
	statement_bind_int(s, ++i, row->created_at);
	if ((rc = statement_step(s, e)) < 0)
		return rc;
	row->seq = statement_int(s, 0);
	return statement_run(
	        s, e); /* a RETURNING statement takes effect whole when stepped to its end */
}

/* A change of exactly one unfinished row. */
static int run_on_one(struct db *db, struct statement *s, const char *id, struct err *e)
{
	int rc = statement_run(s, e);
	if (rc == 0 && db_changes(db) == 0)
		return err_set(e, ERR_NOT_FOUND, "operation '%s' has ended or is gone", id);
	return rc;
}

int operation_store_update(struct db *db, const struct operation_update *update, struct err *e)
{
	CLEANUP(statement_done) struct statement *s = NULL;
	int rc = db_prepare(db, operation_update.text, &s, e);
	if (rc < 0)
		return rc;
	int i = 1;
	statement_bind_text(s, i++, operation_state_names[update->state]);
	statement_bind_int(s, i++, update->step);
	statement_bind_int(s, i++, update->undoing);
	statement_bind_text(s, i++, update->memory);
	statement_bind_text(s, i++, update->phase);
	statement_bind_text(s, i++, update->reason);
	statement_bind_text(s, i++, update->error);
	statement_bind_int(s, i++, update->percent);
	statement_bind_int(s, i++, update->done_bytes);
	statement_bind_int(s, i++, update->total_bytes);
	statement_bind_int(s, i++, update->started_at);
	statement_bind_int(s, i++, update->ended_at);
	statement_bind_text(s, i++, update->id);
	return run_on_one(db, s, update->id, e);
}

int operation_store_report(struct db *db, const struct operation_report *report, struct err *e)
{
	CLEANUP(statement_done) struct statement *s = NULL;
	int rc = db_prepare(db, operation_show.text, &s, e);
	if (rc < 0)
		return rc;
	int i = 1;
	statement_bind_text(s, i++, report->phase);
	statement_bind_text(s, i++, report->reason);
	statement_bind_int(s, i++, report->percent);
	statement_bind_int(s, i++, report->done_bytes);
	statement_bind_int(s, i++, report->total_bytes);
	statement_bind_int(s, i++, report->started_at);
	statement_bind_text(s, i++, report->id);
	return run_on_one(db, s, report->id, e);
}

int operation_store_set_cancel(struct db *db, const char *id, struct err *e)
{
	CLEANUP(statement_done) struct statement *s = NULL;
	int rc = db_query(db, &operation_mark_cancel, SQL_BINDS(SQL_TEXT(id)), &s, e);
	if (rc < 0)
		return rc;
	return run_on_one(db, s, id, e);
}

int operation_store_is_cancelled(struct db *db, const char *id, bool *ret_cancelled, struct err *e)
{
	CLEANUP(statement_done) struct statement *s = NULL;
	int rc = db_prepare(db, operation_cancel_flag.text, &s, e);
	if (rc < 0)
		return rc;
	statement_bind_text(s, 1, id);
	if ((rc = statement_step(s, e)) < 0)
		return rc;
	if (rc == 0)
		return err_set(e, ERR_NOT_FOUND, "operation '%s' has ended or is gone", id);
	*ret_cancelled = statement_int(s, 0) != 0;
	return 0;
}

static bool is_in(const char *const *names, const char *name)
{
	while (*names && strcmp(*names, name) != 0)
		names++;
	return *names != NULL;
}

/* The oldest on that queue whose kind is, or is not, among `kinds`. */
static int find_unfinished(struct db *db, const char *queue, const char *const *kinds, bool among,
        char ret_id[UUID_TEXT_SIZE], char ret_kind[64], struct err *e)
{
	CLEANUP(statement_done) struct statement *s = NULL;
	int rc = db_query(db, &operation_unfinished_on_queue, SQL_BINDS(SQL_TEXT(queue)), &s, e);
	if (rc < 0)
		return rc;
	while ((rc = statement_step(s, e)) == 1 && is_in(kinds, statement_text(s, 1)) != among)
		;
	if (rc < 0)
		return rc;
	snprintf(ret_id, UUID_TEXT_SIZE, "%s", rc == 1 ? statement_text(s, 0) : "");
	snprintf(ret_kind, 64, "%s", rc == 1 ? statement_text(s, 1) : "");
	return 0;
}

int operation_find_busy_but(struct db *db, const char *queue, const char *const *but,
        char ret_id[UUID_TEXT_SIZE], char ret_kind[64], struct err *e)
{
	return find_unfinished(db, queue, but, /* among= */ false, ret_id, ret_kind, e);
}

int operation_find_kind(struct db *db, const char *queue, const char *kind,
        char ret_id[UUID_TEXT_SIZE], struct err *e)
{
	const char *const kinds[] = {kind, NULL};
	char found[64];
	return find_unfinished(db, queue, kinds, /* among= */ true, ret_id, found, e);
}

int operation_find_busy(struct db *db, const char *queue, char ret_id[UUID_TEXT_SIZE],
        char ret_kind[64], struct err *e)
{
	static const char *const none[] = {NULL};
	return operation_find_busy_but(db, queue, none, ret_id, ret_kind, e);
}

int operation_find_input(
        struct db *db, const char *queue, const char *kind, char **ret_input, struct err *e)
{
	int rc = db_find_text(db, &operation_unfinished_input,
	        SQL_BINDS(SQL_TEXT(queue), SQL_TEXT(kind)), ret_input, e);
	return rc < 0 ? rc : 0;
}

int operation_prune(struct db *db, int64_t before_ms, struct err *e)
{
	return db_run(db, &operation_delete_old, SQL_BINDS(SQL_INT(before_ms)), e);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One SQLite connection and its cached statements. A connection is used by one thread at a time.
 *
 * Every fixed statement is declared with SQL(), so that a test can prepare all of them and reject
 * full scans; lists compose their WHERE and ORDER BY from api/filter's fragments at run time.
 *
 *	SQL(vm_by_id, 0, "SELECT name FROM vm WHERE id = ?");
 *	...
 *	CLEANUP(statement_done) struct statement *s = NULL;
 *	if ((rc = db_prepare(db, vm_by_id.text, &s, e)) < 0) return rc;
 *	statement_bind_text(s, 1, id);
 *	rc = statement_step(s, e);      // 1: a row, 0: the end, negative: error
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct db;
struct statement;

enum sql_flags {
	SQL_SCAN = 1 << 0, /* a full scan is meant (start-up, pruning); waived in the tests */
};

struct sql_text {
	const char *name;
	const char *text;
	unsigned flags;
} __attribute__((aligned(32)));

#define SQL(identifier, sql_flags_, sql)                                                           \
	static const struct sql_text identifier __attribute__((section("berth_sql"), used)) = {    \
	        .name = #identifier, .text = sql, .flags = (sql_flags_)}

/* The bounds of all SQL() declarations, for tests. */
extern const struct sql_text __start_berth_sql[], __stop_berth_sql[];

enum db_mode { DB_READ_ONLY, DB_READ_WRITE };

/* Opens (creating the file in READ_WRITE mode, 0600): WAL, synchronous=FULL, foreign keys, no mmap,
 * trusted_schema off, busy timeout 5 s. */
int db_open(const char *path, enum db_mode mode, struct db **ret_db, struct err *e);
void db_close(struct db *db); /* accepts NULL */

/* Runs statements without parameters or rows (PRAGMA, BEGIN, a migration). */
int db_exec(struct db *db, const char *sql, struct err *e);
/* A statement from the connection's cache, keyed by text; give it back with statement_done. A text
 * in use twice at a time is prepared again. */
int db_prepare(struct db *db, const char *sql, struct statement **ret_statement, struct err *e);
void statement_done(struct statement **s); /* accepts NULL; resets and returns it to the cache */

/* Parameters count from 1. Texts and blobs are copied. NULL text binds NULL. */
void statement_bind_text(struct statement *s, int index, const char *text);
void statement_bind_int(struct statement *s, int index, int64_t value);
void statement_bind_real(struct statement *s, int index, double value);
void statement_bind_null(struct statement *s, int index);
void statement_bind_blob(struct statement *s, int index, const void *data, size_t len);

/* One bound value of a composed statement (a list's filter). Text borrowed until the statement is
 * bound. */
struct sql_bind {
	enum { SQL_BIND_INT, SQL_BIND_TEXT } type;
	int64_t integer;
	const char *text;
};
/* One page of a list: SQL fragments without user's text in them (api/filter renders such), and what they bind. */
struct db_page {
	const char *where, *order;    /* "" for none; `order` with ORDER BY */
	const struct sql_bind *binds; /* for `where`, from parameter 1 on */
	size_t n_binds;
	size_t limit;
};
/* Prepares `select` (a text up to FROM and its joins) for the rows of that page. `owner_column` NULL, or a column that must
 * equal `owner`: a collection below another resource. The text is cached like any other. */
int db_prepare_page(struct db *db, const char *select, const struct db_page *page,
        const char *owner_column, const char *owner, struct statement **ret_statement,
        struct err *e);
/* Binds them from parameter `first` on. */
void statement_bind_all(
        struct statement *s, int first, const struct sql_bind *binds, size_t n_binds);

/* 1: a row, 0: done, negative: error. UNIQUE violations are ERR_EXISTS, foreign keys ERR_REFERENCE,
 * a full disk ERR_DISK_FULL, everything else ERR_DATABASE. */
int statement_step(struct statement *s, struct err *e);
/* Steps a statement that returns no rows; 0 or negative. */
int statement_run(struct statement *s, struct err *e);

/*
 * The usual ways of a fixed statement, in one call each. Values are bound from parameter 1 on; NULL text binds NULL:
 *
 *	return db_run(db, &vm_update_name, SQL_BINDS(SQL_TEXT(id), SQL_TEXT(name)), e);
 */
#define SQL_TEXT(value) ((struct sql_bind){.type = SQL_BIND_TEXT, .text = (value)})
#define SQL_INT(value)  ((struct sql_bind){.type = SQL_BIND_INT, .integer = (value)})
/* Two arguments: the values and how many; alive until the end of the block it stands in. */
#define SQL_BINDS(...)                                                                             \
	(const struct sql_bind[]){__VA_ARGS__},                                                    \
	        sizeof((struct sql_bind[]){__VA_ARGS__}) / sizeof(struct sql_bind)

/* Prepares and binds; the rows are stepped after it. The caller gives the statement back, also after an error. */
int db_query(struct db *db, const struct sql_text *sql, const struct sql_bind *binds,
        size_t n_binds, struct statement **ret_statement, struct err *e);
/* db_query, stepped once. 1: the statement stands on its first row, 0: there is none, negative: error. */
int db_find(struct db *db, const struct sql_text *sql, const struct sql_bind *binds, size_t n_binds,
        struct statement **ret_statement, struct err *e);
/* The first column of the first row in new memory, which the caller frees. 1: a row (NULL for NULL), 0: there is none,
 * negative: error; the last two leave *ret_text as it was. */
int db_find_text(struct db *db, const struct sql_text *sql, const struct sql_bind *binds,
        size_t n_binds, char **ret_text, struct err *e);
/* Runs to its end a statement that returns no rows; 0 or negative. */
int db_run(struct db *db, const struct sql_text *sql, const struct sql_bind *binds, size_t n_binds,
        struct err *e);

/* Columns count from 0. Text is borrowed until the next step; NULL for NULL. */
const char *statement_text(struct statement *s, int column);
int64_t statement_int(struct statement *s, int column);
double statement_real(struct statement *s, int column);
bool statement_is_null(struct statement *s, int column);
const void *statement_blob(struct statement *s, int column, size_t *ret_len);
/* Text in new memory (NULL for NULL); caller frees. */
char *statement_text_copy(struct statement *s, int column);

/* Rows changed by the last INSERT, UPDATE or DELETE. */
int64_t db_changes(struct db *db);

/*
 * Registers a call for the end of the current savepoint's transaction: exactly once, on the writer
 * thread, with `committed` telling whether the work became durable. Only inside a writer job.
 * The hooks of a job that fails or is a dry run are called right after its rollback, before the
 * next job runs, the last registered first; those of committed jobs after the commit, in order,
 * before `done`.
 */
void db_on_end(struct db *db, void (*fn)(void *arg, bool committed), void *arg);
/* True inside a dry run: the job will be rolled back. */
bool db_is_dry_run(const struct db *db);

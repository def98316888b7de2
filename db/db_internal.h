/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of db/ know of a connection and nobody else: its statement cache and the end hooks
 * of a job. */
#pragma once

#include <sqlite3.h>

#include "base/vec.h"
#include "db/db.h"

#define STATEMENT_BUCKETS   128
#define STATEMENT_SHORTCUTS 256
#define STATEMENT_CACHE_MAX                                                                        \
	160 /* lists compose texts at run time: the least recently used one goes */
#define DB_BUSY_TIMEOUT_MS 5000
#define DB_WAL_LIMIT_BYTES (16 << 20) /* a larger WAL file is cut to this when it starts anew */

struct statement {
	sqlite3_stmt *handle; /* owned */
	struct db *db;        /* borrowed */
	char *text;           /* owned */
	const char *source;   /* the pointer it was last asked for by; compared, never read */
	unsigned hash;
	bool in_use;
	int bind_rc; /* the first failed bind; reported by the step */
	int64_t used_at;
	struct statement *next; /* in its bucket */
};

/* Finds statements by text. A text's address is tried first: almost all of them are constants. */
struct statement_cache {
	struct statement
	        *shortcuts[STATEMENT_SHORTCUTS];      /* by address; borrowed from the buckets */
	struct statement *buckets[STATEMENT_BUCKETS]; /* by hash of the text; owned */
	size_t len;
	int64_t clock;
};

struct end_hook {
	void (*fn)(void *arg, bool committed);
	void *arg;
};

/* A connection belongs to one thread at a time. */
struct db {
	sqlite3 *handle; /* owned */
	struct statement_cache cache;
	VEC(struct end_hook) hooks; /* of the jobs of the open transaction, in order */
	bool in_job;
	bool dry_run;
	bool has_changes; /* rows were added to the change feed in the open transaction */
};

/* Fills `e` from the connection's last error and returns our code for it. */
int db_error(struct db *db, int sqlite_rc, const char *doing, struct err *e);
void statement_cache_done(struct statement_cache *cache);
/* Runs a fixed statement without parameters through the cache. */
int db_exec_cached(struct db *db, const char *sql, struct err *e);
/* The one integer a PRAGMA or SELECT answers. */
int db_query_int(struct db *db, const char *sql, int64_t *ret_value, struct err *e);

/*
 * Ends the hooks from number `first` on and forgets them: committed ones in the order they were
 * registered, rolled back ones in reverse, as undoing needs.
 */
void db_end_hooks(struct db *db, size_t first, bool committed);
/* Wakes the listeners of the change feed. Writer thread. */
void change_feed_wake(void);
/* Makes a new or renamed file's name durable. */
int db_sync_directory_of(const char *path, struct err *e);

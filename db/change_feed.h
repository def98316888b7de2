/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The change feed: every mutation adds a row to table `change` in its own transaction; the event
 * stream is a query over it by sequence number plus a wake-up after the commit.
 */
#pragma once

#include "db/db.h"

/* What happened. All texts borrowed for the call. */
struct change {
	const char *kind;  /* "vm", "host", "host_group", "operation", "volume", "pool", "token" */
	const char *event; /* "created", "updated", "deleted", "power", "state", "guest", ... */
	const char *object_id; /* the resource's id */
	const char *name;      /* its name at that moment, or NULL */
	const char *data;      /* JSON object text with what changed, or NULL; no secrets */
};

/* Adds a row and wakes the listeners after the commit. Writer thread, inside a job. */
int change_add(struct db *db, const struct change *change, struct err *e);

/* `wake(arg)` runs on the writer thread, once per commit that added rows; it must be quick and must
 * not call this module's listen or reset. Listeners are added at start-up and stay. */
struct change_listener {
	void (*wake)(void *arg);
	void *arg;
};
void change_feed_listen(struct change_listener listener);
/*
 * `saw` runs on the writer thread, in the midst of a job, for each row added and each touch: whoever keeps a copy of rows
 * learns here which are stale. `db` is NULL outside a job (start-up). It must be quick and must not call this module.
 */
struct change_watcher {
	void (*saw)(void *arg, struct db *db, const char *kind, const char *object_id);
	void *arg;
};
void change_feed_watch(struct change_watcher watcher);
/* Tells the watchers of a change that is no event. Writer thread. */
void change_touch(struct db *db, const char *kind, const char *object_id);
/* Forgets all listeners and watchers: at stop, and between tests. */
void change_feed_reset(void);

struct change_row {
	int64_t seq;
	int64_t at;                                   /* wall ms */
	char *kind, *event, *object_id, *name, *data; /* owned */
};
void change_row_done(struct change_row *row);

/* Reads up to `max` rows after `after`, oldest first; *ret_n says how many. ERR_GONE if rows after
 * `after` were pruned already. Reader or writer connection. */
int change_read(struct db *db, int64_t after, size_t max, struct change_row *ret_rows,
        size_t *ret_n, struct err *e);
/* The newest number given out (0: none yet). */
int change_newest(struct db *db, int64_t *ret_seq, struct err *e);
/* The oldest number kept (0: none). `oldest - 1` is the first valid `after`. */
int change_oldest(struct db *db, int64_t *ret_seq, struct err *e);
/* Forgets rows older than `before_ms`, at most 50,000 per call; keeps at least the newest row.
 * Writer thread. */
int change_prune(struct db *db, int64_t before_ms, struct err *e);

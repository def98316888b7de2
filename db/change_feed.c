/* SPDX-License-Identifier: Apache-2.0 */
/* The change feed: rows of table `change`, and whom to wake when a commit has added some. */
#include "db/change_feed.h"

#include <assert.h>
#include <pthread.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "db/db_internal.h"

/* Bounds how long one call keeps the writer busy: about 50 ms. */
#define PRUNE_ROWS_MAX 50000

/* Held while the listeners are called, so that none is called after change_feed_reset has returned.
 */
static pthread_mutex_t listeners_mutex = PTHREAD_MUTEX_INITIALIZER;
static VEC(struct change_listener) listeners; /* listeners_mutex */
static VEC(struct change_watcher) watchers;   /* listeners_mutex */

void change_feed_listen(struct change_listener listener)
{
	LOCK_SCOPE(&listeners_mutex);
	VEC_PUSH(&listeners, listener);
}

void change_feed_reset(void)
{
	LOCK_SCOPE(&listeners_mutex);
	VEC_DONE(&listeners);
	VEC_DONE(&watchers);
}

void change_feed_watch(struct change_watcher watcher)
{
	LOCK_SCOPE(&listeners_mutex);
	VEC_PUSH(&watchers, watcher);
}

void change_touch(struct db *db, const char *kind, const char *object_id)
{
	LOCK_SCOPE(&listeners_mutex);
	VEC_FOR_EACH (&watchers, watcher)
		watcher->saw(watcher->arg, db->in_job ? db : NULL, kind, object_id);
}

void change_feed_wake(void)
{
	LOCK_SCOPE(&listeners_mutex);
	VEC_FOR_EACH (&listeners, listener)
		listener->wake(listener->arg);
}

SQL(change_insert, 0,
        "INSERT INTO change (at, kind, event, object_id, name, data) "
        "VALUES (?, ?, ?, ?, ?, ?)");

int change_add(struct db *db, const struct change *change, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_prepare(db, change_insert.text, &s, e);
	if (rc < 0)
		return rc;
	statement_bind_int(s, 1, clock_wall_ms());
	statement_bind_text(s, 2, change->kind);
	statement_bind_text(s, 3, change->event);
	statement_bind_text(s, 4, change->object_id);
	statement_bind_text(s, 5, change->name);
	statement_bind_text(s, 6, change->data);
	if ((rc = statement_run(s, e)) < 0)
		return rc;
	db->has_changes = true;
	change_touch(db, change->kind, change->object_id);
	return 0;
}

void change_row_done(struct change_row *row)
{
	free(row->kind);
	free(row->event);
	free(row->object_id);
	free(row->name);
	free(row->data);
	*row = (struct change_row){0};
}

SQL(change_min, 0, "SELECT coalesce(min(seq), 0) FROM change");
SQL(change_max, 0, "SELECT coalesce(max(seq), 0) FROM change");

int change_oldest(struct db *db, int64_t *ret_seq, struct err *e)
{
	return db_query_int(db, change_min.text, ret_seq, e);
}

int change_newest(struct db *db, int64_t *ret_seq, struct err *e)
{
	return db_query_int(db, change_max.text, ret_seq, e);
}

SQL(change_after, 0,
        "SELECT seq, at, kind, event, object_id, name, data FROM change "
        "WHERE seq > ? ORDER BY seq LIMIT ?");

static void fill_row(struct statement *s, struct change_row *row)
{
	*row = (struct change_row){
	        .seq = statement_int(s, 0),
	        .at = statement_int(s, 1),
	        .kind = statement_text_copy(s, 2),
	        .event = statement_text_copy(s, 3),
	        .object_id = statement_text_copy(s, 4),
	        .name = statement_text_copy(s, 5),
	        .data = statement_text_copy(s, 6),
	};
}

static int read_rows(struct db *db, int64_t after, size_t max, struct change_row *rows,
        size_t *ret_n, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_prepare(db, change_after.text, &s, e);
	if (rc < 0)
		return rc;
	statement_bind_int(s, 1, after);
	statement_bind_int(s, 2, (int64_t)max);
	size_t n = 0;
	while (n < max && (rc = statement_step(s, e)) > 0)
		fill_row(s, &rows[n++]);
	if (rc < 0) {
		while (n > 0)
			change_row_done(&rows[--n]);
		return rc;
	}
	*ret_n = n;
	return 0;
}

/* Numbers have no gaps (a rolled back job gives its numbers back), so the first row tells whether
 * any is missing. */
static int check_not_pruned(struct db *db, int64_t after, struct err *e)
{
	int64_t oldest;
	int rc = change_oldest(db, &oldest, e);
	if (rc < 0 || oldest <= after + 1)
		return rc;
	err_set(e, ERR_GONE, "events after %lld are no longer kept: the oldest is %lld",
	        (long long)after, (long long)oldest);
	err_hint(e, "read the resources again and follow the events from the newest on");
	return ERR_GONE;
}

int change_read(struct db *db, int64_t after, size_t max, struct change_row *ret_rows,
        size_t *ret_n, struct err *e)
{
	size_t n = 0;
	int rc = read_rows(db, after, max, ret_rows, &n, e);
	if (rc < 0)
		return rc;
	/* The first row in sequence needs no second query. */
	if (n == 0 || ret_rows[0].seq > after + 1)
		rc = check_not_pruned(db, after, e);
	if (rc < 0) {
		while (n > 0)
			change_row_done(&ret_rows[--n]);
		return rc;
	}
	*ret_n = n;
	return 0;
}

/* Walks from the oldest on and stops at the first row to keep. */
SQL(change_first_kept, SQL_SCAN, "SELECT seq FROM change WHERE +at >= ? ORDER BY seq LIMIT 1");
SQL(change_delete_below, 0, "DELETE FROM change WHERE seq < ?");

static int find_first_kept(struct db *db, int64_t before_ms, int64_t *ret_seq, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_prepare(db, change_first_kept.text, &s, e);
	if (rc < 0)
		return rc;
	statement_bind_int(s, 1, before_ms);
	if ((rc = statement_step(s, e)) < 0)
		return rc;
	if (rc == 0)
		return change_newest(db, ret_seq, e);
	*ret_seq = statement_int(s, 0);
	return 0;
}

int change_prune(struct db *db, int64_t before_ms, struct err *e)
{
	int64_t first_kept, oldest;
	int rc = find_first_kept(db, before_ms, &first_kept, e);
	if (rc < 0 || (rc = change_oldest(db, &oldest, e)) < 0)
		return rc;
	if (first_kept > oldest + PRUNE_ROWS_MAX)
		first_kept = oldest + PRUNE_ROWS_MAX;
	struct statement *s CLEANUP(statement_done) = NULL;
	if ((rc = db_prepare(db, change_delete_below.text, &s, e)) < 0)
		return rc;
	statement_bind_int(s, 1, first_kept);
	return statement_run(s, e);
}

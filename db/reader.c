/* SPDX-License-Identifier: Apache-2.0 */
/* One read-only connection per thread and set of readers, kept under a thread-specific key. */
#include "db/reader.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "db/db_internal.h"

#define FREE_TIMEOUT_S 2

/* Threads close theirs when they end, at a moment of their own. */
struct readers {
	char *path; /* owned, immutable */
	pthread_key_t key;
	pthread_mutex_t lock;
	pthread_cond_t closed;
	size_t open; /* under lock */
};

struct reader {
	struct readers *readers; /* borrowed */
	struct db *db;           /* owned */
};

static void close_reader(void *arg)
{
	struct reader *reader = arg;
	struct readers *r = reader->readers;
	db_close(reader->db);
	free(reader);
	LOCK_SCOPE(&r->lock);
	r->open--;
	pthread_cond_signal(&r->closed);
}

struct readers *readers_new(const char *path)
{
	struct readers *r = xcalloc(1, sizeof(*r));
	r->path = xstrdup(path);
	pthread_mutex_init(&r->lock, NULL);
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&r->closed, &attr);
	pthread_condattr_destroy(&attr);
	int rc = pthread_key_create(&r->key, close_reader);
	if (rc != 0) {
		log_error("no thread-specific key is left for the database readers");
		abort();
	}
	return r;
}

/* Until the threads that have ended, or are about to, have closed theirs; false: some are stuck. */
static bool wait_until_closed(struct readers *r)
{
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += FREE_TIMEOUT_S;
	LOCK_SCOPE(&r->lock);
	while (r->open > 0)
		if (pthread_cond_timedwait(&r->closed, &r->lock, &until) != 0)
			break;
	return r->open == 0;
}

void readers_free(struct readers *r)
{
	if (!r)
		return;
	struct reader *own = pthread_getspecific(r->key);
	if (own) {
		pthread_setspecific(r->key, NULL);
		close_reader(own);
	}
	if (!wait_until_closed(r))
		return; /* a thread that hangs may still come back to it */
	pthread_key_delete(r->key);
	pthread_cond_destroy(&r->closed);
	pthread_mutex_destroy(&r->lock);
	free(r->path);
	free(r);
}

static int open_reader(struct readers *r, struct reader **ret_reader, struct err *e)
{
	struct db *db = NULL;
	int rc = db_open(r->path, DB_READ_ONLY, &db, e);
	if (rc < 0)
		return rc;
	struct reader *reader = xcalloc(1, sizeof(*reader));
	*reader = (struct reader){.readers = r, .db = db};
	{
		LOCK_SCOPE(&r->lock);
		r->open++;
	}
	rc = pthread_setspecific(r->key, reader);
	if (rc != 0) {
		close_reader(reader);
		err_set_errno(e, rc, "cannot keep a database connection");
		return ERR_INTERNAL;
	}
	*ret_reader = reader;
	return 0;
}

int readers_get(struct readers *r, struct db **ret_db, struct err *e)
{
	struct reader *reader = pthread_getspecific(r->key);
	int rc = reader ? 0 : open_reader(r, &reader, e);
	if (rc == 0)
		*ret_db = reader->db;
	return rc;
}

int reader_begin(struct db *db, struct err *e)
{
	return db_exec_cached(db, "BEGIN", e);
}

void reader_end(struct db *db)
{
	struct err e;
	if (db_exec_cached(db, "ROLLBACK", &e) < 0)
		log_err(LOG_LEVEL_ERROR, &e, "cannot end a read transaction");
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer thread: group commit, savepoints, end hooks, checkpoints.
 *
 * The queue is a vector that the thread swaps for an empty one, so that a batch is everything that
 * was submitted while the last one was being synced: the longer a sync takes, the more jobs share
 * the next.
 *
 * Order within a batch: for each job SAVEPOINT, run, RELEASE; or ROLLBACK TO and, at once, its end
 * hooks, so that the jobs behind it see the in-memory state as if it had never run. Then COMMIT,
 * the end hooks of the jobs that stay, the change feed's listeners, and the `done` calls in order
 * of submission.
 *
 * SQLite gives up the whole transaction by itself on some errors (disk full, I/O). Then the jobs
 * that had run so far fail with that error, and the rest of the batch goes on in a new transaction.
 *
 * Lock: `mutex` guards the queue, the flags and the statistics; it is never held across SQL or a
 * callback.
 */
#include "db/writer.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "db/db_internal.h"

#define BATCH_MAX               512
#define CHECKPOINT_PAGES        1024 /* 4 MiB of pages of 4 KiB, as SQLite's own default */
#define CHECKPOINT_IDLE_MS      1000
#define CHECKPOINT_STOP_WAIT_MS 500 /* for readers that still hold an old state */

struct job_vec {
	struct writer_job *items;
	size_t len, capacity;
};

/* What became of a job of the running batch. */
struct outcome {
	int rc;
	bool stays;    /* part of the transaction: shares the fate of its commit */
	struct err *e; /* owned; NULL without one */
};

struct writer {
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t wake;
	struct job_vec queue;      /* mutex */
	bool is_stopping;          /* mutex */
	bool is_joined;            /* the stopping thread's */
	struct writer_stats stats; /* mutex */

	/* The writer thread's own: */
	struct db *db; /* owned */
	struct outcome outcomes[BATCH_MAX];
	int wal_pages;        /* in the WAL file after the last commit */
	int checkpointed;     /* of these, how many are in the database file */
	int checkpoint_again; /* try when the WAL has so many pages */
};

/* ---- checkpoints ---- */

static int on_wal_grown(void *arg, sqlite3 *handle, const char *schema, int pages)
{
	(void)handle;
	(void)schema;
	struct writer *w = arg;
	if (pages < w->wal_pages) { /* it started anew */
		w->checkpointed = 0;
		w->checkpoint_again = CHECKPOINT_PAGES;
	}
	w->wal_pages = pages;
	return SQLITE_OK;
}

/* Readers may hold back a part of it: the next try comes after as many pages again, or when idle.
 */
static void checkpoint(struct writer *w, int mode)
{
	int in_wal = 0, done = 0;
	int rc = sqlite3_wal_checkpoint_v2(w->db->handle, NULL, mode, &in_wal, &done);
	if (rc != SQLITE_OK && rc != SQLITE_BUSY) {
		struct err e;
		db_error(w->db, rc, "cannot checkpoint the database", &e);
		log_err(LOG_LEVEL_WARNING, &e, "database");
	}
	if (rc == SQLITE_OK && done >= 0)
		w->checkpointed = done;
	w->checkpoint_again = w->wal_pages + CHECKPOINT_PAGES;
	LOCK_SCOPE(&w->mutex);
	w->stats.checkpoints++;
}

static bool has_unsaved_pages(const struct writer *w)
{
	return w->wal_pages > w->checkpointed;
}

static void checkpoint_if_large(struct writer *w)
{
	if (has_unsaved_pages(w) && w->wal_pages >= w->checkpoint_again)
		checkpoint(w, SQLITE_CHECKPOINT_PASSIVE);
}

/* ---- one batch ---- */

static void keep_error(struct outcome *outcome, int rc, const struct err *e)
{
	outcome->rc = rc;
	outcome->stays = false;
	if (!outcome->e)
		outcome->e = xcalloc(1, sizeof(*e));
	*outcome->e = *e;
	if (e->code == 0) /* a job that returned a code without words */
		err_set(outcome->e, rc, "%s", err_info(rc)->title);
}

static bool transaction_is_lost(const struct writer *w)
{
	return sqlite3_get_autocommit(w->db->handle) != 0;
}

static int begin(struct writer *w, struct err *e)
{
	w->db->has_changes = false;
	return db_exec_cached(w->db, "BEGIN IMMEDIATE", e);
}

/* Takes back what the job did. ROLLBACK TO can only fail by losing the whole transaction, which the
 * caller notices. */
static void roll_back_job(struct writer *w, size_t first_hook, bool had_changes)
{
	struct err e;
	if (!transaction_is_lost(w) && (db_exec_cached(w->db, "ROLLBACK TO job", &e) < 0 ||
	                                       db_exec_cached(w->db, "RELEASE job", &e) < 0)) {
		log_err(LOG_LEVEL_ERROR, &e, "cannot roll back a job");
		sqlite3_exec(w->db->handle, "ROLLBACK", NULL, NULL, NULL);
	}
	w->db->has_changes = had_changes;
	db_end_hooks(w->db, first_hook, /* committed= */ false);
}

static void run_job(struct writer *w, const struct writer_job *job, struct outcome *outcome)
{
	struct err e = {0};
	struct db *db = w->db;
	size_t first_hook = db->hooks.len;
	bool had_changes = db->has_changes;
	*outcome = (struct outcome){.stays = true};
	int rc = db_exec_cached(db, "SAVEPOINT job", &e);
	if (rc == 0) {
		db->in_job = true;
		db->dry_run = job->mode == WRITER_DRY_RUN;
		rc = job->run(db, job->arg, &e);
		db->in_job = db->dry_run = false;
	}
	if (rc == 0 && job->mode == WRITER_COMMIT)
		rc = db_exec_cached(db, "RELEASE job", &e);
	if (rc < 0 || job->mode == WRITER_DRY_RUN)
		roll_back_job(w, first_hook, had_changes);
	if (rc < 0)
		keep_error(outcome, rc, &e);
	else if (job->mode == WRITER_DRY_RUN)
		outcome->stays = false;
}

/* The jobs that were part of the transaction fail with it; their hooks end here, those of the
 * others have. */
static void fail_batch(struct writer *w, size_t n, const struct err *e)
{
	if (!transaction_is_lost(w))
		sqlite3_exec(w->db->handle, "ROLLBACK", NULL, NULL, NULL);
	w->db->has_changes = false;
	db_end_hooks(w->db, 0, /* committed= */ false);
	for (size_t i = 0; i < n; i++)
		if (w->outcomes[i].stays)
			keep_error(&w->outcomes[i], e->code, e);
	log_err(LOG_LEVEL_ERROR, e, "a transaction of %zu jobs failed", n);
}

static void commit(struct writer *w, size_t n)
{
	struct err e = {0};
	int64_t start_ns = clock_now_ns();
	int rc = db_exec_cached(w->db, "COMMIT", &e);
	int64_t took_ns = clock_now_ns() - start_ns;
	if (rc < 0) {
		fail_batch(w, n, &e);
	} else {
		db_end_hooks(w->db, 0, /* committed= */ true);
		if (w->db->has_changes)
			change_feed_wake();
	}
	LOCK_SCOPE(&w->mutex);
	w->stats.commit_ns += took_ns;
}

static bool any_stays(const struct writer *w, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (w->outcomes[i].stays)
			return true;
	return false;
}

/* Ends the transaction of the first n jobs. With nothing to keep there is nothing to sync. */
static void end_transaction(struct writer *w, size_t n)
{
	struct err e = {0};
	if (any_stays(w, n))
		commit(w, n);
	else if (db_exec_cached(w->db, "ROLLBACK", &e) < 0)
		log_err(LOG_LEVEL_ERROR, &e, "cannot end an empty transaction");
}

static void complete(struct writer *w, const struct writer_job *jobs, size_t n)
{
	static const struct err none;
	int64_t failed = 0;
	for (size_t i = 0; i < n; i++)
		failed += w->outcomes[i].rc < 0;
	pthread_mutex_lock(&w->mutex);
	w->stats.jobs += (int64_t)n;
	w->stats.failed_jobs += failed;
	w->stats.transactions++;
	pthread_mutex_unlock(&w->mutex);
	for (size_t i = 0; i < n; i++) {
		struct outcome *outcome = &w->outcomes[i];
		if (jobs[i].done)
			jobs[i].done(jobs[i].arg, outcome->rc, outcome->e ? outcome->e : &none);
		free(TAKE(outcome->e));
	}
}

/* The error that made SQLite give up the transaction is the last job's own. */
static void fail_lost_transaction(struct writer *w, size_t n)
{
	struct err e = {0};
	if (w->outcomes[n - 1].e)
		e = *w->outcomes[n - 1].e;
	if (e.code != ERR_DISK_FULL)
		e.code = ERR_DATABASE;
	err_prefix(&e, "the transaction was given up");
	fail_batch(w, n, &e);
}

/* Runs jobs in one transaction until the end of the batch or of the transaction; returns how many.
 */
static size_t run_transaction(struct writer *w, const struct writer_job *jobs, size_t n)
{
	struct err e = {0};
	int rc = begin(w, &e);
	if (rc < 0) {
		for (size_t i = 0; i < n; i++)
			w->outcomes[i] = (struct outcome){.stays = true};
		fail_batch(w, n, &e);
		complete(w, jobs, n);
		return n;
	}
	size_t ran = 0;
	while (ran < n && !transaction_is_lost(w)) {
		run_job(w, &jobs[ran], &w->outcomes[ran]);
		ran++;
	}
	if (transaction_is_lost(w))
		fail_lost_transaction(w, ran);
	else
		end_transaction(w, ran);
	complete(w, jobs, ran);
	return ran;
}

static void run_jobs(struct writer *w, const struct job_vec *jobs)
{
	for (size_t at = 0; at < jobs->len;) {
		size_t left = jobs->len - at;
		at += run_transaction(w, jobs->items + at, left < BATCH_MAX ? left : BATCH_MAX);
		checkpoint_if_large(w);
	}
}

/* ---- the thread ---- */

static struct timespec idle_deadline(void)
{
	struct timespec at;
	clock_gettime(CLOCK_MONOTONIC, &at);
	at.tv_sec += CHECKPOINT_IDLE_MS / 1000;
	at.tv_nsec += CHECKPOINT_IDLE_MS % 1000 * 1000000;
	if (at.tv_nsec >= 1000000000) {
		at.tv_sec++;
		at.tv_nsec -= 1000000000;
	}
	return at;
}

/* Waits for jobs and swaps them with the empty `batch`. False: stopping and nothing left. An empty
 * batch: idle. */
static bool next_batch(struct writer *w, struct job_vec *batch)
{
	struct timespec deadline = idle_deadline();
	bool wants_checkpoint = has_unsaved_pages(w);
	LOCK_SCOPE(&w->mutex);
	while (w->queue.len == 0 && !w->is_stopping) {
		if (!wants_checkpoint)
			pthread_cond_wait(&w->wake, &w->mutex);
		else if (pthread_cond_timedwait(&w->wake, &w->mutex, &deadline) != 0)
			break;
	}
	struct job_vec taken = w->queue;
	w->queue = *batch;
	*batch = taken;
	return taken.len > 0 || !w->is_stopping;
}

static void *writer_main(void *arg)
{
	struct writer *w = arg;
	struct job_vec batch = {0};
	while (next_batch(w, &batch)) {
		if (batch.len == 0)
			checkpoint(w, SQLITE_CHECKPOINT_PASSIVE);
		else
			run_jobs(w, &batch);
		batch.len = 0;
	}
	VEC_DONE(&batch);
	sqlite3_busy_timeout(w->db->handle, CHECKPOINT_STOP_WAIT_MS);
	checkpoint(w, SQLITE_CHECKPOINT_TRUNCATE);
	db_close(TAKE(w->db));
	return NULL;
}

static int prepare_connection(struct writer *w, struct err *e)
{
	sqlite3_wal_autocheckpoint(w->db->handle, 0);
	sqlite3_wal_hook(w->db->handle, on_wal_grown, w);
	char sql[64];
	snprintf(sql, sizeof(sql), "PRAGMA journal_size_limit = %d", DB_WAL_LIMIT_BYTES);
	return db_exec(w->db, sql, e);
}

/* Signals belong to the core loop: no thread of ours may take one. */
static int start_thread(struct writer *w, struct err *e)
{
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int rc = pthread_create(&w->thread, NULL, writer_main, w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc != 0)
		return err_set_errno(e, rc, "cannot start the writer thread");
	pthread_setname_np(w->thread, "db-writer");
	return 0;
}

static void init_locks(struct writer *w)
{
	pthread_condattr_t attributes;
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&w->wake, &attributes);
	pthread_condattr_destroy(&attributes);
	pthread_mutex_init(&w->mutex, NULL);
}

int writer_start(const char *path, struct writer **ret_writer, struct err *e)
{
	struct writer *w = xcalloc(1, sizeof(*w));
	init_locks(w);
	w->checkpoint_again = CHECKPOINT_PAGES;
	int rc = db_open(path, DB_READ_WRITE, &w->db, e);
	if (rc == 0)
		rc = prepare_connection(w, e);
	if (rc == 0)
		rc = start_thread(w, e);
	if (rc < 0) {
		w->is_joined = true;
		db_close(TAKE(w->db));
		writer_free(w);
		return rc;
	}
	*ret_writer = w;
	return 0;
}

void writer_stop(struct writer *w)
{
	if (w->is_joined)
		return;
	pthread_mutex_lock(&w->mutex);
	w->is_stopping = true;
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->mutex);
	pthread_join(w->thread, NULL);
	w->is_joined = true;
}

void writer_free(struct writer *w)
{
	if (!w)
		return;
	writer_stop(w);
	VEC_DONE(&w->queue);
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->mutex);
	free(w);
}

static bool enqueue(struct writer *w, struct writer_job job)
{
	LOCK_SCOPE(&w->mutex);
	if (w->is_stopping)
		return false;
	VEC_PUSH(&w->queue, job);
	if ((int64_t)w->queue.len > w->stats.queue_high)
		w->stats.queue_high = (int64_t)w->queue.len;
	if (w->queue.len == 1)
		pthread_cond_signal(&w->wake);
	return true;
}

void writer_submit(struct writer *w, struct writer_job job)
{
	if (enqueue(w, job) || !job.done)
		return;
	struct err e;
	int rc = err_set(&e, ERR_UNAVAILABLE, "the database is being closed");
	job.done(job.arg, rc, &e);
}

/* ---- waiting for a job ---- */

struct waited_job {
	int (*run)(struct db *db, void *arg, struct err *e);
	void *arg;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	bool is_done; /* mutex */
	int rc;
	struct err e;
};

static int run_waited(struct db *db, void *arg, struct err *e)
{
	struct waited_job *waited = arg;
	return waited->run(db, waited->arg, e);
}

static void waited_done(void *arg, int rc, const struct err *e)
{
	struct waited_job *waited = arg;
	LOCK_SCOPE(&waited->mutex);
	waited->rc = rc;
	waited->e = *e;
	waited->is_done = true;
	pthread_cond_signal(&waited->cond);
}

int writer_run(struct writer *w, int (*run)(struct db *db, void *arg, struct err *e), void *arg,
        struct err *e)
{
	assert(w->is_joined || !pthread_equal(pthread_self(), w->thread));
	struct waited_job waited = {.run = run,
	        .arg = arg,
	        .mutex = PTHREAD_MUTEX_INITIALIZER,
	        .cond = PTHREAD_COND_INITIALIZER};
	writer_submit(
	        w, (struct writer_job){.run = run_waited, .done = waited_done, .arg = &waited});
	pthread_mutex_lock(&waited.mutex);
	while (!waited.is_done)
		pthread_cond_wait(&waited.cond, &waited.mutex);
	pthread_mutex_unlock(&waited.mutex);
	pthread_cond_destroy(&waited.cond);
	pthread_mutex_destroy(&waited.mutex);
	if (waited.rc < 0 && e)
		*e = waited.e;
	return waited.rc;
}

void writer_get_stats(struct writer *w, struct writer_stats *ret_stats)
{
	LOCK_SCOPE(&w->mutex);
	*ret_stats = w->stats;
}

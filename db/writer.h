/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer thread: the only writable connection, the only one that checkpoints.
 *
 * Jobs queue; the thread takes all that wait, runs each in a savepoint of one transaction, commits
 * once (one fsync for all), then completes them in order. A job that fails is rolled back to its
 * savepoint and leaves the others alone; when the commit itself fails, all of the batch fail.
 *
 *	submit -> queue -> BEGIN IMMEDIATE {SAVEPOINT job RELEASE | ROLLBACK TO}... COMMIT -> done...
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "db/db.h"

struct writer;

enum writer_mode {
	WRITER_COMMIT,
	WRITER_DRY_RUN, /* run, then roll back; `done` gets the result all the same */
};

struct writer_job {
	/* Writer thread, inside the savepoint; must not block on anything but the database. */
	int (*run)(struct db *db, void *arg, struct err *e);
	/* Writer thread, after the commit (or the rollback); must be quick; may be NULL. rc is
	 * run's result, or ERR_DATABASE/ERR_DISK_FULL if the commit failed. */
	void (*done)(void *arg, int rc, const struct err *e);
	void *arg;
	enum writer_mode mode;
};

struct writer_stats {
	int64_t jobs, transactions, failed_jobs, commit_ns, queue_high, checkpoints;
};

/* Opens the database for writing and starts the thread. The schema must be current
 * (db/migrations.h). */
int writer_start(const char *path, struct writer **ret_writer, struct err *e);
/* Runs what is queued, checkpoints, closes. Later submissions fail with ERR_UNAVAILABLE: their
 * `done` is called at once, by the submitting thread. */
void writer_stop(struct writer *w);
void writer_free(struct writer *w); /* stops it first; accepts NULL */
/* Any thread, never blocks. Order of submission is order of execution. */
void writer_submit(struct writer *w, struct writer_job job);
/* Submits and waits for the result: for start-up and tests, never on the core loop or the writer.
 */
int writer_run(struct writer *w, int (*run)(struct db *db, void *arg, struct err *e), void *arg,
        struct err *e);
void writer_get_stats(struct writer *w, struct writer_stats *ret_stats);

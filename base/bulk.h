/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bulk threads: few, with idle I/O priority, for work that takes long and blocks (copying, hashing, converting).
 * Jobs wait in one FIFO when all threads are at work. Of those with the same key (what they may hang in: a pool, a host) no
 * more than BULK_PER_KEY run at a time; the next of them waits, and the jobs behind it overtake it.
 */
#pragma once

#include "base/err.h"
#include "base/loop.h"

struct bulk;
struct bulk_job;

#define BULK_PER_KEY  3
#define BULK_KEY_SIZE 80

struct bulk_call {
	/* Bulk thread. Should look at bulk_is_cancelled between blocks and then return ERR_CANCELLED. */
	int (*run)(struct bulk_job *job, void *arg, struct err *e);
	/* Core loop, once. */
	void (*done)(void *arg, int rc, const struct err *e);
	void *arg;       /* borrowed until done has returned */
	const char *key; /* copied, shorter than BULK_KEY_SIZE; NULL: no bound */
};

/* `loop` is where `done` is called. Threads start when there is work for them. */
struct bulk *bulk_new(struct loop *loop, int threads);
/*
 * Cancels what waits and what runs, and returns when all threads have ended: `done` is not called any more. A thread that
 * hangs in a foreign call is waited for BULK_STOP_MS at most and then left to the end of the process. Core loop (or after
 * it has ended). Accepts NULL.
 */
#define BULK_STOP_MS 5000
void bulk_free(struct bulk *bulk);
/* Any thread. The handle is valid until `done` was called, which from another thread than the core loop's may be before this
 * returns. */
struct bulk_job *bulk_submit(struct bulk *bulk, const struct bulk_call *call);
/* Core loop. A job that still waits ends with ERR_CANCELLED without having run. */
void bulk_cancel(struct bulk_job *job);
/* Bulk thread. */
bool bulk_is_cancelled(const struct bulk_job *job);

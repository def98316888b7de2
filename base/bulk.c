/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bulk threads.
 *
 *	submit -> FIFO -> thread: run -> [core loop] done, and the job is freed
 *	            |     (the first whose key has room)
 *	            \-> bulk_cancel ----^   (without having run)
 *
 * Lock: `lock` guards everything; loop_post is called under it (lock order: bulk, loop), so that a thread that returns
 * after bulk_free never posts to a loop that is gone. The last one out frees.
 */
#include "base/bulk.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"

#define THREAD_STACK_SIZE ((size_t)1024 * 1024)
/* linux/ioprio.h: who, class and data of ioprio_set(2), which glibc does not wrap */
#define IOPRIO_WHO_PROCESS 1
#define IOPRIO_CLASS_IDLE  3
#define IOPRIO_CLASS_SHIFT 13

struct bulk_job {
	struct bulk_job
	        *next; /* in the FIFO, among those that run, or those whose `done` is on its way */
	struct bulk *bulk;
	struct bulk_call call;   /* without its key */
	char key[BULK_KEY_SIZE]; /* "": none */
	_Atomic bool is_cancelled;
	bool is_queued;  /* the lock */
	bool is_dropped; /* core loop: bulk_free came before `done` */
	int rc;
	struct err error;
};

struct bulk {
	struct loop *loop; /* NULL: freed, but for threads that hang */
	pthread_mutex_t lock;
	pthread_cond_t work; /* a job was queued, or the end */
	pthread_cond_t left; /* a thread ended */
	struct bulk_job *first, *last;
	struct bulk_job *running, *ended;
	int threads, idle, max;
	bool is_closed;
};

/* The kernel then serves everybody else's reads and writes first (where the I/O scheduler knows priorities). */
static void lower_io_priority(void)
{
	if (syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0,
	            IOPRIO_CLASS_IDLE << IOPRIO_CLASS_SHIFT) < 0)
		log_debug("a bulk thread has normal I/O priority: %s", strerror(errno));
}

/* ---- under the lock ---- */

static void remove_from(struct bulk_job **list, const struct bulk_job *job)
{
	while (*list != job)
		list = &(*list)->next;
	*list = job->next;
}

static void remove_queued(struct bulk *bulk, struct bulk_job *job)
{
	remove_from(&bulk->first, job);
	bulk->last = bulk->first;
	while (bulk->last && bulk->last->next)
		bulk->last = bulk->last->next;
	job->is_queued = false;
}

/* Whether as many with its key run as may. */
static bool is_held_back(const struct bulk *bulk, const struct bulk_job *job)
{
	int n = 0;
	if (!job->key[0])
		return false;
	for (const struct bulk_job *other = bulk->running; other; other = other->next)
		n += strcmp(other->key, job->key) == 0;
	return n >= BULK_PER_KEY;
}

static struct bulk_job *find_next(const struct bulk *bulk)
{
	struct bulk_job *job = bulk->first;
	while (job && is_held_back(bulk, job))
		job = job->next;
	return job;
}

/* A thread that ends a job looks here next, so nobody need be woken for those that were held back by it. */
static struct bulk_job *take_job(struct bulk *bulk)
{
	struct bulk_job *job = NULL;
	bulk->idle++;
	while (!bulk->is_closed && !(job = find_next(bulk)))
		pthread_cond_wait(&bulk->work, &bulk->lock);
	bulk->idle--;
	if (!job)
		return NULL;
	remove_queued(bulk, job);
	job->next = bulk->running;
	bulk->running = job;
	return job;
}

/* Core loop, without the lock. */
static void call_done(void *arg)
{
	struct bulk_job *job = arg;
	if (!job->is_dropped) {
		pthread_mutex_lock(&job->bulk->lock);
		remove_from(&job->bulk->ended, job);
		pthread_mutex_unlock(&job->bulk->lock);
		job->call.done(job->call.arg, job->rc, job->rc < 0 ? &job->error : NULL);
	}
	free(job);
}

static void post_done(struct bulk *bulk, struct bulk_job *job)
{
	job->next = bulk->ended;
	bulk->ended = job;
	loop_post(bulk->loop, call_done, job);
}

static void finish_job(struct bulk *bulk, struct bulk_job *job)
{
	remove_from(&bulk->running, job);
	if (bulk->is_closed)
		free(job);
	else
		post_done(bulk, job);
}

/* ---- threads ---- */

static void free_bulk(struct bulk *bulk)
{
	pthread_mutex_destroy(&bulk->lock);
	pthread_cond_destroy(&bulk->work);
	pthread_cond_destroy(&bulk->left);
	free(bulk);
}

static void run_job(struct bulk_job *job)
{
	job->error = (struct err){0};
	job->rc = bulk_is_cancelled(job) ? err_set(&job->error, ERR_CANCELLED, "cancelled")
	                                 : job->call.run(job, job->call.arg, &job->error);
}

static void *thread_main(void *arg)
{
	struct bulk *bulk = arg;
	pthread_setname_np(pthread_self(), "bulk");
	lower_io_priority();
	pthread_mutex_lock(&bulk->lock);
	for (struct bulk_job *job; (job = take_job(bulk));) {
		pthread_mutex_unlock(&bulk->lock);
		run_job(job);
		pthread_mutex_lock(&bulk->lock);
		finish_job(bulk, job);
	}
	bool is_last = --bulk->threads == 0 && !bulk->loop;
	pthread_cond_signal(&bulk->left);
	pthread_mutex_unlock(&bulk->lock);
	if (is_last)
		free_bulk(bulk);
	return NULL;
}

/* Under the lock. All signals stay with the main thread. */
static void start_thread(struct bulk *bulk)
{
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, THREAD_STACK_SIZE);
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_t thread;
	int rc = pthread_create(&thread, &attr, thread_main, bulk);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	if (rc == 0)
		bulk->threads++;
	else
		log_error("cannot start a bulk thread beside %d others: %s", bulk->threads,
		        strerror(rc));
}

/* ---- the whole ---- */

struct bulk *bulk_new(struct loop *loop, int threads)
{
	assert(threads > 0);
	struct bulk *bulk = xcalloc(1, sizeof(*bulk));
	bulk->loop = loop;
	bulk->max = threads;
	pthread_mutex_init(&bulk->lock, NULL);
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&bulk->work, NULL);
	pthread_cond_init(&bulk->left, &attr);
	pthread_condattr_destroy(&attr);
	return bulk;
}

static void drop_all(struct bulk *bulk)
{
	for (struct bulk_job *job = bulk->first, *next; job; job = next) {
		next = job->next;
		free(job);
	}
	bulk->first = bulk->last = NULL;
	for (struct bulk_job *job = bulk->ended; job; job = job->next)
		job->is_dropped = true;
	for (struct bulk_job *job = bulk->running; job; job = job->next)
		atomic_store(&job->is_cancelled, true);
}

static void wait_for_threads(struct bulk *bulk)
{
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += BULK_STOP_MS / 1000;
	int rc = 0;
	while (bulk->threads > 0 && rc != ETIMEDOUT)
		rc = pthread_cond_timedwait(&bulk->left, &bulk->lock, &until);
	if (bulk->threads > 0)
		log_warning("%d bulk threads hang and are left behind", bulk->threads);
}

void bulk_free(struct bulk *bulk)
{
	if (!bulk)
		return;
	pthread_mutex_lock(&bulk->lock);
	bulk->is_closed = true;
	drop_all(bulk);
	pthread_cond_broadcast(&bulk->work);
	wait_for_threads(bulk);
	bulk->loop = NULL; /* from now on the last thread frees */
	bool is_last = bulk->threads == 0;
	pthread_mutex_unlock(&bulk->lock);
	if (is_last)
		free_bulk(bulk);
}

static void enqueue(struct bulk *bulk, struct bulk_job *job)
{
	if (bulk->first)
		bulk->last->next = job;
	else
		bulk->first = job;
	bulk->last = job;
	job->is_queued = true;
}

static int count_queued(const struct bulk *bulk)
{
	int n = 0;
	for (const struct bulk_job *job = bulk->first; job; job = job->next)
		n++;
	return n;
}

struct bulk_job *bulk_submit(struct bulk *bulk, const struct bulk_call *call)
{
	struct bulk_job *job = xcalloc(1, sizeof(*job));
	job->bulk = bulk;
	job->call = *call;
	job->call.key = NULL;
	assert(!call->key || strlen(call->key) < sizeof(job->key));
	snprintf(job->key, sizeof(job->key), "%s", call->key ? call->key : "");
	LOCK_SCOPE(&bulk->lock);
	enqueue(bulk, job);
	bool is_wanted = !is_held_back(bulk, job) && count_queued(bulk) > bulk->idle;
	if (is_wanted && bulk->threads < bulk->max)
		start_thread(bulk);
	pthread_cond_signal(&bulk->work);
	return job;
}

void bulk_cancel(struct bulk_job *job)
{
	struct bulk *bulk = job->bulk;
	LOCK_SCOPE(&bulk->lock);
	atomic_store(&job->is_cancelled, true);
	if (!job->is_queued)
		return;
	remove_queued(bulk, job);
	job->rc = err_set(&job->error, ERR_CANCELLED, "cancelled before it began");
	post_done(bulk, job);
}

bool bulk_is_cancelled(const struct bulk_job *job)
{
	return atomic_load(&job->is_cancelled);
}

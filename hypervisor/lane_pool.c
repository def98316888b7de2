/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The threads of all lanes. A thread is started when a job finds no idle one, and ends after
 * idling.
 *
 * Lock: `lock` guards everything but `stuck`; loop_post is called under it (lock order: pool,
 * loop), so that a thread returning after lane_pool_free never posts to a loop that is gone. The
 * pool lives as long as its last thread.
 */
#include "hypervisor/lane_internal.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <libxml/parser.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"

#define IDLE_SECONDS      10
#define THREAD_STACK_SIZE ((size_t)1024 * 1024)

struct lane_pool {
	struct loop *loop;
	pthread_mutex_t lock;
	pthread_cond_t work; /* a job was queued, or the pool closes */
	pthread_cond_t left; /* a thread ended */
	struct lane_job *first, *last;
	int queued, threads, idle;
	_Atomic int stuck; /* written by the core loop */
	bool is_closed;
};

static void post_returned(void *arg)
{
	struct lane_job *job = arg;
	if (job->is_stuck)
		atomic_fetch_sub(&job->pool->stuck, 1);
	job->returned(job);
}

/* Waits for a job; NULL when the thread shall end. */
static struct lane_job *take_job(struct lane_pool *pool)
{
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += IDLE_SECONDS;
	int rc = 0;
	pool->idle++;
	while (!pool->first && !pool->is_closed && rc != ETIMEDOUT)
		rc = pthread_cond_timedwait(&pool->work, &pool->lock, &until);
	pool->idle--;
	struct lane_job *job = pool->is_closed ? NULL : pool->first;
	if (job) {
		pool->first = job->next;
		pool->queued--;
	}
	return job;
}

static void free_pool(struct lane_pool *pool)
{
	pthread_mutex_destroy(&pool->lock);
	pthread_cond_destroy(&pool->work);
	pthread_cond_destroy(&pool->left);
	free(pool);
}

/* Ends a thread; the last one out of a closed pool takes the pool along. */
static void leave(struct lane_pool *pool)
{
	pool->threads--;
	bool is_last = pool->threads == 0 && pool->is_closed && !pool->loop;
	pthread_cond_signal(&pool->left);
	pthread_mutex_unlock(&pool->lock);
	if (is_last)
		free_pool(pool);
}

static void *thread_main(void *arg)
{
	struct lane_pool *pool = arg;
	pthread_setname_np(pthread_self(), "lane");
	pthread_mutex_lock(&pool->lock);
	for (struct lane_job *job; (job = take_job(pool));) {
		pthread_mutex_unlock(&pool->lock);
		job->run(job);
		pthread_mutex_lock(&pool->lock);
		if (!pool->is_closed)
			loop_post(pool->loop, post_returned, job);
	}
	leave(pool);
	return NULL;
}

/* Under the lock. All signals stay with the main thread. */
static void start_thread(struct lane_pool *pool)
{
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, THREAD_STACK_SIZE);
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_t thread;
	int rc = pthread_create(&thread, &attr, thread_main, pool);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	if (rc == 0)
		pool->threads++;
	else
		log_error("cannot start a lane thread beside %d others: %s", pool->threads,
		        strerror(rc));
}

struct lane_pool *lane_pool_new(struct loop *loop)
{
	struct lane_pool *pool = xcalloc(1, sizeof(*pool));
	xmlInitParser(); /* not safe when several threads come first */
	pool->loop = loop;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&pool->work, &attr);
	pthread_cond_init(&pool->left, NULL);
	pthread_condattr_destroy(&attr);
	return pool;
}

void lane_pool_free(struct lane_pool *pool)
{
	if (!pool)
		return;
	pthread_mutex_lock(&pool->lock);
	pool->is_closed = true;
	pthread_cond_broadcast(&pool->work);
	while (pool->idle > 0)
		pthread_cond_wait(&pool->left, &pool->lock);
	pool->loop = NULL; /* from now on the last thread frees the pool */
	bool is_last = pool->threads == 0;
	pthread_mutex_unlock(&pool->lock);
	if (is_last)
		free_pool(pool);
}

void lane_pool_submit(struct lane_pool *pool, struct lane_job *job)
{
	LOCK_SCOPE(&pool->lock);
	job->next = NULL;
	job->pool = pool;
	job->is_stuck = false;
	if (pool->first)
		pool->last->next = job;
	else
		pool->first = job;
	pool->last = job;
	pool->queued++;
	/* Without a thread for want of memory the job waits for the next submit or a thread that
	 * gets free. */
	if (pool->queued > pool->idle)
		start_thread(pool);
	else
		pthread_cond_signal(&pool->work);
}

void lane_job_set_stuck(struct lane_job *job)
{
	if (job->is_stuck)
		return;
	job->is_stuck = true;
	atomic_fetch_add(&job->pool->stuck, 1);
}

void lane_pool_get_stats(struct lane_pool *pool, struct lane_pool_stats *ret_stats)
{
	LOCK_SCOPE(&pool->lock);
	*ret_stats = (struct lane_pool_stats){
	        .threads = pool->threads,
	        .busy = pool->threads - pool->idle,
	        .stuck = atomic_load(&pool->stuck),
	};
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The core loop over libuv. Lock: `lock` guards only the queue and is never held across a call. */
#include "base/loop.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/vec.h"

#define CALLBACK_LOG_NS 20000000

struct post {
	void (*fn)(void *arg);
	void *arg;
};

struct post_queue {
	struct post *items;
	size_t len, capacity;
};

struct loop {
	uv_loop_t uv;
	uv_async_t wake;
	uv_check_t turn;
	pthread_t owner;
	pthread_mutex_t lock;
	struct post_queue queue; /* under lock */
	_Atomic bool stopping;
	_Atomic int64_t longest_ns;
	_Atomic int64_t last_turn_ms;
};

struct loop_timer {
	uv_timer_t uv;
	struct loop *loop;
	void (*fn)(void *arg);
	void *arg;
};

static void measure(struct loop *l, int64_t started_ns, const char *what)
{
	int64_t spent = clock_now_ns() - started_ns;
	if (spent > atomic_load(&l->longest_ns))
		atomic_store(&l->longest_ns, spent);
	if (spent > CALLBACK_LOG_NS)
		log_warning(
		        "a %s held the core loop for %lld ms", what, (long long)(spent / 1000000));
}

static void drain(uv_async_t *async)
{
	struct loop *l = async->data;
	struct post_queue taken;
	{
		LOCK_SCOPE(&l->lock);
		taken = l->queue;
		l->queue = (struct post_queue){0};
	}
	VEC_FOR_EACH (&taken, p) {
		int64_t started = clock_now_ns();
		p->fn(p->arg);
		measure(l, started, "posted call");
	}
	VEC_DONE(&taken);
	if (atomic_load(&l->stopping))
		uv_stop(&l->uv);
}

static void on_turn(uv_check_t *turn)
{
	struct loop *l = turn->data;
	atomic_store(&l->last_turn_ms, clock_now_ns() / 1000000);
}

struct loop *loop_new(void)
{
	struct loop *l = xcalloc(1, sizeof(*l));
	uv_loop_init(&l->uv);
	uv_async_init(&l->uv, &l->wake, drain);
	l->wake.data = l;
	uv_check_init(&l->uv, &l->turn);
	l->turn.data = l;
	uv_check_start(&l->turn, on_turn);
	l->owner = pthread_self();
	pthread_mutex_init(&l->lock, NULL);
	atomic_store(&l->last_turn_ms, clock_now_ns() / 1000000);
	return l;
}

static void close_handle(uv_handle_t *handle, void *arg)
{
	(void)arg;
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	uv_walk(&l->uv, close_handle, NULL);
	uv_run(&l->uv, UV_RUN_DEFAULT);
	uv_loop_close(&l->uv);
	VEC_DONE(&l->queue);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

void loop_run(struct loop *l)
{
	assert(loop_is_mine(l));
	while (!atomic_load(&l->stopping))
		uv_run(&l->uv, UV_RUN_DEFAULT);
}

static void wake_up(uv_timer_t *timer)
{
	(void)timer; /* that a turn ends is all that is wanted */
}

bool loop_run_until(struct loop *l, bool (*done)(void *arg), void *arg, int64_t timeout_ms)
{
	assert(loop_is_mine(l));
	int64_t end_ns = clock_now_ns() + timeout_ms * 1000000;
	uv_timer_t tick;
	uv_timer_init(&l->uv, &tick);
	uv_timer_start(&tick, wake_up, 5, 5);
	bool is_done;
	while (!(is_done = done(arg)) && clock_now_ns() < end_ns)
		uv_run(&l->uv, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&tick, NULL);
	uv_run(&l->uv, UV_RUN_NOWAIT); /* `tick` lives on this stack until its close is done */
	return is_done;
}

void loop_stop(struct loop *l)
{
	atomic_store(&l->stopping, true);
	uv_async_send(&l->wake);
}

uv_loop_t *loop_uv(struct loop *l)
{
	return &l->uv;
}

bool loop_is_mine(const struct loop *l)
{
	return pthread_equal(l->owner, pthread_self()) != 0;
}

void loop_post(struct loop *l, void (*fn)(void *arg), void *arg)
{
	{
		LOCK_SCOPE(&l->lock);
		VEC_PUSH(&l->queue, ((struct post){.fn = fn, .arg = arg}));
	}
	uv_async_send(&l->wake);
}

static void on_timer(uv_timer_t *uv)
{
	struct loop_timer *t = uv->data;
	struct loop *l = t->loop;
	int64_t started = clock_now_ns();
	t->fn(t->arg); /* may free t */
	measure(l, started, "timer");
}

struct loop_timer *loop_timer_start(
        struct loop *l, int64_t delay_ms, int64_t repeat_ms, void (*fn)(void *arg), void *arg)
{
	assert(loop_is_mine(l));
	struct loop_timer *t = xcalloc(1, sizeof(*t));
	*t = (struct loop_timer){.loop = l, .fn = fn, .arg = arg};
	uv_timer_init(&l->uv, &t->uv);
	t->uv.data = t;
	uv_update_time(&l->uv);
	uv_timer_start(
	        &t->uv, on_timer, (uint64_t)(delay_ms < 0 ? 0 : delay_ms), (uint64_t)repeat_ms);
	return t;
}

static void free_timer(uv_handle_t *handle)
{
	free(handle->data);
}

void loop_timer_free(struct loop_timer *t)
{
	if (!t)
		return;
	assert(loop_is_mine(t->loop));
	uv_timer_stop(&t->uv);
	uv_close((uv_handle_t *)&t->uv, free_timer);
}

int64_t loop_take_longest_ns(struct loop *l)
{
	return atomic_exchange(&l->longest_ns, 0);
}

int64_t loop_last_turn_ms(const struct loop *l)
{
	return atomic_load(&l->last_turn_ms);
}

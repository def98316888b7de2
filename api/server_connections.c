/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections of a server and their deadlines. The library only knows idle times: a client that
 * sends one byte now and then lives for ever. So every phase has an absolute deadline here, and a
 * thread looks a few times a second. It shuts the socket down; the connection's own thread then
 * sees the end and cleans up.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "api/flow.h"
#include "api/server_internal.h"
#include "api/stream.h"
#include "base/cleanup.h"
#include "base/clock.h"

/* Under the lock, so the connection and its socket are there. */
static void check_deadlines(struct connection *c, int64_t now_ms)
{
	int64_t deadline_ms = atomic_load_explicit(&c->deadline_ms, memory_order_relaxed);
	if (deadline_ms > 0 && deadline_ms < now_ms)
		shutdown(c->fd, SHUT_RDWR);
	if (c->exchange)
		exchange_expire(c->exchange, now_ms);
	if (c->flow)
		flow_tick(c->flow, now_ms);
	if (c->stream && stream_tick(c->stream, now_ms))
		shutdown(c->fd, SHUT_RDWR);
}

static void wait_for_tick(struct connections *all)
{
	if (all->n == 0) {
		pthread_cond_wait(&all->changed, &all->lock);
		return;
	}
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += (long)all->tick_ms * 1000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_cond_timedwait(&all->changed, &all->lock, &until);
}

static void *reap(void *arg)
{
	struct connections *all = arg;
	LOCK_SCOPE(&all->lock);
	while (!all->is_stopping || all->n > 0 || !all->is_final) {
		wait_for_tick(all);
		int64_t now_ms = clock_now_ms();
		for (struct connection *c = all->first; c; c = c->next)
			check_deadlines(c, now_ms);
	}
	return NULL;
}

void connections_start(struct connections *all, int tick_ms)
{
	pthread_condattr_t attributes;
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_mutex_init(&all->lock, NULL);
	pthread_cond_init(&all->changed, &attributes);
	pthread_condattr_destroy(&attributes);
	all->tick_ms = tick_ms;
	if (pthread_create(&all->reaper, NULL, reap, all) != 0)
		abort();
}

void connections_stop(struct connections *all)
{
	pthread_mutex_lock(&all->lock);
	all->is_stopping = all->is_final = true;
	pthread_cond_broadcast(&all->changed);
	pthread_mutex_unlock(&all->lock);
	pthread_join(all->reaper, NULL);
	pthread_cond_destroy(&all->changed);
	pthread_mutex_destroy(&all->lock);
}

void connections_add(struct connections *all, struct connection *c)
{
	LOCK_SCOPE(&all->lock);
	c->next = all->first;
	if (c->next)
		c->next->previous = c;
	all->first = c;
	if (all->n++ == 0)
		pthread_cond_broadcast(&all->changed);
}

void connections_remove(struct connections *all, struct connection *c)
{
	LOCK_SCOPE(&all->lock);
	if (c->next)
		c->next->previous = c->previous;
	if (c->previous)
		c->previous->next = c->next;
	else
		all->first = c->next;
	all->n--;
}

bool connections_may_add(struct connections *all, const char *address, int max, int max_per_address)
{
	LOCK_SCOPE(&all->lock);
	if (all->n >= max || all->is_stopping)
		return false;
	int n = 0;
	for (struct connection *c = all->first; address && c; c = c->next)
		n += !c->peer.is_unix && strcmp(c->peer.address, address) == 0;
	return !address || n < max_per_address;
}

void connections_set_stream(struct connections *all, struct connection *c, struct stream *stream)
{
	bool must_end;
	pthread_mutex_lock(&all->lock);
	c->stream = stream;
	must_end = stream && all->is_stopping;
	pthread_mutex_unlock(&all->lock);
	if (must_end)
		stream_close(stream);
}

static void end_flow(struct flow *flow)
{
	struct err e = {0};
	err_set(&e, ERR_UNAVAILABLE, "the server stops");
	flow_cancel(flow, ERR_UNAVAILABLE, &e);
}

void connections_set_flow(struct connections *all, struct connection *c, struct flow *flow)
{
	LOCK_SCOPE(&all->lock);
	c->flow = flow;
	if (flow && all->is_stopping)
		end_flow(flow);
}

void connections_set_exchange(struct connections *all, struct connection *c, struct exchange *ex)
{
	LOCK_SCOPE(&all->lock);
	c->exchange = ex;
}

void connections_close_streams(struct connections *all)
{
	LOCK_SCOPE(&all->lock);
	all->is_stopping = true;
	for (struct connection *c = all->first; c; c = c->next) {
		if (c->stream)
			stream_close(c->stream);
		if (c->flow)
			end_flow(c->flow);
	}
}

void connections_wait_quiet(struct connections *all, int64_t deadline_ms)
{
	struct timespec pause = {.tv_nsec = 2000000};
	while (atomic_load(&all->active) > 0 && clock_now_ns() / 1000000 < deadline_ms)
		nanosleep(&pause, NULL);
}

void connections_expire_all(struct connections *all)
{
	LOCK_SCOPE(&all->lock);
	all->is_final = true;
	for (struct connection *c = all->first; c; c = c->next)
		if (c->exchange)
			exchange_expire(c->exchange, INT64_MAX);
}

void connections_check_parked(struct connections *all, struct connection *c)
{
	LOCK_SCOPE(&all->lock);
	if (all->is_final)
		exchange_expire(c->exchange, INT64_MAX);
}

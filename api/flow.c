/* SPDX-License-Identifier: Apache-2.0 */
/* Flows: the hand-over between a connection that never waits and a bulk thread that may. */
#include "api/flow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"

/* Those that have a pipe. */
static struct {
	pthread_mutex_t lock;
	struct flow *first;
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Under the pipe's lock. */
static void on_ready(void *arg)
{
	struct flow *flow = arg;
	if (atomic_load(&flow->is_first)) {
		exchange_unpark(flow->exchange);
		return;
	}
	if (atomic_exchange(&flow->gate, GATE_READY) != GATE_WAITING)
		return; /* not suspended yet: flow_wait sees it */
	atomic_store(&flow->gate, GATE_OPEN);
	flow->resume(flow->connection);
}

static int add(struct flow *flow, struct err *e)
{
	int n = 0, alike = 0;
	LOCK_SCOPE(&registry.lock);
	for (const struct flow *other = registry.first; other; other = other->next) {
		n++;
		alike += flow->key[0] && strcmp(other->key, flow->key) == 0;
	}
	if (n >= FLOWS_MAX)
		return err_set(e, ERR_LIMIT,
		        "%d uploads and downloads are running, no more than %d can", n, FLOWS_MAX);
	if (alike >= FLOWS_PER_KEY)
		return err_set(e, ERR_LIMIT,
		        "%d uploads and downloads of the same pool are running, no more than %d "
		        "can",
		        alike, FLOWS_PER_KEY);
	flow->next = registry.first;
	registry.first = flow;
	return 0;
}

/* Accepts one that was refused. */
static void drop(const struct flow *flow)
{
	LOCK_SCOPE(&registry.lock);
	for (struct flow **at = &registry.first; *at; at = &(*at)->next)
		if (*at == flow) {
			*at = flow->next;
			return;
		}
}

int flow_init(struct flow *flow, enum flow_direction direction, const char *key, size_t buffer,
        struct err *e)
{
	flow->refs = 1;
	flow->direction = direction;
	flow->is_first = direction == FLOW_DOWN;
	snprintf(flow->key, sizeof(flow->key), "%s", key ? key : "");
	pthread_mutex_init(&flow->lock, NULL);
	int rc = buffer > 0 ? add(flow, e) : 0;
	if (rc == 0 && buffer > 0)
		flow->pipe = pipe_new(buffer, on_ready, flow);
	return rc;
}

struct flow *flow_ref(struct flow *flow)
{
	atomic_fetch_add(&flow->refs, 1);
	return flow;
}

void flow_unref(struct flow *flow)
{
	if (!flow || atomic_fetch_sub(&flow->refs, 1) != 1)
		return;
	drop(flow);
	pipe_unref(flow->pipe);
	pthread_mutex_destroy(&flow->lock);
	flow->free(flow);
}

/* ---- the work ---- */

static int run(struct bulk_job *job, void *arg, struct err *e)
{
	struct flow *flow = arg;
	(void)e;
	atomic_store(&flow->job, job);
	flow->run(flow); /* may free it */
	return 0;
}

static void done(void *arg, int rc, const struct err *e)
{
	(void)arg, (void)rc, (void)e; /* `run` ended it all */
}

void flow_start(struct flow *flow, struct exchange *ex)
{
	flow_ref(flow);
	exchange_ref(ex);
	flow->exchange = ex;
	atomic_store(&ex->deadline_ms, clock_now_ms() + FLOW_STALL_MS);
	atomic_store(&ex->flow_began, true);
	if (atomic_load(&ex->hold) == HOLD_EXPIRED) {
		struct err e = {0};
		err_set(&e, ERR_DEADLINE, "it could not begin in time");
		flow_cancel(flow, ERR_DEADLINE, &e);
	}
	bool is_end;
	if (flow->direction == FLOW_DOWN)
		pipe_poll(flow->pipe, NULL, 0,
		        &is_end); /* on_ready comes with the first byte, or the end */
	struct bulk_call call = {
	        .run = run, .done = done, .arg = flow, .key = flow->key[0] ? flow->key : NULL};
	bulk_submit(ex->rq.app->bulk, &call);
}

void flow_cancel(struct flow *flow, int rc, const struct err *e)
{
	if (!flow->pipe)
		return;
	if (flow->direction == FLOW_UP)
		pipe_close_writer(flow->pipe, rc, e);
	else
		pipe_close_reader(flow->pipe, rc, e);
}

/* Nobody else cancels the job. */
bool flow_is_stopping(const struct flow *flow)
{
	const struct bulk_job *job = atomic_load(&flow->job);
	return job && bulk_is_cancelled(job);
}

bool flow_is_cancelled(const struct flow *flow)
{
	struct err e;
	return flow_is_stopping(flow) || pipe_get_error(flow->pipe, &e);
}

/* ---- the connection's side ---- */

void flow_attach(struct flow *flow, void *connection, void (*suspend)(void *connection),
        void (*resume)(void *connection))
{
	flow->connection = connection;
	flow->suspend = suspend;
	flow->resume = resume;
	atomic_store(&flow->is_first, false);
}

void flow_wait(struct flow *flow)
{
	int open = GATE_OPEN;
	flow->suspend(flow->connection);
	atomic_store(&flow->waiting_since_ms, clock_now_ms());
	if (atomic_compare_exchange_strong(&flow->gate, &open, GATE_WAITING))
		return;
	atomic_store(&flow->gate, GATE_OPEN); /* it is worth trying again already */
	flow->resume(flow->connection);
}

void flow_tick(struct flow *flow, int64_t now_ms)
{
	if (atomic_load(&flow->gate) != GATE_WAITING ||
	        now_ms - atomic_load(&flow->waiting_since_ms) <= FLOW_STALL_MS)
		return;
	struct err e = {0};
	err_set(&e, ERR_DEADLINE, "the %s gave no sign for %d s",
	        flow->direction == FLOW_UP ? "receiving side" : "source", FLOW_STALL_MS / 1000);
	flow_cancel(flow, ERR_DEADLINE, &e);
}

bool flow_leave(struct flow *flow)
{
	struct err e = {0};
	err_set(&e, ERR_GONE, "the client left before the end");
	flow_cancel(flow, ERR_GONE, &e);
	LOCK_SCOPE(&flow->lock);
	return flow->direction == FLOW_DOWN || flow->is_finished || !flow->exchange;
}

enum flow_result flow_offer(struct flow *flow, const char *data, size_t n, size_t *ret_taken)
{
	*ret_taken = 0;
	while (*ret_taken < n) {
		int64_t taken = pipe_offer(flow->pipe, data + *ret_taken, n - *ret_taken);
		if (taken <= 0)
			return taken < 0 ? FLOW_OVER : FLOW_FULL;
		*ret_taken += (size_t)taken;
	}
	return FLOW_TAKEN;
}

void flow_body_ended(struct flow *flow)
{
	pipe_close_writer(flow->pipe, 0, NULL);
}

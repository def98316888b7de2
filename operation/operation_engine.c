/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine: what it keeps, and how other threads reach it. Core loop only, but for
 * operation_inbox_put and operation_engine_count.
 *
 * The writer thread and the HTTP threads put messages into the inbox, in the order of commits; the
 * core loop drains it whole. A new operation is thereby known before anyone can cancel it or wait
 * for it.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/problem.h"
#include "base/str.h"
#include "operation/operation_internal.h"

struct operation_engine *operation_engine_new(
        struct loop *loop, struct writer *writer, void *context)
{
	struct operation_engine *engine = xcalloc(1, sizeof(*engine));
	engine->loop = loop;
	engine->writer = writer;
	engine->context = context;
	engine->kinds = map_new();
	engine->operations = map_new();
	engine->queues = map_new();
	engine->times = (struct operation_times){.retry_min_ms = 1000,
	        .retry_max_ms = 30000,
	        .patience_ms = HOST_PATIENCE_MS,
	        .report_ms = 1000};
	operation_fault_init(&engine->fault, getenv("BERTH_FAULT"));
	pthread_mutex_init(&engine->lock, NULL);
	return engine;
}

void operation_engine_set_times(struct operation_engine *engine, struct operation_times times)
{
	engine->times = times;
}

void operation_engine_register(struct operation_engine *engine, const struct operation_kind *kind)
{
	for (size_t i = 0; i < kind->n_steps; i++)
		assert(kind->steps[i].name && kind->steps[i].run);
	const void *before = map_put(engine->kinds, kind->name, (void *)kind);
	assert(!before);
	(void)before;
}

/* ---- the inbox ---- */

static void adopt(struct operation_engine *engine, struct operation *op)
{
	if (map_get(engine->operations, op->id)) { /* created before the start-up read the rows */
		operation_free(op);
		return;
	}
	map_put(engine->operations, op->id, op);
	atomic_fetch_add(&engine->n_queued, 1);
	operation_queue_append(op);
	if (!engine->stopped && operation_queue_may_begin(op))
		operation_begin(op);
}

static void take_item(struct operation_engine *engine, const struct inbox_item *item)
{
	struct operation *op;
	switch (item->message) {
	case INBOX_ADOPT:
		adopt(engine, item->op);
		break;
	case INBOX_CANCEL:
		op = map_get(engine->operations, item->id);
		if (op && !engine->stopped)
			operation_take_cancel(op);
		break;
	case INBOX_WAIT:
		operation_waiter_add(engine, item->id, item->waiter);
		break;
	}
}

static void drain_inbox(void *arg)
{
	struct operation_engine *engine = arg;
	VEC(struct inbox_item) taken = {0};
	{
		LOCK_SCOPE(&engine->lock);
		taken.items = TAKE(engine->inbox.items);
		taken.len = engine->inbox.len;
		engine->inbox.len = engine->inbox.capacity = 0;
	}
	VEC_FOR_EACH (&taken, item)
		take_item(engine, item);
	VEC_DONE(&taken);
}

void operation_inbox_put(struct operation_engine *engine, struct inbox_item item)
{
	{
		LOCK_SCOPE(&engine->lock);
		VEC_PUSH(&engine->inbox, item);
	}
	loop_post(engine->loop, drain_inbox, engine);
}

/* ---- start ---- */

static void take_stored_error(struct operation *op, const char *text)
{
	op->error = xcalloc(1, sizeof(*op->error));
	problem_from_json(text, op->error);
	json_t *problem = json_loads(text, 0, NULL);
	str_replace(&op->error_step, json_string_value(json_object_get(problem, "step")));
	json_decref(problem);
}

static int load_row(void *arg, const struct operation_row *row, struct err *e)
{
	(void)e;
	struct operation_engine *engine = arg;
	struct operation *op = operation_new(engine, row);
	op->loaded = true;
	if (row->error)
		take_stored_error(op, row->error);
	map_put(engine->operations, op->id, op);
	atomic_fetch_add(&engine->n_queued, 1);
	operation_queue_append(op);
	struct loaded_id loaded;
	memcpy(loaded.id, op->id, sizeof(loaded.id));
	VEC_PUSH(&engine->loaded, loaded);
	return 0;
}

/* Those in line that were cancelled before the restart end now, as they would have. */
static void take_up(struct operation *op)
{
	if (op->activity != OPERATION_IN_LINE)
		return; /* its turn came meanwhile */
	if (operation_queue_may_begin(op))
		operation_begin(op);
	else if (operation_is_cancelled(op))
		operation_take_cancel(op);
}

/* Some of them in each turn, so that thousands do not hold the loop. */
static void take_up_some(void *arg)
{
	struct operation_engine *engine = arg;
	for (int n = 0; n < BEGIN_PER_TURN && engine->n_looked_at < engine->loaded.len; n++) {
		const struct loaded_id *loaded = &engine->loaded.items[engine->n_looked_at++];
		struct operation *op = map_get(engine->operations, loaded->id);
		if (op && !engine->stopped)
			take_up(op);
	}
	if (engine->n_looked_at < engine->loaded.len && !engine->stopped)
		loop_post(engine->loop, take_up_some, engine);
	else
		VEC_DONE(&engine->loaded);
}

int operation_engine_load(struct operation_engine *engine, struct db *db, struct err *e)
{
	int rc = operation_store_each_active(db, load_row, engine, e);
	if (rc == 0)
		loop_post(engine->loop, take_up_some, engine);
	return rc;
}

/* ---- while it runs ---- */

void operation_engine_poke(struct operation_engine *engine, const char *host_id)
{
	size_t cursor = 0;
	void *value;
	while (!engine->stopped && map_next(engine->operations, &cursor, NULL, &value)) {
		struct operation *op = value;
		if (!host_id || str_equal(op->host_id, host_id))
			operation_take_poke(op);
	}
}

void operation_engine_count(struct operation_engine *engine, int *ret_running, int *ret_queued)
{
	*ret_running = atomic_load(&engine->n_running);
	*ret_queued = atomic_load(&engine->n_queued);
}

/* ---- stop ---- */

void operation_engine_stop(struct operation_engine *engine)
{
	if (engine->stopped)
		return;
	engine->stopped = true;
	size_t cursor = 0;
	void *value;
	int n_in_flight = 0;
	while (map_next(engine->operations, &cursor, NULL, &value)) {
		struct operation *op = value;
		n_in_flight += op->activity == OPERATION_STEPPING;
		loop_timer_free(TAKE(op->timer));
		loop_timer_free(TAKE(op->report.timer));
		operation_waiters_call(op, /* ended= */ false);
	}
	atomic_store(&engine->n_running, n_in_flight); /* falls as they answer */
}

static void free_inbox(struct operation_engine *engine)
{
	VEC_FOR_EACH (&engine->inbox, item) {
		operation_free(item->op);
		if (item->waiter)
			operation_waiter_end(item->waiter, /* ended= */ false);
	}
	VEC_DONE(&engine->inbox);
}

void operation_engine_free(struct operation_engine *engine)
{
	if (!engine)
		return;
	operation_engine_stop(engine);
	free_inbox(engine);
	size_t cursor = 0;
	void *value;
	while (map_next(engine->operations, &cursor, NULL, &value))
		operation_free(value);
	map_free(engine->operations);
	operation_queue_free_all(engine);
	VEC_DONE(&engine->loaded);
	map_free(engine->kinds);
	operation_fault_done(&engine->fault);
	pthread_mutex_destroy(&engine->lock);
	free(engine);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queues: operations with the same key, in order of creation. One begins when each before it is of a kind that its own
 * kind may run beside, and the other way round; as what waits counts as well, nothing overtakes what it may not run
 * beside. Core loop only.
 */
#include <stdlib.h>

#include "base/alloc.h"
#include "operation/operation_internal.h"

/* What stands before a place in the line, in sum. */
struct ahead {
	unsigned jobs;   /* of all */
	unsigned beside; /* what each of them allows */
	bool is_closed;  /* one of them runs alone: nothing behind it begins */
};

static struct ahead nothing_ahead(void)
{
	return (struct ahead){.beside = ~0u};
}

static unsigned job_of(const struct operation *op)
{
	return op->kind ? op->kind->job : 0;
}

static unsigned beside_of(const struct operation *op)
{
	return op->kind ? op->kind->beside : 0;
}

static bool is_free(const struct operation *op)
{
	return op->queue_previous == NULL;
}

static bool may_begin(const struct operation *op, const struct ahead *ahead)
{
	unsigned job = job_of(op);
	return is_free(op) || (!ahead->is_closed && job != 0 && (job & ~ahead->beside) == 0 &&
	                              (ahead->jobs & ~beside_of(op)) == 0);
}

static void pass(struct ahead *ahead, const struct operation *op)
{
	ahead->jobs |= job_of(op);
	ahead->beside &= beside_of(op);
	ahead->is_closed = ahead->is_closed || job_of(op) == 0 || ahead->beside == 0;
}

static void begin_those_whose_turn_has_come(struct operation_queue *queue)
{
	struct ahead ahead = nothing_ahead();
	for (struct operation *op = queue->first; op && !ahead.is_closed; op = op->queue_next) {
		if (op->activity == OPERATION_IN_LINE && !op->engine->stopped &&
		        may_begin(op, &ahead))
			operation_begin(op);
		pass(&ahead, op);
	}
}

bool operation_queue_may_begin(const struct operation *op)
{
	const struct operation_queue *queue = map_get(op->engine->queues, op->queue);
	struct ahead ahead = nothing_ahead();
	for (const struct operation *before = queue->first; before != op && !ahead.is_closed;
	        before = before->queue_next)
		pass(&ahead, before);
	return may_begin(op, &ahead);
}

unsigned operation_engine_jobs(const struct operation_engine *engine, const char *key)
{
	const struct operation_queue *queue = map_get(engine->queues, key);
	unsigned jobs = 0;
	for (const struct operation *op = queue ? queue->first : NULL; op; op = op->queue_next)
		if (op->activity != OPERATION_IN_LINE)
			jobs |= job_of(op);
	return jobs;
}

void operation_queue_append(struct operation *op)
{
	struct map *queues = op->engine->queues;
	struct operation_queue *queue = map_get(queues, op->queue);
	if (!queue) {
		queue = xcalloc(1, sizeof(*queue));
		map_put(queues, op->queue, queue);
	}
	op->queue_previous = queue->last;
	if (queue->last)
		queue->last->queue_next = op;
	else
		queue->first = op;
	queue->last = op;
}

void operation_queue_leave(struct operation *op)
{
	struct map *queues = op->engine->queues;
	struct operation_queue *queue = map_get(queues, op->queue);
	if (op->queue_previous)
		op->queue_previous->queue_next = op->queue_next;
	else
		queue->first = op->queue_next;
	if (op->queue_next)
		op->queue_next->queue_previous = op->queue_previous;
	else
		queue->last = op->queue_previous;
	op->queue_next = op->queue_previous = NULL;
	if (queue->first)
		begin_those_whose_turn_has_come(queue);
	else
		free(map_remove(queues, op->queue));
}

void operation_queue_free_all(struct operation_engine *engine)
{
	size_t cursor = 0;
	void *queue;
	while (map_next(engine->queues, &cursor, NULL, &queue))
		free(queue);
	map_free(engine->queues);
}

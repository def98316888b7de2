/* SPDX-License-Identifier: Apache-2.0 */
/* Queues: operations with the same key run one after another; the first in line is the one that
 * runs. Core loop only. */
#include <stdlib.h>

#include "base/alloc.h"
#include "operation/operation_internal.h"

static void begin_first(struct operation_queue *queue)
{
	struct operation *op = queue->first;
	if (op && op->activity == OPERATION_IN_LINE && !op->engine->stopped)
		operation_begin(op);
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
		begin_first(queue);
	else
		free(map_remove(queues, op->queue));
}

bool operation_queue_is_first(const struct operation *op)
{
	const struct operation_queue *queue = map_get(op->engine->queues, op->queue);
	return queue && queue->first == op;
}

/* Those in line behind the first that were cancelled before the restart end now, as they would
 * have. */
static void cancel_rest(struct operation_queue *queue)
{
	for (struct operation *op = queue->first; op; op = op->queue_next)
		if (op != queue->first && op->activity == OPERATION_IN_LINE &&
		        operation_is_cancelled(op))
			operation_take_cancel(op);
}

void operation_queue_begin_all(struct operation_engine *engine)
{
	size_t cursor = 0;
	void *queue;
	while (map_next(engine->queues, &cursor, NULL, &queue)) {
		begin_first(queue);
		cancel_rest(queue);
	}
}

void operation_queue_free_all(struct operation_engine *engine)
{
	size_t cursor = 0;
	void *queue;
	while (map_next(engine->queues, &cursor, NULL, &queue))
		free(queue);
	map_free(engine->queues);
}

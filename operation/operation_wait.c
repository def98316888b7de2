/* SPDX-License-Identifier: Apache-2.0 */
/* Waiters: calls that are told when an operation has ended, or that their time is up. Core loop
 * only. */
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "operation/operation_internal.h"

void operation_waiter_end(struct operation_waiter *waiter, bool ended)
{
	loop_timer_free(waiter->timer);
	waiter->fn(waiter->arg, ended);
	free(waiter);
}

static void on_timeout(void *arg)
{
	struct operation_waiter *waiter = arg;
	struct operation_waiter **link = &waiter->op->waiters;
	while (*link != waiter)
		link = &(*link)->next;
	*link = waiter->next;
	operation_waiter_end(waiter, /* ended= */ false);
}

void operation_waiter_add(
        struct operation_engine *engine, const char *id, struct operation_waiter *waiter)
{
	struct operation *op = map_get(engine->operations, id);
	if (!op || engine->stopped || waiter->timeout_ms <= 0) {
		operation_waiter_end(waiter, /* ended= */ !op);
		return;
	}
	waiter->op = op;
	waiter->next = op->waiters;
	op->waiters = waiter;
	waiter->timer = loop_timer_start(engine->loop, waiter->timeout_ms, 0, on_timeout, waiter);
}

void operation_waiters_call(struct operation *op, bool ended)
{
	struct operation_waiter *waiter = TAKE(op->waiters);
	while (waiter) {
		struct operation_waiter *next = waiter->next;
		operation_waiter_end(waiter, ended);
		waiter = next;
	}
}

void operation_engine_wait(struct operation_engine *engine, const char *id, int64_t timeout_ms,
        void (*fn)(void *arg, bool ended), void *arg)
{
	struct operation_waiter *waiter = xcalloc(1, sizeof(*waiter));
	*waiter = (struct operation_waiter){.fn = fn, .arg = arg, .timeout_ms = timeout_ms};
	struct inbox_item item = {.message = INBOX_WAIT, .waiter = waiter};
	snprintf(item.id, sizeof(item.id), "%s", id);
	operation_inbox_put(engine, item);
}

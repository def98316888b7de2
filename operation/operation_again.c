/* SPDX-License-Identifier: Apache-2.0 */
/* A step that waits for something and looks again after a while. Core loop. */
#include "operation/operation.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/loop.h"

struct again {
	struct operation *op;
	struct loop_timer *timer;
	void (*run)(struct operation *op);
};

static void on_again(void *arg)
{
	struct again *again = arg;
	struct operation *op = again->op;
	void (*run)(struct operation * op) = again->run;
	loop_timer_free(again->timer);
	free(again);
	if (operation_is_abandoned(op))
		operation_step_done(op, ERR_CANCELLED, NULL);
	else
		run(op);
}

void operation_step_again(struct operation *op, int delay_ms, void (*run)(struct operation *op))
{
	struct again *again = xcalloc(1, sizeof(*again));
	again->op = op;
	again->run = run;
	again->timer = loop_timer_start(operation_loop(op), delay_ms, 0, on_again, again);
}

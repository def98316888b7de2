/* SPDX-License-Identifier: Apache-2.0 */
/* Hourly pruning. */
#include "daemon/housekeeping.h"

#include <stdlib.h>

#include "api/idempotency_store.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "db/change_feed.h"
#include "operation/operation.h"

#define FIRST_MS            60000
#define PERIOD_MS           3600000
#define KEEP_IDEMPOTENCY_MS 86400000 /* api.md: 24 h */

struct housekeeping {
	struct housekeeping_config config;
	struct loop_timer *timer;
};

struct prune {
	int64_t events_before, operations_before, keys_before;
};

static int run_prune(struct db *db, void *arg, struct err *e)
{
	const struct prune *p = arg;
	int rc = change_prune(db, p->events_before, e);
	if (rc == 0)
		rc = operation_prune(db, p->operations_before, e);
	return rc < 0 ? rc : idempotency_prune(db, p->keys_before, e);
}

static void on_pruned(void *arg, int rc, const struct err *e)
{
	free(arg);
	if (rc < 0)
		log_err(LOG_LEVEL_WARNING, e, "old records could not be forgotten");
}

static void on_timer(void *arg)
{
	struct housekeeping *h = arg;
	int64_t now = clock_wall_ms();
	struct prune *p = xcalloc(1, sizeof(*p));
	p->events_before = now - h->config.options->keep_events_ms;
	p->operations_before = now - h->config.options->keep_operations_ms;
	p->keys_before = now - KEEP_IDEMPOTENCY_MS;
	writer_submit(h->config.writer,
	        (struct writer_job){.run = run_prune, .done = on_pruned, .arg = p});
}

struct housekeeping *housekeeping_start(const struct housekeeping_config *config)
{
	struct housekeeping *h = xcalloc(1, sizeof(*h));
	h->config = *config;
	h->timer = loop_timer_start(config->loop, FIRST_MS, PERIOD_MS, on_timer, h);
	return h;
}

void housekeeping_stop(struct housekeeping *h)
{
	if (!h)
		return;
	loop_timer_free(h->timer);
	free(h);
}

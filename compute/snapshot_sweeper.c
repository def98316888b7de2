/* SPDX-License-Identifier: Apache-2.0 */
/* The timer behind snapshot_sweep. Core loop; the sweep itself is a writer job. */
#include "compute/snapshot_sweeper.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/loop.h"
#include "compute/snapshot.h"
#include "compute/vm_disk.h"
#include "db/writer.h"

#define FIRST_MS  15000 /* hosts have been listed by then */
#define PERIOD_MS 60000

struct snapshot_sweeper {
	const struct operation_services *services;
	struct loop_timer *timer;
	int64_t swept_at; /* wall; when the last sweep was asked for; core loop */
};

struct sweep {
	struct vms *vms;
	int64_t since_ms;
};

static int run_sweep(struct db *db, void *arg, struct err *e)
{
	const struct sweep *sweep = arg;
	int n = 0;
	int rc = snapshot_sweep(db, sweep->vms, sweep->since_ms, &n, e);
	return rc < 0 ? rc : vm_disk_sweep(db, sweep->vms, e);
}

static void on_swept(void *arg, int rc, const struct err *e)
{
	free(arg);
	if (rc < 0)
		log_err(LOG_LEVEL_WARNING, e,
		        "layers of deleted snapshots could not be looked for");
}

static void on_timer(void *arg)
{
	struct snapshot_sweeper *sweeper = arg;
	struct sweep *sweep = xcalloc(1, sizeof(*sweep));
	*sweep = (struct sweep){.vms = sweeper->services->vms, .since_ms = sweeper->swept_at};
	/* A stop that is being recorded now is seen by the next one, too. */
	sweeper->swept_at = clock_wall_ms() - PERIOD_MS / 2;
	writer_submit(sweeper->services->writer,
	        (struct writer_job){.run = run_sweep, .done = on_swept, .arg = sweep});
}

struct snapshot_sweeper *snapshot_sweeper_new(const struct operation_services *services)
{
	struct snapshot_sweeper *sweeper = xcalloc(1, sizeof(*sweeper));
	sweeper->services = services;
	sweeper->timer = loop_timer_start(services->loop, FIRST_MS, PERIOD_MS, on_timer, sweeper);
	return sweeper;
}

void snapshot_sweeper_free(struct snapshot_sweeper *sweeper)
{
	if (!sweeper)
		return;
	loop_timer_free(sweeper->timer);
	free(sweeper);
}

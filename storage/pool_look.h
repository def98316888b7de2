/* SPDX-License-Identifier: Apache-2.0 */
/* One look of the pool monitor at a pool through one host: what runs on the lane. */
#pragma once

#include <stdatomic.h>

#include "storage/pool_monitor_store.h"

struct readers;

struct pool_look {
	struct readers *readers; /* borrowed */
	struct pool_pair pair;
	bool wants_list; /* compare the volumes, too */
	atomic_bool
	        has_begun; /* may be read at any time; what follows when the call returned in time */
	bool is_gone;      /* the pool is not there any more */
	int64_t warn_percent;
	struct pool_info info;
	struct drift_verdicts verdicts; /* owned */
};
/* Lane thread; `arg` is a struct pool_look. */
int pool_look_run(
        const struct driver *driver, struct driver_connection *c, void *arg, struct err *e);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lane carries the blocking calls to one host: FIFO per class, urgent before control before
 * background, at most 3 calls in flight plus one urgent, and at most one per domain. A call that
 * passes its timeout is given up (its thread is set aside and counted, never waited for) and its
 * domain is quarantined: later calls for it fail at once with ERR_VM_STUCK until the hung call has
 * returned.
 *
 * Threads come from one elastic pool shared by all lanes. Everything but `run` happens on the core
 * loop.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/loop.h"
#include "hypervisor/driver.h"

enum lane_class { LANE_URGENT, LANE_CONTROL, LANE_BACKGROUND, LANE_CLASSES };

struct lane_call {
	enum lane_class class;
	const char *domain;       /* UUID, copied; NULL: a call for the host as such */
	int64_t timeout_ms;       /* from the moment it runs; waiting in the queue counts against
	                             queue_timeout_ms */
	int64_t queue_timeout_ms; /* 0: as timeout_ms */
	/* Lane thread. May block. */
	int (*run)(
	        const struct driver *driver, struct driver_connection *c, void *arg, struct err *e);
	/*
	 * Core loop, exactly once. rc is run's result, or ERR_DEADLINE (given up: `run` may still
	 * be executing, so what it writes in `arg` must not be read), ERR_VM_STUCK (quarantined:
	 * never run), ERR_HOST_DOWN / ERR_HOST_SLOW (no connection), ERR_CANCELLED (the lane was
	 * freed).
	 */
	void (*done)(void *arg, int rc, const struct err *e);
	/* Core loop, once, after both done was called and run has returned; frees arg. May be NULL.
	 */
	void (*release)(void *arg);
	void *arg;
};

struct lane_pool; /* threads shared by lanes */
struct lane_pool *lane_pool_new(struct loop *loop);
/* Waits for idle threads only; those stuck in a call are left behind. */
void lane_pool_free(struct lane_pool *pool);

struct lane_pool_stats {
	int threads, busy, stuck;
};
void lane_pool_get_stats(struct lane_pool *pool, struct lane_pool_stats *ret_stats);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks at each pool through each of its hosts, again and again, and records what it finds (table pool_host): reachable
 * or not, space, files that differ from what is recorded. One call per pool and host at a time, so a pool that hangs
 * delays nobody but itself.
 *
 *	          due: background call to the lane, key = pool id, deadline 10 s
 *	RESTING -----------------------------------------------------------------> LOOKING
 *	   ^  ok, error: recorded                                                     |
 *	   +--------------------------------------------------------------------------+
 *	   |  deadline: "unknown", recorded; further calls are refused until the hung one returns, then it is ok again
 *
 * Core loop, except where said.
 */
#pragma once

#include <stdint.h>

struct operation_services;
struct pool_monitor;

struct pool_monitor_config {
	struct operation_services *services; /* borrowed */
	int64_t check_ms;                    /* between two looks at a pool through a host */
	int drift_every;                     /* each how manieth look lists the volumes; 0: never */
	int64_t deadline_ms;                 /* 0: 10 s */
};
struct pool_monitor *pool_monitor_new(const struct pool_monitor_config *config);
/* No look begins any more; those in flight are recorded while the writer runs. */
void pool_monitor_stop(struct pool_monitor *m); /* accepts NULL */
/* After the writer has stopped and the loop no longer runs. */
void pool_monitor_free(struct pool_monitor *m); /* accepts NULL */
/* The host was just connected: its pools are due. */
void pool_monitor_host_up(struct pool_monitor *m, const char *host_id);
/* Any thread: pools were made, changed or deleted; NULL: nothing. */
void pool_monitor_refresh(struct pool_monitor *m);
/* Any thread: pool `pool_id` is looked at now through all its hosts, its volumes compared. */
void pool_monitor_check(struct pool_monitor *m, const char *pool_id);

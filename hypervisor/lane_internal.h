/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside hypervisor/ only: the pool's jobs, and the lane with the links (driver connections) its
 * calls run on. Everything here is core loop only, except what a job runs.
 */
#pragma once

#include "base/map.h"
#include "base/uuid.h"
#include "hypervisor/lane.h"

/* libvirtd serves five requests per client at once; the fifth is kept for the heartbeat. */
#define LANE_MAX_NORMAL    3 /* control and background */
#define LANE_MAX_IN_FLIGHT 4 /* with urgent ones, without the heartbeat */
#define LANE_MAX_HUNG      3 /* then the link wants to be replaced */

/* A job for the pool, embedded in its owner's object; must live until `returned` was called. */
struct lane_job {
	void (*run)(struct lane_job *job);      /* lane thread, may block */
	void (*returned)(struct lane_job *job); /* core loop */
	void *arg;
	struct lane_job *next;  /* the pool's */
	struct lane_pool *pool; /* the pool's */
	bool is_stuck;          /* the pool's, core loop */
};
void lane_pool_submit(struct lane_pool *pool, struct lane_job *job);
/* Counts the job's thread as stuck until it returns. */
void lane_job_set_stuck(struct lane_job *job);

struct lane_entry; /* a submitted call */

/* One driver connection and the calls running on it. Embedded in host_connection.c's link. */
struct lane_link {
	struct lane *lane;
	const struct driver *driver;
	struct driver_connection *connection;
	struct lane_entry *running; /* list */
	int n_in_flight, n_normal, n_hung;
	bool is_lost; /* broken or silent: says nothing about the domains its calls wait for */
};

struct lane_queue {
	struct lane_entry *first, *last;
};

struct lane {
	struct loop *loop;      /* borrowed */
	struct lane_pool *pool; /* borrowed */
	const char *name;       /* borrowed: the host's */
	struct lane_link *link; /* borrowed; what calls run on, or NULL */
	struct lane_queue queues[LANE_CLASSES];
	struct map *running; /* domain -> its struct lane_entry in flight */
	int n_queued, n_in_flight, n_hung;
	void (*on_hung)(struct lane_link *link); /* another call of the link was given up */
	void (*on_idle)(struct lane_link *link); /* the link's last call has returned */
};

void lane_init(struct lane *lane);
void lane_done(struct lane *lane); /* nothing queued, nothing in flight */
/* Queues a call and starts it when its turn comes. */
void lane_submit(struct lane *lane, const struct lane_call *call);
/* Fails a call, later, without queueing it. */
void lane_refuse(struct lane *lane, const struct lane_call *call, const struct err *e);
/* Fails queued calls; `keep_urgent` leaves those. */
void lane_fail_queued(struct lane *lane, const struct err *e, bool keep_urgent);
/* Starts what may start; to be called after `link` changed. */
void lane_pump(struct lane *lane);
/* The link is gone: its calls get a moment to return, and their domains are free for the next link.
 */
void lane_link_lose(struct lane_link *link);
/* Loses the link and gives up all calls on it now. */
void lane_link_abandon(struct lane_link *link, const struct err *e);
bool lane_is_stuck(const struct lane *lane, const char *domain, int64_t *ret_since_ms);

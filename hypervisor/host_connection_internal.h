/* SPDX-License-Identifier: Apache-2.0 */
/* The halves of a host connection: states (host_connection.c), links (host_connection_link.c),
 * heartbeat. */
#pragma once

#include "hypervisor/host_connection.h"
#include "hypervisor/lane_internal.h"

/*
 * One connection attempt and what became of it:
 *
 *   OPENING -> CURRENT -> RETIRED -> CLOSING -> freed
 *      +--------- failed or unwanted ---^
 *
 * It holds a reference to its host and is what the driver's events point to, so it is freed only
 * after close has returned. RETIRED waits for the calls and the heartbeat that still run on it,
 * however long.
 */
enum host_link_phase { LINK_OPENING, LINK_CURRENT, LINK_RETIRED, LINK_CLOSING };

struct host_link {
	struct lane_link lane; /* first, so that a lane_link is a host_link */
	struct host_connection *host;
	struct host_link *next; /* among the host's links */
	enum host_link_phase phase;
	struct lane_job job; /* opening, later closing */
	int open_rc;         /* with the next two: the thread's until the job returned */
	struct err open_err;
	struct host_facts facts;
	bool is_broken; /* the driver said closed */
	char broken_reason[200];
	struct lane_job heartbeat;
	bool is_beating; /* a heartbeat is under way */
	bool is_healthy; /* has answered one in time */
	int64_t beat_started_ns, beat_ended_ns;
	int beat_rc;
	struct err beat_err;
};

struct host_connection {
	struct host_connection_config config; /* defaults filled in; strings owned */
	const struct driver *driver;
	struct lane lane;
	int refs; /* the owner's, and one per link */
	bool is_freed;
	bool is_in_up; /* calls from inside the `up` callback are taken */
	enum host_state state;
	char reason[600];
	struct host_link *links;   /* all of them, newest first */
	struct host_link *link;    /* current, or NULL */
	struct host_link *opening; /* at most one */
	struct loop_timer *open_timer, *retry_timer;
	int64_t retry_ms; /* the last wait; 0: none since the connection was healthy */
	bool was_up, was_healthy;
	/* Heartbeat of the current link. */
	struct loop_timer *beat_timer, *late_timer;
	int64_t last_answer_ns, rtt_ns;
	int in_time; /* answers in time in a row */
	bool is_late;
	int64_t replaced, reconnects;
};

void host_unref(struct host_connection *c);
void host_set_state(struct host_connection *c, enum host_state state, const char *reason);
/* The current link is gone: DOWN, and a new attempt after a wait. */
void host_break(struct host_connection *c, const char *reason);
/* Plans the next attempt unless one is planned or under way. */
void host_plan_retry(struct host_connection *c);
/* Replaces the current link if too many calls hang on it. */
void host_check_hung(struct host_connection *c);
/* A link opened: it becomes the current one. */
void host_adopt(struct host_connection *c, struct host_link *link);
void host_open_failed(struct host_connection *c, const struct err *e);

void host_link_open(struct host_connection *c);
void host_link_retire(struct host_link *link);
/* Closes a retired link once nothing runs on it. */
void host_link_settle(struct host_link *link);

void host_heartbeat_start(struct host_connection *c);
void host_heartbeat_stop(struct host_connection *c);

/*
 * The wait before the next attempt. Decorrelated jitter ("Exponential Backoff And Jitter", AWS
 * Architecture Blog): uniform in [min, 3 * previous], capped. After a healthy connection broke, a
 * few quick tries come first, starting at about a tenth of the minimum. `random` is any 64 bits.
 * Pure.
 */
int64_t host_backoff_next(
        int64_t previous_ms, bool was_healthy, int64_t min_ms, int64_t max_ms, uint64_t random);

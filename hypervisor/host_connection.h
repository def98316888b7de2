/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A host's connection: opening, heartbeat, states with hysteresis, replacement, reconnect, and its
 * lane.
 *
 *               open ok                 heartbeat 2 s late          20 s without an answer
 *  CONNECTING ----------> OK ---------------------------> SLOW --------------------------> DOWN
 *      ^  |               ^ \  connection closed           |  two answers in time           |
 *      |  | open failed   |  +----------------------+      +--> OK                          |
 *      |  v               |                         v                                       |
 *      | DOWN <-----------+------------------------ DOWN   (jittered wait 1..60 s, then opening again)
 *      +------------------------------------------------------------------------------------+
 *
 * At most one opening is outstanding; a connection with three hung calls is replaced before five
 * freeze it (libvirtd serves five per client); the old one is closed when its calls have returned.
 * All functions: core loop only.
 */
#pragma once

#include "hypervisor/lane.h"

enum host_state { HOST_CONNECTING, HOST_OK, HOST_SLOW, HOST_DOWN };
const char *host_state_name(enum host_state state); /* "connecting", "ok", "slow", "down" */

struct host_connection;

/* All on the core loop. */
struct host_connection_callbacks {
	/* A transition; `reason` is a sentence ("no answer to the heartbeat for 2.1 s"), "" when
	 * ok. */
	void (*state)(void *arg, enum host_state state, const char *reason);
	/* After each (re)connection, before the state becomes ok: facts are fresh; events are
	 * subscribed: now is the time for one full listing. `facts` borrowed for the call. */
	void (*up)(void *arg, const struct host_facts *facts);
	void (*domain)(void *arg, const struct domain_event *event);
	void *arg;
};

struct host_connection_config {
	struct loop *loop;
	struct lane_pool *pool;
	const char *name, *uri; /* copied */
	struct host_connection_callbacks callbacks;
	/* 0: the default. Tests shorten them. */
	int64_t heartbeat_ms;     /* 2000 */
	int64_t slow_after_ms;    /* 2000 */
	int64_t down_after_ms;    /* 20000 */
	int64_t reconnect_min_ms; /* 1000, for the first retry after a connection that was ok: 100
	                           */
	int64_t reconnect_max_ms; /* 60000 */
	int64_t open_timeout_ms; /* 10000: then the state says so, the attempt stays the only one */
};

/* Starts connecting at once. */
struct host_connection *host_connection_new(const struct host_connection_config *config);
/* Cancels queued calls; calls in flight are set aside; frees itself when the last one returned. No
 * callback but `done`/`release` of its calls happens afterwards. */
void host_connection_free(struct host_connection *c);
enum host_state host_connection_state(const struct host_connection *c);
const char *host_connection_reason(const struct host_connection *c);
/* Queues a call. When the host is not OK: fails it (asynchronously) with HOST_DOWN or HOST_SLOW and
 * the reason, except urgent calls on a slow host. */
void host_connection_submit(struct host_connection *c, const struct lane_call *call);
/* Whether a hung call keeps this domain quarantined; *ret_since_ms monotonic. */
bool host_connection_is_stuck(
        const struct host_connection *c, const char *domain, int64_t *ret_since_ms);
/* Try again now instead of after the wait (an operator asked, or the host answered elsewhere). */
void host_connection_retry_now(struct host_connection *c);

struct host_connection_stats {
	int64_t in_flight, queued, hung, replaced, reconnects, heartbeat_rtt_ns;
};
void host_connection_get_stats(const struct host_connection *c, struct host_connection_stats *ret);

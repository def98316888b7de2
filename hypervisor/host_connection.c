/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A host's states and what moves it between them (drawn in host_connection.h). Core loop only.
 *
 * Callbacks may free the host: host_connection_free only marks it, and lets go of it from the loop,
 * so functions here may go on after a callback as long as they start nothing once `is_freed` is
 * set.
 */
#include "hypervisor/host_connection_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"

const char *host_state_name(enum host_state state)
{
	static const char *const names[] = {
	        [HOST_CONNECTING] = "connecting",
	        [HOST_OK] = "ok",
	        [HOST_SLOW] = "slow",
	        [HOST_DOWN] = "down",
	};
	return names[state];
}

void host_unref(struct host_connection *c)
{
	if (--c->refs > 0)
		return;
	lane_done(&c->lane);
	free((char *)c->config.name);
	free((char *)c->config.uri);
	free(c);
}

static void unavailable_err(const struct host_connection *c, struct err *e)
{
	if (c->state == HOST_SLOW)
		err_set(e, ERR_HOST_SLOW, "host %s does not answer in time: %s", c->config.name,
		        c->reason);
	else if (c->state == HOST_CONNECTING)
		err_set(e, ERR_HOST_DOWN, "host %s is not connected yet", c->config.name);
	else
		err_set(e, ERR_HOST_DOWN, "host %s is down: %s", c->config.name, c->reason);
}

void host_set_state(struct host_connection *c, enum host_state state, const char *reason)
{
	if (c->is_freed || (c->state == state && strcmp(c->reason, reason) == 0))
		return;
	c->state = state;
	snprintf(c->reason, sizeof(c->reason), "%s", reason);
	if (state != HOST_OK) {
		struct err e;
		unavailable_err(c, &e);
		lane_fail_queued(&c->lane, &e, /* keep_urgent= */ state == HOST_SLOW);
	}
	if (c->config.callbacks.state)
		c->config.callbacks.state(c->config.callbacks.arg, state, c->reason);
}

int64_t host_backoff_next(
        int64_t previous_ms, bool was_healthy, int64_t min_ms, int64_t max_ms, uint64_t random)
{
	int64_t low = min_ms, high = 3 * (previous_ms > min_ms ? previous_ms : min_ms);
	if (was_healthy && previous_ms == 0) {
		low = min_ms / 20;
		high = 3 * min_ms / 20;
	} else if (was_healthy && previous_ms < min_ms) {
		low = previous_ms * 3 / 2;
		high = previous_ms * 5 / 2;
	}
	if (high > max_ms)
		high = max_ms;
	if (low > high)
		low = high;
	return low + (int64_t)(random % (uint64_t)(high - low + 1));
}

static void on_retry(void *arg)
{
	struct host_connection *c = arg;
	loop_timer_free(TAKE(c->retry_timer));
	if (!c->link)
		host_link_open(c);
	else
		host_check_hung(c);
}

void host_plan_retry(struct host_connection *c)
{
	if (c->is_freed || c->opening || c->retry_timer)
		return;
	uint64_t random = 0;
	if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
		random = (uint64_t)(uintptr_t)c; /* not random, but different between hosts */
	c->retry_ms = host_backoff_next(c->retry_ms, c->was_healthy, c->config.reconnect_min_ms,
	        c->config.reconnect_max_ms, random);
	c->retry_timer = loop_timer_start(c->config.loop, c->retry_ms, 0, on_retry, c);
}

void host_break(struct host_connection *c, const char *reason)
{
	struct host_link *link = TAKE(c->link);
	host_heartbeat_stop(c);
	c->lane.link = NULL;
	c->was_healthy = link->is_healthy || c->was_healthy;
	/* Older links go to the same host: their calls tell no more than this one's. */
	for (struct host_link *it = c->links; it; it = it->next)
		if (it->phase != LINK_OPENING)
			lane_link_lose(&it->lane);
	host_link_retire(link);
	log_warning("host %s: %s", c->config.name, reason);
	host_set_state(c, HOST_DOWN, reason);
	host_plan_retry(c);
}

void host_check_hung(struct host_connection *c)
{
	if (c->is_freed || c->state != HOST_OK || !c->link || c->opening || c->retry_timer ||
	        c->link->lane.n_hung < LANE_MAX_HUNG)
		return;
	log_warning("host %s: %d calls hang on its connection, which is being replaced",
	        c->config.name, c->link->lane.n_hung);
	host_link_open(c);
}

static void on_lane_hung(struct lane_link *link)
{
	host_check_hung(((struct host_link *)link)->host);
}

static void on_lane_idle(struct lane_link *link)
{
	host_link_settle((struct host_link *)link);
}

void host_adopt(struct host_connection *c, struct host_link *link)
{
	struct host_link *old = c->link;
	if (old)
		c->replaced++;
	else if (c->was_up)
		c->reconnects++;
	loop_timer_free(TAKE(c->retry_timer));
	c->link = link;
	c->lane.link = &link->lane;
	c->was_up = true;
	if (old)
		host_link_retire(old);
	host_heartbeat_start(c);
	c->is_in_up = true;
	if (c->config.callbacks.up)
		c->config.callbacks.up(c->config.callbacks.arg, &link->facts);
	c->is_in_up = false;
	host_facts_done(&link->facts);
	host_set_state(c, HOST_OK, "");
	lane_pump(&c->lane);
}

void host_open_failed(struct host_connection *c, const struct err *e)
{
	if (c->link) {
		log_err(LOG_LEVEL_WARNING, e, "host %s: cannot replace its connection",
		        c->config.name);
	} else {
		char reason[sizeof(c->reason)];
		snprintf(reason, sizeof(reason), "cannot connect: %s", e->message);
		host_set_state(c, HOST_DOWN, reason);
	}
	host_plan_retry(c);
}

static int64_t or_default(int64_t value, int64_t otherwise)
{
	return value > 0 ? value : otherwise;
}

static void fill_config(
        struct host_connection_config *to, const struct host_connection_config *from)
{
	*to = *from;
	to->name = xstrdup(from->name);
	to->uri = xstrdup(from->uri);
	to->heartbeat_ms = or_default(from->heartbeat_ms, 2000);
	to->slow_after_ms = or_default(from->slow_after_ms, 2000);
	to->down_after_ms = or_default(from->down_after_ms, 20000);
	to->reconnect_min_ms = or_default(from->reconnect_min_ms, 1000);
	to->reconnect_max_ms = or_default(from->reconnect_max_ms, 60000);
	to->open_timeout_ms = or_default(from->open_timeout_ms, 10000);
}

struct host_connection *host_connection_new(const struct host_connection_config *config)
{
	struct host_connection *c = xcalloc(1, sizeof(*c));
	assert(loop_is_mine(config->loop));
	fill_config(&c->config, config);
	c->refs = 1;
	c->driver = driver_for_uri(config->uri);
	c->lane = (struct lane){
	        .loop = config->loop,
	        .pool = config->pool,
	        .name = c->config.name,
	        .on_hung = on_lane_hung,
	        .on_idle = on_lane_idle,
	};
	lane_init(&c->lane);
	host_link_open(c);
	return c;
}

static void drop_owner(void *arg)
{
	host_unref(arg);
}

void host_connection_free(struct host_connection *c)
{
	if (!c)
		return;
	assert(loop_is_mine(c->config.loop) && !c->is_freed);
	c->is_freed = true;
	host_heartbeat_stop(c);
	loop_timer_free(TAKE(c->retry_timer));
	loop_timer_free(TAKE(c->open_timer));
	struct err e;
	err_set(&e, ERR_CANCELLED, "host %s is being let go", c->config.name);
	lane_fail_queued(&c->lane, &e, /* keep_urgent= */ false);
	for (struct host_link *it = c->links; it; it = it->next)
		lane_link_abandon(&it->lane, &e);
	c->lane.link = NULL;
	if (c->link)
		host_link_retire(TAKE(c->link));
	loop_post(c->config.loop, drop_owner, c);
}

enum host_state host_connection_state(const struct host_connection *c)
{
	return c->state;
}

const char *host_connection_reason(const struct host_connection *c)
{
	return c->reason;
}

void host_connection_submit(struct host_connection *c, const struct lane_call *call)
{
	assert(loop_is_mine(c->config.loop) && !c->is_freed);
	bool is_taken = c->state == HOST_OK || c->is_in_up ||
	                (c->state == HOST_SLOW && call->class == LANE_URGENT);
	if (is_taken) {
		lane_submit(&c->lane, call);
		return;
	}
	struct err e;
	unavailable_err(c, &e);
	lane_refuse(&c->lane, call, &e);
}

bool host_connection_is_stuck(
        const struct host_connection *c, const char *domain, int64_t *ret_since_ms)
{
	return lane_is_stuck(&c->lane, domain, ret_since_ms);
}

void host_connection_retry_now(struct host_connection *c)
{
	if (c->is_freed || c->link || c->opening)
		return;
	loop_timer_free(TAKE(c->retry_timer));
	host_link_open(c);
}

void host_connection_get_stats(const struct host_connection *c, struct host_connection_stats *ret)
{
	*ret = (struct host_connection_stats){
	        .in_flight = c->lane.n_in_flight,
	        .queued = c->lane.n_queued,
	        .hung = c->lane.n_hung,
	        .replaced = c->replaced,
	        .reconnects = c->reconnects,
	        .heartbeat_rtt_ns = c->rtt_ns,
	};
}

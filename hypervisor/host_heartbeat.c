/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The heartbeat of a host's current link: a ping every heartbeat_ms, never two at once, in a slot
 * of its own beside the lane's four, so that no call can delay it. Late: SLOW; two in time: OK;
 * silence: DOWN. Core loop only, except the ping itself.
 */
#include "hypervisor/host_connection_internal.h"

#include <stdio.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define ANSWERS_UNTIL_OK 2

static void send_beat(void *arg);

static void plan_beat(struct host_connection *c)
{
	if (c->is_freed || c->beat_timer)
		return;
	c->beat_timer = loop_timer_start(c->config.loop, c->config.heartbeat_ms, 0, send_beat, c);
}

static void on_silence(void *arg)
{
	struct host_connection *c = arg;
	char reason[100];
	snprintf(reason, sizeof(reason), "no answer for %.1f s",
	        (double)(clock_now_ns() - c->last_answer_ns) / 1e9);
	host_break(c, reason);
}

static void on_late(void *arg)
{
	struct host_connection *c = arg;
	int64_t now_ns = clock_now_ns();
	int64_t silent_ms = (now_ns - c->last_answer_ns) / 1000000;
	char reason[100];
	snprintf(reason, sizeof(reason), "no answer to the heartbeat for %.1f s",
	        (double)(now_ns - c->link->beat_started_ns) / 1e9);
	c->is_late = true;
	lane_job_set_stuck(&c->link->heartbeat);
	loop_timer_free(c->late_timer);
	c->late_timer = loop_timer_start(
	        c->config.loop, c->config.down_after_ms - silent_ms, 0, on_silence, c);
	if (c->state == HOST_OK)
		host_set_state(c, HOST_SLOW, reason);
}

/* Lane thread. */
static void run_beat(struct lane_job *job)
{
	struct host_link *link = job->arg;
	link->beat_rc = link->lane.driver->ping(link->lane.connection, &link->beat_err);
	link->beat_ended_ns = clock_now_ns();
}

static void on_answer(struct host_connection *c, struct host_link *link)
{
	loop_timer_free(TAKE(c->late_timer));
	c->rtt_ns = link->beat_ended_ns - link->beat_started_ns;
	c->last_answer_ns = clock_now_ns();
	c->in_time = c->is_late ? 0 : c->in_time + 1;
	if (!c->is_late) {
		link->is_healthy = true;
		c->retry_ms = 0;
		c->was_healthy = false; /* the link says it from now on */
	}
	plan_beat(c);
	if (c->state == HOST_SLOW && c->in_time >= ANSWERS_UNTIL_OK) {
		host_set_state(c, HOST_OK, "");
		lane_pump(&c->lane);
	}
	host_check_hung(c); /* whether calls hung meanwhile */
}

static void on_beat_returned(struct lane_job *job)
{
	struct host_link *link = job->arg;
	struct host_connection *c = link->host;
	link->is_beating = false;
	if (c->link != link) {
		host_link_settle(link);
		return;
	}
	if (link->beat_rc == 0) {
		on_answer(c, link);
		return;
	}
	char reason[sizeof(link->beat_err.message) + 32];
	snprintf(reason, sizeof(reason), "the heartbeat failed: %s", link->beat_err.message);
	host_break(c, reason);
}

static void send_beat(void *arg)
{
	struct host_connection *c = arg;
	struct host_link *link = c->link;
	loop_timer_free(TAKE(c->beat_timer));
	c->is_late = false;
	link->is_beating = true;
	link->beat_started_ns = clock_now_ns();
	c->late_timer = loop_timer_start(c->config.loop, c->config.slow_after_ms, 0, on_late, c);
	link->heartbeat =
	        (struct lane_job){.run = run_beat, .returned = on_beat_returned, .arg = link};
	lane_pool_submit(c->config.pool, &link->heartbeat);
}

void host_heartbeat_start(struct host_connection *c)
{
	host_heartbeat_stop(c);
	c->last_answer_ns = clock_now_ns();
	c->in_time = 0;
	plan_beat(c);
}

void host_heartbeat_stop(struct host_connection *c)
{
	loop_timer_free(TAKE(c->beat_timer));
	loop_timer_free(TAKE(c->late_timer));
}

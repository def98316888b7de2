/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of one connection to a host: opened on the pool (it may block for ever, so there is one
 * attempt at most), current, retired, closed on the pool. Core loop only, except the jobs' `run`.
 */
#include "hypervisor/host_connection_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"

static void free_link(struct host_link *link)
{
	struct host_connection *c = link->host;
	struct host_link **at = &c->links;
	while (*at != link)
		at = &(*at)->next;
	*at = link->next;
	host_facts_done(&link->facts);
	free(link);
	host_unref(c);
}

static void run_close(struct lane_job *job)
{
	struct host_link *link = job->arg;
	link->lane.driver->close(link->lane.connection);
}

static void on_close_returned(struct lane_job *job)
{
	free_link(job->arg);
}

void host_link_settle(struct host_link *link)
{
	if (link->phase != LINK_RETIRED || link->lane.n_in_flight > 0 || link->is_beating)
		return;
	link->phase = LINK_CLOSING;
	link->job = (struct lane_job){.run = run_close, .returned = on_close_returned, .arg = link};
	lane_pool_submit(link->host->config.pool, &link->job);
}

void host_link_retire(struct host_link *link)
{
	link->phase = LINK_RETIRED;
	host_link_settle(link);
}

static void on_domain_event(void *arg, const struct domain_event *event)
{
	struct host_link *link = arg;
	struct host_connection *c = link->host;
	/* What happens before `up` is covered by the listing that follows it. */
	if (!c->is_freed && c->link == link && c->config.callbacks.domain)
		c->config.callbacks.domain(c->config.callbacks.arg, event);
}

static void on_closed_event(void *arg, const char *reason)
{
	struct host_link *link = arg;
	struct host_connection *c = link->host;
	link->is_broken = true;
	snprintf(link->broken_reason, sizeof(link->broken_reason), "the connection was closed: %s",
	        reason);
	if (!c->is_freed && c->link == link)
		host_break(c, link->broken_reason);
	else if (link->phase != LINK_OPENING)
		lane_link_lose(&link->lane);
}

/* Lane thread. The facts belong to the attempt: a host that cannot tell them is not up. */
static void run_open(struct lane_job *job)
{
	struct host_link *link = job->arg;
	const struct host_connection_config *config = &link->host->config; /* immutable */
	const struct driver *driver = link->lane.driver;
	struct driver_events events = {
	        .domain = on_domain_event, .closed = on_closed_event, .arg = link};
	struct driver_connection *connection = NULL;
	if (!driver) {
		link->open_rc = err_set(
		        &link->open_err, ERR_UNSUPPORTED, "no driver for the URI %s", config->uri);
		return;
	}
	link->open_rc =
	        driver->open(config->uri, config->loop, &events, &connection, &link->open_err);
	if (link->open_rc != 0)
		return;
	link->lane.connection = connection;
	link->open_rc = driver->get_facts(connection, &link->facts, &link->open_err);
}

static void on_open_returned(struct lane_job *job)
{
	struct host_link *link = job->arg;
	struct host_connection *c = link->host;
	struct err e = link->open_err;
	c->opening = NULL;
	loop_timer_free(TAKE(c->open_timer));
	if (link->open_rc == 0 && link->is_broken)
		link->open_rc = err_set(&e, ERR_HOST_DOWN, "%s", link->broken_reason);
	if (link->open_rc == 0 && !c->is_freed) {
		link->phase = LINK_CURRENT;
		host_adopt(c, link);
		return;
	}
	if (!c->is_freed)
		host_open_failed(c, &e);
	if (link->lane.connection)
		host_link_retire(link);
	else
		free_link(link);
}

static void on_open_timeout(void *arg)
{
	struct host_connection *c = arg;
	loop_timer_free(TAKE(c->open_timer));
	lane_job_set_stuck(&c->opening->job);
	if (c->link) {
		log_warning("host %s: the replacement of its connection does not come about",
		        c->config.name);
		return;
	}
	char reason[120];
	snprintf(reason, sizeof(reason), "no answer to the connection attempt for %.1f s",
	        (double)c->config.open_timeout_ms / 1e3);
	host_set_state(c, HOST_DOWN, reason);
}

void host_link_open(struct host_connection *c)
{
	if (c->is_freed || c->opening)
		return;
	struct host_link *link = xcalloc(1, sizeof(*link));
	link->host = c;
	link->lane = (struct lane_link){.lane = &c->lane, .driver = c->driver};
	link->next = c->links;
	c->links = c->opening = link;
	c->refs++;
	c->open_timer =
	        loop_timer_start(c->config.loop, c->config.open_timeout_ms, 0, on_open_timeout, c);
	link->job = (struct lane_job){.run = run_open, .returned = on_open_returned, .arg = link};
	lane_pool_submit(c->config.pool, &link->job);
}

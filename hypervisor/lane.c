/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lane: queues of calls, and which of them may run on the host's link now. Core loop only.
 *
 *   submit -> QUEUED -> RUNNING -> returned: done(rc), release
 *               |          |
 *               |          +-> deadline: done(ERR_DEADLINE); the domain stays quarantined
 *               |                 -> returned: release, the domain is free again
 *               +-> refused: done(reason), release
 *
 * `done` of a call that did not return by itself is always posted, so that no callback runs inside
 * the function that caused it.
 */
#include "hypervisor/lane_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"

#define DEFAULT_TIMEOUT_MS 30000
#define LOST_GRACE_MS      1000 /* a broken connection ends its calls; a silent one does not */

struct lane_entry {
	struct lane_call call; /* call.domain points to `domain` or is NULL */
	char domain[UUID_TEXT_SIZE];
	struct lane *lane;
	struct lane_link *link;         /* NULL while queued */
	struct lane_entry *prev, *next; /* in its queue, or among the link's running calls */
	struct loop_timer *timer;
	struct lane_job job;
	int64_t started_ms;
	bool is_given_up;      /* done is or was posted while run executes */
	bool is_done;          /* done was called */
	bool is_returned;      /* run has returned, or never ran */
	struct err *given_err; /* owned; what done gets instead of run's result */
	int rc;                /* run's result; the thread's until `returned` */
	struct err err;
};

static void list_add(struct lane_entry **first, struct lane_entry *entry)
{
	entry->prev = NULL;
	entry->next = *first;
	if (*first)
		(*first)->prev = entry;
	*first = entry;
}

static void list_remove(struct lane_entry **first, struct lane_entry *entry)
{
	if (entry->prev)
		entry->prev->next = entry->next;
	else
		*first = entry->next;
	if (entry->next)
		entry->next->prev = entry->prev;
	entry->prev = entry->next = NULL;
}

static void queue_push(struct lane_queue *queue, struct lane_entry *entry)
{
	entry->prev = queue->last;
	entry->next = NULL;
	if (queue->last)
		queue->last->next = entry;
	else
		queue->first = entry;
	queue->last = entry;
}

static void queue_remove(struct lane *lane, struct lane_entry *entry)
{
	struct lane_queue *queue = &lane->queues[entry->call.class];
	if (queue->last == entry)
		queue->last = entry->prev;
	list_remove(&queue->first, entry);
	lane->n_queued--;
}

static void stop_timer(struct lane_entry *entry)
{
	loop_timer_free(entry->timer);
	entry->timer = NULL;
}

static void release_entry(struct lane_entry *entry)
{
	if (entry->call.release)
		entry->call.release(entry->call.arg);
	free(entry->given_err);
	free(entry);
}

/* Posted: tells the caller of a call that was given up or refused. Touches neither lane nor link.
 */
static void deliver_given_up(void *arg)
{
	struct lane_entry *entry = arg;
	entry->is_done = true;
	entry->call.done(entry->call.arg, entry->given_err->code, entry->given_err);
	if (entry->is_returned)
		release_entry(entry);
}

static void give_up(struct lane_entry *entry, const struct err *e)
{
	assert(!entry->is_given_up);
	stop_timer(entry);
	entry->is_given_up = true;
	entry->given_err = xmemdup(e, sizeof(*e));
	loop_post(entry->lane->loop, deliver_given_up, entry);
}

static void refuse_entry(struct lane_entry *entry, const struct err *e)
{
	entry->is_returned = true; /* never runs */
	give_up(entry, e);
}

static void set_stuck_err(const struct lane *lane, const struct lane_entry *holder, struct err *e)
{
	err_set(e, ERR_VM_STUCK,
	        "domain %s on host %s does not answer: a call made %.1f s ago has not returned",
	        holder->domain, lane->name, (double)(clock_now_ms() - holder->started_ms) / 1e3);
}

static struct lane_entry *domain_holder(const struct lane *lane, const char *domain)
{
	return domain ? map_get(lane->running, domain) : NULL;
}

/* Fails what waits for a domain whose call was given up. */
static void refuse_waiting_for(struct lane *lane, const struct lane_entry *holder)
{
	struct err e;
	set_stuck_err(lane, holder, &e);
	for (int class = 0; class < LANE_CLASSES; class ++) {
		for (struct lane_entry *it = lane->queues[class].first, *next; it; it = next) {
			next = it->next;
			if (!it->call.domain || strcmp(it->domain, holder->domain) != 0)
				continue;
			queue_remove(lane, it);
			refuse_entry(it, &e);
		}
	}
}

static void on_deadline(void *arg)
{
	struct lane_entry *entry = arg;
	struct lane *lane = entry->lane;
	struct lane_link *link = entry->link;
	struct err e;
	if (link->is_lost)
		err_set(&e, ERR_DEADLINE, "the connection to host %s was lost during the call",
		        lane->name);
	else
		err_set(&e, ERR_DEADLINE, "the call to host %s did not return within %lld ms",
		        lane->name, (long long)entry->call.timeout_ms);
	give_up(entry, &e);
	lane_job_set_stuck(&entry->job);
	if (link->is_lost)
		return;
	link->n_hung++;
	lane->n_hung++;
	if (entry->call.domain) {
		log_warning("host %s: domain %s is quarantined: %s", lane->name, entry->domain,
		        e.message);
		refuse_waiting_for(lane, entry);
	}
	lane->on_hung(link);
}

static void on_queue_deadline(void *arg)
{
	struct lane_entry *entry = arg;
	struct lane *lane = entry->lane;
	struct err e;
	err_set(&e, ERR_DEADLINE,
	        "the call waited %lld ms for its turn on host %s and was not started",
	        (long long)entry->call.queue_timeout_ms, lane->name);
	queue_remove(lane, entry);
	refuse_entry(entry, &e);
}

/* Lane thread. */
static void run_entry(struct lane_job *job)
{
	struct lane_entry *entry = job->arg;
	struct lane_link *link = entry->link;
	entry->rc = entry->call.run(link->driver, link->connection, entry->call.arg, &entry->err);
}

/* Frees the domain unless another link's call holds it by now. */
static void free_domain(struct lane *lane, struct lane_entry *entry)
{
	if (domain_holder(lane, entry->call.domain) == entry)
		map_remove(lane->running, entry->domain);
}

static void leave_link(struct lane_entry *entry)
{
	struct lane *lane = entry->lane;
	struct lane_link *link = entry->link;
	list_remove(&link->running, entry);
	free_domain(lane, entry);
	link->n_in_flight--;
	lane->n_in_flight--;
	if (entry->call.class != LANE_URGENT)
		link->n_normal--;
	if (entry->is_given_up && !link->is_lost && link->n_hung > 0) {
		link->n_hung--;
		lane->n_hung--;
	}
}

static void on_returned(struct lane_job *job)
{
	struct lane_entry *entry = job->arg;
	struct lane_link *link = entry->link;
	stop_timer(entry);
	leave_link(entry);
	lane_pump(link->lane);
	if (link->n_in_flight == 0)
		link->lane->on_idle(link); /* may free link and lane */
	entry->is_returned = true;
	if (!entry->is_given_up) {
		entry->is_done = true;
		entry->call.done(entry->call.arg, entry->rc, &entry->err);
	}
	if (entry->is_done)
		release_entry(entry);
}

static void start_entry(struct lane *lane, struct lane_entry *entry)
{
	struct lane_link *link = lane->link;
	stop_timer(entry);
	queue_remove(lane, entry);
	entry->link = link;
	entry->started_ms = clock_now_ms();
	list_add(&link->running, entry);
	if (entry->call.domain)
		map_put(lane->running, entry->domain, entry);
	link->n_in_flight++;
	lane->n_in_flight++;
	if (entry->call.class != LANE_URGENT)
		link->n_normal++;
	entry->timer = loop_timer_start(lane->loop, entry->call.timeout_ms, 0, on_deadline, entry);
	entry->job = (struct lane_job){.run = run_entry, .returned = on_returned, .arg = entry};
	lane_pool_submit(lane->pool, &entry->job);
}

static bool has_slot(const struct lane_link *link, enum lane_class class)
{
	return link->n_in_flight < LANE_MAX_IN_FLIGHT &&
	       (class == LANE_URGENT || link->n_normal < LANE_MAX_NORMAL);
}

void lane_pump(struct lane *lane)
{
	if (!lane->link)
		return;
	for (int class = 0; class < LANE_CLASSES; class ++) {
		for (struct lane_entry *it = lane->queues[class].first, *next; it; it = next) {
			next = it->next;
			if (!has_slot(lane->link, class))
				break;
			if (!domain_holder(lane, it->call.domain))
				start_entry(lane, it);
		}
	}
}

static struct lane_entry *make_entry(struct lane *lane, const struct lane_call *call)
{
	struct lane_entry *entry = xcalloc(1, sizeof(*entry));
	entry->call = *call;
	entry->lane = lane;
	if (call->domain) {
		snprintf(entry->domain, sizeof(entry->domain), "%s", call->domain);
		entry->call.domain = entry->domain;
	}
	if (call->timeout_ms <= 0)
		entry->call.timeout_ms = DEFAULT_TIMEOUT_MS;
	if (call->queue_timeout_ms <= 0)
		entry->call.queue_timeout_ms = entry->call.timeout_ms;
	return entry;
}

void lane_refuse(struct lane *lane, const struct lane_call *call, const struct err *e)
{
	refuse_entry(make_entry(lane, call), e);
}

void lane_submit(struct lane *lane, const struct lane_call *call)
{
	const struct lane_entry *holder = domain_holder(lane, call->domain);
	if (holder && holder->is_given_up) {
		struct err e;
		set_stuck_err(lane, holder, &e);
		lane_refuse(lane, call, &e);
		return;
	}
	struct lane_entry *entry = make_entry(lane, call);
	queue_push(&lane->queues[call->class], entry);
	lane->n_queued++;
	lane_pump(lane);
	if (!entry->link)
		entry->timer = loop_timer_start(
		        lane->loop, entry->call.queue_timeout_ms, 0, on_queue_deadline, entry);
}

void lane_fail_queued(struct lane *lane, const struct err *e, bool keep_urgent)
{
	for (int class = keep_urgent ? LANE_URGENT + 1 : 0; class < LANE_CLASSES; class ++) {
		for (struct lane_entry *it; (it = lane->queues[class].first);) {
			queue_remove(lane, it);
			refuse_entry(it, e);
		}
	}
}

void lane_link_lose(struct lane_link *link)
{
	struct lane *lane = link->lane;
	if (link->is_lost)
		return;
	link->is_lost = true;
	lane->n_hung -= link->n_hung;
	link->n_hung = 0;
	for (struct lane_entry *it = link->running; it; it = it->next) {
		free_domain(lane, it);
		if (it->is_given_up)
			continue;
		stop_timer(it);
		it->timer = loop_timer_start(lane->loop, LOST_GRACE_MS, 0, on_deadline, it);
	}
}

void lane_link_abandon(struct lane_link *link, const struct err *e)
{
	lane_link_lose(link);
	for (struct lane_entry *it = link->running; it; it = it->next) {
		if (it->is_given_up)
			continue;
		give_up(it, e);
		lane_job_set_stuck(&it->job);
	}
}

bool lane_is_stuck(const struct lane *lane, const char *domain, int64_t *ret_since_ms)
{
	const struct lane_entry *holder = domain_holder(lane, domain);
	if (!holder || !holder->is_given_up)
		return false;
	*ret_since_ms = holder->started_ms;
	return true;
}

void lane_init(struct lane *lane)
{
	lane->running = map_new();
}

void lane_done(struct lane *lane)
{
	assert(lane->n_queued == 0 && lane->n_in_flight == 0);
	map_free(lane->running);
}

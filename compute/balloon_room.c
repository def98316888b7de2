/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Room for VMs that want to start or grow: a line per host. The plan makes room for all of them and says when the first
 * fits; it is granted then, and stays first in line, still counted as wanted, until its process is listed, or its guest has
 * grown: so what was seen to be free is kept for it. The next one is granted after that.
 *
 *	want -> waits (its patience begins as the first in line) -> granted -> listed with a process, or its operation ended
 *	               '-> ERR_NO_CAPACITY, ERR_HOST_..., ERR_CANCELLED
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "compute/balloon_internal.h"
#include "compute/host.h"
#include "compute/vm.h"
#include "compute/vm_jobs.h"
#include "operation/operation.h"

#define MIB           ((int64_t)1 << 20)
#define HOLDERS_NAMED 3

static void on_patience(void *arg);

/* The line has a new first, or none: its patience begins. */
static void follow_first(struct balloon_site *site)
{
	struct room_waiter *first = site->waiters;
	loop_timer_free(TAKE(site->room_timer));
	if (!first || first->state == ROOM_GRANTED || site->all->is_stopped)
		return;
	if (first->first_ms == 0)
		first->first_ms = clock_now_ms();
	site->room_timer = loop_timer_start(site->all->config.services->loop,
	        site->all->config.room_timeout_ms, 0, on_patience, site);
}

static void call_waiter(struct room_waiter *waiter, int rc, const struct err *e)
{
	void (*fn)(void *arg, int rc, const struct err *e) = TAKE(waiter->fn);
	if (fn)
		fn(waiter->arg, rc, e);
}

/* Takes it out of the line, then tells it: what it calls may begin another wait. */
static void end_waiter(
        struct balloon_site *site, struct room_waiter **place, int rc, const struct err *e)
{
	struct room_waiter *waiter = *place;
	bool was_first = waiter == site->waiters;
	*place = waiter->next;
	if (was_first)
		follow_first(site);
	call_waiter(waiter, rc, e);
	free(waiter);
}

/* The VM's name, or its id while that is all that is known. */
static const char *name_of(const struct balloon_site *site, const struct room_waiter *waiter)
{
	const struct balloon_member *m =
	        site->roster ? balloon_roster_find(site->roster, waiter->vm_id) : NULL;
	return m ? m->name : waiter->vm_id;
}

static void cancel_waiter(struct balloon_site *site, struct room_waiter **place)
{
	struct err e = {0};
	int rc =
	        err_set(&e, ERR_CANCELLED, "VM %s no longer waits for room", name_of(site, *place));
	end_waiter(site, place, rc, &e);
}

/* ---- why not ---- */

struct holder {
	const struct balloon_vm_view *vm;
};

static int compare_holders(const void *a, const void *b)
{
	int64_t one = ((const struct holder *)a)->vm->booked_bytes;
	int64_t other = ((const struct holder *)b)->vm->booked_bytes;
	return (one < other) - (one > other);
}

/* Who holds most, and why they do not give. */
static char *describe_holders(const struct balloon_view *view)
{
	struct str text = {0};
	size_t n = view->vms.len;
	struct holder *holders CLEANUP(cleanup_free) = xcalloc(n + 1, sizeof(*holders));
	for (size_t i = 0; i < n; i++)
		holders[i].vm = (const struct balloon_vm_view *)view->vms.items + i;
	qsort(holders, n, sizeof(*holders), compare_holders);
	for (size_t i = 0; i < n && i < HOLDERS_NAMED; i++)
		str_printf(&text, "%s%s has %" PRId64 " MiB (%s)", i ? "; " : "",
		        holders[i].vm->name, holders[i].vm->booked_bytes / MIB,
		        holders[i].vm->reason_text);
	return str_take(&text);
}

static int refuse(const struct balloon_site *site, const struct room_waiter *waiter, struct err *e)
{
	const struct balloon_view *view = site->view;
	int64_t waited_s = (clock_now_ms() - waiter->first_ms) / 1000;
	char *holders CLEANUP(cleanup_free) = describe_holders(view);
	err_set(e, ERR_NO_CAPACITY,
	        "VM %s needs %" PRId64 " MiB on host %s and %" PRId64
	        " MiB were free after %" PRId64 " s: %s",
	        name_of(site, waiter), waiter->bytes / MIB, site->roster->host_name,
	        view->memory.room_bytes / MIB, waited_s, holders);
	err_numbers(e,
	        "{\"asked_bytes\":%" PRId64 ",\"free_bytes\":%" PRId64 ",\"usable_bytes\":%" PRId64
	        ",\"booked_bytes\":%" PRId64 ",\"freeable_bytes\":%" PRId64 "}",
	        waiter->bytes, view->memory.room_bytes, view->memory.usable_bytes,
	        view->memory.booked_bytes, view->memory.freeable_bytes);
	err_hint(e,
	        "start it on another host, stop or shrink one of these, or lower their min_bytes");
	return ERR_NO_CAPACITY;
}

static int judge_timeout(
        const struct balloon_site *site, const struct room_waiter *waiter, struct err *e)
{
	enum host_state state = hosts_state(site->all->config.services->hosts, site->id);
	if (state == HOST_OK && site->view)
		return refuse(site, waiter, e);
	int code = state == HOST_SLOW || state == HOST_OK ? ERR_HOST_SLOW : ERR_HOST_DOWN;
	return err_set(e, code, "the host did not say what its guests have, so VM %s got no room",
	        name_of(site, waiter));
}

static void on_patience(void *arg)
{
	struct balloon_site *site = arg;
	struct err e = {0};
	int rc = judge_timeout(site, site->waiters, &e);
	end_waiter(site, &site->waiters, rc, &e);
}

/* ---- the line ---- */

static struct room_waiter **find_place(struct balloon_site *site, const char *vm_id)
{
	struct room_waiter **place = &site->waiters;
	while (*place && strcmp((*place)->vm_id, vm_id) != 0)
		place = &(*place)->next;
	return place;
}

void balloons_drop_room(struct balloons *all, const char *vm_id)
{
	size_t cursor = 0;
	void *site;
	while (map_next(all->sites, &cursor, NULL, &site)) {
		struct room_waiter **place = find_place(site, vm_id);
		if (*place) {
			cancel_waiter(site, place);
			return;
		}
	}
}

void balloons_want_room(struct balloons *all, const struct vm_room_need *need)
{
	struct balloon_site *site = balloons_find_or_add(all, need->host_id);
	balloons_drop_room(all, need->vm_id);
	struct room_waiter *waiter = xcalloc(1, sizeof(*waiter));
	*waiter = (struct room_waiter){.state = ROOM_WAITS,
	        .grows_to_bytes = need->grows_to_bytes,
	        .fn = need->done,
	        .arg = need->done_arg};
	uuid_text_copy(waiter->vm_id, need->vm_id);
	*find_place(site, need->vm_id) = waiter; /* the end of the line */
	if (waiter == site->waiters)
		follow_first(site);
	balloon_site_mark_stale(site);
}

static void pass_gate(void *arg, const struct vm_room_need *need)
{
	balloons_want_room(arg, need);
}

static void leave_gate(void *arg, const char *vm_id)
{
	balloons_drop_room(arg, vm_id);
}

struct vm_room_gate balloons_room_gate(struct balloons *all)
{
	return (struct vm_room_gate){.wait = pass_gate, .cancel = leave_gate, .arg = all};
}

int64_t balloon_room_wanted(const struct balloon_site *site, int64_t *ret_next_bytes)
{
	int64_t sum = 0;
	for (const struct room_waiter *waiter = site->waiters; waiter; waiter = waiter->next)
		sum += waiter->bytes;
	*ret_next_bytes = site->waiters ? site->waiters->bytes : 0;
	return sum;
}

static bool is_listed(const struct balloon_sample *sample, const char *vm_id)
{
	for (size_t i = 0; i < sample->list.len; i++)
		if (strcmp(sample->list.items[i].id, vm_id) == 0)
			return !domain_state_is_off(sample->list.items[i].state);
	return false;
}

static void measure(const struct balloon_site *site, struct room_waiter *waiter)
{
	const struct balloon_member *m = balloon_roster_find(site->roster, waiter->vm_id);
	if (m && waiter->grows_to_bytes > 0)
		waiter->bytes = waiter->grows_to_bytes - m->size_bytes;
	else if (m)
		waiter->bytes = m->overhead_bytes + (m->hugepages ? 0 : m->size_bytes);
}

/* What it waited for is counted elsewhere now: its process is listed, or its guest has grown. */
static bool is_there(const struct balloon_site *site, const struct balloon_sample *sample,
        const struct room_waiter *waiter)
{
	if (waiter->grows_to_bytes == 0)
		return is_listed(sample, waiter->vm_id);
	const struct balloon_member *m = balloon_roster_find(site->roster, waiter->vm_id);
	return m && m->size_bytes >= waiter->grows_to_bytes;
}

/* Room that was granted to an operation that is over without a process. */
static bool is_left(const struct balloon_site *site, const struct room_waiter *waiter)
{
	return waiter->state == ROOM_GRANTED &&
	       operation_engine_jobs(site->all->config.services->engine, waiter->vm_id) == 0;
}

void balloon_room_settle(struct balloon_site *site, const struct balloon_sample *sample)
{
	struct room_waiter **place = &site->waiters;
	while (*place) {
		measure(site, *place);
		if (is_there(site, sample, *place) || is_left(site, *place)) {
			end_waiter(site, place, 0, NULL);
			place = &site->waiters; /* what was called may have changed the line */
		} else {
			place = &(*place)->next;
		}
	}
}

void balloon_round_room(struct balloon_round *round)
{
	struct balloon_site *site = round->site;
	struct room_waiter *first = site->waiters;
	if (!first || first->state == ROOM_GRANTED || first->bytes == 0 || !round->plan.room_ready)
		return;
	first->state = ROOM_GRANTED;
	follow_first(site);
	call_waiter(first, 0, NULL);
}

void balloon_room_forget_all(struct balloon_site *site)
{
	while (site->waiters) {
		struct room_waiter *waiter = site->waiters;
		site->waiters = waiter->next;
		free(waiter);
	}
	loop_timer_free(TAKE(site->room_timer));
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Granting and changing reservations; choosing a host. */
#include "compute/room.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/number.h"
#include "base/str.h"
#include "compute/room_cache.h"
#include "compute/room_cpus.h"
#include "compute/room_store.h"
#include "compute/room_wish.h"
#include "db/change_feed.h"

struct room {
	struct room_busy *busy;   /* owned */
	struct room_cache decide; /* the writer's */
	struct placement places;  /* the writer's: its memory is used again */
	/* Locks: view_lock before marks_lock; the writer takes only the latter, never across SQL. */
	pthread_mutex_t view_lock;
	struct room_cache view; /* view_lock; but `marks` stays empty */
	pthread_mutex_t marks_lock;
	struct room_marks view_marks; /* marks_lock */
	bool has_view; /* marks_lock: someone has looked, so marks are worth keeping */
};

/* ---- what is stale ---- */

struct touch {
	struct room *room;
	enum room_mark what;
	char id[UUID_TEXT_SIZE];
};

static void mark_view(struct room *room, enum room_mark what, const char *id)
{
	LOCK_SCOPE(&room->marks_lock);
	if (room->has_view)
		room_marks_add(&room->view_marks, what, id);
}

static void on_end(void *arg, bool committed)
{
	struct touch *touch = arg;
	if (committed)
		mark_view(touch->room, touch->what, touch->id);
	else
		room_marks_add(&touch->room->decide.marks, touch->what, touch->id);
	free(touch);
}

static void mark(struct room *room, struct db *db, enum room_mark what, const char *id)
{
	room_marks_add(&room->decide.marks, what, id);
	if (!db) {
		mark_view(room, what, id);
		return;
	}
	struct touch *touch = xcalloc(1, sizeof(*touch));
	touch->room = room;
	touch->what = what;
	uuid_text_copy(touch->id, id);
	db_on_end(db, on_end, touch);
}

/* Which hosts reach a pool is part of each host. */
static void mark_hosts(struct room *room, struct db *db)
{
	size_t cursor = 0;
	const struct inventory_host *host = NULL;
	while (room->decide.inventory &&
	        (host = inventory_next_host(room->decide.inventory, &cursor)))
		mark(room, db, ROOM_MARK_HOST, host->id);
}

static void on_change(void *arg, struct db *db, const char *kind, const char *object_id)
{
	struct room *room = arg;
	if (strcmp(kind, "vm") == 0)
		mark(room, db, ROOM_MARK_VM, object_id);
	else if (strcmp(kind, "host") == 0)
		mark(room, db, ROOM_MARK_HOST, object_id);
	else if (strcmp(kind, "host_group") == 0)
		mark(room, db, ROOM_MARK_GROUP, object_id);
	else if (strcmp(kind, "pool") == 0)
		mark_hosts(room, db);
}

struct room *room_new(void)
{
	struct room *room = xcalloc(1, sizeof(*room));
	room->busy = room->decide.busy = room->view.busy = room_busy_new();
	pthread_mutex_init(&room->view_lock, NULL);
	pthread_mutex_init(&room->marks_lock, NULL);
	change_feed_watch((struct change_watcher){.saw = on_change, .arg = room});
	return room;
}

void room_free(struct room *room)
{
	if (!room)
		return;
	placement_done(&room->places);
	room_cache_done(&room->decide);
	room_cache_done(&room->view);
	room_marks_done(&room->view_marks);
	room_busy_free(room->busy);
	pthread_mutex_destroy(&room->view_lock);
	pthread_mutex_destroy(&room->marks_lock);
	free(room);
}

struct room_busy *room_busy(struct room *room)
{
	return room->busy;
}

int room_warm(struct db *db, void *room, struct err *e)
{
	struct room *r = room;
	return room_cache_refresh(&r->decide, db, e);
}

int room_look(struct room *room, struct db *db,
        int (*fn)(void *arg, const struct inventory *inventory, struct err *e), void *arg,
        struct err *e)
{
	LOCK_SCOPE(&room->view_lock);
	{
		LOCK_SCOPE(&room->marks_lock);
		room->has_view = true;
		bool all = room->view.marks.all;
		room_marks_done(&room->view.marks);
		room->view.marks = room->view_marks;
		room->view.marks.all = all;
		room->view_marks = (struct room_marks){0};
	}
	int rc = room_cache_refresh(&room->view, db, e);
	return rc < 0 ? rc : fn(arg, room->view.inventory, e);
}

int room_verify(struct db *db, struct room *room, bool *ret_same, struct err *e)
{
	struct room_cache fresh CLEANUP(room_cache_done) = {0};
	int rc = room_cache_refresh(&room->decide, db, e);
	if (rc == 0)
		rc = room_cache_refresh(&fresh, db, e);
	*ret_same = rc == 0 && room_cache_equals(&room->decide, &fresh);
	return rc;
}

/* ---- choosing ---- */

/* Too little room now is no reason against a VM that stays off: it holds nothing. */
static const struct inventory_host *find_some_day(const struct placement *places)
{
	const struct placement_refusal *best = NULL;
	for (size_t i = 0; i < places->refused.len; i++) {
		const struct placement_refusal *refusal = &places->refused.items[i];
		bool is_full = refusal->filter == PLACEMENT_FILTER_CAPACITY ||
		               refusal->filter == PLACEMENT_FILTER_HOST_LOSS;
		if (is_full && (!best || refusal->held - refusal->limit < best->held - best->limit))
			best = refusal;
	}
	return best ? best->host : NULL;
}

static const struct inventory_host *find_place(
        struct room *room, struct room_request *request, const struct room_wish *wish)
{
	place(room->decide.inventory, &request->place, &room->places);
	if (room->places.ranked.len > 0)
		return room->places.ranked.items[0].host;
	return wish->starts ? NULL : find_some_day(&room->places);
}

static bool all_are_away(const struct placement *places)
{
	for (size_t i = 0; i < places->refused.len; i++)
		if (places->refused.items[i].filter != PLACEMENT_FILTER_STATE)
			return false;
	return true;
}

/* That no host answers passes by itself: it is no lack of room. */
static int refuse_all(const struct placement *places, const struct room_wish *wish, struct err *e)
{
	struct err why = {0};
	if (places->refused.len == 0) {
		err_set(e, ERR_NO_CAPACITY, "no host is registered%s",
		        wish->group_id ? " in this host group" : "");
		return err_hint(e, "register one with POST /api/v1/hosts");
	}
	int rc = placement_check(places, &why);
	if (rc == ERR_NO_CAPACITY && all_are_away(places)) {
		rc = why.code = ERR_HOST_DOWN;
		err_hint(&why, "try again later, or wait for a host with ?wait=SECONDS");
	}
	if (e)
		*e = why;
	return rc;
}

int room_choose(struct db *db, struct room *room, const struct room_wish *wish,
        char ret_host_id[UUID_TEXT_SIZE], struct err *e)
{
	int rc = room_cache_refresh(&room->decide, db, e);
	if (rc < 0)
		return rc;
	struct room_request request CLEANUP(room_request_done) = {0};
	room_request_fill(&request, wish->spec, wish->vm_id, ROOM_ANY_HOST);
	request.place.host_id = wish->host_id;
	request.place.group_id = wish->group_id;
	if (wish->host_id) /* what claims the volumes and asks the host itself says more of one host */
		request.place.pools.len = request.place.networks.len = 0;
	const struct inventory_host *host = find_place(room, &request, wish);
	if (!host && wish->may_wait) {
		request.place.any_state = true;
		host = find_place(room, &request, wish);
	}
	if (!host)
		return refuse_all(&room->places, wish, e);
	uuid_text_copy(ret_host_id, host->id);
	return 0;
}

/* ---- granting ---- */

/* While the old process may still be there, or the new one may be either: enough for both. */
static struct reservation cover(const struct reservation *a, const struct reservation *b)
{
	struct reservation both = *a;
	both.size_bytes = int64_max(a->size_bytes, b->size_bytes);
	both.min_bytes = int64_max(a->min_bytes, b->min_bytes);
	both.booked_bytes = int64_max(a->booked_bytes, b->booked_bytes);
	both.overhead_bytes = int64_max(a->overhead_bytes, b->overhead_bytes);
	both.vcpus = int64_max(a->vcpus, b->vcpus);
	both.max_vcpus = int64_max(a->max_vcpus, b->max_vcpus);
	both.reservation_percent = int64_max(a->reservation_percent, b->reservation_percent);
	return both;
}

int room_find_host(struct db *db, struct room *room, const char *host_id,
        const struct inventory_host **ret_host, struct err *e)
{
	int rc = room_cache_refresh(&room->decide, db, e);
	*ret_host = rc == 0 ? inventory_host(room->decide.inventory, host_id) : NULL;
	return rc;
}

static int need_host(struct db *db, struct room *room, const char *host_id,
        const struct inventory_host **ret_host, struct err *e)
{
	int rc = room_find_host(db, room, host_id, ret_host, e);
	return rc < 0 || *ret_host ? rc : err_set(e, ERR_INTERNAL, "host %s is not known", host_id);
}

/* For lack of room the arithmetic says more than the filter does. */
static int explain(const struct room *room, const struct inventory_host *host,
        const struct placement_request *request, struct err *e)
{
	int rc = admission_admit(
	        room->decide.inventory, host, &request->asked, request->vm_id, NULL, e);
	return rc < 0 ? rc : placement_check(&room->places, e);
}

static int check_place(struct room *room, const struct inventory_host *host,
        const struct placement_request *request, struct err *e)
{
	place(room->decide.inventory, request, &room->places);
	return room->places.ranked.len > 0 ? 0 : explain(room, host, request, e);
}

static struct room_granted waiting(const struct room *room, const struct inventory_host *host,
        const struct reservation *asked, const char *vm_id)
{
	const struct inventory_group *group =
	        inventory_group(room->decide.inventory, host->group_id);
	struct admission admission;
	if (!group || group->mode != OVERCOMMIT_BALLOON)
		return (struct room_granted){.must_wait = false};
	admission_decide(room->decide.inventory, host, asked, vm_id, &admission);
	return (struct room_granted){.must_wait = true, .wait_bytes = admission.wait_bytes};
}

int room_grant(struct db *db, struct room *room, const char *vm_id, const char *host_id,
        const struct vm_spec *spec, struct room_granted *ret_granted, struct err *e)
{
	const struct inventory_host *host = NULL;
	struct room_row row CLEANUP(room_row_done) = {0};
	struct room_request request CLEANUP(room_request_done) = {0};
	bool found = false;
	int rc = need_host(db, room, host_id, &host, e);
	if (rc == 0)
		rc = room_store_get(db, vm_id, host_id, &row, &found, e);
	if (rc < 0 || !host)
		return rc;
	room_request_fill(&request, spec, vm_id, ROOM_AT_HOME);
	request.place.host_id = host_id;
	request.place.any_state = true; /* whether it answers is the caller's question */
	if (found)
		request.place.asked = cover(&request.place.asked, &row.held);
	rc = check_place(room, host, &request.place, e);
	if (rc < 0)
		return rc;
	*ret_granted = waiting(room, host, &request.place.asked, vm_id);
	uuid_text_copy(row.vm_id, vm_id);
	uuid_text_copy(row.host_id, host_id);
	row.held = request.place.asked;
	row.max_bytes = int64_max(row.max_bytes, room_max_bytes(spec));
	if (!room_cpus_fit(&row, spec)) /* those of its last process may still have it */
		rc = room_cpus_choose(db, room->decide.inventory, host, spec, &row, e);
	if (rc == 0 && (row.cpus || row.held.dedicated))
		room_touch_cpus(db, host_id);
	return rc < 0 ? rc : room_store_put(db, &row, e);
}

/* ---- changing ---- */

/* How much memory a running guest will be given at once of what `spec` wants; 0: no more than it has. */
static int find_growth(struct db *db, const struct room_row *row, const struct vm_spec *spec,
        int64_t *ret_bytes, struct err *e)
{
	struct vm_row vm CLEANUP(vm_row_done) = {0};
	struct vm_spec active CLEANUP(vm_spec_done) = {0};
	int64_t wanted = spec->memory.size_bytes;
	*ret_bytes = 0;
	if (wanted <= row->held.size_bytes && wanted <= row->held.booked_bytes)
		return 0;
	int rc = vm_store_get(db, row->vm_id, &vm, e);
	if (rc == 0)
		rc = vm_spec_load(vm.active_spec ? vm.active_spec : vm.spec, &active, e);
	if (rc == 0 && vm_spec_memory_grows(&active, wanted))
		*ret_bytes = wanted;
	return rc;
}

/* What a running guest can be given without a restart: CPUs up to its maximum, but not to those of its own; memory that it
 * grows by; floor, pinning and CPU reservation at once. The memory it has, or may have, huge pages or not, stays its until
 * it ends. */
static struct reservation follow_running(
        const struct reservation *held, const struct vm_spec *spec, int64_t grown_bytes)
{
	struct reservation now = *held;
	struct reservation wanted = room_reservation(spec, RESERVATION_RUNNING);
	now.size_bytes = int64_max(held->size_bytes, grown_bytes);
	now.booked_bytes = int64_max(held->booked_bytes, grown_bytes);
	now.min_bytes = wanted.min_bytes < now.size_bytes ? wanted.min_bytes : now.size_bytes;
	if (!held->dedicated && wanted.vcpus > held->vcpus && wanted.vcpus <= held->max_vcpus)
		now.vcpus = wanted.vcpus;
	now.dedicated = wanted.dedicated;
	now.reservation_percent = wanted.reservation_percent;
	return now;
}

static bool grows(const struct reservation *before, const struct reservation *now)
{
	const struct reservation both = cover(before, now);
	return both.size_bytes > before->size_bytes || both.min_bytes > before->min_bytes ||
	       both.booked_bytes > before->booked_bytes ||
	       both.overhead_bytes > before->overhead_bytes || both.vcpus > before->vcpus ||
	       both.max_vcpus > before->max_vcpus ||
	       both.reservation_percent > before->reservation_percent ||
	       now->dedicated != before->dedicated;
}

/* A group that survives the loss of a host does so with the larger VM as well. */
static int check_host_loss(struct room *room, const struct inventory_host *host,
        const struct reservation *asked, const char *vm_id, struct err *e)
{
	const struct inventory_group *group =
	        inventory_group(room->decide.inventory, host->group_id);
	const struct placement_request request = {
	        .asked = *asked, .vm_id = vm_id, .host_id = host->id, .any_state = true};
	if (!group || group->survive_host_loss <= 0)
		return 0;
	place(room->decide.inventory, &request, &room->places);
	bool is_lost = room->places.refused.len > 0 &&
	               room->places.refused.items[0].filter == PLACEMENT_FILTER_HOST_LOSS;
	return is_lost ? placement_check(&room->places, e) : 0;
}

static int check_growth(struct room *room, const struct inventory_host *host,
        const struct reservation *asked, const char *vm_id, struct err *e)
{
	int rc = admission_admit(room->decide.inventory, host, asked, vm_id, NULL, e);
	return rc < 0 ? rc : check_host_loss(room, host, asked, vm_id, e);
}

/* The CPUs follow. When others own them and it `may_float`, it does so until its next start. */
static int change_cpus(struct db *db, const struct room *room, const struct inventory_host *host,
        const struct vm_spec *spec, bool may_float, struct room_row *row, struct err *e)
{
	char *before CLEANUP(cleanup_free) = row->cpus ? xstrdup(row->cpus) : NULL;
	int rc = room_cpus_change(db, room->decide.inventory, host, spec, row, e);
	if (may_float && (rc == ERR_NO_CAPACITY || rc == ERR_UNPROCESSABLE)) {
		err_clear(e);
		rc = 0;
	}
	if (rc == 0 && !str_equal(before, row->cpus)) {
		row->cpus_due++;
		room_touch_cpus(db, row->host_id);
	}
	return rc;
}

/* While it starts, it may come to have either configuration. */
static struct reservation follow_starting(
        const struct reservation *held, const struct vm_spec *spec)
{
	const struct reservation asked = room_reservation(spec, RESERVATION_STARTING);
	struct reservation both = cover(held, &asked);
	both.dedicated = held->dedicated || asked.dedicated;
	return both;
}

/* Whether the host could ever hold it, were it empty. */
static int check_possible(const struct room *room, const struct inventory_host *host,
        const char *vm_id, const struct vm_spec *spec, struct err *e)
{
	struct admission admission;
	struct reservation asked = room_reservation(spec, RESERVATION_STARTING);
	admission_decide(room->decide.inventory, host, &asked, vm_id, &admission);
	return admission.is_never
	               ? admission_admit(room->decide.inventory, host, &asked, vm_id, NULL, e)
	               : 0;
}

int room_change(struct db *db, struct room *room, const char *vm_id, const char *host_id,
        const struct vm_spec *spec, enum room_insist insist, struct room_granted *ret_granted,
        struct err *e)
{
	const struct inventory_host *host = NULL;
	struct room_row row CLEANUP(room_row_done) = {0};
	bool found = false;
	int rc = need_host(db, room, host_id, &host, e);
	if (rc == 0)
		rc = room_store_get(db, vm_id, host_id, &row, &found, e);
	if (rc == 0 && host && insist != ROOM_INSIST)
		rc = check_possible(room, host, vm_id, spec, e);
	if (rc < 0 || !found || !host)
		return rc;
	const struct reservation before = row.held;
	int64_t grown_bytes = 0;
	*ret_granted = (struct room_granted){.must_wait = false};
	if (before.state == RESERVATION_STARTING) {
		row.held = follow_starting(&before, spec);
	} else {
		if (insist == ROOM_ASK)
			rc = find_growth(db, &row, spec, &grown_bytes, e);
		row.held = follow_running(&before, spec, grown_bytes);
	}
	if (rc == 0 && insist != ROOM_INSIST && grows(&before, &row.held))
		rc = check_growth(room, host, &row.held, vm_id, e);
	if (rc == 0 && grown_bytes > before.size_bytes) {
		*ret_granted = waiting(room, host, &row.held, vm_id);
		ret_granted->grows_to_bytes = grown_bytes;
	}
	/* One that owns none although it should was refused them before. */
	bool may_float = insist == ROOM_INSIST || before.dedicated == row.held.dedicated;
	if (rc == 0)
		rc = change_cpus(db, room, host, spec, may_float, &row, e);
	return rc < 0 ? rc : room_store_put(db, &row, e);
}

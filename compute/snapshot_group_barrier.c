/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the members of a snapshot group meet (snapshot_group.h draws it). Core loop, but for the lane calls.
 *
 * Kept in memory only: after a restart the members that had not passed meet anew; if some had, the others wait in vain, and
 * the group is undone.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/vec.h"
#include "compute/freeze_guard.h"
#include "compute/snapshot_group.h"
#include "compute/snapshot_internal.h"

#define BARRIER_MS 120000
#define LOOK_MS    500
#define PAUSE_MS   15000

struct barrier;

struct member {
	struct barrier *barrier; /* borrowed */
	struct operation *op;    /* NULL: its step has ended */
	bool is_asked, is_still; /* being frozen or paused; it is */
};

struct barrier {
	struct snapshot_barriers *barriers; /* borrowed */
	char group_id[UUID_TEXT_SIZE];
	VEC(struct member *) members; /* owned */
	size_t expected;
	struct loop_timer *timer; /* owned */
	int64_t until_ms;
	bool is_broken;
	struct err why;
};

struct snapshot_barriers {
	struct loop *loop;
	VEC(struct barrier *) items; /* owned */
};

struct snapshot_barriers *snapshot_barriers_new(struct loop *loop)
{
	struct snapshot_barriers *barriers = xcalloc(1, sizeof(*barriers));
	barriers->loop = loop;
	return barriers;
}

static void barrier_free(struct barrier *b)
{
	VEC_FOR_EACH (&b->members, member)
		free(*member);
	VEC_DONE(&b->members);
	loop_timer_free(b->timer);
	free(b);
}

void snapshot_barriers_free(struct snapshot_barriers *barriers)
{
	if (!barriers)
		return;
	VEC_FOR_EACH (&barriers->items, item)
		barrier_free(*item);
	VEC_DONE(&barriers->items);
	free(barriers);
}

static struct barrier *find(const struct snapshot_barriers *barriers, const char *group_id)
{
	for (size_t i = 0; i < barriers->items.len; i++)
		if (strcmp(barriers->items.items[i]->group_id, group_id) == 0)
			return barriers->items.items[i];
	return NULL;
}

static bool is_busy(const struct barrier *b)
{
	for (size_t i = 0; i < b->members.len; i++)
		if (b->members.items[i]->op)
			return true;
	return false;
}

/* Members whose call is still out keep it. */
void snapshot_group_forget(struct snapshot_barriers *barriers, const char *group_id)
{
	for (size_t i = 0; i < barriers->items.len; i++) {
		struct barrier *b = barriers->items.items[i];
		if (strcmp(b->group_id, group_id) != 0 || is_busy(b))
			continue;
		VEC_REMOVE(&barriers->items, i);
		barrier_free(b);
		return;
	}
}

/* ---- the end of waiting ---- */

static void let_go(struct member *member, int rc, const struct err *e)
{
	struct operation *op = member->op;
	member->op = NULL;
	if (op)
		operation_step_done(op, rc, e);
}

/* Those whose call is out end with its answer. */
static void break_barrier(struct barrier *b, const struct err *why)
{
	if (!b->is_broken)
		b->why = *why;
	b->is_broken = true;
	for (size_t i = 0; i < b->members.len; i++) {
		struct member *member = b->members.items[i];
		if (!member->is_asked || member->is_still)
			let_go(member, b->why.code, &b->why);
	}
}

void snapshot_group_break(
        struct snapshot_barriers *barriers, const char *group_id, const struct err *why)
{
	struct barrier *b = find(barriers, group_id);
	if (!b) { /* nobody has come yet: those who will must not wait */
		b = xcalloc(1, sizeof(*b));
		b->barriers = barriers;
		uuid_text_copy(b->group_id, group_id);
		/* NOLINTNEXTLINE(bugprone-sizeof-expression): pointers are meant */
		VEC_PUSH(&barriers->items, b);
	}
	break_barrier(b, why);
}

static bool all_are_still(const struct barrier *b)
{
	for (size_t i = 0; i < b->members.len; i++)
		if (!b->members.items[i]->is_still)
			return false;
	return b->members.len == b->expected;
}

static void on_look(void *arg)
{
	struct barrier *b = arg;
	struct err e = {0};
	bool is_abandoned = false;
	for (size_t i = 0; i < b->members.len; i++)
		is_abandoned |=
		        b->members.items[i]->op && operation_is_abandoned(b->members.items[i]->op);
	if (!is_abandoned && clock_now_ms() < b->until_ms)
		return;
	err_set(&e, ERR_DEADLINE, "only %zu of the group's %zu VMs were ready within %d s",
	        b->members.len, b->expected, BARRIER_MS / 1000);
	err_hint(&e, "one of them is busy with something else: see /operations");
	loop_timer_free(TAKE(b->timer));
	break_barrier(b, &e);
}

static void pass(struct barrier *b)
{
	struct snapshot_barriers *barriers = b->barriers;
	char group_id[UUID_TEXT_SIZE];
	uuid_text_copy(group_id, b->group_id);
	for (size_t i = 0; i < b->members.len; i++)
		let_go(b->members.items[i], 0, NULL);
	snapshot_group_forget(barriers, group_id);
}

/* ---- freezing or pausing one ---- */

static bool wants_quiesce(const struct operation *op)
{
	return json_is_true(json_object_get(operation_input(op), "quiesce"));
}

static void on_still(void *arg, int rc, const struct err *e)
{
	struct member *member = arg;
	struct barrier *b = member->barrier;
	member->is_still = true;
	if (rc >= 0 && wants_quiesce(member->op))
		operation_add_result(member->op, json_pack("{s:i}", "frozen_filesystems", rc));
	if (rc < 0) {
		struct err why = *e;
		err_prefix(&why, "VM %s", operation_target_name(member->op));
		break_barrier(b, &why);
	} else if (b->is_broken) {
		let_go(member, b->why.code, &b->why);
	} else if (all_are_still(b)) {
		pass(b);
	}
}

/* What ran when the snapshot was begun is ours to pause, and to resume. */
static int pause_domain(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	struct db *db;
	struct snapshot_row row CLEANUP(snapshot_row_done) = {0};
	struct snapshot_disks disks CLEANUP(snapshot_disks_done) = {0};
	int rc = snapshot_call_load(call, &db, &row, &disks, e);
	if (rc < 0 || row.power != POWER_RUNNING)
		return rc;
	return driver->pause(c, call->vm_id, e);
}

static int resume_domain(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	struct db *db;
	struct snapshot_row row CLEANUP(snapshot_row_done) = {0};
	struct snapshot_disks disks CLEANUP(snapshot_disks_done) = {0};
	int rc = snapshot_call_load(call, &db, &row, &disks, e);
	if (rc == ERR_NOT_FOUND) {
		err_clear(e);
		return 0;
	}
	if (rc == 0 && row.power == POWER_RUNNING)
		rc = driver->resume(c, call->vm_id, e);
	return rc < 0 ? rc : vm_call_look(call, driver, c, e);
}

static void on_paused(struct vm_call *call, int rc, const struct err *e)
{
	const struct operation_services *services = operation_context(call->op);
	const char *group_id =
	        json_string_value(json_object_get(operation_input(call->op), "group"));
	struct barrier *b = find(services->barriers, group_id);
	for (size_t i = 0; b && i < b->members.len; i++)
		if (b->members.items[i]->op == call->op) {
			on_still(b->members.items[i], rc, e);
			return;
		}
}

static void ask(struct member *member)
{
	struct operation *op = member->op;
	member->is_asked = true;
	if (wants_quiesce(op))
		freeze_guard_begin(
		        op, operation_target_id(op), operation_host_id(op), on_still, member);
	else
		vm_call_submit_then(op, pause_domain, PAUSE_MS, 0, on_paused);
}

/* ---- the steps ---- */

bool snapshot_group_has(const struct operation *op)
{
	return json_is_string(json_object_get(operation_input(op), "group"));
}

static struct barrier *find_or_make(struct operation *op)
{
	const struct operation_services *services = operation_context(op);
	json_t *input = operation_input(op);
	const char *group_id = json_string_value(json_object_get(input, "group"));
	struct barrier *b = find(services->barriers, group_id);
	if (b)
		return b;
	b = xcalloc(1, sizeof(*b));
	b->barriers = services->barriers;
	uuid_text_copy(b->group_id, group_id);
	b->expected = (size_t)json_integer_value(json_object_get(input, "group_size"));
	b->until_ms = clock_now_ms() + BARRIER_MS;
	b->timer = loop_timer_start(services->loop, LOOK_MS, LOOK_MS, on_look, b);
	/* NOLINTNEXTLINE(bugprone-sizeof-expression): pointers are meant */
	VEC_PUSH(&services->barriers->items, b);
	return b;
}

void snapshot_group_freeze(struct operation *op)
{
	struct barrier *b = find_or_make(op);
	if (b->is_broken) {
		operation_step_done(op, b->why.code, &b->why);
		return;
	}
	struct member *member = xcalloc(1, sizeof(*member));
	member->barrier = b;
	member->op = op;
	/* NOLINTNEXTLINE(bugprone-sizeof-expression): pointers are meant */
	VEC_PUSH(&b->members, member);
	if (b->members.len < b->expected)
		return;
	for (size_t i = 0; i < b->expected && !b->is_broken; i++)
		ask(b->members.items[i]);
}

static void on_let_go(void *arg, int rc, const struct err *e)
{
	(void)rc; /* what is not thawed yet, the guard goes on with */
	(void)e;
	operation_step_done(arg, 0, NULL);
}

void snapshot_group_undo_freeze(struct operation *op)
{
	if (wants_quiesce(op))
		freeze_guard_end(op, operation_target_id(op), on_let_go, op);
	else
		vm_call_submit(op, resume_domain, NULL, PAUSE_MS, 0);
}

static void on_thawed(void *arg, int rc, const struct err *e)
{
	struct err late = {0};
	if (rc == ERR_DEADLINE) {
		late = *e;
		err_prefix(&late, "the group does not show one moment");
		e = &late;
	}
	operation_step_done(arg, rc == ERR_UNAVAILABLE ? 0 : rc, e);
}

void snapshot_group_thaw(struct operation *op)
{
	if (wants_quiesce(op))
		freeze_guard_end(op, operation_target_id(op), on_thawed, op);
	else
		vm_call_submit(op, resume_domain, NULL, PAUSE_MS, 0);
}

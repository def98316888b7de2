/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshot groups: snapshots of several VMs at one moment.
 *
 * Creation makes, in one transaction, the group, a snapshot.create for each VM (in order of their ids, each in its VM's
 * queue) and one operation that waits for them. The members meet at a barrier (snapshot_group_barrier.c) in their step
 * "freeze":
 *
 *	member 1  files --> arrive -\            /-> frozen or paused -\           /-> switch -> thaw or resume
 *	member 2  files -----------> all there --                       all frozen --> switch -> thaw or resume
 *	member 3  files ---> arrive -/            \-> frozen or paused -/           \-> switch -> thaw or resume
 *
 * From "all frozen" on until its own switch no member's disks change, so all snapshots show that one moment, whenever each
 * is taken. Whoever fails, or is not there within BARRIER_MS, breaks the barrier: all let go, and the group is undone as a
 * whole. No deadlock: every queue holds the members of two groups in the same order.
 */
#pragma once

#include "compute/snapshot.h"
#include "compute/snapshot_group_select.h"

#define SNAPSHOT_GROUP_VMS_MAX 64

struct snapshot_group_spec {
	char *name,
	        *description; /* owned; the name is a column of its own, and that of each snapshot */
	struct snapshot_selector selector;
	bool memory, quiesce;
};
extern const struct field_table snapshot_group_write_fields, snapshot_group_fields;
void snapshot_group_spec_done(struct snapshot_group_spec *spec);

struct snapshot_group_row {
	char id[UUID_TEXT_SIZE];
	struct snapshot_group_spec spec; /* owned, with the name */
	char state[12];                  /* creating, ready, deleting */
	int64_t version, created_at;
};
void snapshot_group_row_done(struct snapshot_group_row *row);
int snapshot_group_encode(
        struct db *db, const struct snapshot_group_row *row, struct json_writer *w, struct err *e);

/* ---- mutations: writer thread, inside a job ---- */
int snapshot_group_create(struct db *db, struct vms *vms, const struct snapshot_group_spec *spec,
        const struct vm_request *asked, char ret_operation[UUID_TEXT_SIZE],
        char ret_id[UUID_TEXT_SIZE], struct err *e);
/* With the snapshots that are left of it. */
int snapshot_group_delete(struct db *db, struct vms *vms, const struct snapshot_group_row *row,
        const struct vm_request *asked, char ret_operation[UUID_TEXT_SIZE], struct err *e);

/* The kinds snapshot_group.create and snapshot_group.delete. */
void snapshot_group_register_kinds(struct operation_engine *engine);

/* ---- the barrier: core loop, for snapshot.create ---- */
struct snapshot_barriers;
struct snapshot_barriers *snapshot_barriers_new(struct loop *loop);
void snapshot_barriers_free(struct snapshot_barriers *barriers); /* accepts NULL */

/* Whether the operation takes a member's snapshot. */
bool snapshot_group_has(const struct operation *op);
/* Instead of the step "freeze", its undo, and the step "thaw"; each ends the step. */
void snapshot_group_freeze(struct operation *op);
void snapshot_group_undo_freeze(struct operation *op);
void snapshot_group_thaw(struct operation *op);
/* Those who wait fail with `why`, and so do those who come. */
void snapshot_group_break(
        struct snapshot_barriers *barriers, const char *group_id, const struct err *why);
/* Nobody will come any more. */
void snapshot_group_forget(struct snapshot_barriers *barriers, const char *group_id);

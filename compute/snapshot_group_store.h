/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of table snapshot_group, and their snapshots. */
#pragma once

#include "compute/snapshot_group.h"

/* By name or UUID; ERR_NOT_FOUND. */
int snapshot_group_store_get(
        struct db *db, const char *name_or_id, struct snapshot_group_row *ret_row, struct err *e);
int snapshot_group_store_list(struct db *db, const struct db_page *page,
        int (*each)(void *arg, const struct snapshot_group_row *row), void *arg, struct err *e);
int snapshot_group_store_insert(
        struct db *db, const struct snapshot_group_row *row, const char *spec, struct err *e);
int snapshot_group_store_set_state(struct db *db, const char *id, const char *state, struct err *e);
/* Its snapshots, if any are left, belong to no group from now on. */
int snapshot_group_store_delete(struct db *db, const char *id, struct err *e);

struct snapshot_group_member {
	char id[UUID_TEXT_SIZE], vm_id[UUID_TEXT_SIZE]; /* of the snapshot */
	const char *vm, *name, *state;                  /* borrowed for the call */
};
int snapshot_group_store_members(struct db *db, const char *id,
        int (*each)(void *arg, const struct snapshot_group_member *member, struct err *e),
        void *arg, struct err *e);
/* Managed VMs whose configuration has labels. Looks through all VMs. */
int snapshot_group_store_each_labelled(struct db *db,
        void (*each)(void *arg, const char *id, const char *spec), void *arg, struct err *e);

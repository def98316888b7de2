/* SPDX-License-Identifier: Apache-2.0 */
/* What a revert would do, read from the rows: for its answer, and for its steps. */
#pragma once

#include "compute/snapshot_internal.h"

/* A volume that changes hands. */
struct snapshot_move {
	char volume_id[UUID_TEXT_SIZE];
	char disk[64];
};
struct snapshot_moves {
	struct snapshot_move *items; /* owned */
	size_t len;
};

struct snapshot_revert_view {
	struct snapshot_row row;
	struct snapshot_disks disks;
	struct vm_row vm;
	struct vm_spec spec;                      /* afterwards */
	char *spec_text;                          /* owned: its stored form */
	struct snapshot_moves detached, attached; /* disks that are not in it, and that come back */
	enum vm_power power;                      /* afterwards */
};
void snapshot_revert_view_done(struct snapshot_revert_view *view);
/*
 * Any connection. ERR_WRONG_STATE: the snapshot is not ready; ERR_IN_USE, ERR_REFERENCE name a volume that is not free
 * or not there any more; ERR_LIMIT: a chain that would become too long.
 */
int snapshot_revert_view_load(struct db *db, const char *vm_id, const char *snapshot_id,
        enum snapshot_power power, struct snapshot_revert_view *ret_view, struct err *e);
/* For users: {branch, configuration, disks, power}; new reference. */
int snapshot_revert_view_describe(
        struct db *db, const struct snapshot_revert_view *view, json_t **ret_answer, struct err *e);

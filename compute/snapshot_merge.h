/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carries out what storage/layer_plan.h says for all volumes of a VM and its snapshots, one action after another,
 * within one step of an operation.
 *
 *	look -> RECORD  QEMU has done it, and we were killed: into the rows
 *	 ^  |-> DELETE  row "deleting" -> file -> row
 *	 |  |-> COMMIT, PULL by the running VM:   block job -> rows -> definition
 *	 |  |-> COMMIT, PULL by a carrier: start -> block job -> stop -> rows -> definition
 *	 +--+-> nothing left: what need not wait is forgotten -> done
 *
 * Each look reads rows, definition and live chain anew, so that a restart begins with one. After each action the live,
 * the defined and the recorded chain agree. Undoing the step is settling: jobs and carrier end, and what QEMU has
 * completed is recorded; a VM must not start from rows that are behind its files. Core loop.
 */
#pragma once

#include "operation/operation.h"

enum snapshot_merge_mode {
	SNAPSHOT_MERGE_ALL,
	SNAPSHOT_MERGE_DELETE, /* only layers that nothing stands on */
	SNAPSHOT_MERGE_SETTLE,
};
/* Ends the step. On success the result has "deferred": [{disk, reason}], what has to wait until the VM stops. */
void snapshot_merge_run(struct operation *op, enum snapshot_merge_mode mode);
/* For a kind's on_cancel. */
void snapshot_merge_cancel(struct operation *op);

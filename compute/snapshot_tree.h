/* SPDX-License-Identifier: Apache-2.0 */
/* What snapshots mean for a VM's configuration and chains. Pure; any thread. */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/*
 * The configuration that a VM has after a revert: `then` (stored form, of the snapshot), but for what describes the VM
 * rather than its machine: labels, description, deletion_protection, autostart and restart_policy stay as they are
 * `now`. Caller frees.
 */
int snapshot_tree_merge_spec(const char *then, const char *now, char **ret_spec, struct err *e);
/* {POINTER: {"before": ..., "after": ...}} of what differs; new reference, {} if nothing does. */
json_t *snapshot_tree_changes(const char *before, const char *after);

/*
 * When the chain will be full, if snapshots go on as in the last ones: `times` (wall ms, ascending) of those in the
 * current state's line, `left` how many more may be made. 0: too few to tell.
 */
int64_t snapshot_tree_forecast(const int64_t *times, size_t n, int64_t left, int64_t now);

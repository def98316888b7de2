/* SPDX-License-Identifier: Apache-2.0 */
/* Finding out what a VM's layers need next. Lane thread. */
#pragma once

#include "compute/snapshot_merge.h"
#include "compute/vm_call.h"

enum merge_kind { MERGE_NOTHING, MERGE_RECORD, MERGE_DELETE, MERGE_COMMIT, MERGE_PULL };

/* How a live chain stands to the recorded one of `n` layers. Pure; any thread. `live` is NULL-terminated. */
enum chain_match {
	CHAIN_SAME,
	CHAIN_MERGED, /* all but one: recorded[*ret_upper] went into the one below it */
	CHAIN_OTHER,
};
enum chain_match snapshot_merge_match(
        char *const *live, char *const *recorded, size_t n, size_t *ret_upper);

/*
 * By mode: looks, brings the definition up to date, and sets in call->found:
 * "next": {kind, volume, disk, lower, upper, open (ids), top, base (paths), running, pool} or {}, and "deferred".
 */
extern const vm_call_fn snapshot_merge_looks[];

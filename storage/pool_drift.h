/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drift: how files differ from what is recorded of them. Pure. Of a qcow2 layer the header is compared. The first bytes
 * of a raw layer are its guest's, who may have written any header there: its format is never looked at.
 */
#pragma once

#include "hypervisor/driver.h"
#include "storage/pool.h"

/* A layer as recorded. All owned. */
struct drift_layer {
	char id[UUID_TEXT_SIZE];
	char *file, *drift; /* drift: what was found last; "": nothing */
	char *backing_path; /* of the layer below; NULL: none */
	char format[8];
	bool checks_backing; /* its header's words for the layer below are comparable */
	int64_t size_bytes, allocation_bytes;
};
struct drift_layers {
	struct drift_layer *items; /* owned */
	size_t len;
};
void drift_layers_done(struct drift_layers *layers);

/* What is wrong with it, "" for nothing; `found` NULL: it is not there. Caller frees. */
char *pool_drift_compare(const struct drift_layer *layer, const struct pool_kind *kind,
        const struct volume_info *found);

/* What a listing says of one layer. */
struct drift_verdict {
	char layer_id[UUID_TEXT_SIZE];
	char *drift;        /* owned */
	int64_t size_bytes; /* as recorded when it was compared */
	int64_t allocation_bytes;
	bool is_new; /* a drift that is not recorded yet: believed when it is seen twice */
};
struct drift_verdicts {
	struct drift_verdict *items; /* owned */
	size_t len;
};
void drift_verdicts_done(struct drift_verdicts *verdicts);
/* One verdict for each layer of which something is to be recorded. Files match by name, or by the end of their path. */
void pool_drift_judge(const struct drift_layers *layers, const struct pool_kind *kind,
        const struct volume_info_list *found, struct drift_verdicts *ret_verdicts);
/*
 * Copies of those to be recorded: all but the new ones that `earlier` has not in the same words. Returns how many were
 * left out: work on a disk may have been caught between its file and its row.
 */
size_t pool_drift_confirm(const struct drift_verdicts *verdicts,
        const struct drift_verdicts *earlier, struct drift_verdicts *ret_confirmed);

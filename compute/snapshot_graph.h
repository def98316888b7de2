/* SPDX-License-Identifier: Apache-2.0 */
/* The layers of one volume as the planner (storage/layer_plan.h) sees them, read from the rows. Any connection. */
#pragma once

#include "base/err.h"
#include "db/db.h"
#include "storage/layer.h"
#include "storage/layer_plan.h"
#include "storage/volume.h"

struct snapshot_graph {
	struct layer_row *rows;   /* owned */
	struct layer_node *nodes; /* owned; nodes[i] is rows[i] */
	size_t n;
};
/* `is_running`: a VM that runs has the volume open. */
int snapshot_graph_load(struct db *db, const struct volume_row *volume, bool is_running,
        struct snapshot_graph *ret_graph, struct err *e);
void snapshot_graph_done(struct snapshot_graph *graph);

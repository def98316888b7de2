/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of snapshots when their VM is deleted: memory files go, and so do the layers that lie off the chains of
 * the volumes, which nothing could ever reach again. The chains are the volumes' own.
 */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "compute/snapshot_graph.h"
#include "compute/snapshot_internal.h"
#include "db/reader.h"

/* Does what is to be done with a layer; -1: an error. */
typedef int (*layer_fn)(void *arg, struct db *db, const char *layer_id, struct err *e);

/* Calls `act` for each layer off the volume's chain that no clone stands on, those above others first. */
static int for_each_side_layer(
        struct db *db, const struct volume_row *volume, layer_fn act, void *arg, struct err *e)
{
	struct snapshot_graph graph CLEANUP(snapshot_graph_done) = {0};
	int rc = snapshot_graph_load(db, volume, /* is_running= */ true, &graph, e);
	for (size_t i = 0; i < graph.n; i++)
		graph.nodes[i].is_held = graph.nodes[i].is_open || graph.rows[i].image_id[0];
	while (rc == 0) {
		struct layer_action action = layer_plan_next(graph.nodes, graph.n);
		if (action.kind != LAYER_ACTION_DELETE)
			break;
		rc = act(arg, db, graph.nodes[action.lower].id, e);
		graph.nodes[action.lower].is_held = true;
		graph.nodes[action.lower].backing_id = "";
	}
	return rc;
}

static int for_each_layer_of_vm(
        struct db *db, const char *vm_id, layer_fn act, void *arg, struct err *e)
{
	char **ids = NULL;
	size_t n = 0;
	int rc = snapshot_store_volumes(db, vm_id, &ids, &n, e);
	for (size_t i = 0; i < n; i++) {
		struct volume_row volume CLEANUP(volume_row_done) = {0};
		if (rc == 0)
			rc = volume_store_get(db, ids[i], &volume, e);
		if (rc == 0 && (!volume.vm_id || str_equal(volume.vm_id, vm_id)))
			rc = for_each_side_layer(db, &volume, act, arg, e);
		free(ids[i]);
	}
	free(ids);
	return rc;
}

/* ---- files: lane thread ---- */

struct host {
	const struct driver *driver;
	struct driver_connection *c;
};

static int delete_file(void *arg, struct db *db, const char *layer_id, struct err *e)
{
	const struct host *host = arg;
	struct layer_chain chain CLEANUP(layer_chain_done) = {0};
	int rc = layer_chain_load(db, layer_id, &chain, e);
	return rc < 0 ? rc : layer_chain_delete_top(&chain, host->driver, host->c, e);
}

int snapshot_delete_all_of_vm(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	struct db *db;
	struct host host = {.driver = driver, .c = c};
	int rc = readers_get(call->readers, &db, e);
	if (rc == 0)
		rc = snapshot_remove_all_memory(db, call->vm_id, driver, c, e);
	return rc < 0 ? rc : for_each_layer_of_vm(db, call->vm_id, delete_file, &host, e);
}

/* ---- rows: writer thread ---- */

struct layers {
	char (*ids)[UUID_TEXT_SIZE]; /* owned */
	size_t len;
};

static int collect(void *arg, struct db *db, const char *layer_id, struct err *e)
{
	struct layers *layers = arg;
	(void)db;
	(void)e;
	layers->ids = xrealloc(layers->ids, (layers->len + 1) * sizeof(layers->ids[0]));
	uuid_text_copy(layers->ids[layers->len++], layer_id);
	return 0;
}

int snapshot_forget_all_of_vm(struct db *db, const char *vm_id, struct err *e)
{
	struct layers layers = {0};
	int rc = for_each_layer_of_vm(db, vm_id, collect, &layers, e);
	if (rc == 0)
		rc = snapshot_store_set_current(db, vm_id, NULL, e);
	if (rc == 0) /* they hold the layers */
		rc = snapshot_store_delete_all(db, vm_id, e);
	for (size_t i = 0; i < layers.len && rc == 0; i++)
		rc = layer_forget(db, layers.ids[i], e);
	free(layers.ids);
	return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* One look at a VM's layers: rows, definition, live chain; and what follows. Lane thread. */
#include "compute/snapshot_merge_look.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "compute/snapshot_graph.h"
#include "compute/snapshot_internal.h"
#include "db/reader.h"

struct look {
	struct vm_call *call;
	const struct driver *driver;
	struct driver_connection *c;
	struct db *db; /* borrowed */
	struct domain_info info;
	enum snapshot_merge_mode mode;
	bool is_running, is_suspended;
	json_t *next;     /* owned */
	json_t *deferred; /* owned */
};

static void look_done(struct look *look)
{
	domain_info_done(&look->info);
	json_decref(look->next);
	json_decref(look->deferred);
}

static void set_text(json_t *object, const char *key, const char *text)
{
	if (text)
		json_object_set_new(object, key, json_string(text));
}

static void set_next(struct look *look, enum merge_kind kind, const char *volume_id,
        const char *lower_id, const char *upper_id)
{
	json_decref(look->next);
	look->next = json_pack("{s:i, s:s, s:s, s:s}", "kind", (int)kind, "volume", volume_id,
	        "lower", lower_id, "upper", upper_id);
}

/* ---- what QEMU has completed already ---- */

static bool is_unneeded(struct look *look, const struct volume_row *volume, const char *layer_id)
{
	struct snapshot_graph graph CLEANUP(snapshot_graph_done) = {0};
	if (snapshot_graph_load(look->db, volume, look->is_running, &graph, NULL) < 0)
		return false;
	for (size_t i = 0; i < graph.n; i++)
		if (str_equal(graph.rows[i].id, layer_id))
			return !graph.nodes[i].is_held && !graph.nodes[i].is_top &&
			       !graph.nodes[i].is_foreign;
	return false;
}

/* The layer `upper` of the recorded chain is not in the real one, and the layer below it takes its place. */
static int note_merged(struct look *look, const struct volume_row *volume,
        const struct layer_chain *chain, size_t upper, struct err *e)
{
	const char *lower_id = chain->layers[upper + 1].id;
	if (!is_unneeded(look, volume, lower_id)) {
		err_set(e, ERR_UNPROCESSABLE,
		        "disk %s of VM %s stands on %s instead of %s, which is not of our doing",
		        volume->disk, look->call->plan.row.name, chain->paths[upper + 1],
		        chain->paths[upper]);
		return err_hint(e, "Berth does not guess: its chain must be put back as it was");
	}
	set_next(look, MERGE_RECORD, volume->id, lower_id, chain->layers[upper].id);
	return 0;
}

enum chain_match snapshot_merge_match(
        char *const *live, char *const *recorded, size_t n, size_t *ret_upper)
{
	size_t i = 0, gone;
	while (i < n && live[i] && str_equal(live[i], recorded[i]))
		i++;
	*ret_upper = i;
	if (i == n && !live[i])
		return CHAIN_SAME;
	for (gone = i + 1; gone < n && live[gone - 1]; gone++)
		if (!str_equal(live[gone - 1], recorded[gone]))
			return CHAIN_OTHER;
	/* Without its lowest layer it would be another disk. */
	return i + 1 < n && gone == n && !live[n - 1] ? CHAIN_MERGED : CHAIN_OTHER;
}

/* The medium of a drive may be changed by others, or wait for the next start: it is nothing that is merged. */
static bool is_written(const struct look *look, const struct volume_row *volume)
{
	const struct vm_disk *disk = vm_spec_find_disk(&look->call->plan.spec, volume->disk);
	return disk && disk->kind == VM_DISK_DISK;
}

static int compare_live(struct look *look, const struct volume_row *volume,
        const struct layer_chain *chain, struct err *e)
{
	char **paths = NULL;
	if (!look->driver->disk_chain)
		return 0;
	int rc = look->driver->disk_chain(look->c, look->call->vm_id, volume->disk, &paths, e);
	size_t upper = 0;
	enum chain_match match =
	        rc < 0 ? CHAIN_SAME : snapshot_merge_match(paths, chain->paths, chain->len, &upper);
	if (match == CHAIN_MERGED)
		rc = note_merged(look, volume, chain, upper, e);
	else if (match == CHAIN_OTHER && is_written(look, volume))
		rc = snapshot_refuse_drift(
		        look->call->plan.row.name, volume->disk, paths, chain, e);
	for (size_t j = 0; paths && paths[j]; j++)
		free(paths[j]);
	free(paths);
	if (rc == ERR_NOT_FOUND) {
		err_clear(e);
		return 0; /* plugged in after the next start */
	}
	return rc;
}

static int compare_defined(struct look *look, const struct volume_row *volume,
        const struct layer_chain *chain, struct err *e)
{
	char *top CLEANUP(cleanup_free) = NULL;
	int rc = snapshot_find_top(&look->info, volume->disk, look->driver, look->c, &top, e);
	if (rc == 0 && chain->len > 1 && str_equal(top, chain->paths[1]))
		rc = note_merged(look, volume, chain, 0, e);
	return rc;
}

static int find_completed(struct look *look, struct err *e)
{
	const struct vm_plan *plan = &look->call->plan;
	int rc = 0;
	for (size_t i = 0; i < plan->n_volumes && rc == 0 && !look->next; i++)
		rc = look->is_running
		             ? compare_live(look, &plan->volumes[i], &plan->chains[i], e)
		             : compare_defined(look, &plan->volumes[i], &plan->chains[i], e);
	return rc;
}

/* ---- what comes next ---- */

/* The paths and the pool that a block job needs. */
static int describe_job(struct look *look, const struct snapshot_graph *graph,
        const struct layer_action *action, struct err *e)
{
	struct layer_chain chain CLEANUP(layer_chain_done) = {0};
	const char *open_id = graph->rows[action->open].id;
	int rc = layer_chain_load(look->db, open_id, &chain, e);
	if (rc < 0)
		return rc;
	size_t upper = action->open == action->upper ? 0 : 1;
	size_t base = action->kind == LAYER_ACTION_COMMIT ? upper + 1 : upper + 2;
	set_text(look->next, "open", open_id);
	/* The one on top of what QEMU has open is named by none. */
	set_text(look->next, "top", upper > 0 ? chain.paths[upper] : NULL);
	set_text(look->next, "base", base < chain.len ? chain.paths[base] : NULL);
	set_text(look->next, "pool", chain.pools[upper]->libvirt_name);
	json_object_set_new(look->next, "running", json_boolean(action->is_running));
	return 0;
}

static int take_action(struct look *look, const struct volume_row *volume,
        const struct snapshot_graph *graph, const struct layer_action *action, struct err *e)
{
	enum merge_kind kind = action->kind == LAYER_ACTION_DELETE   ? MERGE_DELETE
	                       : action->kind == LAYER_ACTION_COMMIT ? MERGE_COMMIT
	                                                             : MERGE_PULL;
	if (look->mode == SNAPSHOT_MERGE_DELETE && kind != MERGE_DELETE)
		return 0;
	set_next(look, kind, volume->id, graph->rows[action->lower].id,
	        graph->rows[action->upper].id);
	set_text(look->next, "disk", volume->disk);
	return kind == MERGE_DELETE ? 0 : describe_job(look, graph, action, e);
}

struct deferred {
	json_t *list; /* borrowed */
	const struct volume_row *volume;
	const struct snapshot_graph *graph;
};

static void add_deferred(void *arg, const struct layer_action *action)
{
	const struct deferred *deferred = arg;
	json_array_append_new(deferred->list,
	        json_pack("{s:s, s:s, s:s}", "disk",
	                deferred->volume->disk ? deferred->volume->disk : deferred->volume->name,
	                "layer", deferred->graph->rows[action->lower].id, "reason",
	                action->reason));
}

/* The saved memory names layers by their files: none may change before the VM has started again. */
static void defer_all(struct deferred *deferred)
{
	const struct snapshot_graph *graph = deferred->graph;
	for (size_t i = 0; i < graph->n; i++) {
		const struct layer_node *node = &graph->nodes[i];
		const struct layer_action action = {.lower = i,
		        .reason = "the VM is suspended to disk, and its saved memory names its "
		                  "layers"};
		if (!node->is_held && !node->is_top && !node->is_foreign)
			add_deferred(deferred, &action);
	}
}

/* A volume that no VM has any more is left alone while others work on it. */
static int is_ours(
        struct look *look, const struct volume_row *volume, bool *ret_ours, struct err *e)
{
	char busy[UUID_TEXT_SIZE] = "", kind[64];
	*ret_ours = str_equal(volume->vm_id, look->call->vm_id);
	if (*ret_ours || volume->vm_id || !str_equal(volume->state, "ready") ||
	        (volume->host_id && !str_equal(volume->host_id, look->call->host_id)))
		return 0;
	int rc = operation_find_busy(look->db, volume->id, busy, kind, e);
	*ret_ours = rc == 0 && !busy[0];
	return rc;
}

static int plan_volume(struct look *look, const char *volume_id, struct err *e)
{
	struct volume_row volume CLEANUP(volume_row_done) = {0};
	struct snapshot_graph graph CLEANUP(snapshot_graph_done) = {0};
	bool ours = false;
	int rc = volume_store_get(look->db, volume_id, &volume, e);
	if (rc == 0)
		rc = is_ours(look, &volume, &ours, e);
	if (rc < 0 || !ours)
		return rc;
	rc = snapshot_graph_load(look->db, &volume, look->is_running && volume.vm_id, &graph, e);
	if (rc < 0)
		return rc;
	struct deferred deferred = {.list = look->deferred, .volume = &volume, .graph = &graph};
	if (look->is_suspended) {
		defer_all(&deferred);
		return 0;
	}
	struct layer_action action = layer_plan_next(graph.nodes, graph.n);
	layer_plan_deferred(graph.nodes, graph.n, add_deferred, &deferred);
	return action.kind == LAYER_ACTION_NONE ? 0
	                                        : take_action(look, &volume, &graph, &action, e);
}

static int plan_all(struct look *look, struct err *e)
{
	char **ids = NULL;
	size_t n = 0;
	int rc = snapshot_store_volumes(look->db, look->call->vm_id, &ids, &n, e);
	for (size_t i = 0; i < n; i++) {
		if (rc == 0 && !look->next)
			rc = plan_volume(look, ids[i], e);
		free(ids[i]);
	}
	free(ids);
	return rc;
}

/* ---- the look ---- */

/* Jobs on the VM's disks that an operation which is undone has left. */
static int end_jobs(struct look *look, struct err *e)
{
	const struct vm_plan *plan = &look->call->plan;
	int rc = 0;
	for (size_t i = 0; i < plan->n_volumes && rc == 0 && look->driver->block_job_end; i++) {
		rc = look->driver->block_job_end(
		        look->c, look->call->vm_id, plan->volumes[i].disk, BLOCK_JOB_CANCEL, e);
		if (rc == ERR_NOT_FOUND) {
			err_clear(e);
			rc = 0;
		}
	}
	return rc;
}

static int prepare(struct look *look, struct err *e)
{
	look->deferred = json_array();
	int rc = readers_get(look->call->readers, &look->db, e);
	if (rc == 0)
		rc = look->driver->get_domain(look->c, look->call->vm_id, &look->info, e);
	if (rc < 0)
		return rc;
	look->is_running = snapshot_has_process(&look->info);
	look->is_suspended = snapshot_is_suspended(&look->info);
	return look->mode == SNAPSHOT_MERGE_SETTLE && look->is_running ? end_jobs(look, e) : 0;
}

static int look_and_plan(struct look *look, struct err *e)
{
	struct vm_call *call = look->call;
	int rc = prepare(look, e);
	if (rc == 0)
		rc = find_completed(look, e);
	if (rc < 0 || look->next)
		return rc;
	rc = vm_domain_define(
	        &call->plan, &call->plan.spec, &call->platform, look->driver, look->c, e);
	return rc < 0 || look->mode == SNAPSHOT_MERGE_SETTLE ? rc : plan_all(look, e);
}

static int run_look(struct vm_call *call, enum snapshot_merge_mode mode,
        const struct driver *driver, struct driver_connection *c, struct err *e)
{
	struct look look CLEANUP(look_done) = {
	        .call = call, .mode = mode, .driver = driver, .c = c};
	int rc = look_and_plan(&look, e);
	if (rc == 0)
		call->found = json_pack("{s:o, s:O}", "next",
		        look.next ? json_incref(look.next) : json_object(), "deferred",
		        look.deferred);
	return rc;
}

static int look_all(struct vm_call *call, const struct driver *driver, struct driver_connection *c,
        struct err *e)
{
	return run_look(call, SNAPSHOT_MERGE_ALL, driver, c, e);
}

static int look_for_deletions(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	return run_look(call, SNAPSHOT_MERGE_DELETE, driver, c, e);
}

static int look_to_settle(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	return run_look(call, SNAPSHOT_MERGE_SETTLE, driver, c, e);
}

const vm_call_fn snapshot_merge_looks[] = {
        [SNAPSHOT_MERGE_ALL] = look_all,
        [SNAPSHOT_MERGE_DELETE] = look_for_deletions,
        [SNAPSHOT_MERGE_SETTLE] = look_to_settle,
};

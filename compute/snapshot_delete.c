/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deleting snapshots, in any order.
 *
 *  mark (row "deleting", its children become its parent's) -> memory (its file) -> merge (snapshot_merge.h)
 *
 * The row goes when nothing is held for it any more. A merge that was cancelled, failed or must wait until the VM stops
 * leaves it "deleting"; deleting it again, or the sweep after the VM has stopped, takes the merge up. A VM that is
 * suspended to disk keeps all its layers, because its saved memory names them.
 */
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "compute/snapshot_graph.h"
#include "compute/snapshot_internal.h"
#include "compute/snapshot_merge.h"
#include "compute/vm_jobs.h"
#include "compute/vm_live.h"
#include "db/change_feed.h"
#include "db/reader.h"

#define FILE_TIMEOUT_MS 120000

static const char no_merge[] = "its saved memory names the layers that would be merged";

/* ---- mark ---- */

static int mark(struct db *db, void *arg, struct err *e)
{
	const struct operation *op = arg;
	struct vm_row vm CLEANUP(vm_row_done) = {0};
	struct snapshot_row row CLEANUP(snapshot_row_done) = {0};
	int rc = vm_store_get(db, operation_target_id(op), &vm, e);
	if (rc == 0)
		rc = snapshot_refuse_suspended(&vm, no_merge, e);
	if (rc < 0)
		return rc;
	rc = snapshot_store_get(db, vm.id, snapshot_id_of(operation_input(op)), &row, e);
	if (rc == ERR_NOT_FOUND) {
		err_clear(e);
		return 0; /* deleted by an earlier operation */
	}
	if (rc == 0)
		rc = snapshot_store_set_state(db, row.id, SNAPSHOT_DELETING, e);
	if (rc == 0)
		rc = snapshot_store_reparent(
		        db, row.id, row.parent_id[0] ? row.parent_id : NULL, e);
	return rc < 0 ? rc : snapshot_add_change(db, "deleting", &row, e);
}

static void run_mark(struct operation *op)
{
	operation_step_done_storing(op, mark, op, NULL);
}

/* ---- memory ---- */

/* Calls `act` for each snapshot of the VM that is being deleted and has a memory file. */
static int for_each_memory(struct db *db, const char *vm_id,
        int (*act)(void *arg, struct db *db, const struct snapshot_row *row, struct err *e),
        void *arg, struct err *e)
{
	struct snapshot_row *rows = NULL;
	size_t n = 0;
	int rc = snapshot_store_of_vm(db, vm_id, &rows, &n, e);
	for (size_t i = 0; i < n; i++) {
		if (rc == 0 && rows[i].state == SNAPSHOT_DELETING && rows[i].memory_file)
			rc = act(arg, db, &rows[i], e);
		snapshot_row_done(&rows[i]);
	}
	free(rows);
	return rc;
}

struct host {
	const struct driver *driver;
	struct driver_connection *c;
};

static int remove_file(void *arg, struct db *db, const struct snapshot_row *row, struct err *e)
{
	const struct host *host = arg;
	return snapshot_remove_memory(db, row, host->driver, host->c, e);
}

static int remove_memory(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	struct db *db;
	struct host host = {.driver = driver, .c = c};
	int rc = readers_get(call->readers, &db, e);
	return rc < 0 ? rc : for_each_memory(db, call->vm_id, remove_file, &host, e);
}

static int drop_file(void *arg, struct db *db, const struct snapshot_row *row, struct err *e)
{
	(void)arg;
	return snapshot_store_drop_memory(db, row->id, e);
}

static int store_removed(struct db *db, struct vm_call *call, struct err *e)
{
	return for_each_memory(db, call->vm_id, drop_file, NULL, e);
}

static void run_memory(struct operation *op)
{
	vm_call_submit(op, remove_memory, store_removed, FILE_TIMEOUT_MS, 0);
}

/* ---- merge ---- */

static void run_merge(struct operation *op)
{
	snapshot_merge_run(op, SNAPSHOT_MERGE_ALL);
}

static void undo_merge(struct operation *op)
{
	snapshot_merge_run(op, SNAPSHOT_MERGE_SETTLE);
}

static int finish_delete(struct db *db, const struct operation *op, enum operation_state outcome,
        const struct err *error, struct err *e)
{
	(void)outcome;
	(void)error;
	struct snapshot_row row CLEANUP(snapshot_row_done) = {0};
	const char *id = snapshot_id_of(operation_input(op));
	int rc = snapshot_store_get(db, operation_target_id(op), id, &row, e);
	if (rc != ERR_NOT_FOUND)
		return rc < 0 ? rc : snapshot_add_change(db, "updated", &row, e);
	err_clear(e);
	const char *name = json_string_value(json_object_get(operation_input(op), "name"));
	const struct change change = {
	        .kind = "snapshot", .event = "deleted", .object_id = id, .name = name};
	return change_add(db, &change, e);
}

#define MERGE_STEPS                                                                                \
	{.name = "memory", .run = run_memory},                                                     \
	{                                                                                          \
		.name = "merge", .run = run_merge, .undo = undo_merge                              \
	}

static const struct operation_step delete_steps[] = {
        {.name = "mark", .run = run_mark},
        MERGE_STEPS,
};
const struct operation_kind snapshot_delete_kind = {.name = "snapshot.delete",
        .steps = delete_steps,
        .n_steps = ARRAY_LEN(delete_steps),
        .finish = finish_delete,
        .on_cancel = snapshot_merge_cancel,
        VM_JOB(MERGE)};

static const struct operation_step sweep_steps[] = {MERGE_STEPS};
const struct operation_kind snapshot_sweep_kind = {.name = "snapshot.sweep",
        .steps = sweep_steps,
        .n_steps = ARRAY_LEN(sweep_steps),
        .on_cancel = snapshot_merge_cancel,
        VM_JOB(MERGE)};

/* ---- mutations ---- */

int snapshot_delete(struct db *db, struct vms *vms, const struct vm_row *vm,
        const struct snapshot_row *row, const struct vm_request *asked,
        char ret_operation[UUID_TEXT_SIZE], struct err *e)
{
	int rc = snapshot_check_vm(db, vm, asked, e);
	if (rc == 0)
		rc = snapshot_check_awake(db, vm, no_merge, e);
	if (rc < 0)
		return rc;
	json_t *input CLEANUP(cleanup_json) =
	        json_pack("{s:s, s:s}", "snapshot", row->id, "name", row->name);
	return vm_create_operation(db, vms, vm, "snapshot.delete", input, asked, ret_operation, e);
}

/* Whether a stopped VM's layers have something to do. */
static int has_work(struct db *db, const char *vm_id, bool *ret_has_work, struct err *e)
{
	char **ids = NULL;
	size_t n = 0;
	int rc = snapshot_store_volumes(db, vm_id, &ids, &n, e);
	for (size_t i = 0; i < n; i++) {
		struct volume_row volume CLEANUP(volume_row_done) = {0};
		struct snapshot_graph graph CLEANUP(snapshot_graph_done) = {0};
		if (rc == 0)
			rc = volume_store_get(db, ids[i], &volume, e);
		if (rc == 0)
			rc = snapshot_graph_load(db, &volume, /* is_running= */ false, &graph, e);
		if (rc == 0)
			*ret_has_work |=
			        layer_plan_next(graph.nodes, graph.n).kind != LAYER_ACTION_NONE;
		free(ids[i]);
	}
	free(ids);
	return rc;
}

static int sweep_vm(struct db *db, struct vms *vms, const char *vm_id, int *made, struct err *e)
{
	static const struct vm_request ourselves = {.requested_by = "berth", .wait_ms = -1};
	struct vm_row vm CLEANUP(vm_row_done) = {0};
	char operation[UUID_TEXT_SIZE];
	bool work = false;
	int rc = vm_store_get(db, vm_id, &vm, e);
	if (rc < 0 || vm_check_host(&ourselves, db, vm.host_id, NULL) < 0)
		return rc;
	rc = has_work(db, vm_id, &work, e);
	if (rc < 0 || !work)
		return rc;
	rc = vm_create_operation(db, vms, &vm, "snapshot.sweep", NULL, &ourselves, operation, e);
	*made += rc == 0;
	return rc;
}

int snapshot_sweep(struct db *db, struct vms *vms, int64_t since_ms, int *ret_n, struct err *e)
{
	char **ids = NULL;
	size_t n = 0;
	*ret_n = 0;
	int rc = snapshot_store_sweepable(db, since_ms, &ids, &n, e);
	for (size_t i = 0; i < n; i++) {
		if (rc == 0)
			rc = sweep_vm(db, vms, ids[i], ret_n, e);
		free(ids[i]);
	}
	free(ids);
	return rc;
}

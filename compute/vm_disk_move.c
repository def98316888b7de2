/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moving a disk to another pool, while the guest runs or not.
 *
 *  the transaction: a layer ("creating") in the new pool, operation
 *     -> target    its file                                       undo: delete it
 *     -> copy      block copy by the VM or a carrier, then pivot  undo: end it
 *     -> record    the volume is written through the new layer    no way back from here
 *     -> define    the domain says so, too
 *     -> release   the carrier, if there was one
 *     -> remove    the old file
 *
 * Killed between pivot and record, the copy step runs again, finds the guest writing to the new file, and goes on. The undo
 * of `target` never deletes a file that a guest writes to.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "compute/vm_block.h"
#include "compute/vm_disk.h"
#include "compute/vm_jobs.h"
#include "compute/vm_live.h"
#include "db/reader.h"
#include "storage/pool_store.h"

#define FILE_TIMEOUT_MS   120000
#define DEFINE_TIMEOUT_MS 180000

static const char *input_text(const struct operation *op, const char *key)
{
	return json_string_value(json_object_get(operation_input(op), key));
}

static bool is_recorded(const struct operation *op)
{
	return json_is_true(json_object_get(operation_memory(op), "recorded"));
}

/* ---- the new file: lane thread ---- */

static int load_layer(
        struct vm_call *call, const char *key, struct layer_chain *ret_chain, struct err *e)
{
	struct db *db;
	int rc = readers_get(call->readers, &db, e);
	if (rc < 0)
		return rc;
	const char *id = json_string_value(json_object_get(call->input, key));
	return layer_chain_load(db, id, ret_chain, e);
}

static int make_target(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	struct layer_chain target CLEANUP(layer_chain_done) = {0};
	char *xml CLEANUP(cleanup_free) = NULL;
	int rc = load_layer(call, "to", &target, e);
	if (rc == 0)
		rc = layer_chain_create_top(&target, /* preallocate= */ false, driver, c, e);
	if (rc == 0)
		rc = domain_xml_build_copy_target(&target.sources[0], &xml, e);
	if (rc < 0)
		return rc;
	call->found = json_pack("{s:s, s:s, s:s}", "xml", xml, "path", target.sources[0].path,
	        "pool", target.pools[0]->libvirt_name);
	return 0;
}

static void on_target(struct vm_call *call, int rc, const struct err *e)
{
	struct operation *op = call->op;
	if (rc == 0) {
		const struct block_work work = {
		        .kind = BLOCK_WORK_COPY,
		        .disk = input_text(op, "disk"),
		        .target_xml = json_string_value(json_object_get(call->found, "xml")),
		        .target_path = json_string_value(json_object_get(call->found, "path")),
		        .pool = json_string_value(json_object_get(call->found, "pool")),
		};
		vm_block_plan(op, &work);
	}
	operation_step_done(op, rc, e);
}

static void run_target(struct operation *op)
{
	vm_call_submit_then(op, make_target, FILE_TIMEOUT_MS, 0, on_target);
}

static int refuse_written(const struct vm_call *call, const char *path, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	char **paths = NULL;
	const char *disk = json_string_value(json_object_get(call->input, "disk"));
	if (!driver->disk_chain || driver->disk_chain(c, call->vm_id, disk, &paths, e) < 0) {
		err_clear(e); /* it does not run, or has no such disk */
		return 0;
	}
	bool written = paths[0] && str_equal(paths[0], path);
	for (size_t i = 0; paths[i]; i++)
		free(paths[i]);
	free(paths);
	return written ? err_set(e, ERR_IN_USE, "the guest writes to %s", path) : 0;
}

static int remove_target(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	struct layer_chain target CLEANUP(layer_chain_done) = {0};
	int rc = load_layer(call, "to", &target, e);
	if (rc == 0)
		rc = refuse_written(call, target.sources[0].path, driver, c, e);
	return rc < 0 ? rc : layer_chain_delete_top(&target, driver, c, e);
}

static void undo_target(struct operation *op)
{
	if (is_recorded(op))
		operation_step_done(op, 0, NULL);
	else
		vm_call_submit(op, remove_target, NULL, FILE_TIMEOUT_MS, VM_CALL_NO_PLAN);
}

static void undo_copy(struct operation *op)
{
	if (is_recorded(op))
		vm_block_release(op);
	else
		vm_block_undo(op);
}

/* ---- after the pivot ---- */

struct record {
	char vm_id[UUID_TEXT_SIZE];
	char *disk, *volume, *from, *to, *pool; /* owned */
};

static void free_record(void *arg)
{
	struct record *r = arg;
	free(r->disk);
	free(r->volume);
	free(r->from);
	free(r->to);
	free(r->pool);
	free(r);
}

static int store_record(struct db *db, void *arg, struct err *e)
{
	const struct record *r = arg;
	int rc = layer_mark_ready(db, r->to, e);
	if (rc == 0)
		rc = volume_set_layer(db, r->volume, r->to, e);
	if (rc == 0)
		rc = layer_mark_deleting(db, r->from, e);
	if (rc == 0)
		rc = volume_require_full_backup(db, r->volume, e);
	return rc < 0 ? rc : vm_disk_record(db, r->vm_id, r->disk, "pool", json_string(r->pool), e);
}

static void run_record(struct operation *op)
{
	struct record *r = xcalloc(1, sizeof(*r));
	uuid_text_copy(r->vm_id, operation_target_id(op));
	r->disk = xstrdup(input_text(op, "disk"));
	r->volume = xstrdup(input_text(op, "volume"));
	r->from = xstrdup(input_text(op, "from"));
	r->to = xstrdup(input_text(op, "to"));
	r->pool = xstrdup(input_text(op, "pool"));
	json_object_set_new(operation_memory(op), "recorded", json_true());
	operation_step_done_storing(op, store_record, r, free_record);
}

static void run_define(struct operation *op)
{
	vm_call_submit(op, vm_call_define, NULL, DEFINE_TIMEOUT_MS, 0);
}

static int remove_old(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	struct layer_chain old CLEANUP(layer_chain_done) = {0};
	int rc = load_layer(call, "from", &old, e);
	return rc < 0 ? rc : layer_chain_delete_top(&old, driver, c, e);
}

static void run_remove(struct operation *op)
{
	vm_call_submit(op, remove_old, NULL, FILE_TIMEOUT_MS, VM_CALL_NO_PLAN);
}

static int finish_move(struct db *db, const struct operation *op, enum operation_state outcome,
        const struct err *error, struct err *e)
{
	(void)error;
	vms_mark_dirty_on_commit(db, vms_of(op), operation_host_id(op), operation_target_id(op));
	if (outcome == OPERATION_SUCCEEDED)
		return layer_forget(db, input_text(op, "from"), e);
	return is_recorded(op) ? 0 : layer_forget(db, input_text(op, "to"), e);
}

static const struct operation_step steps[] = {
        {.name = "target", .run = run_target, .undo = undo_target},
        {.name = "copy", .run = vm_block_run, .undo = undo_copy},
        {.name = "record", .run = run_record, .flags = OPERATION_FINAL},
        {.name = "define", .run = run_define, .flags = OPERATION_FINAL},
        {.name = "release", .run = vm_block_release, .flags = OPERATION_FINAL},
        {.name = "remove", .run = run_remove, .flags = OPERATION_FINAL},
};
const struct operation_kind vm_disk_move_kind = {
        .name = "vm.disk.move",
        .steps = steps,
        .n_steps = ARRAY_LEN(steps),
        .finish = finish_move,
        .on_cancel = block_work_cancel,
        VM_JOB(BLOCK),
};

/* ---- the mutation ---- */

static int check_alone(
        struct db *db, const struct volume_row *volume, const char *disk, struct err *e)
{
	struct layer_list layers CLEANUP(layer_list_done) = {0};
	int rc = layer_store_of_volume(db, volume->id, &layers, e);
	if (rc == 0)
		rc = volume_check_unused(db, volume, NULL, e);
	if (rc < 0 || layers.len == 1)
		return rc;
	err_set(e, ERR_IN_USE, "disk %s has %zu layers", disk, layers.len);
	return err_hint(e, "delete the VM's snapshots first");
}

static int check_free_name(
        struct db *db, const char *pool, const struct vm_row *row, const char *name, struct err *e)
{
	struct volume_row other CLEANUP(volume_row_done) = {0};
	int rc = volume_store_find(db, pool, row->host_id, name, &other, e);
	if (rc == ERR_NOT_FOUND) {
		err_clear(e);
		return 0;
	}
	if (rc < 0)
		return rc;
	return err_set_at(
	        e, ERR_EXISTS, "/pool", "pool %s has a volume named %s already", pool, name);
}

static int load_pool(struct db *db, const char *name, const struct vm_row *row,
        struct pool_access *ret_pool, struct err *e)
{
	char id[UUID_TEXT_SIZE];
	int rc = pool_store_get_id(db, name, id, e);
	if (rc == ERR_NOT_FOUND) {
		err_set_at(e, ERR_REFERENCE, "/pool", "there is no pool named %s", name);
		return ERR_REFERENCE;
	}
	if (rc == 0)
		rc = pool_check_host(db, id, row->host_id, e);
	if (rc == 0)
		rc = pool_access_load(db, id, ret_pool, e);
	if (rc != 0 || !(ret_pool->kind->flags & POOL_ADOPT_ONLY))
		return rc;
	return err_set_at(e, ERR_UNSUPPORTED, "/pool", "Berth cannot make volumes in pool %s (%s)",
	        ret_pool->name, ret_pool->kind->name);
}

static int reserve(struct db *db, const struct vm_row *row, const struct volume_row *volume,
        const struct pool_access *pool, const char *format, char ret_id[UUID_TEXT_SIZE],
        struct err *e)
{
	const char *host_id = pool->shared ? NULL : row->host_id;
	if (!(pool->kind->flags & POOL_FILES) && strcmp(format, "raw") != 0)
		return err_set_at(e, ERR_UNSUPPORTED, "/format",
		        "pool %s (%s) holds raw volumes only", pool->name, pool->kind->name);
	int rc = pool_check_room(db, pool, row->host_id, volume->size_bytes, /* full= */ false, e);
	const struct layer_request request = {
	        .pool_id = pool->id,
	        .host_id = host_id,
	        .format = format,
	        .size_bytes = volume->size_bytes,
	        .volume_id = volume->id,
	};
	return rc < 0 ? rc : layer_reserve(db, &request, ret_id, e);
}

static int check_movable(struct db *db, const struct vm_row *row, const char *disk,
        const struct vm_disk_move *move, struct volume_row *volume, struct pool_access *pool,
        struct layer_row *top, struct err *e)
{
	int rc = vm_disk_volume(db, row, disk, volume, e);
	if (rc == 0)
		rc = load_pool(db, move->pool, row, pool, e);
	if (rc == 0 && str_equal(volume->pool_id, pool->id))
		rc = err_set_at(e, ERR_INVALID, "/pool", "disk %s is in pool %s already", disk,
		        volume->pool);
	if (rc == 0)
		rc = check_alone(db, volume, disk, e);
	if (rc == 0)
		rc = check_free_name(db, pool->name, row, volume->name, e);
	return rc != 0 ? rc : layer_store_get(db, volume->layer_id, top, e);
}

int vm_disk_start_move(struct db *db, struct vms *vms, const struct vm_row *row, const char *disk,
        const struct vm_disk_move *move, const struct vm_request *request,
        char ret_operation[UUID_TEXT_SIZE], struct err *e)
{
	struct volume_row volume CLEANUP(volume_row_done) = {0};
	struct pool_access pool CLEANUP(pool_access_done) = {0};
	struct layer_row top CLEANUP(layer_row_done) = {0};
	char to[UUID_TEXT_SIZE];
	int rc = vm_check_managed(row, e);
	if (rc == 0)
		rc = vm_check_host(request, db, row->host_id, e);
	if (rc == 0)
		rc = check_movable(db, row, disk, move, &volume, &pool, &top, e);
	if (rc == 0)
		rc = reserve(
		        db, row, &volume, &pool, move->format ? move->format : top.format, to, e);
	if (rc < 0)
		return rc;
	json_t *input CLEANUP(cleanup_json) = json_pack("{s:s, s:s, s:s, s:s, s:s}", "disk", disk,
	        "volume", volume.id, "from", top.id, "to", to, "pool", pool.name);
	return vm_create_operation(
	        db, vms, row, vm_disk_move_kind.name, input, request, ret_operation, e);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moving a disk to another pool, while the guest runs or not.
 *
 *  the transaction: a layer ("creating") in the new pool, operation
 *     -> target    its file; the disk is as it was asked for      undo: delete it
 *     -> copy      block copy by the VM, which then goes over to  undo: end it; if the VM has gone over,
 *                  the new file, or by a carrier                        record it
 *     -> record    the volume is written through the new layer    no way back from here
 *     -> define    the domain says so, too
 *     -> release   the carrier, if there was one
 *     -> remove    the old file, or the sweep does it later
 *
 * Killed or cancelled between the moment at which QEMU goes over and `record`, the guest's writes are in the new file alone.
 * So copying again and deleting both look first (compute/vm_block.h), and what cannot be taken back is recorded. Whether that
 * has happened is asked of the volume's row, never of what this operation remembers.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "compute/vm_block.h"
#include "compute/vm_disk.h"
#include "compute/vm_jobs.h"
#include "compute/vm_live.h"
#include "compute/vm_suspended.h"
#include "db/reader.h"
#include "storage/pool_store.h"

#define FILE_TIMEOUT_MS   120000
#define DEFINE_TIMEOUT_MS 180000

static const char *text_of(const json_t *input, const char *key)
{
	return json_string_value(json_object_get(input, key));
}

/* The moved volume as it is recorded now; *ret_recorded: it is written through the new layer. */
static int load_volume(struct db *db, const json_t *input, struct volume_row *ret_volume,
        bool *ret_recorded, struct err *e)
{
	int rc = volume_store_get(db, text_of(input, "volume"), ret_volume, e);
	*ret_recorded = rc == 0 && str_equal(ret_volume->layer_id, text_of(input, "to"));
	return rc;
}

/* ---- the new file: lane thread ---- */

/* What stood before it in the queue may have taken a snapshot, or grown the disk. */
static int check_again(
        struct db *db, const json_t *input, struct volume_row *ret_volume, struct err *e)
{
	bool recorded = false;
	int rc = load_volume(db, input, ret_volume, &recorded, e);
	if (rc == 0)
		rc = volume_check_unused(db, ret_volume, NULL, e);
	return rc < 0 ? rc
	              : vm_disk_check_one_layer(db, ret_volume->id, text_of(input, "disk"),
	                        text_of(input, "to"), e);
}

static int create_target(struct vm_call *call, struct db *db, int64_t size_bytes,
        const struct driver *driver, struct driver_connection *c, struct err *e)
{
	struct layer_chain target CLEANUP(layer_chain_done) = {0};
	char *xml CLEANUP(cleanup_free) = NULL;
	int rc = layer_chain_load(db, text_of(call->input, "to"), &target, e);
	if (rc < 0)
		return rc;
	target.layers[0].size_bytes = size_bytes;
	rc = layer_chain_create_top(&target, /* preallocate= */ false, driver, c, e);
	if (rc == 0)
		rc = domain_xml_build_copy_target(&target.sources[0], &xml, e);
	if (rc < 0)
		return rc;
	call->found = json_pack("{s:s, s:s, s:s, s:I}", "xml", xml, "path", target.sources[0].path,
	        "pool", target.pools[0]->libvirt_name, "size_bytes", (json_int_t)size_bytes);
	return 0;
}

static int make_target(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	struct volume_row volume CLEANUP(volume_row_done) = {0};
	struct domain_info info CLEANUP(domain_info_done) = {0};
	struct db *db;
	int rc = readers_get(call->readers, &db, e);
	if (rc == 0)
		rc = check_again(db, call->input, &volume, e);
	if (rc == 0 && driver->get_domain(c, call->vm_id, &info, NULL) == 0)
		rc = vm_refuse_suspended(&info, "moving its disk", e);
	return rc < 0 ? rc : create_target(call, db, volume.size_bytes, driver, c, e);
}

static int store_target(struct db *db, struct vm_call *call, struct err *e)
{
	int64_t size = json_integer_value(json_object_get(call->found, "size_bytes"));
	return layer_set_size(db, text_of(call->input, "to"), size, e);
}

static void on_target(struct vm_call *call, int rc, const struct err *e)
{
	struct operation *op = call->op;
	if (rc < 0) {
		operation_step_done(op, rc, e);
		return;
	}
	const struct block_work work = {
	        .kind = BLOCK_WORK_COPY,
	        .disk = text_of(call->input, "disk"),
	        .target_xml = text_of(call->found, "xml"),
	        .target_path = text_of(call->found, "path"),
	        .pool = text_of(call->found, "pool"),
	};
	vm_block_plan(op, &work);
	vm_call_finish_step(call, store_target);
}

static void run_target(struct operation *op)
{
	vm_call_submit_then(op, make_target, FILE_TIMEOUT_MS, 0, on_target);
}

/* ---- after the VM has gone over: rows, writer thread ---- */

static int record_move(struct db *db, const char *vm_id, const json_t *input, struct err *e)
{
	struct volume_row volume CLEANUP(volume_row_done) = {0};
	bool recorded = false;
	int rc = load_volume(db, input, &volume, &recorded, e);
	if (rc < 0 || recorded)
		return rc;
	rc = layer_mark_ready(db, text_of(input, "to"), e);
	if (rc == 0)
		rc = volume_move_to_layer(db, volume.id, text_of(input, "to"), e);
	if (rc == 0)
		rc = layer_mark_deleting(db, volume.layer_id, e);
	if (rc == 0)
		rc = volume_require_full_backup(db, volume.id, e);
	return rc < 0 ? rc
	              : vm_disk_record(db, vm_id, text_of(input, "disk"), "pool",
	                        json_string(text_of(input, "pool")), e);
}

static int settle(struct db *db, struct vm_call *call, struct err *e)
{
	return vm_block_was_done(call) ? record_move(db, call->vm_id, call->input, e) : 0;
}

static void undo_copy(struct operation *op)
{
	vm_block_undo(op, settle);
}

struct record {
	char vm_id[UUID_TEXT_SIZE];
	json_t *input; /* owned */
};

static void free_record(void *arg)
{
	struct record *record = arg;
	json_decref(record->input);
	free(record);
}

static int store_record(struct db *db, void *arg, struct err *e)
{
	const struct record *record = arg;
	return record_move(db, record->vm_id, record->input, e);
}

static void run_record(struct operation *op)
{
	struct record *record = xcalloc(1, sizeof(*record));
	uuid_text_copy(record->vm_id, operation_target_id(op));
	record->input = json_deep_copy(operation_input(op));
	operation_step_done_storing(op, store_record, record, free_record);
}

static void run_define(struct operation *op)
{
	vm_call_submit(op, vm_call_define, NULL, DEFINE_TIMEOUT_MS, 0);
}

/* ---- the old file ---- */

/* Lane thread. call->found "removed": the layers whose files are gone. */
static int remove_old(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	struct layer_list layers CLEANUP(layer_list_done) = {0};
	json_t *removed = json_array();
	struct db *db;
	call->found = json_pack("{s:o}", "removed", removed);
	int rc = readers_get(call->readers, &db, e);
	if (rc == 0)
		rc = layer_store_of_volume(db, text_of(call->input, "volume"), &layers, e);
	for (size_t i = 0; i < layers.len && rc == 0; i++) {
		struct layer_chain chain CLEANUP(layer_chain_done) = {0};
		if (!str_equal(layers.items[i].state, "deleting"))
			continue;
		rc = layer_chain_load(db, layers.items[i].id, &chain, e);
		if (rc == 0)
			rc = layer_chain_delete_top(&chain, driver, c, e);
		if (rc == 0)
			json_array_append_new(removed, json_string(layers.items[i].id));
	}
	return rc;
}

static int store_removed(struct db *db, struct vm_call *call, struct err *e)
{
	size_t i;
	json_t *id;
	json_array_foreach(json_object_get(call->found, "removed"), i, id)
	{
		int rc = layer_forget(db, json_string_value(id), e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* The disk has moved all the same: its row keeps the file in mind, and the sweep comes back to it (vm_disk_sweep). */
static void on_removed(struct vm_call *call, int rc, const struct err *e)
{
	bool is_away = rc == ERR_HOST_DOWN || rc == ERR_HOST_SLOW;
	if (rc < 0 && is_away) {
		operation_step_done(call->op, rc, e);
		return;
	}
	if (rc < 0)
		log_err(LOG_LEVEL_WARNING, e,
		        "the file that disk %s of VM %s was moved from is left for later",
		        text_of(call->input, "disk"), operation_target_name(call->op));
	vm_call_finish_step(call, store_removed);
}

static void run_remove(struct operation *op)
{
	vm_call_submit_then(op, remove_old, FILE_TIMEOUT_MS, VM_CALL_NO_PLAN, on_removed);
}

/* ---- the undo of `target`: one of the two files goes ---- */

/* A definition that fails is made anew by the next start. */
static int tidy(struct vm_call *call, const struct driver *driver, struct driver_connection *c,
        struct err *e)
{
	struct err unimportant = {0};
	vm_call_define(call, driver, c, &unimportant);
	return remove_old(call, driver, c, e);
}

static int remove_one(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	struct volume_row volume CLEANUP(volume_row_done) = {0};
	struct layer_chain target CLEANUP(layer_chain_done) = {0};
	bool recorded = false;
	struct db *db;
	int rc = readers_get(call->readers, &db, e);
	if (rc == 0)
		rc = load_volume(db, call->input, &volume, &recorded, e);
	call->again = !recorded; /* should it fail, it is tried again */
	if (rc == 0 && recorded)
		return tidy(call, driver, c, e);
	if (rc == 0)
		rc = layer_chain_load(db, text_of(call->input, "to"), &target, e);
	return rc < 0 ? rc : layer_chain_delete_top(&target, driver, c, e);
}

static void on_one_removed(struct vm_call *call, int rc, const struct err *e)
{
	if (rc < 0 && call->again)
		operation_step_done(call->op, rc, e);
	else
		on_removed(call, rc, e);
}

static void undo_target(struct operation *op)
{
	vm_call_submit_then(op, remove_one, DEFINE_TIMEOUT_MS, 0, on_one_removed);
}

static int finish_move(struct db *db, const struct operation *op, enum operation_state outcome,
        const struct err *error, struct err *e)
{
	(void)error;
	(void)outcome;
	struct volume_row volume CLEANUP(volume_row_done) = {0};
	bool recorded = false;
	vms_mark_dirty_on_commit(db, vms_of(op), operation_host_id(op), operation_target_id(op));
	int rc = load_volume(db, operation_input(op), &volume, &recorded, e);
	return rc < 0 || recorded ? rc : layer_forget(db, text_of(operation_input(op), "to"), e);
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

static int check_free_name(struct db *db, const char *pool, const struct vm_row *row,
        const struct volume_row *volume, struct err *e)
{
	struct volume_row other CLEANUP(volume_row_done) = {0};
	int rc = volume_store_find(db, pool, row->host_id, volume->name, &other, e);
	if (rc == ERR_NOT_FOUND) {
		err_clear(e);
		return 0;
	}
	if (rc < 0 || str_equal(other.id, volume->id)) /* itself, which lies elsewhere until now */
		return rc;
	return err_set_at(e, ERR_EXISTS, "/pool", "pool %s has a volume named %s already", pool,
	        volume->name);
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
	bool is_counted = str_equal(volume->pool_id, pool->id);
	int rc = pool_check_room(
	        db, pool, row->host_id, is_counted ? 0 : volume->size_bytes, /* full= */ false, e);
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
	if (rc == 0)
		rc = layer_store_get(db, volume->layer_id, top, e);
	if (rc == 0 && str_equal(top->pool_id, pool->id))
		rc = err_set_at(
		        e, ERR_INVALID, "/pool", "disk %s is in pool %s already", disk, pool->name);
	if (rc == 0)
		rc = volume_check_unused(db, volume, NULL, e);
	if (rc == 0)
		rc = vm_disk_check_one_layer(db, volume->id, disk, NULL, e);
	if (rc == 0)
		rc = check_free_name(db, pool->name, row, volume, e);
	return rc;
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
		rc = vm_check_not_suspended(db, row, "moving its disk", e);
	if (rc == 0)
		rc = check_movable(db, row, disk, move, &volume, &pool, &top, e);
	if (rc != 0)
		return rc;
	const char *format = move->format ? move->format : pool_kind_format(pool.kind, top.format);
	rc = reserve(db, row, &volume, &pool, format, to, e);
	if (rc < 0)
		return rc;
	json_t *input CLEANUP(cleanup_json) = json_pack("{s:s, s:s, s:s, s:s}", "disk", disk,
	        "volume", volume.id, "to", to, "pool", pool.name);
	return vm_create_operation(
	        db, vms, row, vm_disk_move_kind.name, input, request, ret_operation, e);
}

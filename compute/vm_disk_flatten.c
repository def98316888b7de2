/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flattening a disk: what its top layer lacks is copied from the layers below, until it stands alone.
 *
 *  check (no snapshot was taken meanwhile) -> pull (by the VM or a carrier) -> release the carrier, which writes the last of it
 *     -> record (the layer stands on nothing) -> define
 *
 * Until the pull is complete nothing has changed for anyone, so that undoing it is ending it; what is complete is recorded,
 * by the undo as well.
 */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "compute/vm_block.h"
#include "compute/vm_disk.h"
#include "compute/vm_jobs.h"
#include "compute/vm_live.h"
#include "compute/vm_suspended.h"
#include "db/reader.h"

static const char *disk_of(const json_t *input)
{
	return json_string_value(json_object_get(input, "disk"));
}

/* ---- steps ---- */

/* What stood before it in the queue may have changed the chain: a snapshot's layers must stay. Lane thread. */
static int check_alone(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	(void)driver;
	(void)c;
	struct db *db;
	const struct volume_row *volume = vm_plan_volume(&call->plan, disk_of(call->input));
	if (!volume)
		return err_set(e, ERR_WRONG_STATE, "VM %s has no disk %s any more",
		        call->plan.row.name, disk_of(call->input));
	int rc = readers_get(call->readers, &db, e);
	return rc < 0 ? rc : vm_disk_check_one_layer(db, volume->id, volume->disk, NULL, e);
}

static void run_check(struct operation *op)
{
	const struct block_work work = {
	        .kind = BLOCK_WORK_PULL, .disk = disk_of(operation_input(op))};
	vm_block_plan(op, &work);
	vm_call_submit(op, check_alone, NULL, 15000, 0);
}

static int record_flat(struct db *db, const char *vm_id, const char *disk, struct err *e)
{
	struct volume_row volume CLEANUP(volume_row_done) = {0};
	int rc = vm_disk_find_volume(db, vm_id, disk, &volume, e);
	return rc <= 0 ? rc : layer_set_backing(db, volume.layer_id, NULL, e);
}

static int settle(struct db *db, struct vm_call *call, struct err *e)
{
	return vm_block_was_done(call) ? record_flat(db, call->vm_id, disk_of(call->input), e) : 0;
}

static void undo_pull(struct operation *op)
{
	vm_block_undo(op, settle);
}

struct record {
	char vm_id[UUID_TEXT_SIZE];
	char *disk; /* owned */
};

static void free_record(void *arg)
{
	struct record *record = arg;
	free(record->disk);
	free(record);
}

static int store_record(struct db *db, void *arg, struct err *e)
{
	const struct record *record = arg;
	return record_flat(db, record->vm_id, record->disk, e);
}

static void run_record(struct operation *op)
{
	struct record *record = xcalloc(1, sizeof(*record));
	uuid_text_copy(record->vm_id, operation_target_id(op));
	record->disk = xstrdup(disk_of(operation_input(op)));
	operation_step_done_storing(op, store_record, record, free_record);
}

static void run_define(struct operation *op)
{
	vm_call_submit(op, vm_call_define, NULL, 180000, 0);
}

static const struct operation_step steps[] = {
        {.name = "check", .run = run_check},
        {.name = "pull", .run = vm_block_run, .undo = undo_pull},
        {.name = "release", .run = vm_block_release},
        {.name = "record", .run = run_record, .flags = OPERATION_FINAL},
        {.name = "define", .run = run_define, .flags = OPERATION_FINAL},
};
const struct operation_kind vm_disk_flatten_kind = {
        .name = "vm.disk.flatten",
        .steps = steps,
        .n_steps = ARRAY_LEN(steps),
        .on_cancel = block_work_cancel,
        VM_JOB(BLOCK),
};

/* ---- the mutation ---- */

int vm_disk_start_flatten(struct db *db, struct vms *vms, const struct vm_row *row,
        const char *disk, const struct vm_request *request, char ret_operation[UUID_TEXT_SIZE],
        struct err *e)
{
	struct volume_row volume CLEANUP(volume_row_done) = {0};
	struct layer_row top CLEANUP(layer_row_done) = {0};
	int rc = vm_check_managed(row, e);
	if (rc == 0)
		rc = vm_check_host(request, db, row->host_id, e);
	if (rc == 0)
		rc = vm_check_not_suspended(db, row, "flattening its disk", e);
	if (rc == 0)
		rc = vm_disk_volume(db, row, disk, &volume, e);
	if (rc == 0)
		rc = layer_store_get(db, volume.layer_id, &top, e);
	if (rc < 0)
		return rc;
	if (top.backing_id[0] == '\0')
		return err_set(e, ERR_WRONG_STATE, "disk %s stands on nothing already", disk);
	rc = vm_disk_check_one_layer(db, volume.id, disk, NULL, e);
	if (rc < 0)
		return rc;
	json_t *input CLEANUP(cleanup_json) = json_pack("{s:s}", "disk", disk);
	return vm_create_operation(
	        db, vms, row, vm_disk_flatten_kind.name, input, request, ret_operation, e);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flattening a disk: what its top layer lacks is copied from the layers below, until it stands alone.
 *
 *  pull (by the VM or a carrier) -> record (the layer stands on nothing) -> define -> release the carrier
 *
 * Until the pull is complete nothing has changed for anyone, so that undoing it is ending it.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "compute/vm_block.h"
#include "compute/vm_disk.h"
#include "compute/vm_jobs.h"
#include "compute/vm_live.h"

static const char *input_text(const struct operation *op, const char *key)
{
	return json_string_value(json_object_get(operation_input(op), key));
}

static void run_pull(struct operation *op)
{
	const struct block_work work = {.kind = BLOCK_WORK_PULL, .disk = input_text(op, "disk")};
	vm_block_plan(op, &work);
	vm_block_run(op);
}

static int store_backing(struct db *db, void *arg, struct err *e)
{
	return layer_set_backing(db, arg, NULL, e);
}

static void run_record(struct operation *op)
{
	operation_step_done_storing(op, store_backing, xstrdup(input_text(op, "layer")), free);
}

static void run_define(struct operation *op)
{
	vm_call_submit(op, vm_call_define, NULL, 180000, 0);
}

static const struct operation_step steps[] = {
        {.name = "pull", .run = run_pull, .undo = vm_block_undo},
        {.name = "record", .run = run_record, .flags = OPERATION_FINAL},
        {.name = "define", .run = run_define, .flags = OPERATION_FINAL},
        {.name = "release", .run = vm_block_release, .flags = OPERATION_FINAL},
};
const struct operation_kind vm_disk_flatten_kind = {
        .name = "vm.disk.flatten",
        .steps = steps,
        .n_steps = ARRAY_LEN(steps),
        .on_cancel = block_work_cancel,
        VM_JOB(BLOCK),
};

int vm_disk_start_flatten(struct db *db, struct vms *vms, const struct vm_row *row,
        const char *disk, const struct vm_request *request, char ret_operation[UUID_TEXT_SIZE],
        struct err *e)
{
	struct volume_row volume CLEANUP(volume_row_done) = {0};
	struct layer_row top CLEANUP(layer_row_done) = {0};
	struct layer_list layers CLEANUP(layer_list_done) = {0};
	int rc = vm_check_managed(row, e);
	if (rc == 0)
		rc = vm_check_host(request, db, row->host_id, e);
	if (rc == 0)
		rc = vm_disk_volume(db, row, disk, &volume, e);
	if (rc == 0)
		rc = layer_store_get(db, volume.layer_id, &top, e);
	if (rc == 0)
		rc = layer_store_of_volume(db, volume.id, &layers, e);
	if (rc < 0)
		return rc;
	if (top.backing_id[0] == '\0')
		return err_set(e, ERR_WRONG_STATE, "disk %s stands on nothing already", disk);
	if (layers.len > 1) {
		err_set(e, ERR_IN_USE, "disk %s has snapshots", disk);
		return err_hint(e, "delete the VM's snapshots first");
	}
	json_t *input CLEANUP(cleanup_json) =
	        json_pack("{s:s, s:s}", "disk", disk, "layer", volume.layer_id);
	return vm_create_operation(
	        db, vms, row, vm_disk_flatten_kind.name, input, request, ret_operation, e);
}

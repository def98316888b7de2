/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flattening a disk: what its top layer lacks is copied from the layers below, until it stands alone.
 *
 *  check (no snapshot was taken meanwhile; from here on the layer's header is not believed) -> pull (by the VM or a carrier)
 *     -> await (the VM that pulled runs) -> flush (its QEMU writes the last of it) -> record (the layer stands on nothing)
 *     -> define
 *
 * Until it is recorded the layers below are read where the top one has nothing, whatever its header says, so that undoing
 * is ending the job. QEMU writes the header first and the tables that lead to the data when it likes (measured: a disk of
 * 128 MiB was empty when QEMU was killed after its pull had ended, docs/decisions/0017-when-a-pull-counts.md). A carrier writes them
 * when it ends. The QEMU of a VM does when the guest asks it to, or when the guest is stopped: so it is stopped for that moment.
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

#define AWAIT_MS         1000 /* between two looks at a paused VM */
#define HOST_TIMEOUT_MS  30000
#define FLUSH_TIMEOUT_MS 300000

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

/* What this disk is written through has that state. Writer thread. */
static int mark_pulling(
        struct db *db, const char *vm_id, const char *disk, bool is_pulling, struct err *e)
{
	struct volume_row volume CLEANUP(volume_row_done) = {0};
	int rc = vm_disk_find_volume(db, vm_id, disk, &volume, e);
	return rc <= 0 ? rc : layer_mark_pulling(db, volume.layer_id, is_pulling, e);
}

static int store_pulling(struct db *db, struct vm_call *call, struct err *e)
{
	return mark_pulling(db, call->vm_id, disk_of(call->input), true, e);
}

static void run_check(struct operation *op)
{
	const struct block_work work = {
	        .kind = BLOCK_WORK_PULL, .disk = disk_of(operation_input(op))};
	vm_block_plan(op, &work);
	vm_call_submit(op, check_alone, store_pulling, 15000, 0);
}

static int record_flat(struct db *db, const char *vm_id, const char *disk, struct err *e)
{
	struct volume_row volume CLEANUP(volume_row_done) = {0};
	int rc = vm_disk_find_volume(db, vm_id, disk, &volume, e);
	return rc <= 0 ? rc : layer_set_backing(db, volume.layer_id, NULL, e);
}

static int settle(struct db *db, struct vm_call *call, struct err *e)
{
	return mark_pulling(db, call->vm_id, disk_of(call->input), vm_block_was_done(call), e);
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

/* ---- flush: core loop, but for the calls on a lane ---- */

/* call->found: the domain's state. */
static int look_at_state(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	struct domain_info info CLEANUP(domain_info_done) = {0};
	int rc = driver->get_domain(c, call->vm_id, &info, e);
	if (rc == ERR_NOT_FOUND) {
		err_clear(e);
		info.state = DOMAIN_SHUTOFF; /* undefined by others: it does not run */
		rc = 0;
	}
	json_decref(call->found);
	call->found = rc == 0 ? json_pack("{s:i}", "state", (int)info.state) : NULL;
	return rc;
}

static enum domain_state state_of(const struct vm_call *call)
{
	return (enum domain_state)json_integer_value(json_object_get(call->found, "state"));
}

static bool is_off(const struct vm_call *call)
{
	return domain_state_is_off(state_of(call));
}

static void run_await(struct operation *op);

/* It is paused by others, or on its way from one state to another. */
static void wait_for_vm(struct operation *op)
{
	struct err cancelled;
	if (!operation_is_cancelled(op)) {
		operation_step_again(op, AWAIT_MS, run_await);
		return;
	}
	err_set(&cancelled, ERR_CANCELLED, "cancelled while VM %s was paused",
	        operation_target_name(op));
	operation_step_done(op, ERR_CANCELLED, &cancelled);
}

static void on_looked(struct vm_call *call, int rc, const struct err *e)
{
	if (rc < 0)
		operation_step_done(call->op, rc, e);
	else if (is_off(call)) /* its QEMU may have written nothing: a carrier pulls it again */
		vm_block_run(call->op);
	else if (state_of(call) == DOMAIN_RUNNING)
		operation_step_done(call->op, 0, NULL);
	else
		wait_for_vm(call->op);
}

/* After it a VM that is paused was paused by the next step. */
static void run_await(struct operation *op)
{
	if (vm_block_was_by_carrier(op))
		operation_step_done(op, 0, NULL);
	else
		vm_call_submit_then(op, look_at_state, HOST_TIMEOUT_MS, 0, on_looked);
}

/* QEMU writes all that it has when it stops its guest (vm_stop), and tells that it has stopped after that. */
static int flush(struct vm_call *call, const struct driver *driver, struct driver_connection *c,
        struct err *e)
{
	int rc = look_at_state(call, driver, c, e);
	if (rc < 0 || is_off(call))
		return rc;
	if (state_of(call) == DOMAIN_RUNNING)
		rc = driver->pause(c, call->vm_id, e);
	if (rc == 0)
		rc = driver->resume(c, call->vm_id, e);
	if (rc == 0)
		return vm_call_look(call, driver, c, e);
	bool has_ended = look_at_state(call, driver, c, NULL) == 0 && is_off(call);
	if (!has_ended)
		return rc;
	err_clear(e);
	return 0;
}

static void on_flushed(struct vm_call *call, int rc, const struct err *e)
{
	if (rc < 0)
		operation_step_done(call->op, rc, e);
	else if (is_off(call))
		vm_block_run(call->op);
	else
		vm_call_finish_step(call, NULL);
}

static void run_flush(struct operation *op)
{
	if (vm_block_was_by_carrier(op))
		operation_step_done(op, 0, NULL);
	else
		vm_call_submit_then(op, flush, FLUSH_TIMEOUT_MS, 0, on_flushed);
}

/* Killed or cut off between the two, it has left the guest stopped. */
static int resume_paused(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	int rc = look_at_state(call, driver, c, e);
	if (rc == 0 && state_of(call) == DOMAIN_PAUSED)
		rc = driver->resume(c, call->vm_id, e);
	return rc < 0 ? rc : vm_call_look(call, driver, c, e);
}

static void undo_flush(struct operation *op)
{
	if (vm_block_was_by_carrier(op))
		operation_step_done(op, 0, NULL);
	else
		vm_call_submit(op, resume_paused, NULL, HOST_TIMEOUT_MS, 0);
}

static const struct operation_step steps[] = {
        {.name = "check", .run = run_check},
        {.name = "pull", .run = vm_block_run, .undo = undo_pull},
        {.name = "await", .run = run_await},
        {.name = "flush", .run = run_flush, .undo = undo_flush},
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

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking a snapshot.
 *
 *  the transaction: row ("creating"), operation
 *     -> reserve   what it is of is decided now: kind, parent, a new layer on each disk's (rows)
 *     -> files     the new layers' files                       undo: delete them and the memory file
 *     -> freeze    the guest's filesystems, if asked           undo: thaw
 *     -> switch    QEMU goes over to them, all at one moment; or only the definition, of a stopped VM
 *                                                              undo: see below
 *     -> thaw
 *  success: the snapshot is "ready" from the end of `switch` on, in the transaction that makes the new layers the
 *  volumes' own. Failure: all of it is gone.
 *
 * Whether QEMU has gone over is read from its chain, so a restart finds out: then it is completed. When it must be
 * undone after that moment, the snapshot is marked "deleting", and its end creates the operation that deletes it. A quiesced
 * one is given up before that moment if the guard has lost the guest by then.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "compute/freeze_guard.h"
#include "compute/snapshot_group.h"
#include "compute/snapshot_internal.h"
#include "compute/snapshot_take.h"
#include "compute/vm_jobs.h"
#include "compute/vm_live.h"
#include "storage/pool_store.h"

#define FILES_TIMEOUT_MS  120000
#define SWITCH_TIMEOUT_MS (60 * 60 * 1000) /* the guest's memory is written meanwhile */
#define AGAIN_MS          1000
#define AGAIN_TRIES       120

/* ---- reserve: writer thread ---- */

static bool is_asked(const struct operation *op, const char *name)
{
	return json_is_true(json_object_get(operation_input(op), name));
}

static int check_power(const struct vm_row *vm, bool quiesce, struct err *e)
{
	int rc = snapshot_refuse_suspended(vm, "no snapshot can be taken", e);
	if (rc < 0)
		return rc;
	if (quiesce && vm->recorded_power != POWER_RUNNING)
		return err_set(e, ERR_WRONG_STATE,
		        "VM %s is %s: only a running guest can freeze its filesystems", vm->name,
		        vm_power_names[vm->recorded_power]);
	return 0;
}

static enum snapshot_kind choose_kind(const struct vm_row *vm, bool memory)
{
	if (vm->recorded_power == POWER_STOPPED || vm->recorded_power == POWER_UNKNOWN)
		return SNAPSHOT_STOPPED;
	return memory ? SNAPSHOT_MEMORY : SNAPSHOT_DISK;
}

/* Where the memory goes: beside the first disk's new layer, or in the default pool. */
static int choose_memory_pool(struct db *db, const struct vm_row *vm,
        const struct snapshot_sources *sources, char ret_id[UUID_TEXT_SIZE], struct err *e)
{
	struct pool_access pool CLEANUP(pool_access_done) = {0};
	int rc = 0;
	if (sources->len > 0)
		uuid_text_copy(ret_id, sources->items[0].files_id);
	else
		rc = pool_store_get_id(db, POOL_DEFAULT_NAME, ret_id, e);
	if (rc == 0)
		rc = pool_access_load(db, ret_id, &pool, e);
	return rc < 0 ? rc
	              : pool_check_room(
	                        db, &pool, vm->host_id, vm->memory_bytes, /* full= */ true, e);
}

static int reserve_disks(struct db *db, const char *id, const char *host_id,
        const struct snapshot_sources *sources, struct err *e)
{
	int rc = 0;
	for (size_t i = 0; i < sources->len && rc == 0; i++) {
		const struct snapshot_source *source = &sources->items[i];
		rc = snapshot_store_add_disk(
		        db, id, source->disk, source->volume_id, source->layer_id, e);
		if (rc == 0)
			rc = snapshot_reserve_overlay(
			        db, source->layer_id, source->volume_id, host_id, e);
	}
	return rc;
}

/* A saved guest is what it runs with; a change that waits for a restart is not part of it. */
static const char *choose_spec(const struct vm_row *vm, enum snapshot_kind kind)
{
	return kind == SNAPSHOT_MEMORY && vm->active_spec ? vm->active_spec : vm->spec;
}

/* With `id` NULL only what would stand in the way is said. */
static int reserve(struct db *db, const struct vm_row *vm, const char *id, bool memory,
        bool quiesce, struct err *e)
{
	struct vm_spec spec CLEANUP(vm_spec_done) = {0};
	struct snapshot_sources sources CLEANUP(snapshot_sources_done) = {0};
	char parent[UUID_TEXT_SIZE] = "", pool[UUID_TEXT_SIZE] = "";
	char file[UUID_TEXT_SIZE + 16];
	enum snapshot_kind kind = choose_kind(vm, memory);
	int rc = check_power(vm, quiesce, e);
	if (rc == 0)
		rc = vm_spec_load(choose_spec(vm, kind), &spec, e);
	if (rc == 0)
		rc = snapshot_find_sources(db, vm, &spec, &sources, e);
	if (rc == 0 && kind == SNAPSHOT_MEMORY)
		rc = choose_memory_pool(db, vm, &sources, pool, e);
	if (rc == 0)
		rc = snapshot_store_get_current(db, vm->id, parent, e);
	if (rc < 0 || !id)
		return rc;
	snprintf(file, sizeof(file), "%s.memory", id);
	const struct snapshot_insert row = {
	        .id = id,
	        .parent_id = parent[0] ? parent : NULL,
	        .vm_spec = choose_spec(vm, kind),
	        .memory_pool_id = pool[0] ? pool : NULL,
	        .memory_file = pool[0] ? file : NULL,
	        .kind = kind,
	        .power = kind == SNAPSHOT_STOPPED ? POWER_STOPPED : vm->recorded_power,
	};
	rc = snapshot_store_set_origin(db, &row, e);
	return rc < 0 ? rc : reserve_disks(db, id, vm->host_id, &sources, e);
}

static int store_reserved(struct db *db, void *arg, struct err *e)
{
	const struct operation *op = arg;
	struct vm_row vm CLEANUP(vm_row_done) = {0};
	int rc = vm_store_get(db, operation_target_id(op), &vm, e);
	return rc < 0 ? rc
	              : reserve(db, &vm, snapshot_id_of(operation_input(op)),
	                        is_asked(op, "memory"), is_asked(op, "quiesce"), e);
}

static void run_reserve(struct operation *op)
{
	const char *name = json_string_value(json_object_get(operation_input(op), "name"));
	operation_add_result(
	        op, json_pack("{s:{s:s, s:s}}", "snapshot", "id",
	                    snapshot_id_of(operation_input(op)), "name", name ? name : ""));
	operation_step_done_storing(op, store_reserved, op, NULL);
}

/* ---- files ---- */

static void run_files(struct operation *op)
{
	vm_call_submit(op, snapshot_call_make_overlays, NULL, FILES_TIMEOUT_MS, 0);
}

static int remove_files(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	int rc = snapshot_call_remove_overlays(call, driver, c, e);
	return rc < 0 ? rc : snapshot_call_remove_memory(call, driver, c, e);
}

static void undo_files(struct operation *op)
{
	vm_call_submit(op, remove_files, NULL, FILES_TIMEOUT_MS, 0);
}

/* ---- freeze and thaw ---- */

static void on_guard(void *arg, int rc, const struct err *e)
{
	struct operation *op = arg;
	if (rc >= 0)
		operation_add_result(op, json_pack("{s:i}", "frozen_filesystems", rc));
	operation_step_done(op, rc < 0 ? rc : 0, e);
}

static void on_guard_undone(void *arg, int rc, const struct err *e)
{
	(void)rc; /* what is not thawed yet, the guard goes on with */
	(void)e;
	operation_step_done(arg, 0, NULL);
}

static void run_freeze(struct operation *op)
{
	if (snapshot_group_has(op))
		snapshot_group_freeze(op);
	else if (is_asked(op, "quiesce"))
		freeze_guard_begin(
		        op, operation_target_id(op), operation_host_id(op), on_guard, op);
	else
		operation_step_done(op, 0, NULL);
}

static void undo_freeze(struct operation *op)
{
	if (snapshot_group_has(op))
		snapshot_group_undo_freeze(op);
	else if (is_asked(op, "quiesce"))
		freeze_guard_end(op, operation_target_id(op), on_guard_undone, op);
	else
		operation_step_done(op, 0, NULL);
}

static void on_thawed(void *arg, int rc, const struct err *e)
{
	struct err late;
	if (rc == ERR_DEADLINE) {
		late = *e;
		err_prefix(&late, "the snapshot is not quiesced");
		e = &late;
	}
	operation_step_done(arg, rc == ERR_UNAVAILABLE ? 0 : rc, e);
}

static void run_thaw(struct operation *op)
{
	if (snapshot_group_has(op))
		snapshot_group_thaw(op);
	else if (is_asked(op, "quiesce"))
		freeze_guard_end(op, operation_target_id(op), on_thawed, op);
	else
		operation_step_done(op, 0, NULL);
}

/* ---- switch: writer thread ---- */

static int take_over_disk(struct db *db, const struct snapshot_disk *disk, struct err *e)
{
	char id[UUID_TEXT_SIZE];
	int rc = snapshot_find_overlay(db, disk->layer_id, disk->volume_id, id, e);
	if (rc < 0 || !id[0])
		return rc;
	rc = layer_mark_ready(db, id, e);
	return rc < 0 ? rc : volume_set_layer(db, disk->volume_id, id, e);
}

static int take_over_disks(struct db *db, const char *id, struct err *e)
{
	struct snapshot_disks disks CLEANUP(snapshot_disks_done) = {0};
	int rc = snapshot_store_disks(db, id, &disks, e);
	for (size_t i = 0; i < disks.len && rc == 0; i++)
		rc = take_over_disk(db, &disks.items[i], e);
	return rc;
}

static int64_t input_integer(const struct vm_call *call, const char *name, int64_t fallback)
{
	json_t *value = json_object_get(call->input, name);
	return json_is_integer(value) ? json_integer_value(value) : fallback;
}

static int store_taken(struct db *db, struct vm_call *call, struct err *e)
{
	struct snapshot_row row CLEANUP(snapshot_row_done) = {0};
	int rc = snapshot_store_get(db, call->vm_id, snapshot_id_of(call->input), &row, e);
	if (rc < 0)
		return rc;
	const struct snapshot_taken taken = {
	        .kind = (enum snapshot_kind)input_integer(call, "kind", row.kind),
	        .power = (enum vm_power)input_integer(call, "power", row.power),
	        .quiesced = json_is_true(json_object_get(call->input, "quiesce")),
	        .memory_bytes = input_integer(call, "memory_bytes", 0),
	};
	rc = take_over_disks(db, row.id, e);
	if (rc == 0)
		rc = snapshot_store_set_taken(db, row.id, &taken, e);
	if (rc == 0)
		rc = snapshot_store_set_state(db, row.id, SNAPSHOT_READY, e);
	if (rc == 0)
		rc = snapshot_store_set_current(db, call->vm_id, row.id, e);
	return rc < 0 ? rc : snapshot_add_change(db, "created", &row, e);
}

/* It cannot be taken back: it is deleted as any other would be. */
static int store_settled(struct db *db, struct vm_call *call, struct err *e)
{
	struct snapshot_row row CLEANUP(snapshot_row_done) = {0};
	int rc = snapshot_store_get(db, call->vm_id, snapshot_id_of(call->input), &row, e);
	if (rc == ERR_NOT_FOUND) {
		err_clear(e);
		return 0;
	}
	bool switched = json_is_true(json_object_get(call->input, "switched"));
	if (rc < 0 || (!switched && row.state != SNAPSHOT_READY))
		return rc;
	rc = take_over_disks(db, row.id, e);
	if (rc == 0)
		rc = snapshot_store_set_state(db, row.id, SNAPSHOT_DELETING, e);
	return rc < 0 ? rc
	              : snapshot_store_reparent(
	                        db, row.id, row.parent_id[0] ? row.parent_id : NULL, e);
}

/* ---- switch: core loop ---- */

static void run_switch(struct operation *op);

static void on_switched(struct vm_call *call, int rc, const struct err *e)
{
	struct operation *op = call->op;
	struct err late;
	if (rc == 0 && !call->again) {
		vm_call_finish_step(call, store_taken);
		return;
	}
	json_t *memory = operation_memory(op);
	json_int_t tries = json_integer_value(json_object_get(memory, "tries")) + 1;
	if (rc == 0 && tries > AGAIN_TRIES) {
		rc = err_set(&late, ERR_DEADLINE,
		        "an earlier try to save the memory of VM %s has not ended",
		        operation_target_name(op));
		e = &late;
	}
	if (rc < 0) {
		operation_step_done(op, rc, e);
		return;
	}
	json_object_set_new(memory, "tries", json_integer(tries));
	operation_step_again(op, AGAIN_MS, run_switch);
}

/* A quiescing that is lost by now would only be found out after QEMU has gone over. */
static void run_switch(struct operation *op)
{
	struct err e = {0};
	int rc = is_asked(op, "quiesce") ? freeze_guard_check(op, operation_target_id(op), &e) : 0;
	if (rc < 0) {
		err_prefix(&e, "the snapshot would not be quiesced");
		operation_step_done(op, rc, &e);
		return;
	}
	vm_call_submit_then(op, snapshot_take_switch, SWITCH_TIMEOUT_MS, 0, on_switched);
}

static void undo_switch(struct operation *op)
{
	vm_call_submit(op, snapshot_take_settle, store_settled, FILES_TIMEOUT_MS, 0);
}

/* ---- the end ---- */

/* What had to be taken before it was known to be in vain is merged at once, by an operation of its own. */
static int delete_taken(
        struct db *db, struct vms *vms, const struct snapshot_row *row, struct err *e)
{
	static const struct vm_request ourselves = {
	        .requested_by = "berth", .wait_ms = HOST_PATIENCE_MS};
	char operation[UUID_TEXT_SIZE];
	struct vm_row vm CLEANUP(vm_row_done) = {0};
	int rc = snapshot_store_drop_memory(db, row->id, e);
	if (rc == 0)
		rc = vm_store_get(db, row->vm_id, &vm, e);
	if (rc < 0 || snapshot_check_vm(db, &vm, &ourselves, NULL) < 0 ||
	        snapshot_check_awake(db, &vm, "", NULL) < 0)
		return rc; /* the sweep does it */
	return snapshot_delete(db, vms, &vm, row, &ourselves, operation, e);
}

static int forget(struct db *db, struct vms *vms, const struct snapshot_row *row, struct err *e)
{
	struct snapshot_disks disks CLEANUP(snapshot_disks_done) = {0};
	if (row->state == SNAPSHOT_DELETING)
		return delete_taken(db, vms, row, e);
	int rc = snapshot_store_disks(db, row->id, &disks, e);
	if (rc == 0)
		rc = snapshot_forget_overlays(db, &disks, e);
	if (rc == 0)
		rc = snapshot_store_delete(db, row->id, e);
	return rc < 0 ? rc : snapshot_add_change(db, "deleted", row, e);
}

static int finish_create(struct db *db, const struct operation *op, enum operation_state outcome,
        const struct err *error, struct err *e)
{
	(void)error;
	const char *vm_id = operation_target_id(op);
	struct snapshot_row row CLEANUP(snapshot_row_done) = {0};
	vms_mark_dirty_on_commit(db, vms_of(op), operation_host_id(op), vm_id);
	if (outcome == OPERATION_SUCCEEDED)
		return 0;
	int rc = snapshot_store_get(db, vm_id, snapshot_id_of(operation_input(op)), &row, e);
	if (rc == ERR_NOT_FOUND) {
		err_clear(e);
		return 0;
	}
	return rc < 0 ? rc : forget(db, vms_of(op), &row, e);
}

static const struct operation_step steps[] = {
        {.name = "reserve", .run = run_reserve},
        {.name = "files", .run = run_files, .undo = undo_files},
        {.name = "freeze", .run = run_freeze, .undo = undo_freeze},
        {.name = "switch", .run = run_switch, .undo = undo_switch, .flags = OPERATION_FINAL},
        {.name = "thaw", .run = run_thaw, .flags = OPERATION_FINAL},
};
const struct operation_kind snapshot_create_kind = {.name = "snapshot.create",
        .steps = steps,
        .n_steps = ARRAY_LEN(steps),
        .finish = finish_create,
        VM_JOB(SNAPSHOT)};

/* ---- the mutation ---- */

static int insert(struct db *db, const struct vm_row *vm, const char *id,
        const struct snapshot_request *request, struct err *e)
{
	char parent[UUID_TEXT_SIZE];
	int rc = snapshot_store_get_current(db, vm->id, parent, e);
	const struct snapshot_insert row = {
	        .id = id,
	        .vm_id = vm->id,
	        .name = request->name,
	        .description = request->description ? request->description : "",
	        .parent_id = parent[0] ? parent : NULL,
	        .vm_spec = vm->spec,
	        .group_id = request->group_id,
	        .policy_id = request->policy_id,
	        .kind = choose_kind(vm, request->memory),
	        .power = vm->recorded_power,
	        .expires_at = request->expires_at,
	        .created_at = clock_wall_ms(),
	};
	if (rc == 0)
		rc = snapshot_store_insert(db, &row, e);
	if (rc == ERR_EXISTS)
		return err_set_at(
		        e, rc, "/name", "VM %s has a snapshot named %s", vm->name, request->name);
	return rc;
}

int snapshot_create(struct db *db, struct vms *vms, const struct vm_row *vm,
        const struct snapshot_request *request, const struct vm_request *asked,
        char ret_operation[UUID_TEXT_SIZE], char ret_id[UUID_TEXT_SIZE], struct err *e)
{
	char busy[UUID_TEXT_SIZE], kind[64];
	if (request->memory && request->quiesce)
		return err_set_at(e, ERR_INVALID, "/quiesce",
		        "a snapshot with memory needs no quiescing: the guest goes on where it "
		        "was");
	int rc = snapshot_check_vm(db, vm, asked, e);
	if (rc == 0)
		rc = operation_find_busy(db, vm->id, busy, kind, e);
	/* What stands in the way now may be gone when its turn comes. */
	if (rc == 0 && !busy[0])
		rc = reserve(db, vm, NULL, request->memory, request->quiesce, e);
	if (rc < 0)
		return rc;
	uuid_make(ret_id);
	rc = insert(db, vm, ret_id, request, e);
	if (rc < 0)
		return rc;
	json_t *input CLEANUP(cleanup_json) =
	        json_pack("{s:s, s:s, s:b, s:b}", "snapshot", ret_id, "name", request->name,
	                "memory", (int)request->memory, "quiesce", (int)request->quiesce);
	if (request->group_id) {
		json_object_set_new(input, "group", json_string(request->group_id));
		json_object_set_new(input, "group_size", json_integer(request->group_size));
	}
	return vm_create_operation(db, vms, vm, "snapshot.create", input, asked, ret_operation, e);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Going back to a snapshot.
 *
 *     plan     what is discarded, kept and changed back is said; new layers on the snapshot's are reserved
 *  -> files    the new layers' files                              undo: delete them
 *  -> stop     the guest, by force
 *  -> room     mode balloon: until others have given what it starts with
 *  ============ until here all is as it was, but for the guest's power; from here on forward
 *  -> record   configuration, disks, layers, descent: one transaction
 *  -> define   the domain; its checkpoints are dropped, and what someone else has started meanwhile is stopped
 *  -> power    restore the guest's memory, or start it, or leave it off
 *  -> clock    of a restored guest is set to now, if its agent answers
 *  -> clean    files of layers that nothing needs any more
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "compute/snapshot_internal.h"
#include "compute/snapshot_merge.h"
#include "compute/snapshot_revert_view.h"
#include "compute/vm_jobs.h"
#include "compute/vm_live.h"
#include "compute/vm_room.h"
#include "db/reader.h"

#define FILES_TIMEOUT_MS  120000
#define DEFINE_TIMEOUT_MS 180000
#define POWER_TIMEOUT_MS  (60 * 60 * 1000) /* the guest's memory is read meanwhile */
#define CLOCK_TIMEOUT_MS  30000
#define DEFINE_TRIES      5 /* how often someone else may start the VM under one revert */

static const char no_revert[] = "its saved memory, which names the layers of now, would be lost";

static int load_view(struct db *db, const char *vm_id, json_t *input,
        struct snapshot_revert_view *ret_view, struct err *e)
{
	return snapshot_revert_view_load(db, vm_id, snapshot_id_of(input),
	        (enum snapshot_power)json_integer_value(json_object_get(input, "power")), ret_view,
	        e);
}

/* ---- plan ---- */

/* libvirt restores a guest only under the name it had, so it is looked at before the guest of now is given up. */
static int check_memory(struct vm_call *call, struct db *db,
        const struct snapshot_revert_view *view, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	char *path CLEANUP(cleanup_free) = NULL;
	char *xml CLEANUP(cleanup_free) = NULL;
	struct domain_facts facts CLEANUP(domain_facts_done) = {0};
	if (!view->row.memory_file || view->power == POWER_STOPPED)
		return 0;
	if (!driver->saved_xml || !driver->restore)
		return err_set(e, ERR_UNSUPPORTED, "the host's hypervisor restores no memory");
	int rc = snapshot_memory_path(db, &view->row, &path, e);
	if (rc == 0)
		rc = driver->saved_xml(c, path, &xml, e);
	if (rc < 0)
		return err_prefix(e, "the memory of snapshot %s", view->row.name);
	rc = domain_xml_parse(xml, &facts, e);
	if (rc < 0 || str_equal(facts.name, call->plan.row.name))
		return rc;
	err_set(e, ERR_UNPROCESSABLE,
	        "the VM was called %s when snapshot %s was taken, and its memory can only be "
	        "restored "
	        "under that name",
	        facts.name, view->row.name);
	return err_hint(e, "rename the VM, or revert with \"power\": \"stopped\"");
}

/* The host knows best: the mutation may have been long ago. */
static int check_awake(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	struct domain_info info CLEANUP(domain_info_done) = {0};
	int rc = driver->get_domain(c, call->vm_id, &info, e);
	if (rc < 0 || !snapshot_is_suspended(&info))
		return rc;
	call->plan.row.recorded_power = POWER_SUSPENDED;
	return snapshot_refuse_suspended(&call->plan.row, no_revert, e);
}

static int plan(struct vm_call *call, const struct driver *driver, struct driver_connection *c,
        struct err *e)
{
	struct db *db = NULL;
	struct snapshot_revert_view view CLEANUP(snapshot_revert_view_done) = {0};
	int rc = check_awake(call, driver, c, e);
	if (rc == 0)
		rc = readers_get(call->readers, &db, e);
	if (rc == 0)
		rc = load_view(db, call->vm_id, call->input, &view, e);
	if (rc == 0)
		rc = check_memory(call, db, &view, driver, c, e);
	return rc < 0 ? rc : snapshot_revert_view_describe(db, &view, &call->found, e);
}

static int store_planned(struct db *db, struct vm_call *call, struct err *e)
{
	struct snapshot_disks disks CLEANUP(snapshot_disks_done) = {0};
	int rc = snapshot_store_disks(db, snapshot_id_of(call->input), &disks, e);
	for (size_t i = 0; i < disks.len && rc == 0; i++)
		rc = snapshot_reserve_overlay(
		        db, disks.items[i].layer_id, disks.items[i].volume_id, call->host_id, e);
	return rc;
}

static void on_planned(struct vm_call *call, int rc, const struct err *e)
{
	if (rc < 0) {
		operation_step_done(call->op, rc, e);
		return;
	}
	operation_add_result(call->op, json_incref(call->found));
	vm_call_finish_step(call, store_planned);
}

static void run_plan(struct operation *op)
{
	vm_call_submit_then(op, plan, FILES_TIMEOUT_MS, 0, on_planned);
}

/* ---- files, stop ---- */

static void run_files(struct operation *op)
{
	vm_call_submit(op, snapshot_call_make_overlays, NULL, FILES_TIMEOUT_MS, 0);
}

static void undo_files(struct operation *op)
{
	vm_call_submit(op, snapshot_call_remove_overlays, NULL, FILES_TIMEOUT_MS, 0);
}

static int stop_domain(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	int rc = driver->destroy(c, call->vm_id, e);
	return rc < 0 ? rc : vm_call_look(call, driver, c, e);
}

static void run_stop(struct operation *op)
{
	vm_call_submit(op, stop_domain, NULL, 60000, VM_CALL_FORCE);
}

/* ---- record: writer thread ---- */

static int record_disk(struct db *db, const struct snapshot_disk *disk, struct err *e)
{
	struct layer_row overlay CLEANUP(layer_row_done) = {0};
	char id[UUID_TEXT_SIZE];
	int rc = snapshot_find_overlay(db, disk->layer_id, disk->volume_id, id, e);
	if (rc == 0 && !id[0])
		return err_set(e, ERR_INTERNAL, "disk %s has no new layer to go to", disk->disk);
	if (rc == 0)
		rc = layer_store_get(db, id, &overlay, e);
	if (rc == 0)
		rc = layer_mark_ready(db, id, e);
	if (rc == 0)
		rc = volume_set_layer(db, disk->volume_id, id, e);
	if (rc == 0)
		rc = volume_set_size(db, disk->volume_id, overlay.size_bytes, e);
	return rc < 0 ? rc : volume_require_full_backup(db, disk->volume_id, e);
}

static int record_disks(struct db *db, const struct snapshot_revert_view *view, struct err *e)
{
	int rc = 0;
	for (size_t i = 0; i < view->detached.len && rc == 0; i++)
		rc = volume_detach(db, view->detached.items[i].volume_id, e);
	for (size_t i = 0; i < view->attached.len && rc == 0; i++)
		rc = volume_attach(db, view->attached.items[i].volume_id, view->vm.id,
		        view->attached.items[i].disk, e);
	for (size_t i = 0; i < view->disks.len && rc == 0; i++)
		rc = record_disk(db, &view->disks.items[i], e);
	return rc;
}

static int record_vm(struct db *db, const struct snapshot_revert_view *view, struct err *e)
{
	const char *id = view->vm.id;
	const struct vm_insert insert = vm_row_from_spec(&view->spec, view->spec_text);
	int rc = vm_store_set_spec(db, id, &insert, "{}", e);
	if (rc == 0)
		rc = vm_store_set_macs(db, id, &view->spec, e);
	if (rc == 0)
		rc = snapshot_store_set_current(db, id, view->row.id, e);
	if (rc == 0)
		rc = vm_store_set_desired(db, id, view->power, e);
	if (rc == 0)
		rc = vm_add_change(db, "updated", id, view->vm.name, e);
	return rc < 0 ? rc : snapshot_add_change(db, "reverted", &view->row, e);
}

static int record(struct db *db, void *arg, struct err *e)
{
	const struct operation *op = arg;
	struct snapshot_revert_view view CLEANUP(snapshot_revert_view_done) = {0};
	int rc = load_view(db, operation_target_id(op), operation_input(op), &view, e);
	if (rc == 0)
		rc = record_disks(db, &view, e);
	return rc < 0 ? rc : record_vm(db, &view, e);
}

static void run_record(struct operation *op)
{
	operation_step_done_storing(op, record, op, NULL);
}

/* ---- define, power, clock: lane thread ---- */

static int define_stopped(struct vm_call *call, const struct domain_info *info,
        const struct driver *driver, struct driver_connection *c, struct err *e)
{
	int rc = snapshot_has_process(info) ? driver->destroy(c, call->vm_id, e) : 0;
	if (rc == 0 && info->has_managed_save && driver->managed_save_remove)
		rc = driver->managed_save_remove(c, call->vm_id, e);
	if (rc == 0 && driver->drop_checkpoints)
		rc = driver->drop_checkpoints(c, call->vm_id, e);
	return rc < 0 ? rc : vm_call_define(call, driver, c, e);
}

/*
 * The old definition names layers that were given up. Once the new one is there and nothing runs, whatever starts runs on
 * the new layers; what was started from the old one until then is stopped, as the guest of before was.
 */
static int define_domain(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	int rc = 0;
	for (int i = 0; i < DEFINE_TRIES && rc == 0; i++) {
		struct domain_info info CLEANUP(domain_info_done) = {0};
		rc = driver->get_domain(c, call->vm_id, &info, e);
		if (rc == 0 && i > 0 && !snapshot_has_process(&info) && !info.has_managed_save)
			return 0;
		if (rc == 0)
			rc = define_stopped(call, &info, driver, c, e);
	}
	return rc < 0 ? rc
	              : err_set(e, ERR_BUSY,
	                        "VM %s was started by someone else %d times while it was reverted",
	                        call->plan.row.name, DEFINE_TRIES);
}

static void run_define(struct operation *op)
{
	vm_call_submit(op, define_domain, NULL, DEFINE_TIMEOUT_MS, 0);
}

static int restore_memory(struct vm_call *call, struct db *db, const struct snapshot_row *row,
        const struct driver *driver, struct driver_connection *c, struct err *e)
{
	char *path CLEANUP(cleanup_free) = NULL;
	char *saved CLEANUP(cleanup_free) = NULL;
	char *xml CLEANUP(cleanup_free) = NULL;
	size_t n = SIZE_MAX;
	struct domain_disk *disks CLEANUP(cleanup_free) =
	        vm_domain_disks(&call->plan, &call->plan.spec, &n, e);
	if (n == SIZE_MAX)
		return e && e->code ? e->code : ERR_INTERNAL;
	int rc = snapshot_memory_path(db, row, &path, e);
	if (rc == 0)
		rc = driver->saved_xml(c, path, &saved, e);
	if (rc == 0)
		rc = domain_xml_replace_chains(saved, disks, n, &xml, e);
	return rc < 0 ? rc
	              : driver->restore(c, call->vm_id, path, xml,
	                        call->plan.row.desired_power == POWER_PAUSED, e);
}

static int power_domain(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	struct db *db;
	struct snapshot_row row CLEANUP(snapshot_row_done) = {0};
	if (call->plan.row.desired_power == POWER_STOPPED)
		return vm_call_look(call, driver, c, e);
	int rc = readers_get(call->readers, &db, e);
	if (rc == 0)
		rc = snapshot_store_get(db, call->vm_id, snapshot_id_of(call->input), &row, e);
	if (rc == 0)
		rc = row.memory_file ? restore_memory(call, db, &row, driver, c, e)
		                     : driver->start(c, call->vm_id, e);
	if (rc < 0)
		return rc;
	str_replace(&call->active_spec, call->plan.row.spec);
	return vm_call_look(call, driver, c, e);
}

static int store_power(struct db *db, struct vm_call *call, struct err *e)
{
	if (!call->active_spec)
		return 0;
	int rc = vm_store_set_active(db, call->vm_id, call->active_spec, "{}", e);
	return rc < 0 ? rc : room_doubt_cpus(db, call->vm_id, call->host_id, ROOM_DOUBT_ALL, e);
}

static void run_power(struct operation *op)
{
	vm_call_submit(op, power_domain, store_power, POWER_TIMEOUT_MS, 0);
}

static int set_clock(struct vm_call *call, const struct driver *driver, struct driver_connection *c,
        struct err *e)
{
	struct db *db;
	struct snapshot_row row CLEANUP(snapshot_row_done) = {0};
	if (call->plan.row.desired_power != POWER_RUNNING || !driver->set_guest_time)
		return 0;
	int rc = readers_get(call->readers, &db, e);
	if (rc == 0)
		rc = snapshot_store_get(db, call->vm_id, snapshot_id_of(call->input), &row, e);
	return rc < 0 || !row.memory_file ? rc : driver->set_guest_time(c, call->vm_id, e);
}

static void on_clock_set(struct vm_call *call, int rc, const struct err *e)
{
	(void)e;
	operation_add_result(call->op, json_pack("{s:b}", "clock_set", rc == 0));
	operation_step_done(call->op, 0, NULL); /* without an agent the guest keeps its time */
}

static void run_clock(struct operation *op)
{
	vm_call_submit_then(op, set_clock, CLOCK_TIMEOUT_MS, 0, on_clock_set);
}

static void run_clean(struct operation *op)
{
	snapshot_merge_run(op, SNAPSHOT_MERGE_DELETE);
}

/* ---- the end ---- */

static int finish_revert(struct db *db, const struct operation *op, enum operation_state outcome,
        const struct err *error, struct err *e)
{
	(void)error;
	struct snapshot_disks disks CLEANUP(snapshot_disks_done) = {0};
	const char *vm_id = operation_target_id(op);
	vms_mark_dirty_on_commit(db, vms_of(op), operation_host_id(op), vm_id);
	if (outcome == OPERATION_SUCCEEDED)
		return 0;
	int rc = snapshot_store_disks(db, snapshot_id_of(operation_input(op)), &disks, e);
	return rc < 0 ? rc : snapshot_forget_overlays(db, &disks, e);
}

static const struct operation_step steps[] = {
        {.name = "plan", .run = run_plan},
        {.name = "files", .run = run_files, .undo = undo_files},
        {.name = "stop", .run = run_stop},
        {.name = "room", .run = vm_room_wait},
        {.name = "record", .run = run_record, .flags = OPERATION_FINAL},
        {.name = "define", .run = run_define, .flags = OPERATION_FINAL},
        {.name = "power", .run = run_power, .flags = OPERATION_FINAL},
        {.name = "clock", .run = run_clock, .flags = OPERATION_FINAL},
        {.name = "clean", .run = run_clean, .flags = OPERATION_FINAL},
};
const struct operation_kind snapshot_revert_kind = {.name = "snapshot.revert",
        .steps = steps,
        .n_steps = ARRAY_LEN(steps),
        .finish = finish_revert,
        .on_cancel = vm_room_cancel,
        VM_JOB(REVERT)};

/* ---- the mutation ---- */

int snapshot_revert(struct db *db, struct vms *vms, const struct vm_row *vm,
        const struct snapshot_row *row, enum snapshot_power power, const struct vm_request *asked,
        char ret_operation[UUID_TEXT_SIZE], json_t **ret_answer, struct err *e)
{
	struct snapshot_revert_view view CLEANUP(snapshot_revert_view_done) = {0};
	int rc = snapshot_check_vm(db, vm, asked, e);
	if (rc == 0)
		rc = snapshot_check_awake(db, vm, no_revert, e);
	if (rc == 0)
		rc = snapshot_revert_view_load(db, vm->id, row->id, power, &view, e);
	if (rc == 0)
		rc = snapshot_revert_view_describe(db, &view, ret_answer, e);
	if (rc < 0)
		return rc;
	json_t *input CLEANUP(cleanup_json) = json_pack(
	        "{s:s, s:s, s:i}", "snapshot", row->id, "name", row->name, "power", (int)power);
	if (view.power != POWER_STOPPED)
		rc = vm_room_grant(db, vms, vm, &view.spec, input, e);
	if (rc == 0 && view.power != POWER_STOPPED)
		rc = room_doubt_cpus(db, vm->id, vm->host_id, ROOM_DOUBT_ALL, e);
	if (rc == 0)
		rc = vm_create_operation(
		        db, vms, vm, "snapshot.revert", input, asked, ret_operation, e);
	if (rc < 0)
		json_decref(TAKE(*ret_answer));
	return rc;
}

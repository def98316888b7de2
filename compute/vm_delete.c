/* SPDX-License-Identifier: Apache-2.0 */
/* Deleting a VM: stop -> undefine -> (volumes). Disks stay unless asked otherwise; adopted domains
 * are only let go. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "compute/balloon_store.h"
#include "compute/room.h"
#include "compute/snapshot.h"
#include "compute/vm_call.h"
#include "compute/vm_disk.h"
#include "compute/vm_jobs.h"
#include "compute/vm_live.h"
#include "compute/vm_volumes.h"
#include "db/reader.h"
#include "storage/pool_store.h"

static int refuse_running(const char *name, struct err *e)
{
	err_set(e, ERR_WRONG_STATE, "VM %s is running: it must be stopped before it is deleted",
	        name);
	err_hint(e, "shut it down, or delete with force=true");
	return ERR_WRONG_STATE;
}

/* A disk that stays must lie where its volume says: of a LUN with snapshots what was written since them lies elsewhere. */
static int check_home(struct db *db, const struct volume_row *volume, struct err *e)
{
	struct layer_row top CLEANUP(layer_row_done) = {0};
	struct pool_row pool CLEANUP(pool_row_done) = {0};
	int rc = layer_store_get(db, volume->layer_id, &top, e);
	if (rc < 0 || str_equal(top.pool_id, volume->pool_id))
		return rc;
	rc = pool_store_get(db, top.pool_id, &pool, e);
	if (rc < 0)
		return rc;
	err_set(e, ERR_IN_USE,
	        "volume %s of pool %s would be left in two pools: what disk %s has written lies in "
	        "pool %s",
	        volume->name, volume->pool, volume->disk, pool.name);
	return err_hint(e, "delete the VM's snapshots first or let the disk's move end, or delete "
	                   "the disks, too");
}

/* Its own snapshots go with it; what others hold stays whole. */
static int check_volumes(struct db *db, const char *vm_id, bool delete_disks, struct err *e)
{
	struct volume_row *volumes = NULL;
	size_t n = 0;
	int rc = volume_store_of_vm(db, vm_id, &volumes, &n, e);
	for (size_t i = 0; i < n; i++) {
		if (rc == 0)
			rc = delete_disks ? volume_check_unused(db, &volumes[i], vm_id, e)
			                  : check_home(db, &volumes[i], e);
		volume_row_done(&volumes[i]);
	}
	free(volumes);
	return rc;
}

/* Once more, before anything is done: what was asked for earlier may stand on its disks by now, or have moved them. */
static int check_again(struct vm_call *call, struct err *e)
{
	struct db *db;
	int rc = readers_get(call->readers, &db, e);
	return rc < 0 ? rc
	              : check_volumes(db, call->vm_id,
	                        json_is_true(json_object_get(call->input, "delete_disks")), e);
}

static int stop_domain(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	struct domain_info info CLEANUP(domain_info_done) = {0};
	int rc = check_again(call, e);
	if (rc < 0)
		return rc;
	rc = driver->get_domain(c, call->vm_id, &info, e);
	if (rc < 0)
		return rc == ERR_NOT_FOUND ? 0 : rc;
	if (domain_state_is_off(info.state))
		return 0;
	if (!json_is_true(json_object_get(call->input, "force")))
		return refuse_running(info.name, e);
	return driver->destroy(c, call->vm_id, e);
}

static int undefine_domain(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	int rc = driver->undefine(c, call->vm_id, e);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

static void run_stop(struct operation *op)
{
	vm_call_submit(op, stop_domain, NULL, 60000, VM_CALL_NO_PLAN | VM_CALL_FORCE);
}

static void run_undefine(struct operation *op)
{
	vm_call_submit(op, undefine_domain, NULL, 60000, VM_CALL_NO_PLAN);
}

static int delete_files(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	int rc = snapshot_delete_all_of_vm(call, driver, c, e);
	if (rc < 0)
		return rc;
	return json_is_true(json_object_get(call->input, "delete_disks"))
	               ? vm_call_delete_all_volumes(call, driver, c, e)
	               : vm_call_delete_seed(call, driver, c, e);
}

static void run_volumes(struct operation *op)
{
	vm_call_submit(op, delete_files, NULL, 600000, 0);
}

static int forget_seed(struct db *db, const char *id, struct err *e)
{
	struct volume_row seed CLEANUP(volume_row_done) = {0};
	int rc = vm_disk_find_volume(db, id, VM_SEED_DISK, &seed, e);
	return rc <= 0 ? rc : volume_forget(db, seed.id, e);
}

static int forget_volumes(struct db *db, const char *id, struct err *e)
{
	struct volume_row *volumes = NULL;
	struct vm_row row CLEANUP(vm_row_done) = {0};
	struct vm_spec spec CLEANUP(vm_spec_done) = {0};
	size_t n = 0;
	int rc = vm_store_get(db, id, &row, e);
	if (rc == 0)
		rc = vm_spec_load(row.spec, &spec, e);
	if (rc == 0)
		rc = volume_store_of_vm(db, id, &volumes, &n, e);
	for (size_t i = 0; i < n; i++) {
		/* What the guest only still had was taken out before: it stays. */
		if (rc == 0 && vm_volume_goes_with_vm(&volumes[i], &spec))
			rc = volume_forget(db, volumes[i].id, e);
		volume_row_done(&volumes[i]);
	}
	free(volumes);
	return rc;
}

/* One that was throttled for want of memory has nothing to be put back any more. */
static int forget_throttle(struct db *db, const char *vm_id, struct err *e)
{
	char *key CLEANUP(cleanup_free) = str_format(BALLOON_THROTTLE_MARK "%s", vm_id);
	return balloon_store_mark(db, key, NULL, e);
}

static int finish_delete(struct db *db, const struct operation *op, enum operation_state outcome,
        const struct err *error, struct err *e)
{
	(void)error;
	const char *id = operation_target_id(op);
	vms_mark_dirty_on_commit(db, vms_of(op), operation_host_id(op), id);
	if (outcome != OPERATION_SUCCEEDED)
		return 0; /* what is left can be deleted again */
	int rc = snapshot_forget_all_of_vm(db, id, e);
	if (rc == 0)
		rc = json_is_true(json_object_get(operation_input(op), "delete_disks"))
		             ? forget_volumes(db, id, e)
		             : forget_seed(db, id, e);
	if (rc == 0)
		rc = forget_throttle(db, id, e);
	if (rc == 0)
		rc = room_forget_cpus(db, id, e);
	if (rc == 0)
		rc = vm_store_delete(db, id, e);
	return rc < 0 ? rc : vm_add_change(db, "deleted", id, operation_target_name(op), e);
}

static const struct operation_step steps[] = {
        {.name = "stop", .run = run_stop},
        {.name = "undefine", .run = run_undefine, .flags = OPERATION_FINAL},
        {.name = "volumes", .run = run_volumes, .flags = OPERATION_FINAL},
};
const struct operation_kind vm_delete_kind = {.name = "vm.delete",
        .steps = steps,
        .n_steps = ARRAY_LEN(steps),
        .finish = finish_delete,
        VM_JOB(CONFIGURE)};

static int check_deletable(struct db *db, const struct vm_row *row, bool force, struct err *e)
{
	if (row->deletion_protection) {
		err_set(e, ERR_PROTECTED, "VM %s has deletion protection", row->name);
		err_hint(e, "PATCH it with {\"deletion_protection\": false} first");
		return ERR_PROTECTED;
	}
	bool is_off = row->power == POWER_STOPPED || row->power == POWER_SUSPENDED ||
	              row->power == POWER_UNKNOWN;
	char busy[UUID_TEXT_SIZE], kind[64];
	int rc = operation_find_busy(db, row->id, busy, kind, e);
	if (rc < 0 || force || row->adopted || is_off || busy[0] != '\0')
		return rc;
	err_set(e, ERR_WRONG_STATE, "VM %s is %s: it must be stopped before it is deleted",
	        row->name, vm_power_names[row->power]);
	err_hint(e, "shut it down, or delete with force=true");
	return ERR_WRONG_STATE;
}

int vm_delete(struct db *db, struct vms *vms, const struct vm_row *row, bool delete_disks,
        bool force, const struct vm_request *request, char ret_operation[UUID_TEXT_SIZE],
        struct err *e)
{
	ret_operation[0] = '\0';
	int rc = vm_check_managed(row, e);
	if (rc == 0)
		rc = check_deletable(db, row, force, e);
	if (rc < 0)
		return rc;
	if (row->adopted) {
		rc = vm_store_set_managed(db, row->id, row->name, false, e);
		return rc < 0 ? rc : vm_add_change(db, "released", row->id, row->name, e);
	}
	rc = vm_check_host(request, db, row->host_id, e);
	if (rc == 0)
		rc = check_volumes(db, row->id, delete_disks, e);
	if (rc < 0)
		return rc;
	json_t *input =
	        json_pack("{s:b, s:b}", "delete_disks", (int)delete_disks, "force", (int)force);
	rc = vm_create_operation(db, vms, row, "vm.delete", input, request, ret_operation, e);
	json_decref(input);
	return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The volumes behind a VM's disks. */
#include "compute/vm_volumes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "compute/vm_disk.h"
#include "compute/vm_live.h"
#include "compute/vm_store.h"
#include "db/reader.h"
#include "operation/operation_store.h"
#include "storage/image.h"
#include "storage/volume_operations.h"

#define VOLUMES_TIMEOUT_MS 120000

static int for_each_volume(struct db *db, const char *vm_id, const void *arg,
        int (*act)(struct db *db, const struct volume_row *volume, const void *arg, struct err *e),
        struct err *e)
{
	struct volume_row *volumes = NULL;
	size_t n = 0;
	int rc = volume_store_of_vm(db, vm_id, &volumes, &n, e);
	for (size_t i = 0; i < n; i++) {
		if (rc == 0)
			rc = act(db, &volumes[i], arg, e);
		volume_row_done(&volumes[i]);
	}
	free(volumes);
	return rc;
}

static bool is_new(const struct volume_row *volume)
{
	return strcmp(volume->state, "creating") == 0;
}

/* A change that is queued behind the operation may have reserved more meanwhile: those are not made yet. */
static bool was_made_by(const struct operation *op, const struct volume_row *volume)
{
	size_t i;
	json_t *id;
	json_array_foreach(json_object_get(operation_memory(op), "made"), i, id)
	{
		if (str_equal(json_string_value(id), volume->id))
			return is_new(volume);
	}
	return false;
}

static int mark_ready(
        struct db *db, const struct volume_row *volume, const void *arg, struct err *e)
{
	return was_made_by(arg, volume) ? volume_mark_ready(db, volume->id, e) : 0;
}

int vm_volumes_mark_ready(struct db *db, const struct operation *op, struct err *e)
{
	return for_each_volume(db, operation_target_id(op), op, mark_ready, e);
}

static int forget_new(
        struct db *db, const struct volume_row *volume, const void *arg, struct err *e)
{
	const struct vm_spec *spec = arg;
	struct layer_row top CLEANUP(layer_row_done) = {0};
	bool is_wanted = spec && vm_volume_is_named(volume, spec);
	if (!is_new(volume) || is_wanted)
		return 0;
	int rc = layer_store_get(db, volume->layer_id, &top, e);
	if (rc == 0)
		rc = volume_forget(db, volume->id, e);
	return rc < 0 || !top.backing_id[0] ? rc : image_copy_forget_unmade(db, top.backing_id, e);
}

int vm_volumes_forget_new(
        struct db *db, const char *vm_id, const struct vm_spec *spec, struct err *e)
{
	return for_each_volume(db, vm_id, spec, forget_new, e);
}

static int leave_unmade(
        struct db *db, const struct volume_row *volume, const void *arg, struct err *e)
{
	(void)db;
	(void)e;
	json_t *disks = json_object_get(arg, "disks");
	const json_t *name = json_object_get(json_object_get(disks, volume->disk), "volume");
	if (is_new(volume) && str_equal(json_string_value(name), volume->name))
		json_object_del(disks, volume->disk);
	return 0;
}

int vm_volumes_leave_unmade(
        struct db *db, const char *vm_id, const char *spec, char **ret_spec, struct err *e)
{
	json_t *left CLEANUP(cleanup_json) = json_loads(spec, 0, NULL);
	int rc = for_each_volume(db, vm_id, left, leave_unmade, e);
	*ret_spec = rc < 0 ? NULL : json_dumps(left, JSON_COMPACT);
	return rc;
}

/* ---- ownership ---- */

/* Starts the deletion of what nobody has. */
static int drop(struct db *db, struct vms *vms, const char *pool, const char *host_id,
        const char *name, struct err *e)
{
	struct volume_row volume CLEANUP(volume_row_done) = {0};
	const struct operation_asked asked = {.requested_by = "berth"};
	char operation[UUID_TEXT_SIZE];
	int rc = volume_store_find(db, pool, host_id, name, &volume, e);
	if (rc == 0 && !volume.vm_id)
		rc = volume_delete(db, vms->config.engine, &volume, &asked, operation, e);
	if (rc == ERR_NOT_FOUND || rc == ERR_IN_USE || rc == ERR_BUSY) {
		err_clear(e);
		return 0; /* someone has found a use for it */
	}
	return rc;
}

static bool is_seed(const struct volume_row *volume)
{
	return strcmp(volume->disk, VM_SEED_DISK) == 0;
}

bool vm_volume_is_named(const struct volume_row *volume, const struct vm_spec *spec)
{
	if (is_seed(volume))
		return spec->has_cloud_init;
	const struct vm_disk *disk = vm_spec_find_disk(spec, volume->disk);
	return disk && str_equal(disk->volume, volume->name);
}

bool vm_volume_goes_with_vm(const struct volume_row *volume, const struct vm_spec *spec)
{
	return is_seed(volume) || vm_volume_is_named(volume, spec);
}

/* Who keeps a volume: the configuration, and the guest with what it still has. */
struct keepers {
	struct vms *vms;
	const struct vm_spec *wanted, *active;
};

static int release_unwanted(
        struct db *db, const struct volume_row *volume, const void *arg, struct err *e)
{
	const struct keepers *keepers = arg;
	if (vm_volume_is_named(volume, keepers->wanted) ||
	        vm_volume_is_named(volume, keepers->active))
		return 0;
	int rc = volume_detach(db, volume->id, e);
	return rc < 0 || !is_seed(volume)
	               ? rc
	               : drop(db, keepers->vms, volume->pool, volume->host_id, volume->name, e);
}

static int take_back(struct db *db, const char *vm_id, const char *host_id,
        const struct vm_disk *disk, struct err *e)
{
	struct volume_row volume CLEANUP(volume_row_done) = {0};
	if (!disk->volume)
		return 0;
	int rc = volume_store_find(db, disk->pool, host_id, disk->volume, &volume, e);
	if (rc == 0 && !volume.vm_id)
		rc = volume_attach(db, volume.id, vm_id, disk->name, e);
	if (rc == ERR_NOT_FOUND) {
		err_clear(e);
		return 0; /* gone meanwhile: a start says so */
	}
	return rc;
}

static int release(struct db *db, struct vms *vms, const struct vm_row *row,
        const struct vm_spec *wanted, struct err *e)
{
	struct vm_spec active CLEANUP(vm_spec_done) = {0};
	const struct keepers keepers = {.vms = vms, .wanted = wanted, .active = &active};
	int rc = row->active_spec ? vm_spec_load(row->active_spec, &active, e) : 0;
	return rc < 0 ? rc : for_each_volume(db, row->id, &keepers, release_unwanted, e);
}

int vm_volumes_own(struct db *db, struct vms *vms, const char *vm_id, struct err *e)
{
	struct vm_row row CLEANUP(vm_row_done) = {0};
	struct vm_spec wanted CLEANUP(vm_spec_done) = {0};
	int rc = vm_store_get(db, vm_id, &row, e);
	if (rc == 0)
		rc = vm_spec_load(row.spec, &wanted, e);
	if (rc == 0)
		rc = release(db, vms, &row, &wanted, e);
	for (size_t i = 0; i < wanted.disks.len && rc == 0; i++)
		rc = take_back(db, vm_id, row.host_id, vm_spec_disk(&wanted, i), e);
	return rc;
}

int vm_volumes_release(struct db *db, struct vms *vms, const char *vm_id, struct err *e)
{
	struct vm_row row CLEANUP(vm_row_done) = {0};
	struct vm_spec wanted CLEANUP(vm_spec_done) = {0};
	char busy[UUID_TEXT_SIZE], kind[64];
	int rc = operation_find_busy(db, vm_id, busy, kind, e);
	if (rc < 0 || busy[0])
		return rc;
	rc = vm_store_get(db, vm_id, &row, e);
	if (rc == 0)
		rc = vm_spec_load(row.spec, &wanted, e);
	return rc < 0 || row.adopted ? rc : release(db, vms, &row, &wanted, e);
}

/* ---- what nobody has a use for any more ---- */

static bool still_holds(const struct vm_spec *now, const struct vm_disk *disk)
{
	for (size_t i = 0; i < now->disks.len; i++)
		if (str_equal(vm_spec_disk(now, i)->volume, disk->volume))
			return true;
	return false;
}

int vm_volumes_drop_media(struct db *db, struct vms *vms, const char *host_id,
        const struct vm_spec *before, const struct vm_spec *now, struct err *e)
{
	int rc = 0;
	for (size_t i = 0; i < before->disks.len && rc == 0; i++) {
		const struct vm_disk *disk = vm_spec_disk(before, i);
		if (disk->kind == VM_DISK_CDROM && disk->image && disk->volume &&
		        !still_holds(now, disk))
			rc = drop(db, vms, disk->pool, host_id, disk->volume, e);
	}
	return rc;
}

/* ---- independent of their image ---- */

static bool shall_be_full(const struct vm_spec *spec, const char *name)
{
	const struct vm_disk *disk = vm_spec_find_disk(spec, name);
	return disk && disk->clone == VM_CLONE_FULL;
}

/* Into the pool it belongs to, whole; or it becomes so where it lies. */
static int start_copy(
        struct db *db, struct vms *vms, const struct vm_plan *plan, size_t i, struct err *e)
{
	const struct vm_request request = {.requested_by = "berth", .wait_ms = HOST_PATIENCE_MS};
	const struct volume_row *volume = &plan->volumes[i];
	const struct vm_disk_move move = {.pool = volume->pool};
	char operation[UUID_TEXT_SIZE];
	if (str_equal(plan->chains[i].layers[0].pool_id, volume->pool_id))
		return vm_disk_start_flatten(
		        db, vms, &plan->row, volume->disk, &request, operation, e);
	return vm_disk_start_move(db, vms, &plan->row, volume->disk, &move, &request, operation, e);
}

int vm_volumes_flatten_new(struct db *db, const struct operation *op, struct err *e)
{
	struct vm_plan plan CLEANUP(vm_plan_done) = {0};
	int rc = vm_plan_load(db, operation_target_id(op), &plan, e);
	for (size_t i = 0; i < plan.n_volumes && rc == 0; i++)
		if (was_made_by(op, &plan.volumes[i]) && plan.chains[i].len > 1 &&
		        shall_be_full(&plan.spec, plan.volumes[i].disk))
			rc = start_copy(db, vms_of(op), &plan, i, e);
	return rc;
}

/* ---- waiting for what they stand on: core loop ---- */

#define WAIT_SLICE_MS 2000

struct wait {
	struct operation *op;
	size_t next;
};

static void wait_more(struct wait *wait);

static void on_waited(void *arg, bool ended)
{
	struct wait *wait = arg;
	struct operation *op = wait->op;
	struct err e = {0};
	if (vms_of(op)->is_stopping) {
		free(wait); /* the next start takes the operation up again */
		return;
	}
	if (ended)
		wait->next++;
	if (!operation_is_cancelled(op)) {
		wait_more(wait);
		return;
	}
	free(wait);
	int rc = err_set(&e, ERR_CANCELLED, "no longer waiting for the image");
	operation_step_done(op, rc, &e);
}

static void wait_more(struct wait *wait)
{
	const struct operation_services *services = operation_context(wait->op);
	json_t *ids = json_object_get(operation_input(wait->op), "wait_for");
	if (wait->next < json_array_size(ids)) {
		const char *id = json_string_value(json_array_get(ids, wait->next));
		operation_engine_wait(services->engine, id, WAIT_SLICE_MS, on_waited, wait);
		return;
	}
	struct operation *op = wait->op;
	free(wait);
	operation_step_done(op, 0, NULL);
}

void vm_volumes_wait(struct operation *op)
{
	struct wait *wait = xcalloc(1, sizeof(*wait));
	wait->op = op;
	wait_more(wait);
}

/* ---- lane thread ---- */

/* Why the copy that was waited for is not there. */
static int explain_copy(const struct vm_call *call, const struct layer_row *copy, struct err *e)
{
	struct db *db;
	size_t i;
	json_t *id;
	int rc = readers_get(call->readers, &db, e);
	if (rc < 0)
		return rc;
	json_array_foreach(json_object_get(call->input, "wait_for"), i, id)
	{
		struct operation_row made CLEANUP(operation_row_done) = {0};
		rc = operation_store_get(db, json_string_value(id), &made, NULL);
		if (rc < 0 || !str_equal(made.queue, copy->id) || made.state == OPERATION_SUCCEEDED)
			continue;
		rc = operation_row_explain(&made, e);
		err_prefix(e, "the copy of its image");
		return rc;
	}
	return err_set(e, ERR_UNPROCESSABLE,
	        "the copy of the image that it stands on is %s: see the operations of the image",
	        copy->state);
}

static int check_below(const struct vm_call *call, const struct layer_chain *chain, struct err *e)
{
	if (chain->len < 2 || strcmp(chain->layers[1].state, "ready") == 0)
		return 0;
	return explain_copy(call, &chain->layers[1], e);
}

static int create_volumes(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	call->found = json_array();
	for (size_t i = 0; i < call->plan.n_volumes; i++) {
		const struct volume_row *volume = &call->plan.volumes[i];
		if (!is_new(volume))
			continue;
		int rc = check_below(call, &call->plan.chains[i], e);
		if (rc == 0)
			rc = layer_chain_create_top(
			        &call->plan.chains[i], /* preallocate= */ false, driver, c, e);
		if (rc < 0)
			return err_prefix(e, "disk %s", volume->disk);
		json_array_append_new(call->found, json_string(volume->id));
	}
	return 0;
}

static int delete_new_volumes(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	for (size_t i = 0; i < call->plan.n_volumes; i++) {
		int rc = is_new(&call->plan.volumes[i])
		                 ? layer_chain_delete_top(&call->plan.chains[i], driver, c, e)
		                 : 0;
		if (rc < 0)
			return rc;
	}
	return 0;
}

static void on_created(struct vm_call *call, int rc, const struct err *e)
{
	if (rc < 0) {
		operation_step_done(call->op, rc, e);
		return;
	}
	json_object_set(operation_memory(call->op), "made", call->found);
	vm_call_finish_step(call, NULL);
}

void vm_volumes_create(struct operation *op)
{
	vm_call_submit_then(op, create_volumes, VOLUMES_TIMEOUT_MS, 0, on_created);
}

void vm_volumes_uncreate(struct operation *op)
{
	vm_call_submit(op, delete_new_volumes, NULL, VOLUMES_TIMEOUT_MS, 0);
}

int vm_call_delete_all_volumes(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	struct db *db;
	int rc = readers_get(call->readers, &db, e);
	for (size_t i = 0; i < call->plan.n_volumes && rc == 0; i++)
		if (vm_volume_goes_with_vm(&call->plan.volumes[i], &call->plan.spec))
			rc = layer_delete_all_of_volume(db, call->plan.volumes[i].id, driver, c, e);
	return rc;
}

int vm_call_delete_seed(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	const struct layer_chain *chain = vm_plan_chain(&call->plan, VM_SEED_DISK);
	return chain ? layer_chain_delete_top(chain, driver, c, e) : 0;
}

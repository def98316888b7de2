/* SPDX-License-Identifier: Apache-2.0 */
/*
 * volume.resize: growing.
 *
 *	grow     the disk, by the VM's QEMU if it runs, else by a carrier; then the rows     undo: the carrier ends
 *	release  the carrier
 *
 * QEMU is told the recorded format, so what a guest wrote into the first sectors of a raw disk is never taken for a
 * header. A disk that has grown cannot shrink again: there is no way back, and a step that runs twice finds it grown.
 */
#include "base/cleanup.h"
#include "base/str.h"
#include "storage/carrier.h"
#include "storage/volume_kinds.h"
#include "storage/volume_work_store.h"

static struct {
	volume_resized_hook fn;
	void *arg;
} hook;

void volume_set_resized_hook(volume_resized_hook fn, void *arg)
{
	hook.fn = fn;
	hook.arg = arg;
}

static int64_t wanted_bytes(const struct volume_call *call)
{
	return json_integer_value(json_object_get(call->input, "size_bytes"));
}

/* ---- lane thread ---- */

/* It may have left its VM while this waited in the VM's queue. */
static int check_owner(const struct volume_call *call, struct err *e)
{
	const char *vm_id = json_string_value(json_object_get(call->input, "vm_id"));
	if (str_equal(vm_id, call->row.vm_id))
		return 0;
	return err_set(e, ERR_CONFLICT,
	        "volume %s has gone to or from a VM meanwhile: it was not resized", call->row.name);
}

static int refuse_shrinking(const struct volume_row *row, int64_t size_bytes, struct err *e)
{
	err_set_at(e, ERR_INVALID, "/size_bytes",
	        "volume %s has %lld bytes and cannot shrink to %lld: what lies behind them would "
	        "be lost",
	        row->name, (long long)row->size_bytes, (long long)size_bytes);
	return err_numbers(e, "{\"size_bytes\":%lld,\"asked_bytes\":%lld}",
	        (long long)row->size_bytes, (long long)size_bytes);
}

/* An earlier one in the VM's queue may have made it larger than this one was asked for. */
static int check_growth(const struct volume_call *call, struct err *e)
{
	int64_t size_bytes = wanted_bytes(call);
	return size_bytes >= call->row.size_bytes ? 0 : refuse_shrinking(&call->row, size_bytes, e);
}

/* The files are as recorded, or as this step leaves them when it was interrupted. */
static int check_files(const struct volume_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	int rc = layer_chain_check(&call->chain, driver, c, e);
	if (rc != ERR_UNPROCESSABLE)
		return rc;
	struct layer_row *top = &call->chain.layers[0];
	int64_t recorded = top->size_bytes;
	top->size_bytes = wanted_bytes(call);
	bool is_grown = layer_chain_check(&call->chain, driver, c, NULL) == 0;
	top->size_bytes = recorded;
	if (is_grown)
		err_clear(e);
	return is_grown ? 0 : rc;
}

static int grow_by_carrier(struct volume_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	const struct carrier_disk disk = {.name = CARRIER_DISK, .chain = &call->chain};
	int rc = check_files(call, driver, c, e);
	if (rc == 0)
		rc = carrier_start(driver, c, call->operation_id, &disk, 1, e);
	if (rc == 0)
		rc = driver->block_resize(
		        c, call->operation_id, CARRIER_DISK, wanted_bytes(call), e);
	return rc;
}

static int grow(struct volume_call *call, const struct driver *driver, struct driver_connection *c,
        struct err *e)
{
	bool is_active = false;
	int rc = check_owner(call, e);
	if (rc == 0)
		rc = check_growth(call, e);
	if (rc == 0 && !driver->block_resize)
		rc = err_set(e, ERR_UNSUPPORTED, "the host's hypervisor cannot grow disks");
	if (rc == 0 && call->row.vm_id)
		rc = volume_look_at_vm(call->row.vm_id, driver, c, &is_active, e);
	if (rc < 0)
		return rc;
	if (!is_active)
		return grow_by_carrier(call, driver, c, e);
	return driver->block_resize(c, call->row.vm_id, call->row.disk, wanted_bytes(call), e);
}

static int release(struct volume_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	return carrier_stop(driver, c, call->operation_id, e);
}

/* ---- writer thread ---- */

static int store_size(struct db *db, struct volume_call *call, struct err *e)
{
	int64_t size_bytes = wanted_bytes(call);
	int rc = volume_set_size(db, call->row.id, size_bytes, e);
	if (rc == 0 && call->row.vm_id && hook.fn)
		rc = hook.fn(db, call->row.vm_id, call->row.disk, size_bytes, hook.arg, e);
	return rc;
}

/* ---- steps ---- */

/* A VM's calls are in order among themselves. */
static void submit(struct operation *op, volume_call_fn fn, volume_call_store store)
{
	const struct volume_call_options options = {
	        .store = store, .key = volume_input_text(op, "vm_id")};
	volume_call_submit(op, fn, &options);
}

static void run_grow(struct operation *op)
{
	submit(op, grow, store_size);
}

static void run_release(struct operation *op)
{
	submit(op, release, NULL);
}

static const struct operation_step steps[] = {
        {.name = "grow", .run = run_grow, .undo = run_release, .flags = OPERATION_FINAL},
        {.name = "release", .run = run_release},
};
const struct operation_kind volume_resize_kind = {
        .name = "volume.resize", .steps = steps, .n_steps = ARRAY_LEN(steps)};

/* ---- the mutation: writer thread ---- */

static int check_size(const struct volume_row *row, int64_t size_bytes, struct err *e)
{
	if (size_bytes >= row->size_bytes)
		return size_bytes == row->size_bytes ? 0 : volume_check_size(size_bytes, e);
	return refuse_shrinking(row, size_bytes, e);
}

static int check_pool(
        struct db *db, const struct volume_row *row, int64_t more_bytes, struct err *e)
{
	struct pool_access pool CLEANUP(pool_access_done) = {0};
	int rc = pool_access_load(db, row->pool_id, &pool, e);
	if (rc < 0)
		return rc;
	if (pool.kind->flags & POOL_ADOPT_ONLY) {
		err_set(e, ERR_UNSUPPORTED,
		        "the volumes of pool %s (%s) have the size that was given them", pool.name,
		        pool.kind->name);
		return err_hint(e, "grow it on the storage itself, then register it again");
	}
	if (pool.kind->source == DOMAIN_SOURCE_BLOCK) {
		err_set(e, ERR_UNSUPPORTED,
		        "neither libvirt nor QEMU can grow the devices of pool %s (%s)", pool.name,
		        pool.kind->name);
		return err_hint(e, "move or clone it into a pool of files first");
	}
	return more_bytes == 0 ? 0
	                       : pool_check_room(db, &pool, row->host_id, more_bytes,
	                                 /* full= */ false, e);
}

/* Only the layer that is written grows: what stands on those below it does not mind. */
static int check_state(struct db *db, const struct volume_row *row, struct err *e)
{
	struct layer_list above CLEANUP(layer_list_done) = {0};
	int rc = volume_check_idle(db, row, e);
	if (rc == 0)
		rc = layer_store_children(db, row->layer_id, &above, e);
	return rc < 0 || above.len == 0 ? rc : volume_check_unused(db, row, row->vm_id, e);
}

int volume_resize(struct db *db, struct operation_engine *engine, const struct volume_row *row,
        int64_t size_bytes, const struct operation_asked *asked, char ret_operation[UUID_TEXT_SIZE],
        struct err *e)
{
	struct volume_vm vm CLEANUP(volume_vm_done) = {0};
	int rc = check_size(row, size_bytes, e);
	if (rc == 0)
		rc = check_state(db, row, e);
	if (rc == 0)
		rc = check_pool(db, row, size_bytes - row->size_bytes, e);
	if (rc == 0 && row->vm_id)
		rc = volume_store_get_vm(db, row->vm_id, &vm, e);
	if (rc < 0)
		return rc;
	json_t *input = json_pack("{s:I}", "size_bytes", (json_int_t)size_bytes);
	if (row->vm_id)
		json_object_set_new(input, "vm_id", json_string(row->vm_id));
	const struct volume_start start = {
	        .kind = "volume.resize",
	        .row = row,
	        .host_id = row->vm_id ? vm.host_id : NULL,
	        .queue = row->vm_id,
	        .input = input,
	        .asked = asked,
	};
	return volume_start_operation(db, engine, &start, ret_operation, e);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operation kinds volume.create and volume.delete, and what all kinds share.
 *
 *	volume.create   pool -> file -> (row: ready)     undo: the file goes, then the row
 *	volume.delete   file -> (row: gone)              no way back once begun
 */
#include "storage/volume_operations.h"

#include "base/cleanup.h"
#include "base/str.h"
#include "storage/carrier.h"
#include "storage/volume_content.h"
#include "storage/volume_kinds.h"

#define MIB ((int64_t)1 << 20)
/* Where space is taken by writing zeroes, as on some network filesystems. */
#define PREALLOCATE_TIMEOUT_MS (3600 * 1000)

const char *const volume_allocation_names[] = {"thin", "full", NULL};

/* ---- volume.create: lane thread ---- */

static int ensure_pool(struct volume_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	return pool_access_ensure(call->chain.pools[0], driver, c, e);
}

/* The size is QEMU's word: libvirt's is a sector short for units that it reaches by iscsi-direct (9.0). */
static int measure(struct volume_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	const struct carrier_disk disk = {
	        .name = CARRIER_DISK, .chain = &call->chain, .read_only = true};
	int rc = carrier_start(driver, c, call->operation_id, &disk, 1, e);
	if (rc == 0 && driver->disk_capacity)
		rc = driver->disk_capacity(
		        c, call->operation_id, CARRIER_DISK, &call->size_bytes, e);
	int stopped = carrier_stop(driver, c, call->operation_id, rc < 0 ? NULL : e);
	return rc < 0 ? rc : stopped;
}

static int look_up_in_pool(struct volume_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	const struct pool_access *pool = call->chain.pools[0];
	const char *file = call->chain.layers[0].file;
	struct volume_info info CLEANUP(volume_info_done) = {0};
	if (!driver->volume_get)
		return err_set(e, ERR_UNSUPPORTED,
		        "the host's hypervisor connection serves no storage pools");
	int rc = driver->volume_get(c, pool->libvirt_name, file, &info, e);
	if (rc == ERR_NOT_FOUND)
		return err_set_at(e, ERR_REFERENCE, "/existing_file", "pool %s has no volume %s",
		        pool->name, file);
	if (rc == 0)
		call->size_bytes = info.capacity_bytes;
	return rc;
}

/* Registers what is there, with the size it has. What libvirt has no pool for can only be opened. */
static int look_up_existing(struct volume_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	bool is_listed = call->chain.pools[0]->kind->libvirt_type;
	call->size_bytes = call->row.size_bytes;
	int rc = is_listed ? look_up_in_pool(call, driver, c, e) : 0;
	if (rc < 0)
		return rc;
	rc = measure(call, driver, c, e);
	if (rc != ERR_UNSUPPORTED || !is_listed)
		return rc;
	err_clear(e); /* a hypervisor that runs nothing */
	return 0;
}

static int create_file(struct volume_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	if (call->chain.pools[0]->kind->flags & POOL_ADOPT_ONLY)
		return look_up_existing(call, driver, c, e);
	bool full = json_is_true(json_object_get(call->input, "full"));
	return layer_chain_create_top(&call->chain, full, driver, c, e);
}

static int delete_new_file(struct volume_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	int rc = carrier_stop(driver, c, call->operation_id, e);
	return rc < 0 ? rc : layer_chain_delete_top(&call->chain, driver, c, e);
}

int volume_delete_files(struct volume_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	return layer_delete_all_of_volume(call->db, call->row.id, driver, c, e);
}

int volume_look_at_vm(const char *vm_id, const struct driver *driver, struct driver_connection *c,
        bool *ret_active, struct err *e)
{
	struct domain_info info CLEANUP(domain_info_done) = {0};
	int rc = driver->get_domain(c, vm_id, &info, e);
	*ret_active = false;
	if (rc == ERR_NOT_FOUND) {
		err_clear(e);
		return 0;
	}
	if (rc < 0)
		return rc;
	*ret_active = !domain_state_is_off(info.state);
	if (!*ret_active && info.has_managed_save)
		return err_set(e, ERR_WRONG_STATE,
		        "VM %s is suspended: the memory it goes on with belongs to the disk as it "
		        "is",
		        info.name);
	return 0;
}

/* ---- steps ---- */

static const struct volume_call_options plain = {0};

/* A registered volume has the size that it was found with. */
static int store_size(struct db *db, struct volume_call *call, struct err *e)
{
	if (call->size_bytes == 0)
		return 0;
	return volume_set_size(db, call->row.id, call->size_bytes, e);
}

static void run_pool(struct operation *op)
{
	volume_call_submit(op, ensure_pool, &plain);
}

static void run_create(struct operation *op)
{
	bool full = json_is_true(json_object_get(operation_input(op), "full"));
	const struct volume_call_options options = {
	        .store = store_size, .timeout_ms = full ? PREALLOCATE_TIMEOUT_MS : 0};
	volume_call_submit(op, create_file, &options);
}

static void undo_create(struct operation *op)
{
	volume_call_submit(op, delete_new_file, &plain);
}

static void run_delete(struct operation *op)
{
	volume_call_submit(op, volume_delete_files, &plain);
}

static const struct operation_step create_steps[] = {
        {.name = "pool", .run = run_pool},
        {.name = "file", .run = run_create, .undo = undo_create},
};
static const struct operation_step delete_steps[] = {
        {.name = "file", .run = run_delete, .flags = OPERATION_FINAL},
};

/* ---- the ends: writer thread ---- */

static int finish_create(struct db *db, const struct operation *op, enum operation_state outcome,
        const struct err *error, struct err *e)
{
	(void)error;
	if (outcome == OPERATION_SUCCEEDED)
		return volume_mark_ready(db, operation_target_id(op), e);
	return volume_forget(db, operation_target_id(op), e);
}

static int finish_delete(struct db *db, const struct operation *op, enum operation_state outcome,
        const struct err *error, struct err *e)
{
	(void)error;
	if (outcome == OPERATION_SUCCEEDED)
		return volume_forget(db, operation_target_id(op), e);
	/* Cancelled means never begun, for the only step is final: the file is untouched. After a
	 * failure nobody knows: the row stays "deleting", and may be deleted again. */
	if (outcome == OPERATION_CANCELLED)
		return volume_mark_ready(db, operation_target_id(op), e);
	return 0;
}

static const struct operation_kind create_kind = {
        .name = "volume.create",
        .steps = create_steps,
        .n_steps = ARRAY_LEN(create_steps),
        .finish = finish_create,
};
static const struct operation_kind delete_kind = {
        .name = "volume.delete",
        .steps = delete_steps,
        .n_steps = ARRAY_LEN(delete_steps),
        .finish = finish_delete,
};

void volume_register_kinds(struct operation_engine *engine)
{
	operation_engine_register(engine, &create_kind);
	operation_engine_register(engine, &delete_kind);
	operation_engine_register(engine, &volume_resize_kind);
	operation_engine_register(engine, &volume_clone_kind);
	operation_engine_register(engine, &volume_wipe_kind);
	volume_content_register_kinds(engine);
}

/* ---- the mutations: writer thread ---- */

int volume_check_size(int64_t size_bytes, struct err *e)
{
	if (size_bytes >= MIB && size_bytes % MIB == 0)
		return 0;
	return err_set_at(e, ERR_INVALID, "/size_bytes",
	        "must be a multiple of 1 MiB (1048576 bytes), not %lld", (long long)size_bytes);
}

static int check_queue(struct db *db, const struct volume_row *row, struct err *e)
{
	char busy[UUID_TEXT_SIZE] = "", kind[64] = "";
	int rc = operation_find_busy(db, row->id, busy, kind, e);
	if (rc < 0 || !busy[0])
		return rc;
	return err_set(
	        e, ERR_BUSY, "operation %s (%s) is working on volume %s", busy, kind, row->name);
}

int volume_check_idle(struct db *db, const struct volume_row *row, struct err *e)
{
	int rc = check_queue(db, row, e);
	if (rc < 0 || str_equal(row->state, "ready"))
		return rc;
	if (str_equal(row->state, "creating"))
		return err_set(e, ERR_BUSY, "volume %s is being made", row->name);
	return err_set(e, ERR_WRONG_STATE, "volume %s is %s", row->name, row->state);
}

int volume_check_depth(int64_t depth, struct err *e)
{
	int64_t most = layer_max_chain_depth();
	if (depth < most)
		return 0;
	err_set(e, ERR_LIMIT,
	        "the chain has %lld layers, and storage.max_chain_depth allows %lld: one more "
	        "would "
	        "be too many",
	        (long long)depth, (long long)most);
	err_numbers(e, "{\"layers\":%lld,\"limit\":%lld}", (long long)depth, (long long)most);
	return err_hint(e, "make a full clone, or delete snapshots that are not needed any more");
}

int volume_start_operation(struct db *db, struct operation_engine *engine,
        const struct volume_start *start, char ret_operation[UUID_TEXT_SIZE], struct err *e)
{
	char host_id[UUID_TEXT_SIZE];
	uuid_text_copy(host_id, start->host_id);
	int rc = start->host_id ? 0 : volume_choose_host(db, start->row, host_id, e);
	json_t *input = start->input ? start->input : json_object();
	json_object_set_new(input, "pool_id", json_string(start->row->pool_id));
	const struct operation_request request = {
	        .kind = start->kind,
	        .target_kind = "volume",
	        .target_id = start->row->id,
	        .target_name = start->row->name,
	        .host_id = host_id,
	        .queue = start->queue,
	        .input = input,
	        .requested_by = start->asked->requested_by,
	        .request_id = start->asked->request_id,
	        .deadline_ms = start->asked->deadline_ms,
	};
	if (rc == 0)
		rc = operation_create(db, engine, &request, ret_operation, e);
	json_decref(input);
	return rc;
}

int volume_create(struct db *db, struct operation_engine *engine,
        const struct volume_request *request, const struct operation_asked *asked,
        char ret_operation[UUID_TEXT_SIZE], char ret_id[UUID_TEXT_SIZE], struct err *e)
{
	struct volume_row row CLEANUP(volume_row_done) = {0};
	int rc = volume_reserve(db, request, ret_id, e);
	if (rc == 0)
		rc = volume_store_get(db, ret_id, &row, e);
	if (rc < 0)
		return rc;
	const struct volume_start start = {
	        .kind = "volume.create",
	        .row = &row,
	        .input = json_pack("{s:b}", "full", request->full),
	        .asked = asked,
	};
	return volume_start_operation(db, engine, &start, ret_operation, e);
}

int volume_delete(struct db *db, struct operation_engine *engine, const struct volume_row *row,
        const struct operation_asked *asked, char ret_operation[UUID_TEXT_SIZE], struct err *e)
{
	if (row->vm_id) {
		int rc = volume_refuse_owned(db, row, e);
		err_hint(e, "remove the disk from the VM first");
		return rc;
	}
	/* Unlike for other work, it may be "deleting" already. */
	int rc = str_equal(row->state, "creating") ? volume_check_idle(db, row, e)
	                                           : check_queue(db, row, e);
	if (rc == 0)
		rc = volume_check_unused(db, row, NULL, e);
	if (rc == 0)
		rc = volume_mark_deleting(db, row->id, e);
	if (rc < 0)
		return rc;
	const struct volume_start start = {.kind = "volume.delete", .row = row, .asked = asked};
	return volume_start_operation(db, engine, &start, ret_operation, e);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * volume.clone, carried out.
 *
 *	check     the source's files are as recorded, and its VM does not run
 *	file      the new one: empty (full), or standing on the source (linked)     undo: it goes
 *	carrier   starts, with the source read-only                     (full)      undo: it ends
 *	copy      source -> file, by the carrier's QEMU                 (full)
 *	release   the carrier ends                                      (full)
 *	grow      the file, if more was asked for                       (full)      by a carrier of its own
 *	-> rows: ready; a full clone stands on nothing any more
 *
 * The target row stands on the source until the end, also for a full clone; its file never does. While it is copied it
 * has exactly the source's size, as QEMU wants it. Bytes are copied as QEMU shows them through the recorded formats: what a
 * guest wrote is never read as a header.
 */
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "hypervisor/domain_xml.h"
#include "storage/block_job.h"
#include "storage/carrier.h"
#include "storage/volume_kinds.h"

/* The source's chain: all but the clone's own layer. Borrows. */
static struct layer_chain source_of(const struct layer_chain *chain)
{
	return (struct layer_chain){
	        .layers = chain->layers + 1,
	        .pools = chain->pools + 1,
	        .sources = chain->sources + 1,
	        .paths = chain->paths + 1,
	        .len = chain->len - 1,
	};
}

static bool is_linked(const struct operation *op)
{
	return json_is_true(json_object_get(operation_input(op), "linked"));
}

static int64_t source_bytes(const struct volume_call *call)
{
	return json_integer_value(json_object_get(call->input, "source_bytes"));
}

/* ---- lane thread ---- */

static int check_vm(const struct volume_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	const char *vm_id = json_string_value(json_object_get(call->input, "source_vm_id"));
	bool is_active = false;
	int rc = vm_id ? volume_look_at_vm(vm_id, driver, c, &is_active, e) : 0;
	if (rc < 0 || !is_active)
		return rc;
	err_set(e, ERR_IN_USE, "the VM whose disk is to be cloned is running");
	return err_hint(e, "stop the VM, or take a snapshot and clone that");
}

static int check(struct volume_call *call, const struct driver *driver, struct driver_connection *c,
        struct err *e)
{
	const struct layer_chain source = source_of(&call->chain);
	if (source.len == 0)
		return err_set(e, ERR_INTERNAL, "the clone stands on nothing");
	int rc = check_vm(call, driver, c, e);
	return rc < 0 ? rc : layer_chain_check(&source, driver, c, e);
}

static int create_linked(struct volume_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	return layer_chain_create_top(&call->chain, /* preallocate= */ false, driver, c, e);
}

static int create_empty(struct volume_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	struct layer_row row = call->chain.layers[0]; /* borrows its texts */
	struct layer_chain alone = volume_chain_head(&call->chain, 1);
	row.size_bytes = source_bytes(call);
	alone.layers = &row;
	return layer_chain_create_top(&alone, /* preallocate= */ false, driver, c, e);
}

static int delete_file(struct volume_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	return layer_chain_delete_top(&call->chain, driver, c, e);
}

/* What the copy needs to know is kept for it, and for a restart. */
static int start_carrier(struct volume_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	char *target CLEANUP(cleanup_free) = NULL;
	const struct pool_access *pool = call->chain.pools[0];
	const struct layer_chain source = source_of(&call->chain);
	const struct carrier_disk disk = {
	        .name = CARRIER_DISK, .chain = &source, .read_only = true};
	int rc = domain_xml_build_copy_target(&call->chain.sources[0], &target, e);
	if (rc == 0)
		rc = carrier_start(driver, c, call->operation_id, &disk, 1, e);
	if (rc < 0)
		return rc;
	call->memory =
	        json_pack("{s:s, s:s}", "target_xml", target, "target_path", call->chain.paths[0]);
	if (pool->kind->libvirt_type)
		json_object_set_new(call->memory, "target_pool", json_string(pool->libvirt_name));
	return 0;
}

static int stop_carrier(struct volume_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	return carrier_stop(driver, c, call->operation_id, e);
}

static int grow(struct volume_call *call, const struct driver *driver, struct driver_connection *c,
        struct err *e)
{
	int64_t size_bytes = call->chain.layers[0].size_bytes;
	if (size_bytes == source_bytes(call))
		return 0;
	const struct layer_chain alone = volume_chain_head(&call->chain, 1);
	const struct carrier_disk disk = {.name = CARRIER_DISK, .chain = &alone};
	int rc = carrier_start(driver, c, call->operation_id, &disk, 1, e);
	if (rc == 0)
		rc = driver->block_resize(c, call->operation_id, CARRIER_DISK, size_bytes, e);
	return rc < 0 ? rc : carrier_stop(driver, c, call->operation_id, e);
}

/* ---- steps: core loop ---- */

static const struct volume_call_options plain = {0};

static void submit_if_full(struct operation *op, volume_call_fn fn)
{
	if (is_linked(op))
		operation_step_done(op, 0, NULL);
	else
		volume_call_submit(op, fn, &plain);
}

static void run_check(struct operation *op)
{
	volume_call_submit(op, check, &plain);
}

static void run_file(struct operation *op)
{
	volume_call_submit(op, is_linked(op) ? create_linked : create_empty, &plain);
}

static void undo_file(struct operation *op)
{
	volume_call_submit(op, delete_file, &plain);
}

static void run_carrier(struct operation *op)
{
	submit_if_full(op, start_carrier);
}

static void run_release(struct operation *op)
{
	submit_if_full(op, stop_carrier);
}

static void run_grow(struct operation *op)
{
	submit_if_full(op, grow);
}

static const char *memory_text(const struct operation *op, const char *key)
{
	return json_string_value(json_object_get(operation_memory(op), key));
}

static void run_copy(struct operation *op)
{
	if (is_linked(op)) {
		operation_step_done(op, 0, NULL);
		return;
	}
	const struct block_work work = {
	        .kind = BLOCK_WORK_CLONE,
	        .host_id = operation_host_id(op),
	        .domain_id = operation_id(op),
	        .disk = CARRIER_DISK,
	        .target_xml = memory_text(op, "target_xml"),
	        .target_path = memory_text(op, "target_path"),
	        .pool = memory_text(op, "target_pool"),
	};
	block_work_run(op, &work, operation_step_done);
}

/* ---- the end: writer thread ---- */

static int finish(struct db *db, const struct operation *op, enum operation_state outcome,
        const struct err *error, struct err *e)
{
	(void)error;
	const char *id = operation_target_id(op);
	if (outcome != OPERATION_SUCCEEDED)
		return volume_forget(db, id, e);
	/* A new volume's first layer has its id. */
	int rc = is_linked(op) ? 0 : layer_set_backing(db, id, NULL, e);
	return rc < 0 ? rc : volume_mark_ready(db, id, e);
}

static const struct operation_step steps[] = {
        {.name = "check", .run = run_check},
        {.name = "file", .run = run_file, .undo = undo_file},
        {.name = "carrier", .run = run_carrier, .undo = run_release},
        {.name = "copy", .run = run_copy},
        {.name = "release", .run = run_release},
        {.name = "grow", .run = run_grow},
};
const struct operation_kind volume_clone_kind = {
        .name = "volume.clone",
        .steps = steps,
        .n_steps = ARRAY_LEN(steps),
        .finish = finish,
        .on_cancel = block_work_cancel,
};

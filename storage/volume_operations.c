/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operation kinds of volumes. Core loop, but for what runs on a lane and the finishing
 * transaction.
 *
 *	volume.create   pool -> file -> (row: ready)     undo: the file goes, then the row
 *	volume.delete   file -> (row: gone)              no way back once begun
 *
 * Calls use the volume's id as the lane's key: should a creation be given up because it hangs, the
 * undo is held back until the hung call has returned. Otherwise the file could appear after it was
 * deleted.
 */
#include "storage/volume_operations.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "hypervisor/host_directory.h"
#include "operation/services.h"

/* qcow2 and sparse raw files take milliseconds; a slow network filesystem may take long. */
#define CALL_TIMEOUT_MS 60000

struct volume_call {
	struct operation *op;                   /* valid until its step is done */
	char *id, *pool, *path, *file, *format; /* owned */
	int64_t size_bytes;
	bool is_undo;
};

static void release_call(void *arg)
{
	struct volume_call *call = arg;
	free(call->id);
	free(call->pool);
	free(call->path);
	free(call->file);
	free(call->format);
	free(call);
}

static const char *input_text(const struct operation *op, const char *key)
{
	return json_string_value(json_object_get(operation_input(op), key));
}

static struct volume_call *make_call(struct operation *op)
{
	struct volume_call *call = xcalloc(1, sizeof(*call));
	call->op = op;
	call->is_undo = operation_is_undoing(op);
	call->id = xstrdup(operation_target_id(op));
	call->pool = pool_libvirt_name(input_text(op, "pool"));
	call->path = xstrdup(input_text(op, "path"));
	call->format = xstrdup(input_text(op, "format"));
	call->file = volume_file_name(call->id, call->format);
	call->size_bytes = json_integer_value(json_object_get(operation_input(op), "size_bytes"));
	return call;
}

static void call_done(void *arg, int rc, const struct err *e)
{
	struct volume_call *call = arg;
	operation_step_done(call->op, rc, e);
}

static void submit(struct operation *op,
        int (*run)(const struct driver *, struct driver_connection *, void *, struct err *))
{
	struct operation_services *services = operation_context(op);
	struct volume_call *call = make_call(op);
	struct lane_call lane_call = {
	        .class = LANE_CONTROL,
	        .domain = call->id,
	        .timeout_ms = CALL_TIMEOUT_MS,
	        .run = run,
	        .done = call_done,
	        .release = release_call,
	        .arg = call,
	};
	host_directory_submit(services->directory, operation_host_id(op), &lane_call);
}

/* ---- lane thread ---- */

static int no_storage(struct err *e)
{
	return err_set(
	        e, ERR_UNSUPPORTED, "the host's hypervisor connection serves no storage pools");
}

static int call_ensure_pool(
        const struct driver *driver, struct driver_connection *c, void *arg, struct err *e)
{
	const struct volume_call *call = arg;
	return driver->pool_ensure ? driver->pool_ensure(c, call->pool, call->path, e)
	                           : no_storage(e);
}

static int call_create_file(
        const struct driver *driver, struct driver_connection *c, void *arg, struct err *e)
{
	const struct volume_call *call = arg;
	if (!driver->volume_create)
		return no_storage(e);
	return driver->volume_create(c, call->pool, call->file, call->format, call->size_bytes, e);
}

/* A pool that libvirt does not know (removed behind our back) is made known again: its files are
 * what counts. */
static int call_delete_file(
        const struct driver *driver, struct driver_connection *c, void *arg, struct err *e)
{
	const struct volume_call *call = arg;
	if (!driver->volume_delete) /* where nothing can be made, nothing is left behind */
		return call->is_undo ? 0 : no_storage(e);
	int rc = call_ensure_pool(driver, c, arg, e);
	return rc < 0 ? rc : driver->volume_delete(c, call->pool, call->file, e);
}

/* ---- steps ---- */

static void run_pool(struct operation *op)
{
	submit(op, call_ensure_pool);
}

static void run_create(struct operation *op)
{
	submit(op, call_create_file);
}

static void run_delete(struct operation *op)
{
	submit(op, call_delete_file);
}

static const struct operation_step create_steps[] = {
        {.name = "pool", .run = run_pool},
        {.name = "file", .run = run_create, .undo = run_delete},
};
static const struct operation_step delete_steps[] = {
        {.name = "file", .run = run_delete, .flags = OPERATION_FINAL},
};

/* ---- writer thread ---- */

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
}

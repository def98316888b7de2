/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image.delete.
 *
 *	copies   one after another: the file in its pool, on a lane of its host
 *	files    the library's, and what lies in the staging directory
 *	success: the rows go. There is no way back; after a failure it may be asked for again.
 */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "db/reader.h"
#include "hypervisor/host_directory.h"
#include "operation/services.h"
#include "storage/image_kinds.h"
#include "storage/image_work.h"
#include "storage/layer.h"

#define CALL_TIMEOUT_MS 300000

struct delete_call {
	struct operation *op; /* valid until its step is done */
	struct readers *readers;
	size_t index; /* of the copy */
	char pool_id[UUID_TEXT_SIZE];
	char *file; /* owned */
};

static void delete_next(struct operation *op, size_t index);

static json_t *copies_of(const struct operation *op)
{
	return json_object_get(operation_input(op), "copies");
}

static void release_call(void *arg)
{
	struct delete_call *call = arg;
	free(call->file);
	free(call);
}

static void call_done(void *arg, int rc, const struct err *e)
{
	struct delete_call *call = arg;
	if (rc < 0)
		operation_step_done(call->op, rc, e);
	else
		delete_next(call->op, call->index + 1);
}

/* Lane thread. */
static int call_delete(
        const struct driver *driver, struct driver_connection *c, void *arg, struct err *e)
{
	const struct delete_call *call = arg;
	struct pool_access access CLEANUP(pool_access_done) = {0};
	struct db *db;
	int rc = readers_get(call->readers, &db, e);
	if (rc == 0)
		rc = pool_access_load(db, call->pool_id, &access, e);
	return rc < 0 || !driver->volume_delete
	               ? rc
	               : layer_file_delete(&access, call->file, driver, c, e);
}

static void delete_next(struct operation *op, size_t index)
{
	struct operation_services *services = operation_context(op);
	json_t *copy = json_array_get(copies_of(op), index);
	if (!copy) {
		operation_step_done(op, 0, NULL);
		return;
	}
	struct delete_call *call = xcalloc(1, sizeof(*call));
	call->op = op;
	call->readers = services->readers;
	call->index = index;
	uuid_text_copy(call->pool_id, json_string_value(json_object_get(copy, "pool_id")));
	call->file = xstrdup(json_string_value(json_object_get(copy, "file")));
	const struct lane_call lane_call = {
	        .class = LANE_CONTROL,
	        .domain = call->pool_id,
	        .timeout_ms = CALL_TIMEOUT_MS,
	        .run = call_delete,
	        .done = call_done,
	        .release = release_call,
	        .arg = call,
	};
	host_directory_submit(services->directory,
	        json_string_value(json_object_get(copy, "host_id")), &lane_call);
}

static void run_copies(struct operation *op)
{
	delete_next(op, 0);
}

static int work_files(struct image_work *work, struct err *e)
{
	int rc = images_clear_staging(work->images, work->image_id, e);
	return rc < 0 ? rc : images_remove(work->images, work->image_id, IMAGE_FILE_KEPT, e);
}

static void run_files(struct operation *op)
{
	image_work_run(op, IMAGE_WORK_LIBRARY, work_files);
}

static const struct operation_step steps[] = {
        {.name = "copies", .run = run_copies, .flags = OPERATION_FINAL},
        {.name = "files", .run = run_files, .flags = OPERATION_FINAL},
};

static int finish(struct db *db, const struct operation *op, enum operation_state outcome,
        const struct err *error, struct err *e)
{
	int rc = 0;
	(void)error;
	for (size_t i = 0; i < json_array_size(copies_of(op)) && rc == 0; i++) {
		const char *id = json_string_value(
		        json_object_get(json_array_get(copies_of(op), i), "layer_id"));
		if (outcome == OPERATION_SUCCEEDED)
			rc = layer_forget(db, id, e);
		else if (outcome == OPERATION_CANCELLED)
			rc = layer_mark_ready(db, id, e);
	}
	if (rc < 0)
		return rc;
	if (outcome == OPERATION_SUCCEEDED)
		return image_forget(db, operation_target_id(op), operation_target_name(op), e);
	/* Cancelled means never begun. After a failure nobody knows: it stays "deleting". */
	const char *before = json_string_value(json_object_get(operation_input(op), "state"));
	if (outcome == OPERATION_CANCELLED)
		return image_set_state(db, operation_target_id(op), operation_target_name(op),
		        before ? before : "failed", "", e);
	return 0;
}

const struct operation_kind image_delete_kind = {
        .name = "image.delete",
        .steps = steps,
        .n_steps = ARRAY_LEN(steps),
        .finish = finish,
};

void image_register_kinds(struct operation_engine *engine)
{
	operation_engine_register(engine, &image_import_kind);
	operation_engine_register(engine, &image_delete_kind);
	operation_engine_register(engine, &image_copy_kind);
}

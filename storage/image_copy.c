/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image.copy: the library's file becomes a layer in a pool, byte by byte; VMs then stand on it.
 *
 *	volume   what an interrupted try left goes; an empty file of that size     undo: it goes
 *	upload   the bytes, by a stream of its own
 *	success: the layer is "ready". Failure: its row goes, too.
 *
 * The file is a qcow2 file, but made as a raw one: it is its bytes that are carried over, and their number is its
 * size.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "db/reader.h"
#include "hypervisor/host_directory.h"
#include "hypervisor/transfer.h"
#include "operation/services.h"
#include "storage/image_kinds.h"
#include "storage/image_store.h"
#include "storage/image_work.h"
#include "storage/layer_store.h"
#include "storage/volume_work_store.h"

#define CALL_TIMEOUT_MS 300000

/* ---- the file: lane thread ---- */

struct copy_call {
	struct operation *op; /* valid until its step is done */
	struct readers *readers;
	char pool_id[UUID_TEXT_SIZE];
	char *file; /* owned */
	int64_t file_bytes;
};

static void release_call(void *arg)
{
	struct copy_call *call = arg;
	free(call->file);
	free(call);
}

static void call_done(void *arg, int rc, const struct err *e)
{
	struct copy_call *call = arg;
	operation_step_done(call->op, rc, e);
}

static const char *input_text(const struct operation *op, const char *key)
{
	return json_string_value(json_object_get(operation_input(op), key));
}

/* The pool is there and libvirt knows it; what was there under that name goes. */
static int remove_file(const struct copy_call *call, const struct driver *driver,
        struct driver_connection *c, struct pool_access *ret_access, struct err *e)
{
	struct db *db;
	int rc = readers_get(call->readers, &db, e);
	if (rc == 0)
		rc = pool_access_load(db, call->pool_id, ret_access, e);
	if (rc < 0)
		return rc;
	if (!driver->volume_delete || !driver->volume_create)
		return err_set(e, ERR_UNSUPPORTED,
		        "the host's hypervisor connection serves no storage pools");
	return layer_file_delete(ret_access, call->file, driver, c, e);
}

static int call_make(
        const struct driver *driver, struct driver_connection *c, void *arg, struct err *e)
{
	const struct copy_call *call = arg;
	struct pool_access access CLEANUP(pool_access_done) = {0};
	const struct volume_config config = {
	        .name = call->file, .format = "raw", .size_bytes = call->file_bytes};
	int rc = remove_file(call, driver, c, &access, e);
	return rc < 0 ? rc : driver->volume_create(c, access.libvirt_name, &config, e);
}

static int call_remove(
        const struct driver *driver, struct driver_connection *c, void *arg, struct err *e)
{
	const struct copy_call *call = arg;
	struct pool_access access CLEANUP(pool_access_done) = {0};
	return remove_file(call, driver, c, &access, e);
}

/* The pool's id is the lane's key: should making the file hang, its removal waits for that. */
static void submit(struct operation *op,
        int (*run)(const struct driver *, struct driver_connection *, void *, struct err *))
{
	struct operation_services *services = operation_context(op);
	struct copy_call *call = xcalloc(1, sizeof(*call));
	call->op = op;
	call->readers = services->readers;
	uuid_text_copy(call->pool_id, input_text(op, "pool_id"));
	call->file = xstrdup(input_text(op, "file"));
	call->file_bytes = json_integer_value(json_object_get(operation_input(op), "file_bytes"));
	const struct lane_call lane_call = {
	        .class = LANE_CONTROL,
	        .domain = call->pool_id,
	        .timeout_ms = CALL_TIMEOUT_MS,
	        .run = run,
	        .done = call_done,
	        .release = release_call,
	        .arg = call,
	};
	host_directory_submit(services->directory, operation_host_id(op), &lane_call);
}

static void run_volume(struct operation *op)
{
	submit(op, call_make);
}

static void undo_volume(struct operation *op)
{
	submit(op, call_remove);
}

/* ---- the bytes: bulk thread ---- */

struct source {
	struct image_work *work;
	int fd;
	int64_t done, total;
};

static int64_t read_source(void *arg, void *buffer, size_t n, struct err *e)
{
	struct source *source = arg;
	if (image_work_is_cancelled(source->work))
		return err_set(e, ERR_CANCELLED, "cancelled");
	ssize_t got;
	do {
		got = pread(source->fd, buffer, n, source->done);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return err_set_errno(e, errno, "reading the image");
	source->done += got;
	image_work_progress(source->work, source->done, source->total);
	return got;
}

static int upload(struct image_work *work, const char *uri, const char *pool, struct source *source,
        struct err *e)
{
	const struct transfer transfer = {.uri = uri,
	        .pool = pool,
	        .volume = image_work_text(work, "file"),
	        .length = source->total};
	const struct volume_source from = {.read = read_source, .arg = source};
	int rc = transfer_upload(&transfer, &from, e);
	if (rc == 0 && source->done != source->total)
		return err_set(e, ERR_INTERNAL, "the library's file has %lld bytes, not %lld",
		        (long long)source->done, (long long)source->total);
	return rc;
}

static int work_upload(struct image_work *work, struct err *e)
{
	struct pool_access access CLEANUP(pool_access_done) = {0};
	char *uri CLEANUP(cleanup_free) = NULL;
	struct db *db;
	int rc = image_work_db(work, &db, e);
	if (rc == 0)
		rc = pool_access_load(db, image_work_text(work, "pool_id"), &access, e);
	if (rc == 0)
		rc = volume_store_host_uri(db, image_work_text(work, "host_id"), &uri, e);
	if (rc < 0)
		return rc;
	int fd CLEANUP(cleanup_fd) =
	        images_open(work->images, work->image_id, IMAGE_FILE_KEPT, O_RDONLY, e);
	if (fd < 0)
		return err_prefix(e, "the library's copy of the image");
	struct source source = {
	        .work = work, .fd = fd, .total = image_work_number(work, "file_bytes")};
	return upload(work, uri, access.libvirt_name, &source, e);
}

static void run_upload(struct operation *op)
{
	image_work_run(op, input_text(op, "place"), work_upload);
}

/* ---- the kind ---- */

static const struct operation_step steps[] = {
        {.name = "volume", .run = run_volume, .undo = undo_volume},
        {.name = "upload", .run = run_upload},
};

static int forget_unless_needed(struct db *db, const char *layer_id, struct err *e)
{
	struct layer_list children CLEANUP(layer_list_done) = {0};
	int rc = layer_store_children(db, layer_id, &children, e);
	return rc < 0 || children.len > 0 ? rc : layer_forget(db, layer_id, e);
}

static int finish(struct db *db, const struct operation *op, enum operation_state outcome,
        const struct err *error, struct err *e)
{
	const char *layer_id = input_text(op, "layer_id");
	(void)error;
	if (outcome == OPERATION_SUCCEEDED)
		return layer_mark_ready(db, layer_id, e);
	/* Whoever waits for it may stand on it already, until its own operation ends: then the row stays for so long. */
	return forget_unless_needed(db, layer_id, e);
}

const struct operation_kind image_copy_kind = {
        .name = "image.copy",
        .steps = steps,
        .n_steps = ARRAY_LEN(steps),
        .finish = finish,
        .on_cancel = image_work_cancel,
};

/* ---- asking for one: writer thread ---- */

static int check_image(const struct image_row *image, struct err *e)
{
	if (str_equal(image->state, "ready"))
		return 0;
	return err_set(e, ERR_WRONG_STATE, "image %s is not ready: it is %s", image->spec.name,
	        image->state);
}

static int check_pool(const struct pool_access *access, struct err *e)
{
	if (pool_kind_makes_files(access->kind))
		return 0;
	return err_set(e, ERR_UNSUPPORTED,
	        "pool %s (%s) holds no files: no image can be copied into it", access->name,
	        access->kind->name);
}

static int reserve_layer(struct db *db, const struct image_row *image,
        const struct pool_access *access, const char *host_id, char ret_id[UUID_TEXT_SIZE],
        struct err *e)
{
	const struct layer_request request = {
	        .pool_id = access->id,
	        .host_id = access->shared ? NULL : host_id,
	        .format = "qcow2",
	        .size_bytes = image->size_bytes,
	        .image_id = image->id,
	};
	int rc = pool_check_room(db, access, host_id, image->file_bytes, /* full= */ true, e);
	return rc < 0 ? rc : layer_reserve(db, &request, ret_id, e);
}

static int start_copy(struct db *db, struct operation_engine *engine, const struct image_row *image,
        const char *host_id, const char *layer_id, const struct operation_asked *asked,
        char ret_operation[UUID_TEXT_SIZE], struct err *e)
{
	struct layer_row layer CLEANUP(layer_row_done) = {0};
	int rc = layer_store_get(db, layer_id, &layer, e);
	if (rc < 0)
		return rc;
	char place[POOL_PLACE_SIZE];
	pool_place(layer.pool_id, layer.host_id, place);
	json_t *input CLEANUP(cleanup_json) = json_pack("{s:s,s:s,s:s,s:s,s:s,s:I}", "layer_id",
	        layer_id, "pool_id", layer.pool_id, "host_id", host_id, "place", place, "file",
	        layer.file, "file_bytes", (json_int_t)image->file_bytes);
	const struct operation_request request = {
	        .kind = "image.copy",
	        .target_kind = "image",
	        .target_id = image->id,
	        .target_name = image->spec.name,
	        .host_id = host_id,
	        .queue = layer_id,
	        .input = input,
	        .requested_by = asked->requested_by,
	        .request_id = asked->request_id,
	        .deadline_ms = asked->deadline_ms,
	};
	return operation_create(db, engine, &request, ret_operation, e);
}

/* A copy whose row is there: ready, or being made by an operation, or left by one that failed. */
static int join_copy(struct db *db, const char *layer_id, bool *ret_is_ready,
        char ret_operation[UUID_TEXT_SIZE], struct err *e)
{
	struct layer_row layer CLEANUP(layer_row_done) = {0};
	char kind[64];
	int rc = layer_store_get(db, layer_id, &layer, e);
	if (rc < 0)
		return rc;
	*ret_is_ready = str_equal(layer.state, "ready");
	if (str_equal(layer.state, "deleting"))
		return err_set(e, ERR_BUSY, "the image's copy in that pool is being deleted");
	return *ret_is_ready ? 0 : operation_find_busy(db, layer_id, ret_operation, kind, e);
}

int image_copy_start(struct db *db, struct operation_engine *engine, const struct image_row *image,
        const char *pool_id, const char *host_id, const struct operation_asked *asked,
        char ret_operation[UUID_TEXT_SIZE], char ret_layer_id[UUID_TEXT_SIZE], struct err *e)
{
	struct pool_access access CLEANUP(pool_access_done) = {0};
	char layer_id[UUID_TEXT_SIZE];
	bool is_ready = false;
	ret_operation[0] = '\0';
	int rc = check_image(image, e);
	if (rc == 0)
		rc = pool_access_load(db, pool_id, &access, e);
	if (rc == 0)
		rc = check_pool(&access, e);
	if (rc == 0)
		rc = layer_store_find_copy(
		        db, image->id, pool_id, access.shared ? NULL : host_id, layer_id, e);
	if (rc == 0 && layer_id[0])
		rc = join_copy(db, layer_id, &is_ready, ret_operation, e);
	else if (rc == 0)
		rc = reserve_layer(db, image, &access, host_id, layer_id, e);
	if (rc < 0)
		return rc;
	uuid_text_copy(ret_layer_id, layer_id);
	if (is_ready || ret_operation[0])
		return 0;
	return start_copy(db, engine, image, host_id, layer_id, asked, ret_operation, e);
}

int image_copy_forget_unmade(struct db *db, const char *layer_id, struct err *e)
{
	struct layer_row layer CLEANUP(layer_row_done) = {0};
	char busy[UUID_TEXT_SIZE], kind[64];
	int rc = layer_store_get(db, layer_id, &layer, e);
	if (rc < 0 || !layer.image_id[0] || !str_equal(layer.state, "creating"))
		return rc;
	rc = operation_find_busy(db, layer_id, busy, kind, e);
	return rc < 0 || busy[0] ? rc : forget_unless_needed(db, layer_id, e);
}

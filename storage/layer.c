/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of layers. Writer thread.
 *
 *	reserve -> CREATING -> ready -> READY -> mark_deleting -> DELETING -> forget -> no row
 *
 * A layer that others stand on, that a snapshot holds or that a volume writes cannot be forgotten: the rows' references
 * forbid it.
 */
#include "storage/layer.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "storage/layer_store.h"
#include "storage/volume.h"

int layer_reserve(struct db *db, const struct layer_request *request, char ret_id[UUID_TEXT_SIZE],
        struct err *e)
{
	char id[UUID_TEXT_SIZE];
	if (request->id)
		uuid_text_copy(id, request->id);
	else
		uuid_make(id);
	char *file CLEANUP(cleanup_free) = request->file ? str_format("%s", request->file)
	                                                 : volume_file_name(id, request->format);
	const struct layer_insert row = {
	        .id = id,
	        .pool_id = request->pool_id,
	        .host_id = request->host_id,
	        .file = file,
	        .format = request->format,
	        .size_bytes = request->size_bytes,
	        .backing_id = request->backing_id,
	        .volume_id = request->volume_id,
	        .image_id = request->image_id,
	        .created_at = clock_wall_ms(),
	};
	int rc = layer_store_insert(db, &row, e);
	if (rc == ERR_EXISTS)
		return err_set(e, rc, "%s is in use by another volume of this pool", file);
	if (rc == 0)
		memcpy(ret_id, id, UUID_TEXT_SIZE);
	return rc;
}

int layer_mark_ready(struct db *db, const char *id, struct err *e)
{
	return layer_store_set_state(db, id, "ready", e);
}

int layer_mark_deleting(struct db *db, const char *id, struct err *e)
{
	return layer_store_set_state(db, id, "deleting", e);
}

int layer_forget(struct db *db, const char *id, struct err *e)
{
	return layer_store_delete(db, id, e);
}

int layer_set_backing(struct db *db, const char *id, const char *base_id, struct err *e)
{
	return layer_store_set_backing(db, id, base_id, e);
}

int layer_mark_pulling(struct db *db, const char *id, bool is_pulling, struct err *e)
{
	return layer_store_set_pulling(db, id, is_pulling, e);
}

int layer_set_size(struct db *db, const char *id, int64_t size_bytes, struct err *e)
{
	return layer_store_set_size(db, id, size_bytes, e);
}

static const char *id_or_null(const char *id)
{
	return id[0] ? id : NULL;
}

/* File names are unique in a pool, so the lower row steps aside before the upper one takes its name. */
static int exchange_files(
        struct db *db, const struct layer_row *upper, const struct layer_row *lower, struct err *e)
{
	char *aside CLEANUP(cleanup_free) = str_format("%s merging", lower->file);
	int rc = layer_store_set_file(db, lower->id, aside, lower, NULL, e);
	if (rc == 0)
		rc = layer_store_set_file(
		        db, upper->id, lower->file, lower, id_or_null(lower->backing_id), e);
	if (rc == 0)
		rc = layer_store_set_file(db, lower->id, upper->file, upper, NULL, e);
	return rc < 0 ? rc : layer_mark_deleting(db, lower->id, e);
}

int layer_merge_down(struct db *db, const char *upper_id, const char *lower_id, struct err *e)
{
	struct layer_row upper CLEANUP(layer_row_done) = {0};
	struct layer_row lower CLEANUP(layer_row_done) = {0};
	int rc = layer_store_get(db, lower_id, &lower, e);
	if (rc == ERR_NOT_FOUND || (rc == 0 && str_equal(lower.state, "deleting"))) {
		err_clear(e);
		return 0; /* done before */
	}
	if (rc == 0)
		rc = layer_store_get(db, upper_id, &upper, e);
	if (rc < 0)
		return rc;
	if (!str_equal(upper.backing_id, lower_id))
		return err_set(
		        e, ERR_INTERNAL, "layer %s does not stand on %s", upper_id, lower_id);
	return exchange_files(db, &upper, &lower, e);
}

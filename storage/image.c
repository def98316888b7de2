/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of images. Writer thread. The row is there before its files and leaves after them. */
#include "storage/image.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "db/change_feed.h"
#include "storage/image_address.h"
#include "storage/image_kinds.h"
#include "storage/image_library.h"
#include "storage/image_room.h"
#include "storage/image_store.h"
#include "storage/layer.h"

static int add_change(
        struct db *db, const char *event, const char *id, const char *name, struct err *e)
{
	struct change change = {.kind = "image", .event = event, .object_id = id, .name = name};
	return change_add(db, &change, e);
}

int image_set_state(struct db *db, const char *id, const char *name, const char *state,
        const char *reason, struct err *e)
{
	int rc = image_store_set_state(db, id, state, reason, e);
	if (rc < 0)
		return rc;
	char *data CLEANUP(cleanup_free) = str_format("{\"state\":\"%s\"}", state);
	struct change change = {
	        .kind = "image", .event = "state", .object_id = id, .name = name, .data = data};
	return change_add(db, &change, e);
}

int image_forget(struct db *db, const char *id, const char *name, struct err *e)
{
	int rc = image_store_delete(db, id, e);
	return rc < 0 ? rc : add_change(db, "deleted", id, name, e);
}

static char *stored_form(const struct image_spec *spec)
{
	struct json_writer w = {0};
	field_encode(&image_config_fields, spec, FIELD_ENCODE_STORE, &w);
	return str_take(&w.out);
}

static int name_taken(int rc, const char *name, struct err *e)
{
	if (rc != ERR_EXISTS)
		return rc;
	return err_set_at(e, ERR_EXISTS, "/name", "an image named \"%s\" exists", name);
}

static int check_source(
        const struct image_options *options, const struct image_spec *spec, struct err *e)
{
	if (!spec->url)
		return 0;
	if (options->require_digest && !spec->digest) {
		err_set_at(e, ERR_INVALID, "/digest", "is required for what is fetched");
		return err_hint(e, "option images.require_digest");
	}
	return image_url_check(spec->url, e);
}

static int start(struct db *db, struct operation_engine *engine, const char *kind, const char *id,
        const char *name, json_t *input, const struct operation_asked *asked,
        char ret_operation[UUID_TEXT_SIZE], struct err *e)
{
	const struct operation_request request = {
	        .kind = kind,
	        .target_kind = "image",
	        .target_id = id,
	        .target_name = name,
	        .input = input,
	        .requested_by = asked->requested_by,
	        .request_id = asked->request_id,
	        .deadline_ms = asked->deadline_ms,
	};
	return operation_create(db, engine, &request, ret_operation, e);
}

int image_create(struct db *db, struct images *images, struct operation_engine *engine,
        const struct image_spec *spec, const struct operation_asked *asked,
        char ret_id[UUID_TEXT_SIZE], char ret_operation[UUID_TEXT_SIZE], struct err *e)
{
	char id[UUID_TEXT_SIZE];
	ret_operation[0] = '\0';
	int rc = check_source(images_options(images), spec, e);
	if (rc < 0)
		return rc;
	uuid_make(id);
	char *stored CLEANUP(cleanup_free) = stored_form(spec);
	rc = image_store_insert(db, id, spec->name, stored, spec->url ? "importing" : "uploading",
	        clock_wall_ms(), e);
	if (rc < 0)
		return name_taken(rc, spec->name, e);
	rc = add_change(db, "created", id, spec->name, e);
	if (rc == 0 && spec->url)
		rc = start(
		        db, engine, "image.import", id, spec->name, NULL, asked, ret_operation, e);
	if (rc == 0)
		uuid_text_copy(ret_id, id);
	return rc;
}

static void check_same(
        const char *before, const char *after, const char *pointer, struct field_errors *errors)
{
	if (!str_equal(before, after))
		field_errors_add(errors, "bad_value", pointer, "cannot be changed");
}

int image_replace(struct db *db, const struct image_row *row, const struct image_spec *spec,
        struct field_errors *errors, struct err *e)
{
	check_same(row->spec.url, spec->url, "/url", errors);
	check_same(row->spec.digest, spec->digest, "/digest", errors);
	if (row->spec.has_format != spec->has_format ||
	        (spec->has_format && row->spec.format != spec->format))
		field_errors_add(errors, "bad_value", "/format", "cannot be changed");
	if (errors->len > 0)
		return err_set(e, ERR_INVALID, "what the image was made from cannot be changed");
	char *stored CLEANUP(cleanup_free) = stored_form(spec);
	int rc = image_store_update(db, row->id, spec->name, stored, e);
	return rc < 0 ? name_taken(rc, spec->name, e)
	              : add_change(db, "updated", row->id, spec->name, e);
}

int image_update(struct db *db, const struct image_row *row, json_t *patch,
        struct field_errors *errors, struct err *e)
{
	struct image_spec spec CLEANUP(image_spec_done) = {0};
	struct json_writer w = {0};
	field_encode(&image_write_fields, &row->spec, FIELD_ENCODE_STORE, &w);
	json_t *before CLEANUP(cleanup_json) = json_loads(str_text(&w.out), 0, NULL);
	json_t *after CLEANUP(cleanup_json) = field_merge_patch(before, patch);
	json_writer_done(&w);
	int rc = field_decode(&image_write_fields, after, FIELD_DECODE_CREATE, &spec, errors);
	if (rc < 0)
		return err_set(e, rc, "the patch does not lead to a valid image");
	return image_replace(db, row, &spec, errors, e);
}

/* ---- deleting ---- */

static int check_unused(struct db *db, const struct image_row *row, struct err *e)
{
	char *users CLEANUP(cleanup_free) = NULL;
	char operation[UUID_TEXT_SIZE], kind[64];
	int rc = image_store_users(db, row->id, &users, e);
	if (rc < 0)
		return rc;
	if (users[0]) {
		err_set(e, ERR_IN_USE, "volumes stand on image %s: %s", row->spec.name, users);
		return err_hint(e, "delete them, or make them stand alone, first");
	}
	rc = operation_find_busy(db, row->id, operation, kind, e);
	if (rc == 0 && operation[0])
		return err_set(
		        e, ERR_BUSY, "%s %s works on image %s", kind, operation, row->spec.name);
	return rc;
}

/* Where its copies are, as input of image.delete. */
static int list_copies(struct db *db, const struct image_row *row, json_t *copies, struct err *e)
{
	struct layer_list layers CLEANUP(layer_list_done) = {0};
	int rc = layer_store_of_image(db, row->id, &layers, e);
	for (size_t i = 0; i < layers.len && rc == 0; i++) {
		const struct layer_row *layer = &layers.items[i];
		char host_id[UUID_TEXT_SIZE];
		char operation[UUID_TEXT_SIZE], kind[64];
		rc = operation_find_busy(db, layer->id, operation, kind, e);
		if (rc == 0 && operation[0])
			return err_set(e, ERR_BUSY, "%s %s works on image %s", kind, operation,
			        row->spec.name);
		uuid_text_copy(host_id, layer->host_id);
		if (rc == 0 && !host_id[0])
			rc = pool_choose_host(db, layer->pool_id, host_id, e);
		if (rc == 0)
			rc = layer_mark_deleting(db, layer->id, e);
		if (rc == 0)
			json_array_append_new(copies,
			        json_pack("{s:s,s:s,s:s,s:s}", "layer_id", layer->id, "pool_id",
			                layer->pool_id, "host_id", host_id, "file", layer->file));
	}
	return rc;
}

/* An upload under way would make its file again. */
static int check_no_upload(struct images *images, const struct image_row *row, struct err *e)
{
	if (!images_claim_upload(images, row->id))
		return err_set(e, ERR_BUSY, "image %s is being uploaded", row->spec.name);
	images_release_upload(images, row->id); /* the next one finds it "deleting" */
	return 0;
}

int image_delete(struct db *db, struct images *images, struct operation_engine *engine,
        const struct image_row *row, const struct operation_asked *asked,
        char ret_operation[UUID_TEXT_SIZE], struct err *e)
{
	int rc = check_unused(db, row, e);
	if (rc == 0)
		rc = check_no_upload(images, row, e);
	if (rc < 0)
		return rc;
	json_t *copies = json_array();
	json_t *input CLEANUP(cleanup_json) =
	        json_pack("{s:o,s:s}", "copies", copies, "state", row->state);
	rc = list_copies(db, row, copies, e);
	if (rc == 0)
		rc = image_set_state(db, row->id, row->spec.name, "deleting", "", e);
	if (rc == 0)
		rc = start(db, engine, "image.delete", row->id, row->spec.name, input, asked,
		        ret_operation, e);
	return rc;
}

/* ---- uploads ---- */

int64_t image_max_bytes(const struct image_options *options, const struct image_spec *spec)
{
	if (spec->max_bytes > 0 && spec->max_bytes < options->max_bytes)
		return spec->max_bytes;
	return options->max_bytes;
}

static int refuse_size(int64_t asked, int64_t limit, struct err *e)
{
	err_set(e, ERR_TOO_LARGE, "the image has %lld bytes, at most allowed are %lld",
	        (long long)asked, (long long)limit);
	return err_numbers(e, "{\"asked_bytes\":%lld,\"limit_bytes\":%lld}", (long long)asked,
	        (long long)limit);
}

static int check_upload_state(const struct image_row *row, struct err *e)
{
	if (row->spec.url)
		return err_set(e, ERR_WRONG_STATE, "image %s is fetched from its URL, not uploaded",
		        row->spec.name);
	if (str_equal(row->state, "uploading") || str_equal(row->state, "failed"))
		return 0;
	return err_set(e, ERR_WRONG_STATE, "image %s is %s: its content is there already",
	        row->spec.name, row->state);
}

static int check_upload_range(
        const struct image_row *row, const struct image_upload_range *range, struct err *e)
{
	if (range->first != 0 && range->first != row->received_bytes) {
		err_set(e, ERR_RANGE, "the upload of image %s goes on at byte %lld, not %lld",
		        row->spec.name, (long long)row->received_bytes, (long long)range->first);
		return err_numbers(e, "{\"received_bytes\":%lld}", (long long)row->received_bytes);
	}
	bool is_told = range->first > 0 && row->total_bytes > 0;
	bool is_other = range->total >= 0 && range->total != row->total_bytes;
	bool is_beyond = range->length >= 0 && range->first + range->length > row->total_bytes;
	if (!is_told || (!is_other && !is_beyond))
		return 0;
	err_set(e, ERR_RANGE, "the upload of image %s has %lld bytes in all, not %lld",
	        row->spec.name, (long long)row->total_bytes,
	        (long long)(is_other ? range->total : range->first + range->length));
	return err_numbers(e, "{\"total_bytes\":%lld}", (long long)row->total_bytes);
}

/* What goes on may leave its total to what was told before; -1: nobody told. */
static int64_t total_of(const struct image_row *row, const struct image_upload_range *range)
{
	if (range->total >= 0)
		return range->total;
	return range->first > 0 && row->total_bytes > 0 ? row->total_bytes : -1;
}

int image_upload_begin(struct db *db, struct images *images, const struct image_row *row,
        const struct image_upload_range *range, int64_t *ret_max_bytes, struct err *e)
{
	const struct image_options *options = images_options(images);
	int64_t most = image_max_bytes(options, &row->spec), left = 0;
	int64_t total = total_of(row, range);
	int rc = check_upload_state(row, e);
	if (rc == 0)
		rc = check_upload_range(row, range, e);
	if (rc == 0)
		rc = image_quota_left(db, images, row->id, &left, e);
	if (rc < 0)
		return rc;
	int64_t asked = total >= 0 ? total : range->first + (range->length > 0 ? range->length : 0);
	if (asked > most)
		return refuse_size(asked, most, e);
	if (asked > left)
		return image_quota_refuse(asked, left, e);
	int64_t end = total >= 0 ? total : most; /* image_room.h has the quota's end */
	*ret_max_bytes = range->length >= 0 ? range->length : end - range->first;
	if (str_equal(row->state, "failed"))
		rc = image_set_state(db, row->id, row->spec.name, "uploading", "", e);
	/* The total is recorded before the bytes come, so that the quota counts them. */
	return rc < 0 ? rc
	              : image_store_set_received(
	                        db, row->id, range->first, total >= 0 ? total : 0, e);
}

int image_upload_record(
        struct db *db, const char *id, int64_t received_bytes, int64_t total_bytes, struct err *e)
{
	struct image_row row CLEANUP(image_row_done) = {0};
	int rc = image_store_get(db, id, &row, e);
	if (rc < 0 || !str_equal(row.state, "uploading"))
		return rc;
	return image_store_set_received(
	        db, id, received_bytes, total_bytes >= 0 ? total_bytes : row.total_bytes, e);
}

int image_upload_fail(struct db *db, const char *id, const struct err *error, struct err *e)
{
	struct image_row row CLEANUP(image_row_done) = {0};
	int rc = image_store_get(db, id, &row, e);
	if (rc < 0 || !str_equal(row.state, "uploading"))
		return rc;
	rc = image_store_set_received(db, id, 0, 0, e);
	return rc < 0 ? rc : image_set_state(db, id, row.spec.name, "failed", error->message, e);
}

int image_import_start(struct db *db, struct operation_engine *engine, const struct image_row *row,
        const struct operation_asked *asked, char ret_operation[UUID_TEXT_SIZE], struct err *e)
{
	int rc = image_set_state(db, row->id, row->spec.name, "importing", "", e);
	return rc < 0 ? rc
	              : start(db, engine, "image.import", row->id, row->spec.name, NULL, asked,
	                        ret_operation, e);
}

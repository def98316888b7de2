/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of volumes. Writer thread but for the pure ones.
 *
 *	reserve -> CREATING -> ready -> READY -> mark_deleting -> DELETING
 *	              |                   |                          |
 *	              +------ forget -----+--------- forget ---------+--> no row
 *
 * The row is there before the file and leaves after it: what lies in a pool under an id of ours
 * without a row cannot come from us being killed halfway.
 */
#include "storage/volume.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "db/change_feed.h"
#include "storage/pool_store.h"
#include "storage/volume_operations.h"
#include "storage/volume_store.h"

#define MIB ((int64_t)1 << 20)
#define TIB ((int64_t)1 << 40)

const char *const volume_format_names[] = {"qcow2", "raw", NULL};
static const char *const state_names[] = {"creating", "ready", "deleting", NULL};

static const struct field write_fields[] = {
        {.name = "name",
                .type = FIELD_STRING,
                .offset = offsetof(struct volume_spec, name),
                .flags = FIELD_REQUIRED,
                .max = 63,
                .check = field_check_name,
                .format = "^[a-z][a-z0-9-]{0,62}$",
                .doc = "Unique in the pool on its host"},
        {.name = "host",
                .type = FIELD_STRING,
                .offset = offsetof(struct volume_spec, host),
                .max = 63,
                .check = field_check_text,
                .doc = "The host whose copy of the pool holds it, by name or id; chosen if not "
                       "given"},
        {.name = "format",
                .type = FIELD_ENUM,
                .offset = offsetof(struct volume_spec, format),
                .names = volume_format_names,
                .default_text = "\"qcow2\"",
                .doc = "qcow2 grows as it is written; raw is one plain file"},
        {.name = "size_bytes",
                .type = FIELD_INT,
                .offset = offsetof(struct volume_spec, size_bytes),
                .flags = FIELD_REQUIRED,
                .min = MIB,
                .max = 256 * TIB,
                .doc = "Size as guests see it, in bytes; a multiple of 1 MiB"},
};
const struct field_table volume_write_fields =
        FIELD_TABLE("VolumeWrite", struct volume_spec, write_fields);

/* Described for readers of the API, written by volume_encode. */
#define READ_ONLY .flags = FIELD_READ_ONLY
static const struct field answer_fields[] = {
        {.name = "id", .type = FIELD_STRING, READ_ONLY, .doc = "UUID; the file is named after it"},
        {.name = "name", .type = FIELD_STRING, READ_ONLY, .doc = "Unique in the pool on its host"},
        {.name = "pool", .type = FIELD_STRING, READ_ONLY, .doc = "The pool's name"},
        {.name = "host", .type = FIELD_STRING, READ_ONLY, .doc = "The host's name"},
        {.name = "format",
                .type = FIELD_ENUM,
                .names = volume_format_names,
                READ_ONLY,
                .doc = "As created; recorded, never probed"},
        {.name = "size_bytes", .type = FIELD_INT, READ_ONLY, .doc = "Size as guests see it"},
        {.name = "state",
                .type = FIELD_ENUM,
                .names = state_names,
                READ_ONLY,
                .doc = "ready: the file is there"},
        {.name = "path", .type = FIELD_STRING, READ_ONLY, .doc = "Of the file, on its host"},
        {.name = "vm",
                .type = FIELD_STRING,
                .flags = FIELD_READ_ONLY | FIELD_NULLABLE,
                .doc = "The id of the VM whose disk it is"},
        {.name = "disk",
                .type = FIELD_STRING,
                .flags = FIELD_READ_ONLY | FIELD_NULLABLE,
                .doc = "The disk's name in that VM"},
        {.name = "created_at", .type = FIELD_TIME, READ_ONLY, .doc = "Time of creation"},
        {.name = "version", .type = FIELD_INT, READ_ONLY, .doc = "Counts changes"},
};
const struct field_table volume_fields = FIELD_TABLE("Volume", struct volume_row, answer_fields);

void volume_encode(const struct volume_row *row, struct json_writer *w)
{
	char *path CLEANUP(cleanup_free) = volume_path(row);
	json_object_begin(w);
	json_member_string(w, "id", row->id);
	json_member_string(w, "name", row->name);
	json_member_string(w, "pool", row->pool);
	json_member_string(w, "host", row->host);
	json_member_string(w, "format", row->format);
	json_member_int(w, "size_bytes", row->size_bytes);
	json_member_string(w, "state", row->state);
	json_member_string(w, "path", path);
	json_member_string(w, "vm", row->vm_id);
	json_member_string(w, "disk", row->disk);
	json_member_time(w, "created_at", row->created_at);
	json_member_int(w, "version", row->version);
	json_object_end(w);
}

char *volume_file_name(const char *id, const char *format)
{
	return str_format("%s.%s", id, format);
}

char *volume_path(const struct volume_row *row)
{
	return str_format("%s/%s.%s", row->pool_path, row->id, row->format);
}

static int add_change(struct db *db, const char *event, const char *id, const char *name,
        const char *data, struct err *e)
{
	struct change change = {
	        .kind = "volume", .event = event, .object_id = id, .name = name, .data = data};
	return change_add(db, &change, e);
}

static bool is_known_format(const char *format)
{
	for (int i = 0; volume_format_names[i]; i++)
		if (str_equal(volume_format_names[i], format))
			return true;
	return false;
}

static int check_request(const struct volume_request *request, struct err *e)
{
	if (!is_known_format(request->format))
		return err_set_at(e, ERR_INVALID, "/format", "must be one of qcow2, raw");
	if (request->size_bytes < MIB || request->size_bytes % MIB != 0)
		return err_set_at(e, ERR_INVALID, "/size_bytes",
		        "must be a multiple of 1 MiB (1048576 bytes), not %lld",
		        (long long)request->size_bytes);
	return 0;
}

static int explain_insert(int rc, const struct volume_request *request, struct err *e)
{
	if (rc == ERR_EXISTS)
		return err_set_at(e, rc, "/name", "pool %s has a volume named %s on that host",
		        request->pool, request->name);
	if (rc == ERR_REFERENCE)
		return err_set_at(e, rc, "/host", "there is no such host or VM");
	return rc;
}

int volume_reserve(struct db *db, const struct volume_request *request, char ret_id[UUID_TEXT_SIZE],
        struct err *e)
{
	char pool_id[UUID_TEXT_SIZE];
	int rc = check_request(request, e);
	if (rc < 0)
		return rc;
	rc = pool_store_get_id(db, request->pool, pool_id, e);
	if (rc == ERR_NOT_FOUND)
		return err_set_at(e, ERR_REFERENCE, "/pool", "no pool named %s", request->pool);
	if (rc < 0)
		return rc;
	char id[UUID_TEXT_SIZE];
	uuid_make(id);
	const struct volume_insert row = {
	        .id = id,
	        .name = request->name,
	        .pool_id = pool_id,
	        .host_id = request->host_id,
	        .format = request->format,
	        .size_bytes = request->size_bytes,
	        .vm_id = request->vm_id,
	        .disk = request->disk,
	        .created_at = clock_wall_ms(),
	};
	rc = volume_store_insert(db, &row, e);
	if (rc < 0)
		return explain_insert(rc, request, e);
	memcpy(ret_id, id, UUID_TEXT_SIZE);
	return add_change(db, "created", id, request->name, "{\"state\":\"creating\"}", e);
}

static int set_state(struct db *db, const char *id, const char *state, struct err *e)
{
	struct volume_row row CLEANUP(volume_row_done) = {0};
	int rc = volume_store_get(db, id, &row, e);
	if (rc < 0 || str_equal(row.state, state))
		return rc;
	rc = volume_store_set_state(db, id, state, e);
	if (rc < 0)
		return rc;
	char *data CLEANUP(cleanup_free) = str_format("{\"state\":\"%s\"}", state);
	return add_change(db, "state", id, row.name, data, e);
}

int volume_mark_ready(struct db *db, const char *id, struct err *e)
{
	return set_state(db, id, "ready", e);
}

int volume_mark_deleting(struct db *db, const char *id, struct err *e)
{
	return set_state(db, id, "deleting", e);
}

int volume_forget(struct db *db, const char *id, struct err *e)
{
	struct volume_row row CLEANUP(volume_row_done) = {0};
	int rc = volume_store_get(db, id, &row, e);
	if (rc == ERR_NOT_FOUND) {
		err_clear(e);
		return 0;
	}
	if (rc == 0)
		rc = volume_store_delete(db, id, e);
	return rc < 0 ? rc : add_change(db, "deleted", id, row.name, NULL, e);
}

static int refuse_owned(struct db *db, const struct volume_row *row, struct err *e)
{
	char *vm CLEANUP(cleanup_free) = NULL;
	int rc = volume_store_vm_name(db, row->vm_id, &vm, e);
	if (rc < 0)
		return rc;
	return err_set(e, ERR_IN_USE, "volume %s is disk %s of VM %s", row->name,
	        row->disk ? row->disk : "?", vm ? vm : row->vm_id);
}

static int set_owner(struct db *db, const struct volume_row *row, const char *vm_id,
        const char *disk, struct err *e)
{
	int rc = volume_store_set_owner(db, row->id, vm_id, disk, e);
	return rc < 0 ? rc : add_change(db, "updated", row->id, row->name, NULL, e);
}

int volume_attach(struct db *db, const char *id, const char *vm_id, const char *disk, struct err *e)
{
	struct volume_row row CLEANUP(volume_row_done) = {0};
	int rc = volume_store_get(db, id, &row, e);
	if (rc < 0)
		return rc;
	if (row.vm_id && str_equal(row.vm_id, vm_id) && str_equal(row.disk, disk))
		return 0;
	if (row.vm_id)
		return refuse_owned(db, &row, e);
	if (!str_equal(row.state, "ready"))
		return err_set(e, ERR_WRONG_STATE, "volume %s is %s", row.name, row.state);
	return set_owner(db, &row, vm_id, disk, e);
}

int volume_detach(struct db *db, const char *id, struct err *e)
{
	struct volume_row row CLEANUP(volume_row_done) = {0};
	int rc = volume_store_get(db, id, &row, e);
	if (rc < 0 || !row.vm_id)
		return rc;
	return set_owner(db, &row, NULL, NULL, e);
}

/* ---- as operations ---- */

/* All that the steps need: they run on the core loop, where the row cannot be read. */
static json_t *operation_input_make(const struct volume_row *row)
{
	return json_pack("{s:s, s:s, s:s, s:I}", "pool", row->pool, "path", row->pool_path,
	        "format", row->format, "size_bytes", (json_int_t)row->size_bytes);
}

static int start(struct db *db, struct operation_engine *engine, const char *kind,
        const struct volume_row *row, const struct volume_asked *asked,
        char ret_operation[UUID_TEXT_SIZE], struct err *e)
{
	json_t *input = operation_input_make(row);
	struct operation_request request = {
	        .kind = kind,
	        .target_kind = "volume",
	        .target_id = row->id,
	        .target_name = row->name,
	        .host_id = row->host_id,
	        .input = input,
	        .requested_by = asked->requested_by,
	        .request_id = asked->request_id,
	        .deadline_ms = asked->deadline_ms,
	};
	int rc = operation_create(db, engine, &request, ret_operation, e);
	json_decref(input);
	return rc;
}

int volume_create(struct db *db, struct operation_engine *engine,
        const struct volume_request *request, const struct volume_asked *asked,
        char ret_operation[UUID_TEXT_SIZE], char ret_id[UUID_TEXT_SIZE], struct err *e)
{
	struct volume_row row CLEANUP(volume_row_done) = {0};
	int rc = volume_reserve(db, request, ret_id, e);
	if (rc == 0)
		rc = volume_store_get(db, ret_id, &row, e);
	return rc < 0 ? rc : start(db, engine, "volume.create", &row, asked, ret_operation, e);
}

int volume_delete(struct db *db, struct operation_engine *engine, const struct volume_row *row,
        const struct volume_asked *asked, char ret_operation[UUID_TEXT_SIZE], struct err *e)
{
	if (row->vm_id) {
		int rc = refuse_owned(db, row, e);
		err_hint(e, "remove the disk from the VM first");
		return rc;
	}
	char busy[UUID_TEXT_SIZE] = "", kind[64] = "";
	int rc = operation_find_busy(db, row->id, busy, kind, e);
	if (rc < 0)
		return rc;
	if (busy[0])
		return err_set(e, ERR_BUSY, "operation %s (%s) is working on volume %s", busy, kind,
		        row->name);
	rc = volume_mark_deleting(db, row->id, e);
	return rc < 0 ? rc : start(db, engine, "volume.delete", row, asked, ret_operation, e);
}

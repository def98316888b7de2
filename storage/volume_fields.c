/* SPDX-License-Identifier: Apache-2.0 */
/* What a user writes of a volume, and what the API answers. */
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "storage/layer.h"
#include "storage/volume_operations.h"
#include "storage/volume_store.h"
#include "storage/volume_work_store.h"

#define MIB ((int64_t)1 << 20)
#define TIB ((int64_t)1 << 40)

const char *const volume_format_names[] = {"qcow2", "raw", NULL};
static const char *const state_names[] = {"creating", "ready", "deleting", NULL};

/* A name in the pool, never a path out of it. */
static const char *check_existing_file(const char *text)
{
	if (!text[0] || text[0] == '.' || strchr(text, '/'))
		return "must be the name of a volume in the pool, not a path";
	return field_check_text(text);
}

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
                .present = offsetof(struct volume_spec, has_format),
                .names = volume_format_names,
                .doc = "qcow2 grows as it is written; raw is one plain file. Left out: qcow2, or "
                       "raw in "
                       "a pool that holds no files"},
        {.name = "allocation",
                .type = FIELD_ENUM,
                .offset = offsetof(struct volume_spec, allocation),
                .names = volume_allocation_names,
                .default_text = "\"thin\"",
                .doc = "thin takes space as it is written, full takes all of it now"},
        {.name = "existing_file",
                .type = FIELD_STRING,
                .offset = offsetof(struct volume_spec, existing_file),
                .max = 255,
                .check = check_existing_file,
                .doc = "In a pool of volumes that others make (iscsi-direct, nfs): the name of the "
                       "one to "
                       "register. It is never deleted by Berth"},
        {.name = "size_bytes",
                .type = FIELD_INT,
                .offset = offsetof(struct volume_spec, size_bytes),
                .present = offsetof(struct volume_spec, has_size),
                .min = MIB,
                .max = 256 * TIB,
                .doc = "Size as guests see it, in bytes; a multiple of 1 MiB. May be left out only "
                       "for an "
                       "existing file whose size the pool tells"},
};
const struct field_table volume_write_fields =
        FIELD_TABLE("VolumeWrite", struct volume_spec, write_fields);

/* Described for readers of the API, written by volume_encode. */
#define READ_ONLY .flags = FIELD_READ_ONLY
struct chain_snapshot {
	char *id, *name;
};
static const struct field snapshot_fields[] = {
        {.name = "id", .type = FIELD_STRING, READ_ONLY, .doc = "UUID"},
        {.name = "name", .type = FIELD_STRING, READ_ONLY, .doc = "Its name in its VM"},
};
static const struct field_table snapshot_table =
        FIELD_TABLE("VolumeLayerSnapshot", struct chain_snapshot, snapshot_fields);
static const struct field layer_fields[] = {
        {.name = "layer", .type = FIELD_STRING, READ_ONLY, .doc = "UUID of the layer"},
        {.name = "pool", .type = FIELD_STRING, READ_ONLY, .doc = "The name of the pool it lies in"},
        {.name = "file", .type = FIELD_STRING, READ_ONLY, .doc = "Its name in that pool"},
        {.name = "path",
                .type = FIELD_STRING,
                READ_ONLY,
                .doc = "As the hypervisor is told: of a file, or within a network protocol"},
        {.name = "format",
                .type = FIELD_ENUM,
                .names = volume_format_names,
                READ_ONLY,
                .doc = "As recorded, never probed"},
        {.name = "size_bytes", .type = FIELD_INT, READ_ONLY, .doc = "Size as guests see it"},
        {.name = "allocation_bytes",
                .type = FIELD_INT,
                READ_ONLY,
                .doc = "Space taken in the pool, as last seen"},
        {.name = "image",
                .type = FIELD_STRING,
                .flags = FIELD_READ_ONLY | FIELD_NULLABLE,
                .doc = "The id of the image whose copy it is"},
        {.name = "snapshots",
                .type = FIELD_LIST,
                READ_ONLY,
                .sub = &snapshot_table,
                .doc = "The snapshots that hold it"},
        {.name = "drift",
                .type = FIELD_STRING,
                READ_ONLY,
                .doc = "How the file differs from what is recorded; empty: it does not"},
};
static const struct field_table layer_table =
        FIELD_TABLE("VolumeLayer", struct layer_row, layer_fields);
static const struct field answer_fields[] = {
        {.name = "id", .type = FIELD_STRING, READ_ONLY, .doc = "UUID; the file is named after it"},
        {.name = "name", .type = FIELD_STRING, READ_ONLY, .doc = "Unique in the pool on its host"},
        {.name = "pool", .type = FIELD_STRING, READ_ONLY, .doc = "The pool's name"},
        {.name = "host",
                .type = FIELD_STRING,
                .flags = FIELD_READ_ONLY | FIELD_NULLABLE,
                .doc = "The host's name; null in a shared pool"},
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
        {.name = "vm",
                .type = FIELD_STRING,
                .flags = FIELD_READ_ONLY | FIELD_NULLABLE,
                .doc = "The id of the VM whose disk it is"},
        {.name = "disk",
                .type = FIELD_STRING,
                .flags = FIELD_READ_ONLY | FIELD_NULLABLE,
                .doc = "The disk's name in that VM"},
        {.name = "vm_name",
                .type = FIELD_STRING,
                .flags = FIELD_READ_ONLY | FIELD_NULLABLE,
                .doc = "That VM's name"},
        {.name = "allocation_bytes",
                .type = FIELD_INT,
                READ_ONLY,
                .doc = "Space that its own layers take, as last seen"},
        {.name = "chain",
                .type = FIELD_LIST,
                READ_ONLY,
                .sub = &layer_table,
                .doc = "Its layers, the one that is written first; what it is a linked clone of, "
                       "too"},
        {.name = "drift",
                .type = FIELD_STRING,
                READ_ONLY,
                .doc = "How its files differ from what is recorded; empty: they do not"},
        {.name = "created_at", .type = FIELD_TIME, READ_ONLY, .doc = "Time of creation"},
        {.name = "version", .type = FIELD_INT, READ_ONLY, .doc = "Counts changes"},
};
const struct field_table volume_fields = FIELD_TABLE("Volume", struct volume_row, answer_fields);

static void encode_snapshot(void *arg, const char *id, const char *name)
{
	struct json_writer *w = arg;
	json_object_begin(w);
	json_member_string(w, "id", id);
	json_member_string(w, "name", name);
	json_object_end(w);
}

static int encode_layer(struct db *db, const struct layer_chain *chain, size_t i,
        struct json_writer *w, struct err *e)
{
	const struct layer_row *row = &chain->layers[i];
	json_object_begin(w);
	json_member_string(w, "layer", row->id);
	json_member_string(w, "pool", chain->pools[i]->name);
	json_member_string(w, "file", row->file);
	json_member_string(w, "path", chain->paths[i]);
	json_member_string(w, "format", row->format);
	json_member_int(w, "size_bytes", row->size_bytes);
	json_member_int(w, "allocation_bytes", row->allocation_bytes);
	json_member_string(w, "image", row->image_id[0] ? row->image_id : NULL);
	json_key(w, "snapshots");
	json_array_begin(w);
	int rc = volume_store_layer_snapshots(db, row->id, encode_snapshot, w, e);
	json_array_end(w);
	json_member_string(w, "drift", row->drift);
	json_object_end(w);
	return rc;
}

static int encode_chain(
        struct db *db, const struct volume_row *row, struct json_writer *w, struct err *e)
{
	struct layer_chain chain CLEANUP(layer_chain_done) = {0};
	int rc = layer_chain_load(db, row->layer_id, &chain, e);
	json_key(w, "chain");
	json_array_begin(w);
	for (size_t i = 0; i < chain.len && rc == 0; i++)
		rc = encode_layer(db, &chain, i, w, e);
	json_array_end(w);
	return rc;
}

int volume_encode(struct db *db, const struct volume_row *row, struct json_writer *w, struct err *e)
{
	char *vm_name CLEANUP(cleanup_free) = NULL;
	int64_t allocation_bytes = 0;
	int rc = row->vm_id ? volume_store_vm_name(db, row->vm_id, &vm_name, e) : 0;
	if (rc == 0)
		rc = volume_store_allocation(db, row->id, &allocation_bytes, e);
	if (rc < 0)
		return rc;
	json_object_begin(w);
	json_member_string(w, "id", row->id);
	json_member_string(w, "name", row->name);
	json_member_string(w, "pool", row->pool);
	json_member_string(w, "host", row->host);
	json_member_string(w, "format", row->format);
	json_member_int(w, "size_bytes", row->size_bytes);
	json_member_string(w, "state", row->state);
	json_member_string(w, "vm", row->vm_id);
	json_member_string(w, "disk", row->disk);
	json_member_string(w, "vm_name", vm_name);
	json_member_int(w, "allocation_bytes", allocation_bytes);
	rc = encode_chain(db, row, w, e);
	json_member_string(w, "drift", row->drift);
	json_member_time(w, "created_at", row->created_at);
	json_member_int(w, "version", row->version);
	json_object_end(w);
	return rc;
}

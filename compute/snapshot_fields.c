/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots as the API shows and takes them. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "base/vec.h"
#include "compute/snapshot_internal.h"
#include "compute/snapshot_tree.h"
#include "storage/layer.h"

#define NAME_FIELD                                                                                 \
	{                                                                                          \
		.name = "name", .type = FIELD_STRING,                                              \
		.offset = offsetof(struct snapshot_spec, name), .flags = FIELD_REQUIRED,           \
		.max = 63, .check = field_check_name, .format = "^[a-z][a-z0-9-]{0,62}$",          \
		.doc = "Unique among the VM's snapshots"                                           \
	}
#define TEXT_FIELDS                                                                                \
	{.name = "description",                                                                    \
	        .type = FIELD_STRING,                                                              \
	        .offset = offsetof(struct snapshot_spec, description),                             \
	        .max = 1024,                                                                       \
	        .check = field_check_text,                                                         \
	        .doc = "Free text"},                                                               \
	{                                                                                          \
		.name = "expires_at", .type = FIELD_TIME,                                          \
		.offset = offsetof(struct snapshot_spec, expires_at),                              \
		.doc = "When it is deleted by itself; null: never"                                 \
	}

static const struct field write_fields[] = {
        NAME_FIELD,
        TEXT_FIELDS,
        {.name = "memory",
                .type = FIELD_BOOL,
                .offset = offsetof(struct snapshot_spec, memory),
                .doc = "With the memory of a running or paused guest, which goes on meanwhile"},
        {.name = "quiesce",
                .type = FIELD_BOOL,
                .offset = offsetof(struct snapshot_spec, quiesce),
                .doc = "The running guest's filesystems are frozen by its agent for that moment"},
};
const struct field_table snapshot_write_fields =
        FIELD_TABLE("SnapshotWrite", struct snapshot_spec, write_fields);

static const struct field change_fields[] = {NAME_FIELD, TEXT_FIELDS};
const struct field_table snapshot_change_fields =
        FIELD_TABLE("SnapshotChange", struct snapshot_spec, change_fields);

static const struct field revert_fields[] = {
        {.name = "power",
                .type = FIELD_ENUM,
                .offset = offsetof(struct snapshot_revert_spec, power),
                .names = snapshot_power_names,
                .doc = "What the VM is afterwards; as_recorded: what it was"},
};
const struct field_table snapshot_revert_fields =
        FIELD_TABLE("SnapshotRevert", struct snapshot_revert_spec, revert_fields);

/* Described for readers of the API, written by snapshot_encode. */
#define ANSWER(member, type_, doc_)                                                                \
	{                                                                                          \
		.name = member, .type = type_, .flags = FIELD_READ_ONLY, .doc = doc_               \
	}
static const struct field bytes_fields[] = {
        ANSWER("memory_bytes", FIELD_INT, "Of the file with the guest's memory"),
        ANSWER("disk_bytes", FIELD_INT, "Allocated by the layers that it holds, as last seen"),
};
static const struct field_table bytes_table =
        FIELD_TABLE("SnapshotBytes", struct snapshot_row, bytes_fields);
static const struct field chain_fields[] = {
        ANSWER("depth", FIELD_INT, "Layers of the longest chain that it holds, images' included"),
        ANSWER("limit", FIELD_INT, "How many are allowed"),
        {.name = "full_at",
                .type = FIELD_TIME,
                .flags = FIELD_READ_ONLY | FIELD_NULLABLE,
                .doc = "Of the current one: when the limit is reached at the pace of the last "
                       "snapshots; null: too few to tell"},
};
static const struct field_table chain_table =
        FIELD_TABLE("SnapshotChain", struct snapshot_row, chain_fields);
static const struct field answer_fields[] = {
        ANSWER("id", FIELD_STRING, "UUID"),
        ANSWER("name", FIELD_STRING, "Unique among the VM's snapshots"),
        ANSWER("description", FIELD_STRING, "Free text"),
        {.name = "parent",
                .type = FIELD_STRING,
                .flags = FIELD_READ_ONLY | FIELD_NULLABLE,
                .doc = "The snapshot it descends from; null: a root"},
        ANSWER("children", FIELD_STRINGS, "Those that descend from it directly, oldest first"),
        ANSWER("is_current", FIELD_BOOL, "The VM's current state descends from it directly"),
        {.name = "kind",
                .type = FIELD_ENUM,
                .names = snapshot_kind_names,
                .flags = FIELD_READ_ONLY,
                .doc = "memory: of a running guest with its memory; disk: its disks alone; "
                       "stopped: of a stopped VM"},
        {.name = "state",
                .type = FIELD_ENUM,
                .names = snapshot_state_names,
                .flags = FIELD_READ_ONLY,
                .doc = "deleting: some of its layers still wait to be merged"},
        {.name = "power",
                .type = FIELD_ENUM,
                .names = vm_power_names,
                .flags = FIELD_READ_ONLY,
                .doc = "What the VM was at that moment"},
        ANSWER("quiesced", FIELD_BOOL, "The guest's filesystems were frozen at that moment"),
        ANSWER("disks", FIELD_STRINGS, "The disks whose content it holds"),
        {.name = "size",
                .type = FIELD_OBJECT,
                .flags = FIELD_READ_ONLY,
                .sub = &bytes_table,
                .doc = "What it takes"},
        {.name = "chain",
                .type = FIELD_OBJECT,
                .flags = FIELD_READ_ONLY,
                .sub = &chain_table,
                .doc = "How deep its layers lie"},
        {.name = "expires_at",
                .type = FIELD_TIME,
                .flags = FIELD_READ_ONLY | FIELD_NULLABLE,
                .doc = "When it is deleted by itself"},
        ANSWER("created_at", FIELD_TIME, "When it was asked for"),
        ANSWER("version", FIELD_INT, "Counts changes"),
};
const struct field_table snapshot_fields =
        FIELD_TABLE("Snapshot", struct snapshot_row, answer_fields);

json_t *snapshot_patch_base(const struct snapshot_row *row)
{
	json_t *base = json_pack("{s:s, s:s}", "name", row->name, "description", row->description);
	char expires_at[CLOCK_TEXT_SIZE];
	clock_format(row->expires_at, expires_at);
	if (row->expires_at)
		json_object_set_new(base, "expires_at", json_string(expires_at));
	return base;
}

static int encode_children(struct db *db, const char *id, struct json_writer *w, struct err *e)
{
	char **names = NULL;
	size_t n = 0;
	int rc = snapshot_store_children(db, id, &names, &n, e);
	json_key(w, "children");
	json_array_begin(w);
	for (size_t i = 0; i < n; i++) {
		json_put_string(w, names[i]);
		free(names[i]);
	}
	json_array_end(w);
	free(names);
	return rc;
}

static int encode_disks(struct db *db, const struct snapshot_disks *disks, struct json_writer *w,
        int64_t *ret_depth, struct err *e)
{
	int rc = 0;
	*ret_depth = 0;
	json_key(w, "disks");
	json_array_begin(w);
	for (size_t i = 0; i < disks->len; i++) {
		int64_t depth = 0;
		json_put_string(w, disks->items[i].disk);
		if (rc == 0)
			rc = snapshot_layer_depth(db, disks->items[i].layer_id, &depth, e);
		*ret_depth = depth > *ret_depth ? depth : *ret_depth;
	}
	json_array_end(w);
	return rc;
}

/* From the times of the VM's snapshots, oldest first. */
static int forecast(struct db *db, const struct snapshot_row *row, int64_t depth, int64_t *ret_at,
        struct err *e)
{
	VEC(int64_t) times = {0};
	struct snapshot_row *rows = NULL;
	size_t n = 0;
	int rc = snapshot_store_of_vm(db, row->vm_id, &rows, &n, e);
	for (size_t i = 0; i < n; i++) {
		VEC_PUSH(&times, rows[i].created_at);
		snapshot_row_done(&rows[i]);
	}
	free(rows);
	*ret_at = snapshot_tree_forecast(
	        times.items, times.len, layer_max_chain_depth() - depth, clock_wall_ms());
	VEC_DONE(&times);
	return rc;
}

static int encode_chain(struct db *db, const struct snapshot_row *row, int64_t depth,
        struct json_writer *w, struct err *e)
{
	int64_t full_at = 0;
	int rc = row->is_current ? forecast(db, row, depth + 1, &full_at, e) : 0;
	json_key(w, "chain");
	json_object_begin(w);
	json_member_int(w, "depth", depth);
	json_member_int(w, "limit", layer_max_chain_depth());
	json_member_time(w, "full_at", full_at);
	json_object_end(w);
	return rc;
}

static void encode_size(const struct snapshot_row *row, struct json_writer *w)
{
	json_key(w, "size");
	json_object_begin(w);
	json_member_int(w, "memory_bytes", row->memory_bytes);
	json_member_int(w, "disk_bytes", row->disk_bytes);
	json_object_end(w);
}

int snapshot_encode(
        struct db *db, const struct snapshot_row *row, struct json_writer *w, struct err *e)
{
	struct snapshot_disks disks CLEANUP(snapshot_disks_done) = {0};
	int64_t depth = 0;
	json_object_begin(w);
	json_member_string(w, "id", row->id);
	json_member_string(w, "name", row->name);
	json_member_string(w, "description", row->description);
	json_member_string(w, "parent", row->parent);
	int rc = encode_children(db, row->id, w, e);
	json_member_bool(w, "is_current", row->is_current);
	json_member_string(w, "kind", snapshot_kind_names[row->kind]);
	json_member_string(w, "state", snapshot_state_names[row->state]);
	json_member_string(w, "power", vm_power_names[row->power]);
	json_member_bool(w, "quiesced", row->quiesced);
	if (rc == 0)
		rc = snapshot_store_disks(db, row->id, &disks, e);
	if (rc == 0)
		rc = encode_disks(db, &disks, w, &depth, e);
	encode_size(row, w);
	if (rc == 0)
		rc = encode_chain(db, row, depth, w, e);
	json_member_time(w, "expires_at", row->expires_at);
	json_member_time(w, "created_at", row->created_at);
	json_member_int(w, "version", row->version);
	json_object_end(w);
	return rc;
}

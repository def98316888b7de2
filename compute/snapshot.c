/* SPDX-License-Identifier: Apache-2.0 */
/* Rules of snapshots that several of their operations share. */
#include "compute/snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "base/vec.h"
#include "compute/snapshot_internal.h"
#include "compute/vm_live.h"
#include "db/change_feed.h"

#define OVERLAY_UNIT_BYTES 1024

const char *const snapshot_kind_names[] = {"memory", "disk", "stopped", NULL};
const char *const snapshot_state_names[] = {"creating", "ready", "deleting", NULL};
const char *const snapshot_power_names[] = {"as_recorded", "running", "stopped", NULL};

void snapshot_register_kinds(struct operation_engine *engine)
{
	operation_engine_register(engine, &snapshot_create_kind);
	operation_engine_register(engine, &snapshot_revert_kind);
	operation_engine_register(engine, &snapshot_delete_kind);
	operation_engine_register(engine, &snapshot_sweep_kind);
}

const char *snapshot_id_of(json_t *input)
{
	const char *id = json_string_value(json_object_get(input, "snapshot"));
	return id ? id : "";
}

int snapshot_add_change(
        struct db *db, const char *event, const struct snapshot_row *row, struct err *e)
{
	char *data CLEANUP(cleanup_free) = str_format("{\"vm\":\"%s\"}", row->vm_id);
	const struct change change = {.kind = "snapshot",
	        .event = event,
	        .object_id = row->id,
	        .name = row->name,
	        .data = data};
	return change_add(db, &change, e);
}

int snapshot_check_vm(
        struct db *db, const struct vm_row *vm, const struct vm_request *asked, struct err *e)
{
	int rc = vm_check_managed(vm, e);
	if (rc == 0 && vm->adopted)
		return err_set(e, ERR_UNSUPPORTED,
		        "VM %s was adopted: its disks are not Berth's, so there are no snapshots "
		        "of it",
		        vm->name);
	return rc < 0 ? rc : vm_check_host(asked, db, vm->host_id, e);
}

int snapshot_refuse_suspended(const struct vm_row *vm, const char *what, struct err *e)
{
	if (vm->recorded_power != POWER_SUSPENDED)
		return 0;
	err_set(e, ERR_WRONG_STATE, "VM %s is suspended to disk: %s", vm->name, what);
	return err_hint(e, "start it first");
}

int snapshot_check_awake(struct db *db, const struct vm_row *vm, const char *what, struct err *e)
{
	char busy[UUID_TEXT_SIZE], kind[64];
	int rc = operation_find_busy(db, vm->id, busy, kind, e);
	return rc < 0 || busy[0] ? rc : snapshot_refuse_suspended(vm, what, e);
}

int snapshot_update(struct db *db, const struct snapshot_row *row, const char *name,
        const char *description, int64_t expires_at, struct err *e)
{
	if (!name)
		name = row->name;
	if (!description)
		description = row->description;
	if (expires_at < 0)
		expires_at = row->expires_at;
	if (str_equal(name, row->name) && str_equal(description, row->description) &&
	        expires_at == row->expires_at)
		return 0;
	int rc = snapshot_store_update(db, row->id, name, description, expires_at, e);
	if (rc == ERR_EXISTS)
		return err_set_at(e, rc, "/name", "the VM has a snapshot named %s", name);
	return rc < 0 ? rc : snapshot_add_change(db, "updated", row, e);
}

/* ---- chains ---- */

int snapshot_layer_depth(struct db *db, const char *layer_id, int64_t *ret_depth, struct err *e)
{
	char next[UUID_TEXT_SIZE];
	uuid_text_copy(next, layer_id);
	for (*ret_depth = 0; next[0] && *ret_depth <= LAYER_CHAIN_MAX; ++*ret_depth) {
		struct layer_row row CLEANUP(layer_row_done) = {0};
		int rc = layer_store_get(db, next, &row, e);
		if (rc < 0)
			return rc;
		uuid_text_copy(next, row.backing_id);
	}
	return 0;
}

int snapshot_check_depth(struct db *db, const char *disk, const char *layer_id, struct err *e)
{
	int64_t depth = 0, limit = layer_max_chain_depth();
	int rc = snapshot_layer_depth(db, layer_id, &depth, e);
	if (rc < 0 || depth < limit)
		return rc;
	err_set(e, ERR_LIMIT,
	        "disk %s would have a chain of %lld layers, and %lld are allowed "
	        "(storage.max_chain_depth)",
	        disk, (long long)depth + 1, (long long)limit);
	err_numbers(e, "{\"depth\":%lld,\"asked\":%lld,\"limit\":%lld}", (long long)depth,
	        (long long)depth + 1, (long long)limit);
	err_hint(e, "delete %lld or more of its older snapshots: each takes a layer away",
	        (long long)(depth + 1 - limit));
	return ERR_LIMIT;
}

/* Releases all volumes of an array that volume_store_of_vm made. */
static void free_volumes(struct volume_row *volumes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		volume_row_done(&volumes[i]);
	free(volumes);
}

int snapshot_chain_depth(
        struct db *db, const char *vm_id, int64_t *ret_depth, char ret_disk[64], struct err *e)
{
	struct volume_row *volumes = NULL;
	size_t n = 0;
	int rc = volume_store_of_vm(db, vm_id, &volumes, &n, e);
	*ret_depth = 0;
	ret_disk[0] = '\0';
	for (size_t i = 0; i < n && rc == 0; i++) {
		int64_t depth = 0;
		rc = snapshot_layer_depth(db, volumes[i].layer_id, &depth, e);
		if (rc == 0 && depth > *ret_depth) {
			*ret_depth = depth;
			snprintf(ret_disk, 64, "%s", volumes[i].disk);
		}
	}
	free_volumes(volumes, n);
	return rc;
}

/* ---- what a snapshot keeps ---- */

void snapshot_sources_done(struct snapshot_sources *sources)
{
	free(sources->items);
	*sources = (struct snapshot_sources){0};
}

/* Where the files of a snapshot of that volume lie. */
static int find_files(struct db *db, const struct volume_row *volume, const char *host_id,
        char ret_id[UUID_TEXT_SIZE], struct err *e)
{
	struct layer_row top CLEANUP(layer_row_done) = {0};
	struct pool_access files CLEANUP(pool_access_done) = {0};
	int rc = layer_store_get(db, volume->layer_id, &top, e);
	if (rc == 0)
		rc = pool_choose_files(db, top.pool_id, host_id, &files, e);
	if (rc < 0)
		return err_prefix(e, "disk %s", volume->disk);
	uuid_text_copy(ret_id, files.id);
	return 0;
}

/* libvirt makes files in units of 1 KiB: on a device of another size an overlay would be larger, and not go back into it. */
static int check_size(const struct volume_row *volume, struct err *e)
{
	if (volume->size_bytes % OVERLAY_UNIT_BYTES == 0)
		return 0;
	err_set(e, ERR_UNSUPPORTED, "disk %s has %lld bytes, and overlays have a multiple of %d",
	        volume->disk, (long long)volume->size_bytes, OVERLAY_UNIT_BYTES);
	return err_hint(e, "a LUN that an earlier version registered is a sector short: delete its "
	                   "volume, which leaves the LUN, and register it again");
}

static int check_source(struct db *db, const struct volume_row *volume, struct err *e)
{
	int rc = snapshot_check_depth(db, volume->disk, volume->layer_id, e);
	if (rc == 0)
		rc = check_size(volume, e);
	if (rc == 0 && !str_is_empty(volume->drift))
		return err_set(e, ERR_UNPROCESSABLE, "disk %s differs from what is recorded: %s",
		        volume->disk, volume->drift);
	return rc;
}

static const struct volume_row *find_volume(
        const struct volume_row *volumes, size_t n, const char *disk)
{
	for (size_t i = 0; i < n; i++)
		if (str_equal(volumes[i].disk, disk))
			return &volumes[i];
	return NULL;
}

static struct snapshot_source source_of(const struct volume_row *volume)
{
	struct snapshot_source source = {.size_bytes = volume->size_bytes};
	snprintf(source.disk, sizeof(source.disk), "%s", volume->disk);
	uuid_text_copy(source.volume_id, volume->id);
	uuid_text_copy(source.layer_id, volume->layer_id);
	return source;
}

int snapshot_find_sources(struct db *db, const struct vm_row *vm, const struct vm_spec *spec,
        struct snapshot_sources *ret_sources, struct err *e)
{
	VEC(struct snapshot_source) sources = {0};
	struct volume_row *volumes = NULL;
	size_t n = 0;
	int rc = volume_store_of_vm(db, vm->id, &volumes, &n, e);
	for (size_t i = 0; i < spec->disks.len && rc == 0; i++) {
		const struct vm_disk *disk = vm_spec_disk(spec, i);
		const struct volume_row *volume = find_volume(volumes, n, disk->name);
		if (disk->kind == VM_DISK_CDROM || !volume)
			continue; /* a medium is not written */
		struct snapshot_source source = source_of(volume);
		rc = check_source(db, volume, e);
		if (rc == 0)
			rc = find_files(db, volume, vm->host_id, source.files_id, e);
		if (rc == 0)
			VEC_PUSH(&sources, source);
	}
	free_volumes(volumes, n);
	if (rc < 0)
		VEC_DONE(&sources);
	else
		*ret_sources =
		        (struct snapshot_sources){.items = sources.items, .len = sources.len};
	return rc;
}

/* ---- overlays ---- */

int snapshot_find_overlay(struct db *db, const char *layer_id, const char *volume_id,
        char ret_id[UUID_TEXT_SIZE], struct err *e)
{
	struct layer_list children CLEANUP(layer_list_done) = {0};
	int rc = layer_store_children(db, layer_id, &children, e);
	ret_id[0] = '\0';
	for (size_t i = 0; i < children.len && rc == 0; i++)
		if (str_equal(children.items[i].state, "creating") &&
		        str_equal(children.items[i].volume_id, volume_id))
			uuid_text_copy(ret_id, children.items[i].id);
	return rc;
}

int snapshot_reserve_overlay(struct db *db, const char *layer_id, const char *volume_id,
        const char *host_id, struct err *e)
{
	struct layer_row below CLEANUP(layer_row_done) = {0};
	struct pool_access files CLEANUP(pool_access_done) = {0};
	char id[UUID_TEXT_SIZE];
	int rc = snapshot_find_overlay(db, layer_id, volume_id, id, e);
	if (rc < 0 || id[0])
		return rc;
	rc = layer_store_get(db, layer_id, &below, e);
	if (rc == 0)
		rc = pool_choose_files(db, below.pool_id, host_id, &files, e);
	if (rc < 0)
		return rc;
	const struct layer_request request = {
	        .pool_id = files.id,
	        .host_id = files.shared ? NULL : host_id,
	        .format = "qcow2",
	        .size_bytes = below.size_bytes,
	        .backing_id = layer_id,
	        .volume_id = volume_id,
	};
	return layer_reserve(db, &request, id, e);
}

int snapshot_forget_overlays(struct db *db, const struct snapshot_disks *disks, struct err *e)
{
	int rc = 0;
	for (size_t i = 0; i < disks->len && rc == 0; i++) {
		char id[UUID_TEXT_SIZE];
		rc = snapshot_find_overlay(
		        db, disks->items[i].layer_id, disks->items[i].volume_id, id, e);
		if (rc == 0 && id[0])
			rc = layer_forget(db, id, e);
	}
	return rc;
}

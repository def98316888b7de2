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
#include "storage/layer.h"
#include "storage/pool_store.h"
#include "storage/volume_operations.h"
#include "storage/volume_store.h"

#define MIB ((int64_t)1 << 20)

char *volume_file_name(const char *id, const char *format)
{
	return str_format("%s.%s", id, format);
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

/* What a request becomes once its pool is known. */
struct reservation {
	const struct volume_request *request;
	struct pool_access pool;
	const char *host_id; /* NULL: shared */
	char id[UUID_TEXT_SIZE];
};

static void reservation_done(struct reservation *r)
{
	pool_access_done(&r->pool);
}

static int find_pool(struct db *db, struct reservation *r, struct err *e)
{
	char pool_id[UUID_TEXT_SIZE];
	int rc = pool_store_get_id(db, r->request->pool, pool_id, e);
	if (rc == ERR_NOT_FOUND)
		return err_set_at(e, ERR_REFERENCE, "/pool", "no pool named %s", r->request->pool);
	if (rc < 0 || (rc = pool_access_load(db, pool_id, &r->pool, e)) < 0)
		return rc;
	r->host_id = r->pool.shared ? NULL : r->request->host_id;
	bool adopts = r->pool.kind->flags & POOL_ADOPT_ONLY;
	if (!adopts && r->request->existing_file)
		return err_set_at(e, ERR_UNSUPPORTED, "/existing_file",
		        "Berth makes its own volumes in pool %s (%s)", r->pool.name,
		        r->pool.kind->name);
	if (adopts && !r->request->existing_file)
		return err_set(e, ERR_UNSUPPORTED,
		        "Berth cannot make volumes in pool %s (%s): only existing ones can be "
		        "registered",
		        r->pool.name, r->pool.kind->name);
	if (!r->request->files && !(r->pool.kind->flags & POOL_FILES) &&
	        !str_equal(r->request->format, "raw"))
		return err_set_at(e, ERR_UNSUPPORTED, "/format",
		        "pool %s (%s) holds raw volumes only", r->pool.name, r->pool.kind->name);
	return adopts ? pool_check_file_is_free(db, &r->pool, r->request->existing_file, e)
	              : pool_check_room(db, &r->pool, r->host_id, r->request->size_bytes,
	                        r->request->full, e);
}

static int insert_volume(struct db *db, const struct reservation *r, struct err *e)
{
	const struct volume_request *request = r->request;
	const struct volume_insert row = {
	        .id = r->id,
	        .name = request->name,
	        .pool_id = r->pool.id,
	        .host_id = r->host_id,
	        .format = request->format,
	        .size_bytes = request->size_bytes,
	        .layer_id = r->id,
	        .vm_id = request->vm_id,
	        .disk = request->disk,
	        .created_at = clock_wall_ms(),
	};
	int rc = volume_store_insert(db, &row, e);
	return rc < 0 ? explain_insert(rc, request, e) : 0;
}

static int insert_first_layer(struct db *db, const struct reservation *r, struct err *e)
{
	const struct pool_access *pool = r->request->files ? r->request->files : &r->pool;
	const struct layer_request layer = {
	        .id = r->id,
	        .pool_id = pool->id,
	        .host_id = pool->shared ? NULL : r->request->host_id,
	        .format = r->request->format,
	        .size_bytes = r->request->size_bytes,
	        .backing_id = r->request->backing_id,
	        .volume_id = r->id,
	        .file = r->request->existing_file,
	};
	char id[UUID_TEXT_SIZE];
	return layer_reserve(db, &layer, id, e);
}

int volume_reserve(struct db *db, const struct volume_request *request, char ret_id[UUID_TEXT_SIZE],
        struct err *e)
{
	struct reservation r CLEANUP(reservation_done) = {.request = request};
	int rc = check_request(request, e);
	if (rc == 0)
		rc = find_pool(db, &r, e);
	if (rc < 0)
		return rc;
	uuid_make(r.id);
	rc = insert_volume(db, &r, e);
	if (rc == 0)
		rc = insert_first_layer(db, &r, e);
	if (rc < 0)
		return rc;
	memcpy(ret_id, r.id, UUID_TEXT_SIZE);
	return add_change(db, "created", r.id, request->name, "{\"state\":\"creating\"}", e);
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
	struct volume_row row CLEANUP(volume_row_done) = {0};
	int rc = volume_store_get(db, id, &row, e);
	if (rc == 0)
		rc = layer_mark_ready(db, row.layer_id, e);
	return rc < 0 ? rc : set_state(db, id, "ready", e);
}

int volume_mark_deleting(struct db *db, const char *id, struct err *e)
{
	return set_state(db, id, "deleting", e);
}

/* Its layers stand on each other in any shape. */
static int forget_layers(struct db *db, const char *id, struct err *e)
{
	struct layer_list layers CLEANUP(layer_list_done) = {0};
	int rc = layer_store_of_volume(db, id, &layers, e);
	for (size_t i = 0; i < layers.len && rc == 0; i++)
		rc = layer_set_backing(db, layers.items[i].id, NULL, e);
	for (size_t i = 0; i < layers.len && rc == 0; i++)
		rc = layer_forget(db, layers.items[i].id, e);
	return rc;
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
		rc = forget_layers(db, id, e);
	if (rc == 0)
		rc = volume_store_delete(db, id, e);
	return rc < 0 ? rc : add_change(db, "deleted", id, row.name, NULL, e);
}

int volume_refuse_owned(struct db *db, const struct volume_row *row, struct err *e)
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

int volume_check_unused(
        struct db *db, const struct volume_row *row, const char *own_vm_id, struct err *e)
{
	struct str users CLEANUP(str_done) = {0};
	int rc = volume_store_users(db, row->id, own_vm_id, &users, e);
	if (rc < 0 || users.len == 0)
		return rc;
	err_set(e, ERR_IN_USE, "volume %s is held by %s", row->name, users.data);
	return err_hint(e, "delete those first");
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
		return volume_refuse_owned(db, &row, e);
	rc = volume_check_idle(db, &row, e);
	if (rc == 0)
		rc = volume_check_unused(db, &row, vm_id, e);
	return rc < 0 ? rc : set_owner(db, &row, vm_id, disk, e);
}

int volume_detach(struct db *db, const char *id, struct err *e)
{
	struct volume_row row CLEANUP(volume_row_done) = {0};
	int rc = volume_store_get(db, id, &row, e);
	if (rc < 0 || !row.vm_id)
		return rc;
	return set_owner(db, &row, NULL, NULL, e);
}

int volume_set_layer(struct db *db, const char *id, const char *layer_id, struct err *e)
{
	struct volume_row row CLEANUP(volume_row_done) = {0};
	int rc = volume_store_get(db, id, &row, e);
	if (rc < 0 || strcmp(row.layer_id, layer_id) == 0)
		return rc;
	rc = volume_store_set_layer(db, id, layer_id, e);
	return rc < 0 ? rc : add_change(db, "updated", id, row.name, NULL, e);
}

int volume_move_to_layer(struct db *db, const char *id, const char *layer_id, struct err *e)
{
	int rc = volume_set_layer(db, id, layer_id, e);
	return rc < 0 ? rc : volume_store_follow_layer(db, id, e);
}

int volume_set_size(struct db *db, const char *id, int64_t size_bytes, struct err *e)
{
	struct volume_row row CLEANUP(volume_row_done) = {0};
	int rc = volume_store_get(db, id, &row, e);
	if (rc < 0 || row.size_bytes == size_bytes)
		return rc;
	rc = volume_store_set_size(db, id, size_bytes, e);
	if (rc == 0)
		rc = layer_set_size(db, row.layer_id, size_bytes, e);
	return rc < 0 ? rc : add_change(db, "updated", id, row.name, NULL, e);
}

int volume_require_full_backup(struct db *db, const char *id, struct err *e)
{
	return volume_store_set_full_backup(db, id, e);
}

/* The host on which one of its files lies, "" if all pools are shared: also of a shared pool's volume overlays may be local. */
static int find_local_host(struct db *db, const struct volume_row *row,
        char ret_host_id[UUID_TEXT_SIZE], struct err *e)
{
	struct layer_list own CLEANUP(layer_list_done) = {0};
	struct layer_chain chain CLEANUP(layer_chain_done) = {0};
	uuid_text_copy(ret_host_id, row->host_id);
	if (ret_host_id[0])
		return 0;
	int rc = layer_store_of_volume(db, row->id, &own, e);
	for (size_t i = 0; i < own.len && !ret_host_id[0]; i++)
		uuid_text_copy(ret_host_id, own.items[i].host_id);
	if (rc < 0 || ret_host_id[0])
		return rc;
	rc = layer_chain_load(db, row->layer_id, &chain, e);
	for (size_t i = 0; i < chain.len && !ret_host_id[0]; i++)
		uuid_text_copy(ret_host_id, chain.layers[i].host_id);
	return rc;
}

int volume_choose_host(struct db *db, const struct volume_row *row,
        char ret_host_id[UUID_TEXT_SIZE], struct err *e)
{
	int rc = find_local_host(db, row, ret_host_id, e);
	if (rc < 0 || ret_host_id[0])
		return rc;
	return pool_choose_host(db, row->pool_id, ret_host_id, e);
}

int volume_check_host(
        struct db *db, const struct volume_row *row, const char *host_id, struct err *e)
{
	char local[UUID_TEXT_SIZE];
	int rc = find_local_host(db, row, local, e);
	if (rc == 0)
		rc = pool_check_host(db, row->pool_id, host_id, e);
	if (rc < 0 || !local[0] || str_equal(local, host_id))
		return rc;
	return err_set(e, ERR_UNSUPPORTED,
	        "volume %s stands on files of another host: it cannot be used on this one",
	        row->name);
}

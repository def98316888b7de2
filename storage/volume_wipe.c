/* SPDX-License-Identifier: Apache-2.0 */
/*
 * volume.wipe: what was written is gone afterwards, and the volume reads as zeroes.
 *
 *	make   an empty file, standing on nothing; from its end on the volume is written there     undo: before that, it goes
 *	wipe   the files that it had are deleted; a raw volume is overwritten where it lies instead, and needs no other
 *
 * So the volume has a file at any time: its old ones, if the new one cannot be made; the new one, if the old ones cannot be
 * deleted, and then the next wipe tries again. Overwriting takes as long as the storage does: on a bulk thread with a
 * connection of its own, never on a lane. There is no way back; a step that is interrupted runs again from the start.
 */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/bulk.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "db/reader.h"
#include "operation/services.h"
#include "storage/layer_store.h"
#include "storage/volume_kinds.h"
#include "storage/volume_work_store.h"

/* ---- overwriting: bulk thread ---- */

struct overwrite {
	struct operation *op; /* core loop only */
	struct readers *readers;
	char volume_id[UUID_TEXT_SIZE], host_id[UUID_TEXT_SIZE];
	struct layer_chain chain; /* owned */
	char *uri;                /* owned */
};

static int load(struct overwrite *overwrite, struct err *e)
{
	struct volume_row row CLEANUP(volume_row_done) = {0};
	struct db *db;
	int rc = readers_get(overwrite->readers, &db, e);
	if (rc == 0)
		rc = volume_store_get(db, overwrite->volume_id, &row, e);
	if (rc == 0)
		rc = layer_chain_load(db, row.layer_id, &overwrite->chain, e);
	return rc < 0 ? rc : volume_store_host_uri(db, overwrite->host_id, &overwrite->uri, e);
}

static int overwrite_file(const struct overwrite *overwrite, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	const struct pool_access *pool = overwrite->chain.pools[0];
	if (!driver->volume_wipe || !pool->kind->libvirt_type)
		return err_set(e, ERR_UNSUPPORTED, "volumes of pool %s (%s) cannot be overwritten",
		        pool->name, pool->kind->name);
	int rc = pool_access_ensure(pool, driver, c, e);
	return rc < 0 ? rc
	              : driver->volume_wipe(
	                        c, pool->libvirt_name, overwrite->chain.layers[0].file, e);
}

static int run_overwrite(struct bulk_job *job, void *arg, struct err *e)
{
	struct overwrite *overwrite = arg;
	struct driver_connection *c;
	(void)job; /* a call under way cannot be stopped */
	int rc = load(overwrite, e);
	if (rc < 0)
		return rc;
	const struct driver *driver = driver_for_uri(overwrite->uri);
	if (!driver)
		return err_set(e, ERR_UNSUPPORTED, "no driver for the host's URI");
	rc = driver->open(overwrite->uri, NULL, NULL, &c, e); /* hears no events */
	if (rc < 0)
		return rc;
	rc = overwrite_file(overwrite, driver, c, e);
	driver->close(c);
	return rc;
}

static void overwrite_done(void *arg, int rc, const struct err *e)
{
	struct overwrite *overwrite = arg;
	struct operation *op = overwrite->op;
	layer_chain_done(&overwrite->chain);
	free(overwrite->uri);
	free(overwrite);
	operation_step_done(op, rc, e);
}

static void submit_overwrite(struct operation *op)
{
	const struct operation_services *services = operation_context(op);
	struct overwrite *overwrite = xcalloc(1, sizeof(*overwrite));
	*overwrite = (struct overwrite){.op = op, .readers = services->readers};
	uuid_text_copy(overwrite->volume_id, operation_target_id(op));
	uuid_text_copy(overwrite->host_id, operation_host_id(op));
	const struct bulk_call call = {
	        .run = run_overwrite,
	        .done = overwrite_done,
	        .arg = overwrite,
	        .key = json_string_value(json_object_get(operation_input(op), "place")),
	};
	bulk_submit(services->bulk, &call);
}

/* ---- another file: lane thread ---- */

static const char *new_layer(const struct volume_call *call)
{
	return json_string_value(json_object_get(call->input, "layer"));
}

static int make_file(struct volume_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	struct layer_chain chain CLEANUP(layer_chain_done) = {0};
	int rc = layer_chain_load(call->db, new_layer(call), &chain, e);
	return rc < 0 ? rc : layer_chain_create_top(&chain, /* preallocate= */ false, driver, c, e);
}

/* Unless the volume is written there already. */
static int drop_file(struct volume_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	struct layer_chain chain CLEANUP(layer_chain_done) = {0};
	if (str_equal(call->row.layer_id, new_layer(call)))
		return 0;
	int rc = layer_chain_load(call->db, new_layer(call), &chain, e);
	return rc < 0 ? rc : layer_chain_delete_top(&chain, driver, c, e);
}

static int delete_others(struct volume_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	return layer_delete_others_of_volume(
	        call->db, call->row.id, call->row.layer_id, driver, c, e);
}

/* ---- its rows: writer thread ---- */

/* Calls `change` for each layer of the volume but the one that it is written through. */
static int each_other(struct db *db, const struct volume_row *row,
        int (*change)(struct db *db, const char *id, struct err *e), struct err *e)
{
	struct layer_list own CLEANUP(layer_list_done) = {0};
	int rc = layer_store_of_volume(db, row->id, &own, e);
	for (size_t i = 0; i < own.len && rc == 0; i++)
		if (!str_equal(own.items[i].id, row->layer_id))
			rc = change(db, own.items[i].id, e);
	return rc;
}

static int put_away(struct db *db, const char *id, struct err *e)
{
	int rc = layer_set_backing(db, id, NULL, e);
	return rc < 0 ? rc : layer_mark_deleting(db, id, e);
}

static int store_exchange(struct db *db, struct volume_call *call, struct err *e)
{
	struct volume_row row CLEANUP(volume_row_done) = {0};
	int rc = volume_move_to_layer(db, call->row.id, new_layer(call), e);
	if (rc == 0)
		rc = layer_mark_ready(db, new_layer(call), e);
	if (rc == 0)
		rc = volume_store_get(db, call->row.id, &row, e);
	if (rc == 0)
		rc = each_other(db, &row, put_away, e);
	return rc < 0 ? rc : volume_require_full_backup(db, row.id, e);
}

static int store_alone(struct db *db, struct volume_call *call, struct err *e)
{
	return each_other(db, &call->row, layer_forget, e);
}

/* ---- steps ---- */

static bool overwrites(const struct operation *op)
{
	return json_is_true(json_object_get(operation_input(op), "overwrite"));
}

static void run_make(struct operation *op)
{
	static const struct volume_call_options options = {.store = store_exchange};
	if (overwrites(op))
		operation_step_done(op, 0, NULL);
	else
		volume_call_submit(op, make_file, &options);
}

static void undo_make(struct operation *op)
{
	static const struct volume_call_options options = {0};
	if (overwrites(op))
		operation_step_done(op, 0, NULL);
	else
		volume_call_submit(op, drop_file, &options);
}

static void run_wipe(struct operation *op)
{
	static const struct volume_call_options options = {.store = store_alone};
	if (overwrites(op))
		submit_overwrite(op);
	else
		volume_call_submit(op, delete_others, &options);
}

static const struct operation_step steps[] = {
        {.name = "make", .run = run_make, .undo = undo_make, .flags = OPERATION_FINAL},
        {.name = "wipe", .run = run_wipe, .flags = OPERATION_FINAL},
};

static int finish(struct db *db, const struct operation *op, enum operation_state outcome,
        const struct err *error, struct err *e)
{
	struct volume_row row CLEANUP(volume_row_done) = {0};
	(void)error;
	if (overwrites(op) || outcome == OPERATION_SUCCEEDED)
		return 0;
	const char *made = volume_input_text(op, "layer");
	int rc = volume_store_get(db, operation_target_id(op), &row, e);
	return rc < 0 || str_equal(row.layer_id, made) ? rc : layer_forget(db, made, e);
}

const struct operation_kind volume_wipe_kind = {
        .name = "volume.wipe", .steps = steps, .n_steps = ARRAY_LEN(steps), .finish = finish};

/* ---- the mutation: writer thread ---- */

static int choose_way(
        struct db *db, const struct volume_row *row, bool *ret_overwrite, struct err *e)
{
	struct layer_chain chain CLEANUP(layer_chain_done) = {0};
	int rc = layer_chain_load(db, row->layer_id, &chain, e);
	if (rc < 0)
		return rc;
	*ret_overwrite = chain.len == 1 && str_equal(chain.layers[0].format, "raw");
	if (*ret_overwrite || !(chain.pools[0]->kind->flags & POOL_ADOPT_ONLY))
		return 0;
	return err_set(e, ERR_UNSUPPORTED,
	        "pool %s (%s) holds what Berth did not make: it is not replaced",
	        chain.pools[0]->name, chain.pools[0]->kind->name);
}

static int reserve_layer(
        struct db *db, const struct volume_row *row, char ret_id[UUID_TEXT_SIZE], struct err *e)
{
	struct pool_access pool CLEANUP(pool_access_done) = {0};
	int rc = pool_access_load(db, row->pool_id, &pool, e);
	if (rc < 0)
		return rc;
	const struct layer_request request = {
	        .pool_id = row->pool_id,
	        .host_id = row->host_id,
	        .format = pool_kind_format(pool.kind, row->format),
	        .size_bytes = row->size_bytes,
	        .volume_id = row->id,
	};
	return layer_reserve(db, &request, ret_id, e);
}

static int check(struct db *db, const struct volume_row *row, struct err *e)
{
	if (row->vm_id) {
		int rc = volume_refuse_owned(db, row, e);
		err_hint(e, "remove the disk from the VM first");
		return rc;
	}
	int rc = volume_check_idle(db, row, e);
	return rc < 0 ? rc : volume_check_unused(db, row, NULL, e);
}

int volume_wipe(struct db *db, struct operation_engine *engine, const struct volume_row *row,
        const struct operation_asked *asked, char ret_operation[UUID_TEXT_SIZE], struct err *e)
{
	bool overwrite = false;
	char place[POOL_PLACE_SIZE], layer[UUID_TEXT_SIZE] = "";
	int rc = check(db, row, e);
	if (rc == 0)
		rc = choose_way(db, row, &overwrite, e);
	if (rc == 0 && !overwrite)
		rc = reserve_layer(db, row, layer, e);
	if (rc < 0)
		return rc;
	pool_place(row->pool_id, row->host_id, place);
	const struct volume_start start = {
	        .kind = "volume.wipe",
	        .row = row,
	        .input = json_pack(
	                "{s:b,s:s,s:s}", "overwrite", overwrite, "place", place, "layer", layer),
	        .asked = asked,
	};
	return volume_start_operation(db, engine, &start, ret_operation, e);
}

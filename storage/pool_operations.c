/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operation kinds of pools. Each step is done on all hosts side by side. Core loop, but for what runs on a lane and
 * the finishing transactions.
 *
 *	pool.create   choose -> define -> preflight -> (row: ready)   undo: probe gone, definition gone, row gone
 *	pool.update   choose -> forget -> define -> preflight         no way back: the new configuration holds from the start
 *	pool.delete   forget -> (row gone)                            no way back once begun
 *
 * A host that is down when a pool is made gets it when it is back, by the monitor. Data is never deleted: libvirt
 * forgets its definition, and an empty directory goes.
 */
#include "storage/pool_operations.h"

#include "base/cleanup.h"
#include "base/str.h"
#include "db/change_feed.h"
#include "hypervisor/host_directory.h"
#include "operation/services.h"
#include "storage/pool_fan.h"
#include "storage/pool_monitor.h"
#include "storage/pool_preflight.h"

/* ---- lane thread ---- */

static int call_define(struct pool_fan_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	int rc = pool_access_ensure(&call->access, driver, c, e);
	if (rc < 0)
		pool_explain(&call->access, e);
	return rc;
}

static int call_preflight(struct pool_fan_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	const struct pool_probe probe = {
	        .access = &call->access,
	        .operation_id = call->operation_id,
	        .host_id = call->host_id,
	        .ret_info = &call->info,
	        .ret_note = call->note,
	        .note_size = sizeof(call->note),
	};
	int rc = pool_preflight_run(&probe, driver, c, e);
	call->has_info = rc == 0;
	return rc;
}

static int call_undo_preflight(struct pool_fan_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	return pool_preflight_undo(&call->access, call->operation_id, call->host_id, driver, c, e);
}

static int call_forget(struct pool_fan_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	const struct pool_access *access = &call->access;
	if (!access->kind->libvirt_type || !driver->pool_remove)
		return 0;
	int rc = driver->pool_remove(c, access->libvirt_name, e);
	if (rc == 0 && access->kind->secret_usage && driver->secret_remove)
		rc = driver->secret_remove(c, access->secret_id, e);
	if (rc != ERR_NOT_FOUND)
		return rc;
	err_clear(e);
	return 0;
}

/* ---- which hosts are told of it ---- */

/*
 * The hosts that answer when the operation begins, kept in its memory before the first of them is told anything: what
 * is undone after a crash, too.
 */
static bool is_told(struct operation *op, const char *host_id)
{
	return json_object_get(json_object_get(operation_memory(op), "told"), host_id);
}

/* Where another definition of that name was found, nothing is ours. */
static bool is_ours(struct operation *op, const char *host_id)
{
	return is_told(op, host_id) &&
	       !json_object_get(json_object_get(operation_memory(op), "foreign"), host_id);
}

static bool is_up(const struct operation *op, const char *host_id)
{
	const struct operation_services *services = operation_context(op);
	const struct host_connection *c = host_directory_get(services->directory, host_id);
	return c && host_connection_state(c) == HOST_OK;
}

static void run_choose(struct operation *op)
{
	json_t *hosts = json_object_get(operation_input(op), "hosts");
	json_t *told = json_object();
	struct err e = {0};
	size_t i;
	json_t *host;
	json_array_foreach(hosts, i, host)
	{
		const char *id = json_string_value(json_object_get(host, "id"));
		if (is_up(op, id))
			json_object_set_new(told, id, json_true());
	}
	bool is_any = json_object_size(told) > 0 || json_array_size(hosts) == 0;
	json_object_set_new(operation_memory(op), "told", told);
	if (is_any)
		operation_step_done(op, 0, NULL);
	else
		operation_step_done(op,
		        err_set(&e, ERR_HOST_DOWN, "none of the pool's %zu hosts answers now",
		                json_array_size(hosts)),
		        &e);
}

/* ---- steps ---- */

static void defined(struct pool_fan *fan)
{
	json_t *foreign = json_object();
	VEC_FOR_EACH (&fan->answers, answer) {
		if (answer->rc == ERR_CONFLICT)
			json_object_set_new(foreign, answer->host_id, json_true());
	}
	json_object_set_new(operation_memory(fan->op), "foreign", foreign);
	pool_fan_end(fan);
}

static void run_define(struct operation *op)
{
	pool_fan_out(op, "hosts", is_told, call_define, defined);
}

static void undo_define(struct operation *op)
{
	pool_fan_out(op, "hosts", is_ours, call_forget, pool_fan_end);
}

static void run_preflight(struct operation *op)
{
	pool_fan_out(op, "hosts", is_told, call_preflight, pool_fan_end);
}

static void undo_preflight(struct operation *op)
{
	pool_fan_out(op, "hosts", is_ours, call_undo_preflight, pool_fan_end);
}

static void run_forget_some(struct operation *op)
{
	pool_fan_out(op, "forget", NULL, call_forget, pool_fan_end);
}

static void run_forget(struct operation *op)
{
	pool_fan_out(op, "hosts", NULL, call_forget, pool_fan_end);
}

static const struct operation_step create_steps[] = {
        {.name = "choose", .run = run_choose},
        {.name = "define", .run = run_define, .undo = undo_define},
        {.name = "preflight", .run = run_preflight, .undo = undo_preflight},
};
static const struct operation_step update_steps[] = {
        {.name = "choose", .run = run_choose},
        {.name = "forget", .run = run_forget_some},
        {.name = "define", .run = run_define},
        {.name = "preflight", .run = run_preflight, .undo = undo_preflight},
};
static const struct operation_step delete_steps[] = {
        {.name = "forget", .run = run_forget, .flags = OPERATION_FINAL},
};

/* ---- writer thread ---- */

static int add_change(struct db *db, const struct operation *op, const char *event,
        const char *data, struct err *e)
{
	const struct change change = {
	        .kind = "pool",
	        .event = event,
	        .object_id = operation_target_id(op),
	        .name = operation_target_name(op),
	        .data = data,
	};
	return change_add(db, &change, e);
}

static void refresh_ended(void *arg, bool committed)
{
	if (committed)
		pool_monitor_refresh(arg);
}

static void refresh(struct db *db, const struct operation *op)
{
	const struct operation_services *services = operation_context(op);
	db_on_end(db, refresh_ended, services->pool_monitor);
}

static int remove_row(struct db *db, const struct operation *op, struct err *e)
{
	int rc = pool_store_delete(db, operation_target_id(op), e);
	return rc < 0 ? rc : add_change(db, op, "deleted", NULL, e);
}

static int make_ready(struct db *db, const struct operation *op, struct err *e)
{
	int rc = pool_store_set_state(db, operation_target_id(op), "ready", e);
	return rc < 0 ? rc : add_change(db, op, "state", "{\"state\":\"ready\"}", e);
}

static int finish_create(struct db *db, const struct operation *op, enum operation_state outcome,
        const struct err *error, struct err *e)
{
	(void)error;
	refresh(db, op);
	return outcome == OPERATION_SUCCEEDED ? make_ready(db, op, e) : remove_row(db, op, e);
}

static int finish_update(struct db *db, const struct operation *op, enum operation_state outcome,
        const struct err *error, struct err *e)
{
	(void)outcome;
	(void)error;
	refresh(db, op);
	return add_change(db, op, "updated", NULL, e);
}

static int finish_delete(struct db *db, const struct operation *op, enum operation_state outcome,
        const struct err *error, struct err *e)
{
	(void)error;
	refresh(db, op);
	if (outcome == OPERATION_SUCCEEDED)
		return remove_row(db, op, e);
	/* Cancelled means never begun. After a failure some hosts have forgotten it: it stays "deleting", and may be
	 * deleted again. */
	return outcome == OPERATION_CANCELLED ? make_ready(db, op, e) : 0;
}

static const struct operation_kind create_kind = {
        .name = POOL_CREATE,
        .steps = create_steps,
        .n_steps = ARRAY_LEN(create_steps),
        .finish = finish_create,
};
static const struct operation_kind update_kind = {
        .name = POOL_UPDATE,
        .steps = update_steps,
        .n_steps = ARRAY_LEN(update_steps),
        .finish = finish_update,
};
static const struct operation_kind delete_kind = {
        .name = POOL_DELETE,
        .steps = delete_steps,
        .n_steps = ARRAY_LEN(delete_steps),
        .finish = finish_delete,
};

void pool_register_kinds(struct operation_engine *engine)
{
	operation_engine_register(engine, &create_kind);
	operation_engine_register(engine, &update_kind);
	operation_engine_register(engine, &delete_kind);
}

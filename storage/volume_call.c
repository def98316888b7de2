/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of volume operations' steps to their hosts. Core loop, but for run_call (lane) and store_call (writer). */
#include "storage/volume_call.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "db/reader.h"
#include "hypervisor/host_directory.h"
#include "operation/services.h"

static void call_unref(void *arg)
{
	struct volume_call *call = arg;
	if (--call->references > 0)
		return;
	volume_row_done(&call->row);
	layer_chain_done(&call->chain);
	json_decref(call->input);
	json_decref(call->memory);
	free(call);
}

static int load(struct volume_call *call, struct err *e)
{
	int rc = readers_get(call->readers, &call->db, e);
	if (rc == 0)
		rc = volume_store_get(call->db, call->volume_id, &call->row, e);
	return rc < 0 ? rc : layer_chain_load(call->db, call->row.layer_id, &call->chain, e);
}

static int run_call(
        const struct driver *driver, struct driver_connection *c, void *arg, struct err *e)
{
	struct volume_call *call = arg;
	int rc = load(call, e);
	return rc < 0 ? rc : call->fn(call, driver, c, e);
}

static int store_call(struct db *db, void *arg, struct err *e)
{
	struct volume_call *call = arg;
	return call->store(db, call, e);
}

static void call_done(void *arg, int rc, const struct err *e)
{
	struct volume_call *call = arg;
	if (rc < 0) {
		operation_step_done(call->op, rc, e);
		return;
	}
	if (call->memory)
		json_object_update(operation_memory(call->op), call->memory);
	if (!call->store) {
		operation_step_done(call->op, 0, NULL);
		return;
	}
	call->references++;
	operation_step_done_storing(call->op, store_call, call, call_unref);
}

const char *volume_input_text(const struct operation *op, const char *key)
{
	return json_string_value(json_object_get(operation_input(op), key));
}

void volume_call_submit(
        struct operation *op, volume_call_fn fn, const struct volume_call_options *options)
{
	const struct operation_services *services = operation_context(op);
	struct volume_call *call = xcalloc(1, sizeof(*call));
	*call = (struct volume_call){
	        .op = op,
	        .readers = services->readers,
	        .fn = fn,
	        .store = options->store,
	        .is_undo = operation_is_undoing(op),
	        /* Reference counts of JSON are not for two threads. */
	        .input = json_deep_copy(operation_input(op)),
	        .references = 1,
	};
	uuid_text_copy(call->operation_id, operation_id(op));
	uuid_text_copy(call->volume_id, operation_target_id(op));
	const char *pool_id = volume_input_text(op, "pool_id");
	const struct lane_call lane_call = {
	        .class = LANE_CONTROL,
	        .domain = options->key ? options->key
	                  : pool_id    ? pool_id
	                               : call->volume_id,
	        .timeout_ms = options->timeout_ms ? options->timeout_ms : VOLUME_CALL_TIMEOUT_MS,
	        .run = run_call,
	        .done = call_done,
	        .release = call_unref,
	        .arg = call,
	};
	host_directory_submit(services->directory, operation_host_id(op), &lane_call);
}

struct layer_chain volume_chain_head(const struct layer_chain *chain, size_t n)
{
	struct layer_chain head = *chain;
	if (head.len > n)
		head.len = n;
	return head;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Calls to several hosts in one step. */
#include "storage/pool_fan.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "db/reader.h"
#include "hypervisor/host_directory.h"
#include "operation/services.h"

/* Mounting, logging in to a SAN, starting a probe. */
#define CALL_TIMEOUT_MS 60000

static void fan_unref(void *arg)
{
	struct pool_fan *fan = arg;
	if (--fan->references > 0)
		return;
	VEC_DONE(&fan->answers);
	free(fan);
}

static void call_release(void *arg)
{
	struct pool_fan_call *call = arg;
	fan_unref(call->fan);
	pool_access_done(&call->access);
	free(call);
}

/* Lane thread. */
static int call_run(
        const struct driver *driver, struct driver_connection *c, void *arg, struct err *e)
{
	struct pool_fan_call *call = arg;
	struct db *db;
	int rc = readers_get(call->readers, &db, e);
	if (rc == 0)
		rc = pool_access_load(db, call->pool_id, &call->access, e);
	return rc < 0 ? rc : call->run(call, driver, c, e);
}

static void keep_error(struct pool_fan *fan, const char *host, int rc, const struct err *e)
{
	if (fan->rc < 0)
		return;
	fan->rc = rc;
	fan->e = *e;
	if (rc == ERR_VM_STUCK) { /* the lane's word for a key whose call hangs */
		fan->rc = err_set(&fan->e, ERR_UNAVAILABLE,
		        "the pool does not answer: an earlier call still hangs");
		err_hint(&fan->e, "it goes on when the storage answers or the host is restarted");
	}
	err_prefix(&fan->e, "host %s", host);
}

static void answered(struct pool_fan *fan)
{
	if (--fan->pending == 0)
		fan->done(fan);
}

static void call_done(void *arg, int rc, const struct err *e)
{
	struct pool_fan_call *call = arg;
	struct pool_fan *fan = call->fan;
	struct pool_fan_answer answer = {.rc = rc};
	uuid_text_copy(answer.host_id, call->host_id);
	snprintf(answer.host, sizeof(answer.host), "%s", call->host);
	if (rc == 0) {
		answer.has_info = call->has_info;
		answer.info = call->info;
		snprintf(answer.note, sizeof(answer.note), "%s", call->note);
	} else {
		keep_error(fan, call->host, rc, e);
	}
	VEC_PUSH(&fan->answers, answer);
	answered(fan);
}

static void submit(struct pool_fan *fan, const struct pool_fan_call *model, const char *host_id,
        const char *host)
{
	struct operation_services *services = operation_context(fan->op);
	struct pool_fan_call *call = xmemdup(model, sizeof(*model));
	uuid_text_copy(call->pool_id, operation_target_id(fan->op));
	uuid_text_copy(call->operation_id, operation_id(fan->op));
	uuid_text_copy(call->host_id, host_id);
	snprintf(call->host, sizeof(call->host), "%s", host);
	call->fan = fan;
	call->readers = services->readers;
	fan->references++;
	fan->pending++;
	const struct lane_call lane_call = {
	        .class = LANE_CONTROL,
	        .domain = call->pool_id,
	        .timeout_ms = CALL_TIMEOUT_MS,
	        .run = call_run,
	        .done = call_done,
	        .release = call_release,
	        .arg = call,
	};
	host_directory_submit(services->directory, host_id, &lane_call);
}

/* A host that was removed meanwhile has nothing of ours any more. */
static bool is_known(const struct operation *op, const char *host_id)
{
	const struct operation_services *services = operation_context(op);
	return host_directory_get(services->directory, host_id) != NULL;
}

void pool_fan_out(struct operation *op, const char *list,
        bool (*is_wanted)(struct operation *op, const char *host_id),
        int (*run)(struct pool_fan_call *call, const struct driver *driver,
                struct driver_connection *c, struct err *e),
        void (*done)(struct pool_fan *fan))
{
	struct pool_fan *fan = xcalloc(1, sizeof(*fan));
	*fan = (struct pool_fan){.op = op, .done = done, .references = 1, .pending = 1};
	const struct pool_fan_call model = {.run = run};
	size_t i;
	json_t *host;
	json_array_foreach(json_object_get(operation_input(op), list), i, host)
	{
		const char *id = json_string_value(json_object_get(host, "id"));
		if (is_known(op, id) && (!is_wanted || is_wanted(op, id)))
			submit(fan, &model, id, json_string_value(json_object_get(host, "name")));
	}
	answered(fan); /* none called: at once */
	fan_unref(fan);
}

/* ---- the end ---- */

static int store_host(
        struct db *db, const char *pool_id, const struct pool_fan_answer *answer, struct err *e)
{
	char state[] = "ok", reason[] = "";
	int64_t now = clock_wall_ms();
	struct pool_host row = {
	        .state = state,
	        .reason = reason,
	        .since = now,
	        .checked_at = now,
	        .capacity_bytes = answer->info.capacity_bytes,
	        .allocation_bytes = answer->info.allocation_bytes,
	        .available_bytes = answer->info.available_bytes,
	};
	uuid_text_copy(row.host_id, answer->host_id);
	int rc = pool_store_put_host(db, pool_id, &row, e);
	if (rc != ERR_REFERENCE)
		return rc;
	err_clear(e); /* the host was removed meanwhile */
	return 0;
}

/* Writer thread. */
static int store_answers(struct db *db, void *arg, struct err *e)
{
	struct pool_fan *fan = arg;
	VEC_FOR_EACH (&fan->answers, answer) {
		int rc = answer->has_info ? store_host(db, operation_target_id(fan->op), answer, e)
		                          : 0;
		if (rc < 0)
			return rc;
	}
	return 0;
}

static void add_notes(struct pool_fan *fan)
{
	json_t *notes = json_object();
	VEC_FOR_EACH (&fan->answers, answer) {
		if (answer->note[0])
			json_object_set_new(notes, answer->host, json_string(answer->note));
	}
	if (json_object_size(notes) > 0)
		operation_add_result(fan->op, json_pack("{s:o}", "hosts", notes));
	else
		json_decref(notes);
}

void pool_fan_end(struct pool_fan *fan)
{
	if (fan->rc < 0) {
		operation_step_done(fan->op, fan->rc, &fan->e);
		return;
	}
	add_notes(fan);
	fan->references++;
	operation_step_done_storing(fan->op, store_answers, fan, fan_unref);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of operation steps to a VM's host. */
#include "compute/vm_call.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "compute/vm_live.h"
#include "db/reader.h"
#include "hypervisor/host_directory.h"

static void call_unref(void *arg)
{
	struct vm_call *call = arg;
	if (--call->references > 0)
		return;
	vm_plan_done(&call->plan);
	vm_observation_done(&call->seen);
	json_decref(call->input);
	json_decref(call->memory);
	json_decref(call->found);
	free(call->active_spec);
	free(call);
}

static int run_call(
        const struct driver *driver, struct driver_connection *c, void *arg, struct err *e)
{
	struct vm_call *call = arg;
	if (!(call->flags & VM_CALL_NO_PLAN)) {
		struct db *db;
		int rc = readers_get(call->readers, &db, e);
		if (rc == 0)
			rc = vm_plan_load(db, call->vm_id, &call->plan, e);
		if (rc < 0)
			return rc;
	}
	return call->fn(call, driver, c, e);
}

static int store_call(struct db *db, void *arg, struct err *e)
{
	struct vm_call *call = arg;
	if (call->has_seen) {
		struct vm_observed observed;
		int rc = vm_observe(db, &call->seen, &observed, e);
		if (rc < 0)
			return rc;
	}
	return call->store ? call->store(db, call, e) : 0;
}

void vm_call_finish_step(struct vm_call *call, vm_call_store store)
{
	call->store = store;
	call->references++;
	if (call->has_seen)
		vms_saw(vms_of(call->op), &call->seen);
	operation_step_done_storing(call->op, store_call, call, call_unref);
}

static void end_step(struct vm_call *call, int rc, const struct err *e)
{
	if (rc < 0)
		operation_step_done(call->op, rc, e);
	else
		vm_call_finish_step(call, call->store);
}

static void call_done(void *arg, int rc, const struct err *e)
{
	struct vm_call *call = arg;
	call->done(call, rc, e);
}

/* The lane orders calls by domain and refuses those for a hung one; a forced call steps around that. */
static bool steps_around(const struct vm_call *call, const struct operation_services *services)
{
	const struct host_connection *connection =
	        host_directory_get(services->directory, call->host_id);
	int64_t since_ms;
	return call->flags & VM_CALL_FORCE && connection &&
	       host_connection_is_stuck(connection, call->vm_id, &since_ms);
}

static void submit(struct operation *op, struct vm_call *call, int64_t timeout_ms)
{
	const struct operation_services *services = operation_context(op);
	const char *architecture =
	        json_string_value(json_object_get(operation_input(op), "architecture"));
	uuid_text_copy(call->vm_id, operation_target_id(op));
	uuid_text_copy(call->host_id, operation_host_id(op));
	uuid_text_copy(call->operation_id, operation_id(op));
	call->platform =
	        vms_platform(services->vms, call->host_id, architecture ? architecture : "");
	/* Reference counts are not for two threads. */
	call->input = json_deep_copy(operation_input(op));
	call->memory = json_deep_copy(operation_memory(op));
	call->op = op;
	call->readers = services->readers;
	call->references = 1;
	const struct lane_call lane_call = {
	        .class = call->flags & VM_CALL_URGENT ? LANE_URGENT : LANE_CONTROL,
	        .domain = steps_around(call, services) ? NULL : call->vm_id,
	        .timeout_ms = timeout_ms,
	        .queue_timeout_ms = 60000,
	        .run = run_call,
	        .done = call_done,
	        .release = call_unref,
	        .arg = call,
	};
	host_directory_submit(services->directory, call->host_id, &lane_call);
}

void vm_call_submit(struct operation *op, vm_call_fn fn, vm_call_store store, int64_t timeout_ms,
        unsigned flags)
{
	struct vm_call *call = xcalloc(1, sizeof(*call));
	*call = (struct vm_call){.fn = fn, .store = store, .flags = flags, .done = end_step};
	submit(op, call, timeout_ms);
}

void vm_call_submit_then(struct operation *op, vm_call_fn fn, int64_t timeout_ms, unsigned flags,
        void (*done)(struct vm_call *call, int rc, const struct err *e))
{
	struct vm_call *call = xcalloc(1, sizeof(*call));
	*call = (struct vm_call){.fn = fn, .flags = flags, .done = done};
	submit(op, call, timeout_ms);
}

int vm_call_look(struct vm_call *call, const struct driver *driver, struct driver_connection *c,
        struct err *e)
{
	struct domain_info info CLEANUP(domain_info_done) = {0};
	int rc = driver->get_domain(c, call->vm_id, &info, e);
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	vm_observation_fill(&call->seen, call->host_id, call->vm_id, rc == 0 ? &info : NULL);
	call->has_seen = true;
	return 0;
}

int vm_call_define(struct vm_call *call, const struct driver *driver, struct driver_connection *c,
        struct err *e)
{
	return vm_domain_define(&call->plan, &call->plan.spec, &call->platform, driver, c, e);
}

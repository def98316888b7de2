/* SPDX-License-Identifier: Apache-2.0 */
/* Block jobs on a VM's disks. Core loop, but for the calls on a lane. */
#include "compute/vm_block.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "compute/vm_live.h"
#include "storage/carrier.h"

#define CARRIER_TIMEOUT_MS 180000 /* as a definition: vm_create.c */

static const char *text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static json_t *block_of(const struct operation *op)
{
	return json_object_get(operation_memory(op), "block");
}

static void set_text(json_t *object, const char *key, const char *value)
{
	if (value)
		json_object_set_new(object, key, json_string(value));
}

void vm_block_plan(struct operation *op, const struct block_work *work)
{
	json_t *block = json_pack("{s:i}", "kind", (int)work->kind);
	set_text(block, "disk", work->disk);
	set_text(block, "top", work->top);
	set_text(block, "base", work->base);
	set_text(block, "target_xml", work->target_xml);
	set_text(block, "target_path", work->target_path);
	set_text(block, "pool", work->pool);
	json_object_set_new(operation_memory(op), "block", block);
}

/* ---- who carries it: lane thread ---- */

static int start_carrier(struct vm_call *call, const char *disk, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	const struct layer_chain *chain = vm_plan_chain(&call->plan, disk);
	if (!chain)
		return err_set(e, ERR_WRONG_STATE, "VM %s has no disk %s any more",
		        call->plan.row.name, disk);
	int rc = layer_chain_check(chain, driver, c, e);
	if (rc < 0)
		return rc;
	const struct carrier_disk disks[] = {{.name = disk, .chain = chain}};
	return carrier_start(driver, c, call->operation_id, disks, ARRAY_LEN(disks), e);
}

/* call->again: a carrier is used. */
static int attach(struct vm_call *call, const struct driver *driver, struct driver_connection *c,
        struct err *e)
{
	struct domain_info info CLEANUP(domain_info_done) = {0};
	int rc = driver->get_domain(c, call->vm_id, &info, e);
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	call->again = rc == ERR_NOT_FOUND || domain_state_is_off(info.state);
	err_clear(e);
	return call->again ? start_carrier(call, text_of(call->input, "disk"), driver, c, e) : 0;
}

/* ---- the job ---- */

static void on_worked(struct operation *op, int rc, const struct err *e)
{
	bool by_vm = !json_is_true(json_object_get(block_of(op), "carrier"));
	if (rc == ERR_GONE && by_vm && !operation_is_cancelled(op))
		vm_block_run(op); /* it stopped: a carrier goes on */
	else
		operation_step_done(op, rc, e);
}

static void work(struct operation *op, bool by_carrier)
{
	const json_t *block = block_of(op);
	const struct block_work work = {
	        .kind = (enum block_job_kind)json_integer_value(json_object_get(block, "kind")),
	        .host_id = operation_host_id(op),
	        .domain_id = by_carrier ? operation_id(op) : operation_target_id(op),
	        .disk = text_of(block, "disk"),
	        .top = text_of(block, "top"),
	        .base = text_of(block, "base"),
	        .target_xml = text_of(block, "target_xml"),
	        .target_path = text_of(block, "target_path"),
	        .pool = text_of(block, "pool"),
	};
	block_work_run(op, &work, on_worked);
}

static void on_attached(struct vm_call *call, int rc, const struct err *e)
{
	struct operation *op = call->op;
	if (rc < 0) {
		operation_step_done(op, rc, e);
		return;
	}
	json_object_set_new(block_of(op), "carrier", json_boolean(call->again));
	work(op, call->again);
}

void vm_block_run(struct operation *op)
{
	vm_call_submit_then(op, attach, CARRIER_TIMEOUT_MS, 0, on_attached);
}

/* ---- its end ---- */

static int stop_carrier(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	return carrier_stop(driver, c, call->operation_id, e);
}

void vm_block_release(struct operation *op)
{
	if (json_is_true(json_object_get(block_of(op), "carrier")))
		vm_call_submit(op, stop_carrier, NULL, CARRIER_TIMEOUT_MS, VM_CALL_NO_PLAN);
	else
		operation_step_done(op, 0, NULL);
}

/* Whoever may have carried it: the job is ended, the carrier gone. */
static int abandon(struct vm_call *call, const struct driver *driver, struct driver_connection *c,
        struct err *e)
{
	const char *disk = text_of(call->input, "disk");
	int rc = carrier_stop(driver, c, call->operation_id, e);
	if (rc < 0 || !disk || !driver->block_job_end)
		return rc;
	rc = driver->block_job_end(c, call->vm_id, disk, BLOCK_JOB_CANCEL, e);
	if (rc != ERR_NOT_FOUND && rc != ERR_WRONG_STATE)
		return rc;
	err_clear(e);
	return 0;
}

void vm_block_undo(struct operation *op)
{
	vm_call_submit(op, abandon, NULL, CARRIER_TIMEOUT_MS, VM_CALL_NO_PLAN);
}

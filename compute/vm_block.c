/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Block jobs on a VM's disks. Core loop, but for the calls on a lane.
 *
 * Whether the work is done is never remembered but read from what QEMU and libvirt have written, each time anew. While the
 * VM runs that is its chain. When it is off:
 *
 *	copy   libvirt's definition names the target: libvirt writes that when QEMU has gone over (block_job.c sees to it that
 *	       it can), and until the work is recorded nobody else defines the VM
 *	pull   nothing tells: QEMU writes into the top layer's header that nothing is below before it has written what it has
 *	       pulled. So it is pulled again, with the recorded chain below, until a carrier that was there until then has
 *	       been seen to end by itself (carrier_finish). What is there already is not copied twice
 *
 * A carrier copies and does not go over (CLONE): it holds the lock of the file that the VM would write to, so that whatever
 * starts the VM from outside fails while the copy may still become the truth.
 */
#include "compute/vm_block.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "compute/vm_live.h"
#include "compute/vm_suspended.h"
#include "hypervisor/domain_xml.h"
#include "storage/carrier.h"

#define CARRIER_TIMEOUT_MS 180000 /* as a definition: vm_create.c */
#define CARRIER_TRIES      3      /* how many carriers may be lost in one run of the step */

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

/* ---- how far it has got: lane thread ---- */

static enum block_job_kind kind_of(const json_t *block)
{
	return (enum block_job_kind)json_integer_value(json_object_get(block, "kind"));
}

static bool has_process(const struct domain_info *info)
{
	return info->live_xml != NULL;
}

static int is_copied(
        const struct domain_info *info, const json_t *block, bool *ret_done, struct err *e)
{
	struct domain_chain chain CLEANUP(domain_chain_done) = {0};
	const char *xml = has_process(info) ? info->live_xml : info->xml;
	int rc = xml ? domain_xml_read_chain(xml, text_of(block, "disk"), &chain, e) : 0;
	*ret_done = rc == 0 && chain.n_layers > 0 &&
	            str_equal(chain.layers[0].path, text_of(block, "target_path"));
	return rc;
}

static int is_pulled(struct vm_call *call, const struct domain_info *info, const json_t *block,
        const struct driver *driver, struct driver_connection *c, bool *ret_done, struct err *e)
{
	struct domain_chain live CLEANUP(domain_chain_done) = {0};
	const char *disk = text_of(block, "disk");
	const struct layer_chain *chain = vm_plan_chain(&call->plan, disk);
	if (!has_process(info))
		return chain ? layer_chain_is_flat(chain, driver, c, ret_done, e) : 0;
	int rc = domain_xml_read_chain(info->live_xml, disk, &live, e);
	*ret_done = rc == 0 && live.n_layers == 1;
	return rc;
}

static int is_done(struct vm_call *call, const struct domain_info *info,
        const struct driver *driver, struct driver_connection *c, bool *ret_done, struct err *e)
{
	const json_t *block = json_object_get(call->memory, "block");
	*ret_done = false;
	int rc = kind_of(block) == BLOCK_WORK_COPY
	                 ? is_copied(info, block, ret_done, e)
	                 : is_pulled(call, info, block, driver, c, ret_done, e);
	if (rc != ERR_NOT_FOUND)
		return rc;
	err_clear(e); /* it has no such disk */
	return 0;
}

/* An undefined domain is off, and says nothing. */
static int get_domain(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct domain_info *ret_info, struct err *e)
{
	int rc = driver->get_domain(c, call->vm_id, ret_info, e);
	if (rc != ERR_NOT_FOUND)
		return rc;
	err_clear(e);
	*ret_info = (struct domain_info){.state = DOMAIN_SHUTOFF};
	return 0;
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

static bool is_pull(const json_t *memory)
{
	return kind_of(json_object_get(memory, "block")) == BLOCK_WORK_PULL;
}

/* call->again: a carrier is used, or was; call->found "done": there is nothing left to do. */
static int attach(struct vm_call *call, const struct driver *driver, struct driver_connection *c,
        struct err *e)
{
	struct domain_info info CLEANUP(domain_info_done) = {0};
	bool done = false;
	int rc = get_domain(call, driver, c, &info, e);
	if (rc == 0)
		rc = is_done(call, &info, driver, c, &done, e);
	if (rc < 0)
		return rc;
	call->again = domain_state_is_off(info.state);
	done = done && !(call->again && is_pull(call->memory));
	call->found = json_pack("{s:b}", "done", (int)done);
	if (done || !call->again)
		return 0;
	rc = vm_refuse_suspended(&info, "work on its disk", e);
	return rc < 0 ? rc : start_carrier(call, text_of(call->input, "disk"), driver, c, e);
}

/* ---- the job ---- */

bool vm_block_was_by_carrier(const struct operation *op)
{
	return json_is_true(json_object_get(block_of(op), "carrier"));
}

/* What worked has ended: a carrier goes on where the VM stopped, and another one after a carrier, but not for ever. */
static void on_gone(struct operation *op, const struct err *e)
{
	json_int_t lost = json_integer_value(json_object_get(block_of(op), "lost"));
	lost += vm_block_was_by_carrier(op);
	json_object_set_new(block_of(op), "lost", json_integer(lost));
	if (operation_is_cancelled(op) || lost >= CARRIER_TRIES)
		operation_step_done(op, ERR_GONE, e);
	else
		vm_block_run(op);
}

static int finish_carrier(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	return carrier_finish(driver, c, call->operation_id, &call->again, e);
}

static void on_finished(struct vm_call *call, int rc, const struct err *e)
{
	struct err lost;
	if (rc < 0 || !call->again) {
		operation_step_done(call->op, rc, e);
		return;
	}
	err_set(&lost, ERR_GONE, "what pulled the disk together ended before it had written it");
	on_gone(call->op, &lost);
}

static void on_worked(struct operation *op, int rc, const struct err *e)
{
	if (rc == ERR_GONE)
		on_gone(op, e);
	else if (rc == 0 && vm_block_was_by_carrier(op) && is_pull(operation_memory(op)))
		vm_call_submit_then(
		        op, finish_carrier, CARRIER_TIMEOUT_MS, VM_CALL_NO_PLAN, on_finished);
	else
		operation_step_done(op, rc, e);
}

static void work(struct operation *op, bool by_carrier)
{
	const json_t *block = block_of(op);
	bool goes_over = kind_of(block) == BLOCK_WORK_COPY && !by_carrier;
	const struct block_work work = {
	        .kind = kind_of(block) != BLOCK_WORK_COPY ? kind_of(block)
	                : goes_over                       ? BLOCK_WORK_COPY
	                                                  : BLOCK_WORK_CLONE,
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
	if (vm_block_was_done(call))
		operation_step_done(op, 0, NULL);
	else
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
	if (vm_block_was_by_carrier(op))
		vm_call_submit(op, stop_carrier, NULL, CARRIER_TIMEOUT_MS, VM_CALL_NO_PLAN);
	else
		operation_step_done(op, 0, NULL);
}

/* Whoever may have carried it: the job is ended, the carrier gone. */
static int end_work(struct vm_call *call, const char *disk, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	int rc = carrier_stop(driver, c, call->operation_id, e);
	if (rc < 0 || !driver->block_job_end)
		return rc;
	rc = driver->block_job_end(c, call->vm_id, disk, BLOCK_JOB_CANCEL, e);
	if (rc != ERR_NOT_FOUND && rc != ERR_WRONG_STATE)
		return rc;
	err_clear(e);
	return 0;
}

/* As is_done, and what is in the header: an earlier pull may have left it there, and the VM may run on the whole chain. */
static int has_changed(struct vm_call *call, const struct domain_info *info,
        const struct driver *driver, struct driver_connection *c, bool *ret_done, struct err *e)
{
	const struct layer_chain *chain = vm_plan_chain(&call->plan, text_of(call->input, "disk"));
	int rc = is_done(call, info, driver, c, ret_done, e);
	if (rc < 0 || *ret_done || !chain || !is_pull(call->memory))
		return rc;
	rc = layer_chain_is_flat(chain, driver, c, ret_done, e);
	if (rc != ERR_NOT_FOUND)
		return rc;
	err_clear(e); /* its file is gone */
	return 0;
}

static int abandon(struct vm_call *call, const struct driver *driver, struct driver_connection *c,
        struct err *e)
{
	struct domain_info info CLEANUP(domain_info_done) = {0};
	bool done = false;
	int rc = end_work(call, text_of(call->input, "disk"), driver, c, e);
	if (rc == 0)
		rc = get_domain(call, driver, c, &info, e);
	if (rc == 0)
		rc = has_changed(call, &info, driver, c, &done, e);
	call->found = json_pack("{s:b}", "done", (int)done);
	if (rc < 0 || !done || !is_pull(call->memory))
		return rc;
	/* libvirt has noted in the definition that nothing is below: whoever starts the VM must read what is recorded. */
	return vm_call_define(call, driver, c, e);
}

bool vm_block_was_done(const struct vm_call *call)
{
	return json_is_true(json_object_get(call->found, "done"));
}

void vm_block_undo(struct operation *op, vm_call_store settle)
{
	vm_call_submit(op, abandon, settle, CARRIER_TIMEOUT_MS, 0);
}

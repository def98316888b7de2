/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Creating a VM.
 *
 *  the transaction: row, volumes ("creating"), MACs, reservation, operation
 *     -> images    wait for the copies of images
 *     -> volumes   each new volume's file              undo: delete those files
 *     -> seed      cloud-init's data
 *     -> define    the domain                          undo: destroy and undefine it
 *     -> room      until other guests have given what this one needs, if it starts
 *     -> start     if asked for                        undo: as define's
 *  success: the volumes are "ready". Failure: all of it is gone, rows included; attached volumes
 * are free again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "compute/host_group_store.h"
#include "compute/quota.h"
#include "compute/room.h"
#include "compute/vm_call.h"
#include "compute/vm_jobs.h"
#include "compute/vm_live.h"
#include "compute/vm_room.h"
#include "compute/vm_seed.h"
#include "compute/vm_volumes.h"
#include "network/mac.h"
#include "storage/pool_store.h"

/* A host that probes QEMU anew at each define (odd rights on /dev/kvm) was seen to take 48 s. */
#define DEFINE_TIMEOUT_MS 180000

/* ---- steps ---- */

static int check_networks(const struct vm_plan *plan, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	for (size_t i = 0; driver->network_check && i < plan->spec.nics.len; i++) {
		const struct vm_nic *nic = vm_spec_nic(&plan->spec, i);
		int rc = driver->network_check(c, nic->network, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int define_domain(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	int rc = check_networks(&call->plan, driver, c, e);
	if (rc == 0)
		rc = vm_call_define(call, driver, c, e);
	return rc < 0 ? rc : vm_call_look(call, driver, c, e);
}

static int remove_domain(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	int rc = driver->destroy(c, call->vm_id, e);
	return rc < 0 && rc != ERR_NOT_FOUND ? rc : driver->undefine(c, call->vm_id, e);
}

static void run_define(struct operation *op)
{
	vm_call_submit(op, define_domain, NULL, DEFINE_TIMEOUT_MS, 0);
}

static void undo_define(struct operation *op)
{
	vm_call_submit(op, remove_domain, NULL, 60000, VM_CALL_NO_PLAN);
}

static int start_domain(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	int rc = driver->start(c, call->vm_id, e);
	if (rc < 0)
		return rc;
	str_replace(&call->active_spec, call->plan.row.spec);
	return vm_call_look(call, driver, c, e);
}

static int store_started(struct db *db, struct vm_call *call, struct err *e)
{
	return vm_store_set_active(db, call->vm_id, call->active_spec, "{}", e);
}

static void run_start(struct operation *op)
{
	if (json_is_true(json_object_get(operation_input(op), "start")))
		vm_call_submit(op, start_domain, store_started, 120000, 0);
	else
		operation_step_done(op, 0, NULL);
}

static int finish_create(struct db *db, const struct operation *op, enum operation_state outcome,
        const struct err *error, struct err *e)
{
	(void)error;
	const char *id = operation_target_id(op);
	int rc;
	if (outcome == OPERATION_SUCCEEDED) {
		rc = vm_volumes_flatten_new(db, op, e);
		if (rc == 0)
			rc = vm_volumes_mark_ready(db, op, e);
		if (rc == 0)
			rc = vm_add_change(db, "ready", id, operation_target_name(op), e);
		vms_mark_dirty_on_commit(db, vms_of(op), operation_host_id(op), id);
		return rc;
	}
	rc = vm_volumes_forget_new(db, id, NULL, e);
	if (rc == 0)
		rc = room_forget_cpus(db, id, e);
	if (rc == 0)
		rc = vm_store_delete(db, id, e);
	return rc < 0 ? rc : vm_add_change(db, "deleted", id, operation_target_name(op), e);
}

static const struct operation_step steps[] = {
        {.name = "images", .run = vm_volumes_wait},
        {.name = "volumes", .run = vm_volumes_create, .undo = vm_volumes_uncreate},
        {.name = "seed", .run = vm_seed_write},
        {.name = "define", .run = run_define, .undo = undo_define},
        {.name = "room", .run = vm_room_wait},
        {.name = "start", .run = run_start},
};
const struct operation_kind vm_create_kind = {.name = "vm.create",
        .steps = steps,
        .n_steps = ARRAY_LEN(steps),
        .finish = finish_create,
        .on_cancel = vm_room_cancel,
        VM_JOB(CONFIGURE)};

/* ---- the mutation ---- */

/* The ids that host and host_group name, "" where they are not given. */
struct where {
	char host_id[UUID_TEXT_SIZE], group_id[UUID_TEXT_SIZE];
};

static int find_group(struct db *db, const char *name, struct where *where, struct err *e)
{
	struct host_group_row group CLEANUP(host_group_row_done) = {0};
	int rc = host_group_store_get(db, name, &group, e);
	if (rc == ERR_NOT_FOUND)
		return err_set_at(
		        e, ERR_REFERENCE, "/host_group", "there is no host group named %s", name);
	if (rc == 0)
		uuid_text_copy(where->group_id, group.id);
	return rc;
}

static int find_host(struct db *db, const struct vm_spec *spec, struct where *where, struct err *e)
{
	struct host_row host CLEANUP(host_row_done) = {0};
	int rc = host_store_get(db, spec->host, &host, e);
	if (rc == ERR_NOT_FOUND)
		return err_set_at(
		        e, ERR_REFERENCE, "/host", "there is no host named %s", spec->host);
	if (rc < 0)
		return rc;
	uuid_text_copy(where->host_id, host.id);
	if (where->group_id[0] && !str_equal(where->group_id, host.group_id))
		return err_set_at(e, ERR_UNPROCESSABLE, "/host_group", "host %s is in group %s",
		        host.name, host.group);
	return 0;
}

static int find_where(
        struct db *db, const struct vm_spec *spec, struct where *ret_where, struct err *e)
{
	int rc = spec->host_group ? find_group(db, spec->host_group, ret_where, e) : 0;
	return rc < 0 || !spec->host ? rc : find_host(db, spec, ret_where, e);
}

/* A pool that nobody has is no question of place. */
static int check_pools(struct db *db, const struct vm_spec *spec, struct err *e)
{
	for (size_t i = 0; i < spec->disks.len; i++) {
		const struct vm_disk *disk = vm_spec_disk(spec, i);
		struct pool_row pool CLEANUP(pool_row_done) = {0};
		char pointer[128];
		snprintf(pointer, sizeof(pointer), "/disks/%s/pool", disk->name);
		int rc = disk->pool ? pool_store_get(db, disk->pool, &pool, e) : 0;
		if (rc == ERR_NOT_FOUND)
			return err_set_at(
			        e, ERR_REFERENCE, pointer, "there is no pool named %s", disk->pool);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int choose_host(struct db *db, struct vms *vms, const struct vm_spec *spec,
        const struct vm_request *request, struct host_row *ret_host, struct err *e)
{
	struct where where = {0};
	char id[UUID_TEXT_SIZE];
	int rc = find_where(db, spec, &where, e);
	if (rc == 0)
		rc = check_pools(db, spec, e);
	const struct room_wish wish = {
	        .spec = spec,
	        .host_id = where.host_id[0] ? where.host_id : NULL,
	        .group_id = where.group_id[0] ? where.group_id : NULL,
	        .may_wait = request->wait_ms >= 0,
	        .starts = spec->desired_power == POWER_RUNNING,
	};
	if (rc == 0)
		rc = room_choose(db, vms->config.services->room, &wish, id, e);
	return rc < 0 ? rc : host_store_get(db, id, ret_host, e);
}

static int check_name(
        struct db *db, const struct vm_spec *spec, const struct host_row *host, struct err *e)
{
	bool foreign = false;
	int rc = vm_store_foreign_named(db, host->id, spec->name, &foreign, e);
	if (rc < 0 || !foreign)
		return rc;
	err_set_at(e, ERR_EXISTS, "/name", "host %s has a foreign domain named %s", host->name,
	        spec->name);
	err_hint(e, "choose another name, or adopt that domain");
	return ERR_EXISTS;
}

static int insert_row(struct db *db, const struct vm_spec *spec, const char *id,
        const struct host_row *host, struct err *e)
{
	char *text CLEANUP(cleanup_free) = vm_spec_store(spec);
	struct vm_insert row = vm_row_from_spec(spec, text);
	row.id = id;
	row.name = spec->name;
	row.host_id = host->id;
	row.power_reason = "being created";
	row.managed = true;
	row.desired_power = (enum vm_power)spec->desired_power;
	row.power = POWER_STOPPED;
	int rc = vm_store_insert(db, &row, e);
	if (rc == ERR_EXISTS)
		return err_set_at(e, ERR_EXISTS, "/name", "a VM named %s exists", spec->name);
	return rc;
}

/* The names that new volumes were given complete the configuration. */
static int complete_row(struct db *db, const struct vm_spec *spec, const char *id, struct err *e)
{
	char *text CLEANUP(cleanup_free) = vm_spec_store(spec);
	const struct vm_insert row = vm_row_from_spec(spec, text);
	return vm_store_set_spec(db, id, &row, "{}", e);
}

static int insert_all(struct db *db, struct vm_spec *spec, const struct host_row *host,
        const struct vm_claim *claim, bool *ret_seed, struct err *e)
{
	/* The row comes first: volumes and MACs refer to it. */
	int rc = insert_row(db, spec, claim->vm_id, host, e);
	if (rc == 0)
		rc = vm_volumes_claim(db, spec, NULL, claim, e);
	if (rc == 0)
		rc = vm_seed_claim(db, spec, NULL, claim->vm_id, spec->name, host->id, ret_seed, e);
	if (rc == 0)
		rc = vm_store_set_macs(db, claim->vm_id, spec, e);
	if (rc == 0 && spec->disks.len > 0)
		rc = complete_row(db, spec, claim->vm_id, e);
	return rc < 0 ? rc : vm_add_change(db, "created", claim->vm_id, spec->name, e);
}

static int start(struct db *db, struct vms *vms, const struct vm_spec *spec,
        const struct vm_claim *claim, bool seed, char ret_operation[UUID_TEXT_SIZE], struct err *e)
{
	struct vm_row row CLEANUP(vm_row_done) = {0};
	int rc = vm_store_get(db, claim->vm_id, &row, e);
	if (rc < 0)
		return rc;
	bool starts = spec->desired_power == POWER_RUNNING;
	json_t *input CLEANUP(cleanup_json) = json_pack("{s:b, s:b, s:O}", "start", (int)starts,
	        "seed", (int)seed, "wait_for", claim->wait_for);
	if (starts)
		rc = vm_room_grant(db, vms, &row, spec, input, e);
	return rc < 0 ? rc
	              : vm_create_operation(db, vms, &row, "vm.create", input, claim->request,
	                        ret_operation, e);
}

int vm_create(struct db *db, struct vms *vms, struct vm_spec *spec,
        const struct vm_request *request, struct field_errors *errors,
        char ret_operation[UUID_TEXT_SIZE], char ret_id[UUID_TEXT_SIZE], struct err *e)
{
	if (vm_spec_check(spec, &vms->config.rules, errors) < 0)
		return ERR_INVALID;
	if (spec->desired_power > POWER_RUNNING)
		return err_set_at(
		        e, ERR_INVALID, "/desired_power", "a new VM is either stopped or running");
	struct host_row host CLEANUP(host_row_done) = {0};
	int rc = choose_host(db, vms, spec, request, &host, e);
	if (rc == 0)
		rc = check_name(db, spec, &host, e);
	if (rc == 0)
		rc = vm_store_choose_macs(db, spec, e);
	if (rc < 0)
		return rc;
	uuid_make(ret_id);
	json_t *wait_for CLEANUP(cleanup_json) = json_array();
	const struct vm_claim claim = {
	        .vms = vms,
	        .request = request,
	        .vm_id = ret_id,
	        .vm_name = spec->name,
	        .host_id = host.id,
	        .wait_for = wait_for,
	};
	bool seed = false;
	rc = insert_all(db, spec, &host, &claim, &seed, e);
	const struct quota_usage more = quota_of_spec(spec);
	if (rc == 0)
		rc = quota_check(db, &spec->labels, &more, QUOTA_WRITTEN, e);
	return rc < 0 ? rc : start(db, vms, spec, &claim, seed, ret_operation, e);
}

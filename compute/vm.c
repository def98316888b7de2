/* SPDX-License-Identifier: Apache-2.0 */
/* VMs: what their mutations share, renaming and adopting. */
#include "compute/vm.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "compute/vm_call.h"
#include "compute/vm_jobs.h"
#include "compute/vm_disk.h"
#include "compute/vm_live.h"
#include "db/change_feed.h"
#include "storage/volume_operations.h"

void vm_register_kinds(struct operation_engine *engine)
{
	operation_engine_register(engine, &vm_create_kind);
	operation_engine_register(engine, &vm_update_kind);
	operation_engine_register(engine, &vm_delete_kind);
	operation_engine_register(engine, &vm_rename_kind);
	volume_set_resized_hook(vm_disk_resized, NULL);
	operation_engine_register(engine, &vm_disk_move_kind);
	operation_engine_register(engine, &vm_disk_flatten_kind);
	for (int verb = 0; verb < VM_VERBS; verb++)
		operation_engine_register(engine, &vm_verb_kinds[verb]);
}

int vms_check_spec(const struct vms *vms, const struct vm_spec *spec, struct field_errors *errors)
{
	return vm_spec_check(spec, &vms->config.rules, errors);
}

struct vms *vms_of(const struct operation *op)
{
	const struct operation_services *services = operation_context(op);
	return services->vms;
}

int vm_check_managed(const struct vm_row *row, struct err *e)
{
	if (row->managed)
		return 0;
	err_set(e, ERR_WRONG_STATE, "VM %s on host %s was not made by Berth and is never changed",
	        row->name, row->host);
	err_hint(e, "adopt it first: POST /api/v1/vms/%s/adopt", row->id);
	return ERR_WRONG_STATE;
}

int vm_check_host(
        const struct vm_request *request, struct db *db, const char *host_id, struct err *e)
{
	if (request->wait_ms >= 0)
		return 0;
	struct host_row host CLEANUP(host_row_done) = {0};
	int rc = host_store_get(db, host_id, &host, e);
	return rc < 0 ? rc : host_check_available(&host, e);
}

int vm_add_change(struct db *db, const char *event, const char *id, const char *name, struct err *e)
{
	const struct change change = {.kind = "vm", .event = event, .object_id = id, .name = name};
	return change_add(db, &change, e);
}

struct vm_insert vm_row_from_spec(const struct vm_spec *spec, const char *spec_text)
{
	return (struct vm_insert){
	        .spec = spec_text,
	        .vcpus = spec->cpu.count,
	        .memory_bytes = spec->memory.size_bytes,
	        .autostart_priority = spec->has_autostart ? spec->autostart.priority : -1,
	        .deletion_protection = spec->deletion_protection,
	        .copied = spec,
	};
}

static int read_architecture(const char *spec_text, json_t *input, struct err *e)
{
	struct vm_spec spec CLEANUP(vm_spec_done) = {0};
	int rc = vm_spec_load(spec_text, &spec, e);
	if (rc == 0)
		json_object_set_new(input, "architecture",
		        json_string(spec.architecture ? spec.architecture : ""));
	return rc;
}

int vm_create_operation(struct db *db, struct vms *vms, const struct vm_row *row, const char *kind,
        json_t *input, const struct vm_request *request, char ret_operation[UUID_TEXT_SIZE],
        struct err *e)
{
	json_t *full CLEANUP(cleanup_json) = input ? json_copy(input) : json_object();
	int rc = read_architecture(row->spec, full, e);
	if (rc < 0)
		return rc;
	json_object_set_new(
	        full, "previous_desired", json_string(vm_power_names[row->desired_power]));
	const struct operation_request operation = {
	        .kind = kind,
	        .target_kind = "vm",
	        .target_id = row->id,
	        .target_name = row->name,
	        .host_id = row->host_id,
	        .input = full,
	        .requested_by = request->requested_by,
	        .request_id = request->request_id,
	        .deadline_ms = request->wait_ms >= 0 ? clock_wall_ms() + request->wait_ms : 0,
	};
	return operation_create(db, vms->config.engine, &operation, ret_operation, e);
}

json_t *vm_patch_base(const struct vm_row *row)
{
	json_t *base = json_loads(row->spec, 0, NULL);
	if (!base)
		base = json_object();
	json_object_set_new(base, "name", json_string(row->name));
	json_object_set_new(base, "host", json_string(row->host));
	json_object_set_new(base, "desired_power", json_string(vm_power_names[row->desired_power]));
	return base;
}

/* ---- rename ---- */

static int rename_domain(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	const char *name = json_string_value(json_object_get(call->input, "name"));
	if (!driver->rename)
		return err_set(e, ERR_UNSUPPORTED, "the host cannot rename VMs");
	int rc = driver->rename(c, call->vm_id, name, e);
	return rc < 0 ? rc : vm_call_look(call, driver, c, e);
}

static int store_name(struct db *db, struct vm_call *call, struct err *e)
{
	const char *name = json_string_value(json_object_get(call->input, "name"));
	int rc = vm_store_set_name(db, call->vm_id, name, e);
	if (rc == ERR_EXISTS)
		return err_set(e, ERR_EXISTS, "a VM named %s exists", name);
	return rc < 0 ? rc : vm_add_change(db, "updated", call->vm_id, name, e);
}

static int rename_back(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	const char *before = json_string_value(json_object_get(call->input, "before"));
	struct domain_info info CLEANUP(domain_info_done) = {0};
	int rc = driver->get_domain(c, call->vm_id, &info, e);
	if (rc < 0 || str_equal(info.name, before))
		return rc == ERR_NOT_FOUND ? 0 : rc;
	return driver->rename(c, call->vm_id, before, e);
}

static void run_rename(struct operation *op)
{
	vm_call_submit(op, rename_domain, store_name, 30000, 0);
}

static void undo_rename(struct operation *op)
{
	vm_call_submit(op, rename_back, NULL, 30000, 0);
}

static const struct operation_step rename_steps[] = {
        {.name = "rename", .run = run_rename, .undo = undo_rename},
};
const struct operation_kind vm_rename_kind = {.name = "vm.rename",
        .steps = rename_steps,
        .n_steps = ARRAY_LEN(rename_steps),
        VM_JOB(CONFIGURE)};

static int check_name_free(struct db *db, const struct vm_row *row, const char *name, struct err *e)
{
	struct vm_row other CLEANUP(vm_row_done) = {0};
	int rc = vm_store_get(db, name, &other, NULL);
	if (rc == ERR_NOT_FOUND)
		return 0;
	if (rc == 0 && !other.managed && !str_equal(other.host_id, row->host_id))
		return 0;
	return err_set_at(e, ERR_EXISTS, "/name", "a VM named %s exists", name);
}

int vm_rename(struct db *db, struct vms *vms, const struct vm_row *row, const char *name,
        const struct vm_request *request, char ret_operation[UUID_TEXT_SIZE], struct err *e)
{
	int rc = vm_check_managed(row, e);
	if (rc == 0)
		rc = vm_check_host(request, db, row->host_id, e);
	if (rc == 0)
		rc = check_name_free(db, row, name, e);
	if (rc < 0)
		return rc;
	if (row->power != POWER_STOPPED) {
		err_set(e, ERR_WRONG_STATE, "VM %s is %s: only a stopped VM can be renamed",
		        row->name, vm_power_names[row->power]);
		err_hint(e, "shut it down first");
		return ERR_WRONG_STATE;
	}
	json_t *input CLEANUP(cleanup_json) =
	        json_pack("{s:s, s:s}", "name", name, "before", row->name);
	return vm_create_operation(db, vms, row, "vm.rename", input, request, ret_operation, e);
}

int vm_adopt(struct db *db, const struct vm_row *row, const char *name, struct err *e)
{
	if (row->managed)
		return err_set(e, ERR_WRONG_STATE, "VM %s is managed already", row->name);
	if (!name)
		name = row->name;
	const char *wrong = field_check_name(name);
	if (wrong) {
		err_set_at(e, ERR_INVALID, "/name", "\"%s\" cannot be a VM's name here: it %s",
		        name, wrong);
		err_hint(e, "give another one as \"name\"; the domain keeps its own");
		return ERR_INVALID;
	}
	int rc = vm_store_set_managed(db, row->id, name, true, e);
	if (rc == ERR_EXISTS)
		return err_set_at(e, ERR_EXISTS, "/name", "a VM named %s exists", name);
	if (rc == 0)
		rc = vm_store_set_desired(
		        db, row->id, row->power == POWER_UNKNOWN ? POWER_STOPPED : row->power, e);
	return rc < 0 ? rc : vm_add_change(db, "adopted", row->id, name, e);
}

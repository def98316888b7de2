/* SPDX-License-Identifier: Apache-2.0 */
/* Granting room to VMs that start, and waiting until it is there. */
#include "compute/vm_room.h"

#include "base/cleanup.h"
#include "compute/vm_live.h"

void vm_room_note(const struct room_granted *granted, json_t *input)
{
	if (!granted->must_wait)
		return;
	json_object_set_new(input, "room_bytes", json_integer(granted->wait_bytes));
	json_object_set_new(input, "grows_to_bytes", json_integer(granted->grows_to_bytes));
}

int vm_room_grant(struct db *db, struct vms *vms, const struct vm_row *row,
        const struct vm_spec *spec, json_t *input, struct err *e)
{
	struct room_granted granted = {0};
	int rc = room_grant(
	        db, vms->config.services->room, row->id, row->host_id, spec, &granted, e);
	if (rc == 0)
		vm_room_note(&granted, input);
	return rc;
}

int vm_room_grant_start(
        struct db *db, struct vms *vms, const struct vm_row *row, json_t *input, struct err *e)
{
	struct vm_spec spec CLEANUP(vm_spec_done) = {0};
	bool is_saved = row->recorded_power == POWER_SUSPENDED && row->active_spec;
	int rc = vm_spec_load(is_saved ? row->active_spec : row->spec, &spec, e);
	if (rc == 0)
		rc = vm_room_grant(db, vms, row, &spec, input, e);
	return rc < 0 || !is_saved ? rc
	                           : room_doubt_cpus(db, row->id, row->host_id, ROOM_DOUBT_ALL, e);
}

void vms_set_room_gate(struct vms *vms, struct vm_room_gate gate)
{
	vms->room_gate = gate;
}

static void on_room(void *arg, int rc, const struct err *e)
{
	operation_step_done(arg, rc, e);
}

void vm_room_wait(struct operation *op)
{
	const struct vm_room_gate *gate = &vms_of(op)->room_gate;
	const json_t *bytes = json_object_get(operation_input(op), "room_bytes");
	if (!bytes || !gate->wait) {
		operation_step_done(op, 0, NULL);
		return;
	}
	const struct vm_room_need need = {
	        .host_id = operation_host_id(op),
	        .vm_id = operation_target_id(op),
	        .bytes = json_integer_value(bytes),
	        .grows_to_bytes =
	                json_integer_value(json_object_get(operation_input(op), "grows_to_bytes")),
	        .done = on_room,
	        .done_arg = op,
	};
	gate->wait(gate->arg, &need);
}

void vm_room_cancel(struct operation *op)
{
	const struct vm_room_gate *gate = &vms_of(op)->room_gate;
	if (gate->cancel)
		gate->cancel(gate->arg, operation_target_id(op));
}

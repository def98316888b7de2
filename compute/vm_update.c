/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changing a VM's configuration.
 *
 *  the transaction: new spec, new volumes ("creating"), MACs, what it holds on its host, operation (if that has work)
 *     -> images    wait for the copies of images
 *     -> volumes   files of added disks                          undo: delete them
 *     -> seed      cloud-init's data
 *     -> room      mode balloon: until other guests have given what this one grows by
 *     -> apply     define; if it runs, change live what can be   undo: a start defines anew
 *     -> confirm   until the guest has let go of removed devices
 *  success: volumes of removed disks that the guest does not have are free. Failure: the configuration is again what it was,
 *  unless others have changed it since: theirs stands, less what nobody will make.
 *
 * What the running guest has (active_spec) is advanced member by member as libvirt accepts each, a removed device when it
 * is gone; what still differs from the spec afterwards is `pending`. A disk that cannot be unplugged keeps its volume until
 * the VM stops (vm_volumes_own). A suspended VM's disks stay as its saved memory knows them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/number.h"
#include "base/str.h"
#include "compute/quota.h"
#include "compute/room.h"
#include "compute/room_cpus.h"
#include "compute/vm_call.h"
#include "compute/vm_change.h"
#include "compute/vm_jobs.h"
#include "compute/vm_live.h"
#include "compute/vm_room.h"
#include "compute/vm_seed.h"
#include "compute/vm_suspended.h"
#include "compute/vm_volumes.h"
#include "network/mac.h"

#define CONFIRM_AGAIN_MS 500
#define CONFIRM_TRIES    60

/* ---- apply: lane thread ---- */

struct apply {
	struct vm_call *call;
	const struct driver *driver;
	struct driver_connection *c;
	struct vm_spec active;
};

static void cleanup_apply(struct apply *a)
{
	vm_spec_done(&a->active);
}

static int change_device(struct apply *a, const struct vm_change *change, struct err *e)
{
	bool add = change->action == LIVE_DISK_ADD || change->action == LIVE_NIC_ADD;
	enum vm_device_kind kind =
	        change->action == LIVE_DISK_ADD || change->action == LIVE_DISK_REMOVE
	                ? VM_DEVICE_DISK
	                : VM_DEVICE_NIC;
	int (*act)(struct driver_connection *, const char *, const char *, enum attach_flags,
	        struct err *) = add ? a->driver->attach_device : a->driver->detach_device;
	if (!act)
		return err_set(
		        e, ERR_UNSUPPORTED, "the host cannot plug devices into running guests");
	char *xml CLEANUP(cleanup_free) = NULL;
	int rc = vm_domain_build_device(&a->call->plan, add ? &a->call->plan.spec : &a->active,
	        &a->call->platform, kind, change->device, &xml, e);
	return rc < 0 ? rc : act(a->c, a->call->vm_id, xml, ATTACH_LIVE, e);
}

static int change_limits(struct apply *a, const char *name, struct err *e)
{
	const struct vm_disk *disk = vm_spec_find_disk(&a->call->plan.spec, name);
	if (!disk || !a->driver->set_disk_limits)
		return ERR_UNSUPPORTED;
	return a->driver->set_disk_limits(
	        a->c, a->call->vm_id, name, disk->iops_limit, disk->bytes_per_second_limit, e);
}

/* Inserts, exchanges or ejects; the guest may have locked the drive's tray. */
static int change_media(struct apply *a, const char *name, struct err *e)
{
	char *xml CLEANUP(cleanup_free) = NULL;
	if (!a->driver->update_device)
		return ERR_UNSUPPORTED;
	int rc = vm_domain_build_device(&a->call->plan, &a->call->plan.spec, &a->call->platform,
	        VM_DEVICE_DISK, name, &xml, e);
	if (rc == 0)
		rc = a->driver->update_device(a->c, a->call->vm_id, xml, ATTACH_LIVE, e);
	return rc < 0 ? err_prefix(e, "CD-ROM drive %s", name) : 0;
}

/* What a balloon took before is given back as well: all of it was granted. */
static int grow_memory(struct apply *a, struct err *e)
{
	int64_t bytes = a->call->plan.spec.memory.size_bytes;
	if (a->call->plan.held.held.size_bytes < bytes)
		return err_set(e, ERR_UNSUPPORTED,
		        "it waited for a restart already, and no room is held for it");
	if (!a->driver->memory_grow_live)
		return ERR_UNSUPPORTED;
	int rc = a->driver->memory_grow_live(a->c, a->call->vm_id, bytes, e);
	if (rc < 0 || a->active.memory.ballooning != BALLOONING_AUTO || !a->driver->set_memory_live)
		return rc;
	rc = a->driver->set_memory_live(a->c, a->call->vm_id, bytes, e);
	if (rc != ERR_UNSUPPORTED)
		return rc;
	err_clear(e); /* it has grown, and no balloon takes any of it */
	return 0;
}

static int apply_one(struct apply *a, const struct vm_change *change, struct err *e)
{
	const struct vm_spec *wanted = &a->call->plan.spec;
	const struct driver *driver = a->driver;
	switch (change->action) {
	case LIVE_CPU_TUNE:
		return driver->set_cpu_live
		               ? driver->set_cpu_live(a->c, a->call->vm_id,
		                         wanted->cpu.shares ? wanted->cpu.shares : 1024,
		                         wanted->cpu.limit_percent ? wanted->cpu.limit_percent : -1,
		                         e)
		               : ERR_UNSUPPORTED;
	case LIVE_CPU_COUNT:
		return driver->set_vcpus_live ? driver->set_vcpus_live(a->c, a->call->vm_id,
		                                        (int)wanted->cpu.count, e)
		                              : ERR_UNSUPPORTED;
	case LIVE_CPU_PINS:
		return room_pins_apply(driver, a->c, a->call->vm_id, a->call->plan.held.cpus, e);
	case LIVE_MEMORY:
		return driver->set_memory_live ? driver->set_memory_live(a->c, a->call->vm_id,
		                                         wanted->memory.size_bytes, e)
		                               : ERR_UNSUPPORTED;
	case LIVE_MEMORY_GROW:
		return grow_memory(a, e);
	case LIVE_DISK_LIMITS:
		return change_limits(a, change->device, e);
	case LIVE_MEDIA:
		return change_media(a, change->device, e);
	default:
		return change_device(a, change, e);
	}
}

/* Sets one member of a JSON object by its pointer (at most three levels, no escapes in our names).
 */
static void set_pointer(json_t *object, const char *pointer, json_t *value)
{
	char *path CLEANUP(cleanup_free) = xstrdup(pointer + 1);
	char *save = NULL, *key = strtok_r(path, "/", &save), *next;
	for (; (next = strtok_r(NULL, "/", &save)); key = next) {
		json_t *inner = json_object_get(object, key);
		if (!inner)
			json_object_set_new(object, key, inner = json_object());
		object = inner;
	}
	if (value)
		json_object_set(object, key, value);
	else
		json_object_del(object, key);
}

static bool is_removal(const struct vm_change *change)
{
	return change->action == LIVE_DISK_REMOVE || change->action == LIVE_NIC_REMOVE;
}

/* Memory that was plugged before growing failed is the guest's: the domain says so, or nobody knows. */
static void note_plugged(struct apply *a, const struct field_change *d, json_t *active)
{
	struct domain_info info CLEANUP(domain_info_done) = {0};
	struct domain_facts facts CLEANUP(domain_facts_done) = {0};
	struct err ignored = {0};
	int rc = a->driver->get_domain(a->c, a->call->vm_id, &info, &ignored);
	if (rc == 0 && info.live_xml)
		rc = domain_xml_parse(info.live_xml, &facts, &ignored);
	if (rc < 0 || facts.memory_bytes >= a->call->plan.spec.memory.size_bytes)
		set_pointer(active, d->pointer, d->after);
}

/* It waits for a restart, and the operation's result says why. */
static void note_waiting(
        struct vm_call *call, const char *pointer, const struct vm_change *change, struct err *e)
{
	const char *why =
	        e->message[0] ? e->message : "the host cannot change it while the guest runs";
	json_object_set_new(
	        json_object_get(call->found, "waits_for_restart"), pointer, json_string(why));
	if (change->action == LIVE_MEMORY_GROW)
		json_object_set_new(call->found, "keeps_memory", json_true());
	err_clear(e);
}

/* `active` becomes what the guest has, also when a change fails. */
static int apply_live(struct apply *a, json_t *active, json_t *wanted, struct err *e)
{
	struct field_changes changes CLEANUP(field_changes_done) = {0};
	field_diff(active, wanted, &changes);
	for (size_t i = 0; i < changes.len; i++) {
		const struct field_change *d = &changes.items[i];
		const struct vm_change change = vm_change_judge(&a->active, d);
		int rc = change.kind == CHANGE_LIVE ? apply_one(a, &change, e) : 0;
		if (rc == ERR_UNSUPPORTED) {
			note_waiting(a->call, d->pointer, &change, e);
			continue;
		}
		if (rc == ERR_NOT_FOUND && is_removal(&change)) {
			err_clear(e); /* it has gone already */
			rc = 0;
		}
		if (rc < 0 && change.action == LIVE_MEMORY_GROW)
			note_plugged(a, d, active);
		if (rc < 0)
			return rc;
		if (is_removal(&change)) /* the guest has it until it lets go: see confirm */
			json_array_append_new(
			        json_object_get(a->call->found, "asked"), json_string(d->pointer));
		else if (change.kind != CHANGE_RESTART)
			set_pointer(active, d->pointer, d->after);
	}
	return 0;
}

static bool has_process(enum domain_state state)
{
	return !domain_state_is_off(state) && state != DOMAIN_UNKNOWN;
}

/* What the guest runs with; a VM that someone else started runs with what was defined until now. */
static const char *active_text(const struct vm_call *call)
{
	const char *active = call->plan.row.active_spec;
	return active ? active : json_string_value(json_object_get(call->input, "before"));
}

static int refuse_suspended(struct apply *a, struct err *e)
{
	struct domain_info info CLEANUP(domain_info_done) = {0};
	if (!vm_change_takes_volumes(&a->active, &a->call->plan.spec))
		return 0;
	int rc = a->driver->get_domain(a->c, a->call->vm_id, &info, e);
	if (rc == ERR_NOT_FOUND) {
		err_clear(e);
		return 0;
	}
	return rc < 0 ? rc : vm_refuse_suspended(&info, "removing or exchanging disks", e);
}

static int apply_domain(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	struct apply a CLEANUP(cleanup_apply) = {.call = call, .driver = driver, .c = c};
	call->found = json_pack("{s:[], s:{}}", "asked", "waits_for_restart");
	int rc = vm_spec_load(active_text(call), &a.active, e);
	if (rc == 0)
		rc = refuse_suspended(&a, e);
	if (rc == 0)
		rc = vm_call_define(call, driver, c, e);
	if (rc == 0)
		rc = vm_call_look(call, driver, c, e);
	if (rc < 0 || !has_process(call->seen.state) || call->plan.row.adopted)
		return rc;
	json_t *active CLEANUP(cleanup_json) = json_loads(active_text(call), 0, NULL);
	json_t *wanted CLEANUP(cleanup_json) = json_loads(call->plan.row.spec, 0, NULL);
	rc = apply_live(&a, active, wanted, e);
	call->active_spec = json_dumps(active, JSON_COMPACT);
	return rc;
}

/* Unless a later change was granted more meanwhile. */
static int return_growth(struct db *db, struct vm_call *call, struct err *e)
{
	const json_t *held = json_object_get(call->input, "held_bytes");
	const json_t *version = json_object_get(call->input, "version");
	struct vm_row now CLEANUP(vm_row_done) = {0};
	if (!json_is_true(json_object_get(call->found, "keeps_memory")) || !held)
		return 0;
	int rc = vm_store_get(db, call->vm_id, &now, e);
	if (rc < 0 || now.version != json_integer_value(version))
		return rc;
	return room_return_growth(db, call->vm_id, call->host_id, json_integer_value(held), e);
}

static int store_applied(struct db *db, struct vm_call *call, struct err *e)
{
	if (!call->active_spec)
		return 0;
	int rc = return_growth(db, call, e);
	if (rc == 0) /* vCPUs that were plugged; or others own its CPUs by now */
		rc = room_doubt_cpus(db, call->vm_id, call->host_id, ROOM_DOUBT_PINNED, e);
	if (rc < 0)
		return rc;
	char *pending CLEANUP(cleanup_free) =
	        vm_change_pending(call->active_spec, call->plan.row.spec);
	rc = vm_store_set_active(db, call->vm_id, call->active_spec, pending, e);
	return rc < 0 ? rc : vm_add_change(db, "updated", call->vm_id, call->plan.row.name, e);
}

/* ---- steps ---- */

static void on_applied(struct vm_call *call, int rc, const struct err *e)
{
	if (rc < 0) {
		if (call->active_spec)
			json_object_set_new(operation_memory(call->op), "active",
			        json_string(call->active_spec));
		operation_step_done(call->op, rc, e);
		return;
	}
	json_object_set(operation_memory(call->op), "asked", json_object_get(call->found, "asked"));
	json_t *waits = json_object_get(call->found, "waits_for_restart");
	if (json_object_size(waits) > 0)
		operation_add_result(call->op, json_pack("{s:O}", "waits_for_restart", waits));
	vm_call_finish_step(call, store_applied);
}

static void run_apply(struct operation *op)
{
	vm_call_submit_then(op, apply_domain, 180000, 0, on_applied);
}

/* "/disks/NAME", "/nics/NAME": whether the live domain has it. */
static bool has_device(const struct domain_facts *facts, const char *pointer)
{
	bool is_disk = str_starts_with(pointer, "/disks/");
	const char *name = strrchr(pointer, '/') + 1;
	char *alias CLEANUP(cleanup_free) = str_format("ua-%s-%s", is_disk ? "disk" : "nic", name);
	for (size_t i = 0; i < facts->n_disks && is_disk; i++)
		if (str_equal(facts->disks[i].alias, alias))
			return true;
	for (size_t i = 0; i < facts->n_nics && !is_disk; i++)
		if (str_equal(facts->nics[i].alias, alias))
			return true;
	return false;
}

/* Of the devices that the guest was asked to let go of: those that it has let go of leave `active`; *ret_left: some stay. */
static void note_removed(
        const json_t *asked, const struct domain_facts *facts, json_t *active, bool *ret_left)
{
	size_t i;
	json_t *pointer;
	json_array_foreach(asked, i, pointer)
	{
		const char *text = json_string_value(pointer);
		if (has_device(facts, text))
			*ret_left = true;
		else
			set_pointer(active, text, NULL);
	}
}

static int look_for_leftovers(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	struct domain_info info CLEANUP(domain_info_done) = {0};
	struct domain_facts facts CLEANUP(domain_facts_done) = {0};
	int rc = driver->get_domain(c, call->vm_id, &info, e);
	if (rc < 0 || !info.live_xml || !call->plan.row.active_spec)
		return rc == ERR_NOT_FOUND ? 0 : rc;
	rc = domain_xml_parse(info.live_xml, &facts, e);
	if (rc < 0)
		return rc;
	json_t *active CLEANUP(cleanup_json) = json_loads(call->plan.row.active_spec, 0, NULL);
	note_removed(json_object_get(call->memory, "asked"), &facts, active, &call->again);
	call->active_spec = json_dumps(active, JSON_COMPACT);
	return 0;
}

static void run_confirm(struct operation *op);

static void on_looked(struct vm_call *call, int rc, const struct err *e)
{
	struct operation *op = call->op;
	json_t *memory = operation_memory(op);
	json_int_t tries = json_integer_value(json_object_get(memory, "tries")) + 1;
	struct err late = {0};
	if (rc < 0) {
		operation_step_done(op, rc, e);
	} else if (!call->again) {
		vm_call_finish_step(call, store_applied);
	} else if (tries > CONFIRM_TRIES) {
		rc = err_set(&late, ERR_DEADLINE, "the guest of VM %s did not let go of the device",
		        operation_target_name(op));
		json_object_set_new(memory, "active",
		        call->active_spec ? json_string(call->active_spec) : json_null());
		err_hint(&late, "stop using the device inside the guest, or restart the VM");
		operation_step_done(op, rc, &late);
	} else {
		json_object_set_new(memory, "tries", json_integer(tries));
		operation_step_again(op, CONFIRM_AGAIN_MS, run_confirm);
	}
}

static void run_confirm(struct operation *op)
{
	if (json_array_size(json_object_get(operation_memory(op), "asked")) > 0)
		vm_call_submit_then(op, look_for_leftovers, 15000, 0, on_looked);
	else
		operation_step_done(op, 0, NULL);
}

/* What the guest is left with when it did not let go of all that it was asked for. */
static const char *active_after(const struct operation *op, const struct vm_row *now)
{
	const char *active = json_string_value(json_object_get(operation_memory(op), "active"));
	return active && now->active_spec ? active : now->active_spec;
}

/* Somebody has changed it since: theirs stands, and is applied by theirs, with what this one had reserved for it. */
static int leave_to_later(
        struct db *db, const struct operation *op, const struct vm_row *now, struct err *e)
{
	struct vm_spec spec CLEANUP(vm_spec_done) = {0};
	const char *active = active_after(op, now);
	int rc = vm_spec_load(now->spec, &spec, e);
	if (rc == 0)
		rc = vm_volumes_forget_new(db, now->id, &spec, e);
	if (rc < 0 || !active)
		return rc;
	char *pending CLEANUP(cleanup_free) = vm_change_pending(active, now->spec);
	rc = vm_store_set_active(db, now->id, active, pending, e);
	return rc < 0 ? rc : room_doubt_cpus(db, now->id, now->host_id, ROOM_DOUBT_PINNED, e);
}

/* What a running guest holds after its change failed: what it held before, and what was plugged before the failure. */
static int find_held(
        const struct operation *op, const char *active_text, int64_t *ret_bytes, struct err *e)
{
	struct vm_spec active CLEANUP(vm_spec_done) = {0};
	int64_t before = json_integer_value(json_object_get(operation_input(op), "held_bytes"));
	int rc = active_text && before > 0 ? vm_spec_load(active_text, &active, e) : 0;
	*ret_bytes = before > 0 ? int64_max(before, active.memory.size_bytes) : 0;
	return rc;
}

static int restore_spec(struct db *db, const struct operation *op, const struct vm_row *now,
        const char *before, struct err *e)
{
	struct vm_spec spec CLEANUP(vm_spec_done) = {0};
	struct room_granted granted;
	int64_t held_bytes = 0;
	int rc = vm_spec_load(before, &spec, e);
	if (rc < 0)
		return rc;
	const struct vm_insert row = vm_row_from_spec(&spec, before);
	const char *active = active_after(op, now);
	char *pending CLEANUP(cleanup_free) = vm_change_pending(active, before);
	rc = vm_store_set_spec(db, now->id, &row, pending, e);
	if (rc == 0 && active)
		rc = vm_store_set_active(db, now->id, active, pending, e);
	if (rc == 0)
		rc = room_change(db, vms_of(op)->config.services->room, now->id, now->host_id,
		        &spec, ROOM_INSIST, &granted, e);
	if (rc == 0)
		rc = room_doubt_cpus(db, now->id, now->host_id, ROOM_DOUBT_PINNED, e);
	if (rc == 0)
		rc = find_held(op, active, &held_bytes, e);
	if (rc == 0)
		rc = room_return_growth(db, now->id, now->host_id, held_bytes, e);
	if (rc == 0)
		rc = vm_volumes_forget_new(db, now->id, &spec, e);
	if (rc == 0)
		rc = vm_volumes_own(db, vms_of(op), now->id, e);
	if (rc == 0)
		rc = vm_store_set_macs(db, now->id, &spec, e);
	return rc < 0 ? rc : vm_add_change(db, "updated", now->id, now->name, e);
}

/* Whether another operation will make what is reserved. */
static int find_maker(struct db *db, const char *vm_id, bool *ret_found, struct err *e)
{
	const char *const kinds[] = {vm_create_kind.name, vm_update_kind.name};
	char other[UUID_TEXT_SIZE] = "";
	int rc = 0;
	for (size_t i = 0; i < ARRAY_LEN(kinds) && rc == 0 && !other[0]; i++)
		rc = operation_find_kind(db, vm_id, kinds[i], other, e);
	*ret_found = other[0] != '\0';
	return rc;
}

/* The configuration of before the change, or that of later ones; without disks that nobody will make. */
static int find_standing(struct db *db, const struct operation *op, const struct vm_row *now,
        char **ret_spec, struct err *e)
{
	const json_t *input = operation_input(op);
	bool is_last = now->version == json_integer_value(json_object_get(input, "version"));
	const char *spec =
	        is_last ? json_string_value(json_object_get(input, "before")) : now->spec;
	bool made = false;
	int rc = find_maker(db, now->id, &made, e);
	if (rc < 0)
		return rc;
	if (!made)
		return vm_volumes_leave_unmade(db, now->id, spec, ret_spec, e);
	*ret_spec = xstrdup(spec);
	return 0;
}

static int take_back(struct db *db, const struct operation *op, struct err *e)
{
	struct vm_row now CLEANUP(vm_row_done) = {0};
	char *spec CLEANUP(cleanup_free) = NULL;
	bool found = false;
	int rc = vm_store_find(db, operation_target_id(op), &now, &found, e);
	if (rc < 0 || !found)
		return rc;
	rc = find_standing(db, op, &now, &spec, e);
	if (rc < 0)
		return rc;
	return str_equal(spec, now.spec) ? leave_to_later(db, op, &now, e)
	                                 : restore_spec(db, op, &now, spec, e);
}

/* All is as wanted: volumes are where the configuration says. */
static int settle(struct db *db, const struct operation *op, struct err *e)
{
	const char *id = operation_target_id(op);
	const char *before_text = json_string_value(json_object_get(operation_input(op), "before"));
	struct vm_row row CLEANUP(vm_row_done) = {0};
	struct vm_spec spec CLEANUP(vm_spec_done) = {0};
	struct vm_spec before CLEANUP(vm_spec_done) = {0};
	struct room_granted granted;
	int rc = vm_store_get(db, id, &row, e);
	if (rc == 0)
		rc = vm_spec_load(row.spec, &spec, e);
	if (rc == 0)
		rc = vm_spec_load(before_text, &before, e);
	if (rc == 0)
		rc = vm_volumes_flatten_new(db, op, e);
	if (rc == 0)
		rc = vm_volumes_mark_ready(db, op, e);
	if (rc == 0)
		rc = vm_volumes_own(db, vms_of(op), id, e);
	if (rc == 0) /* a start between has taken what it starts with for all there is */
		rc = room_change(db, vms_of(op)->config.services->room, id, row.host_id, &spec,
		        ROOM_INSIST, &granted, e);
	return rc < 0 ? rc : vm_volumes_drop_media(db, vms_of(op), row.host_id, &before, &spec, e);
}

static int finish_update(struct db *db, const struct operation *op, enum operation_state outcome,
        const struct err *error, struct err *e)
{
	(void)error;
	const char *id = operation_target_id(op);
	vms_mark_dirty_on_commit(db, vms_of(op), operation_host_id(op), id);
	return outcome == OPERATION_SUCCEEDED ? settle(db, op, e) : take_back(db, op, e);
}

static const struct operation_step steps[] = {
        {.name = "images", .run = vm_volumes_wait},
        {.name = "volumes", .run = vm_volumes_create, .undo = vm_volumes_uncreate},
        {.name = "seed", .run = vm_seed_write},
        {.name = "room", .run = vm_room_wait},
        {.name = "apply", .run = run_apply},
        {.name = "confirm", .run = run_confirm},
};
const struct operation_kind vm_update_kind = {.name = "vm.update",
        .steps = steps,
        .n_steps = ARRAY_LEN(steps),
        .finish = finish_update,
        .on_cancel = vm_room_cancel,
        VM_JOB(CONFIGURE)};

/* ---- the mutation ---- */

static int check_fixed(const struct vm_row *row, const struct vm_spec *before,
        struct vm_spec *wanted, struct field_errors *errors)
{
	size_t n = errors->len;
	if (wanted->name && strcmp(wanted->name, row->name) != 0)
		field_errors_add(
		        errors, "immutable", "/name", "use POST /vms/%s/rename", row->name);
	if (wanted->host && strcmp(wanted->host, row->host) != 0 &&
	        strcmp(wanted->host, row->host_id) != 0)
		field_errors_add(errors, "immutable", "/host",
		        "it runs on %s and cannot be moved by a change", row->host);
	if (wanted->host_group && strcmp(wanted->host_group, row->host_group) != 0)
		field_errors_add(errors, "immutable", "/host_group", "its host %s is in group %s",
		        row->host, row->host_group);
	if ((enum vm_power)wanted->desired_power != row->desired_power)
		field_errors_add(errors, "immutable", "/desired_power",
		        "is %s: use the verbs start, shutdown, stop, pause, resume, suspend",
		        vm_power_names[row->desired_power]);
	if (!str_equal(before->architecture, wanted->architecture))
		field_errors_add(errors, "immutable", "/architecture", "cannot change");
	return errors->len > n ? ERR_INVALID : 0;
}

/*
 * A drive's volume and image go together: another image is another volume, another volume or none is no image. Else a patch
 * of the one would leave what the other said before.
 */
static void match_medium(const struct vm_disk *old, struct vm_disk *disk)
{
	bool same_volume = str_equal(disk->volume, old->volume);
	bool same_image = str_equal(disk->image, old->image);
	if (same_volume && same_image)
		return;
	if (!same_image && same_volume)
		str_replace(&disk->volume, NULL);
	else if (same_image)
		str_replace(&disk->image, NULL);
	if (disk->size_bytes == old->size_bytes)
		disk->size_bytes = 0; /* it was the old medium's */
}

/* What a PUT may leave out because it was chosen here: volumes' names and MACs. A disk's volume and
 * size stay. */
static int inherit(
        const struct vm_spec *before, struct vm_spec *wanted, struct field_errors *errors)
{
	size_t n = errors->len;
	for (size_t i = 0; i < wanted->disks.len; i++) {
		struct vm_disk *disk = vm_spec_disk(wanted, i);
		const struct vm_disk *old = vm_spec_find_disk(before, disk->name);
		if (old && disk->kind == VM_DISK_CDROM && old->kind == VM_DISK_CDROM)
			match_medium(old, disk); /* a drive may get another one */
		if (!old || (disk->kind == VM_DISK_CDROM && old->kind == VM_DISK_CDROM))
			continue;
		if (!disk->volume)
			str_replace(&disk->volume, old->volume);
		if (disk->size_bytes == 0)
			disk->size_bytes = old->size_bytes;
		char pointer[128];
		snprintf(pointer, sizeof(pointer), "/disks/%s", disk->name);
		if (!str_equal(disk->volume, old->volume) || disk->size_bytes != old->size_bytes ||
		        !str_equal(disk->pool, old->pool) || disk->format != old->format ||
		        !str_equal(disk->image, old->image))
			field_errors_add(errors, "immutable", pointer,
			        "its pool, volume, image, size and format cannot change here: use "
			        "the disk's move, the volume's resize, or remove it and add "
			        "another");
	}
	for (size_t i = 0; i < wanted->nics.len; i++) {
		struct vm_nic *nic = vm_spec_nic(wanted, i);
		for (size_t j = 0; j < before->nics.len; j++)
			if (!nic->mac && strcmp(vm_spec_nic(before, j)->name, nic->name) == 0)
				str_replace(&nic->mac, vm_spec_nic(before, j)->mac);
	}
	return errors->len > n ? ERR_INVALID : 0;
}

static int write_spec(struct db *db, const struct vm_row *row, const struct vm_spec *before,
        const struct vm_spec *wanted, const char *text, struct err *e)
{
	const struct quota_usage more = quota_more(before, wanted);
	const struct vm_insert insert = vm_row_from_spec(wanted, text);
	char *pending CLEANUP(cleanup_free) = vm_change_pending(row->active_spec, text);
	int rc = vm_store_set_spec(db, row->id, &insert, pending, e);
	if (rc == 0)
		rc = vm_store_set_macs(db, row->id, wanted, e);
	if (rc == 0)
		rc = quota_check(db, &wanted->labels, &more, QUOTA_WRITTEN, e);
	return rc < 0 ? rc : vm_add_change(db, "updated", row->id, row->name, e);
}

static int check_adopted(const struct vm_row *row, struct err *e)
{
	if (!row->adopted)
		return 0;
	err_set(e, ERR_UNSUPPORTED,
	        "VM %s was adopted: its devices, CPU and memory are not Berth's to change",
	        row->name);
	err_hint(e, "description, labels, restart_policy, autostart and deletion_protection can "
	            "change");
	return ERR_UNSUPPORTED;
}

int vm_update(struct db *db, struct vms *vms, const struct vm_row *row, struct vm_spec *wanted,
        const struct vm_request *request, struct field_errors *errors,
        char ret_operation[UUID_TEXT_SIZE], struct err *e)
{
	ret_operation[0] = '\0';
	struct vm_spec before CLEANUP(vm_spec_done) = {0};
	struct room_granted granted = {0};
	int64_t held_bytes = 0;
	int rc = vm_check_managed(row, e);
	if (rc == 0)
		rc = vm_spec_load(row->spec, &before, e);
	if (rc == 0)
		rc = check_fixed(row, &before, wanted, errors);
	if (rc == 0)
		rc = inherit(&before, wanted, errors);
	if (rc == 0)
		rc = vm_store_choose_macs(db, wanted, e);
	if (rc == 0 && !row->adopted)
		rc = vm_spec_check(wanted, &vms->config.rules, errors);
	if (rc == 0)
		rc = room_held_bytes(db, row->id, row->host_id, &held_bytes, e);
	if (rc < 0)
		return rc;
	str_replace(&wanted->name, row->name);
	char *proposed CLEANUP(cleanup_free) = vm_spec_store(wanted);
	bool needs_host = vm_change_needs_host(row->spec, proposed) || wanted->cloud_init.password;
	/* Growth that waits for a restart goes on waiting. */
	rc = room_change(db, vms->config.services->room, row->id, row->host_id, wanted,
	        wanted->memory.size_bytes == before.memory.size_bytes ? ROOM_ASK_NO_MEMORY
	                                                              : ROOM_ASK,
	        &granted, e);
	if (rc < 0)
		return rc;
	if (!needs_host)
		return str_equal(proposed, row->spec)
		               ? 0
		               : write_spec(db, row, &before, wanted, proposed, e);
	rc = check_adopted(row, e);
	if (rc == 0)
		rc = vm_check_host(request, db, row->host_id, e);
	if (rc == 0 && vm_change_takes_volumes(&before, wanted))
		rc = vm_check_not_suspended(db, row, "removing or exchanging disks", e);
	json_t *wait_for CLEANUP(cleanup_json) = json_array();
	const struct vm_claim claim = {
	        .vms = vms,
	        .request = request,
	        .vm_id = row->id,
	        .vm_name = row->name,
	        .host_id = row->host_id,
	        .wait_for = wait_for,
	};
	bool seed = false;
	if (rc == 0)
		rc = vm_volumes_claim(db, wanted, &before, &claim, e);
	if (rc == 0)
		rc = vm_seed_claim(db, wanted, &before, row->id, row->name, row->host_id, &seed, e);
	if (rc < 0)
		return rc;
	char *text CLEANUP(cleanup_free) = vm_spec_store(wanted);
	rc = write_spec(db, row, &before, wanted, text, e);
	if (rc < 0)
		return rc;
	json_t *input CLEANUP(cleanup_json) = json_pack("{s:s, s:I, s:b, s:O, s:I}", "before",
	        row->spec, "version", (json_int_t)(row->version + 1), "seed", (int)seed, "wait_for",
	        wait_for, "held_bytes", (json_int_t)held_bytes);
	vm_room_note(&granted, input);
	return vm_create_operation(db, vms, row, "vm.update", input, request, ret_operation, e);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of snapshot groups. */
#include "compute/snapshot_group.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "compute/snapshot_group_internal.h"
#include "compute/snapshot_group_store.h"
#include "compute/vm_live.h"
#include "db/change_feed.h"

#define OF(member) .offset = offsetof(struct snapshot_group_spec, member)

#define CONFIG_FIELDS                                                                              \
	{.name = "description",                                                                    \
	        .type = FIELD_STRING,                                                              \
	        OF(description),                                                                   \
	        .max = 1024,                                                                       \
	        .doc = "What it is for"},                                                          \
	        {.name = "vms",                                                                    \
	                .type = FIELD_STRINGS,                                                     \
	                OF(selector.vms),                                                          \
	                .max = SNAPSHOT_GROUP_VMS_MAX,                                             \
	                .doc = "VMs by name or id"},                                               \
	        {.name = "labels",                                                                 \
	                .type = FIELD_LABELS,                                                      \
	                OF(selector.labels),                                                       \
	                .max = 16,                                                                 \
	                .doc = "And those that carry all of these"},                               \
	        {.name = "memory",                                                                 \
	                .type = FIELD_BOOL,                                                        \
	                OF(memory),                                                                \
	                .doc = "With the memory of running VMs; they are paused while it is "      \
	                       "saved"},                                                           \
	{                                                                                          \
		.name = "quiesce", .type = FIELD_BOOL, OF(quiesce),                                \
		.doc = "Freeze the filesystems of running guests for the moment; else running "    \
		       "VMs are paused for it"                                                     \
	}

static const struct field config_fields[] = {CONFIG_FIELDS};
static const struct field_table config_table =
        FIELD_TABLE("SnapshotGroupConfig", struct snapshot_group_spec, config_fields);

static const struct field write_fields[] = {
        {.name = "name",
                .type = FIELD_STRING,
                OF(name),
                .flags = FIELD_REQUIRED,
                .max = 63,
                .check = field_check_name,
                .format = "^[a-z][a-z0-9-]{0,62}$",
                .doc = "Unique name; that of each VM's snapshot, too"},
        CONFIG_FIELDS,
};
const struct field_table snapshot_group_write_fields =
        FIELD_TABLE("SnapshotGroupWrite", struct snapshot_group_spec, write_fields);

static const struct field answer_fields[] = {
        {.name = "id", .type = FIELD_STRING, .flags = FIELD_READ_ONLY, .doc = "UUID"},
        {.name = "name", .type = FIELD_STRING, OF(name), .doc = "Unique name"},
        CONFIG_FIELDS,
        {.name = "state",
                .type = FIELD_STRING,
                .flags = FIELD_READ_ONLY,
                .doc = "creating, ready or deleting"},
        {.name = "members",
                .type = FIELD_JSON,
                .flags = FIELD_READ_ONLY,
                .doc = "The snapshots that are left: [{vm, snapshot, id, state}]"},
        {.name = "created_at",
                .type = FIELD_TIME,
                .flags = FIELD_READ_ONLY,
                .doc = "Time of creation"},
        {.name = "version",
                .type = FIELD_INT,
                .flags = FIELD_READ_ONLY,
                .doc = "Counts changes of the configuration"},
};
const struct field_table snapshot_group_fields =
        FIELD_TABLE("SnapshotGroup", struct snapshot_group_spec, answer_fields);

void snapshot_group_spec_done(struct snapshot_group_spec *spec)
{
	field_release(&snapshot_group_write_fields, spec);
}

void snapshot_group_row_done(struct snapshot_group_row *row)
{
	snapshot_group_spec_done(&row->spec);
}

int snapshot_group_load(const char *stored, struct snapshot_group_spec *ret_spec, struct err *e)
{
	struct field_errors errors = {0};
	json_t *json = json_loads(stored, 0, NULL);
	int rc = json ? field_decode(&config_table, json, FIELD_DECODE_STORED, ret_spec, &errors)
	              : ERR_INVALID;
	json_decref(json);
	return rc < 0 ? err_set(e, ERR_INTERNAL, "a stored snapshot group is invalid") : 0;
}

int snapshot_group_add_change(
        struct db *db, const char *event, const char *id, const char *name, struct err *e)
{
	const struct change change = {
	        .kind = "snapshot_group", .event = event, .object_id = id, .name = name};
	return change_add(db, &change, e);
}

/* ---- answers ---- */

static int encode_member(void *arg, const struct snapshot_group_member *member, struct err *e)
{
	(void)e;
	struct json_writer *w = arg;
	json_object_begin(w);
	json_member_string(w, "vm", member->vm);
	json_member_string(w, "snapshot", member->name);
	json_member_string(w, "id", member->id);
	json_member_string(w, "state", member->state);
	json_object_end(w);
	return 0;
}

int snapshot_group_encode(
        struct db *db, const struct snapshot_group_row *row, struct json_writer *w, struct err *e)
{
	json_object_begin(w);
	json_member_string(w, "id", row->id);
	json_member_string(w, "name", row->spec.name);
	field_encode_members(&config_table, &row->spec, FIELD_ENCODE_ANSWER, w);
	json_member_string(w, "state", row->state);
	json_key(w, "members");
	json_array_begin(w);
	int rc = snapshot_group_store_members(db, row->id, encode_member, w, e);
	json_array_end(w);
	json_member_time(w, "created_at", row->created_at);
	json_member_int(w, "version", row->version);
	json_object_end(w);
	return rc;
}

/* ---- creation ---- */

static int check(const struct snapshot_group_spec *spec, struct err *e)
{
	int rc = snapshot_selector_check(&spec->selector, "/vms", e);
	if (rc == 0 && spec->memory && spec->quiesce)
		return err_set_at(e, ERR_INVALID, "/quiesce",
		        "a snapshot with memory needs no quiescing: the guest goes on where it "
		        "was");
	return rc;
}

static int insert(
        struct db *db, const struct snapshot_group_spec *spec, const char *id, struct err *e)
{
	struct json_writer w CLEANUP(json_writer_done) = {0};
	struct snapshot_group_row row = {.state = "creating", .created_at = clock_wall_ms()};
	row.spec.name = spec->name; /* borrowed */
	uuid_text_copy(row.id, id);
	field_encode(&config_table, spec, FIELD_ENCODE_STORE, &w);
	int rc = snapshot_group_store_insert(db, &row, str_text(&w.out), e);
	if (rc == ERR_EXISTS)
		return err_set_at(e, rc, "/name", "a snapshot group named %s exists", spec->name);
	return rc < 0 ? rc : snapshot_group_add_change(db, "created", id, spec->name, e);
}

static json_t *make_member(const struct vm_row *vm, const char *snapshot, const char *operation)
{
	return json_pack("{s:s, s:s, s:s, s:s}", "vm_id", vm->id, "vm", vm->name, "snapshot",
	        snapshot, "operation", operation);
}

static int create_member(struct db *db, struct vms *vms, const struct snapshot_group_spec *spec,
        const char *group_id, size_t group_size, const char *vm_id, const struct vm_request *asked,
        json_t *members, struct err *e)
{
	struct vm_row vm CLEANUP(vm_row_done) = {0};
	char operation[UUID_TEXT_SIZE], snapshot[UUID_TEXT_SIZE];
	int rc = vm_store_get(db, vm_id, &vm, e);
	if (rc < 0)
		return rc;
	const struct snapshot_request request = {
	        .name = spec->name,
	        .description = spec->description,
	        .memory = spec->memory && vm.recorded_power != POWER_STOPPED,
	        .quiesce = spec->quiesce && vm.recorded_power == POWER_RUNNING,
	        .group_id = group_id,
	        .group_size = (int64_t)group_size,
	};
	rc = snapshot_create(db, vms, &vm, &request, asked, operation, snapshot, e);
	if (rc < 0)
		return err_prefix(e, "VM %s", vm.name);
	json_array_append_new(members, make_member(&vm, snapshot, operation));
	return 0;
}

static int create_operation(struct db *db, struct vms *vms, const char *kind, const char *id,
        const char *name, json_t *members, const struct vm_request *asked,
        char ret_operation[UUID_TEXT_SIZE], struct err *e)
{
	json_t *input = json_pack("{s:O}", "members", members);
	const struct operation_request request = {.kind = kind,
	        .target_kind = "snapshot_group",
	        .target_id = id,
	        .target_name = name,
	        .input = input,
	        .requested_by = asked->requested_by,
	        .request_id = asked->request_id};
	int rc = operation_create(db, vms->config.engine, &request, ret_operation, e);
	json_decref(input);
	return rc;
}

int snapshot_group_create(struct db *db, struct vms *vms, const struct snapshot_group_spec *spec,
        const struct vm_request *asked, char ret_operation[UUID_TEXT_SIZE],
        char ret_id[UUID_TEXT_SIZE], struct err *e)
{
	struct snapshot_selection vm_ids CLEANUP(snapshot_selection_done) = {0};
	json_t *members CLEANUP(cleanup_json) = json_array();
	int rc = check(spec, e);
	if (rc == 0)
		rc = snapshot_select(db, &spec->selector, /* is_strict= */ true, &vm_ids, e);
	if (rc == 0 && (vm_ids.len == 0 || vm_ids.len > SNAPSHOT_GROUP_VMS_MAX))
		rc = err_set_at(e, ERR_UNPROCESSABLE, "/vms", "a group has 1 to %d VMs, not %zu",
		        SNAPSHOT_GROUP_VMS_MAX, vm_ids.len);
	if (rc < 0)
		return rc;
	uuid_make(ret_id);
	rc = insert(db, spec, ret_id, e);
	for (size_t i = 0; rc == 0 && i < vm_ids.len; i++)
		rc = create_member(
		        db, vms, spec, ret_id, vm_ids.len, vm_ids.ids[i], asked, members, e);
	return rc < 0 ? rc
	              : create_operation(db, vms, "snapshot_group.create", ret_id, spec->name,
	                        members, asked, ret_operation, e);
}

/* ---- deletion ---- */

/* The walk over the rows must have ended before they are changed. */
static int note_member(void *arg, const struct snapshot_group_member *member, struct err *e)
{
	(void)e;
	json_array_append_new(arg, json_pack("{s:s, s:s, s:s}", "vm_id", member->vm_id, "vm",
	                                   member->vm, "snapshot", member->id));
	return 0;
}

static int delete_member(struct db *db, struct vms *vms, json_t *member,
        const struct vm_request *asked, struct err *e)
{
	struct vm_row vm CLEANUP(vm_row_done) = {0};
	struct snapshot_row row CLEANUP(snapshot_row_done) = {0};
	char operation[UUID_TEXT_SIZE];
	const char *vm_id = json_string_value(json_object_get(member, "vm_id"));
	int rc = vm_store_get(db, vm_id, &vm, e);
	if (rc == 0)
		rc = snapshot_store_get(
		        db, vm_id, json_string_value(json_object_get(member, "snapshot")), &row, e);
	if (rc == 0)
		rc = snapshot_delete(db, vms, &vm, &row, asked, operation, e);
	if (rc == 0)
		json_object_set_new(member, "operation", json_string(operation));
	return rc;
}

int snapshot_group_delete(struct db *db, struct vms *vms, const struct snapshot_group_row *row,
        const struct vm_request *asked, char ret_operation[UUID_TEXT_SIZE], struct err *e)
{
	char busy[UUID_TEXT_SIZE], kind[64];
	json_t *members CLEANUP(cleanup_json) = json_array();
	int rc = operation_find_busy(db, row->id, busy, kind, e);
	if (rc == 0 && busy[0])
		return err_set(e, ERR_BUSY, "snapshot group %s is busy with %s: operation %s",
		        row->spec.name, kind, busy);
	if (rc == 0)
		rc = snapshot_group_store_members(db, row->id, note_member, members, e);
	for (size_t i = 0; rc == 0 && i < json_array_size(members); i++)
		rc = delete_member(db, vms, json_array_get(members, i), asked, e);
	if (rc == 0)
		rc = snapshot_group_store_set_state(db, row->id, "deleting", e);
	return rc < 0 ? rc
	              : create_operation(db, vms, "snapshot_group.delete", row->id, row->spec.name,
	                        members, asked, ret_operation, e);
}

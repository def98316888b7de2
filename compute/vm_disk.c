/* SPDX-License-Identifier: Apache-2.0 */
/* What the kinds of work on a disk share. Writer thread. */
#include "compute/vm_disk.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "compute/vm_change.h"
#include "compute/vm_live.h"

static char *with_member(const char *spec, const char *disk, const char *member, json_t *value)
{
	json_t *json CLEANUP(cleanup_json) = spec ? json_loads(spec, 0, NULL) : NULL;
	json_t *entry = json_object_get(json_object_get(json, "disks"), disk);
	if (!entry)
		return spec ? str_format("%s", spec) : NULL;
	json_object_set(entry, member, value);
	return json_dumps(json, JSON_COMPACT);
}

static int record(struct db *db, const struct vm_row *row, const char *wanted, const char *active,
        struct err *e)
{
	struct vm_spec spec CLEANUP(vm_spec_done) = {0};
	int rc = vm_spec_load(wanted, &spec, e);
	if (rc < 0)
		return rc;
	char *text CLEANUP(cleanup_free) = vm_spec_store(&spec); /* in the canonical order */
	char *pending CLEANUP(cleanup_free) = vm_change_pending(active, text);
	const struct vm_insert insert = vm_row_from_spec(&spec, text);
	rc = vm_store_set_spec(db, row->id, &insert, pending, e);
	if (rc == 0 && active)
		rc = vm_store_set_active(db, row->id, active, pending, e);
	return rc < 0 ? rc : vm_add_change(db, "updated", row->id, row->name, e);
}

int vm_disk_record(struct db *db, const char *vm_id, const char *disk, const char *member,
        json_t *value, struct err *e)
{
	struct vm_row row CLEANUP(vm_row_done) = {0};
	json_t *owned CLEANUP(cleanup_json) = value;
	int rc = vm_store_get(db, vm_id, &row, e);
	if (rc < 0)
		return rc;
	char *wanted CLEANUP(cleanup_free) = with_member(row.spec, disk, member, owned);
	char *active CLEANUP(cleanup_free) = with_member(row.active_spec, disk, member, owned);
	return record(db, &row, wanted, active, e);
}

int vm_disk_find_volume(struct db *db, const char *vm_id, const char *disk,
        struct volume_row *ret_volume, struct err *e)
{
	struct volume_row *volumes = NULL;
	size_t n = 0;
	int found = 0;
	int rc = volume_store_of_vm(db, vm_id, &volumes, &n, e);
	for (size_t i = 0; i < n; i++) {
		if (!found && str_equal(volumes[i].disk, disk)) {
			*ret_volume = volumes[i];
			found = 1;
		} else {
			volume_row_done(&volumes[i]);
		}
	}
	free(volumes);
	return rc < 0 ? rc : found;
}

int vm_disk_volume(struct db *db, const struct vm_row *row, const char *disk,
        struct volume_row *ret_volume, struct err *e)
{
	int rc = vm_disk_find_volume(db, row->id, disk, ret_volume, e);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	return err_set(e, ERR_NOT_FOUND, "VM %s has no disk %s with a volume", row->name, disk);
}

int vm_disk_check_one_layer(
        struct db *db, const char *volume_id, const char *disk, const char *but, struct err *e)
{
	struct layer_list layers CLEANUP(layer_list_done) = {0};
	size_t n = 0;
	int rc = layer_store_of_volume(db, volume_id, &layers, e);
	for (size_t i = 0; i < layers.len; i++)
		n += !str_equal(layers.items[i].id, but) &&
		     !str_equal(layers.items[i].state, "deleting");
	if (rc < 0 || n <= 1)
		return rc;
	err_set(e, ERR_IN_USE, "disk %s has snapshots: it has %zu layers", disk, n);
	return err_hint(e, "delete the VM's snapshots first");
}

int vm_disk_resized(struct db *db, const char *vm_id, const char *disk, int64_t size_bytes,
        void *arg, struct err *e)
{
	(void)arg;
	return vm_disk_record(db, vm_id, disk, "size_bytes", json_integer(size_bytes), e);
}

static int sweep_vm(struct db *db, void *arg, const char *vm_id, struct err *e)
{
	static const struct vm_request ourselves = {.requested_by = "berth", .wait_ms = -1};
	struct vm_row row CLEANUP(vm_row_done) = {0};
	char busy[UUID_TEXT_SIZE] = "", kind[64], operation[UUID_TEXT_SIZE];
	int rc = vm_store_get(db, vm_id, &row, e);
	if (rc == 0)
		rc = operation_find_busy(db, vm_id, busy, kind, e);
	if (rc < 0 || busy[0] || vm_check_host(&ourselves, db, row.host_id, NULL) < 0)
		return rc;
	return vm_create_operation(db, arg, &row, "snapshot.sweep", NULL, &ourselves, operation, e);
}

int vm_disk_sweep(struct db *db, struct vms *vms, struct err *e)
{
	return layer_store_each_leftover(db, sweep_vm, vms, e);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Cloning VMs. Writer thread. */
#include "compute/vm_clone.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "compute/snapshot.h"
#include "compute/vm_live.h"

static const struct snapshot_disk *find(const struct snapshot_disks *disks, const char *name)
{
	for (size_t i = 0; i < disks->len; i++)
		if (strcmp(disks->items[i].disk, name) == 0)
			return &disks->items[i];
	return NULL;
}

static int take_disk(
        struct vm_disk *disk, const struct snapshot_disks *disks, enum vm_clone mode, struct err *e)
{
	const struct snapshot_disk *kept = find(disks, disk->name);
	str_replace(&disk->volume, NULL);
	if (disk->kind == VM_DISK_CDROM) {
		disk->size_bytes = 0;
		return 0;
	}
	if (!kept)
		return err_set(e, ERR_UNSUPPORTED, "disk %s is not in the snapshot", disk->name);
	uuid_text_copy(disk->from_layer, kept->layer_id);
	disk->clone = (int)mode;
	disk->format = VM_FORMAT_QCOW2;
	return 0;
}

static int make_spec(const struct vm_row *source, const struct snapshot_row *snapshot,
        const struct snapshot_disks *disks, const struct vm_clone_request *clone,
        struct vm_spec *spec, struct err *e)
{
	int rc = vm_spec_load(snapshot->vm_spec, spec, e);
	if (rc < 0)
		return rc;
	str_replace(&spec->name, clone->name);
	str_replace(&spec->host, source->host_id);
	spec->desired_power = clone->desired_power;
	spec->deletion_protection = false;
	for (size_t i = 0; i < spec->nics.len; i++)
		str_replace(&vm_spec_nic(spec, i)->mac, NULL);
	if (str_equal(spec->cloud_init.hostname, source->name))
		str_replace(&spec->cloud_init.hostname, clone->name);
	for (size_t i = 0; i < spec->disks.len && rc == 0; i++)
		rc = take_disk(vm_spec_disk(spec, i), disks, clone->mode, e);
	return rc;
}

/* Nothing new may stand on layers that are about to go. */
static int check_stays(struct db *db, const struct vm_row *source, struct err *e)
{
	char deletion[UUID_TEXT_SIZE];
	int rc = operation_find_kind(db, source->id, vm_delete_kind.name, deletion, e);
	if (rc < 0 || !deletion[0])
		return rc;
	err_set(e, ERR_WRONG_STATE, "VM %s is being deleted by operation %s", source->name,
	        deletion);
	return err_hint(e, "cancel that operation, if it has not begun");
}

int vm_clone(struct db *db, struct vms *vms, const struct vm_row *source,
        const struct vm_clone_request *clone, const struct vm_request *request,
        struct field_errors *errors, char ret_operation[UUID_TEXT_SIZE],
        char ret_id[UUID_TEXT_SIZE], struct err *e)
{
	struct snapshot_row snapshot CLEANUP(snapshot_row_done) = {0};
	struct snapshot_disks disks CLEANUP(snapshot_disks_done) = {0};
	struct vm_spec spec CLEANUP(vm_spec_done) = {0};
	int rc = vm_check_managed(source, e);
	if (rc == 0)
		rc = check_stays(db, source, e);
	if (rc == 0)
		rc = snapshot_store_get(db, source->id, clone->snapshot, &snapshot, e);
	if (rc == ERR_NOT_FOUND)
		return err_set_at(e, ERR_REFERENCE, "/snapshot", "VM %s has no snapshot %s",
		        source->name, clone->snapshot);
	if (rc == 0 && snapshot.state != SNAPSHOT_READY)
		rc = err_set_at(e, ERR_WRONG_STATE, "/snapshot", "snapshot %s is %s", snapshot.name,
		        snapshot_state_names[snapshot.state]);
	if (rc == 0)
		rc = snapshot_store_disks(db, snapshot.id, &disks, e);
	if (rc == 0)
		rc = make_spec(source, &snapshot, &disks, clone, &spec, e);
	return rc < 0 ? rc : vm_create(db, vms, &spec, request, errors, ret_operation, ret_id, e);
}

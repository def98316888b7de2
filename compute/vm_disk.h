/* SPDX-License-Identifier: Apache-2.0 */
/* Work on one disk of a VM: moving it to another pool, making it independent of what it stands on. */
#pragma once

#include "compute/vm.h"
#include "storage/layer.h"
#include "storage/volume.h"

struct vm_disk_move {
	const char *pool;
	const char *format; /* NULL: as it is */
};
/*
 * Starts vm.disk.move: the disk's content goes to another pool while the guest runs or not. ERR_IN_USE names the snapshots
 * that hold it. Writer.
 */
int vm_disk_start_move(struct db *db, struct vms *vms, const struct vm_row *row, const char *disk,
        const struct vm_disk_move *move, const struct vm_request *request,
        char ret_operation[UUID_TEXT_SIZE], struct err *e);
/* Starts vm.disk.flatten: copies what the disk's top layer does not have from the layers below, so that it stands alone.
 * ERR_WRONG_STATE if it does already. Writer. */
int vm_disk_start_flatten(struct db *db, struct vms *vms, const struct vm_row *row,
        const char *disk, const struct vm_request *request, char ret_operation[UUID_TEXT_SIZE],
        struct err *e);

/* Starts a snapshot.sweep for each VM with a file that a move could not remove, unless something is at work on it. Writer. */
int vm_disk_sweep(struct db *db, struct vms *vms, struct err *e);

extern const struct operation_kind vm_disk_move_kind, vm_disk_flatten_kind;

/* ---- shared by those who change a disk ---- */

/*
 * Sets one member of a disk in the VM's configuration and in what the guest runs with, as something that has happened.
 * Writer. Takes over `value`.
 */
int vm_disk_record(struct db *db, const char *vm_id, const char *disk, const char *member,
        json_t *value, struct err *e);
/* A volume_resized_hook: the configuration follows a disk that has grown. */
int vm_disk_resized(struct db *db, const char *vm_id, const char *disk, int64_t size_bytes,
        void *arg, struct err *e);
/* The volume that a VM has under that disk's name: 1, 0 if there is none, negative: error. Caller releases. */
int vm_disk_find_volume(struct db *db, const char *vm_id, const char *disk,
        struct volume_row *ret_volume, struct err *e);
/* The same, where it must be there: ERR_NOT_FOUND without it. Caller releases. */
int vm_disk_volume(struct db *db, const struct vm_row *row, const char *disk,
        struct volume_row *ret_volume, struct err *e);
/*
 * ERR_IN_USE if the volume has layers for snapshots. Not counted: `but` (NULL: none), a layer of the operation that asks, and
 * those that are being deleted.
 */
int vm_disk_check_one_layer(
        struct db *db, const char *volume_id, const char *disk, const char *but, struct err *e);

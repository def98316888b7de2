/* SPDX-License-Identifier: Apache-2.0 */
/* The volumes behind a VM's disks: claimed in the mutation, made and removed by the steps. */
#pragma once

#include "compute/vm.h"
#include "compute/vm_call.h"

/* For whom volumes are claimed. */
struct vm_claim {
	struct vms *vms;
	const struct vm_request *request;
	const char *vm_id, *vm_name, *host_id;
	json_t *wait_for; /* array: ids of operations that must end before the files can be made are added */
};
/*
 * Reserves a new volume for each disk that needs one and attaches the named existing ones; writes the volumes' names and
 * sizes into the spec. A disk with an image gets a volume that stands on the image's copy in its pool, which is made now
 * if there is none. Disks that `before` (NULL: none) has too are left alone, but for what is in a CD-ROM drive. Writer.
 */
int vm_volumes_claim(struct db *db, struct vm_spec *spec, const struct vm_spec *before,
        const struct vm_claim *claim, struct err *e);
/* Makes those that the operation has made independent of their image if they shall be: starts vm.disk.flatten. Before
 * they are ready. Writer. */
int vm_volumes_flatten_new(struct db *db, const struct operation *op, struct err *e);
/* The step that waits for the operations in the input's "wait_for". Core loop. */
void vm_volumes_wait(struct operation *op);
/* The step that makes the files of volumes in state "creating", and its undo. Core loop. */
void vm_volumes_create(struct operation *op);
void vm_volumes_uncreate(struct operation *op);
/* Those that the operation has made become ready. Writer. */
int vm_volumes_mark_ready(struct db *db, const struct operation *op, struct err *e);
/* Forgets those that are still "creating", but for those that `spec` (NULL: none) names: a later change makes them. */
int vm_volumes_forget_new(
        struct db *db, const char *vm_id, const struct vm_spec *spec, struct err *e);
/* The stored form `spec` without disks whose volumes were never made, as an earlier change failed. Caller frees. */
int vm_volumes_leave_unmade(
        struct db *db, const char *vm_id, const char *spec, char **ret_spec, struct err *e);
/*
 * The VM owns the volumes of its configuration's disks and those that its guest still has (active_spec: a disk that could not
 * be unplugged, whose removal is pending); the others are free, a seed is deleted. Writer.
 */
int vm_volumes_own(struct db *db, struct vms *vms, const char *vm_id, struct err *e);
/* After the VM was looked at: what its guest has let go of is free, unless an operation is at work on the VM. Writer. */
int vm_volumes_release(struct db *db, struct vms *vms, const char *vm_id, struct err *e);
/* Whether a disk of the configuration, or its seed, is that volume. Pure. */
bool vm_volume_is_named(const struct volume_row *volume, const struct vm_spec *spec);
/* Whether that volume of a VM is deleted with its disks: not one that only its guest still has. Pure. */
bool vm_volume_goes_with_vm(const struct volume_row *volume, const struct vm_spec *spec);
/* Starts the deletion of what was made for a CD-ROM drive, is no longer in it and nobody's. */
int vm_volumes_drop_media(struct db *db, struct vms *vms, const char *host_id,
        const struct vm_spec *before, const struct vm_spec *now, struct err *e);

/* Lane thread, as vm_call_fn: delete all of the configuration (the seed alone). */
int vm_call_delete_all_volumes(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e);
int vm_call_delete_seed(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e);

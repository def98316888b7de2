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
/* Makes those independent of their image that shall be: starts vm.disk.flatten. Before they are ready. Writer. */
int vm_volumes_flatten_new(struct db *db, struct vms *vms, const char *vm_id, struct err *e);
/* The step that waits for the operations in the input's "wait_for". Core loop. */
void vm_volumes_wait(struct operation *op);
/* Those in state "creating" become ready. */
int vm_volumes_mark_ready(struct db *db, const char *vm_id, struct err *e);
/* Forgets those that are still "creating". */
int vm_volumes_forget_new(struct db *db, const char *vm_id, struct err *e);
/* The VM owns the volumes of its configuration's disks, and (but for cloud-init's seed) no other. */
int vm_volumes_own(struct db *db, const char *vm_id, const char *host_id,
        const struct vm_spec *spec, struct err *e);
/* Starts the deletion of what was made for a CD-ROM drive and is no longer in it; of the seed. */
int vm_volumes_drop_media(struct db *db, struct vms *vms, const char *host_id,
        const struct vm_spec *before, const struct vm_spec *now, struct err *e);
int vm_volumes_drop_seed(struct db *db, struct vms *vms, const char *vm_id, struct err *e);

/* Lane thread, as vm_call_fn: make the files of volumes in state "creating"; delete them again;
 * delete all (the seed alone). */
int vm_call_create_volumes(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e);
int vm_call_delete_new_volumes(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e);
int vm_call_delete_all_volumes(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e);
int vm_call_delete_seed(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e);

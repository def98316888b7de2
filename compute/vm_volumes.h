/* SPDX-License-Identifier: Apache-2.0 */
/* The volumes behind a VM's disks: claimed in the mutation, made and removed by the steps. */
#pragma once

#include "compute/vm_call.h"

/*
 * Reserves a new volume for each disk that needs one and attaches the named existing ones; writes
 * the volumes' names into the spec. Disks that `before` (NULL: none) has too are left alone.
 * Writer.
 */
int vm_volumes_claim(struct db *db, struct vm_spec *spec, const struct vm_spec *before,
        const char *vm_id, const char *host_id, struct err *e);
/* Those in state "creating" become ready. */
int vm_volumes_mark_ready(struct db *db, const char *vm_id, struct err *e);
/* Forgets those that are still "creating". */
int vm_volumes_forget_new(struct db *db, const char *vm_id, struct err *e);
/* Frees the volumes of disks that the spec no longer has. */
int vm_volumes_release_missing(
        struct db *db, const char *vm_id, const struct vm_spec *spec, struct err *e);

/* Lane thread, as vm_call_fn: make the files of volumes in state "creating"; delete them again;
 * delete all. */
int vm_call_create_volumes(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e);
int vm_call_delete_new_volumes(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e);
int vm_call_delete_all_volumes(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e);

/* SPDX-License-Identifier: Apache-2.0 */
/* Cloning a VM from one of its snapshots. */
#pragma once

#include "compute/vm.h"

struct vm_clone_request {
	const char *name;     /* of the new VM */
	const char *snapshot; /* of the source, by name or id */
	enum vm_clone mode;   /* of the disks */
	enum vm_power desired_power;
};
/*
 * Creates a VM (operation vm.create) with the configuration that the source had at the snapshot, on the same host: its disks
 * stand on the snapshot's layers (linked), or become independent in the background (full). MAC addresses are new, data for
 * cloud-init gets a new instance id, volumes in CD-ROM drives are not taken over. Writer.
 */
int vm_clone(struct db *db, struct vms *vms, const struct vm_row *source,
        const struct vm_clone_request *clone, const struct vm_request *request,
        struct field_errors *errors, char ret_operation[UUID_TEXT_SIZE],
        char ret_id[UUID_TEXT_SIZE], struct err *e);

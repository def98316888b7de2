/* SPDX-License-Identifier: Apache-2.0 */
/* What operations that start or grow a VM do about its room: the grant in the mutation, and the step that waits for it. */
#pragma once

#include "compute/room.h"
#include "compute/vm.h"

/* Reserves what `spec` needs on the VM's host; what the step `room` needs to know goes into `input`. Writer. */
int vm_room_grant(struct db *db, struct vms *vms, const struct vm_row *row,
        const struct vm_spec *spec, json_t *input, struct err *e);
/* As above, with what it would start with: a suspended VM has what it was suspended with. */
int vm_room_grant_start(
        struct db *db, struct vms *vms, const struct vm_row *row, json_t *input, struct err *e);

/* What the step needs to know of a grant. */
void vm_room_note(const struct room_granted *granted, json_t *input);

/* The step: mode balloon waits until other guests have given enough. */
void vm_room_wait(struct operation *op);
/* The on_cancel of its kinds. */
void vm_room_cancel(struct operation *op);

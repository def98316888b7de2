/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM's cloud-init seed: a small read-only CD-ROM that Berth writes from the configuration. Its volume belongs to the VM
 * under the disk name VM_SEED_DISK, which is in no configuration.
 */
#pragma once

#include "compute/vm_domain.h"
#include "operation/operation.h"

/*
 * Writer: keeps the password's hash (and drops it from the spec), and reserves the seed's volume if there is none yet.
 * *ret_changed: the seed must be written (`before` NULL: a new VM).
 */
int vm_seed_claim(struct db *db, struct vm_spec *spec, const struct vm_spec *before,
        const char *vm_id, const char *vm_name, const char *host_id, bool *ret_changed,
        struct err *e);
/* Adds what is wrong with cloud_init. Pure. */
void vm_seed_check(const struct vm_spec *spec, struct field_errors *errors);
/* The step that writes it, when the operation's input says "seed": true. Core loop. */
void vm_seed_write(struct operation *op);

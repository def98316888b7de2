/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must not be done to a suspended VM: its saved memory names the files of its disks, and goes on with what the guest
 * had of them in its caches. Refused when it is asked for, and again when its turn comes, as what was queued before may have
 * suspended the VM.
 */
#pragma once

#include "compute/vm_store.h"
#include "hypervisor/driver.h"

/* ERR_WRONG_STATE if the VM is suspended and nothing is queued that may change that. Any connection. */
int vm_check_not_suspended(
        struct db *db, const struct vm_row *row, const char *what, struct err *e);
/* The same of the domain as it is. */
int vm_refuse_suspended(const struct domain_info *info, const char *what, struct err *e);

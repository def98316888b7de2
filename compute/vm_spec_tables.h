/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of the VM's field tables, shared by vm_spec*.c alone. */
#pragma once

#include "compute/vm_spec.h"

extern const struct field_table vm_disk_table, vm_nic_table;
extern const struct field_table vm_cloud_init_table;       /* stored and answered */
extern const struct field_table vm_cloud_init_write_table; /* with the password */

/* SPDX-License-Identifier: Apache-2.0 */
/* Where a VM's CPUs are pinned: chosen at the grant, kept in reservation.cpus as JSON, put into the domain by vm_domain.c. */
#pragma once

#include "compute/room_store.h"
#include "compute/vm_spec.h"
#include "scheduler/cpu_layout.h"
#include "scheduler/inventory.h"

/* Sets row->cpus as spec.cpu.pinning asks (NULL: not pinned). ERR_NO_CAPACITY, ERR_UNPROCESSABLE. Writer. */
int room_cpus_choose(struct db *db, const struct inventory_host *host, const struct vm_spec *spec,
        struct room_row *row, struct err *e);
/* The stored form (NULL: not pinned; caller frees), and back: false for what it is not, `vcpus` 0 for one that floats. Pure. */
char *room_cpus_format(const struct cpu_layout *layout, bool is_dedicated);
bool room_cpus_parse(const char *text, struct cpu_layout *ret_layout);

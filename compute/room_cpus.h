/* SPDX-License-Identifier: Apache-2.0 */
/* Where a VM's CPUs are pinned: chosen at the grant, kept in reservation.cpus as JSON, put into the domain by vm_domain.c. */
#pragma once

#include "compute/room_store.h"
#include "compute/vm_spec.h"
#include "hypervisor/driver.h"
#include "scheduler/cpu_layout.h"
#include "scheduler/inventory.h"

/* Sets row->cpus as spec.cpu.pinning asks (NULL: not pinned; none is, as long as others own CPUs). ERR_NO_CAPACITY,
 * ERR_UNPROCESSABLE. Writer. */
int room_cpus_choose(struct db *db, const struct inventory *inventory,
        const struct inventory_host *host, const struct vm_spec *spec, struct room_row *row,
        struct err *e);
/* Likewise for a VM that runs, or is about to: another pinning than it has now moves it, none lets it float; the same
 * leaves it where it is. */
int room_cpus_change(struct db *db, const struct inventory *inventory,
        const struct inventory_host *host, const struct vm_spec *spec, struct room_row *row,
        struct err *e);
/* What the stored form is of: none for one that floats. Pure. */
enum vm_pinning room_cpus_kind(const char *text);
/* Whether the VM can start again on the CPUs that it has. Pure. */
bool room_cpus_fit(const struct room_row *row, const struct vm_spec *spec);
/* The stored form (NULL: not pinned; caller frees), and back: false for what it is not, `vcpus` 0 for one that floats. Pure. */
char *room_cpus_format(const struct cpu_layout *layout);
bool room_cpus_parse(const char *text, struct cpu_layout *ret_layout);

/* The same in libvirt's words, for n_vcpus vCPUs. All owned; zero: not pinned. */
struct room_pins {
	char **vcpus; /* by number of the vCPU */
	size_t n_vcpus;
	char *emulator, *nodes;
	bool is_dedicated;
};
void room_pins_fill(const char *text, int64_t n_vcpus, struct room_pins *ret_pins);
void room_pins_done(struct room_pins *pins);
/* Moves a process, with the vCPUs that it has, to where the stored form says. Lane thread. Its errors are the driver's;
 * ERR_WRONG_STATE: there is none. */
int room_pins_apply(const struct driver *driver, struct driver_connection *c, const char *vm_id,
        const char *text, struct err *e);

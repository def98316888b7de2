/* SPDX-License-Identifier: Apache-2.0 */
/* The arithmetic of one host without its texts, for scheduler/ only. */
#pragma once

#include "scheduler/admission.h"
#include "scheduler/inventory_internal.h"

/* What a host's group leaves for VMs; ADMISSION_UNLIMITED where it is not limited. */
struct host_limits {
	int64_t threads;                 /* of the host, for one VM */
	int64_t usable_bytes;            /* less the reserve and the huge pages */
	int64_t size_bytes, floor_bytes; /* sums, by mode */
	int64_t hugepage_bytes;
	int64_t cpu_hundredths; /* hundredths of threads that are not reserved for the host */
	int64_t ratio_millionths;
	bool counts_starts; /* a VM that starts counts with its size: mode balloon */
};
struct host_limits host_limits_get(const struct host_entry *host);

/* `held` is without `own`, what the asking VM holds itself. Fills all but total and reserve. */
void admission_weigh(const struct host_limits *limits, const struct holding *held,
        const struct holding *own, const struct holding *asked, int64_t max_vcpus,
        struct admission *ret);

/* What it holds on the host that asks; nothing for NULL or a VM that is not there. */
struct holding admission_own_holding(
        const struct inventory *inv, const struct host_entry *host, const char *vm_id);

/*
 * What a VM that runs takes of a host, and what a host has, as amounts that simply add: fits if in
 * each dimension held + asked <= limit. The same bounds as admission's, for packing many VMs.
 */
enum { LOAD_SIZE, LOAD_FLOOR, LOAD_HUGEPAGES, LOAD_VCPUS, LOAD_CPU_RESERVATION, LOAD_COUNT };
struct load {
	int64_t amount[LOAD_COUNT];
};
struct load load_of(const struct host_limits *limits, const struct holding *h);
struct load load_limit(const struct host_limits *limits);

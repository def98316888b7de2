/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a VM may hold what it asks for on one host: docs/decisions/0012, in one function for
 * create, start, change, resume and migration. Pure; the inventory's owner.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "scheduler/inventory.h"

/* What QEMU needs beside the guest: 32 MiB, 8 MiB for each vCPU of the maximum, and 1/512 of the
 * largest memory. */
int64_t admission_overhead_bytes(int64_t max_vcpus, int64_t max_bytes);

/* What may refuse, in the order of the checks. */
enum admission_bound {
	ADMISSION_THREADS,         /* one VM's vCPUs <= threads of the host */
	ADMISSION_SIZE,            /* strict, ratio: sum of size + overhead */
	ADMISSION_FLOOR,           /* ratio, balloon: sum of what is guaranteed */
	ADMISSION_HUGEPAGES,       /* sum of sizes that come from huge pages */
	ADMISSION_DEDICATED,       /* threads for dedicated VMs */
	ADMISSION_VCPUS,           /* sum of vCPUs <= shared threads x cpu_ratio */
	ADMISSION_CPU_RESERVATION, /* sum of reservations, in hundredths of a thread */
	ADMISSION_BOUND_COUNT,
	ADMISSION_NONE = ADMISSION_BOUND_COUNT, /* nothing refuses: it fits */
};
extern const char *const admission_bound_names[]; /* "memory_size", ... */

/* Fits if held + asked <= limit. A limit of ADMISSION_UNLIMITED is not checked in this mode. */
#define ADMISSION_UNLIMITED INT64_MAX
struct admission_sum {
	int64_t held, asked, limit;
};

struct admission {
	enum admission_bound bound; /* the first that refuses, or ADMISSION_NONE */
	bool is_never;              /* the host could not hold it even if it were empty */
	int64_t total_bytes, reserved_bytes, hugepage_bytes, usable_bytes;
	struct admission_sum sums[ADMISSION_BOUND_COUNT];
	/* Mode balloon: bytes the other guests must be seen to have given before it may boot. */
	int64_t wait_bytes;
};

/*
 * `asked` in state STARTING for what is to start, RUNNING for a change of a running VM. `vm_id`
 * (may be NULL): what this VM holds on the host already does not count against it. The host and
 * its group must be in the inventory.
 */
void admission_decide(const struct inventory *inv, const struct inventory_host *host,
        const struct reservation *asked, const char *vm_id, struct admission *ret);

static inline bool admission_fits(const struct admission *a)
{
	return a->bound == ADMISSION_NONE;
}

/* Who holds most of what refused. */
#define ADMISSION_HOLDERS 3
struct admission_holder {
	const struct inventory_vm *vm;
	int64_t amount;
};
/* Returns how many were found, largest first. */
size_t admission_find_holders(const struct inventory *inv, const struct inventory_host *host,
        enum admission_bound bound, const char *vm_id,
        struct admission_holder ret_holders[ADMISSION_HOLDERS]);

/*
 * Decides and explains: 0, or ERR_UNPROCESSABLE (could never be held there) or ERR_NO_CAPACITY with
 * the arithmetic in numbers, who holds most, and a hint with what would help. `ret` may be NULL.
 */
int admission_admit(const struct inventory *inv, const struct inventory_host *host,
        const struct reservation *asked, const char *vm_id, struct admission *ret, struct err *e);

/* SPDX-License-Identifier: Apache-2.0 */
/* What a group of hosts has, what is left, how many more VMs fit, and whether it would survive the
 * loss of a host. Pure; the inventory's owner. */
#pragma once

#include "base/vec.h"
#include "scheduler/inventory.h"

/* A host whose loss the others could not absorb. */
struct capacity_loss {
	const struct inventory_host *host;
	int64_t missing_bytes; /* memory of its VMs that found no room elsewhere */
	int64_t missing_vcpus; /* likewise */
	int64_t vms, homeless; /* on it; of them without room elsewhere */
};

struct capacity {
	const struct inventory_group *group;
	int64_t hosts, hosts_ok; /* sums below: hosts that are ok */
	int64_t vms;
	/* Memory. */
	int64_t total_bytes, reserved_bytes, usable_bytes;
	int64_t configured_bytes; /* size + overhead */
	int64_t guaranteed_bytes; /* min + overhead */
	int64_t booked_bytes;     /* booked + overhead */
	int64_t free_bytes;       /* that may still be asked for, under the group's mode */
	int64_t hugepage_bytes, hugepage_held_bytes;
	/* CPU. */
	int64_t threads, dedicated_vcpus, shared_vcpus, vcpus_limit, free_vcpus;
	int64_t reserved_percent; /* hundredths of a thread, as vCPUs x reservation_percent */
	/* More VMs as asked for, and the most memory that one VM can still be given (with min in the
	 * same proportion and overhead counted), on which host; NULL: none. */
	int64_t fits;
	int64_t largest_bytes, largest_vcpus;
	const struct inventory_host *largest_host;
	bool survives_host_loss;          /* every single one */
	VEC(struct capacity_loss) losses; /* by name, those it would not survive */
};

/* `each` (may be NULL): the size to count with; state STARTING. With survive_host_loss the counts
 * are such that the loss of any one host can still be absorbed. The caller releases *ret. */
void capacity_of_group(const struct inventory *inv, const struct inventory_group *group,
        const struct reservation *each, struct capacity *ret);
void capacity_done(struct capacity *c);

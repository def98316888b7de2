/* SPDX-License-Identifier: Apache-2.0 */
/* Carriers (storage/carrier.h) found in a host's listing: they are no VMs, and those whose operation has ended go. */
#pragma once

#include "compute/vm_live.h"
#include "hypervisor/driver.h"

struct vm_carriers {
	char (*ids)[UUID_TEXT_SIZE]; /* owned; of their operations */
	size_t len;
};
void vm_carriers_done(struct vm_carriers *carriers);
/* Lane thread: moves the carriers out of a listing. */
void vm_carriers_take(struct domain_list *domains, struct vm_carriers *ret_carriers);
/* Writer: keeps in the list only those whose operation has ended, or never was. */
int vm_carriers_keep_ended(struct db *db, struct vm_carriers *carriers, struct err *e);
/* Core loop: removes them from that host. What fails is tried again with the next listing. */
void vm_carriers_remove(struct vms *vms, const char *host_id, const struct vm_carriers *carriers);

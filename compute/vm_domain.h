/* SPDX-License-Identifier: Apache-2.0 */
/* From a VM's row and volumes to the domain XML its host is given. */
#pragma once

#include "compute/room_store.h"
#include "compute/vm_store.h"
#include "hypervisor/domain_xml.h"
#include "hypervisor/driver.h"
#include "hypervisor/host_facts.h"
#include "storage/layer.h"
#include "storage/volume.h"

/* What is recorded of one VM, read at one moment. */
struct vm_plan {
	struct vm_row row;
	struct vm_spec spec;
	struct volume_row *volumes; /* owned, of all its disks */
	struct layer_chain *chains; /* owned, of volumes[i] */
	size_t n_volumes;
	struct room_row held; /* on its host; zero: nothing */
};
/* Any thread with a connection. */
int vm_plan_load(struct db *db, const char *vm_id, struct vm_plan *ret_plan, struct err *e);
void vm_plan_done(struct vm_plan *plan);
/* The volume behind a disk and its chain, or NULL (an empty CD-ROM drive). */
const struct volume_row *vm_plan_volume(const struct vm_plan *plan, const char *disk);
const struct layer_chain *vm_plan_chain(const struct vm_plan *plan, const char *disk);

/* What the host contributes; plain text, so that it can travel to a lane thread. */
struct vm_platform {
	char domain_type[8]; /* kvm, qemu, test; "" if the host cannot run the architecture */
	char machine[64];    /* the default for the architecture */
	char console_directory[256];
	bool is_test_driver;
};

/* The disk that carries cloud-init's data; no disk of the configuration may have this name. */
#define VM_SEED_DISK "cloud-init"

/* The domain XML for a plan with the given configuration (normally plan->spec). Caller frees
 * *ret_xml. Pure. */
int vm_domain_build(const struct vm_plan *plan, const struct vm_spec *spec,
        const struct vm_platform *platform, char **ret_xml, struct err *e);
/*
 * Lane thread: defines the domain from the plan with the given configuration. Devices that the definition so far has keep
 * their addresses, so that they keep their names in the guest.
 */
int vm_domain_define(const struct vm_plan *plan, const struct vm_spec *spec,
        const struct vm_platform *platform, const struct driver *driver,
        struct driver_connection *c, struct err *e);
/* The disks as the domain gets them, by name with their chains, for domain_xml_replace_chains; borrow from the plan.
 * Caller frees the array. */
struct domain_disk *vm_domain_disks(
        const struct vm_plan *plan, const struct vm_spec *spec, size_t *ret_n, struct err *e);
/* One device of it, for hotplug. */
enum vm_device_kind { VM_DEVICE_DISK, VM_DEVICE_NIC };
int vm_domain_build_device(const struct vm_plan *plan, const struct vm_spec *spec,
        const struct vm_platform *platform, enum vm_device_kind kind, const char *name,
        char **ret_xml, struct err *e);
/* The host path of the serial console's log. Caller frees. */
char *vm_console_path(const char *console_directory, const char *vm_id);

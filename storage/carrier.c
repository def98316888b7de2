/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carriers: starting and stopping the domain that an operation's block jobs run in. Lane threads.
 *
 * Always emulated (type "qemu"): no instruction of a guest is ever executed, and a carrier then starts on a host whose
 * /dev/kvm is missing or broken, too.
 */
#include "storage/carrier.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "hypervisor/domain_xml.h"
#include "hypervisor/driver.h"

/* libvirt waits some seconds each time, and a lane's call has two minutes. */
#define FINISH_TIMEOUT_MS 90000

static const struct arch_facts *find_architecture(const struct host_facts *facts, const char *name)
{
	const struct arch_facts *arch = name ? host_facts_arch(facts, name) : NULL;
	return arch && arch->default_machine ? arch : NULL;
}

/*
 * Of the host itself, or one that comes with it and that libvirt 9.0 was seen to start in less than half the time
 * (docs/bench.md). No instruction of either is ever executed. NULL: the host has no hypervisor for that.
 */
static const struct arch_facts *choose_architecture(const struct host_facts *facts)
{
	const struct arch_facts *light =
	        str_equal(facts->cpu_arch, "x86_64") ? find_architecture(facts, "i686") : NULL;
	return light ? light : find_architecture(facts, facts->cpu_arch);
}

/* Space that a copy leaves out is given back (discard), so that copies of thin disks stay thin. */
static void describe_disk(const struct carrier_disk *from, struct domain_disk *to)
{
	*to = (struct domain_disk){
	        .name = from->name,
	        .kind = DOMAIN_DISK,
	        .chain = from->chain->sources,
	        .n_chain = from->chain->len,
	        .read_only = from->read_only,
	        .bus = "virtio",
	        .discard = "unmap",
	};
}

static int build_xml(const struct host_facts *facts, const char *operation_id,
        const struct carrier_disk *disks, size_t n_disks, char **ret_xml, struct err *e)
{
	const struct arch_facts *arch = choose_architecture(facts);
	if (!arch)
		return err_set(e, ERR_UNSUPPORTED,
		        "the host has no hypervisor for its own architecture, %s: its disks cannot "
		        "be "
		        "worked on",
		        facts->cpu_arch ? facts->cpu_arch : "unknown");
	char *name CLEANUP(cleanup_free) = str_format("berth-job-%s", operation_id);
	struct domain_disk *described CLEANUP(cleanup_free) =
	        xcalloc(n_disks + 1, sizeof(*described));
	for (size_t i = 0; i < n_disks; i++)
		describe_disk(&disks[i], &described[i]);
	const struct domain_carrier carrier = {
	        .id = operation_id,
	        .name = name,
	        .domain_type = "qemu",
	        .architecture = arch->name,
	        .machine = arch->default_machine,
	        .disks = described,
	        .n_disks = n_disks,
	};
	return domain_xml_build_carrier(&carrier, ret_xml, e);
}

int carrier_start(const struct driver *driver, struct driver_connection *c,
        const char *operation_id, const struct carrier_disk *disks, size_t n_disks, struct err *e)
{
	struct host_facts facts CLEANUP(host_facts_done) = {0};
	char *xml CLEANUP(cleanup_free) = NULL;
	if (!driver->create_transient)
		return err_set(e, ERR_UNSUPPORTED,
		        "the host's hypervisor connection cannot work on disks of VMs that do not "
		        "run");
	int rc = driver->get_facts(c, &facts, e);
	if (rc == 0)
		rc = build_xml(&facts, operation_id, disks, n_disks, &xml, e);
	return rc < 0 ? rc : driver->create_transient(c, operation_id, xml, e);
}

int carrier_stop(const struct driver *driver, struct driver_connection *c, const char *operation_id,
        struct err *e)
{
	if (!driver->create_transient) /* where none can be started there is none to stop */
		return 0;
	int rc = driver->destroy(c, operation_id, e);
	if (rc != ERR_NOT_FOUND)
		return rc;
	err_clear(e);
	return 0;
}

int carrier_finish(const struct driver *driver, struct driver_connection *c,
        const char *operation_id, bool *ret_lost, struct err *e)
{
	int64_t until_ms = clock_now_ms() + FINISH_TIMEOUT_MS;
	int rc = driver->quit(c, operation_id, e);
	while (rc == ERR_BUSY && clock_now_ms() < until_ms)
		rc = driver->quit(c, operation_id, e);
	*ret_lost = rc == ERR_NOT_FOUND;
	if (rc != ERR_NOT_FOUND)
		return rc;
	err_clear(e);
	return 0;
}

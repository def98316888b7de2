/* SPDX-License-Identifier: Apache-2.0 */
/* Asks a host what it can do. Lane threads. */
#include "base/alloc.h"
#include "base/str.h"
#include "hypervisor/driver_libvirt_internal.h"
#include "hypervisor/libvirt_error.h"

/* The machine family whose abilities count; NULL: the emulator's default. */
static const char *machine_family(const char *architecture)
{
	if (str_equal(architecture, "x86_64") || str_equal(architecture, "i686"))
		return "q35";
	return str_equal(architecture, "aarch64") ? "virt" : NULL;
}

/* What an emulator does not tell (a broken package, say) counts as absent. */
static void ask_architecture(
        struct driver_connection *c, const struct host_facts *facts, struct arch_facts *arch)
{
	const char *type = host_facts_can_use_kvm(facts, arch->name) ? "kvm" : "qemu";
	char *xml CLEANUP(cleanup_free) = virConnectGetDomainCapabilities(
	        c->libvirt, NULL, arch->name, machine_family(arch->name), type, 0);
	if (xml)
		host_facts_parse_domain(xml, arch, NULL);
}

static void ask_versions(struct driver_connection *c, struct host_facts *facts)
{
	unsigned long version = 0;
	if (virConnectGetLibVersion(c->libvirt, &version) == 0)
		facts->libvirt_version = version;
	version = 0;
	if (virConnectGetVersion(c->libvirt, &version) == 0)
		facts->hypervisor_version = version;
}

/* Cells tell what their kernel had at the start, and some hosts have none. */
static void ask_memory(struct driver_connection *c, struct host_facts *facts)
{
	struct host_stats stats;
	virNodeInfo node;
	if (libvirt_host_get_stats(c, &stats, NULL) == 0 && stats.memory_total_bytes > 0)
		facts->memory_bytes = stats.memory_total_bytes;
	else if (facts->memory_bytes == 0 && virNodeGetInfo(c->libvirt, &node) == 0)
		facts->memory_bytes = (int64_t)node.memory * 1024;
}

/* For hosts whose capabilities have no NUMA cells. */
static void ask_cpus(struct driver_connection *c, struct host_facts *facts)
{
	virNodeInfo node;
	if (facts->threads > 0 || virNodeGetInfo(c->libvirt, &node) < 0)
		return;
	facts->threads = (int)node.cpus;
	facts->sockets = (int)(node.sockets * node.nodes);
	facts->cores = facts->sockets * (int)node.cores;
	facts->threads_per_core = (int)node.threads;
}

static int ask_all(struct driver_connection *c, struct host_facts *facts, struct err *e)
{
	char *xml CLEANUP(cleanup_free) = virConnectGetCapabilities(c->libvirt);
	if (!xml)
		return libvirt_error_take(e, "reading the host's capabilities");
	int r = host_facts_parse(xml, facts, e);
	if (r < 0)
		return r;
	facts->is_test_driver = c->is_test;
	facts->hostname = virConnectGetHostname(c->libvirt);
	facts->has_libvirt_storage = libvirt_pool_is_supported(c);
	libvirt_network_list(c, &facts->networks, NULL); /* not every host can tell */
	ask_versions(c, facts);
	ask_memory(c, facts);
	ask_cpus(c, facts);
	for (size_t i = 0; i < facts->n_archs && !c->is_test; i++)
		ask_architecture(c, facts, &facts->archs[i]);
	return 0;
}

int libvirt_facts_get(struct driver_connection *c, struct host_facts *ret_facts, struct err *e)
{
	struct host_facts facts = {0};
	int r = ask_all(c, &facts, e);
	if (r < 0)
		host_facts_done(&facts);
	else
		*ret_facts = facts;
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads back what Berth needs from any domain definition, ours or a foreign one. Nothing but a root
 * element <domain> is required: what is missing or odd stays NULL or 0. Any thread, pure.
 */
#include "hypervisor/domain_xml.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/vec.h"
#include "hypervisor/domain_xml_internal.h"
#include "hypervisor/xml_read.h"

#define AGENT_CHANNEL "org.qemu.guest_agent.0"

static bool has_mark(const xmlNode *domain, const char *element)
{
	const xmlNode *metadata = xml_read_child(domain, "metadata");
	XML_FOR_EACH_CHILD(metadata, element, mark)
	if (mark->ns && strcmp((const char *)mark->ns->href, DOMAIN_METADATA_URI) == 0)
		return true;
	return false;
}

static struct domain_disk_facts read_disk(const xmlNode *disk)
{
	const xmlNode *target = xml_read_child(disk, "target");
	return (struct domain_disk_facts){
	        .target = xml_read_attribute(target, "dev"),
	        .path = xml_read_source(disk),
	        .format = xml_read_attribute(xml_read_child(disk, "driver"), "type"),
	        .serial = xml_read_content(xml_read_child(disk, "serial")),
	        .alias = xml_read_attribute(xml_read_child(disk, "alias"), "name"),
	        .bus = xml_read_attribute(target, "bus"),
	        .device = xml_read_attribute(disk, "device"),
	};
}

static struct domain_nic_facts read_nic(const xmlNode *nic)
{
	char *network = xml_read_attribute(xml_read_child(nic, "source"), "network");
	return (struct domain_nic_facts){
	        .mac = xml_read_attribute(xml_read_child(nic, "mac"), "address"),
	        .network = network,
	        .target = xml_read_attribute(xml_read_child(nic, "target"), "dev"),
	        .alias = xml_read_attribute(xml_read_child(nic, "alias"), "name"),
	        .model = xml_read_attribute(xml_read_child(nic, "model"), "type"),
	};
}

static void read_disks(const xmlNode *devices, struct domain_facts *facts)
{
	VEC(struct domain_disk_facts) disks = {0};
	XML_FOR_EACH_CHILD(devices, "disk", disk)
	VEC_PUSH(&disks, read_disk(disk));
	facts->disks = disks.items;
	facts->n_disks = disks.len;
}

static void read_nics(const xmlNode *devices, struct domain_facts *facts)
{
	VEC(struct domain_nic_facts) nics = {0};
	XML_FOR_EACH_CHILD(devices, "interface", nic)
	VEC_PUSH(&nics, read_nic(nic));
	facts->nics = nics.items;
	facts->n_nics = nics.len;
}

static bool agent_is_connected(const xmlNode *devices)
{
	XML_FOR_EACH_CHILD(devices, "channel", channel)
	{
		const xmlNode *target = xml_read_child(channel, "target");
		if (xml_read_attribute_is(target, "name", AGENT_CHANNEL))
			return xml_read_attribute_is(target, "state", "connected");
	}
	return false;
}

static char *console_log(const xmlNode *devices)
{
	char *file = xml_read_attribute(
	        xml_read_child(xml_read_child(devices, "serial"), "log"), "file");
	return file ? file
	            : xml_read_attribute(
	                      xml_read_child(xml_read_child(devices, "console"), "log"), "file");
}

static int sane_vcpus(int64_t n)
{
	return n > 0 && n < INT32_MAX ? (int)n : 1;
}

static int vcpus_max(const xmlNode *domain)
{
	return sane_vcpus(xml_read_content_int(xml_read_child(domain, "vcpu")));
}

static int vcpus(const xmlNode *domain)
{
	int64_t current = xml_read_attribute_int(xml_read_child(domain, "vcpu"), "current");
	return current > 0 ? sane_vcpus(current) : vcpus_max(domain);
}

static int64_t memory_max(const xmlNode *domain, const struct domain_facts *facts)
{
	int64_t ceiling = xml_read_bytes(xml_read_child(domain, "maxMemory"));
	return ceiling > facts->memory_bytes ? ceiling : facts->memory_bytes;
}

static void read_memory_slots(
        const xmlNode *domain, const xmlNode *devices, struct domain_facts *facts)
{
	int64_t slots = xml_read_attribute_int(xml_read_child(domain, "maxMemory"), "slots");
	facts->memory_slots = slots > 0 && slots < INT32_MAX ? (int)slots : 0;
	XML_FOR_EACH_CHILD(devices, "memory", device)
	{
		facts->memory_slots_used += xml_read_attribute_is(device, "model", "dimm");
	}
}

/* A live definition always has the element, as does a new one once libvirt has it. */
static void read_balloon(const xmlNode *balloon, struct domain_facts *facts)
{
	int64_t period = xml_read_attribute_int(xml_read_child(balloon, "stats"), "period");
	facts->has_balloon = balloon && !xml_read_attribute_is(balloon, "model", "none");
	facts->stats_period_s = period > 0 && period < INT32_MAX ? (int)period : 0;
}

static void read_id(const xmlNode *domain, struct domain_facts *facts)
{
	char *text CLEANUP(cleanup_free) = xml_read_content(xml_read_child(domain, "uuid"));
	const char *trimmed = text ? text + strspn(text, " \t\r\n") : "";
	char id[UUID_TEXT_SIZE];
	snprintf(id, sizeof(id), "%s", trimmed);
	if (uuid_is_shaped(id))
		for (size_t i = 0; i < sizeof(id); i++)
			facts->id[i] = (char)(id[i] >= 'A' && id[i] <= 'F' ? id[i] + 32 : id[i]);
}

static void read_domain(const xmlNode *domain, struct domain_facts *facts)
{
	const xmlNode *type = xml_read_child(xml_read_child(domain, "os"), "type");
	const xmlNode *devices = xml_read_child(domain, "devices");
	const xmlNode *current = xml_read_child(domain, "currentMemory");
	read_id(domain, facts);
	facts->name = xml_read_content(xml_read_child(domain, "name"));
	facts->description = xml_read_content(xml_read_child(domain, "description"));
	facts->domain_type = xml_read_attribute(domain, "type");
	facts->architecture = xml_read_attribute(type, "arch");
	facts->machine = xml_read_attribute(type, "machine");
	facts->console_log = console_log(devices);
	facts->is_ours = has_mark(domain, DOMAIN_MARK_VM);
	facts->is_carrier = has_mark(domain, DOMAIN_MARK_CARRIER);
	facts->memory_bytes = xml_read_bytes(xml_read_child(domain, "memory"));
	facts->memory_current_bytes = current ? xml_read_bytes(current) : facts->memory_bytes;
	facts->memory_max_bytes = memory_max(domain, facts);
	read_memory_slots(domain, devices, facts);
	facts->vcpus = vcpus(domain);
	facts->vcpus_max = vcpus_max(domain);
	read_balloon(xml_read_child(devices, "memballoon"), facts);
	facts->agent_connected = agent_is_connected(devices);
	read_disks(devices, facts);
	read_nics(devices, facts);
}

int domain_xml_parse(const char *xml, struct domain_facts *ret_facts, struct err *e)
{
	xmlDoc *doc CLEANUP(cleanup_xml_document) = NULL;
	int r = xml_read_document(xml, "domain", &doc, e);
	if (r < 0)
		return r;
	struct domain_facts facts = {0};
	read_domain(xmlDocGetRootElement(doc), &facts);
	*ret_facts = facts;
	return 0;
}

static void disk_facts_done(struct domain_disk_facts *d)
{
	free(d->target);
	free(d->path);
	free(d->format);
	free(d->serial);
	free(d->alias);
	free(d->bus);
	free(d->device);
}

static void nic_facts_done(struct domain_nic_facts *n)
{
	free(n->mac);
	free(n->network);
	free(n->target);
	free(n->alias);
	free(n->model);
}

void domain_facts_done(struct domain_facts *facts)
{
	for (size_t i = 0; i < facts->n_disks; i++)
		disk_facts_done(&facts->disks[i]);
	for (size_t i = 0; i < facts->n_nics; i++)
		nic_facts_done(&facts->nics[i]);
	free(facts->disks);
	free(facts->nics);
	free(facts->name);
	free(facts->domain_type);
	free(facts->architecture);
	free(facts->machine);
	free(facts->console_log);
	free(facts->description);
	*facts = (struct domain_facts){0};
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A domain that exists for the block jobs of its QEMU: it is never resumed, so it has next to no
 * memory, no firmware of its own, and no device but disks. Any thread, pure.
 */
#include "base/cleanup.h"
#include "base/str.h"
#include "base/vec.h"
#include "hypervisor/domain_xml_internal.h"
#include "hypervisor/xml_read.h"

#define MEMORY_BYTES ((int64_t)16 * 1024 * 1024)

typedef VEC(struct domain_disk) disk_vec;

/* Its disks are virtio, and what is discarded in the source may be punched into the destination. */
static void copy_disks(const struct domain_carrier *carrier, disk_vec *ret_disks)
{
	for (size_t i = 0; i < carrier->n_disks; i++) {
		struct domain_disk disk = carrier->disks[i];
		disk.kind = DOMAIN_DISK;
		disk.bus = "virtio";
		disk.serial = NULL;
		disk.boot_order = 0;
		disk.iops_limit = disk.bytes_per_second_limit = 0;
		if (!disk.discard)
			disk.discard = "unmap";
		VEC_PUSH(ret_disks, disk);
	}
}

static struct domain_config describe(const struct domain_carrier *carrier, const disk_vec *disks)
{
	const char *architecture = carrier->architecture ? carrier->architecture : "x86_64";
	const char *machine = str_equal(architecture, "aarch64") ? "virt" : "q35";
	return (struct domain_config){
	        .id = carrier->id,
	        .name = carrier->name,
	        .domain_type = carrier->domain_type ? carrier->domain_type : "qemu",
	        .architecture = architecture,
	        .machine = carrier->machine ? carrier->machine : machine,
	        .memory_bytes = MEMORY_BYTES,
	        .vcpus = 1,
	        .disks = disks->items,
	        .n_disks = disks->len,
	};
}

static void add_os(struct xml_builder *b, xmlNode *domain)
{
	xmlNode *type = xml_add_text(b, xml_add(b, domain, "os"), "type", XML_TEXT_ANY, "hvm");
	xml_set_checked(b, type, "arch", XML_TEXT_TOKEN, b->config->architecture);
	xml_set_checked(b, type, "machine", XML_TEXT_TOKEN, b->config->machine);
}

static void add_none(struct xml_builder *b, xmlNode *parent, const char *element)
{
	xml_set(b, xml_add(b, parent, element), "model", "none");
}

static void add_devices(struct xml_builder *b, xmlNode *domain)
{
	xmlNode *devices = xml_add(b, domain, "devices");
	for (size_t i = 0; i < b->config->n_disks; i++)
		domain_xml_add_disk(b, devices, i);
	xmlNode *usb = xml_add(b, devices, "controller");
	xml_set(b, usb, "type", "usb");
	xml_set(b, usb, "model", "none");
	xml_set(b, xml_add(b, xml_add(b, devices, "video"), "model"), "type", "none");
	add_none(b, devices, "memballoon");
}

static void add_domain(struct xml_builder *b, xmlNode *domain)
{
	xml_set_checked(b, domain, "type", XML_TEXT_TOKEN, b->config->domain_type);
	domain_xml_add_identity(b, domain);
	domain_xml_add_mark(b, domain, DOMAIN_MARK_CARRIER);
	xml_add_kib(b, domain, "memory", b->config->memory_bytes);
	xml_set(b, xml_add_int(b, domain, "vcpu", 1), "placement", "static");
	add_os(b, domain);
	xml_add_text(b, domain, "on_poweroff", XML_TEXT_ANY, "destroy");
	xml_add_text(b, domain, "on_reboot", XML_TEXT_ANY, "destroy");
	xml_add_text(b, domain, "on_crash", XML_TEXT_ANY, "destroy");
	add_devices(b, domain);
}

int domain_xml_build_carrier(const struct domain_carrier *carrier, char **ret_xml, struct err *e)
{
	disk_vec disks = {0};
	copy_disks(carrier, &disks);
	struct domain_config config = describe(carrier, &disks);
	struct xml_builder b = {.config = &config, .e = e};
	xmlDoc *doc CLEANUP(cleanup_xml_document) = xml_new_doc("domain");
	xmlNode *domain = xmlDocGetRootElement(doc);
	add_domain(&b, domain);
	if (b.code == 0)
		*ret_xml = xml_print(domain);
	VEC_DONE(&disks);
	return b.code;
}

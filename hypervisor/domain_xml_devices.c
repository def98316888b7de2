/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The <devices> of a domain: disks (domain_xml_disk.c), network cards, controllers with room for
 * hotplug, and the fixed set that every VM of ours has (serial console, agent channel, random
 * numbers, balloon). Any thread, pure.
 */
#include "base/cleanup.h"
#include "base/str.h"
#include "hypervisor/domain_xml_internal.h"
#include "hypervisor/xml_read.h"

/* Empty PCIe root ports, each good for one device plugged into the running guest. */
#define SPARE_PORTS 8

static size_t count_disks(const struct domain_config *c, const char *bus)
{
	size_t n = 0;
	for (size_t i = 0; i < c->n_disks; i++)
		n += str_equal(c->disks[i].bus, bus);
	return n;
}

/* --- network cards --- */

void domain_xml_add_nic(struct xml_builder *b, xmlNode *devices, size_t index)
{
	const struct domain_nic *n = &b->config->nics[index];
	xmlNode *nic = xml_add(b, devices, "interface");
	xml_set(b, nic, "type", "network");
	xml_set_checked(b, xml_add(b, nic, "mac"), "address", XML_TEXT_MAC, n->mac);
	xml_set_checked(b, xml_add(b, nic, "source"), "network", XML_TEXT_LINE, n->network);
	xml_set_checked(b, xml_add(b, nic, "model"), "type", XML_TEXT_ALIAS, n->model);
	domain_xml_add_boot_order(b, nic, n->boot_order);
	domain_xml_add_alias(b, nic, "nic", n->name);
}

/* --- controllers --- */

/* Cards of the PCI age, which libvirt puts behind a bridge. */
static bool nic_is_pcie(const struct domain_nic *n)
{
	static const char *const conventional[] = {"e1000", "rtl8139", "pcnet", "ne2k_pci", NULL};
	return !xml_is_one_of(n->model, conventional);
}

static int count_pcie_devices(const struct domain_config *c)
{
	size_t n = count_disks(c, "virtio");
	n += count_disks(c, "scsi") > 0;
	n += count_disks(c, "usb") > 0;
	for (size_t i = 0; i < c->n_nics; i++)
		n += nic_is_pcie(&c->nics[i]);
	n += 2; /* the agent's virtio-serial, virtio-rng */
	n += c->ballooning;
	return (int)n;
}

static void add_controller(
        struct xml_builder *b, xmlNode *devices, const char *type, const char *model)
{
	xmlNode *controller = xml_add(b, devices, "controller");
	xml_set(b, controller, "type", type);
	xml_set(b, controller, "model", model);
}

static void add_controllers(struct xml_builder *b, xmlNode *devices)
{
	const struct domain_config *c = b->config;
	if (domain_config_is_pcie(c)) {
		add_controller(b, devices, "pci", "pcie-root");
		for (int i = count_pcie_devices(c) + SPARE_PORTS; i > 0; i--)
			add_controller(b, devices, "pci", "pcie-root-port");
	}
	if (count_disks(c, "scsi") > 0)
		add_controller(b, devices, "scsi", "virtio-scsi");
	/* No USB unless a disk asks: the power button is ACPI's, and an idle USB controller costs
	 * CPU. */
	add_controller(b, devices, "usb", count_disks(c, "usb") > 0 ? "qemu-xhci" : "none");
}

/* --- the fixed set --- */

static void add_serial(struct xml_builder *b, xmlNode *devices)
{
	xmlNode *serial = xml_add(b, devices, "serial");
	xml_set(b, serial, "type", "pty");
	if (b->config->console_log) {
		/* Written and rotated by virtlogd, which bounds its size. */
		xmlNode *log = xml_add(b, serial, "log");
		xml_set_checked(b, log, "file", XML_TEXT_PATH, b->config->console_log);
		xml_set(b, log, "append", "on");
	}
	xml_set(b, xml_add(b, serial, "target"), "port", "0");
	xmlNode *console = xml_add(b, devices, "console");
	xml_set(b, console, "type", "pty");
	xmlNode *target = xml_add(b, console, "target");
	xml_set(b, target, "type", "serial");
	xml_set(b, target, "port", "0");
}

static void add_agent_channel(struct xml_builder *b, xmlNode *devices)
{
	xmlNode *channel = xml_add(b, devices, "channel");
	xml_set(b, channel, "type", "unix");
	xmlNode *target = xml_add(b, channel, "target");
	xml_set(b, target, "type", "virtio");
	xml_set(b, target, "name", "org.qemu.guest_agent.0");
}

static void add_tpm(struct xml_builder *b, xmlNode *devices)
{
	xmlNode *tpm = xml_add(b, devices, "tpm");
	xml_set(b, tpm, "model", domain_config_is_x86(b->config) ? "tpm-crb" : "tpm-tis");
	xmlNode *backend = xml_add(b, tpm, "backend");
	xml_set(b, backend, "type", "emulator");
	xml_set(b, backend, "version", "2.0");
}

/* With autodeflate a guest short of memory takes it back unasked; statistics each second feed the
 * planner. */
static void add_balloon(struct xml_builder *b, xmlNode *devices)
{
	xmlNode *balloon = xml_add(b, devices, "memballoon");
	if (!b->config->ballooning) {
		xml_set(b, balloon, "model", "none");
		return;
	}
	xml_set(b, balloon, "model", "virtio");
	xml_set(b, balloon, "autodeflate", "on");
	xml_set(b, balloon, "freePageReporting", "on");
	xml_set(b, xml_add(b, balloon, "stats"), "period", "1");
}

int domain_xml_build_dimm(int64_t bytes, char **ret_xml, struct err *e)
{
	struct xml_builder b = {.e = e};
	xmlDoc *doc CLEANUP(cleanup_xml_document) = xml_new_doc("memory");
	xmlNode *memory = xmlDocGetRootElement(doc);
	xml_set(&b, memory, "model", "dimm");
	xmlNode *target = xml_add(&b, memory, "target");
	xml_add_kib(&b, target, "size", bytes);
	xml_add_int(&b, target, "node", 0);
	if (b.code == 0)
		*ret_xml = xml_print(memory);
	return b.code;
}

static void add_random(struct xml_builder *b, xmlNode *devices)
{
	xmlNode *rng = xml_add(b, devices, "rng");
	xml_set(b, rng, "model", "virtio");
	xmlNode *backend = xml_add_text(b, rng, "backend", XML_TEXT_PATH, "/dev/urandom");
	xml_set(b, backend, "model", "random");
}

static void add_fixed_set(struct xml_builder *b, xmlNode *devices)
{
	add_serial(b, devices);
	add_agent_channel(b, devices);
	if (b->config->tpm)
		add_tpm(b, devices);
	xml_set(b, xml_add(b, xml_add(b, devices, "video"), "model"), "type", "none");
	add_balloon(b, devices);
	add_random(b, devices);
	/* Without this device a panicking guest just sits there; with it libvirt says "crashed". */
	if (domain_config_is_x86(b->config))
		xml_set(b, xml_add(b, devices, "panic"), "model", "isa");
}

static void check_unique_names(struct xml_builder *b)
{
	const struct domain_config *c = b->config;
	for (size_t i = 0; i < c->n_disks; i++)
		for (size_t k = 0; k < i; k++)
			if (str_equal(c->disks[i].name, c->disks[k].name))
				xml_fail(b, ERR_INVALID, "two disks have the name '%s'",
				        c->disks[i].name);
	for (size_t i = 0; i < c->n_nics; i++)
		for (size_t k = 0; k < i; k++)
			if (str_equal(c->nics[i].name, c->nics[k].name))
				xml_fail(b, ERR_INVALID, "two NICs have the name '%s'",
				        c->nics[i].name);
}

void domain_xml_add_devices(struct xml_builder *b, xmlNode *domain)
{
	xmlNode *devices = xml_add(b, domain, "devices");
	check_unique_names(b);
	for (size_t i = 0; i < b->config->n_disks; i++)
		domain_xml_add_disk(b, devices, i);
	if (!b->config->is_test_driver)
		add_controllers(b, devices);
	for (size_t i = 0; i < b->config->n_nics; i++)
		domain_xml_add_nic(b, devices, i);
	if (!b->config->is_test_driver)
		add_fixed_set(b, devices);
}

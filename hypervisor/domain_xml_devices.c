/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The <devices> of a domain: disks, network cards, controllers with room for hotplug, and the fixed
 * set that every VM of ours has (serial console, agent channel, random numbers, balloon). Any
 * thread, pure.
 */
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "hypervisor/domain_xml_internal.h"

/* Empty PCIe root ports, each good for one device plugged into the running guest. */
#define SPARE_PORTS 8

static bool is_one_of(const char *text, const char *const *names)
{
	for (; *names; names++)
		if (str_equal(text, *names))
			return true;
	return false;
}

static size_t count_disks(const struct domain_config *c, const char *bus)
{
	size_t n = 0;
	for (size_t i = 0; i < c->n_disks; i++)
		n += str_equal(c->disks[i].bus, bus);
	return n;
}

/* --- disks --- */

/* Disks of one letter family share the numbering: virtio has vd, all others sd. */
static const char *target_prefix(const char *bus)
{
	return str_equal(bus, "virtio") ? "vd" : "sd";
}

/* "vda", "vdb", ... "vdz", "vdaa": the position counts disks of the same family. */
static void target_name(const struct domain_config *c, size_t index, char ret_name[16])
{
	const char *prefix = target_prefix(c->disks[index].bus);
	size_t position = 0;
	for (size_t i = 0; i < index; i++)
		position += strcmp(target_prefix(c->disks[i].bus), prefix) == 0;
	char letters[8];
	size_t n = 0;
	for (size_t rest = position + 1; rest > 0 && n < sizeof(letters); rest = (rest - 1) / 26)
		letters[n++] = (char)('a' + (rest - 1) % 26);
	size_t len = (size_t)snprintf(ret_name, 16, "%s", prefix);
	while (n > 0 && len < 15)
		ret_name[len++] = letters[--n];
	ret_name[len] = '\0';
}

static void add_alias(struct xml_builder *b, xmlNode *device, const char *kind, const char *name)
{
	xml_check(b, XML_TEXT_ALIAS, "a device's name", name);
	if (b->code != 0)
		return;
	char alias[160];
	int len = snprintf(alias, sizeof(alias), "ua-%s-%s", kind, name);
	if (len < 0 || (size_t)len >= sizeof(alias))
		xml_fail(b, ERR_INVALID, "the name of a %s is longer than 128 characters", kind);
	xml_set(b, xml_add(b, device, "alias"), "name", alias);
}

static void add_boot_order(struct xml_builder *b, xmlNode *device, int order)
{
	if (order > 0 && !b->config->is_test_driver)
		xml_set_int(b, xml_add(b, device, "boot"), "order", order);
}

static void check_disk(struct xml_builder *b, const struct domain_disk *d)
{
	static const char *const buses[] = {"virtio", "scsi", "sata", "usb", NULL};
	static const char *const formats[] = {"qcow2", "raw", NULL};
	static const char *const caches[] = {
	        "none", "writethrough", "writeback", "directsync", "unsafe", "default", NULL};
	static const char *const discards[] = {"unmap", "ignore", NULL};
	if (!is_one_of(d->bus, buses))
		xml_fail(b, ERR_INVALID, "a disk's bus must be virtio, scsi, sata or usb");
	if (d->path && !is_one_of(d->format, formats))
		xml_fail(b, ERR_INVALID, "a disk's format must be given: qcow2 or raw");
	if (d->cache && !is_one_of(d->cache, caches))
		xml_fail(b, ERR_INVALID, "a disk's cache mode is unknown");
	if (d->discard && !is_one_of(d->discard, discards))
		xml_fail(b, ERR_INVALID, "a disk's discard mode must be unmap or ignore");
	if (d->kind == DOMAIN_DISK && !d->path)
		xml_fail(b, ERR_INVALID, "a disk has no file");
	if (d->kind == DOMAIN_CDROM && str_equal(d->bus, "virtio"))
		xml_fail(b, ERR_INVALID, "a CD-ROM needs the bus sata, scsi or usb");
	if (d->iops_limit < 0 || d->bytes_per_second_limit < 0)
		xml_fail(b, ERR_INVALID, "a disk's limits cannot be negative");
}

static void add_disk_driver(struct xml_builder *b, xmlNode *disk, const struct domain_disk *d)
{
	xmlNode *driver = xml_add(b, disk, "driver");
	xml_set(b, driver, "name", "qemu");
	xml_set(b, driver, "type", d->path ? d->format : "raw");
	xml_set(b, driver, "cache", d->cache ? d->cache : "none");
	if (d->discard)
		xml_set(b, driver, "discard", d->discard);
}

static void add_disk_limits(struct xml_builder *b, xmlNode *disk, const struct domain_disk *d)
{
	if ((d->bytes_per_second_limit == 0 && d->iops_limit == 0) || b->config->is_test_driver)
		return;
	xmlNode *tune = xml_add(b, disk, "iotune");
	if (d->bytes_per_second_limit > 0)
		xml_add_int(b, tune, "total_bytes_sec", d->bytes_per_second_limit);
	if (d->iops_limit > 0)
		xml_add_int(b, tune, "total_iops_sec", d->iops_limit);
}

void domain_xml_add_disk(struct xml_builder *b, xmlNode *devices, size_t index)
{
	const struct domain_disk *d = &b->config->disks[index];
	check_disk(b, d);
	xmlNode *disk = xml_add(b, devices, "disk");
	xml_set(b, disk, "type", "file");
	xml_set(b, disk, "device", d->kind == DOMAIN_CDROM ? "cdrom" : "disk");
	add_disk_driver(b, disk, d);
	if (d->path) {
		xml_set_checked(b, xml_add(b, disk, "source"), "file", XML_TEXT_PATH, d->path);
		/* Explicitly empty: the chain ends here, whatever the guest writes into its disk.
		 */
		xml_add(b, disk, "backingStore");
	}
	char target[16];
	target_name(b->config, index, target);
	xmlNode *node = xml_add(b, disk, "target");
	xml_set(b, node, "dev", target);
	xml_set(b, node, "bus", d->bus);
	add_disk_limits(b, disk, d);
	if (d->kind == DOMAIN_CDROM)
		xml_add(b, disk, "readonly");
	if (!str_is_empty(d->serial))
		xml_add_text(b, disk, "serial", XML_TEXT_SERIAL, d->serial);
	add_boot_order(b, disk, d->boot_order);
	add_alias(b, disk, "disk", d->name);
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
	add_boot_order(b, nic, n->boot_order);
	add_alias(b, nic, "nic", n->name);
}

/* --- controllers --- */

/* Cards of the PCI age, which libvirt puts behind a bridge. */
static bool nic_is_pcie(const struct domain_nic *n)
{
	static const char *const conventional[] = {"e1000", "rtl8139", "pcnet", "ne2k_pci", NULL};
	return !is_one_of(n->model, conventional);
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

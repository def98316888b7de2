/* SPDX-License-Identifier: Apache-2.0 */
/* A <disk> element. Any thread, pure. */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "hypervisor/domain_xml_internal.h"
#include "hypervisor/xml_read.h"

bool xml_is_one_of(const char *text, const char *const *names)
{
	for (; *names; names++)
		if (str_equal(text, *names))
			return true;
	return false;
}

const char *domain_target_prefix(const char *bus)
{
	return str_equal(bus, "virtio") ? "vd" : "sd";
}

void domain_target_name(const char *prefix, size_t position, char ret_name[16])
{
	char letters[8];
	size_t n = 0;
	for (size_t rest = position + 1; rest > 0 && n < sizeof(letters); rest = (rest - 1) / 26)
		letters[n++] = (char)('a' + (rest - 1) % 26);
	size_t len = (size_t)snprintf(ret_name, 16, "%.2s", prefix);
	while (n > 0 && len < 15)
		ret_name[len++] = letters[--n];
	ret_name[len] = '\0';
}

/* The position counts disks of the same family. */
static void target_name(const struct domain_config *c, size_t index, char ret_name[16])
{
	const char *prefix = domain_target_prefix(c->disks[index].bus);
	size_t position = 0;
	for (size_t i = 0; i < index; i++)
		position += strcmp(domain_target_prefix(c->disks[i].bus), prefix) == 0;
	domain_target_name(prefix, position, ret_name);
}

void domain_xml_add_alias(
        struct xml_builder *b, xmlNode *device, const char *kind, const char *name)
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

void domain_xml_add_boot_order(struct xml_builder *b, xmlNode *device, int order)
{
	if (order > 0 && !b->config->is_test_driver)
		xml_set_int(b, xml_add(b, device, "boot"), "order", order);
}

xmlNode *domain_xml_find_device(const xmlNode *devices, const char *element, const char *alias)
{
	XML_FOR_EACH_CHILD(devices, element, device)
	if (xml_read_attribute_is(xml_read_child(device, "alias"), "name", alias))
		return (xmlNode *)device;
	return NULL;
}

static void check_disk(struct xml_builder *b, const struct domain_disk *d)
{
	static const char *const buses[] = {"virtio", "scsi", "sata", "usb", NULL};
	static const char *const caches[] = {
	        "none", "writethrough", "writeback", "directsync", "unsafe", "default", NULL};
	static const char *const discards[] = {"unmap", "ignore", NULL};
	if (!xml_is_one_of(d->bus, buses))
		xml_fail(b, ERR_INVALID, "a disk's bus must be virtio, scsi, sata or usb");
	if (d->cache && !xml_is_one_of(d->cache, caches))
		xml_fail(b, ERR_INVALID, "a disk's cache mode is unknown");
	if (d->discard && !xml_is_one_of(d->discard, discards))
		xml_fail(b, ERR_INVALID, "a disk's discard mode must be unmap or ignore");
	if (d->kind == DOMAIN_DISK && d->n_chain == 0)
		xml_fail(b, ERR_INVALID, "a disk has no file");
	if (d->kind == DOMAIN_CDROM && str_equal(d->bus, "virtio"))
		xml_fail(b, ERR_INVALID, "a CD-ROM needs the bus sata, scsi or usb");
	if (d->kind == DOMAIN_DISK && d->read_only && str_equal(d->bus, "sata"))
		xml_fail(b, ERR_INVALID, "a disk on the bus sata cannot be read-only");
	if (d->iops_limit < 0 || d->bytes_per_second_limit < 0)
		xml_fail(b, ERR_INVALID, "a disk's limits cannot be negative");
}

static void add_driver(struct xml_builder *b, xmlNode *disk, size_t index)
{
	const struct domain_disk *d = &b->config->disks[index];
	xmlNode *driver = xml_add(b, disk, "driver");
	xml_set(b, driver, "name", "qemu");
	xml_set(b, driver, "type", d->n_chain > 0 ? d->chain[0].format : "raw");
	xml_set(b, driver, "cache", d->cache ? d->cache : "none");
	if (d->discard)
		xml_set(b, driver, "discard", d->discard);
	domain_xml_set_iothread(b, driver, index);
}

static void add_limits(struct xml_builder *b, xmlNode *disk, const struct domain_disk *d)
{
	if ((d->bytes_per_second_limit == 0 && d->iops_limit == 0) || b->config->is_test_driver)
		return;
	xmlNode *tune = xml_add(b, disk, "iotune");
	if (d->bytes_per_second_limit > 0)
		xml_add_int(b, tune, "total_bytes_sec", d->bytes_per_second_limit);
	if (d->iops_limit > 0)
		xml_add_int(b, tune, "total_iops_sec", d->iops_limit);
}

static void add_target(struct xml_builder *b, xmlNode *disk, const char *dev, const char *bus)
{
	xmlNode *target = xml_add(b, disk, "target");
	xml_set(b, target, "dev", dev);
	xml_set(b, target, "bus", bus);
}

void domain_xml_add_disk(struct xml_builder *b, xmlNode *devices, size_t index)
{
	const struct domain_disk *d = &b->config->disks[index];
	char target[16];
	target_name(b->config, index, target);
	check_disk(b, d);
	xmlNode *disk = xml_add(b, devices, "disk");
	xml_set(b, disk, "type", "file");
	xml_set(b, disk, "device", d->kind == DOMAIN_CDROM ? "cdrom" : "disk");
	add_driver(b, disk, index);
	xml_add_chain(b, disk, d->chain, d->n_chain);
	add_target(b, disk, target, d->bus);
	add_limits(b, disk, d);
	if (d->kind == DOMAIN_CDROM || d->read_only)
		xml_add(b, disk, "readonly");
	if (!str_is_empty(d->serial))
		xml_add_text(b, disk, "serial", XML_TEXT_SERIAL, d->serial);
	domain_xml_add_boot_order(b, disk, d->boot_order);
	domain_xml_add_alias(b, disk, "disk", d->name);
}

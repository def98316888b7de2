/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disks that come from elsewhere: what a block copy writes to, the overlays of an external snapshot,
 * and the XML of a saved memory file on other chains. Any thread, pure.
 */
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "hypervisor/domain_xml_internal.h"
#include "hypervisor/xml_read.h"

#define DISK_ALIAS_PREFIX "ua-disk-"

int domain_xml_build_copy_target(const struct domain_source *source, char **ret_xml, struct err *e)
{
	struct xml_builder b = {.e = e};
	xmlDoc *doc CLEANUP(cleanup_xml_document) = xml_new_doc("disk");
	xmlNode *disk = xmlDocGetRootElement(doc);
	xmlNode *driver = xml_add(&b, disk, "driver");
	xml_set(&b, driver, "name", "qemu");
	xml_set(&b, driver, "type", source->format);
	xml_add_chain(&b, disk, source, 1);
	if (b.code == 0)
		*ret_xml = xml_print(disk);
	return b.code;
}

/* --- snapshots --- */

static const struct domain_overlay *find_overlay(
        const struct domain_overlay *overlays, size_t n, const char *alias)
{
	size_t len = strlen(DISK_ALIAS_PREFIX);
	for (size_t i = 0; alias && str_starts_with(alias, DISK_ALIAS_PREFIX) && i < n; i++)
		if (str_equal(overlays[i].disk, alias + len))
			return &overlays[i];
	return NULL;
}

static void add_snapshot_disk(struct xml_builder *b, xmlNode *disks, const xmlNode *live,
        const struct domain_overlay *overlays, size_t n)
{
	char *target CLEANUP(cleanup_free) =
	        xml_read_attribute(xml_read_child(live, "target"), "dev");
	char *alias CLEANUP(cleanup_free) =
	        xml_read_attribute(xml_read_child(live, "alias"), "name");
	const struct domain_overlay *overlay = find_overlay(overlays, n, alias);
	xmlNode *disk = xml_add(b, disks, "disk");
	xml_set_checked(b, disk, "name", XML_TEXT_TOKEN, target);
	xml_set(b, disk, "snapshot", overlay ? "external" : "no");
	if (!overlay)
		return;
	xml_set(b, xml_add(b, disk, "driver"), "type", overlay->source.format);
	xml_add_source(b, disk, &overlay->source);
}

static void check_overlays(struct xml_builder *b, const xmlNode *devices,
        const struct domain_overlay *overlays, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char *alias CLEANUP(cleanup_free) =
		        str_format(DISK_ALIAS_PREFIX "%s", overlays[i].disk);
		if (!domain_xml_find_device(devices, "disk", alias))
			xml_fail(b, ERR_NOT_FOUND, "the domain has no disk '%s'", overlays[i].disk);
	}
}

int domain_xml_build_snapshot(const struct domain_overlay *overlays, size_t n_overlays,
        const char *memory_path, const char *live_xml, char **ret_xml, struct err *e)
{
	struct xml_builder b = {.e = e};
	xmlDoc *live CLEANUP(cleanup_xml_document) = NULL;
	int r = xml_read_document(live_xml, "domain", &live, e);
	if (r < 0)
		return r;
	const xmlNode *devices = xml_read_child(xmlDocGetRootElement(live), "devices");
	check_overlays(&b, devices, overlays, n_overlays);
	xmlDoc *doc CLEANUP(cleanup_xml_document) = xml_new_doc("domainsnapshot");
	xmlNode *snapshot = xmlDocGetRootElement(doc);
	xmlNode *memory = xml_add(&b, snapshot, "memory");
	xml_set(&b, memory, "snapshot", memory_path ? "external" : "no");
	if (memory_path)
		xml_set_checked(&b, memory, "file", XML_TEXT_PATH, memory_path);
	xmlNode *disks = xml_add(&b, snapshot, "disks");
	XML_FOR_EACH_CHILD(devices, "disk", disk)
	add_snapshot_disk(&b, disks, disk, overlays, n_overlays);
	if (b.code == 0)
		*ret_xml = xml_print(snapshot);
	return b.code;
}

/* --- other chains --- */

static const struct domain_disk *find_disk(
        const struct domain_disk *disks, size_t n, const xmlNode *node)
{
	char *alias CLEANUP(cleanup_free) =
	        xml_read_attribute(xml_read_child(node, "alias"), "name");
	if (!alias || !str_starts_with(alias, DISK_ALIAS_PREFIX))
		return NULL;
	for (size_t i = 0; i < n; i++)
		if (str_equal(disks[i].name, alias + strlen(DISK_ALIAS_PREFIX)))
			return &disks[i];
	return NULL;
}

static void drop_chain(xmlNode *disk)
{
	static const char *const parts[] = {"source", "backingStore", "mirror"};
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		xml_remove((xmlNode *)xml_read_child(disk, parts[i]));
}

static void replace_chain(struct xml_builder *b, xmlNode *node, const struct domain_disk *disk)
{
	if (!disk) {
		char *target CLEANUP(cleanup_free) =
		        xml_read_attribute(xml_read_child(node, "target"), "dev");
		xml_fail(b, ERR_INVALID, "nothing is known of the disk at %s",
		        target ? target : "no target");
		return;
	}
	drop_chain(node);
	xmlNode *driver = (xmlNode *)xml_read_child(node, "driver");
	if (!driver)
		driver = xml_add(b, node, "driver");
	xml_set(b, driver, "name", "qemu");
	xml_set(b, driver, "type", disk->n_chain > 0 ? disk->chain[0].format : "raw");
	xml_set(b, node, "type", "file");
	xml_add_chain(b, node, disk->chain, disk->n_chain);
}

int domain_xml_replace_chains(const char *xml, const struct domain_disk *disks, size_t n_disks,
        char **ret_xml, struct err *e)
{
	struct xml_builder b = {.e = e};
	xmlDoc *doc CLEANUP(cleanup_xml_document) = NULL;
	int r = xml_parse_editable(xml, "domain", &doc, e);
	if (r < 0)
		return r;
	xmlNode *domain = xmlDocGetRootElement(doc);
	const xmlNode *devices = xml_read_child(domain, "devices");
	size_t n_found = 0;
	XML_FOR_EACH_CHILD(devices, "disk", disk)
	{
		replace_chain(&b, (xmlNode *)disk, find_disk(disks, n_disks, disk));
		n_found++;
	}
	if (n_found != n_disks)
		xml_fail(&b, ERR_INVALID, "the definition has %zu disks, %zu are known", n_found,
		        n_disks);
	if (b.code == 0)
		*ret_xml = xml_print(domain);
	return b.code;
}

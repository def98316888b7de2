/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device keeps its place in the guest when others come and go. A built definition has no
 * addresses: libvirt would give them anew in the order of the devices, so that a removed disk made
 * those behind it move to other PCI slots and targets. Here the places of the previous definition are
 * written into the new one, device by device; what is new gets a free place from libvirt.
 *
 * Devices are the same by alias (ua-...), or, for the fixed set, by kind and order. An address means
 * something only on the controllers it was given on, so these are kept first: all PCI ports, even
 * those that are free now. Any thread, pure.
 */
#include <ctype.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "hypervisor/domain_xml_internal.h"
#include "hypervisor/xml_read.h"

/* Whether both nodes have the same value of the attribute, or both none. NULL: an absent node. */
static bool same_attribute(const xmlNode *a, const xmlNode *b, const char *name)
{
	char *left CLEANUP(cleanup_free) = xml_read_attribute(a, name);
	char *right CLEANUP(cleanup_free) = xml_read_attribute(b, name);
	return str_equal(left, right);
}

static bool same_child_attribute(
        const xmlNode *a, const xmlNode *b, const char *child, const char *name)
{
	return same_attribute(xml_read_child(a, child), xml_read_child(b, child), name);
}

static bool is_element(const xmlNode *node, const char *name)
{
	return node->type == XML_ELEMENT_NODE && strcmp((const char *)node->name, name) == 0;
}

static const xmlNode *devices_of(xmlDoc *doc)
{
	return xml_read_child(xmlDocGetRootElement(doc), "devices");
}

/* --- the machine --- */

/* "pc-q35-7.2" is a "q35", "pc-i440fx-7.2" a "pc", "virt-7.2" a "virt". Caller frees. */
static char *machine_family(const char *machine)
{
	if (str_starts_with(machine, "pc-q35"))
		return str_format("q35");
	if (str_starts_with(machine, "pc-i440fx"))
		return str_format("pc");
	const char *dash = strrchr(machine, '-');
	bool has_version = dash && strpbrk(dash, "0123456789");
	return str_format(
	        "%.*s", has_version ? (int)(dash - machine) : (int)strlen(machine), machine);
}

/* False when they are different machines: then an address of one means nothing in the other. */
static bool keep_machine(xmlDoc *doc, xmlDoc *before)
{
	xmlNode *type =
	        (xmlNode *)xml_read_child(xml_read_child(xmlDocGetRootElement(doc), "os"), "type");
	const xmlNode *old =
	        xml_read_child(xml_read_child(xmlDocGetRootElement(before), "os"), "type");
	char *wanted CLEANUP(cleanup_free) = xml_read_attribute(type, "machine");
	char *had CLEANUP(cleanup_free) = xml_read_attribute(old, "machine");
	if (!wanted || !had || !same_attribute(type, old, "arch"))
		return false;
	char *family CLEANUP(cleanup_free) = machine_family(wanted);
	char *old_family CLEANUP(cleanup_free) = machine_family(had);
	if (!str_equal(family, old_family))
		return false;
	if (str_equal(wanted, family)) /* an alias for the newest version */
		xmlSetProp(type, (const xmlChar *)"machine", (const xmlChar *)had);
	return true;
}

/* --- controllers --- */

/* libvirt adds the other types by itself when they are missing, but anywhere. */
static bool is_ours_to_choose(const xmlNode *controller)
{
	return xml_read_attribute_is(controller, "type", "scsi") ||
	       xml_read_attribute_is(controller, "type", "usb");
}

/* The first of that type and model that has no index yet: not one that was kept. */
static xmlNode *find_new_controller(const xmlNode *devices, const xmlNode *old)
{
	XML_FOR_EACH_CHILD(devices, "controller", it)
	if (same_attribute(it, old, "type") && same_attribute(it, old, "model") &&
	        !xmlHasProp((xmlNode *)it, (const xmlChar *)"index"))
		return (xmlNode *)it;
	return NULL;
}

static bool has_controller(const xmlNode *devices, const xmlNode *old)
{
	XML_FOR_EACH_CHILD(devices, "controller", it)
	if (same_attribute(it, old, "type") && same_attribute(it, old, "index") &&
	        xmlHasProp((xmlNode *)old, (const xmlChar *)"index"))
		return true;
	return false;
}

static void keep_controllers(xmlNode *devices, const xmlNode *old_devices)
{
	XML_FOR_EACH_CHILD(old_devices, "controller", old)
	{
		if (has_controller(devices, old))
			continue;
		xmlNode *new = find_new_controller(devices, old);
		if (!new &&is_ours_to_choose(old))
			continue;
		xmlNode *copy = xmlDocCopyNode((xmlNode *)old, devices->doc, 1);
		xml_remove((xmlNode *)xml_read_child(copy, "alias"));
		if (new)
			xmlFreeNode(xmlReplaceNode(new, copy));
		else
			xmlAddChild(devices, copy);
	}
}

/* --- devices --- */

/* Caller frees; NULL: a device of the fixed set. */
static char *own_alias(const xmlNode *device)
{
	char *alias = xml_read_attribute(xml_read_child(device, "alias"), "name");
	if (alias && str_starts_with(alias, "ua-"))
		return alias;
	free(alias);
	return NULL;
}

static size_t place_among_equals(const xmlNode *device)
{
	size_t n = 0;
	for (const xmlNode *it = device->prev; it; it = it->prev) {
		char *alias CLEANUP(cleanup_free) = own_alias(it);
		n += !alias && is_element(it, (const char *)device->name);
	}
	return n;
}

static const xmlNode *find_old_device(const xmlNode *old_devices, const xmlNode *device)
{
	char *alias CLEANUP(cleanup_free) = own_alias(device);
	if (alias)
		return domain_xml_find_device(old_devices, (const char *)device->name, alias);
	size_t place = place_among_equals(device);
	XML_FOR_EACH_CHILD(old_devices, (const char *)device->name, it)
	{
		char *other CLEANUP(cleanup_free) = own_alias(it);
		if (!other && place-- == 0)
			return it;
	}
	return NULL;
}

/* Whether both sit on the same kind of bus: only then can one have the other's place. */
static bool fits_place(const xmlNode *device, const xmlNode *old)
{
	if (is_element(device, "disk"))
		return same_child_attribute(device, old, "target", "bus");
	if (is_element(device, "interface"))
		return same_child_attribute(device, old, "model", "type");
	return same_attribute(device, old, "model") && same_attribute(device, old, "type") &&
	       same_child_attribute(device, old, "target", "name");
}

static bool is_same_pci_address(const xmlNode *a, const xmlNode *b)
{
	static const char *const names[] = {"domain", "bus", "slot", "function"};
	bool is_same =
	        xml_read_attribute_is(a, "type", "pci") && xml_read_attribute_is(b, "type", "pci");
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		is_same = is_same && same_attribute(a, b, names[i]);
	return is_same;
}

static bool is_taken(const xmlNode *devices, const xmlNode *address)
{
	for (const xmlNode *it = devices->children; it; it = it->next)
		if (is_same_pci_address(xml_read_child(it, "address"), address))
			return true;
	return false;
}

static void keep_address(const xmlNode *devices, xmlNode *device, const xmlNode *old_devices)
{
	const xmlNode *old = find_old_device(old_devices, device);
	const xmlNode *address = xml_read_child(old, "address");
	if (!address || !fits_place(device, old) || xml_read_child(device, "address") ||
	        is_taken(devices, address))
		return;
	xmlAddChild(device, xmlDocCopyNode((xmlNode *)address, device->doc, 1));
}

static void keep_device_addresses(const xmlNode *devices, const xmlNode *old_devices)
{
	for (xmlNode *it = devices->children; it; it = it->next)
		if (it->type == XML_ELEMENT_NODE && !is_element(it, "controller"))
			keep_address(devices, it, old_devices);
}

/* --- targets --- */

static bool is_target_used(const xmlNode *devices, const xmlNode *but, const char *name)
{
	XML_FOR_EACH_CHILD(devices, "disk", it)
	if (it != but && xml_read_attribute_is(xml_read_child(it, "target"), "dev", name))
		return true;
	return false;
}

static void set_target(const xmlNode *disk, const char *name)
{
	xmlNode *target = (xmlNode *)xml_read_child(disk, "target");
	if (target)
		xmlSetProp(target, (const xmlChar *)"dev", (const xmlChar *)name);
}

static const xmlNode *find_same_disk(const xmlNode *old_devices, const xmlNode *disk)
{
	const xmlNode *old = find_old_device(old_devices, disk);
	return old && fits_place(disk, old) ? xml_read_child(old, "target") : NULL;
}

/* One that came new and stands in the way of a kept one moves to the first free name. */
static void make_room(const xmlNode *devices, const xmlNode *disk)
{
	char *wanted CLEANUP(cleanup_free) =
	        xml_read_attribute(xml_read_child(disk, "target"), "dev");
	char name[16];
	if (!wanted || !is_target_used(devices, disk, wanted))
		return;
	for (size_t position = 0;; position++) {
		domain_target_name(wanted, position, name);
		if (!is_target_used(devices, disk, name))
			break;
	}
	set_target(disk, name);
}

static void keep_targets(const xmlNode *devices, const xmlNode *old_devices)
{
	XML_FOR_EACH_CHILD(devices, "disk", disk)
	{
		char *name CLEANUP(cleanup_free) =
		        xml_read_attribute(find_same_disk(old_devices, disk), "dev");
		if (name)
			set_target(disk, name);
	}
	XML_FOR_EACH_CHILD(devices, "disk", disk)
	if (!find_same_disk(old_devices, disk))
		make_room(devices, disk);
}

int domain_xml_keep_addresses(const char *xml, const char *before, char **ret_xml, struct err *e)
{
	xmlDoc *doc CLEANUP(cleanup_xml_document) = NULL;
	xmlDoc *old CLEANUP(cleanup_xml_document) = NULL;
	int r = xml_parse_editable(xml, "domain", &doc, e);
	if (r == 0)
		r = xml_read_document(before, "domain", &old, e);
	if (r < 0)
		return r;
	const xmlNode *devices = devices_of(doc), *old_devices = devices_of(old);
	if (devices && old_devices) {
		keep_targets(devices, old_devices);
		if (keep_machine(doc, old)) {
			keep_controllers((xmlNode *)devices, old_devices);
			keep_device_addresses(devices, old_devices);
		}
	}
	*ret_xml = xml_print(xmlDocGetRootElement(doc));
	return 0;
}

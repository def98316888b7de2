/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fits a device element to a running domain. libvirt finds a disk by its target (vda), while Berth
 * knows it by its alias: targets come from the position in the definition and shift when a disk is
 * added or removed, but the running domain keeps those it started with. Any thread, pure.
 */
#include <libxml/parser.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "hypervisor/domain_xml_internal.h"
#include "hypervisor/xml_read.h"

static bool is_target_used(const struct domain_facts *live, const char *target)
{
	for (size_t i = 0; i < live->n_disks; i++)
		if (str_equal(live->disks[i].target, target))
			return true;
	return false;
}

static const char *target_of_alias(const struct domain_facts *live, const char *alias)
{
	for (size_t i = 0; alias && i < live->n_disks; i++)
		if (str_equal(live->disks[i].alias, alias))
			return live->disks[i].target;
	return NULL;
}

/* The first free name of the family of `wanted` ("vd", "sd"). */
static void find_free_target(const struct domain_facts *live, const char *wanted, char ret_name[16])
{
	size_t position = 0;
	do
		domain_target_name(wanted, position++, ret_name);
	while (is_target_used(live, ret_name));
}

static void fit_disk(xmlNode *disk, const struct domain_facts *live)
{
	xmlNode *target = (xmlNode *)xml_read_child(disk, "target");
	char *alias CLEANUP(cleanup_free) =
	        xml_read_attribute(xml_read_child(disk, "alias"), "name");
	char *wanted CLEANUP(cleanup_free) = xml_read_attribute(target, "dev");
	if (!wanted)
		return;
	const char *known = target_of_alias(live, alias);
	char free_name[16];
	if (!known && !is_target_used(live, wanted))
		return;
	if (!known)
		find_free_target(live, wanted, free_name);
	xmlSetProp(target, (const xmlChar *)"dev", (const xmlChar *)(known ? known : free_name));
}

int domain_xml_fit_device(
        const char *device_xml, const char *live_xml, char **ret_xml, struct err *e)
{
	struct domain_facts live CLEANUP(domain_facts_done) = {0};
	int r = domain_xml_parse(live_xml, &live, e);
	if (r < 0)
		return r;
	xmlDoc *doc CLEANUP(cleanup_xml_document) =
	        xmlReadMemory(device_xml, (int)strlen(device_xml), NULL, NULL,
	                XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
	xmlNode *device = doc ? xmlDocGetRootElement(doc) : NULL;
	if (!device)
		return err_set(e, ERR_INVALID, "not a device element");
	if (strcmp((const char *)device->name, "disk") == 0)
		fit_disk(device, &live);
	*ret_xml = xml_print(device);
	return 0;
}

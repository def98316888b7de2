/* SPDX-License-Identifier: Apache-2.0 */
/* What the fake driver reads and changes in domain XML. Pure, any thread. */
#include "hypervisor/driver_fake_internal.h"

#include <ctype.h>
#include <libxml/parser.h>
#include <libxml/tree.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "hypervisor/domain_xml.h"

static void cleanup_doc(xmlDoc **doc)
{
	xmlFreeDoc(*doc);
}

static xmlDoc *read_doc(const char *xml, const char *what, struct err *e)
{
	xmlDoc *doc = xmlReadMemory(xml, (int)strlen(xml), NULL, NULL,
	        XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
	if (!doc)
		err_set(e, ERR_HYPERVISOR, "the %s XML is not well-formed", what);
	return doc;
}

static xmlNode *child(const xmlNode *node, const char *name)
{
	for (xmlNode *it = node ? node->children : NULL; it; it = it->next)
		if (it->type == XML_ELEMENT_NODE && strcmp((const char *)it->name, name) == 0)
			return it;
	return NULL;
}

/* Caller frees; NULL if absent. */
static char *text_of(const xmlNode *node)
{
	xmlChar *raw = node ? xmlNodeGetContent(node) : NULL;
	char *text = xstrdup((const char *)raw);
	xmlFree(raw);
	return text;
}

static char *attribute_of(const xmlNode *node, const char *name)
{
	xmlChar *raw = node ? xmlGetProp(node, (const xmlChar *)name) : NULL;
	char *text = xstrdup((const char *)raw);
	xmlFree(raw);
	return text;
}

/* libvirt's units; KiB when none is given (formatdomain, memory allocation). */
static int64_t read_size(const xmlNode *node)
{
	static const struct {
		const char *unit;
		int64_t bytes;
	} units[] = {{"b", 1}, {"bytes", 1}, {"KB", 1000}, {"KiB", 1024}, {"k", 1024},
	        {"MiB", 1024 * 1024}, {"M", 1024 * 1024}, {"GiB", 1024 * 1024 * 1024},
	        {"G", 1024 * 1024 * 1024}};
	CLEANUP(cleanup_free) char *text = text_of(node);
	CLEANUP(cleanup_free) char *unit = attribute_of(node, "unit");
	long long value = text ? strtoll(text, NULL, 10) : 0;
	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		if (unit && strcmp(unit, units[i].unit) == 0)
			return value * units[i].bytes;
	return value * 1024;
}

static bool has_mark(const xmlNode *root, const char *element)
{
	const xmlNode *metadata = child(root, "metadata");
	for (const xmlNode *it = metadata ? metadata->children : NULL; it; it = it->next)
		if (it->ns && it->ns->href && strcmp((const char *)it->name, element) == 0 &&
		        strcmp((const char *)it->ns->href, DOMAIN_METADATA_URI) == 0)
			return true;
	return false;
}

static void read_macs(const xmlNode *root, struct fake_domain *d)
{
	const xmlNode *devices = child(root, "devices");
	for (const xmlNode *it = devices ? devices->children : NULL; it; it = it->next) {
		if (it->type != XML_ELEMENT_NODE ||
		        strcmp((const char *)it->name, "interface") != 0)
			continue;
		CLEANUP(cleanup_free) char *mac = attribute_of(child(it, "mac"), "address");
		if (mac && d->n_macs < FAKE_MAX_MACS)
			snprintf(d->macs[d->n_macs++], sizeof(d->macs[0]), "%s", mac);
	}
}

static int read_id(const xmlNode *root, char ret_id[UUID_TEXT_SIZE], struct err *e)
{
	CLEANUP(cleanup_free) char *text = text_of(child(root, "uuid"));
	if (!text) {
		uuid_make(ret_id);
		return 0;
	}
	if (!uuid_is_shaped(text))
		return err_set(e, ERR_HYPERVISOR, "malformed uuid '%s' in the domain XML", text);
	for (size_t i = 0; i < UUID_TEXT_SIZE; i++)
		ret_id[i] = (char)tolower((unsigned char)text[i]);
	return 0;
}

static void read_sizes(const xmlNode *root, struct fake_domain *d)
{
	const xmlNode *current = child(root, "currentMemory");
	const xmlNode *vcpu = child(root, "vcpu");
	CLEANUP(cleanup_free) char *vcpus = text_of(vcpu);
	CLEANUP(cleanup_free) char *vcpus_current = attribute_of(vcpu, "current");
	d->memory_bytes = read_size(child(root, "memory"));
	d->balloon_bytes = current ? read_size(current) : d->memory_bytes;
	d->memory_max_bytes =
	        child(root, "maxMemory") ? read_size(child(root, "maxMemory")) : d->memory_bytes;
	d->vcpus = vcpus ? atoi(vcpus) : 1;
	d->vcpus_current = vcpus_current ? atoi(vcpus_current) : d->vcpus;
}

static bool attribute_is(const xmlNode *node, const char *name, const char *value)
{
	CLEANUP(cleanup_free) char *text = attribute_of(node, name);
	return text && strcmp(text, value) == 0;
}

/* A domain without the element has a balloon nonetheless, as with libvirt. */
static void read_balloon(const xmlNode *root, struct fake_domain *d)
{
	const xmlNode *balloon = child(child(root, "devices"), "memballoon");
	CLEANUP(cleanup_free) char *period = attribute_of(child(balloon, "stats"), "period");
	d->has_balloon = !attribute_is(balloon, "model", "none");
	d->memory.autodeflate = attribute_is(balloon, "autodeflate", "on");
	d->stats_period_s = period ? atoi(period) : 0;
}

int fake_xml_parse(const char *xml, struct fake_domain *ret_domain, struct err *e)
{
	CLEANUP(cleanup_doc) xmlDoc *doc = read_doc(xml, "domain", e);
	if (!doc)
		return ERR_HYPERVISOR;
	const xmlNode *root = xmlDocGetRootElement(doc);
	if (!root || strcmp((const char *)root->name, "domain") != 0)
		return err_set(e, ERR_HYPERVISOR, "the XML does not describe a domain");
	struct fake_domain d = {.is_persistent = true};
	int rc = read_id(root, d.id, e);
	if (rc != 0)
		return rc;
	read_sizes(root, &d);
	read_balloon(root, &d);
	read_macs(root, &d);
	d.is_ours = has_mark(root, DOMAIN_MARK_VM);
	d.is_carrier = has_mark(root, DOMAIN_MARK_CARRIER);
	CLEANUP(cleanup_free) char *name = text_of(child(root, "name"));
	if (str_is_empty(name))
		return err_set(e, ERR_HYPERVISOR, "the domain XML has no name");
	if (d.memory_bytes <= 0 || d.vcpus <= 0)
		return err_set(e, ERR_HYPERVISOR, "domain '%s' has no memory or no vCPU", name);
	d.name = TAKE(name);
	*ret_domain = d;
	return 0;
}

static char *dump(xmlDoc *doc, xmlNode *node)
{
	xmlBuffer *buffer = xmlBufferCreate();
	xmlNodeDump(buffer, doc, node, 0, 0);
	char *text = xstrdup((const char *)xmlBufferContent(buffer));
	xmlBufferFree(buffer);
	return text;
}

static xmlNode *add_text(xmlNode *parent, const char *name, const char *text)
{
	return xmlNewTextChild(parent, NULL, (const xmlChar *)name, (const xmlChar *)text);
}

static void set_attribute(xmlNode *node, const char *name, const char *value)
{
	xmlNewProp(node, (const xmlChar *)name, (const xmlChar *)value);
}

char *fake_xml_make(const struct fake_domain *d)
{
	CLEANUP(cleanup_doc) xmlDoc *doc = xmlNewDoc((const xmlChar *)"1.0");
	xmlNode *root = xmlNewDocNode(doc, NULL, (const xmlChar *)"domain", NULL);
	xmlDocSetRootElement(doc, root);
	set_attribute(root, "type", "qemu");
	add_text(root, "name", d->name);
	add_text(root, "uuid", d->id);
	char number[32];
	snprintf(number, sizeof(number), "%lld", (long long)(d->memory_bytes / 1024));
	set_attribute(add_text(root, "memory", number), "unit", "KiB");
	snprintf(number, sizeof(number), "%d", d->vcpus);
	add_text(root, "vcpu", number);
	xmlNode *type = add_text(add_text(root, "os", NULL), "type", "hvm");
	set_attribute(type, "arch", "x86_64");
	set_attribute(type, "machine", "q35");
	add_text(root, "devices", NULL);
	return dump(doc, root);
}

/* Whether both have the attribute of the child element, with the same value. */
static bool same(const xmlNode *a, const xmlNode *b, const char *element, const char *attribute)
{
	CLEANUP(cleanup_free) char *left = attribute_of(child(a, element), attribute);
	CLEANUP(cleanup_free) char *right = attribute_of(child(b, element), attribute);
	return left && right && strcmp(left, right) == 0;
}

static xmlNode *find_device(const xmlNode *devices, const xmlNode *like)
{
	for (xmlNode *it = devices->children; it; it = it->next) {
		if (it->type != XML_ELEMENT_NODE ||
		        strcmp((const char *)it->name, (const char *)like->name) != 0)
			continue;
		if (same(it, like, "alias", "name") || same(it, like, "mac", "address") ||
		        same(it, like, "target", "dev"))
			return it;
	}
	return NULL;
}

static void read_alias(const xmlNode *device, char ret_alias[64])
{
	CLEANUP(cleanup_free) char *alias = attribute_of(child(device, "alias"), "name");
	snprintf(ret_alias, 64, "%s", alias ? alias : "");
}

static int edit_devices(
        xmlDoc *doc, xmlNode *device, enum fake_edit edit, char *ret_alias, struct err *e)
{
	xmlNode *root = xmlDocGetRootElement(doc);
	xmlNode *devices = child(root, "devices");
	if (!devices)
		devices = add_text(root, "devices", NULL);
	xmlNode *old = find_device(devices, device);
	if (edit == FAKE_ATTACH && old)
		return err_set(e, ERR_EXISTS, "the domain has that %s already",
		        (const char *)device->name);
	if (edit != FAKE_ATTACH && !old)
		return err_set(
		        e, ERR_NOT_FOUND, "the domain has no such %s", (const char *)device->name);
	if (old) {
		if (ret_alias)
			read_alias(old, ret_alias);
		xmlUnlinkNode(old);
		xmlFreeNode(old);
	}
	if (edit != FAKE_DETACH)
		xmlAddChild(devices, xmlDocCopyNode(device, doc, 1));
	return 0;
}

int fake_xml_edit(
        char **xml, const char *device_xml, enum fake_edit edit, char ret_alias[64], struct err *e)
{
	CLEANUP(cleanup_doc) xmlDoc *doc = read_doc(*xml, "domain", e);
	CLEANUP(cleanup_doc) xmlDoc *device = read_doc(device_xml, "device", e);
	if (!doc || !device)
		return ERR_HYPERVISOR;
	int rc = edit_devices(doc, xmlDocGetRootElement(device), edit, ret_alias, e);
	if (rc != 0)
		return rc;
	free(*xml);
	*xml = dump(doc, xmlDocGetRootElement(doc));
	return 0;
}

void fake_xml_rename(char **xml, const char *name)
{
	CLEANUP(cleanup_doc) xmlDoc *doc = read_doc(*xml, "domain", NULL);
	xmlNode *node = child(xmlDocGetRootElement(doc), "name");
	xmlNodeSetContent(node, NULL);
	xmlNodeAddContent(node, (const xmlChar *)name);
	free(*xml);
	*xml = dump(doc, xmlDocGetRootElement(doc));
}

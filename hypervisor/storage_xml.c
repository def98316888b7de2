/* SPDX-License-Identifier: Apache-2.0 */
/* Directory pools and volumes in libvirt's XML. */
#include "hypervisor/storage_xml.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "hypervisor/domain_xml_internal.h"
#include "hypervisor/xml_read.h"

/* QEMU's user must pass through a pool's directory and nobody else may list or write it. */
#define POOL_MODE   "0711"
#define VOLUME_MODE "0600"
/* QEMU refuses a disk whose size is no multiple of the largest sector it may sit on. */
#define SECTOR 4096

static xmlNode *new_root(xmlDoc **ret_doc, const char *name)
{
	*ret_doc = xmlNewDoc((const xmlChar *)"1.0");
	xmlNode *root = xmlNewDocNode(*ret_doc, NULL, (const xmlChar *)name, NULL);
	xmlDocSetRootElement(*ret_doc, root);
	return root;
}

/* One path component that is neither hidden nor an option. */
static void check_name(struct xml_builder *b, const char *what, const char *name)
{
	xml_check(b, XML_TEXT_LINE, what, name);
	if (b->code == 0 && (strchr(name, '/') || name[0] == '.' || name[0] == '-'))
		xml_fail(b, ERR_INVALID, "%s cannot have a '/' or begin with '.' or '-'", what);
}

static void add_permissions(struct xml_builder *b, xmlNode *target, const char *mode)
{
	xml_add_text(b, xml_add(b, target, "permissions"), "mode", XML_TEXT_ANY, mode);
}

int storage_xml_build_pool(const char *name, const char *path, char **ret_xml, struct err *e)
{
	struct xml_builder b = {.e = e};
	xmlDoc *doc CLEANUP(cleanup_xml_document) = NULL;
	xmlNode *pool = new_root(&doc, "pool");
	xml_set(&b, pool, "type", "dir");
	check_name(&b, "the pool's name", name);
	xml_add_text(&b, pool, "name", XML_TEXT_LINE, name);
	xmlNode *target = xml_add(&b, pool, "target");
	xml_add_text(&b, target, "path", XML_TEXT_PATH, path);
	add_permissions(&b, target, POOL_MODE);
	if (b.code == 0)
		*ret_xml = xml_print(pool);
	return b.code;
}

int64_t storage_round_up(int64_t size_bytes)
{
	return size_bytes > INT64_MAX - SECTOR ? size_bytes
	                                       : (size_bytes + SECTOR - 1) / SECTOR * SECTOR;
}

int storage_xml_build_volume(
        const char *name, const char *format, int64_t size_bytes, char **ret_xml, struct err *e)
{
	struct xml_builder b = {.e = e};
	xmlDoc *doc CLEANUP(cleanup_xml_document) = NULL;
	xmlNode *volume = new_root(&doc, "volume");
	bool is_qcow2 = str_equal(format, "qcow2");
	check_name(&b, "the volume's name", name);
	if (!is_qcow2 && !str_equal(format, "raw"))
		xml_fail(&b, ERR_INVALID, "the volume's format must be qcow2 or raw");
	if (size_bytes < 0)
		xml_fail(&b, ERR_INVALID, "the volume's size is negative");
	xml_add_text(&b, volume, "name", XML_TEXT_LINE, name);
	int64_t capacity = storage_round_up(size_bytes);
	xml_set(&b, xml_add_int(&b, volume, "capacity", capacity), "unit", "bytes");
	xml_set(&b, xml_add_int(&b, volume, "allocation", 0), "unit", "bytes");
	xmlNode *target = xml_add(&b, volume, "target");
	xml_set(&b, xml_add(&b, target, "format"), "type", format);
	add_permissions(&b, target, VOLUME_MODE);
	/* libvirt's default, 0.10, has neither bitmaps nor zero clusters. */
	if (is_qcow2)
		xml_add_text(&b, target, "compat", XML_TEXT_ANY, "1.1");
	if (b.code == 0)
		*ret_xml = xml_print(volume);
	return b.code;
}

int storage_xml_parse_pool_path(const char *xml, char **ret_path, struct err *e)
{
	xmlDoc *doc CLEANUP(cleanup_xml_document) = NULL;
	int r = xml_read_document(xml, "pool", &doc, e);
	if (r == 0) {
		const xmlNode *target = xml_read_child(xmlDocGetRootElement(doc), "target");
		*ret_path = xml_read_content(xml_read_child(target, "path"));
	}
	return r;
}

void storage_xml_parse_volume_format(const char *xml, char ret_format[16])
{
	xmlDoc *doc CLEANUP(cleanup_xml_document) = NULL;
	ret_format[0] = '\0';
	if (xml_read_document(xml, "volume", &doc, NULL) < 0)
		return;
	const xmlNode *target = xml_read_child(xmlDocGetRootElement(doc), "target");
	char *type CLEANUP(cleanup_free) =
	        xml_read_attribute(xml_read_child(target, "format"), "type");
	snprintf(ret_format, 16, "%s", type ? type : "");
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Volumes and secrets in libvirt's XML. */
#include "hypervisor/storage_xml.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "hypervisor/domain_xml_internal.h"
#include "hypervisor/xml_read.h"

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

int64_t storage_round_up(int64_t size_bytes)
{
	return size_bytes > INT64_MAX - SECTOR ? size_bytes
	                                       : (size_bytes + SECTOR - 1) / SECTOR * SECTOR;
}

/* --- volumes --- */

static void check_format(struct xml_builder *b, const char *what, const char *format)
{
	if (!str_equal(format, "qcow2") && !str_equal(format, "raw"))
		xml_fail(b, ERR_INVALID, "%s must be qcow2 or raw", what);
}

/* One path component that is neither hidden nor an option. */
static void check_name(struct xml_builder *b, const char *name)
{
	xml_check(b, XML_TEXT_LINE, "the volume's name", name);
	if (b->code == 0 && (strchr(name, '/') || name[0] == '.' || name[0] == '-'))
		xml_fail(b, ERR_INVALID,
		        "the volume's name cannot have a '/' or begin with '.' or '-'");
}

static void check_volume(
        struct xml_builder *b, const char *pool_type, const struct volume_config *config)
{
	check_name(b, config->name);
	check_format(b, "the volume's format", config->format);
	if (config->backing_path)
		check_format(b, "the backing file's format", config->backing_format);
	if (config->size_bytes < 0)
		xml_fail(b, ERR_INVALID, "the volume's size is negative");
	if ((storage_type_flags(pool_type) & STORAGE_TYPE_FIXED) != 0)
		xml_fail(b, ERR_UNSUPPORTED,
		        "volumes in a pool of the type %s are made by its server", pool_type);
	bool is_qcow2 = str_equal(config->format, "qcow2");
	if (is_qcow2 && (storage_type_flags(pool_type) & STORAGE_TYPE_FILES) == 0)
		xml_fail(b, ERR_UNSUPPORTED, "a pool of the type %s holds raw volumes only",
		        pool_type);
	if (!is_qcow2 && config->backing_path)
		xml_fail(b, ERR_INVALID, "only qcow2 can stand on a backing file");
}

static void add_backing(struct xml_builder *b, xmlNode *volume, const struct volume_config *config)
{
	xmlNode *backing = xml_add(b, volume, "backingStore");
	xml_add_text(b, backing, "path", XML_TEXT_PATH, config->backing_path);
	xml_set(b, xml_add(b, backing, "format"), "type", config->backing_format);
}

int storage_xml_build_volume(
        const char *pool_type, const struct volume_config *config, char **ret_xml, struct err *e)
{
	struct xml_builder b = {.e = e};
	xmlDoc *doc CLEANUP(cleanup_xml_document) = NULL;
	xmlNode *volume = new_root(&doc, "volume");
	check_volume(&b, pool_type, config);
	xml_add_text(&b, volume, "name", XML_TEXT_LINE, config->name);
	int64_t capacity = storage_round_up(config->size_bytes);
	bool is_full =
	        config->preallocate || (storage_type_flags(pool_type) & STORAGE_TYPE_FULL) != 0;
	xml_set(&b, xml_add_int(&b, volume, "capacity", capacity), "unit", "bytes");
	xml_set(&b, xml_add_int(&b, volume, "allocation", is_full ? capacity : 0), "unit", "bytes");
	xmlNode *target = xml_add(&b, volume, "target");
	xml_set(&b, xml_add(&b, target, "format"), "type", config->format);
	xml_add_text(&b, xml_add(&b, target, "permissions"), "mode", XML_TEXT_ANY, VOLUME_MODE);
	/* libvirt's default, 0.10, has neither bitmaps nor zero clusters. */
	if (str_equal(config->format, "qcow2"))
		xml_add_text(&b, target, "compat", XML_TEXT_ANY, "1.1");
	if (config->backing_path)
		add_backing(&b, volume, config);
	if (b.code == 0)
		*ret_xml = xml_print(volume);
	return b.code;
}

void storage_xml_parse_volume(const char *xml, struct volume_info *ret_info)
{
	xmlDoc *doc CLEANUP(cleanup_xml_document) = NULL;
	ret_info->format[0] = '\0';
	ret_info->backing_path = NULL;
	if (xml_read_document(xml, "volume", &doc, NULL) < 0)
		return;
	const xmlNode *root = xmlDocGetRootElement(doc);
	const xmlNode *format = xml_read_child(xml_read_child(root, "target"), "format");
	char *type CLEANUP(cleanup_free) = xml_read_attribute(format, "type");
	snprintf(ret_info->format, sizeof(ret_info->format), "%s", type ? type : "");
	const xmlNode *backing = xml_read_child(root, "backingStore");
	ret_info->backing_path = xml_read_content(xml_read_child(backing, "path"));
}

/* --- secrets --- */

int storage_xml_build_secret(
        const char *secret_id, const char *usage, char **ret_xml, struct err *e)
{
	struct xml_builder b = {.e = e};
	xmlDoc *doc CLEANUP(cleanup_xml_document) = NULL;
	xmlNode *secret = new_root(&doc, "secret");
	bool is_ceph = str_equal(usage, "ceph");
	if (!is_ceph && !str_equal(usage, "iscsi"))
		xml_fail(&b, ERR_INVALID, "the secret's usage must be ceph or iscsi");
	if (!secret_id || !uuid_is_shaped(secret_id))
		xml_fail(&b, ERR_INVALID, "the secret's id must be a UUID");
	/* Kept over a restart of the host, and never given out again. */
	xml_set(&b, secret, "ephemeral", "no");
	xml_set(&b, secret, "private", "yes");
	xml_add_text(&b, secret, "uuid", XML_TEXT_LINE, secret_id);
	xmlNode *use = xml_add(&b, secret, "usage");
	xml_set(&b, use, "type", usage);
	char *unique CLEANUP(cleanup_free) = str_format("berth-%s", secret_id);
	xml_add_text(&b, use, is_ceph ? "name" : "target", XML_TEXT_LINE, unique);
	if (b.code == 0)
		*ret_xml = xml_print(secret);
	return b.code;
}

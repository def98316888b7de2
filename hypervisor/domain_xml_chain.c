/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the layers of a running domain's disk as libvirt reports them. Any thread, pure. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/vec.h"
#include "hypervisor/domain_xml_internal.h"
#include "hypervisor/xml_read.h"

char *xml_read_source(const xmlNode *parent)
{
	static const char *const names[] = {"file", "dev", "dir", "name"};
	const xmlNode *source = xml_read_child(parent, "source");
	char *volume CLEANUP(cleanup_free) = xml_read_attribute(source, "volume");
	if (volume) {
		char *pool CLEANUP(cleanup_free) = xml_read_attribute(source, "pool");
		return str_format("%s/%s", pool ? pool : "", volume);
	}
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		char *path = xml_read_attribute(source, names[i]);
		if (path)
			return path;
	}
	return NULL;
}

/* The top layer has its number in its <source> and its format in <driver>, the others theirs in
 * <backingStore> and <format>. */
static struct domain_layer read_layer(const xmlNode *node, bool is_top)
{
	const xmlNode *numbered = is_top ? xml_read_child(node, "source") : node;
	const xmlNode *format = xml_read_child(node, is_top ? "driver" : "format");
	return (struct domain_layer){
	        .path = xml_read_source(node),
	        .format = xml_read_attribute(format, "type"),
	        .index = (int)xml_read_attribute_int(numbered, "index"),
	};
}

static void read_layers(const xmlNode *disk, struct domain_chain *chain)
{
	VEC(struct domain_layer) layers = {0};
	for (const xmlNode *node = disk; xml_read_child(node, "source");
	        node = xml_read_child(node, "backingStore"))
		VEC_PUSH(&layers, read_layer(node, node == disk));
	chain->layers = layers.items;
	chain->n_layers = layers.len;
}

int domain_xml_read_chain(
        const char *live_xml, const char *disk, struct domain_chain *ret_chain, struct err *e)
{
	xmlDoc *doc CLEANUP(cleanup_xml_document) = NULL;
	int r = xml_read_document(live_xml, "domain", &doc, e);
	if (r < 0)
		return r;
	char *alias CLEANUP(cleanup_free) = str_format("ua-disk-%s", disk);
	const xmlNode *devices = xml_read_child(xmlDocGetRootElement(doc), "devices");
	const xmlNode *node = domain_xml_find_device(devices, "disk", alias);
	if (!node)
		return err_set(e, ERR_NOT_FOUND, "the domain has no disk '%s'", disk);
	const xmlNode *mirror = xml_read_child(node, "mirror");
	struct domain_chain chain = {
	        .target = xml_read_attribute(xml_read_child(node, "target"), "dev"),
	        .has_mirror = mirror != NULL,
	        .mirror_is_ready = xml_read_attribute_is(mirror, "ready", "yes"),
	};
	read_layers(node, &chain);
	*ret_chain = chain;
	return 0;
}

void domain_chain_done(struct domain_chain *chain)
{
	for (size_t i = 0; i < chain->n_layers; i++) {
		free(chain->layers[i].path);
		free(chain->layers[i].format);
	}
	free(chain->layers);
	free(chain->target);
	*chain = (struct domain_chain){0};
}

/* <mirror> and <backingStore> hold a source as the disk itself does. */
static bool names_layer(const xmlNode *node, const char *path)
{
	char *own CLEANUP(cleanup_free) = xml_read_source(node);
	if (str_equal(own, path))
		return true;
	const xmlNode *below = xml_read_child(node, "backingStore");
	const xmlNode *mirror = xml_read_child(node, "mirror");
	return (below && names_layer(below, path)) || (mirror && names_layer(mirror, path));
}

/* Spares parsing what does not even contain the file's name. */
static bool may_name(const char *xml, const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	bool is_plain = !strpbrk(name, "&<>'\"");
	return !is_plain || strstr(xml, name) != NULL;
}

bool domain_xml_names_layer(const char *xml, const char *path)
{
	xmlDoc *doc CLEANUP(cleanup_xml_document) = NULL;
	if (!may_name(xml, path) || xml_read_document(xml, "domain", &doc, NULL) < 0)
		return false;
	const xmlNode *devices = xml_read_child(xmlDocGetRootElement(doc), "devices");
	XML_FOR_EACH_CHILD(devices, "disk", disk)
	if (names_layer(disk, path))
		return true;
	return false;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What the fake driver does to the chains of disks in domain XML. Pure, any thread. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "hypervisor/domain_xml_internal.h"
#include "hypervisor/driver_fake_internal.h"
#include "hypervisor/xml_read.h"

struct layer {
	char *type, *format, *path; /* owned */
	xmlNode *source;            /* owned, in no tree */
};
typedef VEC(struct layer) layer_vec;

static void free_layer(struct layer *layer)
{
	free(layer->type);
	free(layer->format);
	free(layer->path);
	xmlFreeNode(layer->source);
}

static void layers_done(layer_vec *layers)
{
	VEC_FOR_EACH (layers, layer)
		free_layer(layer);
	VEC_DONE(layers);
}

static struct layer read_layer(const xmlNode *node, const char *format_element)
{
	return (struct layer){
	        .type = xml_read_attribute(node, "type"),
	        .format = xml_read_attribute(xml_read_child(node, format_element), "type"),
	        .path = xml_read_source(node),
	        .source = xmlCopyNode((xmlNode *)xml_read_child(node, "source"), 1),
	};
}

static void read_layers(const xmlNode *disk, layer_vec *ret_layers)
{
	for (const xmlNode *node = disk; xml_read_child(node, "source");
	        node = xml_read_child(node, "backingStore"))
		VEC_PUSH(ret_layers, read_layer(node, node == disk ? "driver" : "format"));
}

static void set(xmlNode *node, const char *name, const char *value)
{
	if (node && value)
		xmlSetProp(node, (const xmlChar *)name, (const xmlChar *)value);
}

static xmlNode *add(xmlNode *parent, const char *name)
{
	return xmlNewChild(parent, NULL, (const xmlChar *)name, NULL);
}

static void write_layers(xmlNode *disk, const layer_vec *layers)
{
	xml_remove((xmlNode *)xml_read_child(disk, "source"));
	xml_remove((xmlNode *)xml_read_child(disk, "backingStore"));
	xmlNode *node = disk;
	for (size_t i = 0; i < layers->len; i++) {
		const struct layer *layer = &layers->items[i];
		if (i > 0)
			node = add(node, "backingStore");
		set(node, "type", layer->type);
		set(i > 0 ? add(node, "format") : (xmlNode *)xml_read_child(disk, "driver"), "type",
		        layer->format);
		xmlAddChild(node, xmlDocCopyNode(layer->source, disk->doc, 1));
	}
	if (layers->len > 0)
		add(node, "backingStore");
}

/* The position of a path; the number of layers if there is none. */
static size_t find(const layer_vec *layers, const char *path)
{
	size_t i = 0;
	while (i < layers->len && !str_equal(layers->items[i].path, path))
		i++;
	return i;
}

static void remove_layers(layer_vec *layers, size_t from, size_t to)
{
	layer_vec kept = {0};
	for (size_t i = 0; i < layers->len; i++)
		if (i >= from && i < to)
			free_layer(&layers->items[i]);
		else
			VEC_PUSH(&kept, layers->items[i]);
	VEC_DONE(layers);
	*layers = kept;
}

static void put(layer_vec *layers, const char *source_xml, enum fake_put how)
{
	xmlDoc *doc CLEANUP(cleanup_xml_document) =
	        xmlReadMemory(source_xml, (int)strlen(source_xml), NULL, NULL, 0);
	layer_vec all = {0};
	struct layer top = read_layer(xmlDocGetRootElement(doc), "driver");
	if (!top.type)
		top.type = xstrdup("file");
	VEC_PUSH(&all, top);
	if (how == FAKE_INSTEAD)
		remove_layers(layers, 0, layers->len);
	VEC_FOR_EACH (layers, layer)
		VEC_PUSH(&all, *layer);
	VEC_DONE(layers);
	*layers = all;
}

/* A change of one disk's layers. */
struct edit {
	enum { COMMIT, PULL, PUT } kind;
	const char *top, *base, *source_xml;
	enum fake_put how;
};

static void change(layer_vec *layers, const struct edit *edit)
{
	size_t top = edit->top ? find(layers, edit->top) : 0;
	size_t base = edit->base ? find(layers, edit->base) : layers->len;
	if (edit->kind == PUT)
		put(layers, edit->source_xml, edit->how);
	else if (edit->kind == COMMIT && base < layers->len)
		remove_layers(layers, top, base);
	else if (edit->kind == PULL && (!edit->base || base < layers->len))
		remove_layers(layers, 1, base);
}

/* NULL: no such disk. The caller frees *ret_doc in any case. */
static xmlNode *find_disk(const char *xml, const char *disk, xmlDoc **ret_doc)
{
	if (!xml || xml_parse_editable(xml, "domain", ret_doc, NULL) < 0)
		return NULL;
	char *alias CLEANUP(cleanup_free) = str_format("ua-disk-%s", disk);
	return domain_xml_find_device(
	        xml_read_child(xmlDocGetRootElement(*ret_doc), "devices"), "disk", alias);
}

static void apply(char **xml, const char *disk, const struct edit *edit)
{
	xmlDoc *doc CLEANUP(cleanup_xml_document) = NULL;
	layer_vec layers CLEANUP(layers_done) = {0};
	xmlNode *node = find_disk(*xml, disk, &doc);
	if (!node)
		return;
	read_layers(node, &layers);
	change(&layers, edit);
	write_layers(node, &layers);
	free(*xml);
	*xml = xml_print(xmlDocGetRootElement(doc));
}

void fake_chain_commit(char **xml, const char *disk, const char *top, const char *base)
{
	apply(xml, disk, &(struct edit){.kind = COMMIT, .top = top, .base = base});
}

void fake_chain_pull(char **xml, const char *disk, const char *base)
{
	apply(xml, disk, &(struct edit){.kind = PULL, .base = base});
}

void fake_chain_put(char **xml, const char *disk, const char *source_xml, enum fake_put how)
{
	apply(xml, disk, &(struct edit){.kind = PUT, .source_xml = source_xml, .how = how});
}

static void add_limit(xmlNode *tune, const char *name, int64_t value)
{
	char *text CLEANUP(cleanup_free) = str_format("%lld", (long long)value);
	if (value > 0)
		xmlNewTextChild(tune, NULL, (const xmlChar *)name, (const xmlChar *)text);
}

void fake_xml_set_limits(
        char **xml, const char *disk, int64_t iops_limit, int64_t bytes_per_second_limit)
{
	xmlDoc *doc CLEANUP(cleanup_xml_document) = NULL;
	xmlNode *node = find_disk(*xml, disk, &doc);
	if (!node)
		return;
	xml_remove((xmlNode *)xml_read_child(node, "iotune"));
	xmlNode *tune = iops_limit > 0 || bytes_per_second_limit > 0 ? add(node, "iotune") : NULL;
	if (tune) {
		add_limit(tune, "total_bytes_sec", bytes_per_second_limit);
		add_limit(tune, "total_iops_sec", iops_limit);
	}
	free(*xml);
	*xml = xml_print(xmlDocGetRootElement(doc));
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Reading libvirt's XML: finding child elements and attributes. Any thread, pure. */
#pragma once

#include <libxml/tree.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* Parses a document whose root must be <root>; no entities, files or network. The caller frees
 * *ret_doc. */
int xml_read_document(const char *xml, const char *root, xmlDoc **ret_doc, struct err *e);
void cleanup_xml_document(xmlDoc **doc);

/* The first child element of that name; NULL for no such child or no parent. */
const xmlNode *xml_read_child(const xmlNode *parent, const char *name);
/* The next sibling element of the same name. */
const xmlNode *xml_read_next(const xmlNode *node);
#define XML_FOR_EACH_CHILD(parent, name, it)                                                       \
	for (const xmlNode *it = xml_read_child(parent, name); it; it = xml_read_next(it))

/* Copies, owned by the caller; NULL: no such attribute, no node. */
char *xml_read_attribute(const xmlNode *node, const char *name);
char *xml_read_content(const xmlNode *node);
bool xml_read_attribute_is(const xmlNode *node, const char *name, const char *value);
bool xml_read_content_is(const xmlNode *node, const char *value);
/* Leading decimal digits; 0 when there are none or they do not fit. */
int64_t xml_read_attribute_int(const xmlNode *node, const char *name);
int64_t xml_read_content_int(const xmlNode *node);
/* A size with an optional unit='...' attribute (KiB without one), in bytes; saturates. */
int64_t xml_read_bytes(const xmlNode *node);

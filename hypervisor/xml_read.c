/* SPDX-License-Identifier: Apache-2.0 */
/* Small readers over libxml2's tree that take NULL for what is absent. */
#include "hypervisor/xml_read.h"

#include <libxml/parser.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"

/* A large definition or capabilities text is some 100 KB. */
#define XML_SIZE_MAX (16 * 1024 * 1024)

int xml_read_document(const char *xml, const char *root, xmlDoc **ret_doc, struct err *e)
{
	size_t len = strlen(xml);
	if (len > XML_SIZE_MAX)
		return err_set(e, ERR_TOO_LARGE, "a <%s> document of %zu bytes", root, len);
	int options = XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING | XML_PARSE_NOCDATA;
	xmlDoc *doc = xmlReadMemory(xml, (int)len, NULL, NULL, options);
	const xmlNode *node = doc ? xmlDocGetRootElement(doc) : NULL;
	if (!node || strcmp((const char *)node->name, root) != 0) {
		xmlFreeDoc(doc);
		return err_set(e, ERR_INVALID, "not a <%s> document", root);
	}
	*ret_doc = doc;
	return 0;
}

void cleanup_xml_document(xmlDoc **doc)
{
	xmlFreeDoc(*doc);
}

static const xmlNode *element_from(const xmlNode *node, const char *name)
{
	while (node &&
	        (node->type != XML_ELEMENT_NODE || strcmp((const char *)node->name, name) != 0))
		node = node->next;
	return node;
}

const xmlNode *xml_read_child(const xmlNode *parent, const char *name)
{
	return parent ? element_from(parent->children, name) : NULL;
}

const xmlNode *xml_read_next(const xmlNode *node)
{
	return element_from(node->next, (const char *)node->name);
}

static char *take_xml_text(xmlChar *text)
{
	char *copy = xstrdup((const char *)text);
	xmlFree(text);
	return copy;
}

char *xml_read_attribute(const xmlNode *node, const char *name)
{
	return node ? take_xml_text(xmlGetNoNsProp(node, (const xmlChar *)name)) : NULL;
}

char *xml_read_content(const xmlNode *node)
{
	return node ? take_xml_text(xmlNodeGetContent(node)) : NULL;
}

bool xml_read_attribute_is(const xmlNode *node, const char *name, const char *value)
{
	char *text CLEANUP(cleanup_free) = xml_read_attribute(node, name);
	return str_equal(text, value);
}

bool xml_read_content_is(const xmlNode *node, const char *value)
{
	char *text CLEANUP(cleanup_free) = xml_read_content(node);
	return str_equal(text, value);
}

static int64_t leading_integer(const char *text)
{
	if (!text)
		return 0;
	text += strspn(text, " \t\r\n");
	char digits[24];
	snprintf(digits, sizeof(digits), "%s", text);
	digits[strspn(digits, "0123456789")] = '\0';
	long long value = 0;
	return str_to_int64(digits, &value) ? value : 0;
}

int64_t xml_read_attribute_int(const xmlNode *node, const char *name)
{
	char *text CLEANUP(cleanup_free) = xml_read_attribute(node, name);
	return leading_integer(text);
}

int64_t xml_read_content_int(const xmlNode *node)
{
	char *text CLEANUP(cleanup_free) = xml_read_content(node);
	return leading_integer(text);
}

/* libvirt's units: decimal "KB", binary "k" and "KiB" (formatdomain, "memory"). */
static int64_t unit_factor(const char *unit)
{
	static const struct {
		const char *name;
		int64_t factor;
	} units[] = {
	        {"b", 1},
	        {"bytes", 1},
	        {"KB", 1000},
	        {"k", 1024},
	        {"KiB", 1024},
	        {"MB", 1000000},
	        {"M", 1 << 20},
	        {"MiB", 1 << 20},
	        {"GB", 1000000000},
	        {"G", 1 << 30},
	        {"GiB", 1 << 30},
	        {"TB", 1000000000000},
	        {"T", 1LL << 40},
	        {"TiB", 1LL << 40},
	};
	for (size_t i = 0; unit && i < ARRAY_LEN(units); i++)
		if (strcasecmp(unit, units[i].name) == 0)
			return units[i].factor;
	return 1024;
}

int64_t xml_read_bytes(const xmlNode *node)
{
	char *unit CLEANUP(cleanup_free) = xml_read_attribute(node, "unit");
	int64_t bytes = 0;
	if (__builtin_mul_overflow(xml_read_content_int(node), unit_factor(unit), &bytes))
		return INT64_MAX;
	return bytes;
}

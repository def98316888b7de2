/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes, attributes and the rules for the texts in them; the first refusal sticks. */
#include "hypervisor/domain_xml_internal.h"

#include <inttypes.h>
#include <libxml/parser.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "hypervisor/xml_read.h"

int xml_fail(struct xml_builder *b, int code, const char *format, ...)
{
	if (b->code != 0)
		return b->code;
	char text[256];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	b->code = err_set(b->e, code, "%s", text);
	return b->code;
}

/* XML 1.0 section 2.2: no NUL, no control characters but tab, newline and carriage return, no
 * U+FFFE, U+FFFF. */
static size_t xml_char_len(const char *s)
{
	const unsigned char *u = (const unsigned char *)s;
	if (u[0] < 0x20)
		return u[0] == '\t' || u[0] == '\n' || u[0] == '\r' ? 1 : 0;
	size_t len = str_utf8_len(s);
	bool noncharacter = len == 3 && u[0] == 0xef && u[1] == 0xbf && u[2] >= 0xbe;
	return noncharacter ? 0 : len;
}

static bool is_xml_text(const char *s)
{
	for (size_t len; *s; s += len)
		if ((len = xml_char_len(s)) == 0)
			return false;
	return true;
}

static bool has_control(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return true;
	return false;
}

static bool consists_of(const char *s, const char *extra)
{
	static const char base[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
	if (*s == '\0')
		return false;
	for (; *s; s++)
		if (!strchr(base, *s) && !strchr(extra, *s))
			return false;
	return true;
}

static bool is_unicast_mac(const char *s)
{
	if (strlen(s) != 17)
		return false;
	for (size_t i = 0; i < 17; i++) {
		bool separator = i % 3 == 2;
		if (separator ? s[i] != ':' : !strchr("0123456789abcdefABCDEF", s[i]))
			return false;
	}
	return strchr("02468aAcCeE", s[1]) != NULL;
}

static bool follows_rule(enum xml_text rule, const char *s)
{
	switch (rule) {
	case XML_TEXT_ANY:
		return true;
	case XML_TEXT_LINE:
		return *s != '\0' && !has_control(s);
	case XML_TEXT_PATH:
		return s[0] == '/' && s[1] != '\0' && !has_control(s);
	case XML_TEXT_TOKEN:
		return consists_of(s, "_-.+");
	case XML_TEXT_ALIAS:
		return consists_of(s, "_-");
	case XML_TEXT_SERIAL:
		return consists_of(s, "_-.+ ");
	case XML_TEXT_MAC:
		return is_unicast_mac(s);
	case XML_TEXT_HOST:
		return consists_of(s, "_-.:%");
	case XML_TEXT_SET:
		return *s != '\0' && s[strspn(s, "0123456789,-")] == '\0';
	case XML_TEXT_NUMBER:
		return *s != '\0' && s[strspn(s, "0123456789")] == '\0' && strlen(s) <= 9;
	}
	return false;
}

static const char *const rule_text[] = {
        [XML_TEXT_ANY] = "must be text that XML can carry (UTF-8, no control characters)",
        [XML_TEXT_LINE] = "must be one line of text",
        [XML_TEXT_PATH] = "must be an absolute path",
        [XML_TEXT_TOKEN] = "may have letters, digits, '_', '-', '.' and '+' only",
        [XML_TEXT_ALIAS] = "may have letters, digits, '_' and '-' only",
        [XML_TEXT_SERIAL] = "may have letters, digits, blanks, '_', '-', '.' and '+' only",
        [XML_TEXT_MAC] = "must be a unicast MAC address",
        [XML_TEXT_HOST] = "must be a host's name or address",
        [XML_TEXT_NUMBER] = "must be a number",
        [XML_TEXT_SET] = "must be numbers and ranges, as in 0-3,8",
};

void xml_check(struct xml_builder *b, enum xml_text rule, const char *what, const char *text)
{
	if (b->code != 0)
		return;
	if (!text)
		xml_fail(b, ERR_INVALID, "%s is missing", what);
	else if (!is_xml_text(text))
		xml_fail(b, ERR_INVALID, "%s %s", what, rule_text[XML_TEXT_ANY]);
	else if (!follows_rule(rule, text))
		xml_fail(b, ERR_INVALID, "%s %s", what, rule_text[rule]);
}

xmlNode *xml_add(struct xml_builder *b, xmlNode *parent, const char *name)
{
	if (b->code != 0)
		return NULL;
	return xmlNewChild(parent, NULL, (const xmlChar *)name, NULL);
}

xmlNode *xml_add_text(struct xml_builder *b, xmlNode *parent, const char *name, enum xml_text rule,
        const char *text)
{
	xml_check(b, rule, name, text);
	if (b->code != 0)
		return NULL;
	return xmlNewTextChild(parent, NULL, (const xmlChar *)name, (const xmlChar *)text);
}

static const char *int_text(int64_t value, char buffer[24])
{
	snprintf(buffer, 24, "%" PRId64, value);
	return buffer;
}

xmlNode *xml_add_int(struct xml_builder *b, xmlNode *parent, const char *name, int64_t value)
{
	char buffer[24];
	return xml_add_text(b, parent, name, XML_TEXT_ANY, int_text(value, buffer));
}

void xml_set(struct xml_builder *b, xmlNode *node, const char *attribute, const char *value)
{
	if (b->code == 0)
		xmlSetProp(node, (const xmlChar *)attribute, (const xmlChar *)value);
}

void xml_set_checked(struct xml_builder *b, xmlNode *node, const char *attribute,
        enum xml_text rule, const char *value)
{
	if (b->code != 0)
		return;
	char what[64];
	snprintf(what, sizeof(what), "%s %s", (const char *)node->name, attribute);
	xml_check(b, rule, what, value);
	xml_set(b, node, attribute, value);
}

void xml_set_int(struct xml_builder *b, xmlNode *node, const char *attribute, int64_t value)
{
	char buffer[24];
	xml_set(b, node, attribute, int_text(value, buffer));
}

xmlNode *xml_add_kib(struct xml_builder *b, xmlNode *parent, const char *name, int64_t bytes)
{
	xmlNode *node = xml_add_int(b, parent, name, bytes / 1024 + (bytes % 1024 != 0));
	xml_set(b, node, "unit", "KiB");
	return node;
}

int xml_parse_editable(const char *text, const char *root, xmlDoc **ret_doc, struct err *e)
{
	int r = xml_read_document(text, root, ret_doc, e);
	if (r < 0)
		return r;
	xmlFreeDoc(*ret_doc);
	*ret_doc = xmlReadMemory(text, (int)strlen(text), NULL, NULL,
	        XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING | XML_PARSE_NOBLANKS);
	return 0;
}

void xml_remove(xmlNode *node)
{
	if (!node)
		return;
	xmlUnlinkNode(node);
	xmlFreeNode(node);
}

xmlDoc *xml_new_doc(const char *root)
{
	xmlDoc *doc = xmlNewDoc((const xmlChar *)"1.0");
	xmlDocSetRootElement(doc, xmlNewDocNode(doc, NULL, (const xmlChar *)root, NULL));
	return doc;
}

char *xml_print(xmlNode *root)
{
	xmlBuffer *buffer = xmlBufferCreate();
	xmlNodeDump(buffer, root->doc, root, 0, /* format= */ 1);
	char *text = xstrdup((const char *)xmlBufferContent(buffer));
	xmlBufferFree(buffer);
	return text;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Validates XML against libvirt's own RELAX NG schemas. Test helper. */
#pragma once

#include <libxml/parser.h>
#include <libxml/relaxng.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define SCHEMA_DIR "/usr/share/libvirt/schemas/"

static inline xmlRelaxNGPtr libvirt_schema_load(const char *path)
{
	xmlRelaxNGParserCtxtPtr parser = xmlRelaxNGNewParserCtxt(path);
	xmlRelaxNGPtr schema = xmlRelaxNGParse(parser);
	xmlRelaxNGFreeParserCtxt(parser);
	return schema;
}

static inline bool libvirt_schema_accepts(xmlRelaxNGPtr schema, const char *xml)
{
	xmlDocPtr doc = xmlReadMemory(xml, (int)strlen(xml), NULL, NULL, XML_PARSE_NONET);
	if (!doc)
		return false;
	xmlRelaxNGValidCtxtPtr context = xmlRelaxNGNewValidCtxt(schema);
	bool valid = xmlRelaxNGValidateDoc(context, doc) == 0;
	xmlRelaxNGFreeValidCtxt(context);
	xmlFreeDoc(doc);
	if (!valid)
		fprintf(stderr, "refused by the schema:\n%s\n", xml);
	return valid;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the domain XML builder share: nodes with a sticky error, and the device
 * elements. */
#pragma once

#include <libxml/tree.h>

#include "hypervisor/domain_xml.h"

/* The first error sticks; later calls do nothing and return NULL, so that a builder reads straight
 * down. */
struct xml_builder {
	const struct domain_config *config; /* borrowed */
	struct err *e;                      /* borrowed, may be NULL */
	int code;                           /* 0 or the first error */
};

/* What a text may contain; XML 1.0 is the minimum for all. */
enum xml_text {
	XML_TEXT_ANY,   /* what XML 1.0 can carry */
	XML_TEXT_LINE,  /* not empty, no control characters: names, command lines */
	XML_TEXT_PATH,  /* absolute, no control characters */
	XML_TEXT_TOKEN, /* letters, digits, '_', '-', '.', '+' */
	XML_TEXT_ALIAS, /* letters, digits, '_', '-': what libvirt takes in a user alias */
	XML_TEXT_SERIAL,
	XML_TEXT_MAC, /* a unicast MAC address */
};

/* `what` names the field in the refusal ("description"). */
void xml_check(struct xml_builder *b, enum xml_text rule, const char *what, const char *text);
xmlNode *xml_add(struct xml_builder *b, xmlNode *parent, const char *name);
xmlNode *xml_add_text(struct xml_builder *b, xmlNode *parent, const char *name, enum xml_text rule,
        const char *text);
xmlNode *xml_add_int(struct xml_builder *b, xmlNode *parent, const char *name, int64_t value);
/* For values that this code chose. */
void xml_set(struct xml_builder *b, xmlNode *node, const char *attribute, const char *value);
/* For values that came with the configuration; refused texts name `element attribute`. */
void xml_set_checked(struct xml_builder *b, xmlNode *node, const char *attribute,
        enum xml_text rule, const char *value);
void xml_set_int(struct xml_builder *b, xmlNode *node, const char *attribute, int64_t value);
/* Adds <name unit='KiB'>, rounding up: libvirt counts memory in KiB. */
xmlNode *xml_add_kib(struct xml_builder *b, xmlNode *parent, const char *name, int64_t bytes);
int xml_fail(struct xml_builder *b, int code, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
/* Prints a tree; caller frees. */
char *xml_print(xmlNode *root);

bool domain_config_is_x86(const struct domain_config *config);
bool domain_config_is_arm64(const struct domain_config *config);
/* Machines whose devices sit behind pcie-root-ports (q35, virt). */
bool domain_config_is_pcie(const struct domain_config *config);

void domain_xml_add_devices(struct xml_builder *b, xmlNode *domain);
void domain_xml_add_disk(struct xml_builder *b, xmlNode *devices, size_t index);
void domain_xml_add_nic(struct xml_builder *b, xmlNode *devices, size_t index);

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
	XML_TEXT_MAC,    /* a unicast MAC address */
	XML_TEXT_HOST,   /* a name or an address */
	XML_TEXT_NUMBER, /* decimal digits */
	XML_TEXT_SET,    /* numbers and ranges: "0-3,8" */
};

/* `what` names the field in the refusal ("description"). */
void xml_check(struct xml_builder *b, enum xml_text rule, const char *what, const char *text);
xmlNode *xml_add(struct xml_builder *b, xmlNode *parent, const char *name);
xmlNode *xml_add_text(struct xml_builder *b, xmlNode *parent, const char *name, enum xml_text rule,
        const char *text);
xmlNode *xml_add_int(struct xml_builder *b, xmlNode *parent, const char *name, int64_t value);
/* For values that this code chose; replaces what is there. */
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

/* Parses a <root> document that will be changed and printed again: without the blanks between its
 * elements. The caller frees *ret_doc. */
int xml_parse_editable(const char *text, const char *root, xmlDoc **ret_doc, struct err *e);
void xml_remove(xmlNode *node); /* unlinks and frees; NULL: nothing */
xmlDoc *xml_new_doc(const char *root);

/* --- domain_xml_source.c --- */

/* Sets the type of `parent` (a <disk> or <backingStore>) and adds its <source>. */
void xml_add_source(struct xml_builder *b, xmlNode *parent, const struct domain_source *source);
/* The same for a whole chain, closed by an empty <backingStore>. Nothing when n is 0. */
void xml_add_chain(
        struct xml_builder *b, xmlNode *disk, const struct domain_source *chain, size_t n);

/* The path of a <source> or NAME of a network one; "POOL/VOLUME" for a pool's. Caller frees. */
char *xml_read_source(const xmlNode *parent);

/* --- domain_xml_disk.c --- */

bool xml_is_one_of(const char *text, const char *const *names);
/* "vd" or "sd": disks of one letter family share the numbering. */
const char *domain_target_prefix(const char *bus);
/* "vda", "vdb", ... "vdz", "vdaa", ...: the name at `position`. */
void domain_target_name(const char *prefix, size_t position, char ret_name[16]);
/* Adds <alias name='ua-KIND-NAME'/>. */
void domain_xml_add_alias(
        struct xml_builder *b, xmlNode *device, const char *kind, const char *name);
void domain_xml_add_boot_order(struct xml_builder *b, xmlNode *device, int order);
/* The <disk> or other device of `devices` with that alias, or NULL. */
xmlNode *domain_xml_find_device(const xmlNode *devices, const char *element, const char *alias);

/* --- domain_xml_build.c --- */

/* Name, UUID and description, checked. */
void domain_xml_add_identity(struct xml_builder *b, xmlNode *domain);
/* The metadata by which Berth knows its own domains again: <vm> or <carrier> in our namespace. */
void domain_xml_add_mark(struct xml_builder *b, xmlNode *domain, const char *element);

/* --- domain_xml_resources.c --- */

/* What a guest may grow to; the sizes themselves for none. */
int64_t domain_config_memory_max(const struct domain_config *config);
int domain_config_vcpus_max(const struct domain_config *config);
bool domain_config_can_grow(const struct domain_config *config);
/* From <maxMemory> to <numatune>, checked. */
void domain_xml_add_resources(struct xml_builder *b, xmlNode *domain);
/* The virtio disk at `index` gets its I/O thread. */
void domain_xml_set_iothread(struct xml_builder *b, xmlNode *driver, size_t index);

/* --- domain_xml_devices.c --- */

void domain_xml_add_devices(struct xml_builder *b, xmlNode *domain);
void domain_xml_add_disk(struct xml_builder *b, xmlNode *devices, size_t index);
void domain_xml_add_nic(struct xml_builder *b, xmlNode *devices, size_t index);

/* SPDX-License-Identifier: Apache-2.0 */
/* libvirt's XML of pools, volumes (formatstorage) and secrets (formatsecret). Any thread, pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "hypervisor/driver.h"

/* --- pools: storage_xml_pool.c --- */

/* What libvirt's calls do with a pool of some type. */
enum storage_type_flags {
	STORAGE_TYPE_FILES = 1, /* a directory that "build" makes and "delete" removes when empty */
	STORAGE_TYPE_LOCAL = 2, /* starts without a server */
	STORAGE_TYPE_FULL = 4,  /* space is always taken at once */
	STORAGE_TYPE_ROUNDS = 8, /* sizes are rounded up to units of its own */
	STORAGE_TYPE_FIXED = 16, /* libvirt makes no volumes in it: what is there is there */
};
/* 0 for an unknown type. */
unsigned storage_type_flags(const char *type);

/* Refuses what the type lacks or cannot use, and what could pass for an option. Caller frees *ret_xml. */
int storage_xml_build_pool(const struct pool_config *config, char **ret_xml, struct err *e);
/* Whether the definition `xml` reaches the same storage in the same way: ERR_CONFLICT names the first difference. */
int storage_xml_compare_pool(const char *xml, const struct pool_config *config, struct err *e);
/* "" when the text has none. */
void storage_xml_parse_pool_type(const char *xml, char ret_type[16]);

/* --- volumes and secrets: storage_xml.c --- */

/* The capacity that a volume of that size gets: whole sectors. */
int64_t storage_round_up(int64_t size_bytes);
/* For a pool of that type. Caller frees *ret_xml. */
int storage_xml_build_volume(
        const char *pool_type, const struct volume_config *config, char **ret_xml, struct err *e);
/* Sets format ("" when the text has none) and backing_path (owned). */
void storage_xml_parse_volume(const char *xml, struct volume_info *ret_info);

/* usage: ceph | iscsi. Without the value, which travels apart. Caller frees *ret_xml. */
int storage_xml_build_secret(
        const char *secret_id, const char *usage, char **ret_xml, struct err *e);

/* SPDX-License-Identifier: Apache-2.0 */
/* libvirt's XML of directory pools and volumes (formatstorage). Any thread, pure. */
#pragma once

#include <stdint.h>

#include "base/err.h"

/* Callers free *ret_xml and *ret_path. */
int storage_xml_build_pool(const char *name, const char *path, char **ret_xml, struct err *e);
/* The capacity that a volume of that size gets: whole sectors. */
int64_t storage_round_up(int64_t size_bytes);
int storage_xml_build_volume(
        const char *name, const char *format, int64_t size_bytes, char **ret_xml, struct err *e);
int storage_xml_parse_pool_path(const char *xml, char **ret_path, struct err *e);
/* "" when the text has none. */
void storage_xml_parse_volume_format(const char *xml, char ret_format[16]);

/* SPDX-License-Identifier: Apache-2.0 */
/* What the inspectors of single formats share. Pure. */
#pragma once

#include <inttypes.h>
#include <string.h>

#include "storage/image_inspect.h"

#define SECTOR_BYTES 512

/* One inspection under way. */
struct image_look {
	const struct image_bytes *bytes;
	int64_t max_virtual_bytes; /* 0: no limit */
	struct image_facts *facts;
};

/* One per format: from its magic on, which was seen. */
int image_inspect_qcow2(const struct image_look *look, struct err *e);
int image_inspect_vmdk(const struct image_look *look, struct err *e);
int image_inspect_vdi(const struct image_look *look, struct err *e);

/* Numbers in a header; the caller knows that they are there. */
static inline uint16_t image_be16(const unsigned char *p)
{
	return (uint16_t)((p[0] << 8) | p[1]);
}
static inline uint32_t image_be32(const unsigned char *p)
{
	return ((uint32_t)image_be16(p) << 16) | image_be16(p + 2);
}
static inline uint64_t image_be64(const unsigned char *p)
{
	return ((uint64_t)image_be32(p) << 32) | image_be32(p + 4);
}
static inline uint16_t image_le16(const unsigned char *p)
{
	return (uint16_t)((p[1] << 8) | p[0]);
}
static inline uint32_t image_le32(const unsigned char *p)
{
	return ((uint32_t)image_le16(p + 2) << 16) | image_le16(p);
}
static inline uint64_t image_le64(const unsigned char *p)
{
	return ((uint64_t)image_le32(p + 4) << 32) | image_le32(p);
}

/* Whether offset .. offset + n lies in the file; no sum overflows. */
static inline bool image_lies_within(const struct image_look *look, uint64_t offset, uint64_t n)
{
	uint64_t size = (uint64_t)look->bytes->size;
	return offset <= size && n <= size - offset;
}
/* Whether those bytes can be read yet. */
static inline bool image_is_readable(const struct image_look *look, uint64_t offset, uint64_t n)
{
	uint64_t head = (uint64_t)look->bytes->head;
	return !look->bytes->head || (offset <= head && n <= head - offset);
}
/* Exactly those; ERR_UNPROCESSABLE when the file ends before, naming `what`. */
int image_look_read(const struct image_look *look, uint64_t offset, void *buffer, size_t n,
        const char *what, struct err *e);
/* The size guests would see: ERR_UNPROCESSABLE for 0 and for what is larger than allowed, with the numbers. */
int image_look_set_size(const struct image_look *look, uint64_t bytes, struct err *e);

/* SPDX-License-Identifier: Apache-2.0 */
/* VirtualBox's VDI, version 1.1 (as QEMU's block/vdi.c describes it). Pure. */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "storage/image_inspect_internal.h"

#define HEADER_BYTES 512
#define VERSION      0x00010001U
#define TYPE_DYNAMIC 1
#define TYPE_FIXED   2
#define BLOCK_BYTES  (1U << 20)
#define BLOCKS_MAX   (1U << 24)  /* 16 TiB */
#define UNALLOCATED  0xfffffffeU /* and above: not written, or discarded */

#define REFUSE(...) err_set(e, ERR_UNPROCESSABLE, __VA_ARGS__)

static bool is_zero(const unsigned char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i])
			return false;
	return true;
}

static int check_kind(const unsigned char *h, struct err *e)
{
	if (image_le32(h + 0x44) != VERSION)
		return REFUSE("it is VDI version %u.%u, only 1.1 is taken", image_le16(h + 0x46),
		        image_le16(h + 0x44));
	uint32_t type = image_le32(h + 0x4c);
	if (type != TYPE_DYNAMIC && type != TYPE_FIXED)
		return REFUSE("it is a VDI of type %u (1: dynamic, 2: fixed)", type);
	if (!is_zero(h + 0x1a8, 16) || !is_zero(h + 0x1b8, 16))
		return REFUSE("it stands on another VDI (its parent)");
	return 0;
}

/* Each block of the file is used at most once. */
static int check_map(const struct image_look *look, uint64_t offset, uint32_t n, uint32_t allocated,
        struct err *e)
{
	unsigned char *map CLEANUP(cleanup_free) = xcalloc(n, 4);
	unsigned char *seen CLEANUP(cleanup_free) = xcalloc(allocated / 8 + 1, 1);
	int rc = image_look_read(look, offset, map, (size_t)n * 4, "block map", e);
	for (uint32_t i = 0; i < n && rc == 0; i++) {
		uint32_t block = image_le32(map + (size_t)i * 4);
		if (block >= UNALLOCATED)
			continue;
		if (block >= allocated)
			return REFUSE("its block map names block %u of %u", block, allocated);
		if (seen[block / 8] & (1 << block % 8))
			return REFUSE("its block map names block %u twice", block);
		seen[block / 8] |= (unsigned char)(1 << block % 8);
	}
	return rc;
}

static int check_places(const struct image_look *look, const unsigned char *h, struct err *e)
{
	uint64_t map = image_le32(h + 0x154), data = image_le32(h + 0x158);
	uint64_t size = image_le64(h + 0x170);
	uint32_t blocks = image_le32(h + 0x180), allocated = image_le32(h + 0x184);
	if (image_le32(h + 0x168) != SECTOR_BYTES || image_le32(h + 0x178) != BLOCK_BYTES ||
	        image_le32(h + 0x17c) != 0)
		return REFUSE("its sectors or blocks are not those of VDI 1.1");
	if (map % SECTOR_BYTES != 0 || data % SECTOR_BYTES != 0 || map < HEADER_BYTES ||
	        data < map + blocks * 4ULL)
		return REFUSE("its block map or data lie where they cannot");
	if (blocks > BLOCKS_MAX || size > (uint64_t)blocks * BLOCK_BYTES || allocated > blocks)
		return REFUSE("its block map has %u entries, %u of them used, for %" PRIu64
		              " bytes",
		        blocks, allocated, size);
	if (!image_lies_within(look, map, blocks * 4ULL) || !image_lies_within(look, data, 0) ||
	        (uint64_t)allocated * BLOCK_BYTES > (uint64_t)look->bytes->size + BLOCK_BYTES)
		return REFUSE("its block map or data lies beyond the end of the file");
	return look->bytes->head ? 0 : check_map(look, map, blocks, allocated, e);
}

int image_inspect_vdi(const struct image_look *look, struct err *e)
{
	unsigned char h[HEADER_BYTES];
	int rc = image_look_read(look, 0, h, sizeof(h), "header", e);
	if (rc == 0)
		rc = check_kind(h, e);
	if (rc == 0)
		rc = image_look_set_size(look, image_le64(h + 0x170), e);
	return rc < 0 ? rc : check_places(look, h, e);
}

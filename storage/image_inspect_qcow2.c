/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2, versions 2 and 3 (QEMU's docs/interop/qcow2.txt). Pure.
 *
 * Refused: anything outside the file (backing file, external data file), encryption, what a newer QEMU may mean by
 * unknown incompatible bits, and tables that are larger than the disk asks for, lie beyond the file or share
 * clusters: a small file whose tables name one cluster a million times becomes terabytes when it is converted.
 */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "storage/image_inspect_internal.h"

#define CLUSTER_BITS_MIN   9
#define CLUSTER_BITS_MAX   21
#define HEADER_V2          72
#define HEADER_V3          104
#define L1_BYTES_MAX       (32 << 20) /* QEMU's own bounds */
#define REFTABLE_BYTES_MAX (8 << 20)
#define SNAPSHOTS_MAX      16
#define SNAPSHOT_EXTRA_MAX 1024
#define BITMAPS_MAX        64
#define BITMAP_TABLE_MAX   (1 << 20)

#define INCOMPATIBLE_DIRTY       (1ULL << 0)
#define INCOMPATIBLE_CORRUPT     (1ULL << 1)
#define INCOMPATIBLE_DATA_FILE   (1ULL << 2)
#define INCOMPATIBLE_COMPRESSION (1ULL << 3)
#define INCOMPATIBLE_EXTENDED_L2 (1ULL << 4)
#define INCOMPATIBLE_KNOWN       (((uint64_t)1 << 5) - 1)
#define AUTOCLEAR_RAW_DATA_FILE  (1ULL << 1)

#define EXTENSION_END            0x00000000U
#define EXTENSION_BACKING_FORMAT 0xe2792acaU
#define EXTENSION_FEATURES       0x6803f857U
#define EXTENSION_BITMAPS        0x23852875U
#define EXTENSION_ENCRYPTION     0x0537be77U
#define EXTENSION_DATA_FILE      0x44415441U

#define L1_OFFSET_MASK 0x00fffffffffffe00ULL
#define L2_COMPRESSED  (1ULL << 62)
#define L2_BLOCK       65536 /* bytes of an L2 table read at a time */

struct qcow2 {
	const struct image_look *look;
	uint32_t version, cluster_bits, l1_size, header_length, snapshots;
	uint64_t size, l1_offset, snapshots_offset, incompatible,
	        clusters; /* clusters: seen in L2 tables */
	uint64_t cluster_size;
};

#define REFUSE(...) err_set(e, ERR_UNPROCESSABLE, __VA_ARGS__)

static uint64_t divide_up(uint64_t a, uint64_t b)
{
	return a / b + (a % b != 0);
}

/* A table of n bytes at `offset`: begins a cluster, lies behind the header and within the file. */
static int check_table(const struct qcow2 *q, uint64_t offset, uint64_t n, uint64_t max,
        const char *what, struct err *e)
{
	if (n > max)
		return REFUSE("its %s has %" PRIu64 " bytes, more than the %" PRIu64 " allowed",
		        what, n, max);
	if (offset % q->cluster_size != 0 || (n > 0 && offset < q->cluster_size))
		return REFUSE("its %s at %" PRIu64 " does not begin a cluster", what, offset);
	if (!image_lies_within(q->look, offset, n))
		return REFUSE("its %s (%" PRIu64 " bytes at %" PRIu64
		              ") lies beyond the end of the file (%lld bytes)",
		        what, n, offset, (long long)q->look->bytes->size);
	return 0;
}

static int check_references(const unsigned char *h, struct err *e)
{
	if (image_be64(h + 8) != 0 || image_be32(h + 16) != 0)
		return REFUSE("it has a backing file: an image must be complete");
	if (image_be32(h + 32) != 0)
		return REFUSE("it is encrypted (method %u)", image_be32(h + 32));
	return 0;
}

static int check_features(struct qcow2 *q, const unsigned char *h, struct err *e)
{
	q->incompatible = image_be64(h + 72);
	if (q->incompatible & INCOMPATIBLE_DATA_FILE ||
	        image_be64(h + 88) & AUTOCLEAR_RAW_DATA_FILE)
		return REFUSE("its data lies in another file (external data file)");
	if (q->incompatible & INCOMPATIBLE_CORRUPT)
		return REFUSE("it is marked as corrupt");
	if (q->incompatible & ~INCOMPATIBLE_KNOWN)
		return REFUSE("it has unknown incompatible features (bits 0x%" PRIx64 ")",
		        q->incompatible & ~INCOMPATIBLE_KNOWN);
	if (q->incompatible & INCOMPATIBLE_EXTENDED_L2 && q->cluster_bits < 14)
		return REFUSE("extended L2 entries need clusters of 16 KiB or more");
	return 0;
}

static int check_version3(struct qcow2 *q, const unsigned char *h, struct err *e)
{
	int rc = check_features(q, h, e);
	if (rc < 0)
		return rc;
	if (image_be32(h + 96) > 6)
		return REFUSE("its reference counts have 2^%u bits", image_be32(h + 96));
	q->header_length = image_be32(h + 100);
	if (q->header_length < HEADER_V3 || q->header_length % 8 != 0 ||
	        q->header_length > q->cluster_size)
		return REFUSE("its header has %u bytes", q->header_length);
	unsigned char compression = 0;
	if (q->header_length > HEADER_V3)
		rc = image_look_read(q->look, HEADER_V3, &compression, 1, "header", e);
	if (rc < 0)
		return rc;
	bool has_bit = q->incompatible & INCOMPATIBLE_COMPRESSION;
	if (compression > 1 || has_bit != (compression != 0))
		return REFUSE("its compression type is %u, which is unknown", compression);
	return 0;
}

/* ---- the header's extensions ---- */

/* Names of bitmaps and their tables; bitmaps are not taken over. */
static int check_bitmaps(const struct qcow2 *q, uint64_t offset, uint32_t len, struct err *e)
{
	unsigned char b[24];
	if (len != sizeof(b))
		return REFUSE("its bitmaps extension has %u bytes", len);
	int rc = image_look_read(q->look, offset, b, sizeof(b), "bitmaps extension", e);
	if (rc < 0)
		return rc;
	if (image_be32(b) == 0 || image_be32(b) > BITMAPS_MAX)
		return REFUSE(
		        "it has %u bitmaps, at most %d are taken", image_be32(b), BITMAPS_MAX);
	return check_table(
	        q, image_be64(b + 16), image_be64(b + 8), BITMAP_TABLE_MAX, "bitmap directory", e);
}

static int check_extension(
        const struct qcow2 *q, uint32_t type, uint64_t offset, uint32_t len, struct err *e)
{
	switch (type) {
	case EXTENSION_BACKING_FORMAT:
		return REFUSE("it names the format of a backing file");
	case EXTENSION_DATA_FILE:
		return REFUSE("it names an external data file");
	case EXTENSION_ENCRYPTION:
		return REFUSE("it has an encryption header");
	case EXTENSION_BITMAPS:
		return check_bitmaps(q, offset, len, e);
	case EXTENSION_FEATURES:
		return len % 48 == 0 ? 0 : REFUSE("its table of feature names has %u bytes", len);
	default:
		return 0; /* data that nobody needs, by the format's definition */
	}
}

static int check_extensions(const struct qcow2 *q, struct err *e)
{
	uint64_t offset = q->header_length, end = q->cluster_size;
	while (offset + 8 <= end) {
		unsigned char b[8];
		int rc = image_look_read(q->look, offset, b, sizeof(b), "header extensions", e);
		if (rc < 0)
			return rc;
		uint32_t type = image_be32(b), len = image_be32(b + 4);
		if (type == EXTENSION_END)
			return 0;
		offset += 8;
		if (len > end - offset)
			return REFUSE(
			        "a header extension of %u bytes does not fit in the header", len);
		rc = check_extension(q, type, offset, len, e);
		if (rc < 0)
			return rc;
		offset += (len + 7ULL) & ~7ULL;
	}
	return 0;
}

/* ---- internal snapshots: read by QEMU when it opens the file ---- */

static int check_snapshot(const struct qcow2 *q, uint64_t *offset, struct err *e)
{
	unsigned char b[40];
	int rc = image_look_read(q->look, *offset, b, sizeof(b), "snapshot table", e);
	if (rc < 0)
		return rc;
	uint32_t extra = image_be32(b + 36);
	if (extra > SNAPSHOT_EXTRA_MAX)
		return REFUSE("an internal snapshot has %u bytes of extra data", extra);
	rc = check_table(
	        q, image_be64(b), image_be32(b + 8) * 8ULL, L1_BYTES_MAX, "snapshot's L1 table", e);
	uint64_t n = sizeof(b) + (uint64_t)extra + image_be16(b + 12) + image_be16(b + 14);
	*offset += (n + 7) & ~7ULL;
	return rc;
}

static int check_snapshots(const struct qcow2 *q, struct err *e)
{
	if (q->snapshots > SNAPSHOTS_MAX)
		return REFUSE("it has %u internal snapshots, at most %d are taken", q->snapshots,
		        SNAPSHOTS_MAX);
	if (q->snapshots == 0)
		return 0;
	int rc = check_table(q, q->snapshots_offset, 40, 40, "snapshot table", e);
	uint64_t offset = q->snapshots_offset;
	for (uint32_t i = 0; i < q->snapshots && rc == 0; i++) {
		if (!image_is_readable(q->look, offset, 40))
			return 0; /* looked at when all is there */
		rc = check_snapshot(q, &offset, e);
	}
	return rc;
}

/* ---- L1 and L2 ---- */

static int check_l2_entry(struct qcow2 *q, uint64_t entry, struct err *e)
{
	uint64_t offset = entry & L1_OFFSET_MASK;
	if (entry & L2_COMPRESSED) {
		uint32_t shift = 62 - (q->cluster_bits - 8);
		offset = entry & ((1ULL << shift) - 1);
		if (offset >= (uint64_t)q->look->bytes->size)
			return REFUSE("a compressed cluster lies beyond the end of the file");
		return 0;
	}
	if (offset == 0)
		return 0;
	/* A cluster at the very end may not have been written whole. */
	if (offset % q->cluster_size != 0 || offset >= (uint64_t)q->look->bytes->size)
		return REFUSE("a cluster at %" PRIu64 " lies beyond the end of the file or is not "
		              "aligned",
		        offset);
	q->clusters++;
	return 0;
}

static int check_l2_block(struct qcow2 *q, const unsigned char *block, size_t n, struct err *e)
{
	size_t step = q->incompatible & INCOMPATIBLE_EXTENDED_L2 ? 16 : 8;
	int rc = 0;
	for (size_t i = 0; i + step <= n && rc == 0; i += step)
		rc = check_l2_entry(q, image_be64(block + i), e);
	return rc;
}

static int check_l2(struct qcow2 *q, uint64_t offset, unsigned char *block, struct err *e)
{
	uint64_t n = q->cluster_size < L2_BLOCK ? q->cluster_size : L2_BLOCK;
	int rc = 0;
	for (uint64_t at = 0; at < q->cluster_size && rc == 0; at += n) {
		rc = image_look_read(q->look, offset + at, block, (size_t)n, "L2 table", e);
		if (rc == 0)
			rc = check_l2_block(q, block, (size_t)n, e);
	}
	if (rc == 0 && q->clusters > divide_up((uint64_t)q->look->bytes->size, q->cluster_size))
		return REFUSE("its tables name more clusters than the file has: some are shared");
	return rc;
}

static int compare_offsets(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

/* The tables that L1 names: each in the file, none named twice. */
static int check_l1_entries(struct qcow2 *q, uint64_t *offsets, size_t n, struct err *e)
{
	unsigned char *block CLEANUP(cleanup_free) = xcalloc(1, L2_BLOCK);
	int rc = 0;
	qsort(offsets, n, sizeof(offsets[0]), compare_offsets);
	for (size_t i = 0; i < n && rc == 0; i++) {
		if (offsets[i] == 0)
			continue;
		if (i > 0 && offsets[i] == offsets[i - 1])
			return REFUSE("two entries of its L1 table name the same L2 table");
		rc = check_table(q, offsets[i], q->cluster_size, q->cluster_size, "L2 table", e);
		if (rc == 0)
			rc = check_l2(q, offsets[i], block, e);
	}
	return rc;
}

static int check_l1(struct qcow2 *q, struct err *e)
{
	size_t n = q->l1_size, bytes = n * 8;
	if (q->look->bytes->head || n == 0)
		return 0; /* looked at when all is there */
	uint64_t *offsets CLEANUP(cleanup_free) = xcalloc(n, 8);
	int rc = image_look_read(q->look, q->l1_offset, offsets, bytes, "L1 table", e);
	for (size_t i = 0; i < n && rc == 0; i++)
		offsets[i] = image_be64((const unsigned char *)&offsets[i]) & L1_OFFSET_MASK;
	return rc < 0 ? rc : check_l1_entries(q, offsets, n, e);
}

/* As large as the disk asks for; with internal snapshots it also maps their memory, behind the disk. */
static int check_l1_place(const struct qcow2 *q, struct err *e)
{
	uint64_t entry = q->incompatible & INCOMPATIBLE_EXTENDED_L2 ? 16 : 8;
	uint64_t mapped = q->cluster_size / entry * q->cluster_size; /* by one L2 table */
	uint64_t needed = divide_up(q->size, mapped);
	if (q->l1_size < needed)
		return REFUSE(
		        "its L1 table has %u entries, its size needs %" PRIu64, q->l1_size, needed);
	return check_table(q, q->l1_offset, q->l1_size * 8ULL, L1_BYTES_MAX, "L1 table", e);
}

static int check_refcounts(const struct qcow2 *q, const unsigned char *h, struct err *e)
{
	uint64_t clusters = image_be32(h + 56);
	if (clusters == 0)
		return REFUSE("it has no reference counts");
	return check_table(q, image_be64(h + 48), clusters * q->cluster_size, REFTABLE_BYTES_MAX,
	        "refcount table", e);
}

static int read_header(struct qcow2 *q, unsigned char h[HEADER_V3], struct err *e)
{
	int rc = image_look_read(q->look, 0, h, HEADER_V2, "header", e);
	if (rc < 0)
		return rc;
	q->version = image_be32(h + 4);
	if (q->version != 2 && q->version != 3)
		return REFUSE("it is qcow version %u, only 2 and 3 are taken", q->version);
	if (q->version == 3 && (rc = image_look_read(q->look, 0, h, HEADER_V3, "header", e)) < 0)
		return rc;
	q->header_length = HEADER_V2;
	q->cluster_bits = image_be32(h + 20);
	if (q->cluster_bits < CLUSTER_BITS_MIN || q->cluster_bits > CLUSTER_BITS_MAX)
		return REFUSE("its clusters have 2^%u bytes", q->cluster_bits);
	q->cluster_size = 1ULL << q->cluster_bits;
	q->size = image_be64(h + 24);
	q->l1_size = image_be32(h + 36);
	q->l1_offset = image_be64(h + 40);
	q->snapshots = image_be32(h + 60);
	q->snapshots_offset = image_be64(h + 64);
	return 0;
}

int image_inspect_qcow2(const struct image_look *look, struct err *e)
{
	struct qcow2 q = {.look = look, .cluster_size = 1};
	unsigned char h[HEADER_V3];
	int rc = read_header(&q, h, e);
	if (rc == 0)
		rc = check_references(h, e);
	if (rc == 0 && q.version == 3)
		rc = check_version3(&q, h, e);
	if (rc == 0)
		rc = image_look_set_size(look, q.size, e);
	if (rc == 0)
		rc = check_extensions(&q, e);
	if (rc == 0)
		rc = check_refcounts(&q, h, e);
	if (rc == 0)
		rc = check_l1_place(&q, e);
	if (rc == 0)
		rc = check_snapshots(&q, e);
	return rc < 0 ? rc : check_l1(&q, e);
}

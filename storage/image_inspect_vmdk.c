/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMDK: one file with its descriptor in it, monolithicSparse or streamOptimized (VMware's "Virtual Disk Format 5.0").
 * Pure.
 *
 * What makes VMDK dangerous is its descriptor, a text that may name other files: extents, and a parent. QEMU takes
 * the extents of a sparse file from there when the header says a capacity of 0, and looks for a parent in 20 sectors,
 * whatever size the header says the descriptor has; so do we. The header of a streamOptimized file stands again at
 * its end and counts then.
 */
#include <ctype.h>
#include <stdlib.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "storage/image_inspect_internal.h"

#define HEADER_BYTES      79
#define AT_END            UINT64_MAX
#define FOOTER_FROM_END   1024 /* marker, footer, marker: the last three sectors */
#define DESCRIPTOR_BYTES  (20 * SECTOR_BYTES)
#define DESCRIPTOR_MAX    (1 << 20)
#define GRAIN_SECTORS_MAX 2048
#define ENTRIES_PER_TABLE 512
#define DIRECTORY_MAX     (8 << 20)
#define FLAG_COMPRESSED   (1U << 16)

#define REFUSE(...) err_set(e, ERR_UNPROCESSABLE, __VA_ARGS__)

struct vmdk {
	uint32_t version, flags, entries;
	uint64_t capacity, grain, descriptor, descriptor_sectors, directory; /* sectors */
	uint16_t compression;
};

static int read_header(
        const struct image_look *look, uint64_t offset, struct vmdk *ret_v, struct err *e)
{
	unsigned char h[HEADER_BYTES];
	int rc = image_look_read(look, offset, h, sizeof(h), "header", e);
	if (rc < 0)
		return rc;
	if (memcmp(h, "KDMV", 4) != 0)
		return REFUSE("the header at its end is none");
	*ret_v = (struct vmdk){.version = image_le32(h + 4),
	        .flags = image_le32(h + 8),
	        .capacity = image_le64(h + 12),
	        .grain = image_le64(h + 20),
	        .descriptor = image_le64(h + 28),
	        .descriptor_sectors = image_le64(h + 36),
	        .entries = image_le32(h + 44),
	        .directory = image_le64(h + 56),
	        .compression = image_le16(h + 77)};
	return 0;
}

static int check_shape(const struct vmdk *v, struct err *e)
{
	if (v->version < 1 || v->version > 3)
		return REFUSE("it is VMDK version %u", v->version);
	if (v->capacity == 0)
		return REFUSE("its header says 0 sectors: its extents would be other files");
	if (v->grain == 0 || v->grain > GRAIN_SECTORS_MAX || (v->grain & (v->grain - 1)) != 0)
		return REFUSE("its grains have %" PRIu64 " sectors", v->grain);
	if (v->entries != ENTRIES_PER_TABLE)
		return REFUSE("its grain tables have %u entries", v->entries);
	if (v->compression > 1)
		return REFUSE("its compression %u is unknown", v->compression);
	return 0;
}

static int check_places(const struct image_look *look, const struct vmdk *v, struct err *e)
{
	uint64_t table = v->grain * ENTRIES_PER_TABLE; /* sectors mapped by one */
	uint64_t bytes = (v->capacity / table + 1) * 4;
	if (bytes > DIRECTORY_MAX)
		return REFUSE("its grain directory has %" PRIu64 " bytes, more than the %d allowed",
		        bytes, DIRECTORY_MAX);
	if (v->directory == 0 || v->directory > INT64_MAX / SECTOR_BYTES ||
	        !image_lies_within(look, v->directory * SECTOR_BYTES, bytes - 4))
		return REFUSE("its grain directory lies beyond the end of the file");
	return 0;
}

/* ---- the descriptor ---- */

/* The value of `NAME = VALUE` or NAME=VALUE in a line, without quotes; NULL if it is another line. */
static char *line_value(const char *line, const char *name)
{
	size_t n = strlen(name);
	if (strncasecmp(line, name, n) != 0)
		return NULL;
	line += n;
	line += strspn(line, " \t");
	if (*line++ != '=')
		return NULL;
	line += strspn(line, " \t\"");
	return xstrndup(line, strcspn(line, "\"\r\n"));
}

static int check_kind_line(const char *line, int *kinds, struct err *e)
{
	char *kind CLEANUP(cleanup_free) = line_value(line, "createType");
	if (!kind)
		return 0;
	(*kinds)++;
	if (strcasecmp(kind, "monolithicSparse") == 0 || strcasecmp(kind, "streamOptimized") == 0)
		return 0;
	return REFUSE(
	        "it is a VMDK of kind %.40s, only monolithicSparse and streamOptimized are taken",
	        kind);
}

static int check_parent_line(const char *line, struct err *e)
{
	char *parent CLEANUP(cleanup_free) = line_value(line, "parentCID");
	if (!parent || strcasecmp(parent, "ffffffff") == 0)
		return 0;
	return REFUSE("it stands on another VMDK (its parent)");
}

/* ACCESS SECTORS TYPE "NAME" ... */
static int check_extent_line(const char *line, int *extents, struct err *e)
{
	if (strncasecmp(line, "RW ", 3) != 0 && strncasecmp(line, "RDONLY ", 7) != 0 &&
	        strncasecmp(line, "NOACCESS ", 9) != 0)
		return 0;
	line += strcspn(line, " ");
	line += strspn(line, " 0123456789");
	if (strncasecmp(line, "SPARSE ", 7) != 0)
		return REFUSE("it has an extent of kind %.*s, which is another file or device",
		        (int)strcspn(line, " \r\n") > 20 ? 20 : (int)strcspn(line, " \r\n"), line);
	if (++*extents > 1)
		return REFUSE("it has several extents");
	return 0;
}

static int check_lines(const char *text, struct err *e)
{
	int extents = 0, kinds = 0, rc = 0;
	for (const char *line = text; *line && rc == 0;) {
		line += strspn(line, " \t\r\n");
		rc = check_kind_line(line, &kinds, e);
		if (rc == 0)
			rc = check_parent_line(line, e);
		if (rc == 0)
			rc = check_extent_line(line, &extents, e);
		line += strcspn(line, "\n");
	}
	if (rc == 0 && (kinds != 1 || extents != 1))
		return REFUSE("its descriptor does not say one kind and one extent");
	return rc;
}

/* Also behind a NUL: whoever reads on must find nothing. */
static bool names_parent(const char *text, size_t n)
{
	static const char word[] = "parentFileNameHint";
	for (size_t i = 0; i + sizeof(word) - 1 <= n; i++)
		if (strncasecmp(text + i, word, sizeof(word) - 1) == 0)
			return true;
	return false;
}

static int check_descriptor(const struct image_look *look, const struct vmdk *v, struct err *e)
{
	uint64_t offset = v->descriptor * SECTOR_BYTES;
	uint64_t n = v->descriptor_sectors * SECTOR_BYTES;
	if (v->descriptor == 0 || v->descriptor_sectors == 0)
		return REFUSE("it has no descriptor of its own");
	if (v->descriptor > DESCRIPTOR_MAX || v->descriptor_sectors > DESCRIPTOR_MAX / SECTOR_BYTES)
		return REFUSE("its descriptor has %" PRIu64 " sectors at %" PRIu64,
		        v->descriptor_sectors, v->descriptor);
	if (n < DESCRIPTOR_BYTES)
		n = DESCRIPTOR_BYTES;
	if (!image_lies_within(look, offset, n)) {
		if (!image_lies_within(look, offset, v->descriptor_sectors * SECTOR_BYTES))
			return REFUSE("its descriptor lies beyond the end of the file");
		n = (uint64_t)look->bytes->size - offset;
	}
	if (!image_is_readable(look, offset, n))
		return 0; /* looked at when all is there */
	char *text CLEANUP(cleanup_free) = xcalloc(n + 1, 1);
	int rc = image_look_read(look, offset, text, (size_t)n, "descriptor", e);
	if (rc < 0)
		return rc;
	if (names_parent(text, (size_t)n))
		return REFUSE("its descriptor names a parent file");
	return check_lines(text, e);
}

/* ---- grains: none is used twice ---- */

static int compare_sectors(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

/* The sorted non-zero numbers differ, and so many blocks of `bytes` fit in the file. */
static int check_distinct(uint32_t *sectors, size_t n, const char *what, struct err *e)
{
	qsort(sectors, n, sizeof(sectors[0]), compare_sectors);
	for (size_t i = 1; i < n; i++)
		if (sectors[i] > 1 && sectors[i] == sectors[i - 1])
			return REFUSE("two of its %s lie at the same place", what);
	return 0;
}

static int check_tables(const struct image_look *look, const struct vmdk *v, uint32_t *tables,
        size_t n, struct err *e)
{
	unsigned char t[ENTRIES_PER_TABLE * 4];
	uint64_t used = 0;
	int rc = check_distinct(tables, n, "grain tables", e);
	for (size_t i = 0; i < n && rc == 0; i++) {
		if (tables[i] == 0)
			continue;
		rc = image_look_read(
		        look, (uint64_t)tables[i] * SECTOR_BYTES, t, sizeof(t), "grain table", e);
		for (size_t j = 0; j < ENTRIES_PER_TABLE && rc == 0; j++) {
			uint64_t grain = image_le32(t + j * 4);
			used += grain > 1;
			if (grain > 1 && !image_lies_within(look, grain * SECTOR_BYTES, 1))
				rc = REFUSE("a grain lies beyond the end of the file");
		}
	}
	/* A compressed grain takes at least one sector. */
	uint64_t smallest = v->flags & FLAG_COMPRESSED ? SECTOR_BYTES : v->grain * SECTOR_BYTES;
	if (rc == 0 && used > (uint64_t)look->bytes->size / smallest + 1)
		return REFUSE("its tables name more grains than the file has: some are shared");
	return rc;
}

static int check_grains(const struct image_look *look, const struct vmdk *v, struct err *e)
{
	uint64_t table = v->grain * ENTRIES_PER_TABLE;
	size_t n = (size_t)(v->capacity / table + (v->capacity % table != 0));
	if (look->bytes->head)
		return 0; /* looked at when all is there */
	uint32_t *tables CLEANUP(cleanup_free) = xcalloc(n, 4);
	int rc = image_look_read(
	        look, v->directory * SECTOR_BYTES, tables, n * 4, "grain directory", e);
	for (size_t i = 0; i < n && rc == 0; i++)
		tables[i] = image_le32((const unsigned char *)&tables[i]);
	return rc < 0 ? rc : check_tables(look, v, tables, n, e);
}

/* The header that counts: of a streamOptimized file the one at the end, if it is there already. */
static int read_last_header(const struct image_look *look, struct vmdk *v, struct err *e)
{
	if (v->directory != AT_END)
		return 0;
	uint64_t size = (uint64_t)look->bytes->size;
	if (size < FOOTER_FROM_END + SECTOR_BYTES)
		return REFUSE("it has no header at its end");
	struct vmdk last = {0};
	int rc = read_header(look, size / SECTOR_BYTES * SECTOR_BYTES - FOOTER_FROM_END, &last, e);
	if (rc < 0)
		return rc;
	if (last.capacity != v->capacity || last.grain != v->grain ||
	        last.descriptor != v->descriptor || last.directory == AT_END)
		return REFUSE("the headers at its beginning and end differ");
	*v = last;
	return 0;
}

int image_inspect_vmdk(const struct image_look *look, struct err *e)
{
	struct vmdk v = {0};
	int rc = read_header(look, 0, &v, e);
	if (rc == 0)
		rc = check_shape(&v, e);
	if (rc == 0 && v.capacity > (uint64_t)INT64_MAX / SECTOR_BYTES)
		return REFUSE("its header says %" PRIu64 " sectors", v.capacity);
	if (rc == 0)
		rc = image_look_set_size(look, v.capacity * SECTOR_BYTES, e);
	if (rc == 0)
		rc = check_descriptor(look, &v, e);
	if (rc == 0 && !(look->bytes->head && v.directory == AT_END))
		rc = read_last_header(look, &v, e);
	if (rc < 0 || (look->bytes->head && v.directory == AT_END))
		return rc;
	rc = check_shape(&v, e);
	if (rc == 0)
		rc = check_places(look, &v, e);
	return rc < 0 ? rc : check_grains(look, &v, e);
}

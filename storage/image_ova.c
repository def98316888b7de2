/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking the disk out of an OVA.
 *
 *	first pass: every entry is a plain file with a plain name; the OVF, which stands first, names the disk
 *	second pass: the disk's bytes
 *
 * A tar archive does not compress, so a disk larger than the archive is a lie (a sparse entry).
 */
#include "storage/image_ova.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <libxml/parser.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"

#define ENTRIES_MAX    64
#define OVF_BYTES_MAX  (1 << 20)
#define NAME_MAX_BYTES 255
#define READ_BLOCK     65536

#define REFUSE(...) err_set(e, ERR_UNPROCESSABLE, __VA_ARGS__)

/* ---- the description ---- */

static void cleanup_doc(xmlDoc **doc)
{
	xmlFreeDoc(*doc);
}

/* Attributes are in OVF's namespace, in every file seen; others have none. */
static char *attribute(xmlNode *node, const char *name)
{
	xmlChar *value = xmlGetProp(node, (const xmlChar *)name);
	char *copy = value ? xstrdup((const char *)value) : NULL;
	xmlFree(value);
	return copy;
}

static bool is_element(const xmlNode *node, const char *name)
{
	return node->type == XML_ELEMENT_NODE && strcmp((const char *)node->name, name) == 0;
}

/* In document order; NULL at the end. No recursion: depth is the document's choice. */
static xmlNode *next_node(xmlNode *node)
{
	if (node->children && node->type == XML_ELEMENT_NODE)
		return node->children;
	while (node && !node->next)
		node = node->parent && node->parent->type == XML_ELEMENT_NODE ? node->parent : NULL;
	return node ? node->next : NULL;
}

static bool is_plain_name(const char *name)
{
	size_t n = strlen(name);
	return n > 0 && n <= NAME_MAX_BYTES && !strchr(name, '/') && !strchr(name, '\\') &&
	       !strchr(name, ':') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

/* The fileRef of the only disk that has one: a disk without is empty when it is made. */
static int find_reference(xmlNode *root, char **ret_reference, struct err *e)
{
	char *found CLEANUP(cleanup_free) = NULL;
	int disks = 0;
	for (xmlNode *node = root; node; node = next_node(node)) {
		if (!is_element(node, "Disk"))
			continue;
		char *parent CLEANUP(cleanup_free) = attribute(node, "parentRef");
		char *reference CLEANUP(cleanup_free) = attribute(node, "fileRef");
		if (parent)
			return REFUSE("a disk in the archive stands on another");
		if (reference && disks++ == 0)
			found = TAKE(reference);
	}
	if (disks != 1)
		return REFUSE("the archive has %d disks: an image is exactly one", disks);
	*ret_reference = TAKE(found);
	return 0;
}

static int check_file(xmlNode *node, struct err *e)
{
	char *compression CLEANUP(cleanup_free) = attribute(node, "compression");
	char *chunk CLEANUP(cleanup_free) = attribute(node, "chunkSize");
	if (chunk || (compression && compression[0] && strcmp(compression, "identity") != 0))
		return REFUSE("the disk in the archive is compressed or in pieces");
	return 0;
}

static int find_file(xmlNode *root, const char *reference, char **ret_name, struct err *e)
{
	for (xmlNode *node = root; node; node = next_node(node)) {
		if (!is_element(node, "File"))
			continue;
		char *id CLEANUP(cleanup_free) = attribute(node, "id");
		if (!str_equal(id, reference))
			continue;
		char *name CLEANUP(cleanup_free) = attribute(node, "href");
		if (!name || !is_plain_name(name))
			return REFUSE("the description's name of the disk is no plain file name");
		int rc = check_file(node, e);
		if (rc == 0)
			*ret_name = TAKE(name);
		return rc;
	}
	return REFUSE("the description names no file for its disk");
}

int image_ova_find_disk(const char *ovf, size_t len, char **ret_name, struct err *e)
{
	xmlDoc *doc CLEANUP(cleanup_doc) = xmlReadMemory(ovf, (int)len, "ovf.xml", NULL,
	        XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING | XML_PARSE_NOCDATA);
	if (!doc || !xmlDocGetRootElement(doc))
		return REFUSE("the archive's OVF description is not XML");
	if (doc->intSubset || doc->extSubset)
		return REFUSE("the archive's OVF description has a document type of its own");
	char *reference CLEANUP(cleanup_free) = NULL;
	int rc = find_reference(xmlDocGetRootElement(doc), &reference, e);
	return rc < 0 ? rc : find_file(xmlDocGetRootElement(doc), reference, ret_name, e);
}

/* ---- the archive ---- */

struct tar {
	struct archive *archive;
	int64_t file_bytes; /* of the archive */
	bool (*is_cancelled)(void *arg);
	void *arg;
};

static void tar_close(struct tar *tar)
{
	archive_read_free(tar->archive);
	tar->archive = NULL;
}

static int open_tar(struct tar *tar, int fd, struct err *e)
{
	struct stat st;
	if (fstat(fd, &st) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return err_set_errno(e, errno, "reading the archive");
	tar->file_bytes = st.st_size;
	tar->archive = archive_read_new();
	archive_read_support_format_tar(tar->archive);
	if (archive_read_open_fd(tar->archive, fd, READ_BLOCK) != ARCHIVE_OK)
		return REFUSE("it is no tar archive: %s", archive_error_string(tar->archive));
	return 0;
}

/* The name without "./", of an entry that may be there. */
static int check_entry(
        const struct tar *tar, struct archive_entry *entry, const char **ret_name, struct err *e)
{
	const char *name = archive_entry_pathname(entry);
	if (name && str_starts_with(name, "./"))
		name += 2;
	if (!name || !is_plain_name(name))
		return REFUSE("the archive has an entry whose name leads elsewhere");
	if (archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry) ||
	        archive_entry_symlink(entry))
		return REFUSE("the archive's entry %.80s is a link or no plain file", name);
	if (archive_entry_sparse_count(entry) > 0 || archive_entry_size(entry) < 0 ||
	        archive_entry_size(entry) > tar->file_bytes)
		return REFUSE(
		        "the archive's entry %.80s is said to be larger than the archive", name);
	*ret_name = name;
	return 0;
}

/* 1: an entry, 0: the end. */
static int next_entry(const struct tar *tar, struct archive_entry **ret_entry,
        const char **ret_name, struct err *e)
{
	if (tar->is_cancelled && tar->is_cancelled(tar->arg))
		return err_set(e, ERR_CANCELLED, "cancelled");
	int status = archive_read_next_header(tar->archive, ret_entry);
	if (status == ARCHIVE_EOF)
		return 0;
	if (status != ARCHIVE_OK)
		return REFUSE("the archive is damaged: %s", archive_error_string(tar->archive));
	int rc = check_entry(tar, *ret_entry, ret_name, e);
	return rc < 0 ? rc : 1;
}

static int read_ovf(
        const struct tar *tar, struct archive_entry *entry, char **ret_disk, struct err *e)
{
	int64_t size = archive_entry_size(entry);
	if (size > OVF_BYTES_MAX)
		return REFUSE("the archive's OVF description has %lld bytes", (long long)size);
	char *text CLEANUP(cleanup_free) = xcalloc(1, (size_t)size + 1);
	if (archive_read_data(tar->archive, text, (size_t)size) != size)
		return REFUSE("the archive's OVF description is incomplete");
	return image_ova_find_disk(text, (size_t)size, ret_disk, e);
}

static bool is_ovf(const char *name)
{
	size_t n = strlen(name);
	return n > 4 && strcasecmp(name + n - 4, ".ovf") == 0;
}

static int find_disk(const struct tar *tar, char **ret_disk, struct err *e)
{
	struct archive_entry *entry = NULL;
	const char *name = "";
	char *disk CLEANUP(cleanup_free) = NULL;
	int entries = 0, rc;
	while ((rc = next_entry(tar, &entry, &name, e)) > 0) {
		if (++entries > ENTRIES_MAX)
			return REFUSE("the archive has more than %d entries", ENTRIES_MAX);
		if (is_ovf(name) && disk)
			return REFUSE("the archive has several OVF descriptions");
		if (is_ovf(name) && (rc = read_ovf(tar, entry, &disk, e)) < 0)
			return rc;
	}
	if (rc == 0 && !disk)
		return REFUSE("the archive has no OVF description");
	if (rc == 0)
		*ret_disk = TAKE(disk);
	return rc;
}

static int write_at(int fd, const char *bytes, size_t n, int64_t offset, struct err *e)
{
	while (n > 0) {
		ssize_t done = pwrite(fd, bytes, n, offset);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return err_set_errno(e, errno, "writing the disk of the archive");
		bytes += done;
		n -= (size_t)done;
		offset += done;
	}
	return 0;
}

static int copy_data(const struct tar *tar, int to_fd, struct err *e)
{
	const void *block;
	size_t n;
	la_int64_t offset;
	int status;
	while ((status = archive_read_data_block(tar->archive, &block, &n, &offset)) ==
	        ARCHIVE_OK) {
		if (offset < 0 || offset > tar->file_bytes - (int64_t)n)
			return REFUSE("the disk in the archive is larger than the archive");
		int rc = write_at(to_fd, block, n, offset, e);
		if (rc < 0)
			return rc;
		if (tar->is_cancelled && tar->is_cancelled(tar->arg))
			return err_set(e, ERR_CANCELLED, "cancelled");
	}
	return status == ARCHIVE_EOF ? 0
	                             : REFUSE("the disk in the archive is damaged: %s",
	                                       archive_error_string(tar->archive));
}

static int copy_disk(const struct tar *tar, const char *disk, int to_fd, struct err *e)
{
	struct archive_entry *entry = NULL;
	const char *name = "";
	int rc;
	while ((rc = next_entry(tar, &entry, &name, e)) > 0)
		if (str_equal(name, disk))
			return copy_data(tar, to_fd, e);
	return rc < 0 ? rc
	              : REFUSE("the archive has no entry %.80s, which its description names", disk);
}

int image_ova_extract(
        int from_fd, int to_fd, bool (*is_cancelled)(void *arg), void *arg, struct err *e)
{
	struct tar tar CLEANUP(tar_close) = {.is_cancelled = is_cancelled, .arg = arg};
	char *disk CLEANUP(cleanup_free) = NULL;
	int rc = open_tar(&tar, from_fd, e);
	if (rc == 0)
		rc = find_disk(&tar, &disk, e);
	tar_close(&tar);
	if (rc == 0)
		rc = open_tar(&tar, from_fd, e);
	return rc < 0 ? rc : copy_disk(&tar, disk, to_fd, e);
}

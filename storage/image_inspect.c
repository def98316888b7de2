/* SPDX-License-Identifier: Apache-2.0 */
/* Telling formats of disk images apart, and the checks that all share. */
#include "storage/image_inspect_internal.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"

const char *const image_format_names[IMAGE_FORMATS + 1] = {
        "raw", "qcow2", "vmdk", "vdi", "ova", NULL};

struct magic {
	enum image_format format; /* IMAGE_FORMATS: one that is never taken */
	size_t offset, len;
	const char *text;
	const char *refusal; /* of one that is never taken */
};

static const struct magic magics[] = {
        {IMAGE_QCOW2, 0, 4, "QFI\xfb", NULL},
        {IMAGE_VMDK, 0, 4, "KDMV", NULL},
        {IMAGE_VDI, 0x40, 4, "\x7f\x10\xda\xbe", NULL},
        {IMAGE_OVA, 257, 5, "ustar", NULL},
        {IMAGE_FORMATS, 0, 4, "COWD", "a VMDK of kind ESX sparse"},
        {IMAGE_FORMATS, 0, 4, "SESp", "a VMDK of kind seSparse"},
        {IMAGE_FORMATS, 0, 21, "# Disk DescriptorFile",
                "a VMDK descriptor, whose extents are other files"},
        {IMAGE_FORMATS, 0, 4, "QED", "a QED image"},
        {IMAGE_FORMATS, 0, 8, "vhdxfile", "a VHDX image"},
        {IMAGE_FORMATS, 0, 8, "conectix", "a VHD image"},
        {IMAGE_FORMATS, 0, 6, "LUKS\xba\xbe", "an encrypted (LUKS) image"},
        {IMAGE_FORMATS, 0, 16, "WithoutFreeSpace", "a Parallels image"},
        {IMAGE_FORMATS, 0, 16, "WithouFreSpacExt", "a Parallels image"},
        {IMAGE_FORMATS, 0, 21, "Bochs Virtual HD Image", "a Bochs image"},
        {IMAGE_FORMATS, 0, 15, "#!/bin/sh\n#V2.0", "a cloop image"},
        {IMAGE_FORMATS, 0, 2, "\x1f\x8b", "compressed by gzip"},
        {IMAGE_FORMATS, 0, 6,
                "\xfd"
                "7zXZ\0",
                "compressed by xz"},
        {IMAGE_FORMATS, 0, 4, "\x28\xb5\x2f\xfd", "compressed by zstd"},
        {IMAGE_FORMATS, 0, 3, "BZh", "compressed by bzip2"},
        {IMAGE_FORMATS, 0, 4, "PK\x03\x04", "a zip archive"},
};
#define MAGIC_BYTES 512

int image_look_read(const struct image_look *look, uint64_t offset, void *buffer, size_t n,
        const char *what, struct err *e)
{
	if (!image_lies_within(look, offset, n))
		return err_set(e, ERR_UNPROCESSABLE,
		        "its %s (%zu bytes at %" PRIu64
		        ") lies beyond the end of the file (%lld bytes)",
		        what, n, offset, (long long)look->bytes->size);
	if (!image_is_readable(look, offset, n))
		return err_set(e, ERR_UNPROCESSABLE,
		        "its %s lies too far from the file's beginning", what);
	return look->bytes->read(look->bytes->arg, (int64_t)offset, buffer, n, e);
}

int image_look_set_size(const struct image_look *look, uint64_t bytes, struct err *e)
{
	if (bytes == 0)
		return err_set(e, ERR_UNPROCESSABLE, "the disk in it has a size of 0 bytes");
	uint64_t limit = look->max_virtual_bytes > 0 ? (uint64_t)look->max_virtual_bytes
	                                             : (uint64_t)INT64_MAX / 2;
	if (bytes > limit) {
		err_set(e, ERR_UNPROCESSABLE,
		        "the disk in it has %" PRIu64 " bytes, more than the %" PRIu64
		        " that images may have",
		        bytes, limit);
		err_numbers(e, "{\"size_bytes\":%" PRIu64 ",\"limit_bytes\":%" PRIu64 "}", bytes,
		        limit);
		return err_hint(e, "option images.max_virtual_bytes");
	}
	look->facts->virtual_bytes = (int64_t)bytes;
	return 0;
}

static const struct magic *find_magic(const unsigned char *head, size_t n)
{
	for (size_t i = 0; i < ARRAY_LEN(magics); i++)
		if (magics[i].offset + magics[i].len <= n &&
		        memcmp(head + magics[i].offset, magics[i].text, magics[i].len) == 0)
			return &magics[i];
	return NULL;
}

/* What it is: its magic's format; raw only when it is said to be. */
static int decide_format(const struct magic *magic, enum image_format declared,
        enum image_format *ret_format, struct err *e)
{
	if (magic && magic->format == IMAGE_FORMATS)
		return err_set(
		        e, ERR_UNPROCESSABLE, "it is %s, which is not taken", magic->refusal);
	enum image_format found = magic ? magic->format : IMAGE_RAW;
	if (declared == IMAGE_FORMATS && !magic) {
		err_set(e, ERR_UNPROCESSABLE, "it is none of qcow2, vmdk, vdi, ova");
		return err_hint(e, "say that its format is raw, if it is");
	}
	if (declared != IMAGE_FORMATS && declared != found)
		return err_set(e, ERR_UNPROCESSABLE, "it is said to be %s, but %s",
		        image_format_names[declared],
		        magic ? "begins as another format does" : "does not begin as one");
	*ret_format = found;
	return 0;
}

static int inspect_raw(const struct image_look *look, struct err *e)
{
	return image_look_set_size(look, (uint64_t)look->bytes->size, e);
}

static int inspect_ova(const struct image_look *look, struct err *e)
{
	(void)look;
	(void)e;
	return 0; /* storage/image_ova.h unpacks it; its disk is looked at then */
}

int image_inspect(const struct image_bytes *bytes, enum image_format declared,
        int64_t max_virtual_bytes, struct image_facts *ret_facts, struct err *e)
{
	static int (*const inspectors[IMAGE_FORMATS])(const struct image_look *, struct err *) = {
	        [IMAGE_RAW] = inspect_raw,
	        [IMAGE_QCOW2] = image_inspect_qcow2,
	        [IMAGE_VMDK] = image_inspect_vmdk,
	        [IMAGE_VDI] = image_inspect_vdi,
	        [IMAGE_OVA] = inspect_ova,
	};
	struct image_facts facts = {0};
	const struct image_look look = {
	        .bytes = bytes, .max_virtual_bytes = max_virtual_bytes, .facts = &facts};
	unsigned char head[MAGIC_BYTES];
	size_t n = bytes->size < MAGIC_BYTES ? (size_t)bytes->size : MAGIC_BYTES;
	if (bytes->size <= 0)
		return err_set(e, ERR_UNPROCESSABLE, "it is empty");
	int rc = image_look_read(&look, 0, head, n, "beginning", e);
	if (rc == 0)
		rc = decide_format(find_magic(head, n), declared, &facts.format, e);
	if (rc == 0)
		rc = inspectors[facts.format](&look, e);
	if (rc == 0)
		*ret_facts = facts;
	return rc;
}

/* ---- ways to read ---- */

static int read_memory(void *arg, int64_t offset, void *buffer, size_t n, struct err *e)
{
	(void)e;
	memcpy(buffer, (const char *)arg + offset, n);
	return 0;
}

int image_inspect_head(const void *head, size_t len, int64_t file_bytes, enum image_format declared,
        int64_t max_virtual_bytes, struct image_facts *ret_facts, struct err *e)
{
	const struct image_bytes bytes = {.size = file_bytes,
	        .read = read_memory,
	        .arg = (void *)(uintptr_t)head,
	        .head = (int64_t)len < file_bytes ? (int64_t)len : 0};
	if (len == 0)
		return err_set(e, ERR_UNPROCESSABLE, "it is empty");
	return image_inspect(&bytes, declared, max_virtual_bytes, ret_facts, e);
}

static int read_fd(void *arg, int64_t offset, void *buffer, size_t n, struct err *e)
{
	for (size_t done = 0; done < n;) {
		ssize_t got =
		        pread(*(int *)arg, (char *)buffer + done, n - done, offset + (int64_t)done);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_set_errno(e, errno, "reading the image");
		if (got == 0)
			return err_set(e, ERR_UNPROCESSABLE, "the file shrank while it was read");
		done += (size_t)got;
	}
	return 0;
}

int image_inspect_fd(int fd, enum image_format declared, int64_t max_virtual_bytes,
        struct image_facts *ret_facts, struct err *e)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_set_errno(e, errno, "looking at the image");
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_UNPROCESSABLE, "the image is not a plain file");
	const struct image_bytes bytes = {.size = st.st_size, .read = read_fd, .arg = &fd};
	return image_inspect(&bytes, declared, max_virtual_bytes, ret_facts, e);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an uploaded disk image is, and whether it is harmless: our own reading of its headers, before any tool of QEMU
 * sees it. An image refers to nothing outside itself, or it is refused: no backing file, no external data file, no
 * extent elsewhere, no encryption; its tables lie in the file and are no larger than its size asks for.
 *
 * Pure functions over a way to read; any thread. Refusals are ERR_UNPROCESSABLE and say in words what is wrong.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum image_format {
	IMAGE_RAW,
	IMAGE_QCOW2,
	IMAGE_VMDK,
	IMAGE_VDI,
	IMAGE_OVA,
	IMAGE_FORMATS, /* also: not told, not known */
};
extern const char *const image_format_names[IMAGE_FORMATS + 1];

/* How a file is read. */
struct image_bytes {
	int64_t size; /* of the whole file */
	/* Exactly n bytes at offset; never asked for what lies beyond `size`. */
	int (*read)(void *arg, int64_t offset, void *buffer, size_t n, struct err *e);
	void *arg;
	int64_t head; /* > 0: only so many bytes at the beginning can be read yet; tables beyond them are not looked at */
};

struct image_facts {
	enum image_format format;
	int64_t virtual_bytes; /* as guests see it; 0 for ova, whose disk is looked at by itself */
};

/*
 * Looks at the file. `declared` is what the user says it is, or IMAGE_FORMATS: found out by its magic; raw has none,
 * so it must be declared, and then a file with the magic of another format is refused. max_virtual_bytes 0: no limit.
 */
int image_inspect(const struct image_bytes *bytes, enum image_format declared,
        int64_t max_virtual_bytes, struct image_facts *ret_facts, struct err *e);

/* So many bytes at the beginning suffice for the headers of each format (a qcow2 cluster may be larger: its
 * extensions and names are then refused if they lie beyond). */
#define IMAGE_HEAD_BYTES 65536
/*
 * The same from the first bytes alone (all of a smaller file, else at least IMAGE_HEAD_BYTES), before the rest is
 * there: everything the headers say. file_bytes: of the whole.
 */
int image_inspect_head(const void *head, size_t len, int64_t file_bytes, enum image_format declared,
        int64_t max_virtual_bytes, struct image_facts *ret_facts, struct err *e);
/* From an open file. Blocks. */
int image_inspect_fd(int fd, enum image_format declared, int64_t max_virtual_bytes,
        struct image_facts *ret_facts, struct err *e);

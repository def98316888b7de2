/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qemu-img, confined (base/process.h): converts what our own inspection has found harmless. Blocks; bulk threads
 * only.
 */
#pragma once

#include "storage/image_inspect.h"

struct qemu_img_convert {
	const char *program;      /* absolute path */
	int from_fd, to_fd;       /* borrowed; `to` is an empty file and becomes a qcow2 file */
	enum image_format format; /* of `from`: given explicitly, never probed */
	int64_t virtual_bytes;
	int64_t max_bytes; /* that `to` may take */
	void (*on_progress)(void *arg, double percent);
	bool (*is_cancelled)(void *arg);
	void *arg;
};
/* ERR_DISK_FULL, ERR_CANCELLED, ERR_UNPROCESSABLE with what it said. */
int qemu_img_convert(const struct qemu_img_convert *convert, struct err *e);

/* The newest percentage in a piece of qemu-img's output "    (12.34/100%)\r..."; negative: none. Pure. */
double qemu_img_parse_progress(const char *text, size_t n);

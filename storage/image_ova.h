/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OVA: a tar archive with an OVF description (DMTF DSP0243) and the disks it names. The one disk in it is taken out;
 * an archive with several is refused, for an image is one disk. Nothing is written but that disk's bytes, to a file
 * that is open already: names in the archive are only compared. Blocks; bulk threads only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* from_fd: the archive, from its beginning; to_fd: an empty file. ERR_UNPROCESSABLE, ERR_DISK_FULL, ERR_CANCELLED. */
int image_ova_extract(
        int from_fd, int to_fd, bool (*is_cancelled)(void *arg), void *arg, struct err *e);
/* The file name of the only disk an OVF description names; caller frees. Pure. */
int image_ova_find_disk(const char *ovf, size_t len, char **ret_name, struct err *e);

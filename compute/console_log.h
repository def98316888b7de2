/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a VM's serial console log, where it can be read. */
#pragma once

#include "base/str.h"
#include "compute/vm.h"

/*
 * Appends up to max_bytes of the log's end to *text. Only on the local host for now:
 * ERR_UNSUPPORTED elsewhere; a log that does not exist yet is empty. The file is opened below the
 * console directory without following links (openat2(2), RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS).
 * HTTP thread: a bounded read of a local file.
 */
int console_log_read(struct db *db, struct vms *vms, const struct vm_row *row, size_t max_bytes,
        struct str *text, struct err *e);

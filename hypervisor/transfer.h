/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moving a volume's bytes between Berth and a host: a connection of its own for each transfer, so that hours of streaming
 * never occupy a lane. Blocks; bulk threads only (base/bulk.h).
 */
#pragma once

#include "hypervisor/driver.h"

struct transfer {
	const char *uri;           /* of the host */
	const char *pool, *volume; /* libvirt's names */
	int64_t offset, length;    /* length 0: to the end */
};
int transfer_upload(
        const struct transfer *transfer, const struct volume_source *from, struct err *e);
int transfer_download(const struct transfer *transfer, const struct volume_sink *to, struct err *e);

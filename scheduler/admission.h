/* SPDX-License-Identifier: Apache-2.0 */
/* Whether one guest can run on one host at all, whatever else is there. Pure; any thread. */
#pragma once

#include <stdint.h>

#include "base/err.h"

/* What the host has; 0: not yet known, which refuses nothing. */
struct admission_host {
	const char *name;
	int64_t cpu_threads;
	int64_t memory_bytes;
	int64_t reserved_bytes; /* kept for the host itself by its group's host_reserve */
};

/*
 * ERR_UNPROCESSABLE with the numbers and a hint when the guest has more vCPUs than the host has
 * threads, or more memory than the host has beyond its reserve.
 */
int admission_check(
        const struct admission_host *host, int64_t vcpus, int64_t memory_bytes, struct err *e);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fetching an image by http or https. The address that is connected to is looked at when it is known, for the URL and
 * for each of at most 5 redirects: names that lead elsewhere meanwhile do not help. No proxy, no credentials, no
 * cookies. Blocks; bulk threads only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define IMAGE_FETCH_REDIRECTS 5

struct image_fetch {
	const char *url;
	int fd;            /* borrowed; an empty file */
	int64_t max_bytes; /* more is ERR_TOO_LARGE, before and during */
	/* Whether there is room for so many bytes in all; asked as soon as it is told, and before any is written. */
	int (*check_room)(void *arg, int64_t bytes, struct err *e);
	int64_t stall_ms; /* given up when nothing comes for so long: ERR_DEADLINE */
	bool allow_private_networks;
	void (*on_progress)(
	        void *arg, int64_t done_bytes, int64_t total_bytes); /* total 0: not told */
	bool (*is_cancelled)(void *arg);
	void *arg;
};
/* ERR_UNPROCESSABLE for what the server says or is; ERR_DISK_FULL; ERR_CANCELLED. */
int image_fetch_run(const struct image_fetch *fetch, int64_t *ret_bytes, struct err *e);
/* Once, at start-up. */
int image_fetch_init(struct err *e);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Downloads: an answer of any size, written by a producer on a bulk thread. A ROUTE_DOWNLOAD handler runs as that of a
 * write does (writer thread, in a mutation):
 *
 *	[writer] the route's handler: refuses, answers, or download_open -> committed
 *	   -> [bulk] produce -> pipe -> the connection, 200 or 206
 *
 * The status is sent when the first bytes are there, so that a producer that fails before them gives a problem; one that
 * fails later cuts the connection. When the client reads slowly the producer waits in download_write; when the producer is
 * slow the connection is suspended. A client that takes less than DOWNLOAD_BLOCK bytes in FLOW_SEND_MS is cut off, a
 * producer that gives nothing for FLOW_STALL_MS ends the download.
 */
#pragma once

#include "api/route.h"

#define DOWNLOAD_BUFFER ((size_t)256 * 1024)
#define DOWNLOAD_BLOCK  ((size_t)64 * 1024)

struct download;

struct download_handlers {
	/* Bulk thread. Gives exactly `length` bytes from `offset` on by download_write (length -1: all to the end). */
	int (*produce)(struct download *download, int64_t offset, int64_t length, void *arg,
	        struct err *e);
	/* Any thread, once, last, in every case in which download_open was called. */
	void (*release)(void *arg);
};

/*
 * For a ROUTE_DOWNLOAD handler, as its last act. `length` is that of the whole, -1: unknown (then Range is ignored and the
 * answer comes in chunks). A single Range makes it 206, one outside ERR_RANGE; several are ignored, as is one whose
 * If-Range is not the reply's ETag. `key`: what the producer may hang in (bulk_call.key), or
 * NULL. Takes over `arg` in every case. On a HEAD nothing is produced.
 */
int download_open(struct request *rq, struct reply *reply, const struct download_handlers *handlers,
        void *arg, const char *key, int64_t length, struct err *e);
/* Whether only the headers are asked for. */
bool request_is_head(const struct request *rq);

/* Bulk thread, in produce. Waits until all is taken over; negative: the client left, is too slow, or it was cancelled. */
int download_write(struct download *download, const void *bytes, size_t n, struct err *e);
/* Bulk thread: whether to give up. */
bool download_is_cancelled(const struct download *download);
/* Bulk thread: the process ends, so nothing is to be waited for any more. */
bool download_is_stopping(const struct download *download);
/* Any thread, until release: download_write fails with this error from now on. */
void download_cancel(struct download *download, int rc, const struct err *e);

/*
 * A Range header against a content of `length` bytes. *ret_length -1: no usable range, all is sent. ERR_RANGE when it
 * lies outside. Pure.
 */
int range_parse(
        const char *text, int64_t length, int64_t *ret_offset, int64_t *ret_length, struct err *e);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Uploads: a raw body of any size, taken by a consumer on a bulk thread. A ROUTE_UPLOAD handler runs before the body:
 *
 *	headers -> [writer] the route's handler: refuses, answers, or upload_open
 *	                        | refused: the answer, without "100 Continue" and without reading the body
 *	                        v committed
 *	        body -> pipe -> [bulk] consume ------------------+  (client gone, too slow, too much: upload_read says so)
 *	                                                         v
 *	                        [writer] finish: makes the reply, or records the failure
 *	                                                         v
 *	                        the answer (in the middle of the body if consume failed there); release
 *
 * Between the connection and the consumer lies a pipe of UPLOAD_BUFFER bytes. When it is full the connection is
 * suspended: nothing is read from the client, no HTTP thread waits. A client that sends less than UPLOAD_MIN_BYTES within
 * the body's time limit is cut off; the whole may take as long as it takes. A consumer that takes nothing for
 * FLOW_STALL_MS ends the upload. At most FLOWS_MAX uploads and downloads run at once, FLOWS_PER_KEY of one key: ERR_LIMIT
 * beyond.
 *
 * After a crash nothing of this is left: who needs to know marks its rows in the handler, or makes an operation there.
 */
#pragma once

#include "api/route.h"

#define UPLOAD_BUFFER    ((size_t)256 * 1024)
#define UPLOAD_MIN_BYTES ((int64_t)64 * 1024)

struct upload;

struct upload_handlers {
	/*
	 * Bulk thread. Reads with upload_read until it says 0. Its error becomes the answer; returning 0 before the end of
	 * the body drops the rest. May block; should return when upload_read fails or upload_is_cancelled.
	 */
	int (*consume)(struct upload *upload, void *arg, struct err *e);
	/*
	 * Writer thread, in a mutation of its own, once for each upload whose handler was committed, whether the client is
	 * still there or not. rc 0: makes the reply (reply_operation is possible); an error here becomes the answer. rc < 0:
	 * `error` is consume's and becomes the answer; what is written here is kept unless this fails, too. NULL: an empty
	 * reply. A commit that fails becomes the answer.
	 */
	int (*finish)(struct request *rq, struct reply *reply, void *arg, int rc,
	        const struct err *error, struct err *e);
	/* Any thread, once, last, in every case in which upload_open was called. */
	void (*release)(void *arg);
};

/*
 * For a ROUTE_UPLOAD handler, as its last act: the body may come. More than `max_bytes` are ERR_TOO_LARGE (at once if
 * Content-Length says so, else from upload_read). A Content-Digest that cannot be understood is ERR_MALFORMED, one
 * without sha-256 ERR_UNSUPPORTED. `key`: what the consumer may hang in (bulk_call.key), or NULL. Takes over `arg` in every
 * case.
 */
int upload_open(struct request *rq, const struct upload_handlers *handlers, void *arg,
        const char *key, int64_t max_bytes, struct err *e);

/*
 * Bulk thread, in consume. Waits for at least one byte; 0: the end of the body, and it has the sha-256 of Content-Digest,
 * if there was one. Negative: ERR_GONE (the client left), ERR_REQUEST_TIMEOUT (too slow), ERR_TOO_LARGE,
 * ERR_UNPROCESSABLE (wrong digest), ERR_CANCELLED, ERR_UNAVAILABLE (the server stops).
 */
int64_t upload_read(struct upload *upload, void *bytes, size_t n, struct err *e);
/* Of the whole body, or -1: it comes in chunks. Any thread. */
int64_t upload_length(const struct upload *upload);
/* So far, by upload_read. Bulk thread. */
int64_t upload_received(const struct upload *upload);
/* Bulk thread: whether to give up (also while waiting for something else than the body). */
bool upload_is_cancelled(const struct upload *upload);
/* Bulk thread: the process ends, so nothing is to be waited for any more. */
bool upload_is_stopping(const struct upload *upload);
/* Any thread, until release: upload_read fails with this error from now on. */
void upload_cancel(struct upload *upload, int rc, const struct err *e);

/* ---- headers of the request, for handlers ---- */

/* Content-Length, or -1. */
int64_t request_content_length(const struct request *rq);
/* Content-Range (RFC 9110, 14.4): "bytes FIRST-LAST/TOTAL", with a star for an unknown total (-1). *ret_has false: none. ERR_MALFORMED. */
struct content_range {
	int64_t first, last, total;
};
int request_content_range(
        const struct request *rq, struct content_range *ret_range, bool *ret_has, struct err *e);
/* The sha-256 of Content-Digest (RFC 9530). *ret_has false: no such header. ERR_MALFORMED, ERR_UNSUPPORTED. */
int request_content_digest(
        const struct request *rq, unsigned char ret_sha256[32], bool *ret_has, struct err *e);

/* The same on a header's text; pure. */
int content_range_parse(const char *text, struct content_range *ret_range, struct err *e);
int content_digest_parse(const char *text, unsigned char ret_sha256[32], struct err *e);

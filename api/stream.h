/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams: answers without an end. A stream asks its source for text; when there is none its
 * connection is suspended until somebody wakes all streams, or for a heartbeat. One that cannot
 * send for STREAM_STALL_MS is closed by the server, never skipped.
 *
 * The source runs on an HTTP thread. stream_wake_all may be called from any thread.
 */
#pragma once

#include "api/route.h"

#define STREAMS_MAX         100
#define STREAM_HEARTBEAT_MS 15000
#define STREAM_STALL_MS     30000

struct stream_source {
	/* Adds what there is to send now to `out`, a bounded amount; nothing: wait. Negative: the
	 * stream ends. */
	int (*fill)(void *arg, struct str *out);
	/* Adds a sign of life; negative: the stream ends. */
	int (*heartbeat)(void *arg, struct str *out);
	void (*release)(void *arg);
};

/*
 * For a ROUTE_STREAM handler: the answer becomes a stream of the reply's content type. `arg` is
 * released in every case. ERR_LIMIT if there are too many already.
 */
int stream_open(struct request *rq, const struct stream_source *source, void *arg, struct err *e);
/* Something may have happened: every waiting stream asks its source again. */
void stream_wake_all(void);

/* ---- for the server ---- */
struct stream;
enum stream_result { STREAM_WAIT = 0, STREAM_END = -1 };
/* Up to `size` bytes; STREAM_WAIT: `suspend(connection)` was called, stream_wake or a heartbeat
 * calls `resume(connection)`. */
long stream_read(struct stream *s, char *to, size_t size);
void stream_attach(struct stream *s, void *connection, void (*suspend)(void *connection),
        void (*resume)(void *connection));
/* Regularly: heartbeats. True if the stream did not get rid of its text for too long. */
bool stream_tick(struct stream *s, int64_t now_ms);
/* The stream ends at its next turn, and that is now. */
void stream_close(struct stream *s);
void stream_free(struct stream *s); /* accepts NULL */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A flow: bytes on their way between a connection and a bulk thread, through a pipe. What uploads (api/upload.h) and
 * downloads (api/download.h) have in common. The connection never waits: when the pipe refuses it is suspended, and the
 * pipe's other end resumes it.
 *
 *	gate:  OPEN -- refused, suspended --> WAITING -- on_ready: resume --> OPEN
 *	         \-- on_ready came first --> READY -- suspended: resume --> OPEN
 *
 * Owners: the exchange, and the work from its beginning to its end. Lock order: connections, pipe, the HTTP library's own.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "api/exchange.h"
#include "base/bulk.h"
#include "base/pipe.h"

#define FLOWS_MAX      6
#define FLOWS_PER_KEY  BULK_PER_KEY /* more would wait for a thread, and time out */
#define FLOW_STALL_MS  120000       /* without a byte from, or for, the bulk thread's side */
#define FLOW_SEND_MS   60000        /* for the client to take a block */
#define FLOW_FINISH_MS 300000       /* from the end of an upload's body to its outcome */

enum flow_direction { FLOW_UP, FLOW_DOWN };
enum flow_gate { GATE_OPEN, GATE_WAITING, GATE_READY };

struct flow {
	_Atomic int refs;
	enum flow_direction direction;
	struct pipe_buffer *pipe;  /* owned; NULL: the answer to a HEAD */
	struct exchange *exchange; /* a reference while the work runs */
	void (*free)(struct flow *flow);
	/* Bulk thread: the whole work. */
	void (*run)(struct flow *flow);
	char key[BULK_KEY_SIZE];      /* "": none */
	struct flow *next;            /* registry */
	struct bulk_job *_Atomic job; /* while `run` runs */

	/* The connection's side. */
	void *connection;
	void (*suspend)(void *connection);
	void (*resume)(void *connection);
	_Atomic int gate;
	_Atomic int64_t waiting_since_ms;
	_Atomic bool is_first; /* on_ready unparks the exchange: a download before its first byte */

	/* An upload's outcome. */
	pthread_mutex_t lock; /* of these */
	bool is_finished;     /* the exchange is the connection's again */
	bool is_awaited;

	/* A download's answer. */
	int64_t offset, length, total; /* length, total -1: unknown */
	bool is_partial;
};

/* ERR_LIMIT beyond FLOWS_MAX, and beyond FLOWS_PER_KEY with that key (NULL: none). `buffer` 0: the answer to a HEAD, which
 * counts for nothing. */
int flow_init(struct flow *flow, enum flow_direction direction, const char *key, size_t buffer,
        struct err *e);
struct flow *flow_ref(struct flow *flow);
void flow_unref(struct flow *flow); /* accepts NULL */

/* Writer thread, after the handler's commit; the caller's exchange stays its own. */
void flow_start(struct flow *flow, struct exchange *ex);
/* Any thread: whoever reads or writes the pipe gets this error from now on. */
void flow_cancel(struct flow *flow, int rc, const struct err *e);
/* Bulk thread. */
bool flow_is_cancelled(const struct flow *flow);
bool flow_is_stopping(const struct flow *flow);

/* ---- the connection's side ---- */
void flow_attach(struct flow *flow, void *connection, void (*suspend)(void *connection),
        void (*resume)(void *connection));
/* After the pipe refused: suspends the connection until it is worth trying again. */
void flow_wait(struct flow *flow);
/* Regularly, any thread: ends a flow whose other side stalls. */
void flow_tick(struct flow *flow, int64_t now_ms);
/* The connection needs it no more. False: the work still needs the exchange. */
bool flow_leave(struct flow *flow);

enum flow_result { FLOW_TAKEN, FLOW_FULL, FLOW_OVER };
/* A piece of an upload's body; *taken bytes of it were taken. FULL: call flow_wait. OVER: nobody wants more. */
enum flow_result flow_offer(struct flow *flow, const char *data, size_t n, size_t *ret_taken);
/* All of it is there. */
void flow_body_ended(struct flow *flow);

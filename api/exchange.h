/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request and its answer, free of the HTTP library: what api/server.c and api/dispatch*.c
 * share.
 *
 *	exchange_begin -> exchange_add_header* -> exchange_headers -> exchange_body* ->
 * exchange_complete |                                   |       | v refused v       v answer
 *<----------------------------- answer  park ^                                           |
 *	                                             +---- exchange_resumed <- unpark <-
 * exchange_start
 *
 * A parked exchange (its connection is suspended) has a second owner: the writer job or the wait
 * that will unpark it. `hold` decides who resumes the connection, exactly once: the job (READY) or
 * the reaper when the deadline passed (EXPIRED). An expired exchange may still be written by its
 * job, so the connection leaves it alone, answers from a new one and drops its reference; the last
 * owner frees.
 *
 * Threads: HTTP thread of the connection, except between exchange_start and the unpark.
 */
#pragma once

#include <stdatomic.h>

#include "api/auth.h"
#include "api/metrics.h"
#include "api/router.h"
#include "api/server.h"

#define BODY_MAX (1024 * 1024) /* bytes of a request body */
#define DRAIN_MAX                                                                                  \
	(8 * 1024 * 1024) /* of a refused body that are read and dropped, to be heard at all */
#define QUERY_MAX        24
#define FIELDS_MAX       32
#define WAIT_MAX_S       300
#define WRITE_TIMEOUT_MS 30000

enum exchange_header {
	HEADER_HOST,
	HEADER_CONTENT_LENGTH,
	HEADER_TRANSFER_ENCODING,
	HEADER_CONTENT_TYPE,
	HEADER_AUTHORIZATION,
	HEADER_ACCEPT,
	HEADER_IF_MATCH,
	HEADER_IF_NONE_MATCH,
	HEADER_IDEMPOTENCY_KEY,
	HEADER_REQUEST_ID,
	HEADER_LAST_EVENT_ID,
	HEADER_EXPECT,
	HEADER_RANGE,
	HEADER_IF_RANGE,
	HEADER_CONTENT_RANGE,
	HEADER_CONTENT_DIGEST,
	HEADERS
};

enum exchange_verdict {
	EXCHANGE_READ_ON, /* the body comes next */
	EXCHANGE_ANSWER,  /* ex->response is ready */
	EXCHANGE_PARK,    /* suspend the connection, then call exchange_start */
};

enum exchange_hold { HOLD_NONE, HOLD_PARKED, HOLD_READY, HOLD_EXPIRED };

/* What is fixed for the server's life. */
struct dispatcher {
	struct app *app;
	struct router *router;   /* owned */
	struct metrics *metrics; /* owned */
	struct auth *auth;       /* owned */
	const struct route_table *const *tables;
	char *openapi; /* owned: the document's text */
	/* Gives a suspended connection back to its HTTP thread. Any thread. */
	void (*resume)(void *connection);
};

struct exchange_header_out {
	const char *name;  /* constant */
	const char *value; /* constant, or in the exchange's memory */
};

struct exchange_response {
	int status;
	bool must_close;
	struct exchange_header_out headers[16];
	size_t n_headers;
	const struct str *body; /* NULL: none */
};

struct exchange_chunk;
struct flow;
struct stream;

struct exchange {
	_Atomic int refs;
	_Atomic int hold; /* enum exchange_hold */
	struct dispatcher *dispatcher;
	void *connection;            /* the server's; valid while this is its exchange */
	const struct peer *peer;     /* the connection's */
	_Atomic int64_t deadline_ms; /* of a parked exchange */
	int64_t started_ns;

	/* The request. Texts lie in the exchange's memory. */
	char method[16];
	const char *path, *query_text;
	size_t path_len;
	bool is_http_1_0, is_head, is_bad_target;
	const char *headers[HEADERS];
	unsigned char header_counts[HEADERS];
	struct str body;  /* as received */
	size_t n_dropped; /* bytes of a refused body */
	bool has_body, drop_body;
	struct router_match match;
	struct {
		const char *name, *value;
	} query[QUERY_MAX];
	size_t n_query;
	const char *fields[FIELDS_MAX];
	size_t n_fields;
	char request_id[72];
	struct principal principal;

	/* The work. */
	struct request rq;
	struct reply reply;
	json_t *json;                /* owned */
	void *decoded;               /* owned, by the route's body table */
	struct field_errors *errors; /* owned, or the thread's own */
	bool owns_errors;
	bool is_counted;         /* in the metrics, in flight */
	_Atomic bool is_waiting; /* for an operation; the change, if any, is durable */
	bool wait_ended;         /* and it has ended */
	bool is_replay;          /* of an idempotent request */
	struct str replay_etag;
	unsigned char digest[32]; /* of the request, for its idempotency key */
	struct stream *stream;    /* owned until the server takes it */
	int64_t range_total;      /* ERR_RANGE: the length it is about */
	struct flow *flow;        /* a reference; set by an upload's or download's handler */
	bool is_admitted;         /* an upload whose handler has answered */
	_Atomic bool
	        flow_began; /* after its commit: `flow` may be touched by who takes the exchange away */
	int rc;
	struct err error;

	struct exchange_response response;
	struct exchange_chunk *chunks; /* owned: memory for texts */
	struct str problem;            /* body of a problem */
};

struct exchange *exchange_new(
        struct dispatcher *dispatcher, void *connection, const struct peer *peer);
void exchange_ref(struct exchange *ex);
void exchange_unref(struct exchange *ex); /* accepts NULL */
/* Forgets the request, keeps (some of) the memory. Its only owner calls. */
void exchange_reset(struct exchange *ex);
/* Memory that lives until the reset. */
char *exchange_alloc(struct exchange *ex, size_t size);
const char *exchange_copy(struct exchange *ex, const char *text, size_t len);
const char *exchange_printf(struct exchange *ex, const char *format, ...)
        __attribute__((format(printf, 2, 3)));
/* `value` must live as long as the exchange: constant, or from the functions above. */
void exchange_put_header(struct exchange *ex, const char *name, const char *value);

/* ---- called by the server, in this order ---- */
void exchange_begin(struct exchange *ex, const char *target);
void exchange_add_header(struct exchange *ex, const char *name, size_t name_len, const char *value,
        size_t value_len);
/* All headers are there. */
enum exchange_verdict exchange_headers(struct exchange *ex, const char *method, bool is_http_1_0);
/* False: enough, close the connection without an answer. */
bool exchange_body(struct exchange *ex, const char *data, size_t len);
enum exchange_verdict exchange_complete(struct exchange *ex);
/* The connection is suspended: submits the work. After this call the exchange may be resumed at any
 * time. */
void exchange_start(struct exchange *ex);
/* The connection was resumed and hold is READY: makes the answer, or the body of an upload may come. */
enum exchange_verdict exchange_resumed(struct exchange *ex);
/* An upload's connection is suspended after its body ended or nobody wants the rest: waits for its outcome. */
void exchange_await(struct exchange *ex);
/* It was resumed and hold is EXPIRED: a new exchange answers in place of `late`, which its job may
 * still use. */
void exchange_expired(struct exchange *ex, const struct exchange *late);
/* The answer was sent, or the client is gone. False: an upload's work still needs the exchange, so the connection must
 * drop it. */
bool exchange_end(struct exchange *ex);

/* ---- parking ---- */
/* Any thread; resumes the connection unless its deadline did. The caller still holds its reference.
 */
void exchange_unpark(struct exchange *ex);
/* Any thread: resumes the connection if its deadline is before now_ms. */
void exchange_expire(struct exchange *ex, int64_t now_ms);

/* ---- inside the dispatcher ---- */
/* dispatch_input.c: parameters and body into rq; everything wrong is added to ex->errors. */
int exchange_parse_query(struct exchange *ex, struct err *e);
int exchange_decode(struct exchange *ex, struct err *e);
/* The errors collected so far as one error value; 0 if there are none. */
int exchange_check_errors(const struct exchange *ex, struct err *e);
/* All query parameters of a route, its own and those its flags give it; *ret must hold QUERY_MAX.
 */
size_t route_list_params(const struct route *route, const struct query_param **ret);
bool exchange_wants_body(const struct exchange *ex);
/* Modes whose handler is a mutation. */
bool exchange_is_write(const struct exchange *ex);
/* Whether the reply's answer is held until its operation has ended. */
bool exchange_must_wait(const struct exchange *ex);
/* dispatch_write.c */
void exchange_submit_write(struct exchange *ex);
/* Takes over the caller's reference; unparks when the operation has ended or the wait is over. */
void exchange_begin_wait(struct exchange *ex, const char *operation_id);
/* After the wait: the operation as it is now becomes the reply. */
int exchange_read_operation(struct exchange *ex, struct err *e);
/* Prepares the digest of a request with an Idempotency-Key. */
int exchange_check_idempotency_key(struct exchange *ex, struct err *e);
/* dispatch_fields.c: keeps only the wanted top-level members of the JSON object text from `start`
 * on. */
void exchange_select_fields(const struct exchange *ex, struct str *out, size_t start);
/* problem_reply.c: ex->rc and ex->error become the answer. */
void exchange_answer_problem(struct exchange *ex);
/* dispatch_answer.c: the handler's reply becomes the answer. */
void exchange_answer_reply(struct exchange *ex);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Routes, requests and replies: what an api/Xs.c file declares and what its handlers get.
 *
 * The dispatcher does everything cross-cutting from the route's declaration: deadline, size,
 * authentication, permission, media type, decoding and validation by the body's field table, query
 * parameters, idempotency, dry run, ?wait, audit log, errors as problem+json, metrics. A handler
 * reads: look up, check, act, reply.
 *
 * Thread: ROUTE_READ handlers run on an HTTP thread with a read-only connection inside a read
 * transaction; ROUTE_WRITE handlers run on the writer thread inside the savepoint of their mutation
 * (dry runs are rolled back) and must not block; ROUTE_STREAM handlers run on an HTTP thread and
 * take the connection over (api/stream.h).
 *
 * ROUTE_UPLOAD and ROUTE_DOWNLOAD move bytes of any number between the connection and a bulk thread. Their handlers run as
 * those of a ROUTE_WRITE do, in a mutation, so that the work can be recorded before it begins; an upload's before the body
 * is asked for. See api/upload.h and api/download.h.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "api/app.h"
#include "api/filter.h"
#include "base/err.h"
#include "base/field.h"
#include "base/json_writer.h"
#include "base/uuid.h"
#include "db/db.h"

enum route_mode { ROUTE_READ, ROUTE_WRITE, ROUTE_STREAM, ROUTE_UPLOAD, ROUTE_DOWNLOAD };

enum route_flags {
	ROUTE_PUBLIC = 1 << 0,      /* no authentication; such a route has no permission */
	ROUTE_LIST = 1 << 1,        /* takes page_size, page_token, filter, sort, fields */
	ROUTE_FIELDS = 1 << 2,      /* takes `fields` (a single resource) */
	ROUTE_OPERATION = 1 << 3,   /* answers 202 with an operation; takes wait and if_busy. On a
	                               read: its first   path parameter is an operation, and ?wait holds
	                               the handler until it ended */
	ROUTE_MERGE_PATCH = 1 << 4, /* body is application/merge-patch+json (or application/json) */
	ROUTE_NO_DRY_RUN = 1 << 5,  /* a write for which dry_run makes no sense */
	ROUTE_PLAIN_TEXT = 1 << 6,  /* answers text (metrics) */
	ROUTE_BODY_OPTIONAL = 1 << 7,
	ROUTE_HOST_WAIT = 1 << 8, /* with ?wait the work may wait for a host that does not answer */
	ROUTE_NO_DB = 1 << 9,     /* a read that needs no connection: rq->db is NULL */
	ROUTE_SECRET_ANSWER =
	        1 << 10, /* the answer holds a secret shown once: never stored for replay */
};

enum query_type { QUERY_BOOL, QUERY_INT, QUERY_TEXT };
struct query_param {
	const char *name;
	enum query_type type;
	int64_t min, max; /* QUERY_INT; QUERY_TEXT: max length */
	const char *doc;
};

struct request;
struct reply;

struct route {
	const char *method; /* "GET", ... */
	const char
	        *path; /* below /api/v1 unless it starts with "!": "/vms/{vm}/start", "!/healthz" */
	const char *permission; /* "vm.read"; NULL only with ROUTE_PUBLIC */
	enum route_mode mode;
	unsigned flags;
	const struct field_table *body;      /* request body; NULL: none allowed */
	const struct query_param *query;     /* ends with name NULL; NULL: none of its own */
	const struct field_table *response;  /* of one resource; NULL: none */
	const struct filter_column *columns; /* ROUTE_LIST: filterable and sortable ones */
	const char *default_sort; /* ROUTE_LIST: "-created_at"; NULL: the first sortable column */
	const int *errors;        /* ERR_ codes it may answer beyond the common ones; ends with 0 */
	int status;               /* of success: 200, 201, 202, 204 */
	const char *id;           /* OpenAPI operationId: "vm_start" */
	const char *summary;
	int (*handler)(struct request *rq, struct reply *reply, struct err *e);
};

struct route_table {
	const char *tag; /* OpenAPI tag: "VMs" */
	const struct route *routes;
	size_t n_routes;
};

enum principal_kind { PRINCIPAL_ANONYMOUS, PRINCIPAL_PEER, PRINCIPAL_TOKEN };
struct principal {
	enum principal_kind kind;
	char name[96]; /* "root@unix", "token:ci" */
	int role;      /* enum token_role, api/token.h */
};

struct request {
	const struct route *route;
	struct app *app;
	const char *id; /* request id */
	struct principal principal;
	const char *params[4]; /* decoded path parameters in order of appearance */
	struct db *db;         /* reader or writer connection, by the route's mode */
	json_t *json;          /* the parsed body, borrowed; NULL without one */
	void *body; /* decoded by route->body (CREATE mode), borrowed; NULL for merge patches */
	struct field_errors *errors; /* a handler may add to these and return ERR_INVALID */
	bool dry_run;
	bool if_busy_fail;
	int64_t wait_ms; /* -1: not asked */
	/* A list's parsed query, borrowed; NULL unless ROUTE_LIST. */
	const struct list_query *list;
	struct exchange *exchange; /* the server's side, opaque */
};

struct reply {
	int status;              /* preset to the route's */
	struct json_writer body; /* empty: no body */
	char *location;          /* owned */
	int64_t etag_version;    /* > 0: sent as ETag "ID-VERSION" */
	char etag_id[UUID_TEXT_SIZE];
	char operation_id[UUID_TEXT_SIZE]; /* set by reply_operation */
	int retry_after_s;                 /* > 0: header */
	const char *content_type;          /* NULL: application/json */
	char *link_next;                   /* owned; a page token */
};

/* The text of a query parameter, or NULL; checked by its declaration already. */
const char *request_query(const struct request *rq, const char *name);
bool request_query_bool(const struct request *rq, const char *name, bool fallback);
int64_t request_query_int(const struct request *rq, const char *name, int64_t fallback);
/* If-Match and If-None-Match against the resource's current id and version: ERR_PRECONDITION names
 * both. */
int request_check_match(const struct request *rq, const char *id, int64_t version, struct err *e);
/* A PUT body's name must be the one it has by its path: renaming is PATCH's business. ERR_INVALID at /name. */
int request_check_name(const char *name, const char *path_name, struct err *e);
/* For creations: If-None-Match: * with an existing resource, If-Match without one. */
bool request_is_create_only(const struct request *rq);
int request_check_absent(const struct request *rq, struct err *e);
/* Sets the reply's ETag. */
void reply_etag(struct reply *reply, const char *id, int64_t version);
void reply_location(struct reply *reply, const char *format, ...)
        __attribute__((format(printf, 2, 3)));

/*
 * Makes the reply to long work: 202, Location, the operation as body. `operation_id` was made by
 * operation_create in this job. The dispatcher then honours ?wait: the answer is held until the
 * operation ends (200 and the operation, whatever its outcome) or the time is up (202).
 */
int reply_operation(
        struct request *rq, struct reply *reply, const char *operation_id, struct err *e);
/* With if_busy=fail: ERR_BUSY naming the operation that is in the way of `queue`. */
int request_check_busy(struct request *rq, const char *queue, struct err *e);

/*
 * A list: `begin` writes {"items":[ ; the handler writes up to page_size items, calling list_item
 * before each with the row's sort values; `end` closes it with next_page_token. See api/list.h.
 */

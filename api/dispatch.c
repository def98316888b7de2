/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dispatcher: everything cross-cutting, once, in this order:
 *
 *	headers: request id, framing, route, who, may they, serving, media type, size
 *	body complete: query and body decoded, all errors at once
 *	then: a read here within one read transaction; a write parked, on the writer thread
 * (dispatch_write.c)
 *
 * A refusal before the body still reads (and drops) a body of bounded size, so that the client
 * hears it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "api/flow.h"
#include "base/clock.h"
#include "base/log.h"
#include "db/reader.h"
#include "operation/operation.h"

/* Names that came with the request are kept if they can do no harm in a log; others are replaced.
 */
static bool is_good_request_id(const char *id)
{
	static const char allowed[] =
	        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	size_t len = strspn(id, allowed);
	return len > 0 && len <= 64 && id[len] == '\0';
}

static void take_request_id(struct exchange *ex)
{
	static _Atomic uint64_t start, count;
	const char *given = ex->headers[HEADER_REQUEST_ID];
	if (given && is_good_request_id(given)) {
		snprintf(ex->request_id, sizeof(ex->request_id), "%s", given);
		return;
	}
	uint64_t expected = 0, random = 0;
	if (atomic_load(&start) == 0) {
		if (getrandom(&random, sizeof(random), 0) < 0)
			random = (uint64_t)clock_now_ns();
		atomic_compare_exchange_strong(&start, &expected, random | 1);
	}
	static const char digits[] = "0123456789abcdef";
	uint64_t id = atomic_load(&start) + atomic_fetch_add(&count, 1) * 0x9e3779b97f4a7c15ull;
	for (int i = 15; i >= 0; i--, id >>= 4)
		ex->request_id[i] = digits[id & 15];
	ex->request_id[16] = '\0';
}

void exchange_begin(struct exchange *ex, const char *target)
{
	ex->started_ns = clock_now_ns();
	size_t len = strlen(target);
	ex->is_bad_target =
	        target[strcspn(target, "\x01\x02\t\n\v\f\r \x7f")] != '\0' || target[0] != '/';
	ex->path = exchange_copy(ex, target, len);
	char *mark = strchr(ex->path, '?');
	ex->query_text = mark ? mark + 1 : "";
	ex->path_len = mark ? (size_t)(mark - ex->path) : len;
	if (mark)
		*mark = '\0';
}

/* Whoever is before us might read such a request differently: request smuggling. */
static int check_framing(struct exchange *ex, struct err *e)
{
	const unsigned char *n = ex->header_counts;
	if (ex->is_bad_target)
		return err_set(e, ERR_MALFORMED, "the request target is not a path");
	if (n[HEADER_CONTENT_LENGTH] > 1)
		return err_set(e, ERR_MALFORMED, "there is more than one Content-Length");
	if (n[HEADER_CONTENT_LENGTH] && n[HEADER_TRANSFER_ENCODING])
		return err_set(
		        e, ERR_MALFORMED, "there are both Content-Length and Transfer-Encoding");
	if (n[HEADER_TRANSFER_ENCODING] &&
	        (n[HEADER_TRANSFER_ENCODING] > 1 || ex->is_http_1_0 ||
	                strcasecmp(ex->headers[HEADER_TRANSFER_ENCODING], "chunked") != 0))
		return err_set(
		        e, ERR_MALFORMED, "the only Transfer-Encoding understood is chunked");
	if (n[HEADER_HOST] > 1 || (n[HEADER_HOST] == 0 && !ex->is_http_1_0))
		return err_set(e, ERR_MALFORMED, "exactly one Host is needed");
	return 0;
}

static int64_t declared_length(const struct exchange *ex)
{
	long long length = 0;
	const char *text = ex->headers[HEADER_CONTENT_LENGTH];
	return text && str_to_int64(text, &length) ? length : 0;
}

static int check_route(struct exchange *ex, struct err *e)
{
	int rc = router_find(
	        ex->dispatcher->router, ex->method, ex->path, ex->path_len, &ex->match, e);
	if (rc < 0)
		return rc;
	ex->rq.route = ex->match.entry->route;
	metrics_begin(ex->dispatcher->metrics, ex->match.entry->index);
	ex->is_counted = true;
	return 0;
}

static int check_principal(struct exchange *ex, struct err *e)
{
	const struct route *route = ex->rq.route;
	if (route->flags & ROUTE_PUBLIC)
		return 0;
	struct app *app = ex->dispatcher->app;
	struct db *db = NULL;
	bool needs_tokens = ex->headers[HEADER_AUTHORIZATION] && app->readers;
	int rc = needs_tokens ? readers_get(app->readers, &db, e) : 0;
	if (rc == 0)
		rc = auth_identify(ex->dispatcher->auth, ex->peer,
		        ex->headers[HEADER_AUTHORIZATION], db, &ex->principal,
		        &ex->reply.retry_after_s, e);
	return rc < 0 ? rc : auth_check_permission(&ex->principal, route->permission, e);
}

bool exchange_is_write(const struct exchange *ex)
{
	enum route_mode mode = ex->rq.route->mode;
	return mode == ROUTE_WRITE || mode == ROUTE_UPLOAD || mode == ROUTE_DOWNLOAD;
}

static int check_serving(const struct exchange *ex, struct err *e)
{
	const struct app *app = ex->dispatcher->app;
	if (!exchange_is_write(ex) || (app->is_ready && !app->is_draining))
		return 0;
	return err_set(e, ERR_UNAVAILABLE,
	        app->is_draining ? "the server is stopping and takes no changes"
	                         : "the server is starting and takes no changes yet");
}

static bool is_media_type(const char *header, const char *type)
{
	size_t len = strlen(type);
	return strncasecmp(header, type, len) == 0 && strchr("; \t", header[len]);
}

/* An upload's bytes are taken as they are: without a type, or with the one that says so. */
static int check_upload_type(const struct exchange *ex, struct err *e)
{
	const char *type = ex->headers[HEADER_CONTENT_TYPE];
	if (!type || is_media_type(type, "application/octet-stream"))
		return 0;
	return err_set(e, ERR_MEDIA_TYPE,
	        "the Content-Type is %.80s, it must be application/octet-stream", type);
}

static int check_media_type(const struct exchange *ex, struct err *e)
{
	if (ex->rq.route->mode == ROUTE_UPLOAD)
		return check_upload_type(ex, e);
	if (!ex->has_body || !exchange_wants_body(ex))
		return 0;
	const char *type = ex->headers[HEADER_CONTENT_TYPE];
	bool is_patch = ex->rq.route->flags & ROUTE_MERGE_PATCH;
	const char *wanted = is_patch ? "application/merge-patch+json" : "application/json";
	if (type && (is_media_type(type, wanted) || is_media_type(type, "application/json")))
		return 0;
	return err_set(e, ERR_MEDIA_TYPE, "the Content-Type is %.80s, it must be %s",
	        type ? type : "missing", wanted);
}

static int check_size(const struct exchange *ex, struct err *e)
{
	int64_t length = declared_length(ex);
	if (length <= BODY_MAX || ex->rq.route->mode == ROUTE_UPLOAD)
		return 0;
	return err_set(e, ERR_TOO_LARGE, "the body has %lld bytes, more than %d", (long long)length,
	        BODY_MAX);
}

static int check_request(struct exchange *ex, struct err *e)
{
	int rc = check_route(ex, e);
	if (rc == 0)
		rc = check_principal(ex, e);
	if (rc == 0)
		rc = check_serving(ex, e);
	if (rc == 0)
		rc = check_media_type(ex, e);
	return rc == 0 ? check_size(ex, e) : rc;
}

/* The thread's own collection: it is used until the answer is made, which a read does at once. */
static struct field_errors *thread_errors(void)
{
	static _Thread_local struct field_errors errors;
	errors.len = 0;
	return &errors;
}

/* An answer before the request has ended costs the connection, so that is only for what is worth
 * it. */
static enum exchange_verdict refuse(struct exchange *ex)
{
	bool asks_first = ex->headers[HEADER_EXPECT] && ex->has_body; /* and sends nothing yet */
	if (!ex->response.must_close && !asks_first && declared_length(ex) <= DRAIN_MAX) {
		ex->drop_body = true;
		return EXCHANGE_READ_ON;
	}
	ex->response.must_close = true;
	exchange_answer_problem(ex);
	return EXCHANGE_ANSWER;
}

static void prepare_request(struct exchange *ex)
{
	struct request *rq = &ex->rq;
	rq->exchange = ex;
	rq->app = ex->dispatcher->app;
	rq->id = ex->request_id;
	rq->principal = ex->principal;
	rq->wait_ms = -1;
	for (size_t i = 0; i < ex->match.n_params; i++)
		rq->params[i] = ex->match.params[i];
	ex->reply.status = rq->route->status;
}

static enum exchange_verdict park(struct exchange *ex);

/* Its handler decides before the body. */
static enum exchange_verdict begin_upload(struct exchange *ex)
{
	ex->rq.errors = ex->errors = thread_errors();
	ex->rc = exchange_parse_query(ex, &ex->error);
	if (ex->rc == 0)
		ex->rc = exchange_check_errors(ex, &ex->error);
	return ex->rc < 0 ? refuse(ex) : park(ex);
}

enum exchange_verdict exchange_headers(struct exchange *ex, const char *method, bool is_http_1_0)
{
	snprintf(ex->method, sizeof(ex->method), "%s", method);
	ex->is_head = strcmp(method, "HEAD") == 0;
	ex->is_http_1_0 = is_http_1_0;
	ex->has_body = declared_length(ex) > 0 || ex->headers[HEADER_TRANSFER_ENCODING];
	take_request_id(ex);
	ex->rc = check_framing(ex, &ex->error);
	ex->response.must_close = ex->rc < 0;
	if (ex->rc == 0)
		ex->rc = check_request(ex, &ex->error);
	if (ex->rc < 0)
		return refuse(ex);
	prepare_request(ex);
	return ex->rq.route->mode == ROUTE_UPLOAD ? begin_upload(ex) : EXCHANGE_READ_ON;
}

bool exchange_body(struct exchange *ex, const char *data, size_t len)
{
	if (!ex->drop_body && ex->body.len + len > BODY_MAX) {
		ex->rc = err_set(
		        &ex->error, ERR_TOO_LARGE, "the body has more than %d bytes", BODY_MAX);
		ex->drop_body = true;
	}
	if (!ex->drop_body) {
		str_add_len(&ex->body, data, len);
		return true;
	}
	ex->n_dropped += len;
	return ex->n_dropped <= DRAIN_MAX;
}

static int call_reader(struct exchange *ex, struct err *e)
{
	struct request *rq = &ex->rq;
	if (rq->route->flags & ROUTE_NO_DB)
		return rq->route->handler(rq, &ex->reply, e);
	int rc = readers_get(rq->app->readers, &rq->db, e);
	if (rc == 0)
		rc = reader_begin(rq->db, e);
	if (rc < 0)
		return rc;
	rc = rq->route->handler(rq, &ex->reply, e);
	reader_end(rq->db);
	rq->db = NULL;
	return rc;
}

static enum exchange_verdict answer(struct exchange *ex)
{
	if (ex->rc < 0)
		exchange_answer_problem(ex);
	else
		exchange_answer_reply(ex);
	return EXCHANGE_ANSWER;
}

static enum exchange_verdict run_read(struct exchange *ex)
{
	LOG_SCOPE("request_id", ex->request_id);
	ex->rc = call_reader(ex, &ex->error);
	return answer(ex);
}

/* A parked exchange changes threads, so it needs its own. */
static void own_errors(struct exchange *ex)
{
	ex->errors = malloc(sizeof(*ex->errors));
	if (!ex->errors)
		abort();
	ex->errors->len = 0;
	ex->owns_errors = true;
	ex->rq.errors = ex->errors;
}

static enum exchange_verdict park(struct exchange *ex)
{
	own_errors(ex);
	atomic_store(&ex->deadline_ms, clock_now_ms() + WRITE_TIMEOUT_MS);
	return EXCHANGE_PARK;
}

enum exchange_verdict exchange_complete(struct exchange *ex)
{
	if (!ex->owns_errors)
		ex->rq.errors = ex->errors = thread_errors();
	if (ex->drop_body)
		return answer(ex);
	ex->rc = exchange_decode(ex, &ex->error);
	if (ex->rc == 0)
		ex->rc = exchange_check_idempotency_key(ex, &ex->error);
	if (ex->rc < 0)
		return answer(ex);
	if (exchange_is_write(ex) || (ex->rq.route->flags & ROUTE_OPERATION && ex->rq.wait_ms > 0))
		return park(ex);
	return run_read(ex);
}

void exchange_start(struct exchange *ex)
{
	exchange_ref(ex);
	atomic_store(&ex->hold, HOLD_PARKED);
	if (exchange_is_write(ex))
		exchange_submit_write(ex);
	else
		exchange_begin_wait(ex, ex->rq.params[0]);
}

/* After the handler of an upload: the body may come, or its client hears why not. */
static enum exchange_verdict admit_upload(struct exchange *ex)
{
	ex->is_admitted = true;
	if (ex->rc < 0)
		return refuse(ex);
	if (ex->flow)
		return EXCHANGE_READ_ON;
	ex->response.must_close = ex->has_body;
	return answer(ex);
}

/* Its producer may have failed before the first byte. */
static enum exchange_verdict begin_download(struct exchange *ex)
{
	if (ex->flow && ex->flow->pipe && pipe_get_error(ex->flow->pipe, &ex->error))
		ex->rc = ex->error.code;
	return answer(ex);
}

enum exchange_verdict exchange_resumed(struct exchange *ex)
{
	if (!exchange_is_write(ex))
		return run_read(ex);
	if (ex->rq.route->mode == ROUTE_UPLOAD && !ex->is_admitted)
		return admit_upload(ex);
	if (ex->rc == 0 && ex->rq.route->mode == ROUTE_DOWNLOAD)
		return begin_download(ex);
	if (ex->rc == 0 && ex->is_waiting)
		ex->rc = exchange_read_operation(ex, &ex->error);
	return answer(ex);
}

/* The wait was cut short, the work was not: the operation as it is now. */
static void answer_unfinished(struct exchange *ex, const struct exchange *late)
{
	const char *param = late->rq.params[0];
	ex->rq.route = late->rq.route;
	ex->match.n_params = param ? 1 : 0;
	ex->match.params[0] = param ? exchange_copy(ex, param, strlen(param)) : NULL;
	ex->principal = late->principal;
	prepare_request(ex);
	if (!exchange_is_write(ex)) {
		run_read(ex);
		return;
	}
	memcpy(ex->reply.operation_id, late->reply.operation_id, sizeof(ex->reply.operation_id));
	reply_location(&ex->reply, "/api/v1/operations/%s", ex->reply.operation_id);
	ex->rc = exchange_read_operation(ex, &ex->error);
	answer(ex);
}

static void answer_unknown(struct exchange *ex)
{
	ex->rc = err_set(&ex->error, ERR_DEADLINE,
	        "the change was not confirmed in time; it is not known whether it was made");
	err_hint(
	        &ex->error, "repeat it with the same Idempotency-Key, or look whether it was made");
	exchange_answer_problem(ex);
}

void exchange_expired(struct exchange *ex, const struct exchange *late)
{
	ex->started_ns = late->started_ns;
	ex->path = exchange_copy(ex, late->path, late->path_len);
	ex->path_len = late->path_len;
	ex->query_text = "";
	memcpy(ex->method, late->method, sizeof(ex->method));
	memcpy(ex->request_id, late->request_id, sizeof(ex->request_id));
	ex->match.entry = late->match.entry;
	ex->is_counted = true;
	ex->is_head = late->is_head;
	if (atomic_load(&late->flow_began)) {
		struct err e = {0};
		err_set(&e, ERR_DEADLINE, "it did not end in time");
		flow_cancel(late->flow, ERR_DEADLINE, &e);
	}
	if (atomic_load(&late->is_waiting))
		answer_unfinished(ex, late);
	else
		answer_unknown(ex);
}

bool exchange_end(struct exchange *ex)
{
	int status = ex->response.status;
	int64_t duration_ns = clock_now_ns() - ex->started_ns;
	if (ex->is_counted)
		metrics_end(ex->dispatcher->metrics, ex->match.entry->index, status, duration_ns);
	else
		metrics_count_unrouted(ex->dispatcher->metrics, status);
	log_debug("%s %s %d in %lld us for %s", ex->method, ex->path ? ex->path : "", status,
	        (long long)(duration_ns / 1000), ex->principal.name);
	if (ex->flow && !flow_leave(ex->flow))
		return false;
	exchange_reset(ex);
	return true;
}

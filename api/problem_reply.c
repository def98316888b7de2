/* SPDX-License-Identifier: Apache-2.0 */
/* Errors as RFC 9457 problems: the one place where an error becomes an answer, and is logged if it
 * is ours. */
#include <string.h>

#include "api/exchange.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/problem.h"

static void write_errors(const struct field_errors *errors, struct json_writer *w)
{
	json_key(w, "errors");
	json_array_begin(w);
	for (size_t i = 0; i < errors->len; i++) {
		json_object_begin(w);
		json_member_string(w, "pointer", errors->items[i].pointer);
		json_member_string(w, "code", errors->items[i].code);
		json_member_string(w, "detail", errors->items[i].detail);
		json_object_end(w);
	}
	json_array_end(w);
}

static void write_problem(struct exchange *ex, const struct err *e, struct json_writer *w)
{
	json_object_begin(w);
	problem_encode_members(e, w);
	json_member_string(w, "instance", ex->path ? ex->path : "");
	json_member_string(w, "request_id", ex->request_id);
	json_member_bool(w, "retryable", err_info(e->code)->retryable);
	if (!e->pointer[0] && ex->errors && ex->errors->len > 0)
		write_errors(ex->errors, w);
	json_object_end(w);
}

/* The inner parts of failures that are not the client's doing stay in the log. */
static void hide_internals(struct err *e)
{
	if (e->code != ERR_INTERNAL && e->code != ERR_DATABASE)
		return;
	err_set(e, e->code, "something went wrong inside; the log has it under this request id");
}

static void add_headers(struct exchange *ex, const struct err_info *info)
{
	exchange_put_header(ex, "Content-Type", "application/problem+json");
	exchange_put_header(ex, "Cache-Control", "no-store");
	exchange_put_header(ex, "X-Request-Id", ex->request_id);
	if (info->http_status == 401)
		exchange_put_header(ex, "WWW-Authenticate", "Bearer realm=\"berth\"");
	if (info->http_status == 405)
		exchange_put_header(ex, "Allow", ex->match.allow);
	if (info->code == ERR_RANGE)
		exchange_put_header(ex, "Content-Range",
		        exchange_printf(ex, "bytes */%lld", (long long)ex->range_total));
	int seconds = ex->reply.retry_after_s;
	if (seconds == 0 && (info->http_status == 503 || info->http_status == 429))
		seconds = 2;
	if (seconds > 0)
		exchange_put_header(ex, "Retry-After", exchange_printf(ex, "%d", seconds));
}

/* A path that is not valid UTF-8 must not get into JSON. */
static void sanitize_path(struct exchange *ex)
{
	char *text = exchange_alloc(ex, 256);
	size_t n = 0;
	for (const char *at = ex->path; at && *at && n < 255; at++)
		text[n++] = *at >= 0x20 && *at < 0x7f ? *at : '?';
	text[n] = '\0';
	ex->path = text;
}

void exchange_answer_problem(struct exchange *ex)
{
	struct err e = ex->error;
	e.code = ex->rc;
	const struct err_info *info = err_info(e.code);
	if (!e.message[0] && exchange_check_errors(ex, &e) == 0)
		err_set(&e, ex->rc, "%s", info->title);
	if (info->http_status >= 500) {
		LOG_SCOPE("request_id", ex->request_id);
		log_err(info->http_status == 500 ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING, &e, "%s %s",
		        ex->method, ex->path ? ex->path : "");
	}
	hide_internals(&e);
	sanitize_path(ex);
	struct json_writer w = {.out = ex->problem};
	str_reset(&w.out);
	write_problem(ex, &e, &w);
	ex->problem = w.out;
	bool must_close = ex->response.must_close;
	ex->response = (struct exchange_response){
	        .status = info->http_status, .must_close = must_close, .body = &ex->problem};
	add_headers(ex, info);
}

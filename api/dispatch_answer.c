/* SPDX-License-Identifier: Apache-2.0 */
/* A handler's reply as the answer: headers, field selection. HTTP thread. */
#include <string.h>

#include "api/flow.h"

static const char *content_type(const struct exchange *ex)
{
	if (ex->reply.content_type)
		return ex->reply.content_type;
	return ex->rq.route->flags & ROUTE_PLAIN_TEXT ? "text/plain; version=0.0.4; charset=utf-8"
	                                              : "application/json";
}

static void put_etag(struct exchange *ex)
{
	const struct reply *reply = &ex->reply;
	if (ex->replay_etag.len > 0)
		exchange_put_header(ex, "ETag", str_text(&ex->replay_etag));
	else if (reply->etag_version > 0)
		exchange_put_header(ex, "ETag",
		        exchange_printf(
		                ex, "\"%s-%lld\"", reply->etag_id, (long long)reply->etag_version));
}

/* The next page has the same query but for its token, which needs no escaping (base64url). */
static void put_link(struct exchange *ex)
{
	struct str target = {0};
	str_printf(&target, "<%s?", ex->path);
	for (const char *at = ex->query_text; *at;) {
		size_t len = strcspn(at, "&");
		if (len > 0 && strncmp(at, "page_token", 10) != 0) {
			str_add_len(&target, at, len);
			str_add_char(&target, '&');
		}
		at += len + (at[len] == '&');
	}
	str_printf(&target, "page_token=%s>; rel=\"next\"", ex->reply.link_next);
	exchange_put_header(ex, "Link", exchange_copy(ex, target.data, target.len));
	str_done(&target);
}

static void put_range(struct exchange *ex)
{
	const struct flow *flow = ex->flow;
	if (flow->total < 0)
		return;
	exchange_put_header(ex, "Accept-Ranges", "bytes");
	if (flow->is_partial)
		exchange_put_header(ex, "Content-Range",
		        exchange_printf(ex, "bytes %lld-%lld/%lld", (long long)flow->offset,
		                (long long)(flow->offset + flow->length - 1),
		                (long long)flow->total));
}

void exchange_answer_reply(struct exchange *ex)
{
	struct reply *reply = &ex->reply;
	bool has_text = reply->body.out.len > 0;
	ex->response.status = reply->status;
	ex->response.body = has_text ? &reply->body.out : NULL;
	bool is_download = ex->flow && ex->flow->direction == FLOW_DOWN;
	if (has_text || ex->stream || is_download)
		exchange_put_header(ex, "Content-Type", content_type(ex));
	exchange_put_header(ex, "Cache-Control", "no-store");
	exchange_put_header(ex, "X-Request-Id", ex->request_id);
	if (ex->n_fields > 0 && ex->rq.route->flags & ROUTE_FIELDS)
		exchange_select_fields(ex, &reply->body.out, 0);
	put_etag(ex);
	if (is_download)
		put_range(ex);
	if (reply->location && !ex->rq.dry_run)
		exchange_put_header(ex, "Location", reply->location);
	if (reply->link_next)
		put_link(ex);
	if (reply->retry_after_s > 0)
		exchange_put_header(
		        ex, "Retry-After", exchange_printf(ex, "%d", reply->retry_after_s));
	if (ex->rq.dry_run)
		exchange_put_header(ex, "Dry-Run", "true");
	if (ex->is_replay)
		exchange_put_header(ex, "Idempotency-Replayed", "true");
}

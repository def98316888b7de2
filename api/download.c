/* SPDX-License-Identifier: Apache-2.0 */
/* Downloads: Range, and what their handlers and producers call. */
#include "api/download.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/flow.h"
#include "base/alloc.h"
#include "base/str.h"

struct download {
	struct flow flow; /* first: it is freed as one */
	const struct download_handlers *handlers;
	void *arg;       /* owned through handlers->release */
	int64_t written; /* bulk thread */
};

static void run_download(struct flow *flow);

static void free_download(struct flow *flow)
{
	struct download *download = (struct download *)flow;
	download->handlers->release(download->arg);
	free(download);
}

bool request_is_head(const struct request *rq)
{
	return rq->exchange->is_head;
}

/* ---- Range (RFC 9110, 14) ---- */

static bool parse_number(const char *text, size_t len, int64_t *ret_number)
{
	int64_t number = 0;
	if (len == 0 || len > 18 || strspn(text, "0123456789") < len)
		return false;
	for (size_t i = 0; i < len; i++)
		number = number * 10 + (text[i] - '0');
	*ret_number = number;
	return true;
}

static int out_of_range(const char *text, int64_t length, struct err *e)
{
	err_set(e, ERR_RANGE, "the content has %lld bytes, asked for are %.80s", (long long)length,
	        text);
	return err_numbers(e, "{\"length\":%lld}", (long long)length);
}

int range_parse(
        const char *text, int64_t length, int64_t *ret_offset, int64_t *ret_length, struct err *e)
{
	*ret_offset = 0;
	*ret_length = -1;
	if (!text || length < 0 || strncasecmp(text, "bytes=", 6) != 0 || strchr(text, ','))
		return 0;
	const char *first_text = text + 6, *dash = strchr(first_text, '-');
	int64_t first = 0, last = 0;
	bool has_first = dash && parse_number(first_text, (size_t)(dash - first_text), &first);
	bool has_last = dash && parse_number(dash + 1, strlen(dash + 1), &last);
	bool is_suffix = dash == first_text && has_last;
	if (!is_suffix &&
	        (!has_first || (dash[1] != '\0' && !has_last) || (has_last && last < first)))
		return 0; /* not understood: ignored */
	if (is_suffix) {
		first = last < length ? length - last : 0;
		has_last = false;
	}
	if (first >= length || (is_suffix && last == 0))
		return out_of_range(text, length, e);
	*ret_offset = first;
	*ret_length = (has_last && last < length - 1 ? last + 1 : length) - first;
	return 0;
}

/* A range of something that has changed since would be put together wrongly. */
static bool is_still_the_same(const struct request *rq, const struct reply *reply)
{
	char tag[UUID_TEXT_SIZE + 32];
	const char *wanted = rq->exchange->headers[HEADER_IF_RANGE];
	snprintf(tag, sizeof(tag), "\"%s-%lld\"", reply->etag_id, (long long)reply->etag_version);
	return !wanted || (reply->etag_version > 0 && strcmp(wanted, tag) == 0);
}

static int choose_range(struct request *rq, const struct reply *reply, struct flow *flow,
        int64_t length, struct err *e)
{
	const char *range = rq->exchange->headers[HEADER_RANGE];
	if (!is_still_the_same(rq, reply))
		range = NULL;
	flow->total = rq->exchange->range_total = length;
	int rc = range_parse(range, length, &flow->offset, &flow->length, e);
	flow->is_partial = flow->length >= 0;
	if (!flow->is_partial)
		flow->length = length;
	return rc;
}

int download_open(struct request *rq, struct reply *reply, const struct download_handlers *handlers,
        void *arg, const char *key, int64_t length, struct err *e)
{
	struct download *download = xcalloc(1, sizeof(*download));
	struct flow *flow = &download->flow;
	download->handlers = handlers;
	download->arg = arg;
	flow->free = free_download;
	flow->run = run_download;
	int rc = flow_init(flow, FLOW_DOWN, key, rq->exchange->is_head ? 0 : DOWNLOAD_BUFFER, e);
	if (rc == 0)
		rc = choose_range(rq, reply, flow, length, e);
	if (rc < 0) {
		flow_unref(flow);
		return rc;
	}
	if (flow->is_partial)
		reply->status = 206;
	if (!reply->content_type)
		reply->content_type = "application/octet-stream";
	rq->exchange->flow = flow;
	return 0;
}

/* ---- bulk thread ---- */

int download_write(struct download *download, const void *bytes, size_t n, struct err *e)
{
	const struct flow *flow = &download->flow;
	if (flow->length >= 0 && (int64_t)n > flow->length - download->written)
		return err_set(e, ERR_UNPROCESSABLE,
		        "there are more bytes than the %lld that were announced",
		        (long long)flow->length);
	download->written += (int64_t)n;
	return pipe_write(flow->pipe, bytes, n, e);
}

bool download_is_cancelled(const struct download *download)
{
	return flow_is_cancelled(&download->flow);
}

bool download_is_stopping(const struct download *download)
{
	return flow_is_stopping(&download->flow);
}

void download_cancel(struct download *download, int rc, const struct err *e)
{
	flow_cancel(&download->flow, rc, e);
}

static void run_download(struct flow *flow)
{
	struct download *download = (struct download *)flow;
	struct exchange *ex = flow->exchange;
	struct err e = {0};
	int rc = download->handlers->produce(
	        download, flow->offset, flow->length, download->arg, &e);
	if (rc == 0 && flow->length >= 0 && download->written < flow->length)
		rc = err_set(&e, ERR_UNPROCESSABLE, "only %lld bytes of %lld were there",
		        (long long)download->written, (long long)flow->length);
	pipe_close_writer(flow->pipe, rc < 0 ? rc : 0, &e);
	exchange_unref(ex);
	flow_unref(flow);
}

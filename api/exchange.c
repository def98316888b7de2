/* SPDX-License-Identifier: Apache-2.0 */
/* The life of an exchange: its memory, its headers, parking. See exchange.h. */
#include "api/exchange.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/flow.h"
#include "api/list.h"
#include "api/stream.h"
#include "base/alloc.h"
#include "base/cleanup.h"

#define CHUNK_SIZE 4096
#define KEEP_BYTES 16384 /* of a buffer between two requests of a connection */

struct exchange_chunk {
	struct exchange_chunk *next;
	size_t used, size;
	char data[];
};

struct exchange *exchange_new(
        struct dispatcher *dispatcher, void *connection, const struct peer *peer)
{
	struct exchange *ex = xcalloc(1, sizeof(*ex));
	ex->refs = 1;
	ex->dispatcher = dispatcher;
	ex->connection = connection;
	ex->peer = peer;
	return ex;
}

void exchange_ref(struct exchange *ex)
{
	atomic_fetch_add(&ex->refs, 1);
}

static void trim(struct str *s)
{
	if (s->capacity > KEEP_BYTES)
		str_done(s);
	else
		str_reset(s);
}

static void free_chunks(struct exchange *ex, struct exchange_chunk *keep)
{
	struct exchange_chunk *chunk = ex->chunks;
	while (chunk) {
		struct exchange_chunk *next = chunk->next;
		if (chunk != keep)
			free(chunk);
		chunk = next;
	}
	ex->chunks = keep;
	if (keep) {
		keep->next = NULL;
		keep->used = 0;
	}
}

static void release_request(struct exchange *ex)
{
	if (ex->decoded) {
		field_release(ex->rq.route->body, ex->decoded);
		free(ex->decoded);
	}
	ex->decoded = NULL;
	json_decref(ex->json);
	ex->json = NULL;
	list_query_free(ex->rq.list);
	if (ex->owns_errors)
		free(ex->errors);
	ex->errors = NULL;
	ex->owns_errors = false;
	free(ex->reply.location);
	free(ex->reply.link_next);
	stream_free(ex->stream);
	ex->stream = NULL;
	flow_unref(ex->flow);
	ex->flow = NULL;
	atomic_store(&ex->flow_began, false);
}

void exchange_unref(struct exchange *ex)
{
	if (!ex || atomic_fetch_sub(&ex->refs, 1) != 1)
		return;
	release_request(ex);
	json_writer_done(&ex->reply.body);
	str_done(&ex->body);
	str_done(&ex->problem);
	str_done(&ex->replay_etag);
	free_chunks(ex, NULL);
	free(ex);
}

void exchange_reset(struct exchange *ex)
{
	release_request(ex);
	trim(&ex->reply.body.out);
	trim(&ex->body);
	trim(&ex->problem);
	trim(&ex->replay_etag);
	struct exchange_chunk *keep =
	        ex->chunks && ex->chunks->size == CHUNK_SIZE ? ex->chunks : NULL;
	free_chunks(ex, keep);
	ex->reply = (struct reply){.body = {.out = ex->reply.body.out}};
	ex->rq = (struct request){0};
	memset(ex->headers, 0, sizeof(ex->headers));
	memset(ex->header_counts, 0, sizeof(ex->header_counts));
	ex->match.entry = NULL;
	ex->match.n_params = 0;
	ex->n_query = ex->n_fields = ex->n_dropped = 0;
	ex->has_body = ex->drop_body = ex->is_head = ex->is_counted = false;
	ex->is_admitted = false;
	ex->is_waiting = ex->wait_ended = ex->is_replay = false;
	ex->principal = (struct principal){0};
	ex->response = (struct exchange_response){0};
	ex->rc = 0;
	ex->error.code = 0;
	ex->error.message[0] = '\0';
	atomic_store(&ex->hold, HOLD_NONE);
}

char *exchange_alloc(struct exchange *ex, size_t size)
{
	struct exchange_chunk *chunk = ex->chunks;
	if (!chunk || chunk->size - chunk->used < size) {
		size_t chunk_size = size > CHUNK_SIZE ? size : CHUNK_SIZE;
		chunk = xcalloc(1, sizeof(*chunk) + chunk_size);
		chunk->size = chunk_size;
		chunk->next = ex->chunks;
		ex->chunks = chunk;
	}
	char *memory = chunk->data + chunk->used;
	chunk->used += size;
	return memory;
}

const char *exchange_copy(struct exchange *ex, const char *text, size_t len)
{
	char *copy = exchange_alloc(ex, len + 1);
	memcpy(copy, text, len);
	copy[len] = '\0';
	return copy;
}

const char *exchange_printf(struct exchange *ex, const char *format, ...)
{
	va_list args, again;
	va_start(args, format);
	va_copy(again, args);
	int len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	char *text = exchange_alloc(ex, (size_t)len + 1);
	vsnprintf(text, (size_t)len + 1, format, again);
	va_end(again);
	return text;
}

void exchange_put_header(struct exchange *ex, const char *name, const char *value)
{
	struct exchange_response *response = &ex->response;
	if (response->n_headers < ARRAY_LEN(response->headers))
		response->headers[response->n_headers++] =
		        (struct exchange_header_out){.name = name, .value = value};
}

static const struct {
	const char *name;
	size_t len;
} header_names[HEADERS] = {
#define NAME(text)                                                                                 \
	{                                                                                          \
		text, sizeof(text) - 1                                                             \
	}
        [HEADER_HOST] = NAME("Host"),
        [HEADER_CONTENT_LENGTH] = NAME("Content-Length"),
        [HEADER_TRANSFER_ENCODING] = NAME("Transfer-Encoding"),
        [HEADER_CONTENT_TYPE] = NAME("Content-Type"),
        [HEADER_AUTHORIZATION] = NAME("Authorization"),
        [HEADER_ACCEPT] = NAME("Accept"),
        [HEADER_IF_MATCH] = NAME("If-Match"),
        [HEADER_IF_NONE_MATCH] = NAME("If-None-Match"),
        [HEADER_IDEMPOTENCY_KEY] = NAME("Idempotency-Key"),
        [HEADER_REQUEST_ID] = NAME("X-Request-Id"),
        [HEADER_LAST_EVENT_ID] = NAME("Last-Event-ID"),
        [HEADER_EXPECT] = NAME("Expect"),
        [HEADER_RANGE] = NAME("Range"),
        [HEADER_IF_RANGE] = NAME("If-Range"),
        [HEADER_CONTENT_RANGE] = NAME("Content-Range"),
        [HEADER_CONTENT_DIGEST] = NAME("Content-Digest"),
#undef NAME
};

void exchange_add_header(
        struct exchange *ex, const char *name, size_t name_len, const char *value, size_t value_len)
{
	for (size_t i = 0; i < HEADERS; i++) {
		if (header_names[i].len != name_len ||
		        strncasecmp(header_names[i].name, name, name_len) != 0)
			continue;
		if (ex->header_counts[i] < 255)
			ex->header_counts[i]++;
		if (!ex->headers[i])
			ex->headers[i] =
			        exchange_copy(ex, value ? value : "", value ? value_len : 0);
		return;
	}
}

static void leave_park(struct exchange *ex, int hold)
{
	int parked = HOLD_PARKED;
	void *connection = ex->connection;
	struct dispatcher *dispatcher = ex->dispatcher;
	if (atomic_compare_exchange_strong(&ex->hold, &parked, hold))
		dispatcher->resume(connection);
}

void exchange_unpark(struct exchange *ex)
{
	leave_park(ex, HOLD_READY);
}

void exchange_expire(struct exchange *ex, int64_t now_ms)
{
	if (atomic_load(&ex->hold) == HOLD_PARKED && atomic_load(&ex->deadline_ms) < now_ms)
		leave_park(ex, HOLD_EXPIRED);
}

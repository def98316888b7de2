/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Uploads and downloads at the HTTP library: bodies that are taken and sent piece by piece, with the connection suspended
 * while the other side is not ready; and an answer in the middle of a body, for which the library has no way: it is
 * written to the socket here, then the rest of the body is dropped for a moment, so that the client gets to read it.
 * The connection's HTTP thread.
 */
#include <gnutls/gnutls.h>
#include <microhttpd.h>
#include <string.h>
#include <sys/socket.h>

#include "api/download.h"
#include "api/flow.h"
#include "api/server_internal.h"
#include "api/upload.h"
#include "base/err.h"
#include "base/str.h"

#define LINGER_MS 5000

/* ---- uploads ---- */

enum flow_result server_take_upload(
        struct connection *c, const char *data, size_t *len, int timeout_ms)
{
	size_t taken = 0;
	c->has_body_bytes = true;
	enum flow_result result = flow_offer(c->exchange->flow, data, *len, &taken);
	*len -= taken;
	c->window_bytes += (int64_t)taken;
	if (result == FLOW_FULL) {
		connection_set_deadline(c, 0); /* it is not the client that is slow */
		flow_wait(c->exchange->flow);
	} else if (c->window_bytes >= UPLOAD_MIN_BYTES || atomic_load(&c->deadline_ms) == 0) {
		c->window_bytes = 0;
		connection_set_deadline(c, timeout_ms);
	}
	return result;
}

static ssize_t send_bytes(const struct connection *c, const struct str *text)
{
	const union MHD_ConnectionInfo *info =
	        MHD_get_connection_info(c->handle, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	if (!info || !info->tls_session)
		return send(c->fd, text->data, text->len, MSG_DONTWAIT | MSG_NOSIGNAL);
	ssize_t n = gnutls_record_send(info->tls_session, text->data, text->len);
	gnutls_bye(info->tls_session, GNUTLS_SHUT_WR);
	return n;
}

/* All that was sent before is "100 Continue", so the socket has room for a problem. */
bool server_send_early(struct connection *c)
{
	const struct exchange_response *answer = &c->exchange->response;
	size_t body_len = answer->body ? answer->body->len : 0;
	struct str text = {0};
	str_printf(&text, "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Length: %zu\r\n",
	        answer->status, MHD_get_reason_phrase_for((unsigned int)answer->status), body_len);
	for (size_t i = 0; i < answer->n_headers; i++)
		str_printf(&text, "%s: %s\r\n", answer->headers[i].name, answer->headers[i].value);
	str_add(&text, "\r\n");
	if (body_len > 0)
		str_add_len(&text, answer->body->data, body_len);
	bool is_sent = send_bytes(c, &text) == (ssize_t)text.len;
	str_done(&text);
	shutdown(c->fd, SHUT_WR);
	c->phase = CONNECTION_LINGERING;
	c->n_dropped = 0;
	connection_set_deadline(c, LINGER_MS);
	return is_sent;
}

bool server_linger(struct connection *c, size_t *len)
{
	bool is_over = *len == 0 || c->n_dropped > DRAIN_MAX;
	c->n_dropped += *len;
	*len = 0;
	return !is_over;
}

/* ---- downloads ---- */

static ssize_t read_download(void *cls, uint64_t position, char *to, size_t size)
{
	struct connection *c = cls;
	struct flow *flow = c->exchange->flow;
	bool is_end;
	(void)position;
	int64_t n = pipe_poll(flow->pipe, to, size, &is_end);
	if (n < 0)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (is_end)
		return MHD_CONTENT_READER_END_OF_STREAM;
	connection_set_deadline(c, n > 0 ? FLOW_SEND_MS : 0);
	if (n == 0)
		flow_wait(flow);
	return (ssize_t)n;
}

struct MHD_Response *server_make_download(struct connection *c)
{
	const struct flow *flow = c->exchange->flow;
	uint64_t size = flow->length < 0 ? MHD_SIZE_UNKNOWN : (uint64_t)flow->length;
	return MHD_create_response_from_callback(size, DOWNLOAD_BLOCK, read_download, c, NULL);
}

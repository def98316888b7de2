/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP server: glue between libmicrohttpd and the exchange (api/exchange.h). The only file that
 * includes it.
 *
 *	            +------------------- answer sent ----------------------+
 *	            v                                                      |
 *	          IDLE -- request line --> HEADERS -> BODY -> complete -> SENDING
 *	                                                         |          ^
 *	                                                         v          |
 *	                                                       PARKED -- resumed
 *
 * An upload is parked twice: before its body, while its handler decides, and after it, until the outcome is known. When
 * that comes in the middle of the body the answer is sent at once, and the connection lingers (server_flow.c).
 *
 * Each phase has an absolute deadline (server_connections.c). A parked connection is suspended
 * first and its work submitted after that; whoever ends the work resumes it. Responses are built on
 * the connection's HTTP thread.
 */
#include "api/server.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/server_internal.h"
#include "api/stream.h"
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "db/change_feed.h"

#define MEMORY_PER_CONNECTION 32768
#define SEND_TIMEOUT_MS       60000
#define TICK_MAX_MS           250
#define STREAM_BLOCK          4096
#define LAST_ANSWERS_MS       1000 /* for what was parked when the server had to stop */
#define TLS_PRIORITIES        "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

struct listener {
	int fd; /* after it was quiesced; -1: none */
	bool is_inherited;
};

struct server {
	struct server_config config; /* texts owned below */
	char *socket_path, *socket_group;
	struct dispatcher dispatcher;
	struct connections connections;
	struct server_tls *tls; /* owned */
	struct MHD_Daemon *tcp, *unix_socket;
	struct listener tcp_listener, unix_listener;
	int port;
	bool has_socket_file; /* we made it, we remove it */
};

static struct connection *connection_of(struct MHD_Connection *mhd)
{
	const union MHD_ConnectionInfo *info =
	        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	return info ? info->socket_context : NULL;
}

static void resume(void *connection)
{
	struct connection *c = connection;
	MHD_resume_connection(c->handle);
}

static void suspend(void *connection)
{
	struct connection *c = connection;
	MHD_suspend_connection(c->handle);
}

/* ---- connections ---- */

static void format_address(const struct sockaddr *address, char *to, size_t size)
{
	socklen_t len = address->sa_family == AF_INET ? sizeof(struct sockaddr_in)
	                                              : sizeof(struct sockaddr_in6);
	if (getnameinfo(address, len, to, (socklen_t)size, NULL, 0, NI_NUMERICHOST) != 0)
		snprintf(to, size, "?");
}

static enum MHD_Result on_accept(void *cls, const struct sockaddr *address, socklen_t len)
{
	(void)len;
	struct server *s = cls;
	char text[INET6_ADDRSTRLEN + 1];
	bool is_unix = address->sa_family == AF_UNIX;
	if (!is_unix)
		format_address(address, text, sizeof(text));
	return connections_may_add(&s->connections, is_unix ? NULL : text,
	               s->config.max_connections, s->config.max_connections_per_ip)
	               ? MHD_YES
	               : MHD_NO;
}

static void identify_peer(struct connection *c, struct MHD_Connection *mhd)
{
	const union MHD_ConnectionInfo *info =
	        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	const struct sockaddr *address = info ? info->client_addr : NULL;
	if (address && address->sa_family != AF_UNIX)
		format_address(address, c->peer.address, sizeof(c->peer.address));
	else
		server_identify_unix_peer(c->fd, c->server->socket_group, &c->peer);
}

static void open_connection(struct server *s, struct MHD_Connection *mhd, void **socket_context)
{
	struct connection *c = xcalloc(1, sizeof(*c));
	c->handle = mhd;
	c->server = s;
	c->fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
	identify_peer(c, mhd);
	c->exchange = exchange_new(&s->dispatcher, c, &c->peer);
	connection_set_deadline(c, s->config.header_timeout_ms);
	*socket_context = c;
	connections_add(&s->connections, c);
	metrics_add_connections(s->dispatcher.metrics, 1);
}

static void close_connection(struct server *s, struct connection *c)
{
	if (!c)
		return;
	connections_remove(&s->connections, c);
	metrics_add_connections(s->dispatcher.metrics, -1);
	exchange_unref(c->exchange);
	free(c);
}

static void on_connection(void *cls, struct MHD_Connection *mhd, void **socket_context,
        enum MHD_ConnectionNotificationCode code)
{
	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		open_connection(cls, mhd, socket_context);
		return;
	}
	close_connection(cls, *socket_context);
	*socket_context = NULL;
}

/* ---- answers ---- */

static ssize_t read_stream(void *cls, uint64_t position, char *to, size_t size)
{
	(void)position;
	long n = stream_read(cls, to, size);
	return n == STREAM_END ? MHD_CONTENT_READER_END_OF_STREAM : (ssize_t)n;
}

static struct MHD_Response *make_stream_response(struct connection *c)
{
	struct stream *stream = c->exchange->stream;
	stream_attach(stream, c, suspend, resume);
	connections_set_stream(&c->server->connections, c, stream);
	return MHD_create_response_from_callback(
	        MHD_SIZE_UNKNOWN, STREAM_BLOCK, read_stream, stream, NULL);
}

/* The body stays in the exchange, which outlives the sending. */
static struct MHD_Response *make_response(const struct exchange_response *response)
{
	size_t len = response->body ? response->body->len : 0;
	void *data = len > 0 ? response->body->data : NULL;
	return MHD_create_response_from_buffer(len, data, MHD_RESPMEM_PERSISTENT);
}

static bool is_download(const struct exchange *ex)
{
	return ex->flow && ex->flow->direction == FLOW_DOWN && ex->rc == 0;
}

static void attach_flow(struct connection *c)
{
	flow_attach(c->exchange->flow, c, suspend, resume);
	connections_set_flow(&c->server->connections, c, c->exchange->flow);
}

static struct MHD_Response *make_any_response(struct connection *c)
{
	const struct exchange *ex = c->exchange;
	if (ex->stream)
		return make_stream_response(c);
	if (!is_download(ex))
		return make_response(&ex->response);
	if (ex->flow->pipe)
		attach_flow(c);
	return server_make_download(c);
}

static enum MHD_Result send_answer(struct connection *c)
{
	struct exchange *ex = c->exchange;
	const struct exchange_response *answer = &ex->response;
	if (c->has_body_bytes && !c->body_ended)
		return server_send_early(c) ? MHD_YES : MHD_NO;
	struct MHD_Response *response = make_any_response(c);
	if (!response)
		return MHD_NO;
	for (size_t i = 0; i < answer->n_headers; i++)
		MHD_add_response_header(
		        response, answer->headers[i].name, answer->headers[i].value);
	if (answer->must_close || c->server->connections.is_stopping)
		MHD_add_response_header(response, "Connection", "close");
	c->phase = CONNECTION_SENDING;
	connection_set_deadline(c, ex->stream ? 0 : SEND_TIMEOUT_MS);
	enum MHD_Result result =
	        MHD_queue_response(c->handle, (unsigned int)answer->status, response);
	MHD_destroy_response(response);
	return result;
}

/* Until the work has ended; is_outcome: that of an upload, which has begun already. */
static enum MHD_Result park(struct connection *c, bool is_outcome)
{
	c->phase = CONNECTION_PARKED;
	connection_set_deadline(c, 0); /* the exchange has its own */
	MHD_suspend_connection(c->handle);
	if (is_outcome)
		exchange_await(c->exchange);
	else
		exchange_start(c->exchange);
	connections_check_parked(&c->server->connections, c);
	return MHD_YES;
}

static void replace_exchange(struct connection *c)
{
	struct exchange *late = c->exchange;
	struct exchange *fresh = exchange_new(&c->server->dispatcher, c, &c->peer);
	if (c->flow)
		connections_set_flow(&c->server->connections, c, NULL);
	exchange_expired(fresh, late);
	connections_set_exchange(&c->server->connections, c, fresh);
	exchange_unref(late);
}

/* The handler took the upload; or refused it, and its body is short enough to be read and dropped. */
static enum MHD_Result begin_body(struct connection *c)
{
	c->phase = CONNECTION_BODY;
	c->window_bytes = 0;
	if (c->exchange->rc == 0)
		attach_flow(c);
	connection_set_deadline(c, c->server->config.body_timeout_ms);
	return MHD_YES;
}

static enum MHD_Result continue_parked(struct connection *c)
{
	switch (atomic_load(&c->exchange->hold)) {
	case HOLD_READY:
		if (exchange_resumed(c->exchange) == EXCHANGE_READ_ON)
			return begin_body(c);
		break;
	case HOLD_EXPIRED:
		replace_exchange(c);
		break;
	default: /* called without a resume: stay */
		return MHD_YES;
	}
	return send_answer(c);
}

/* ---- requests ---- */

static enum MHD_Result add_header(void *cls, enum MHD_ValueKind kind, const char *name,
        size_t name_len, const char *value, size_t value_len)
{
	(void)kind;
	exchange_add_header(cls, name, name_len, value, value_len);
	return MHD_YES;
}

static enum MHD_Result on_headers(struct connection *c, const char *method, const char *version)
{
	struct exchange *ex = c->exchange;
	atomic_fetch_add(&c->server->connections.active, 1);
	MHD_get_connection_values_n(c->handle, MHD_HEADER_KIND, add_header, ex);
	c->phase = CONNECTION_BODY;
	c->has_body_bytes = c->body_ended = false;
	switch (exchange_headers(ex, method, strcmp(version, "HTTP/1.0") == 0)) {
	case EXCHANGE_ANSWER:
		return send_answer(c);
	case EXCHANGE_PARK:
		return park(c, /* is_outcome= */ false);
	case EXCHANGE_READ_ON:
		break;
	}
	connection_set_deadline(c, c->server->config.body_timeout_ms);
	return MHD_YES;
}

static enum MHD_Result on_upload(struct connection *c, const char *data, size_t *len)
{
	if (*len == 0) {
		c->body_ended = true;
		flow_body_ended(c->exchange->flow);
		return park(c, /* is_outcome= */ true);
	}
	if (server_take_upload(c, data, len, c->server->config.body_timeout_ms) == FLOW_OVER)
		return park(c, /* is_outcome= */ true);
	return MHD_YES;
}

static enum MHD_Result on_body(struct connection *c, const char *data, size_t *len)
{
	if (c->flow)
		return on_upload(c, data, len);
	if (*len > 0) {
		bool goes_on = exchange_body(c->exchange, data, *len);
		*len = 0;
		return goes_on ? MHD_YES : MHD_NO;
	}
	c->body_ended = true;
	return exchange_complete(c->exchange) == EXCHANGE_PARK ? park(c, /* is_outcome= */ false)
	                                                       : send_answer(c);
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *mhd, const char *url,
        const char *method, const char *version, const char *data, size_t *len, void **request)
{
	(void)cls, (void)url, (void)mhd;
	struct connection *c = *request;
	if (!c)
		return MHD_NO;
	switch (c->phase) {
	case CONNECTION_HEADERS:
		return on_headers(c, method, version);
	case CONNECTION_BODY:
		return on_body(c, data, len);
	case CONNECTION_PARKED:
		return continue_parked(c);
	case CONNECTION_LINGERING:
		return server_linger(c, len) ? MHD_YES : MHD_NO;
	case CONNECTION_IDLE:
	case CONNECTION_SENDING:
		*len = 0; /* what follows an early answer */
		return MHD_YES;
	}
	return MHD_NO;
}

/* The request line is there; headers and body are not. */
static void *on_target(void *cls, const char *target, struct MHD_Connection *mhd)
{
	struct server *s = cls;
	struct connection *c = connection_of(mhd);
	if (!c)
		return NULL;
	if (c->phase != CONNECTION_IDLE)
		exchange_reset(c->exchange);
	else if (c->exchange->started_ns !=
	         0) /* the first request's deadline counts from the accept */
		connection_set_deadline(c, s->config.header_timeout_ms);
	c->phase = CONNECTION_HEADERS;
	exchange_begin(c->exchange, target);
	return c;
}

/* Why an upload ends early is told here: the reaper only closes the socket. */
static void end_flow(struct connection *c)
{
	int64_t deadline_ms = atomic_load(&c->deadline_ms);
	if (deadline_ms > 0 && deadline_ms < clock_now_ms()) {
		struct err e = {0};
		err_set(&e, ERR_REQUEST_TIMEOUT, "the client was too slow");
		flow_cancel(c->flow, ERR_REQUEST_TIMEOUT, &e);
	}
	connections_set_flow(&c->server->connections, c, NULL);
}

/* An upload's work goes on to its end without a client. */
static void leave_exchange(struct connection *c)
{
	struct exchange *left = c->exchange;
	connections_set_exchange(
	        &c->server->connections, c, exchange_new(&c->server->dispatcher, c, &c->peer));
	exchange_unref(left);
}

static void on_completed(
        void *cls, struct MHD_Connection *mhd, void **request, enum MHD_RequestTerminationCode code)
{
	(void)mhd, (void)code;
	struct server *s = cls;
	struct connection *c = *request;
	*request = NULL;
	if (!c)
		return;
	if (c->stream)
		connections_set_stream(&s->connections, c, NULL);
	if (c->flow)
		end_flow(c);
	if (c->phase != CONNECTION_HEADERS)
		atomic_fetch_sub(&s->connections.active, 1);
	if (!exchange_end(c->exchange))
		leave_exchange(c);
	c->phase = CONNECTION_IDLE;
	connection_set_deadline(c, s->config.idle_timeout_ms);
}

/* Paths and queries are decoded by us, segment by segment. */
static size_t keep_escapes(void *cls, struct MHD_Connection *mhd, char *text)
{
	(void)cls, (void)mhd;
	return strlen(text);
}

static void log_library(void *cls, const char *format, va_list args)
{
	(void)cls;
	char line[400];
	vsnprintf(line, sizeof(line), format, args);
	line[strcspn(line, "\n")] = '\0';
	log_debug("http: %s", line);
}

/* ---- start and stop ---- */

static struct MHD_Daemon *start_daemon(struct server *s, int fd, unsigned int threads, bool has_tls)
{
	unsigned int flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME |
	                     MHD_USE_ITC | MHD_USE_ERROR_LOG | (has_tls ? MHD_USE_TLS : 0);
	unsigned int limit = (unsigned int)s->config.max_connections * threads + 16;
	struct MHD_OptionItem options[] = {
	        {MHD_OPTION_EXTERNAL_LOGGER, (intptr_t)log_library, s},
	        {MHD_OPTION_LISTEN_SOCKET, fd, NULL},
	        {MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)on_connection, s},
	        {MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)on_completed, s},
	        {MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)on_target, s},
	        {MHD_OPTION_UNESCAPE_CALLBACK, (intptr_t)keep_escapes, s},
	        {MHD_OPTION_CONNECTION_MEMORY_LIMIT, MEMORY_PER_CONNECTION, NULL},
	        {MHD_OPTION_CONNECTION_LIMIT, (intptr_t)limit, NULL},
	        {MHD_OPTION_THREAD_POOL_SIZE, threads > 1 ? (intptr_t)threads : 0, NULL},
	        {has_tls ? MHD_OPTION_HTTPS_PRIORITIES : MHD_OPTION_END, 0,
	                (void *)(uintptr_t)TLS_PRIORITIES},
	        {MHD_OPTION_HTTPS_CERT_CALLBACK, 0, (void *)(uintptr_t)server_tls_retrieve},
	        {MHD_OPTION_END, 0, NULL},
	};
	return MHD_start_daemon(
	        flags, 0, on_accept, s, on_request, s, MHD_OPTION_ARRAY, options, MHD_OPTION_END);
}

static unsigned int count_threads(int wanted)
{
	long n = wanted > 0 ? wanted : sysconf(_SC_NPROCESSORS_ONLN);
	return n < 1 ? 1 : n > 4 ? 4 : (unsigned int)n;
}

static int start_tcp(struct server *s, const struct server_config *config, struct err *e)
{
	if (config->inherited_tcp_fd < 0 &&
	        (!config->listen || strcmp(config->listen, "none") == 0))
		return 0;
	CLEANUP(cleanup_fd) int fd = -1;
	int rc = 0;
	if (config->inherited_tcp_fd >= 0) {
		rc = server_check_inherited(config->inherited_tcp_fd, s->tls, &s->port, e);
		fd = config->inherited_tcp_fd;
	} else {
		rc = server_listen_tcp(config->listen, s->tls, &fd, &s->port, e);
	}
	if (rc < 0)
		return rc;
	s->tcp = start_daemon(s, fd, count_threads(config->threads), s->tls);
	if (!s->tcp)
		return err_set(
		        e, ERR_INTERNAL, "the HTTP server on %s did not start", config->listen);
	fd = -1;
	return 0;
}

static int start_unix(struct server *s, const struct server_config *config, struct err *e)
{
	if (config->inherited_unix_fd < 0 && !config->socket_path)
		return 0;
	CLEANUP(cleanup_fd) int fd = config->inherited_unix_fd;
	if (fd < 0) {
		int rc = server_listen_unix(config->socket_path, config->socket_group, &fd, e);
		if (rc < 0)
			return rc;
		s->has_socket_file = true;
	}
	s->unix_socket = start_daemon(s, fd, 1, false);
	if (!s->unix_socket)
		return err_set(
		        e, ERR_INTERNAL, "the HTTP server on %s did not start", s->socket_path);
	fd = -1;
	return 0;
}

static int start_parts(struct server *s, const struct server_config *config,
        const struct route_table *const *tables, struct err *e)
{
	int rc = router_new(tables, &s->dispatcher.router, e);
	if (rc < 0)
		return rc;
	s->dispatcher.metrics = metrics_new(router_count(s->dispatcher.router));
	s->dispatcher.auth = auth_new();
	s->dispatcher.tables = tables;
	s->dispatcher.resume = resume;
	struct json_writer document = {0};
	openapi_write(tables, &document);
	s->dispatcher.openapi = str_take(&document.out);
	if (!config->tls_certificate != !config->tls_key)
		return err_set(e, ERR_INVALID, "TLS needs both a certificate and a key");
	if (config->tls_certificate)
		rc = server_tls_new(config->tls_certificate, config->tls_key, &s->tls, e);
	return rc;
}

/* Writer thread, after a commit and before it is answered. */
static void on_change(void *arg)
{
	(void)arg;
	auth_forget_tokens();
	stream_wake_all();
}

static int fallback(int value, int when_zero)
{
	return value > 0 ? value : when_zero;
}

static void take_config(struct server *s, const struct server_config *config)
{
	s->config = *config;
	s->config.max_connections = fallback(config->max_connections, 1000);
	s->config.max_connections_per_ip = fallback(config->max_connections_per_ip, 200);
	s->config.header_timeout_ms = fallback(config->header_timeout_ms, 5000);
	s->config.body_timeout_ms = fallback(config->body_timeout_ms, 30000);
	s->config.idle_timeout_ms = fallback(config->idle_timeout_ms, 60000);
	s->tcp_listener.is_inherited = config->inherited_tcp_fd >= 0;
	s->unix_listener.is_inherited = config->inherited_unix_fd >= 0;
	s->socket_path = xstrdup(config->socket_path);
	s->socket_group = xstrdup(config->socket_group);
}

static int choose_tick_ms(const struct server_config *config)
{
	int tick_ms = config->header_timeout_ms / 4;
	return tick_ms < 10 ? 10 : tick_ms > TICK_MAX_MS ? TICK_MAX_MS : tick_ms;
}

int server_start(const struct server_config *config, struct app *app,
        const struct route_table *const *tables, struct server **ret_server, struct err *e)
{
	struct server *s = xcalloc(1, sizeof(*s));
	take_config(s, config);
	s->dispatcher.app = app;
	connections_start(&s->connections, choose_tick_ms(&s->config));
	int rc = start_parts(s, config, tables, e);
	if (rc == 0)
		rc = start_tcp(s, config, e);
	if (rc == 0)
		rc = start_unix(s, config, e);
	if (rc < 0) {
		server_free(s);
		return rc;
	}
	change_feed_listen((struct change_listener){.wake = on_change});
	*ret_server = s;
	return 0;
}

int server_port(const struct server *s)
{
	return s->port;
}

int server_reload_tls(struct server *s, struct err *e)
{
	return s->tls ? server_tls_reload(s->tls, e) : 0;
}

/* No new connections. The library's threads may still look at the socket, so it stays open until
 * they have ended. */
static void quiesce(struct MHD_Daemon *daemon, struct listener *listener)
{
	listener->fd = daemon ? MHD_quiesce_daemon(daemon) : -1;
	if (listener->fd >= 0 && !listener->is_inherited)
		shutdown(listener->fd, SHUT_RDWR); /* an inherited one is not ours to end */
}

static void stop_daemon(struct MHD_Daemon **daemon, const struct listener *listener)
{
	if (*daemon)
		MHD_stop_daemon(*daemon);
	*daemon = NULL;
	if (listener->fd >= 0)
		close(listener->fd);
}

void server_stop(struct server *s, int timeout_ms)
{
	if (!s->tcp && !s->unix_socket)
		return;
	int64_t deadline_ms = clock_now_ns() / 1000000 + timeout_ms;
	quiesce(s->tcp, &s->tcp_listener);
	quiesce(s->unix_socket, &s->unix_listener);
	if (s->has_socket_file)
		unlink(s->socket_path);
	connections_close_streams(&s->connections);
	connections_wait_quiet(&s->connections, deadline_ms);
	connections_expire_all(&s->connections);
	connections_wait_quiet(&s->connections, clock_now_ns() / 1000000 + LAST_ANSWERS_MS);
	stop_daemon(&s->tcp, &s->tcp_listener);
	stop_daemon(&s->unix_socket, &s->unix_listener);
}

void server_free(struct server *s)
{
	if (!s)
		return;
	server_stop(s, 0);
	connections_stop(&s->connections);
	free(s->dispatcher.openapi);
	server_tls_free(s->tls);
	router_free(s->dispatcher.router);
	metrics_free(s->dispatcher.metrics);
	auth_free(s->dispatcher.auth);
	free(s->socket_path);
	free(s->socket_group);
	free(s);
}

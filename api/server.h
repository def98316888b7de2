/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP server: listeners, connections, deadlines. The only part that knows libmicrohttpd. */
#pragma once

#include "api/route.h"

struct server;

struct server_config {
	const char *listen;                      /* "ADDR:PORT", "[ADDR6]:PORT" or "none" */
	const char *socket_path;                 /* unix socket; NULL: none */
	const char *socket_group;                /* group whose members are admins there, or NULL */
	const char *tls_certificate, *tls_key;   /* PEM files; both or none */
	int inherited_tcp_fd, inherited_unix_fd; /* from socket activation; -1: none */
	int threads;                             /* 0: clamp(cores, 1, 4) */
	int max_connections;                     /* 1000 */
	int max_connections_per_ip;              /* 200; not for the unix socket */
	int header_timeout_ms; /* 5000: absolute, from accept to the end of the headers */
	int body_timeout_ms;   /* 30000: absolute */
	int idle_timeout_ms;   /* 60000: between requests */
};

/*
 * Checks the routes (a route without permission or ROUTE_PUBLIC aborts), binds, starts. TCP beyond
 * loopback without TLS is refused with ERR_INVALID. Tables are borrowed for ever; they end with tag
 * NULL.
 */
int server_start(const struct server_config *config, struct app *app,
        const struct route_table *const *tables, struct server **ret_server, struct err *e);
/* The TCP port that was bound (for port 0), 0 if none. */
int server_port(const struct server *s);
/* Reads certificate and key again; on error the old pair stays. Open connections are untouched. */
int server_reload_tls(struct server *s, struct err *e);
/* Closes streams, refuses new connections, waits up to timeout_ms for requests in flight, stops. */
void server_stop(struct server *s, int timeout_ms);
void server_free(struct server *s);

/* Writes the OpenAPI 3.1 document of the tables. Pure. */
void openapi_write(const struct route_table *const *tables, struct json_writer *w);
/* All tables of this program, ending with NULL: the one list. */
extern const struct route_table *const route_tables[];

/* SPDX-License-Identifier: Apache-2.0 */
/* The server's own parts: listening sockets, certificates, the list of connections. Free of the
 * HTTP library. */
#pragma once

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <pthread.h>

#include "api/flow.h"
#include "base/clock.h"

/* ---- server_socket.c ---- */
/*
 * Listens on "ADDR:PORT" or "[ADDR6]:PORT". Beyond loopback only with TLS: ERR_INVALID. *ret_port
 * is the port that was bound.
 */
int server_listen_tcp(const char *address, bool has_tls, int *ret_fd, int *ret_port, struct err *e);
/* The same rule for a socket that was inherited. */
int server_check_inherited(int fd, bool has_tls, int *ret_port, struct err *e);
/* Listens on a unix socket, mode 0660 and the group's if given. A socket file without a listener is
 * replaced; a live one is ERR_IN_USE. */
int server_listen_unix(const char *path, const char *group, int *ret_fd, struct err *e);
/* Who is at the other end of a unix socket. `group`: whose members are admins, or NULL. */
void server_identify_unix_peer(int fd, const char *group, struct peer *ret_peer);

/* ---- server_tls.c ---- */
struct server_tls;

int server_tls_new(
        const char *certificate, const char *key, struct server_tls **ret_tls, struct err *e);
void server_tls_free(struct server_tls *tls); /* accepts NULL */
/* Reads the files again; on error the old pair stays. Any thread. */
int server_tls_reload(struct server_tls *tls, struct err *e);
/* gnutls asks which certificate to present: gnutls_certificate_retrieve_function2. */
int server_tls_retrieve(gnutls_session_t session, const gnutls_datum_t *authorities,
        int n_authorities, const gnutls_pk_algorithm_t *algorithms, int n_algorithms,
        gnutls_pcert_st **ret_chain, unsigned int *ret_chain_len, gnutls_privkey_t *ret_key);

/* ---- server_connections.c ---- */
enum connection_phase {
	CONNECTION_IDLE,    /* between requests */
	CONNECTION_HEADERS, /* the request line came */
	CONNECTION_BODY,
	CONNECTION_PARKED,
	CONNECTION_SENDING,
	CONNECTION_LINGERING, /* an answer was sent in the middle of the body; the rest is dropped */
};

/* Owned by its HTTP thread, but for what is marked. */
struct connection {
	struct connection *next, *previous; /* the list's lock */
	void *handle;                       /* the library's connection */
	struct server *server;
	int fd;
	struct peer peer;
	enum connection_phase phase;
	struct exchange *exchange; /* owned; replaced under the list's lock */
	struct stream *stream;     /* the exchange's, while it is sent; the list's lock */
	struct flow *flow;         /* the exchange's, while its bytes move; the list's lock */
	bool has_body_bytes, body_ended;
	int64_t window_bytes;        /* of an upload since the deadline was set */
	size_t n_dropped;            /* lingering */
	_Atomic int64_t deadline_ms; /* 0: none. When it passes, the socket is shut down */
};

static inline void connection_set_deadline(struct connection *c, int64_t timeout_ms)
{
	atomic_store_explicit(&c->deadline_ms, timeout_ms > 0 ? clock_now_ms() + timeout_ms : 0,
	        memory_order_relaxed);
}

/*
 * All connections of a server and the thread that enforces their deadlines. `lock` guards the list
 * and what is marked above; the library's own locks come after it.
 */
struct connections {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct connection *first;
	int n;
	_Atomic bool is_stopping;
	bool is_final; /* nothing may stay parked any more */
	int tick_ms;
	pthread_t reaper;
	_Atomic int active; /* requests between headers and the answer's end */
};

void connections_start(struct connections *all, int tick_ms);
/* Ends the reaper; no connection is left. */
void connections_stop(struct connections *all);
void connections_add(struct connections *all, struct connection *c);
void connections_remove(struct connections *all, struct connection *c);
/* Whether one more from this address (NULL: the unix socket) fits. */
bool connections_may_add(
        struct connections *all, const char *address, int max, int max_per_address);
/* The connection begins, or ends, to send a stream. */
void connections_set_stream(struct connections *all, struct connection *c, struct stream *stream);
/* The same for an upload or a download. */
void connections_set_flow(struct connections *all, struct connection *c, struct flow *flow);
/* Replaces an exchange that its job may still use. */
void connections_set_exchange(struct connections *all, struct connection *c, struct exchange *ex);
/* Ends all streams and those that begin from now on. */
void connections_close_streams(struct connections *all);
/* Waits until no request is active, at most until the deadline. */
void connections_wait_quiet(struct connections *all, int64_t deadline_ms);
/* Resumes everything parked now and from now on. */
void connections_expire_all(struct connections *all);
/* After a connection was parked: whether it may stay so. */
void connections_check_parked(struct connections *all, struct connection *c);

/* ---- server_flow.c: the connection's HTTP thread ---- */
struct MHD_Response;
/* A piece of an upload's body; *len is what was left of it. FLOW_FULL: the connection was suspended. FLOW_OVER: nobody
 * wants more. */
enum flow_result server_take_upload(
        struct connection *c, const char *data, size_t *len, int timeout_ms);
/* Sends the answer before the request has ended; the connection lingers from now on. */
bool server_send_early(struct connection *c);
/* Drops a piece of the body; false: it is time to close. */
bool server_linger(struct connection *c, size_t *len);
struct MHD_Response *server_make_download(struct connection *c);

/* SPDX-License-Identifier: Apache-2.0 */
/* The transport: framing, deadlines, caps, vanishing clients, sockets, certificates. Raw bytes over
 * real sockets. */
#include "api_world.h"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <grp.h>
#include <sys/wait.h>

#include "api/server_internal.h"

#define GET_A "GET /api/v1/things/a HTTP/1.1\r\nHost: x\r\n\r\n"

/* Sends on the unix socket and expects that status and a closed connection. */
static void expect_refused(const char *text, int status)
{
	int fd = connect_unix();
	send_text(fd, text);
	struct answer a = read_all(fd);
	if (a.status != status)
		fail_msg("status %d instead of %d for: %s\n%s", a.status, status, text, a.text);
	answer_done(&a);
	close(fd);
}

static void test_ambiguous_framing_is_refused_and_closed(void **state)
{
	(void)state;
	expect_refused(
	        "POST /api/v1/things HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
	        "Content-Length: 12\r\nContent-Length: 2\r\n\r\n{\"name\":\"a\"}",
	        400);
	expect_refused(
	        "POST /api/v1/things HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
	        "Content-Length: 12\r\nTransfer-Encoding: "
	        "chunked\r\n\r\nc\r\n{\"name\":\"a\"}\r\n0\r\n\r\n",
	        400);
	expect_refused("GET /api/v1/things/a HTTP/1.1\r\n\r\n", 400);
	expect_refused("GET /api/v1/things/a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400);
	expect_refused(
	        "POST /api/v1/things HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
	        "Transfer-Encoding: gzip, chunked\r\n\r\nc\r\n{\"name\":\"a\"}\r\n0\r\n\r\n",
	        400);
	expect_refused("GET http://x/api/v1/things/a HTTP/1.1\r\nHost: x\r\n\r\n", 400);
	assert_int_equal(world.things_made, 0);
}

static void test_bad_chunk_has_no_effect(void **state)
{
	(void)state;
	expect_refused(
	        "POST /api/v1/things HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
	        "Transfer-Encoding: chunked\r\n\r\nZZ\r\n{\"name\":\"a\"}\r\n0\r\n\r\n",
	        400);
	assert_int_equal(world.things_made, 0);
}

static void test_chunked_body_works(void **state)
{
	(void)state;
	int fd = connect_unix();
	send_text(fd,
	        "POST /api/v1/things HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
	        "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"nam\r\n7\r\ne\":\"a\"}\r\n0\r\n\r\n");
	expect(read_answer(fd), 201, NULL);
	close(fd);
}

static void test_truncated_body_has_no_effect(void **state)
{
	(void)state;
	int fd = connect_unix();
	send_text(fd, "POST /api/v1/things HTTP/1.1\r\nHost: x\r\nContent-Type: "
	              "application/json\r\nContent-Length: 50\r\n\r\n{\"name\":\"a\"}");
	shutdown(fd, SHUT_WR);
	struct answer a = read_all(fd);
	assert_true(a.is_closed);
	assert_int_not_equal(a.status, 201);
	answer_done(&a);
	close(fd);
	assert_int_equal(world.things_made, 0);
}

static void test_too_large_body_is_413(void **state)
{
	(void)state;
	size_t size = BODY_MAX + 1;
	char *body = xcalloc(1, size);
	memset(body, ' ', size);
	int fd = connect_unix();
	char head[200];
	snprintf(head, sizeof(head),
	        "POST /api/v1/things HTTP/1.1\r\nHost: x\r\nContent-Type: "
	        "application/json\r\nContent-Length: %zu\r\n\r\n",
	        size);
	send_text(fd, head);
	send_bytes(fd, body, size);
	expect(read_answer(fd), 413, "too_large");
	send_text(fd, "POST /api/v1/things HTTP/1.1\r\nHost: x\r\nContent-Type: "
	              "application/json\r\nTransfer-Encoding: chunked\r\n\r\n100001\r\n");
	send_bytes(fd, body, size);
	send_text(fd, "\r\n0\r\n\r\n");
	expect(read_answer(fd), 413, "too_large");
	close(fd);
	free(body);
	expect_refused("POST /api/v1/things HTTP/1.1\r\nHost: x\r\nContent-Type: "
	               "application/json\r\nContent-Length: 99999999999\r\n\r\n",
	        413);
	expect(ask("GET", "/api/v1/things/a", "", NULL), 200, NULL);
}

static void test_body_of_the_limit_is_read(void **state)
{
	(void)state;
	char *body = xcalloc(1, BODY_MAX + 1);
	memset(body, ' ', BODY_MAX);
	memcpy(body, "{\"name\":\"a\"}", 12);
	expect(ask("POST", "/api/v1/things", "", body), 201, NULL);
	free(body);
}

static void test_long_target_is_refused(void **state)
{
	(void)state;
	char *target = xcalloc(1, 60000);
	memset(target, 'a', 59999);
	memcpy(target, "/api/v1/things/", 15);
	target[3000] = '\0';
	expect(ask("GET", target, "", NULL), 414, "uri_too_long");
	target[3000] = 'a';
	int fd = connect_unix();
	send_text(fd, "GET ");
	send_text(fd, target);
	send_text(fd, " HTTP/1.1\r\nHost: x\r\n\r\n");
	struct answer a = read_all(fd);
	assert_true(a.status == 414 || a.status == 431);
	answer_done(&a);
	close(fd);
	free(target);
}

static void test_pipelined_requests_are_answered_in_order(void **state)
{
	(void)state;
	int fd = connect_unix();
	send_text(fd, "GET /api/v1/things/one HTTP/1.1\r\nHost: x\r\n\r\n"
	              "POST /api/v1/things HTTP/1.1\r\nHost: x\r\nContent-Type: "
	              "application/json\r\nContent-Length: 14\r\n\r\n{\"name\":\"two\"}"
	              "GET /api/v1/things/three HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
	struct answer a = read_all(fd);
	const char *one = strstr(a.text, "\"one\""), *two = strstr(a.text, "\"two\""),
	           *three = strstr(a.text, "\"three\"");
	assert_non_null(one);
	assert_true(two > one);
	assert_true(three > two);
	answer_done(&a);
	close(fd);
}

static void test_errors_of_the_library_are_closed(void **state)
{
	(void)state;
	expect_refused("GET /api/v1/things/a HTTP/9.9\r\nHost: x\r\n\r\n", 505);
	expect(ask("GET", "/api/v1/things/a", "", NULL), 200, NULL);
}

/* ---- deadlines ---- */

static int setup_short(void **state)
{
	(void)state;
	world_start();
	world.config.header_timeout_ms = 300;
	world.config.body_timeout_ms = 300;
	world.config.idle_timeout_ms = 300;
	world_serve();
	return 0;
}

/* Sends a byte now and then; the milliseconds until the server closed. */
static int64_t drip(int fd, const char *text)
{
	int64_t start = clock_now_ns();
	for (;;) {
		send(fd, text, *text ? 1 : 0, MSG_NOSIGNAL);
		text += *text != '\0';
		struct pollfd p = {.fd = fd, .events = POLLIN};
		char buffer[4096];
		if (poll(&p, 1, 30) == 1 && recv(fd, buffer, sizeof(buffer), 0) <= 0)
			return (clock_now_ns() - start) / 1000000;
		if (clock_now_ns() - start > 10000000000)
			return INT64_MAX;
	}
}

static void test_dripped_header_is_cut_off(void **state)
{
	(void)state;
	int fd = connect_tcp();
	char header[2000];
	snprintf(header, sizeof(header), "GET /%0*d HTTP/1.1\r\nHost: x\r\n", 1900, 0);
	int64_t ms = drip(fd, header);
	assert_in_range(ms, 150, 5000);
	close(fd);
}

static void test_dripped_header_after_the_request_line_is_cut_off(void **state)
{
	(void)state;
	int fd = connect_unix();
	send_text(fd, GET_A);
	expect(read_answer(fd), 200, NULL);
	send_text(fd, "GET /api/v1/things/a HTTP/1.1\r\nX-Long: ");
	assert_in_range(drip(fd, "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklm"
	                         "nopqrstuvwxyz"),
	        150, 5000);
	close(fd);
}

static void test_slow_body_is_cut_off(void **state)
{
	(void)state;
	int fd = connect_unix();
	send_text(fd, "POST /api/v1/things HTTP/1.1\r\nHost: x\r\nContent-Type: "
	              "application/json\r\nContent-Length: 2000\r\n\r\n");
	assert_in_range(
	        drip(fd, "{ \"name\" :                                                        "),
	        150, 5000);
	close(fd);
	assert_int_equal(world.things_made, 0);
}

static void test_idle_connection_is_closed(void **state)
{
	(void)state;
	int fd = connect_unix();
	send_text(fd, GET_A);
	struct answer a = read_all(fd);
	assert_int_equal(a.status, 200);
	assert_true(a.is_closed);
	answer_done(&a);
	close(fd);
}

/* ---- caps ---- */

static int setup_capped(void **state)
{
	(void)state;
	world_start();
	world.config.max_connections = 8;
	world.config.max_connections_per_ip = 4;
	world_serve();
	return 0;
}

static bool is_served(int fd)
{
	send_text(fd, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
	struct str text = {0};
	bool is_closed;
	assert_true(read_until(fd, &text, is_one_answer, &is_closed));
	bool is_answer = text.len > 0;
	str_done(&text);
	return is_answer;
}

static void test_connections_per_address_are_capped(void **state)
{
	(void)state;
	int fds[4];
	for (size_t i = 0; i < 4; i++) {
		fds[i] = connect_tcp();
		assert_true(is_served(fds[i]));
	}
	int refused = connect_tcp();
	assert_false(is_served(refused));
	close(refused);
	int other = connect_unix();
	assert_true(is_served(other));
	close(other);
	for (size_t i = 0; i < 4; i++)
		close(fds[i]);
}

static void test_connections_are_capped(void **state)
{
	(void)state;
	int fds[8];
	for (size_t i = 0; i < 8; i++) {
		fds[i] = connect_unix();
		assert_true(is_served(fds[i]));
	}
	int refused = connect_unix();
	assert_false(is_served(refused));
	close(refused);
	for (size_t i = 0; i < 8; i++)
		close(fds[i]);
}

/* ---- clients that vanish while their request is parked ---- */

static void test_vanished_clients_do_no_harm(void **state)
{
	(void)state;
	int gate = connect_unix();
	send_text(gate, "POST /api/v1/gates HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
	sem_wait(&world.entered);
	enum { CLIENTS = 300 };
	int fds[CLIENTS];
	for (int i = 0; i < CLIENTS; i++) {
		char text[300], body[40];
		snprintf(body, sizeof(body), "{\"name\":\"c%d\"}", i);
		snprintf(text, sizeof(text),
		        "POST /api/v1/things HTTP/1.1\r\nHost: x\r\nContent-Type: "
		        "application/json\r\nContent-Length: %zu\r\n\r\n%s",
		        strlen(body), body);
		fds[i] = connect_unix();
		send_text(fds[i], text);
	}
	struct linger linger = {.l_onoff = 1};
	for (int i = 0; i < CLIENTS; i++) {
		setsockopt(fds[i], SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
		close(fds[i]);
	}
	sem_post(&world.go_on);
	expect(read_answer(gate), 204, NULL);
	close(gate);
	/* whatever had been read before the client left is done, and the server goes on */
	expect(ask("POST", "/api/v1/things", "", "{\"name\":\"last\"}"), 201, NULL);
	assert_int_equal(count_rows("SELECT count(*) FROM meta"), world.things_made);
}

static void test_clients_that_vanish_while_waiting_do_no_harm(void **state)
{
	(void)state;
	for (int i = 0; i < 100; i++) {
		int fd = connect_unix();
		send_text(fd, "POST /api/v1/things/b/work?wait=60 HTTP/1.1\r\nHost: "
		              "x\r\nContent-Length: 0\r\n\r\n");
		close(fd);
	}
	expect(ask("POST", "/api/v1/things/held/work", "", NULL), 202, NULL);
	int fds[50];
	for (int i = 0; i < 50; i++) {
		fds[i] = connect_unix();
		send_text(fds[i], "POST /api/v1/things/held/work?wait=60 HTTP/1.1\r\nHost: "
		                  "x\r\nContent-Length: 0\r\n\r\n");
	}
	for (int i = 0; i < 50; i++)
		close(fds[i]);
	expect(ask("GET", "/api/v1/things/a", "", NULL), 200, NULL);
}

static void test_stop_answers_what_is_parked(void **state)
{
	(void)state;
	int waiting = connect_unix();
	send_text(waiting, "POST /api/v1/things/held/work?wait=60 HTTP/1.1\r\nHost: "
	                   "x\r\nContent-Length: 0\r\n\r\n");
	/* Its step may begin before that is recorded, which the gate would hold up. */
	while (world.steps == 0 ||
	        count_rows("SELECT count(*) FROM operation WHERE state = 'running'") == 0)
		usleep(1000);
	int gate = connect_unix();
	send_text(gate, "POST /api/v1/gates HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
	sem_wait(&world.entered);
	server_stop(world.server, 50);
	expect(read_answer(waiting), 202, "\"state\":\"running\"");
	expect(read_answer(gate), 504, "deadline_exceeded");
	sem_post(&world.go_on); /* the job ends after its connection is gone */
	close(waiting);
	close(gate);
	assert_int_not_equal(access(world.socket_path, F_OK), 0);
}

/* ---- sockets ---- */

static int try_start(struct server_config config, struct err *e)
{
	struct server *server = NULL;
	int rc = server_start(&config, &world.app, test_tables, &server, e);
	server_free(server);
	return rc;
}

static void test_tcp_beyond_loopback_needs_tls(void **state)
{
	(void)state;
	struct err e = {0};
	struct server_config config = {.inherited_tcp_fd = -1, .inherited_unix_fd = -1};
	static const char *const refused[] = {"0.0.0.0:0", "[::]:0", "192.0.2.1:80",
	        "[::ffff:10.0.0.1]:80", "nonsense", "127.0.0.1"};
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		config.listen = refused[i];
		assert_int_equal(try_start(config, &e), ERR_INVALID);
	}
	config.listen = "127.0.0.2:0";
	assert_int_equal(try_start(config, &e), 0);
	config.listen = "none";
	assert_int_equal(try_start(config, &e), 0);
}

static void test_live_socket_is_not_taken_over(void **state)
{
	(void)state;
	struct err e = {0};
	struct server_config config = {
	        .socket_path = world.socket_path, .inherited_tcp_fd = -1, .inherited_unix_fd = -1};
	assert_int_equal(try_start(config, &e), ERR_IN_USE);
	expect(ask("GET", "/healthz", "", NULL), 200, NULL);
	struct stat st;
	assert_int_equal(stat(world.socket_path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
}

static void test_stale_socket_is_replaced_but_no_other_file(void **state)
{
	(void)state;
	struct err e = {0};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *path = address.sun_path;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/stale.sock", world.dir);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	struct server_config config = {
	        .socket_path = path, .inherited_tcp_fd = -1, .inherited_unix_fd = -1};
	assert_int_equal(try_start(config, &e), 0);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fclose(file);
	assert_int_equal(try_start(config, &e), ERR_IN_USE);
	assert_int_equal(access(path, F_OK), 0);
}

/* Asks as another user; the status. */
static int ask_as(uid_t uid, gid_t gid)
{
	int pipes[2], status = 0;
	assert_int_equal(pipe(pipes), 0);
	pid_t pid = fork();
	if (pid == 0) {
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);
		struct sockaddr_un address = {.sun_family = AF_UNIX};
		snprintf(address.sun_path, sizeof(address.sun_path), "%s", world.socket_path);
		if (setgroups(0, NULL) < 0 || setgid(gid) < 0 || setuid(uid) < 0 ||
		        connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
			_exit(1);
		char text[512] = "";
		if (write(fd, GET_A, strlen(GET_A)) < 0 || read(fd, text, sizeof(text) - 1) < 12)
			_exit(1);
		status = atoi(text + 9);
		_exit(write(pipes[1], &status, sizeof(status)) == sizeof(status) ? 0 : 1);
	}
	close(pipes[1]);
	if (read(pipes[0], &status, sizeof(status)) != sizeof(status))
		status = -1;
	close(pipes[0]);
	waitpid(pid, NULL, 0);
	return status;
}

static int setup_group(void **state)
{
	(void)state;
	world_start();
	world.config.socket_group = "daemon";
	world_serve();
	return 0;
}

static void test_peer_credentials_decide(void **state)
{
	(void)state;
	if (getuid() != 0)
		skip();
	assert_int_equal(chmod(world.dir, 0755), 0);
	assert_int_equal(chmod(world.socket_path, 0666), 0);
	struct group *admins = getgrnam("daemon");
	assert_non_null(admins);
	assert_int_equal(ask_as(0, 0), 200);
	assert_int_equal(ask_as(65534, admins->gr_gid), 200);
	assert_int_equal(ask_as(65534, 65534), 401);
}

static void test_tcp_needs_a_token(void **state)
{
	(void)state;
	char secret[TOKEN_SECRET_SIZE], text[300];
	world_make_token("ci", TOKEN_VIEWER, secret);
	int fd = connect_tcp();
	send_text(fd, GET_A);
	expect(read_answer(fd), 401, "WWW-Authenticate: Bearer");
	snprintf(text, sizeof(text),
	        "GET /api/v1/things/a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n",
	        secret);
	send_text(fd, text);
	expect(read_answer(fd), 200, NULL);
	snprintf(text, sizeof(text),
	        "POST /api/v1/gates HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
	        "%s\r\nContent-Length: 0\r\n\r\n",
	        secret);
	send_text(fd, text);
	expect(read_answer(fd), 403, "host.write");
	expect(ask("DELETE", "/api/v1/tokens/ci", "", NULL), 204, NULL);
	snprintf(text, sizeof(text),
	        "GET /api/v1/things/a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n",
	        secret);
	send_text(fd, text);
	expect(read_answer(fd), 401, NULL);
	for (int i = 0; i < AUTH_FAILURES_MAX; i++) {
		send_text(fd, text);
		struct answer a = read_answer(fd);
		answer_done(&a);
	}
	send_text(fd, text);
	expect(read_answer(fd), 429, "Retry-After: ");
	close(fd);
}

/* ---- TLS ---- */

static void make_certificate(const char *name)
{
	char command[600];
	snprintf(command, sizeof(command),
	        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
	        "-subj /CN=%s "
	        "-keyout %s/key.pem -out %s/cert.pem 2>/dev/null",
	        name, world.dir, world.dir);
	assert_int_equal(system(command), 0);
}

struct tls_client {
	gnutls_session_t session;
	gnutls_certificate_credentials_t credentials;
	int fd;
};

static int tls_connect(struct tls_client *c, const char *priorities)
{
	c->fd = connect_tcp();
	gnutls_certificate_allocate_credentials(&c->credentials);
	gnutls_init(&c->session, GNUTLS_CLIENT);
	gnutls_priority_set_direct(c->session, priorities, NULL);
	gnutls_credentials_set(c->session, GNUTLS_CRD_CERTIFICATE, c->credentials);
	gnutls_transport_set_int(c->session, c->fd);
	int rc;
	do
		rc = gnutls_handshake(c->session);
	while (rc < 0 && !gnutls_error_is_fatal(rc));
	return rc;
}

static void tls_close(struct tls_client *c)
{
	close(c->fd);
	gnutls_deinit(c->session);
	gnutls_certificate_free_credentials(c->credentials);
}

static void tls_expect_name(struct tls_client *c, const char *name)
{
	unsigned int n = 0;
	const gnutls_datum_t *peers = gnutls_certificate_get_peers(c->session, &n);
	assert_true(n > 0);
	gnutls_x509_crt_t certificate;
	gnutls_x509_crt_init(&certificate);
	gnutls_x509_crt_import(certificate, &peers[0], GNUTLS_X509_FMT_DER);
	char dn[100];
	size_t size = sizeof(dn);
	gnutls_x509_crt_get_dn(certificate, dn, &size);
	gnutls_x509_crt_deinit(certificate);
	assert_non_null(strstr(dn, name));
}

static void tls_expect_health(struct tls_client *c)
{
	static const char text[] = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
	char buffer[2000] = "";
	assert_true(gnutls_record_send(c->session, text, strlen(text)) > 0);
	assert_true(gnutls_record_recv(c->session, buffer, sizeof(buffer) - 1) > 0);
	assert_non_null(strstr(buffer, " 200 "));
}

static int setup_tls(void **state)
{
	(void)state;
	static char certificate[100], key[100];
	world_start();
	make_certificate("first");
	snprintf(certificate, sizeof(certificate), "%s/cert.pem", world.dir);
	snprintf(key, sizeof(key), "%s/key.pem", world.dir);
	world.config.tls_certificate = certificate;
	world.config.tls_key = key;
	world.config.listen = "0.0.0.0:0";
	world_serve();
	return 0;
}

static void test_certificate_reloads_under_open_connections(void **state)
{
	(void)state;
	struct err e = {0};
	struct tls_client before = {0}, after = {0}, still = {0};
	assert_int_equal(tls_connect(&before, "NORMAL"), 0);
	tls_expect_name(&before, "first");
	make_certificate("second");
	must(server_reload_tls(world.server, &e), &e);
	assert_int_equal(tls_connect(&after, "NORMAL"), 0);
	tls_expect_name(&after, "second");
	tls_expect_health(&before);
	tls_expect_health(&after);
	assert_int_equal(truncate(world.config.tls_certificate, 10), 0);
	assert_int_equal(server_reload_tls(world.server, &e), ERR_INVALID);
	assert_int_equal(tls_connect(&still, "NORMAL"), 0);
	tls_expect_name(&still, "second");
	tls_close(&before);
	tls_close(&after);
	tls_close(&still);
}

static void test_old_tls_versions_are_refused(void **state)
{
	(void)state;
	struct tls_client old = {0}, good = {0};
	assert_true(tls_connect(&old, "NORMAL:-VERS-ALL:+VERS-TLS1.1:%COMPAT") < 0);
	assert_int_equal(tls_connect(&good, "NORMAL:-VERS-ALL:+VERS-TLS1.2"), 0);
	tls_expect_health(&good);
	tls_close(&old);
	tls_close(&good);
}

static void test_certificate_must_fit_its_key(void **state)
{
	(void)state;
	struct err e = {0};
	char command[300];
	snprintf(command, sizeof(command), "cp %s/cert.pem %s/other.pem", world.dir, world.dir);
	assert_int_equal(system(command), 0);
	make_certificate("second");
	snprintf(command, sizeof(command), "cp %s/other.pem %s/cert.pem", world.dir, world.dir);
	assert_int_equal(system(command), 0);
	assert_int_equal(server_reload_tls(world.server, &e), ERR_INVALID);
	assert_non_null(strstr(e.message, "does not belong"));
}

#define T(name)         cmocka_unit_test_setup_teardown(name, setup, teardown)
#define WITH(how, name) cmocka_unit_test_setup_teardown(name, setup_##how, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        T(test_ambiguous_framing_is_refused_and_closed),
	        T(test_bad_chunk_has_no_effect),
	        T(test_chunked_body_works),
	        WITH(short, test_truncated_body_has_no_effect),
	        T(test_too_large_body_is_413),
	        T(test_body_of_the_limit_is_read),
	        T(test_long_target_is_refused),
	        T(test_pipelined_requests_are_answered_in_order),
	        T(test_errors_of_the_library_are_closed),
	        WITH(short, test_dripped_header_is_cut_off),
	        WITH(short, test_dripped_header_after_the_request_line_is_cut_off),
	        WITH(short, test_slow_body_is_cut_off),
	        WITH(short, test_idle_connection_is_closed),
	        WITH(capped, test_connections_per_address_are_capped),
	        WITH(capped, test_connections_are_capped),
	        T(test_vanished_clients_do_no_harm),
	        T(test_clients_that_vanish_while_waiting_do_no_harm),
	        T(test_stop_answers_what_is_parked),
	        T(test_tcp_beyond_loopback_needs_tls),
	        T(test_live_socket_is_not_taken_over),
	        T(test_stale_socket_is_replaced_but_no_other_file),
	        WITH(group, test_peer_credentials_decide),
	        T(test_tcp_needs_a_token),
	        WITH(tls, test_certificate_reloads_under_open_connections),
	        WITH(tls, test_old_tls_versions_are_refused),
	        WITH(tls, test_certificate_must_fit_its_key),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

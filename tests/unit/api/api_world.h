/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server for tests: real SQLite, writer, readers, core loop in a thread, operation engine, and a
 * small table of routes; and a client that talks raw sockets.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <ftw.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "api/exchange.h"
#include "api/list.h"
#include "api/token.h"
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/loop.h"
#include "db/change_feed.h"
#include "db/migrations.h"
#include "db/reader.h"
#include "db/writer.h"
#include "operation/operation.h"

#define WORLD_PATIENCE_MS 15000

struct world {
	char dir[64], db_path[96], socket_path[96];
	struct loop *loop;
	pthread_t loop_thread;
	sem_t loop_ready;
	struct writer *writer;
	struct readers *readers;
	struct operation_engine *engine;
	struct app app;
	struct server_config config;
	struct server *server;
	/* What the routes of the test touch. */
	_Atomic int things_made;
	sem_t entered, go_on; /* POST /gates waits on the writer thread */
	_Atomic int steps;    /* of operations that are held */
	struct operation *_Atomic held;
};

static struct world world;

/* ---- routes ---- */

struct thing {
	char *name;
	int64_t size;
};
static const struct field thing_array[] = {
        {.name = "name",
                .type = FIELD_STRING,
                .flags = FIELD_REQUIRED,
                .offset = offsetof(struct thing, name),
                .check = field_check_name,
                .doc = "Name"},
        {.name = "size",
                .type = FIELD_INT,
                .offset = offsetof(struct thing, size),
                .min = 1,
                .max = 100,
                .default_text = "7",
                .doc = "Size"},
};
static const struct field_table thing_fields = FIELD_TABLE("Thing", struct thing, thing_array);

static const struct filter_column thing_columns[] = {
        {.name = "name", .sql = "value", .flags = FILTER_FILTERABLE | FILTER_SORTABLE},
        {.name = "id", .sql = "key", .flags = FILTER_FILTERABLE | FILTER_SORTABLE | FILTER_UNIQUE},
        {0},
};

static void write_thing(struct json_writer *w, const char *name, int64_t size)
{
	struct thing thing = {.name = (char *)(uintptr_t)name, .size = size};
	field_encode(&thing_fields, &thing, FIELD_ENCODE_ANSWER, w);
}

static int thing_get(struct request *rq, struct reply *reply, struct err *e)
{
	if (strcmp(rq->params[0], "missing") == 0)
		return err_set(e, ERR_NOT_FOUND, "no thing is named missing");
	if (strcmp(rq->params[0], "broken") == 0)
		return err_set(e, ERR_INTERNAL, "secret details of the inside");
	write_thing(&reply->body, rq->params[0], 7);
	reply_etag(reply, "11111111-1111-4111-8111-111111111111", 3);
	return 0;
}

static int thing_list(struct request *rq, struct reply *reply, struct err *e)
{
	struct list list;
	list_begin(&list, rq, reply);
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_prepare_page(
	        rq->db, "SELECT key, value FROM meta", &rq->list->page, NULL, NULL, &s, e);
	if (rc < 0)
		return rc;
	while ((rc = statement_step(s, e)) == 1) {
		struct sql_bind values[] = {
		        LIST_TEXT(statement_text(s, 1)), LIST_TEXT(statement_text(s, 0))};
		if (list_item(&list, values))
			write_thing(list_writer(&list), statement_text(s, 1), 7);
	}
	if (rc == 0)
		list_end(&list);
	return rc;
}

static int insert_thing(struct db *db, const char *name, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_prepare(db, "INSERT INTO meta (key, value) VALUES (?, ?)", &s, e);
	if (rc < 0)
		return rc;
	CLEANUP(cleanup_free) char *key = str_format("id-%s", name);
	statement_bind_text(s, 1, key);
	statement_bind_text(s, 2, name);
	rc = statement_run(s, e);
	return rc < 0 ? rc
	              : change_add(db,
	                        &(struct change){.kind = "thing",
	                                .event = "created",
	                                .object_id = key,
	                                .name = name},
	                        e);
}

static int thing_create(struct request *rq, struct reply *reply, struct err *e)
{
	const struct thing *thing = rq->body;
	int rc = insert_thing(rq->db, thing->name, e);
	if (rc < 0)
		return rc;
	world.things_made++;
	write_thing(&reply->body, thing->name, thing->size);
	reply_etag(reply, "11111111-1111-4111-8111-111111111111", 1);
	reply_location(reply, "/api/v1/things/%s", thing->name);
	return 0;
}

static int thing_patch(struct request *rq, struct reply *reply, struct err *e)
{
	int rc = request_check_match(rq, "11111111-1111-4111-8111-111111111111", 3, e);
	if (rc < 0)
		return rc;
	write_thing(
	        &reply->body, rq->params[0], json_integer_value(json_object_get(rq->json, "size")));
	return 0;
}

/* Holds the writer thread until the test lets it go. */
static int gate_pass(struct request *rq, struct reply *reply, struct err *e)
{
	(void)rq, (void)reply, (void)e;
	sem_post(&world.entered);
	sem_wait(&world.go_on);
	return 0;
}

static int work_start(struct request *rq, struct reply *reply, struct err *e)
{
	char id[UUID_TEXT_SIZE];
	int rc = request_check_busy(rq, rq->params[0], e);
	if (rc < 0)
		return rc;
	const struct operation_request request = {
	        .kind = strcmp(rq->params[0], "held") == 0 ? "thing.hold" : "thing.work",
	        .target_kind = "thing",
	        .target_id = rq->params[0],
	        .target_name = rq->params[0],
	        .requested_by = rq->principal.name,
	        .request_id = rq->id};
	rc = operation_create(rq->db, rq->app->engine, &request, id, e);
	return rc < 0 ? rc : reply_operation(rq, reply, id, e);
}

static const struct query_param thing_query[] = {
        {"depth", QUERY_INT, 1, 9, "How deep."}, {"loud", QUERY_BOOL, 0, 0, "Whether."}, {0}};

static const struct route test_array[] = {
        {.method = "GET",
                .path = "/things",
                .permission = "vm.read",
                .mode = ROUTE_READ,
                .flags = ROUTE_LIST,
                .response = &thing_fields,
                .columns = thing_columns,
                .status = 200,
                .id = "thing_list",
                .summary = "s",
                .handler = thing_list},
        {.method = "POST",
                .path = "/things",
                .permission = "vm.write",
                .mode = ROUTE_WRITE,
                .body = &thing_fields,
                .response = &thing_fields,
                .status = 201,
                .id = "thing_create",
                .summary = "s",
                .handler = thing_create},
        {.method = "GET",
                .path = "/things/{thing}",
                .permission = "vm.read",
                .mode = ROUTE_READ,
                .flags = ROUTE_FIELDS,
                .query = thing_query,
                .response = &thing_fields,
                .status = 200,
                .id = "thing_get",
                .summary = "s",
                .handler = thing_get},
        {.method = "PATCH",
                .path = "/things/{thing}",
                .permission = "vm.write",
                .mode = ROUTE_WRITE,
                .flags = ROUTE_MERGE_PATCH,
                .body = &thing_fields,
                .response = &thing_fields,
                .status = 200,
                .id = "thing_patch",
                .summary = "s",
                .handler = thing_patch},
        {.method = "POST",
                .path = "/things/{thing}/work",
                .permission = "vm.write",
                .mode = ROUTE_WRITE,
                .flags = ROUTE_OPERATION,
                .status = 202,
                .id = "thing_work",
                .summary = "s",
                .handler = work_start},
        {.method = "POST",
                .path = "/gates",
                .permission = "host.write",
                .mode = ROUTE_WRITE,
                .status = 204,
                .id = "gate_pass",
                .summary = "s",
                .handler = gate_pass},
};
static const struct route_table test_routes = {
        .tag = "Test", .routes = test_array, .n_routes = ARRAY_LEN(test_array)};
extern const struct route_table events_routes, operations_routes, system_routes, tokens_routes;
static const struct route_table *const test_tables[] = {
        &test_routes, &system_routes, &events_routes, &operations_routes, &tokens_routes, NULL};

/* ---- operations ---- */

static void step_work(struct operation *op)
{
	operation_step_done(op, 0, NULL);
}

static void step_hold(struct operation *op)
{
	world.held = op;
	world.steps++;
}

static inline void release_held(void *arg)
{
	(void)arg;
	struct operation *op = atomic_exchange(&world.held, NULL);
	if (op)
		operation_step_done(op, 0, NULL);
}

static const struct operation_step work_steps[] = {{.name = "work", .run = step_work}};
static const struct operation_step hold_steps[] = {{.name = "hold", .run = step_hold}};
static const struct operation_kind work_kind = {
        .name = "thing.work", .steps = work_steps, .n_steps = 1};
static const struct operation_kind hold_kind = {
        .name = "thing.hold", .steps = hold_steps, .n_steps = 1};

/* ---- start and stop ---- */

static int world_remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static void *world_run_loop(void *arg)
{
	(void)arg;
	struct err e = {0};
	world.loop = loop_new();
	world.engine = operation_engine_new(world.loop, world.writer, NULL);
	operation_engine_register(world.engine, &work_kind);
	operation_engine_register(world.engine, &hold_kind);
	struct db *db = NULL;
	if (db_open(world.db_path, DB_READ_ONLY, &db, &e) < 0 ||
	        operation_engine_load(world.engine, db, &e) < 0)
		abort();
	db_close(db);
	sem_post(&world.loop_ready);
	loop_run(world.loop);
	return NULL;
}

#define must(call, e)                                                                              \
	do {                                                                                       \
		if ((call) < 0)                                                                    \
			fail_msg("%s: %s", #call, (e)->message);                                   \
	} while (0)

static inline void world_start(void)
{
	struct err e = {0};
	memset(&world, 0, sizeof(world));
	log_init(LOG_LEVEL_ERROR - 1); /* provoked failures are not news */
	snprintf(world.dir, sizeof(world.dir), "/tmp/berth-api-XXXXXX");
	assert_non_null(mkdtemp(world.dir));
	snprintf(world.db_path, sizeof(world.db_path), "%s/berth.db", world.dir);
	snprintf(world.socket_path, sizeof(world.socket_path), "%s/berth.sock", world.dir);
	must(migrations_apply(world.db_path, migrations_embedded, &e), &e);
	must(writer_start(world.db_path, &world.writer, &e), &e);
	world.readers = readers_new(world.db_path);
	sem_init(&world.loop_ready, 0, 0);
	sem_init(&world.entered, 0, 0);
	sem_init(&world.go_on, 0, 0);
	assert_int_equal(pthread_create(&world.loop_thread, NULL, world_run_loop, NULL), 0);
	sem_wait(&world.loop_ready);
	world.app.loop = world.loop;
	world.app.writer = world.writer;
	world.app.readers = world.readers;
	world.app.engine = world.engine;
	world.app.is_ready = true;
	world.config = (struct server_config){.listen = "127.0.0.1:0",
	        .socket_path = world.socket_path,
	        .inherited_tcp_fd = -1,
	        .inherited_unix_fd = -1,
	        .threads = 2};
}

static inline void world_serve(void)
{
	struct err e = {0};
	must(server_start(&world.config, &world.app, test_tables, &world.server, &e), &e);
}

static void stop_engine(void *arg)
{
	(void)arg;
	operation_engine_stop(world.engine);
	loop_stop(world.loop);
}

static inline void world_stop(void)
{
	if (world.server)
		server_stop(world.server, 1000);
	server_free(world.server);
	loop_post(world.loop, stop_engine, NULL);
	pthread_join(world.loop_thread, NULL);
	change_feed_reset();
	sem_post(&world.go_on); /* a test that failed may have left the writer at its gate */
	writer_free(world.writer);
	operation_engine_free(world.engine);
	loop_free(world.loop);
	readers_free(world.readers);
	sem_destroy(&world.loop_ready);
	sem_destroy(&world.entered);
	sem_destroy(&world.go_on);
	nftw(world.dir, world_remove_entry, 8, FTW_DEPTH | FTW_PHYS);
	world.server = NULL;
}

static inline int setup(void **state)
{
	(void)state;
	world_start();
	world_serve();
	return 0;
}

static inline int teardown(void **state)
{
	(void)state;
	world_stop();
	return 0;
}

struct token_request {
	const char *name;
	enum token_role role;
	char secret[TOKEN_SECRET_SIZE];
};

static int world_token_job(struct db *db, void *arg, struct err *e)
{
	struct token_request *request = arg;
	struct token token CLEANUP(token_done) = {0};
	return token_create(db, &(struct token_spec){.name = request->name, .role = request->role},
	        &token, request->secret, e);
}

static inline void world_make_token(
        const char *name, enum token_role role, char secret[TOKEN_SECRET_SIZE])
{
	struct err e = {0};
	struct token_request request = {.name = name, .role = role};
	must(writer_run(world.writer, world_token_job, &request, &e), &e);
	memcpy(secret, request.secret, TOKEN_SECRET_SIZE);
}

/* ---- the client ---- */

struct answer {
	int status;
	char *text; /* owned: head and body */
	const char *body;
	size_t len;
	bool is_closed; /* the server closed the connection */
};

static inline void answer_done(struct answer *a)
{
	free(a->text);
	*a = (struct answer){0};
}

static inline int connect_tcp(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in address = {.sin_family = AF_INET,
	        .sin_port = htons((uint16_t)server_port(world.server)),
	        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	int yes = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	return fd;
}

static inline int connect_unix(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", world.socket_path);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static inline void send_bytes(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
		if (n <= 0)
			return; /* the server had enough: its answer tells */
		data += n;
		len -= (size_t)n;
	}
}

static inline void send_text(int fd, const char *text)
{
	send_bytes(fd, text, strlen(text));
}

/* Reads until `enough(text)` or the end; true unless time ran out. */
static inline bool read_until(
        int fd, struct str *text, bool (*enough)(const struct str *text), bool *ret_closed)
{
	int64_t deadline = clock_now_ns() / 1000000 + WORLD_PATIENCE_MS;
	char buffer[65536];
	*ret_closed = false;
	while (text->len == 0 || !enough(text)) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		int64_t left = deadline - clock_now_ns() / 1000000;
		if (left <= 0 || poll(&p, 1, (int)left) <= 0)
			return false;
		ssize_t n = recv(fd, buffer, sizeof(buffer), 0);
		if (n <= 0) {
			*ret_closed = true;
			return true;
		}
		str_add_len(text, buffer, (size_t)n);
	}
	return true;
}

static inline const char *find_header(const char *head, const char *name)
{
	const char *at = strcasestr(head, name);
	const char *end = strstr(head, "\r\n\r\n");
	return at && end && at < end ? at + strlen(name) : NULL;
}

static size_t answer_size(const struct str *text)
{
	const char *end = strstr(text->data, "\r\n\r\n");
	if (!end)
		return SIZE_MAX;
	const char *length = find_header(text->data, "\r\nContent-Length: ");
	return (size_t)(end + 4 - text->data) + (length ? strtoul(length, NULL, 10) : 0);
}

static inline bool is_one_answer(const struct str *text)
{
	return text->len >= answer_size(text);
}

static inline bool is_never(const struct str *text)
{
	(void)text;
	return false;
}

static inline bool is_head(const struct str *text)
{
	return strstr(text->data, "\r\n\r\n") != NULL;
}

static inline struct answer parse_answer(struct str *text, bool is_closed)
{
	struct answer a = {.is_closed = is_closed, .len = text->len};
	a.text = str_take(text);
	const char *end = strstr(a.text, "\r\n\r\n");
	a.body = end ? end + 4 : "";
	if (a.len > 12)
		a.status = atoi(a.text + 9);
	return a;
}

static inline struct answer read_answer(int fd)
{
	struct str text = {0};
	bool is_closed;
	if (!read_until(fd, &text, is_one_answer, &is_closed))
		fail_msg("no answer in time, got: %s", str_text(&text));
	return parse_answer(&text, is_closed);
}

/* Everything until the server closes. */
static inline struct answer read_all(int fd)
{
	struct str text = {0};
	bool is_closed;
	if (!read_until(fd, &text, is_never, &is_closed))
		fail_msg("the server did not close, got: %s", str_text(&text));
	return parse_answer(&text, is_closed);
}

/* One request on the unix socket (as root: an admin) on a connection of its own. `headers`: lines
 * with CRLF, or "". */
static inline struct answer ask(
        const char *method, const char *path, const char *headers, const char *body)
{
	int fd = connect_unix();
	struct str text = {0};
	str_printf(&text, "%s %s HTTP/1.1\r\nHost: x\r\n%s", method, path, headers);
	if (body)
		str_printf(&text, "Content-Type: application/json\r\nContent-Length: %zu\r\n",
		        strlen(body));
	str_printf(&text, "\r\n%s", body ? body : "");
	send_bytes(fd, text.data, text.len);
	str_done(&text);
	struct answer a;
	if (strcmp(method, "HEAD") == 0) {
		bool is_closed;
		struct str head = {0};
		assert_true(read_until(fd, &head, is_head, &is_closed));
		a = parse_answer(&head, is_closed);
	} else {
		a = read_answer(fd);
	}
	close(fd);
	return a;
}

static inline void expect(struct answer a, int status, const char *text)
{
	if (a.status != status)
		fail_msg("status %d instead of %d: %s", a.status, status, a.text);
	if (text && !strstr(a.text, text))
		fail_msg("'%s' is not in: %s", text, a.text);
	answer_done(&a);
}

static inline int64_t count_rows(const char *sql)
{
	struct err e = {0};
	struct db *db = NULL;
	struct statement *s = NULL;
	must(db_open(world.db_path, DB_READ_ONLY, &db, &e), &e);
	must(db_prepare(db, sql, &s, &e), &e);
	must(statement_step(s, &e), &e);
	int64_t n = statement_int(s, 0);
	statement_done(&s);
	db_close(db);
	return n;
}

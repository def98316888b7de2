/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What our requests cost beside bare libmicrohttpd with a pool of 2, measured in one run with wrk:
 * requests per second as ratios, and CPU per request of the server's process. Each server runs in a
 * process of its own; the rounds alternate and the best of each counts, as the machine is shared.
 * Prints key=value lines.
 *
 *	bench_http [SECONDS]
 */
#include <microhttpd.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/exchange.h"
#include "api/token.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "db/migrations.h"
#include "db/reader.h"
#include "db/writer.h"

#define ROUNDS 3

static char dir[64], db_path[96], secret[TOKEN_SECRET_SIZE];

/* ---- the floor ---- */

static enum MHD_Result answer_static(void *cls, struct MHD_Connection *connection, const char *url,
        const char *method, const char *version, const char *data, size_t *len, void **request)
{
	(void)cls, (void)url, (void)method, (void)version, (void)data, (void)len;
	static int seen;
	static const char body[] = "{\"name\":\"web1\",\"size\":7}";
	if (!*request) {
		*request = &seen;
		return MHD_YES;
	}
	struct MHD_Response *response = MHD_create_response_from_buffer(
	        sizeof(body) - 1, (void *)(uintptr_t)body, MHD_RESPMEM_PERSISTENT);
	MHD_add_response_header(response, "Content-Type", "application/json");
	enum MHD_Result result = MHD_queue_response(connection, 200, response);
	MHD_destroy_response(response);
	return result;
}

static int start_bare(void)
{
	struct MHD_Daemon *daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL,
	        answer_static, NULL, MHD_OPTION_THREAD_POOL_SIZE, 2u, MHD_OPTION_END);
	if (!daemon)
		exit(1);
	return MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
}

/* ---- ours ---- */

struct item {
	char *id, *name, *state, *host;
	int64_t size, created_at;
};
static const struct field item_array[] = {
        {.name = "id", .type = FIELD_STRING, .offset = offsetof(struct item, id), .doc = "d"},
        {.name = "name", .type = FIELD_STRING, .offset = offsetof(struct item, name), .doc = "d"},
        {.name = "state", .type = FIELD_STRING, .offset = offsetof(struct item, state), .doc = "d"},
        {.name = "host", .type = FIELD_STRING, .offset = offsetof(struct item, host), .doc = "d"},
        {.name = "size", .type = FIELD_INT, .offset = offsetof(struct item, size), .doc = "d"},
        {.name = "created_at",
                .type = FIELD_TIME,
                .offset = offsetof(struct item, created_at),
                .doc = "d"},
};
static const struct field_table item_fields = FIELD_TABLE("Item", struct item, item_array);

static int get_item(struct request *rq, struct reply *reply, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_prepare(rq->db, "SELECT key, value FROM meta WHERE key = ?", &s, e);
	if (rc < 0)
		return rc;
	statement_bind_text(s, 1, rq->params[0]);
	rc = statement_step(s, e);
	if (rc <= 0)
		return rc < 0 ? rc : err_set(e, ERR_NOT_FOUND, "no item %s", rq->params[0]);
	const struct item item = {.id = (char *)(uintptr_t)statement_text(s, 0),
	        .name = (char *)(uintptr_t)statement_text(s, 1),
	        .state = (char *)(uintptr_t) "running",
	        .host = (char *)(uintptr_t) "host1",
	        .size = 7,
	        .created_at = 1700000000000};
	field_encode(&item_fields, &item, FIELD_ENCODE_ANSWER, &reply->body);
	reply_etag(reply, "11111111-1111-4111-8111-111111111111", 3);
	return 0;
}

static const struct route routes[] = {
        {.method = "GET",
                .path = "/items/{item}",
                .permission = "vm.read",
                .mode = ROUTE_READ,
                .flags = ROUTE_FIELDS,
                .response = &item_fields,
                .status = 200,
                .id = "item_get",
                .summary = "Read an item",
                .handler = get_item},
};
static const struct route_table item_routes = {.tag = "Items", .routes = routes, .n_routes = 1};
extern const struct route_table system_routes;
static const struct route_table *const tables[] = {&item_routes, &system_routes, NULL};

static void die(const char *what, const struct err *e)
{
	fprintf(stderr, "bench_http: %s: %s\n", what, e->message);
	exit(1);
}

static int start_ours(void)
{
	static struct app app;
	struct server *server = NULL;
	struct err e = {0};
	app.readers = readers_new(db_path);
	app.is_ready = true;
	const struct server_config config = {.listen = "127.0.0.1:0",
	        .inherited_tcp_fd = -1,
	        .inherited_unix_fd = -1,
	        .threads = 2};
	if (server_start(&config, &app, tables, &server, &e) < 0)
		die("start", &e);
	return server_port(server);
}

static int fill_job(struct db *db, void *arg, struct err *e)
{
	(void)arg;
	struct token token CLEANUP(token_done) = {0};
	int rc = db_exec(db, "INSERT INTO meta (key, value) VALUES ('item1', 'web1')", e);
	if (rc == 0)
		rc = token_create(db, &(struct token_spec){.name = "bench", .role = TOKEN_VIEWER},
		        &token, secret, e);
	return rc;
}

static void prepare(void)
{
	struct err e = {0};
	struct writer *writer = NULL;
	snprintf(dir, sizeof(dir), "/tmp/berth-bench-XXXXXX");
	if (!mkdtemp(dir))
		exit(1);
	snprintf(db_path, sizeof(db_path), "%s/berth.db", dir);
	if (migrations_apply(db_path, migrations_embedded, &e) < 0 ||
	        writer_start(db_path, &writer, &e) < 0 ||
	        writer_run(writer, fill_job, NULL, &e) < 0)
		die("prepare", &e);
	writer_free(writer);
}

/* ---- measuring ---- */

struct figures {
	double per_second, cpu_us;
};

/* A process that serves until its pipe closes. */
static pid_t spawn(int (*start)(void), int *ret_port, int *ret_stop)
{
	int ready[2], stop[2];
	if (pipe(ready) < 0 || pipe(stop) < 0)
		exit(1);
	pid_t pid = fork();
	if (pid == 0) {
		char c;
		close(stop[1]);
		int port = start();
		if (write(ready[1], &port, sizeof(port)) < 0)
			_exit(1);
		_exit(read(stop[0], &c, 1) < 0);
	}
	close(stop[0]);
	if (read(ready[0], ret_port, sizeof(*ret_port)) != sizeof(*ret_port))
		exit(1);
	close(ready[0]);
	close(ready[1]);
	*ret_stop = stop[1];
	return pid;
}

/* Requests per second and in total, by wrk. */
static void run_wrk(int port, const char *path, int seconds, double *ret_rate, double *ret_total)
{
	char command[400], line[300];
	snprintf(command, sizeof(command),
	        "wrk -t1 -c16 -d%ds -H 'Authorization: Bearer %s' http://127.0.0.1:%d%s", seconds,
	        secret, port, path);
	FILE *out = popen(command, "r");
	while (out && fgets(line, sizeof(line), out)) {
		sscanf(line, " %lf requests in", ret_total);
		sscanf(line, "Requests/sec: %lf", ret_rate);
		if (strstr(line, "Non-2xx"))
			printf("error=%s", line);
	}
	if (out)
		pclose(out);
}

static struct figures measure(int (*start)(void), const char *path, int seconds)
{
	int port = 0, stop = -1;
	struct rusage usage;
	double rate = 0, total = 0;
	pid_t pid = spawn(start, &port, &stop);
	run_wrk(port, path, seconds, &rate, &total);
	close(stop);
	wait4(pid, NULL, 0, &usage);
	double cpu_us = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
	                (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
	return (struct figures){.per_second = rate, .cpu_us = total > 0 ? cpu_us / total : 0};
}

static const struct {
	const char *name, *path;
	int (*start)(void);
} cases[] = {
        {"bare", "/", start_bare},
        {"health", "/healthz", start_ours},
        {"root", "/api/v1", start_ours},
        {"get_one", "/api/v1/items/item1", start_ours},
};

int main(int argc, char **argv)
{
	struct figures best[ARRAY_LEN(cases)] = {0};
	int seconds = argc > 1 ? atoi(argv[1]) : 2;
	log_init(LOG_LEVEL_WARNING);
	prepare();
	for (int round = 0; round < ROUNDS; round++)
		for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
			struct figures f = measure(cases[i].start, cases[i].path, seconds);
			if (f.per_second > best[i].per_second)
				best[i] = f;
		}
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		printf("http_%s_per_second=%.0f http_%s_cpu_us=%.1f http_%s_ratio=%.2f\n",
		        cases[i].name, best[i].per_second, cases[i].name, best[i].cpu_us,
		        cases[i].name, best[i].per_second / best[0].per_second);
	char command[128];
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command) != 0;
}

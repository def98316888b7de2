/* SPDX-License-Identifier: Apache-2.0 */
/* The server itself: the root of the API, health, metrics, the OpenAPI document. None of it needs
 * the database. */
#include "api/system.h"

#include <string.h>

#include "api/exchange.h"
#include "base/cleanup.h"
#include "base/loop.h"
#include "db/writer.h"
#include "operation/operation.h"

extern const struct route_table system_routes;

static int get_root(struct request *rq, struct reply *reply, struct err *e);
static int get_openapi(struct request *rq, struct reply *reply, struct err *e);
static int get_health(struct request *rq, struct reply *reply, struct err *e);
static int get_ready(struct request *rq, struct reply *reply, struct err *e);
static int get_metrics(struct request *rq, struct reply *reply, struct err *e);

struct root_view {
	char *name, *version, *api_version, *links;
};
static const struct field root_array[] = {
        {.name = "name",
                .type = FIELD_STRING,
                .flags = FIELD_READ_ONLY,
                .offset = offsetof(struct root_view, name),
                .doc = "berth"},
        {.name = "version",
                .type = FIELD_STRING,
                .flags = FIELD_READ_ONLY,
                .offset = offsetof(struct root_view, version),
                .doc = "The server's version"},
        {.name = "api_version",
                .type = FIELD_STRING,
                .flags = FIELD_READ_ONLY,
                .offset = offsetof(struct root_view, api_version),
                .doc = "v1: changes are additive"},
        {.name = "links",
                .type = FIELD_JSON,
                .flags = FIELD_READ_ONLY,
                .offset = offsetof(struct root_view, links),
                .doc = "Where the collections are"},
};
static const struct field_table root_fields = FIELD_TABLE("Root", struct root_view, root_array);

static const int ready_errors[] = {ERR_UNAVAILABLE, 0};

static const struct route routes[] = {
        {.method = "GET",
                .path = "!/api/v1",
                .permission = "system.read",
                .mode = ROUTE_READ,
                .flags = ROUTE_NO_DB,
                .response = &root_fields,
                .status = 200,
                .id = "root_get",
                .summary = "The server's version and where things are",
                .handler = get_root},
        {.method = "GET",
                .path = "/openapi.json",
                .permission = "system.read",
                .mode = ROUTE_READ,
                .flags = ROUTE_NO_DB,
                .status = 200,
                .id = "openapi_get",
                .summary = "This API as an OpenAPI 3.1 document",
                .handler = get_openapi},
        {.method = "GET",
                .path = "!/healthz",
                .mode = ROUTE_READ,
                .flags = ROUTE_PUBLIC | ROUTE_NO_DB,
                .status = 200,
                .id = "health_get",
                .summary = "Whether the process answers at all",
                .handler = get_health},
        {.method = "GET",
                .path = "!/readyz",
                .mode = ROUTE_READ,
                .flags = ROUTE_PUBLIC | ROUTE_NO_DB,
                .errors = ready_errors,
                .status = 200,
                .id = "ready_get",
                .summary = "Whether it serves; 503 while it starts or stops",
                .handler = get_ready},
        {.method = "GET",
                .path = "!/metrics",
                .permission = "system.read",
                .mode = ROUTE_READ,
                .flags = ROUTE_NO_DB | ROUTE_PLAIN_TEXT,
                .status = 200,
                .id = "metrics_get",
                .summary = "Figures in Prometheus' text format",
                .handler = get_metrics},
};

const struct route_table system_routes = {
        .tag = "System", .routes = routes, .n_routes = ARRAY_LEN(routes)};

static bool is_collection(const struct router_entry *entry)
{
	return strcmp(entry->route->method, "GET") == 0 && entry->route->path[0] == '/' &&
	       !strchr(entry->path, '{') && !strchr(entry->route->path, '.');
}

static int get_root(struct request *rq, struct reply *reply, struct err *e)
{
	(void)e;
	struct json_writer *w = &reply->body;
	const struct router *router = rq->exchange->dispatcher->router;
	json_object_begin(w);
	json_member_string(w, "name", "berth");
	json_member_string(w, "version", BERTH_VERSION);
	json_member_string(w, "api_version", "v1");
	json_key(w, "links");
	json_object_begin(w);
	for (size_t i = 0; i < router_count(router); i++) {
		const struct router_entry *entry = router_entry_at(router, i);
		if (!is_collection(entry))
			continue;
		json_key_any(w, entry->route->path + 1);
		json_put_string(w, entry->path);
	}
	json_member_string(w, "openapi", "/api/v1/openapi.json");
	json_object_end(w);
	json_object_end(w);
	return 0;
}

static int get_openapi(struct request *rq, struct reply *reply, struct err *e)
{
	(void)e;
	json_put_raw(&reply->body, rq->exchange->dispatcher->openapi);
	return 0;
}

static int put_status(struct reply *reply, const char *status)
{
	json_object_begin(&reply->body);
	json_member_string(&reply->body, "status", status);
	json_object_end(&reply->body);
	return 0;
}

static int get_health(struct request *rq, struct reply *reply, struct err *e)
{
	(void)rq, (void)e;
	return put_status(reply, "ok");
}

static int get_ready(struct request *rq, struct reply *reply, struct err *e)
{
	if (rq->app->is_draining)
		return err_set(e, ERR_UNAVAILABLE, "the server is stopping");
	if (!rq->app->is_ready)
		return err_set(e, ERR_UNAVAILABLE, "the server is starting");
	return put_status(reply, "ready");
}

static void put_metric(
        struct str *out, const char *name, const char *type, const char *help, double value)
{
	metrics_family(out, name, type, help);
	str_printf(out, "%s %.9g\n", name, value);
}

static void write_writer(struct writer *writer, struct str *out)
{
	struct writer_stats stats = {0};
	writer_get_stats(writer, &stats);
	put_metric(out, "berth_db_jobs_total", "counter",
	        "Mutations carried out by the database writer.", (double)stats.jobs);
	put_metric(out, "berth_db_failed_jobs_total", "counter", "Mutations that were rolled back.",
	        (double)stats.failed_jobs);
	put_metric(out, "berth_db_transactions_total", "counter",
	        "Transactions: several mutations share one.", (double)stats.transactions);
	put_metric(out, "berth_db_commit_seconds_total", "counter", "Time spent in commits.",
	        (double)stats.commit_ns / 1e9);
	put_metric(out, "berth_db_checkpoints_total", "counter",
	        "Checkpoints of the write-ahead log.", (double)stats.checkpoints);
	put_metric(out, "berth_db_queue_high", "gauge", "Most mutations that waited at once.",
	        (double)stats.queue_high);
}

static void write_operations(struct operation_engine *engine, struct str *out)
{
	int running = 0, queued = 0;
	operation_engine_count(engine, &running, &queued);
	metrics_family(out, "berth_operations", "gauge", "Operations that have not ended.");
	str_printf(out, "berth_operations{state=\"running\"} %d\n", running);
	str_printf(out, "berth_operations{state=\"queued\"} %d\n", queued);
}

static int get_metrics(struct request *rq, struct reply *reply, struct err *e)
{
	(void)e;
	struct app *app = rq->app;
	struct dispatcher *dispatcher = rq->exchange->dispatcher;
	struct str *out = &reply->body.out;
	metrics_family(out, "berth_info", "gauge", "The version that runs.");
	str_printf(out, "berth_info{version=\"%s\"} 1\n", BERTH_VERSION);
	metrics_write(dispatcher->metrics, dispatcher->router, out);
	if (app->writer)
		write_writer(app->writer, out);
	if (app->loop)
		put_metric(out, "berth_loop_longest_seconds", "gauge",
		        "Longest callback of the core loop since the last scrape.",
		        (double)loop_take_longest_ns(app->loop) / 1e9);
	if (app->engine)
		write_operations(app->engine, out);
	if (app->write_metrics)
		app->write_metrics(app->metrics_arg, out);
	return 0;
}

void system_set_metrics(struct app *app, void (*write)(void *arg, struct str *out), void *arg)
{
	app->write_metrics = write;
	app->metrics_arg = arg;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* /hosts: registering, reading, changing and removing hosts, and their connection's counters. */
#include "api/list.h"
#include "api/route.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "compute/host.h"
#include "compute/host_store.h"
#include "compute/host_view.h"

extern const struct route_table hosts_routes;

static int list_hosts(struct request *rq, struct reply *reply, struct err *e);
static int create_host(struct request *rq, struct reply *reply, struct err *e);
static int get_host(struct request *rq, struct reply *reply, struct err *e);
static int put_host(struct request *rq, struct reply *reply, struct err *e);
static int patch_host(struct request *rq, struct reply *reply, struct err *e);
static int delete_host(struct request *rq, struct reply *reply, struct err *e);
static int get_stats(struct request *rq, struct reply *reply, struct err *e);

static const struct filter_column columns[] = {
        {.name = "name",
                .sql = "host.name",
                .flags = FILTER_FILTERABLE | FILTER_SORTABLE | FILTER_UNIQUE},
        {.name = "id",
                .sql = "host.id",
                .flags = FILTER_FILTERABLE | FILTER_SORTABLE | FILTER_UNIQUE},
        {.name = "state", .sql = "host.state", .flags = FILTER_FILTERABLE},
        {.name = "group", .sql = "host_group.name", .flags = FILTER_FILTERABLE},
        {.name = "access", .sql = "host.access", .flags = FILTER_FILTERABLE},
        {.name = "accelerator", .sql = "host.accelerator", .flags = FILTER_FILTERABLE},
        {0},
};

static const struct field stats_fields[] = {
        {.name = "calls_in_flight",
                .type = FIELD_INT,
                .flags = FIELD_READ_ONLY | FIELD_NULLABLE,
                .doc = "Calls that the host is working on"},
        {.name = "calls_queued",
                .type = FIELD_INT,
                .flags = FIELD_READ_ONLY | FIELD_NULLABLE,
                .doc = "Calls that wait for their turn"},
        {.name = "calls_hung",
                .type = FIELD_INT,
                .flags = FIELD_READ_ONLY | FIELD_NULLABLE,
                .doc = "Calls that were given up and have not returned"},
        {.name = "connections_replaced",
                .type = FIELD_INT,
                .flags = FIELD_READ_ONLY | FIELD_NULLABLE,
                .doc = "Times the connection was replaced because calls hung on it"},
        {.name = "reconnects",
                .type = FIELD_INT,
                .flags = FIELD_READ_ONLY | FIELD_NULLABLE,
                .doc = "Times the host was reached again after its connection broke"},
        {.name = "heartbeat_rtt_us",
                .type = FIELD_INT,
                .flags = FIELD_READ_ONLY | FIELD_NULLABLE,
                .doc = "How long the last heartbeat took, in microseconds"},
        {.name = "at",
                .type = FIELD_TIME,
                .flags = FIELD_READ_ONLY | FIELD_NULLABLE,
                .doc = "When these were read; null: not yet"},
};
static const struct field_table stats_table =
        FIELD_TABLE("HostStats", struct host_live_stats, stats_fields);

static const int create_errors[] = {ERR_EXISTS, ERR_REFERENCE, 0};
static const int change_errors[] = {
        ERR_NOT_FOUND, ERR_EXISTS, ERR_REFERENCE, ERR_IN_USE, ERR_PRECONDITION, 0};
static const int delete_errors[] = {ERR_NOT_FOUND, ERR_IN_USE, ERR_PRECONDITION, 0};
static const int read_errors[] = {ERR_NOT_FOUND, 0};

static const struct route routes[] = {
        {.method = "GET",
                .path = "/hosts",
                .permission = "host.read",
                .mode = ROUTE_READ,
                .flags = ROUTE_LIST,
                .response = &host_fields,
                .columns = columns,
                .status = 200,
                .id = "host_list",
                .summary = "List hosts",
                .handler = list_hosts},
        {.method = "POST",
                .path = "/hosts",
                .permission = "host.write",
                .mode = ROUTE_WRITE,
                .body = &host_spec_fields,
                .response = &host_fields,
                .errors = create_errors,
                .status = 201,
                .id = "host_create",
                .summary = "Register a host; its state tells whether it could be reached",
                .handler = create_host},
        {.method = "GET",
                .path = "/hosts/{host}",
                .permission = "host.read",
                .mode = ROUTE_READ,
                .flags = ROUTE_FIELDS,
                .response = &host_fields,
                .errors = read_errors,
                .status = 200,
                .id = "host_get",
                .summary = "Read a host",
                .handler = get_host},
        {.method = "PUT",
                .path = "/hosts/{host}",
                .permission = "host.write",
                .mode = ROUTE_WRITE,
                .body = &host_spec_fields,
                .response = &host_fields,
                .errors = change_errors,
                .status = 200,
                .id = "host_put",
                .summary = "Register a host by name, or replace its configuration",
                .handler = put_host},
        {.method = "PATCH",
                .path = "/hosts/{host}",
                .permission = "host.write",
                .mode = ROUTE_WRITE,
                .flags = ROUTE_MERGE_PATCH,
                .body = &host_spec_fields,
                .response = &host_fields,
                .errors = change_errors,
                .status = 200,
                .id = "host_update",
                .summary = "Change a host's configuration",
                .handler = patch_host},
        {.method = "DELETE",
                .path = "/hosts/{host}",
                .permission = "host.write",
                .mode = ROUTE_WRITE,
                .errors = delete_errors,
                .status = 204,
                .id = "host_delete",
                .summary = "Forget a host that has nothing of ours any more",
                .handler = delete_host},
        {.method = "GET",
                .path = "/hosts/{host}/stats",
                .permission = "host.read",
                .mode = ROUTE_READ,
                .flags = ROUTE_FIELDS,
                .response = &stats_table,
                .errors = read_errors,
                .status = 200,
                .id = "host_stats",
                .summary = "Read the counters of the connection to a host",
                .handler = get_stats},
};
const struct route_table hosts_routes = {
        .tag = "Hosts", .routes = routes, .n_routes = ARRAY_LEN(routes)};

struct host_list {
	struct list list;
	struct err *e;
};

static int write_item(void *arg, const struct host_full_row *full)
{
	struct host_list *hosts = arg;
	const struct host_row *row = &full->row;
	struct sql_bind values[] = {LIST_TEXT(row->name), LIST_TEXT(row->id), LIST_TEXT(row->state),
	        LIST_TEXT(row->group), LIST_TEXT(row->access), LIST_TEXT(row->accelerator)};
	if (!list_item(&hosts->list, values))
		return 0;
	return host_encode(full, list_writer(&hosts->list), hosts->e);
}

static int list_hosts(struct request *rq, struct reply *reply, struct err *e)
{
	struct host_list hosts = {.e = e};
	list_begin(&hosts.list, rq, reply);
	int rc = host_store_list(rq->db, &rq->list->page, write_item, &hosts, e);
	if (rc == 0)
		list_end(&hosts.list);
	return rc;
}

static int reply_host(struct request *rq, struct reply *reply, const char *id, struct err *e)
{
	struct host_full_row full CLEANUP(host_full_row_done) = {0};
	int rc = host_store_get_full(rq->db, id, &full, e);
	if (rc < 0)
		return rc;
	reply_etag(reply, full.row.id, full.row.version);
	if (reply->status == 201)
		reply_location(reply, "/api/v1/hosts/%s", full.row.name);
	return host_encode(&full, &reply->body, e);
}

static int create_and_reply(struct request *rq, struct reply *reply, struct err *e)
{
	char id[UUID_TEXT_SIZE];
	int rc = request_check_absent(rq, e);
	if (rc == 0)
		rc = host_create(rq->db, rq->app->hosts, rq->body, id, e);
	reply->status = 201;
	return rc < 0 ? rc : reply_host(rq, reply, id, e);
}

static int create_host(struct request *rq, struct reply *reply, struct err *e)
{
	return create_and_reply(rq, reply, e);
}

static int get_host(struct request *rq, struct reply *reply, struct err *e)
{
	return reply_host(rq, reply, rq->params[0], e);
}

/* The row, if the request's conditions on it hold. */
static int get_matching(struct request *rq, struct host_row *ret_row, struct err *e)
{
	int rc = host_store_get(rq->db, rq->params[0], ret_row, e);
	return rc < 0 ? rc : request_check_match(rq, ret_row->id, ret_row->version, e);
}

static int put_host(struct request *rq, struct reply *reply, struct err *e)
{
	const struct host_spec *spec = rq->body;
	struct host_row row CLEANUP(host_row_done) = {0};
	int rc = get_matching(rq, &row, e);
	if (rc == ERR_NOT_FOUND && !uuid_is_shaped(rq->params[0])) {
		err_clear(e);
		rc = request_check_name(spec->name, rq->params[0], e);
		return rc < 0 ? rc : create_and_reply(rq, reply, e);
	}
	if (rc == 0)
		rc = request_check_name(spec->name, row.name, e);
	if (rc == 0)
		rc = host_replace(rq->db, rq->app->hosts, &row, spec, e);
	return rc < 0 ? rc : reply_host(rq, reply, row.id, e);
}

static int patch_host(struct request *rq, struct reply *reply, struct err *e)
{
	struct host_row row CLEANUP(host_row_done) = {0};
	int rc = get_matching(rq, &row, e);
	if (rc == 0)
		rc = host_update(rq->db, rq->app->hosts, &row, rq->json, rq->errors, e);
	return rc < 0 ? rc : reply_host(rq, reply, row.id, e);
}

static int delete_host(struct request *rq, struct reply *reply, struct err *e)
{
	struct host_row row CLEANUP(host_row_done) = {0};
	(void)reply;
	int rc = get_matching(rq, &row, e);
	return rc < 0 ? rc : host_delete(rq->db, rq->app->hosts, &row, e);
}

static void encode_count(struct json_writer *w, const char *key, bool is_known, int64_t value)
{
	if (is_known)
		json_member_int(w, key, value);
	else
		json_member_raw(w, key, "null");
}

static int get_stats(struct request *rq, struct reply *reply, struct err *e)
{
	struct host_row row CLEANUP(host_row_done) = {0};
	struct host_live_stats stats = {0};
	int rc = host_store_get(rq->db, rq->params[0], &row, e);
	if (rc < 0)
		return rc;
	bool is_known = hosts_get_stats(rq->app->hosts, row.id, &stats);
	const struct host_connection_stats *c = &stats.connection;
	struct json_writer *w = &reply->body;
	json_object_begin(w);
	encode_count(w, "calls_in_flight", is_known, c->in_flight);
	encode_count(w, "calls_queued", is_known, c->queued);
	encode_count(w, "calls_hung", is_known, c->hung);
	encode_count(w, "connections_replaced", is_known, c->replaced);
	encode_count(w, "reconnects", is_known, c->reconnects);
	encode_count(w, "heartbeat_rtt_us", is_known && c->heartbeat_rtt_ns > 0,
	        c->heartbeat_rtt_ns / 1000);
	json_member_time(w, "at", stats.at);
	json_object_end(w);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* /pools: where volumes lie. */
#include "api/list.h"
#include "api/request_asked.h"
#include "api/route.h"
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "storage/pool_monitor.h"
#include "storage/pool_operations.h"
#include "storage/pool_store.h"
#include "storage/pool_view.h"

extern const struct route_table pools_routes;

static int list_pools(struct request *rq, struct reply *reply, struct err *e);
static int create_pool(struct request *rq, struct reply *reply, struct err *e);
static int get_pool(struct request *rq, struct reply *reply, struct err *e);
static int put_pool(struct request *rq, struct reply *reply, struct err *e);
static int patch_pool(struct request *rq, struct reply *reply, struct err *e);
static int delete_pool(struct request *rq, struct reply *reply, struct err *e);
static int check_pool(struct request *rq, struct reply *reply, struct err *e);

static const struct filter_column columns[] = {
        {.name = "name",
                .sql = "pool.name",
                .flags = FILTER_FILTERABLE | FILTER_SORTABLE | FILTER_UNIQUE},
        {.name = "id",
                .sql = "pool.id",
                .flags = FILTER_FILTERABLE | FILTER_SORTABLE | FILTER_UNIQUE},
        {.name = "kind", .sql = "pool.kind", .flags = FILTER_FILTERABLE},
        {.name = "state", .sql = "pool.state", .flags = FILTER_FILTERABLE},
        {0},
};

static const int read_errors[] = {ERR_NOT_FOUND, 0};
static const int create_errors[] = {ERR_EXISTS, ERR_REFERENCE, 0};
static const int change_errors[] = {ERR_NOT_FOUND, ERR_EXISTS, ERR_REFERENCE, ERR_IN_USE,
        ERR_WRONG_STATE, ERR_BUSY, ERR_PRECONDITION, 0};
static const int delete_errors[] = {
        ERR_NOT_FOUND, ERR_IN_USE, ERR_PROTECTED, ERR_WRONG_STATE, ERR_BUSY, ERR_PRECONDITION, 0};

static const struct route routes[] = {
        {.method = "GET",
                .path = "/pools",
                .permission = "pool.read",
                .mode = ROUTE_READ,
                .flags = ROUTE_LIST,
                .response = &pool_fields,
                .columns = columns,
                .status = 200,
                .id = "pool_list",
                .summary = "List pools",
                .handler = list_pools},
        {.method = "POST",
                .path = "/pools",
                .permission = "pool.write",
                .mode = ROUTE_WRITE,
                .flags = ROUTE_OPERATION,
                .body = &pool_write_fields,
                .response = &pool_fields,
                .errors = create_errors,
                .status = 202,
                .id = "pool_create",
                .summary = "Create a pool, after trying on its hosts whether QEMU can use it",
                .handler = create_pool},
        {.method = "GET",
                .path = "/pools/{pool}",
                .permission = "pool.read",
                .mode = ROUTE_READ,
                .flags = ROUTE_FIELDS,
                .response = &pool_fields,
                .errors = read_errors,
                .status = 200,
                .id = "pool_get",
                .summary = "Read a pool",
                .handler = get_pool},
        {.method = "PUT",
                .path = "/pools/{pool}",
                .permission = "pool.write",
                .mode = ROUTE_WRITE,
                .flags = ROUTE_OPERATION,
                .body = &pool_write_fields,
                .response = &pool_fields,
                .errors = change_errors,
                .status = 200,
                .id = "pool_put",
                .summary = "Create a pool by name, or replace its configuration",
                .handler = put_pool},
        {.method = "PATCH",
                .path = "/pools/{pool}",
                .permission = "pool.write",
                .mode = ROUTE_WRITE,
                .flags = ROUTE_OPERATION | ROUTE_MERGE_PATCH,
                .body = &pool_write_fields,
                .response = &pool_fields,
                .errors = change_errors,
                .status = 200,
                .id = "pool_update",
                .summary = "Change a pool's configuration; 202 when its hosts must be told",
                .handler = patch_pool},
        {.method = "DELETE",
                .path = "/pools/{pool}",
                .permission = "pool.write",
                .mode = ROUTE_WRITE,
                .flags = ROUTE_OPERATION,
                .errors = delete_errors,
                .status = 202,
                .id = "pool_delete",
                .summary = "Forget an unused pool; what else lies there stays",
                .handler = delete_pool},
        {.method = "POST",
                .path = "/pools/{pool}/check",
                .permission = "pool.write",
                .mode = ROUTE_WRITE,
                .response = &pool_fields,
                .errors = read_errors,
                .status = 200,
                .id = "pool_check",
                .summary = "Look at a pool and its volumes' files now; what is found follows in "
                           "GET and as events",
                .handler = check_pool},
};
const struct route_table pools_routes = {
        .tag = "Pools", .routes = routes, .n_routes = ARRAY_LEN(routes)};

/* ---- reading ---- */

struct pool_list {
	struct list list;
	struct db *db;
	struct err *e;
};

static int write_item(void *arg, const struct pool_row *row)
{
	struct pool_list *pools = arg;
	struct sql_bind values[] = {LIST_TEXT(row->name), LIST_TEXT(row->id), LIST_TEXT(row->kind),
	        LIST_TEXT(row->state)};
	if (!list_item(&pools->list, values))
		return 0;
	return pool_encode(pools->db, row, list_writer(&pools->list), pools->e);
}

static int list_pools(struct request *rq, struct reply *reply, struct err *e)
{
	struct pool_list pools = {.db = rq->db, .e = e};
	list_begin(&pools.list, rq, reply);
	int rc = pool_store_list(rq->db, &rq->list->page, write_item, &pools, e);
	if (rc == 0)
		list_end(&pools.list);
	return rc;
}

static int reply_pool(struct request *rq, struct reply *reply, const char *id, struct err *e)
{
	struct pool_row row CLEANUP(pool_row_done) = {0};
	int rc = pool_store_get(rq->db, id, &row, e);
	if (rc < 0)
		return rc;
	reply_etag(reply, row.id, row.version);
	return pool_encode(rq->db, &row, &reply->body, e);
}

static int get_pool(struct request *rq, struct reply *reply, struct err *e)
{
	return reply_pool(rq, reply, rq->params[0], e);
}

/* ---- changing ---- */

static int create_pool(struct request *rq, struct reply *reply, struct err *e)
{
	const struct operation_asked asked = request_asked(rq, 0);
	char operation[UUID_TEXT_SIZE], id[UUID_TEXT_SIZE];
	int rc = request_check_absent(rq, e);
	if (rc == 0)
		rc = pool_create(
		        rq->db, rq->app->engine, rq->body, &asked, rq->errors, operation, id, e);
	return rc < 0 ? rc : reply_operation(rq, reply, operation, e);
}

/* The row, if the request's conditions on it hold. */
static int get_matching(struct request *rq, struct pool_row *ret_row, struct err *e)
{
	int rc = pool_store_get(rq->db, rq->params[0], ret_row, e);
	return rc < 0 ? rc : request_check_match(rq, ret_row->id, ret_row->version, e);
}

static int reply_changed(struct request *rq, struct reply *reply, const char *id,
        const char *operation, struct err *e)
{
	if (operation[0])
		return reply_operation(rq, reply, operation, e);
	return reply_pool(rq, reply, id, e);
}

static int replace(
        struct request *rq, struct reply *reply, const struct pool_row *row, struct err *e)
{
	const struct operation_asked asked = request_asked(rq, 0);
	char operation[UUID_TEXT_SIZE] = "";
	int rc = request_check_busy(rq, row->id, e);
	if (rc == 0)
		rc = pool_replace(
		        rq->db, rq->app->engine, row, rq->body, &asked, rq->errors, operation, e);
	return rc < 0 ? rc : reply_changed(rq, reply, row->id, operation, e);
}

static int put_pool(struct request *rq, struct reply *reply, struct err *e)
{
	const struct pool_spec *spec = rq->body;
	struct pool_row row CLEANUP(pool_row_done) = {0};
	int rc = get_matching(rq, &row, e);
	if (rc == ERR_NOT_FOUND && !uuid_is_shaped(rq->params[0])) {
		err_clear(e);
		rc = request_check_name(spec->name, rq->params[0], e);
		return rc < 0 ? rc : create_pool(rq, reply, e);
	}
	return rc < 0 ? rc : replace(rq, reply, &row, e);
}

static int patch_pool(struct request *rq, struct reply *reply, struct err *e)
{
	const struct operation_asked asked = request_asked(rq, 0);
	struct pool_row row CLEANUP(pool_row_done) = {0};
	char operation[UUID_TEXT_SIZE] = "";
	int rc = get_matching(rq, &row, e);
	if (rc == 0)
		rc = request_check_busy(rq, row.id, e);
	if (rc == 0)
		rc = pool_update(
		        rq->db, rq->app->engine, &row, rq->json, &asked, rq->errors, operation, e);
	return rc < 0 ? rc : reply_changed(rq, reply, row.id, operation, e);
}

static int delete_pool(struct request *rq, struct reply *reply, struct err *e)
{
	const struct operation_asked asked = request_asked(rq, 0);
	struct pool_row row CLEANUP(pool_row_done) = {0};
	char operation[UUID_TEXT_SIZE];
	int rc = get_matching(rq, &row, e);
	if (rc == 0)
		rc = request_check_busy(rq, row.id, e);
	if (rc == 0)
		rc = pool_delete(rq->db, rq->app->engine, &row, &asked, operation, e);
	return rc < 0 ? rc : reply_operation(rq, reply, operation, e);
}

/* ---- looking ---- */

struct asked_check {
	struct pool_monitor *monitor;
	char pool_id[UUID_TEXT_SIZE];
};

static void check_committed(void *arg, bool committed)
{
	struct asked_check *check = arg;
	if (committed)
		pool_monitor_check(check->monitor, check->pool_id);
	free(check);
}

static int check_pool(struct request *rq, struct reply *reply, struct err *e)
{
	struct pool_row row CLEANUP(pool_row_done) = {0};
	int rc = get_matching(rq, &row, e);
	if (rc < 0)
		return rc;
	struct asked_check *check = xcalloc(1, sizeof(*check));
	check->monitor = rq->app->pool_monitor;
	uuid_text_copy(check->pool_id, row.id);
	db_on_end(rq->db, check_committed, check);
	return reply_pool(rq, reply, row.id, e);
}

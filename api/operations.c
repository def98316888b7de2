/* SPDX-License-Identifier: Apache-2.0 */
/* /operations: reading, waiting for and cancelling long work. */
#include "api/exchange.h"
#include "api/list.h"
#include "base/cleanup.h"
#include "operation/operation.h"
#include "operation/operation_store.h"

extern const struct route_table operations_routes;

static int list_operations(struct request *rq, struct reply *reply, struct err *e);
static int get_operation(struct request *rq, struct reply *reply, struct err *e);
static int cancel_operation(struct request *rq, struct reply *reply, struct err *e);

#define BOTH (FILTER_FILTERABLE | FILTER_SORTABLE)
static const struct filter_column columns[] = {
        {.name = "created_at", .sql = "created_at", .type = FILTER_TIME, .flags = BOTH},
        {.name = "id", .sql = "id", .flags = BOTH | FILTER_UNIQUE},
        {.name = "kind", .sql = "kind", .flags = FILTER_FILTERABLE},
        {.name = "state", .sql = "state", .flags = FILTER_FILTERABLE},
        {.name = "target_id", .sql = "target_id", .flags = FILTER_FILTERABLE},
        {.name = "target_name", .sql = "target_name", .flags = FILTER_FILTERABLE},
        {.name = "requested_by", .sql = "requested_by", .flags = FILTER_FILTERABLE},
        {0},
};

static const int read_errors[] = {ERR_NOT_FOUND, 0};
static const int cancel_errors[] = {ERR_NOT_FOUND, ERR_WRONG_STATE, 0};

static const struct route routes[] = {
        {.method = "GET",
                .path = "/operations",
                .permission = "operation.read",
                .mode = ROUTE_READ,
                .flags = ROUTE_LIST,
                .response = &operation_fields,
                .columns = columns,
                .default_sort = "-created_at",
                .status = 200,
                .id = "operation_list",
                .summary = "List operations, the newest first",
                .handler = list_operations},
        {.method = "GET",
                .path = "/operations/{operation}",
                .permission = "operation.read",
                .mode = ROUTE_READ,
                .flags = ROUTE_FIELDS | ROUTE_OPERATION,
                .response = &operation_fields,
                .errors = read_errors,
                .status = 200,
                .id = "operation_get",
                .summary = "Read an operation, or wait for its end",
                .handler = get_operation},
        {.method = "DELETE",
                .path = "/operations/{operation}",
                .permission = "operation.cancel",
                .mode = ROUTE_WRITE,
                .flags = ROUTE_OPERATION,
                .response = &operation_fields,
                .errors = cancel_errors,
                .status = 202,
                .id = "operation_cancel",
                .summary = "Cancel an operation: what it did is undone",
                .handler = cancel_operation},
};

const struct route_table operations_routes = {
        .tag = "Operations", .routes = routes, .n_routes = ARRAY_LEN(routes)};

static int write_row(void *arg, const struct operation_row *row, struct err *e)
{
	(void)e;
	struct list *list = arg;
	struct sql_bind values[ARRAY_LEN(columns) - 1] = {
	        LIST_INT(row->created_at), LIST_TEXT(row->id)};
	if (list_item(list, values))
		operation_encode(list->rq->app->engine, row, list_writer(list));
	return 0;
}

static int list_operations(struct request *rq, struct reply *reply, struct err *e)
{
	struct list list;
	list_begin(&list, rq, reply);
	int rc = operation_store_list(rq->db, &rq->list->page, write_row, &list, e);
	if (rc == 0)
		list_end(&list);
	return rc;
}

static int get_operation(struct request *rq, struct reply *reply, struct err *e)
{
	struct operation_row row CLEANUP(operation_row_done) = {0};
	int rc = operation_store_get(rq->db, rq->params[0], &row, e);
	if (rc == 0)
		operation_encode(rq->app->engine, &row, &reply->body);
	return rc;
}

static int cancel_operation(struct request *rq, struct reply *reply, struct err *e)
{
	int rc = operation_cancel(rq->db, rq->app->engine, rq->params[0], e);
	return rc < 0 ? rc : reply_operation(rq, reply, rq->params[0], e);
}

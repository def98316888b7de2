/* SPDX-License-Identifier: Apache-2.0 */
/* /pools: where volumes lie. Read only: this version has one pool. */
#include "api/list.h"
#include "api/route.h"
#include "base/cleanup.h"
#include "storage/pool_store.h"

extern const struct route_table pools_routes;

static int list_pools(struct request *rq, struct reply *reply, struct err *e);
static int get_pool(struct request *rq, struct reply *reply, struct err *e);

static const struct filter_column columns[] = {
        {.name = "name",
                .sql = "pool.name",
                .flags = FILTER_FILTERABLE | FILTER_SORTABLE | FILTER_UNIQUE},
        {.name = "id",
                .sql = "pool.id",
                .flags = FILTER_FILTERABLE | FILTER_SORTABLE | FILTER_UNIQUE},
        {0},
};

static const int read_errors[] = {ERR_NOT_FOUND, 0};

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
};
const struct route_table pools_routes = {
        .tag = "Pools", .routes = routes, .n_routes = ARRAY_LEN(routes)};

static int write_item(void *arg, const struct pool_row *row)
{
	struct list *list = arg;
	struct sql_bind values[] = {LIST_TEXT(row->name), LIST_TEXT(row->id)};
	if (list_item(list, values))
		pool_encode(row, list_writer(list));
	return 0;
}

static int list_pools(struct request *rq, struct reply *reply, struct err *e)
{
	struct list list;
	list_begin(&list, rq, reply);
	int rc = pool_store_list(rq->db, &rq->list->page, write_item, &list, e);
	if (rc == 0)
		list_end(&list);
	return rc;
}

static int get_pool(struct request *rq, struct reply *reply, struct err *e)
{
	struct pool_row row CLEANUP(pool_row_done) = {0};
	int rc = pool_store_get(rq->db, rq->params[0], &row, e);
	if (rc < 0)
		return rc;
	reply_etag(reply, row.id, row.version);
	pool_encode(&row, &reply->body);
	return 0;
}

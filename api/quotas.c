/* SPDX-License-Identifier: Apache-2.0 */
/* /quotas: what VMs with certain labels may have together. */
#include "api/list.h"
#include "api/route.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "compute/quota_store.h"

extern const struct route_table quotas_routes;

static int list_quotas(struct request *rq, struct reply *reply, struct err *e);
static int create_quota(struct request *rq, struct reply *reply, struct err *e);
static int get_quota(struct request *rq, struct reply *reply, struct err *e);
static int put_quota(struct request *rq, struct reply *reply, struct err *e);
static int patch_quota(struct request *rq, struct reply *reply, struct err *e);
static int delete_quota(struct request *rq, struct reply *reply, struct err *e);

static const struct filter_column columns[] = {
        {.name = "name",
                .sql = "quota.name",
                .flags = FILTER_FILTERABLE | FILTER_SORTABLE | FILTER_UNIQUE},
        {.name = "id",
                .sql = "quota.id",
                .flags = FILTER_FILTERABLE | FILTER_SORTABLE | FILTER_UNIQUE},
        {0},
};

static const int create_errors[] = {ERR_EXISTS, 0};
static const int change_errors[] = {ERR_NOT_FOUND, ERR_EXISTS, ERR_PRECONDITION, 0};
static const int delete_errors[] = {ERR_NOT_FOUND, ERR_PRECONDITION, 0};
static const int read_errors[] = {ERR_NOT_FOUND, 0};

static const struct route routes[] = {
        {.method = "GET",
                .path = "/quotas",
                .permission = "vm.read",
                .mode = ROUTE_READ,
                .flags = ROUTE_LIST,
                .response = &quota_fields,
                .columns = columns,
                .status = 200,
                .id = "quota_list",
                .summary = "List quotas",
                .handler = list_quotas},
        {.method = "POST",
                .path = "/quotas",
                .permission = "host.write",
                .mode = ROUTE_WRITE,
                .body = &quota_write_fields,
                .response = &quota_fields,
                .errors = create_errors,
                .status = 201,
                .id = "quota_create",
                .summary = "Create a quota",
                .handler = create_quota},
        {.method = "GET",
                .path = "/quotas/{quota}",
                .permission = "vm.read",
                .mode = ROUTE_READ,
                .flags = ROUTE_FIELDS,
                .response = &quota_fields,
                .errors = read_errors,
                .status = 200,
                .id = "quota_get",
                .summary = "Read a quota with its usage",
                .handler = get_quota},
        {.method = "PUT",
                .path = "/quotas/{quota}",
                .permission = "host.write",
                .mode = ROUTE_WRITE,
                .body = &quota_write_fields,
                .response = &quota_fields,
                .errors = change_errors,
                .status = 200,
                .id = "quota_put",
                .summary = "Create a quota by name, or replace it",
                .handler = put_quota},
        {.method = "PATCH",
                .path = "/quotas/{quota}",
                .permission = "host.write",
                .mode = ROUTE_WRITE,
                .flags = ROUTE_MERGE_PATCH,
                .body = &quota_write_fields,
                .response = &quota_fields,
                .errors = change_errors,
                .status = 200,
                .id = "quota_update",
                .summary = "Change a quota",
                .handler = patch_quota},
        {.method = "DELETE",
                .path = "/quotas/{quota}",
                .permission = "host.write",
                .mode = ROUTE_WRITE,
                .errors = delete_errors,
                .status = 204,
                .id = "quota_delete",
                .summary = "Delete a quota",
                .handler = delete_quota},
};
const struct route_table quotas_routes = {
        .tag = "Quotas", .routes = routes, .n_routes = ARRAY_LEN(routes)};

struct quota_list {
	struct list list;
	struct db *db;
	struct err *e;
};

static int write_item(void *arg, const struct quota_row *row)
{
	struct quota_list *quotas = arg;
	struct sql_bind values[] = {LIST_TEXT(row->spec.name), LIST_TEXT(row->id)};
	if (!list_item(&quotas->list, values))
		return 0;
	return quota_encode(quotas->db, row, list_writer(&quotas->list), quotas->e);
}

static int list_quotas(struct request *rq, struct reply *reply, struct err *e)
{
	struct quota_list quotas = {.db = rq->db, .e = e};
	list_begin(&quotas.list, rq, reply);
	int rc = quota_store_list(rq->db, &rq->list->page, write_item, &quotas, e);
	if (rc == 0)
		list_end(&quotas.list);
	return rc;
}

static int reply_quota(struct request *rq, struct reply *reply, const char *id, struct err *e)
{
	struct quota_row row CLEANUP(quota_row_done) = {0};
	int rc = quota_store_get(rq->db, id, &row, e);
	if (rc < 0)
		return rc;
	reply_etag(reply, row.id, row.version);
	if (reply->status == 201)
		reply_location(reply, "/api/v1/quotas/%s", row.spec.name);
	return quota_encode(rq->db, &row, &reply->body, e);
}

static int create_quota(struct request *rq, struct reply *reply, struct err *e)
{
	char id[UUID_TEXT_SIZE];
	int rc = request_check_absent(rq, e);
	if (rc == 0)
		rc = quota_create(rq->db, rq->body, id, rq->errors, e);
	reply->status = 201;
	return rc < 0 ? rc : reply_quota(rq, reply, id, e);
}

static int get_quota(struct request *rq, struct reply *reply, struct err *e)
{
	return reply_quota(rq, reply, rq->params[0], e);
}

/* The row, if the request's conditions on it hold. */
static int get_matching(struct request *rq, struct quota_row *ret_row, struct err *e)
{
	int rc = quota_store_get(rq->db, rq->params[0], ret_row, e);
	return rc < 0 ? rc : request_check_match(rq, ret_row->id, ret_row->version, e);
}

static int put_quota(struct request *rq, struct reply *reply, struct err *e)
{
	const struct quota_spec *spec = rq->body;
	struct quota_row row CLEANUP(quota_row_done) = {0};
	int rc = get_matching(rq, &row, e);
	if (rc == ERR_NOT_FOUND && !uuid_is_shaped(rq->params[0])) {
		err_clear(e);
		rc = request_check_name(spec->name, rq->params[0], e);
		return rc < 0 ? rc : create_quota(rq, reply, e);
	}
	if (rc == 0)
		rc = request_check_name(spec->name, row.spec.name, e);
	if (rc == 0)
		rc = quota_replace(rq->db, &row, spec, rq->errors, e);
	return rc < 0 ? rc : reply_quota(rq, reply, row.id, e);
}

static int patch_quota(struct request *rq, struct reply *reply, struct err *e)
{
	struct quota_row row CLEANUP(quota_row_done) = {0};
	int rc = get_matching(rq, &row, e);
	if (rc == 0)
		rc = quota_update(rq->db, &row, rq->json, rq->errors, e);
	return rc < 0 ? rc : reply_quota(rq, reply, row.id, e);
}

static int delete_quota(struct request *rq, struct reply *reply, struct err *e)
{
	struct quota_row row CLEANUP(quota_row_done) = {0};
	(void)reply;
	int rc = get_matching(rq, &row, e);
	return rc < 0 ? rc : quota_delete(rq->db, &row, e);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* /host-groups: the overcommit and placement policy of sets of hosts. */
#include "api/list.h"
#include "api/route.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "compute/host_group_store.h"

extern const struct route_table host_groups_routes;

static int list_groups(struct request *rq, struct reply *reply, struct err *e);
static int create_group(struct request *rq, struct reply *reply, struct err *e);
static int get_group(struct request *rq, struct reply *reply, struct err *e);
static int put_group(struct request *rq, struct reply *reply, struct err *e);
static int patch_group(struct request *rq, struct reply *reply, struct err *e);
static int delete_group(struct request *rq, struct reply *reply, struct err *e);

static const struct filter_column columns[] = {
        {.name = "name",
                .sql = "host_group.name",
                .flags = FILTER_FILTERABLE | FILTER_SORTABLE | FILTER_UNIQUE},
        {.name = "id",
                .sql = "host_group.id",
                .flags = FILTER_FILTERABLE | FILTER_SORTABLE | FILTER_UNIQUE},
        {0},
};

static const int create_errors[] = {ERR_EXISTS, 0};
static const int change_errors[] = {ERR_NOT_FOUND, ERR_EXISTS, ERR_PROTECTED, ERR_PRECONDITION, 0};
static const int delete_errors[] = {ERR_NOT_FOUND, ERR_IN_USE, ERR_PROTECTED, ERR_PRECONDITION, 0};
static const int read_errors[] = {ERR_NOT_FOUND, 0};

static const struct route routes[] = {
        {.method = "GET",
                .path = "/host-groups",
                .permission = "host.read",
                .mode = ROUTE_READ,
                .flags = ROUTE_LIST,
                .response = &host_group_fields,
                .columns = columns,
                .status = 200,
                .id = "host_group_list",
                .summary = "List host groups",
                .handler = list_groups},
        {.method = "POST",
                .path = "/host-groups",
                .permission = "host.write",
                .mode = ROUTE_WRITE,
                .body = &host_group_write_fields,
                .response = &host_group_fields,
                .errors = create_errors,
                .status = 201,
                .id = "host_group_create",
                .summary = "Create a host group",
                .handler = create_group},
        {.method = "GET",
                .path = "/host-groups/{group}",
                .permission = "host.read",
                .mode = ROUTE_READ,
                .flags = ROUTE_FIELDS,
                .response = &host_group_fields,
                .errors = read_errors,
                .status = 200,
                .id = "host_group_get",
                .summary = "Read a host group",
                .handler = get_group},
        {.method = "PUT",
                .path = "/host-groups/{group}",
                .permission = "host.write",
                .mode = ROUTE_WRITE,
                .body = &host_group_write_fields,
                .response = &host_group_fields,
                .errors = change_errors,
                .status = 200,
                .id = "host_group_put",
                .summary = "Create a host group by name, or replace its policy",
                .handler = put_group},
        {.method = "PATCH",
                .path = "/host-groups/{group}",
                .permission = "host.write",
                .mode = ROUTE_WRITE,
                .flags = ROUTE_MERGE_PATCH,
                .body = &host_group_write_fields,
                .response = &host_group_fields,
                .errors = change_errors,
                .status = 200,
                .id = "host_group_update",
                .summary = "Change a host group's policy",
                .handler = patch_group},
        {.method = "DELETE",
                .path = "/host-groups/{group}",
                .permission = "host.write",
                .mode = ROUTE_WRITE,
                .errors = delete_errors,
                .status = 204,
                .id = "host_group_delete",
                .summary = "Delete a host group without hosts",
                .handler = delete_group},
};
const struct route_table host_groups_routes = {
        .tag = "Host groups", .routes = routes, .n_routes = ARRAY_LEN(routes)};

static int write_item(void *arg, const struct host_group_row *row)
{
	struct list *list = arg;
	struct sql_bind values[] = {LIST_TEXT(row->spec.name), LIST_TEXT(row->id)};
	if (list_item(list, values))
		host_group_encode(row, list_writer(list));
	return 0;
}

static int list_groups(struct request *rq, struct reply *reply, struct err *e)
{
	struct list list;
	list_begin(&list, rq, reply);
	int rc = host_group_store_list(rq->db, &rq->list->page, write_item, &list, e);
	if (rc == 0)
		list_end(&list);
	return rc;
}

static int reply_group(struct request *rq, struct reply *reply, const char *id, struct err *e)
{
	struct host_group_row row CLEANUP(host_group_row_done) = {0};
	int rc = host_group_store_get(rq->db, id, &row, e);
	if (rc < 0)
		return rc;
	reply_etag(reply, row.id, row.version);
	if (reply->status == 201)
		reply_location(reply, "/api/v1/host-groups/%s", row.spec.name);
	host_group_encode(&row, &reply->body);
	return 0;
}

static int create_group(struct request *rq, struct reply *reply, struct err *e)
{
	char id[UUID_TEXT_SIZE];
	int rc = request_check_absent(rq, e);
	if (rc == 0)
		rc = host_group_create(rq->db, rq->body, id, e);
	reply->status = 201;
	return rc < 0 ? rc : reply_group(rq, reply, id, e);
}

static int get_group(struct request *rq, struct reply *reply, struct err *e)
{
	return reply_group(rq, reply, rq->params[0], e);
}

/* The row, if the request's conditions on it hold. */
static int get_matching(struct request *rq, struct host_group_row *ret_row, struct err *e)
{
	int rc = host_group_store_get(rq->db, rq->params[0], ret_row, e);
	return rc < 0 ? rc : request_check_match(rq, ret_row->id, ret_row->version, e);
}

static int put_group(struct request *rq, struct reply *reply, struct err *e)
{
	const struct host_group_spec *spec = rq->body;
	struct host_group_row row CLEANUP(host_group_row_done) = {0};
	int rc = get_matching(rq, &row, e);
	if (rc == ERR_NOT_FOUND && !uuid_is_shaped(rq->params[0])) {
		err_clear(e);
		rc = request_check_name(spec->name, rq->params[0], e);
		return rc < 0 ? rc : create_group(rq, reply, e);
	}
	if (rc == 0)
		rc = request_check_name(spec->name, row.spec.name, e);
	if (rc == 0)
		rc = host_group_replace(rq->db, &row, spec, e);
	return rc < 0 ? rc : reply_group(rq, reply, row.id, e);
}

static int patch_group(struct request *rq, struct reply *reply, struct err *e)
{
	struct host_group_row row CLEANUP(host_group_row_done) = {0};
	int rc = get_matching(rq, &row, e);
	if (rc == 0)
		rc = host_group_update(rq->db, &row, rq->json, rq->errors, e);
	return rc < 0 ? rc : reply_group(rq, reply, row.id, e);
}

static int delete_group(struct request *rq, struct reply *reply, struct err *e)
{
	struct host_group_row row CLEANUP(host_group_row_done) = {0};
	(void)reply;
	int rc = get_matching(rq, &row, e);
	return rc < 0 ? rc : host_group_delete(rq->db, &row, e);
}

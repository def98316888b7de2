/* SPDX-License-Identifier: Apache-2.0 */
/* /snapshot-groups: snapshots of several VMs at one moment. */
#include "api/list.h"
#include "api/request_asked.h"
#include "api/route.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "compute/snapshot_group_store.h"

extern const struct route_table snapshot_groups_routes;

static int list_groups(struct request *rq, struct reply *reply, struct err *e);
static int create_group(struct request *rq, struct reply *reply, struct err *e);
static int get_group(struct request *rq, struct reply *reply, struct err *e);
static int delete_group(struct request *rq, struct reply *reply, struct err *e);

static const struct filter_column columns[] = {
        {.name = "created_at",
                .sql = "snapshot_group.created_at",
                .type = FILTER_TIME,
                .flags = FILTER_FILTERABLE | FILTER_SORTABLE},
        {.name = "name",
                .sql = "snapshot_group.name",
                .flags = FILTER_FILTERABLE | FILTER_SORTABLE | FILTER_UNIQUE},
        {.name = "id",
                .sql = "snapshot_group.id",
                .flags = FILTER_FILTERABLE | FILTER_SORTABLE | FILTER_UNIQUE},
        {0},
};

static const int create_errors[] = {ERR_EXISTS, ERR_REFERENCE, ERR_WRONG_STATE, ERR_UNSUPPORTED,
        ERR_UNPROCESSABLE, ERR_LIMIT, ERR_DISK_FULL, ERR_HOST_DOWN, ERR_HOST_SLOW, 0};
static const int delete_errors[] = {ERR_NOT_FOUND, ERR_BUSY, ERR_WRONG_STATE, ERR_UNSUPPORTED,
        ERR_PRECONDITION, ERR_HOST_DOWN, ERR_HOST_SLOW, 0};
static const int read_errors[] = {ERR_NOT_FOUND, 0};

static const struct route routes[] = {
        {.method = "GET",
                .path = "/snapshot-groups",
                .permission = "vm.read",
                .mode = ROUTE_READ,
                .flags = ROUTE_LIST,
                .response = &snapshot_group_fields,
                .columns = columns,
                .status = 200,
                .id = "snapshot_group_list",
                .summary = "List snapshot groups",
                .handler = list_groups},
        {.method = "POST",
                .path = "/snapshot-groups",
                .permission = "vm.snapshot",
                .mode = ROUTE_WRITE,
                .flags = ROUTE_OPERATION | ROUTE_HOST_WAIT,
                .body = &snapshot_group_write_fields,
                .errors = create_errors,
                .status = 202,
                .id = "snapshot_group_create",
                .summary = "Take snapshots of several VMs at one moment: all or none",
                .handler = create_group},
        {.method = "GET",
                .path = "/snapshot-groups/{group}",
                .permission = "vm.read",
                .mode = ROUTE_READ,
                .flags = ROUTE_FIELDS,
                .response = &snapshot_group_fields,
                .errors = read_errors,
                .status = 200,
                .id = "snapshot_group_get",
                .summary = "Read a snapshot group with its members",
                .handler = get_group},
        {.method = "DELETE",
                .path = "/snapshot-groups/{group}",
                .permission = "vm.snapshot",
                .mode = ROUTE_WRITE,
                .flags = ROUTE_OPERATION | ROUTE_HOST_WAIT,
                .errors = delete_errors,
                .status = 202,
                .id = "snapshot_group_delete",
                .summary = "Delete a snapshot group and its snapshots",
                .handler = delete_group},
};
const struct route_table snapshot_groups_routes = {
        .tag = "Snapshot groups", .routes = routes, .n_routes = ARRAY_LEN(routes)};

struct page {
	struct list list;
	struct db *db;
};

static int write_item(void *arg, const struct snapshot_group_row *row)
{
	struct page *page = arg;
	struct sql_bind values[] = {
	        LIST_INT(row->created_at), LIST_TEXT(row->spec.name), LIST_TEXT(row->id)};
	if (!list_item(&page->list, values))
		return 0;
	return snapshot_group_encode(page->db, row, list_writer(&page->list), NULL);
}

static int list_groups(struct request *rq, struct reply *reply, struct err *e)
{
	struct page page = {.db = rq->db};
	list_begin(&page.list, rq, reply);
	int rc = snapshot_group_store_list(rq->db, &rq->list->page, write_item, &page, e);
	if (rc == 0)
		list_end(&page.list);
	return rc;
}

static int create_group(struct request *rq, struct reply *reply, struct err *e)
{
	char operation[UUID_TEXT_SIZE], id[UUID_TEXT_SIZE];
	const struct vm_request asked = request_vm(rq);
	int rc = request_check_absent(rq, e);
	if (rc == 0)
		rc = snapshot_group_create(
		        rq->db, rq->app->vms, rq->body, &asked, operation, id, e);
	return rc < 0 ? rc : reply_operation(rq, reply, operation, e);
}

static int get_group(struct request *rq, struct reply *reply, struct err *e)
{
	struct snapshot_group_row row CLEANUP(snapshot_group_row_done) = {0};
	int rc = snapshot_group_store_get(rq->db, rq->params[0], &row, e);
	if (rc < 0)
		return rc;
	reply_etag(reply, row.id, row.version);
	return snapshot_group_encode(rq->db, &row, &reply->body, e);
}

static int delete_group(struct request *rq, struct reply *reply, struct err *e)
{
	struct snapshot_group_row row CLEANUP(snapshot_group_row_done) = {0};
	char operation[UUID_TEXT_SIZE];
	const struct vm_request asked = request_vm(rq);
	int rc = snapshot_group_store_get(rq->db, rq->params[0], &row, e);
	if (rc == 0)
		rc = request_check_match(rq, row.id, row.version, e);
	if (rc == 0)
		rc = snapshot_group_delete(rq->db, rq->app->vms, &row, &asked, operation, e);
	return rc < 0 ? rc : reply_operation(rq, reply, operation, e);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* /snapshot-policies: snapshots by a schedule, and runs of them now. */
#include "api/list.h"
#include "api/route.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "compute/snapshot_policy_store.h"

extern const struct route_table snapshot_policies_routes;

static int list_policies(struct request *rq, struct reply *reply, struct err *e);
static int create_policy(struct request *rq, struct reply *reply, struct err *e);
static int get_policy(struct request *rq, struct reply *reply, struct err *e);
static int put_policy(struct request *rq, struct reply *reply, struct err *e);
static int patch_policy(struct request *rq, struct reply *reply, struct err *e);
static int delete_policy(struct request *rq, struct reply *reply, struct err *e);

static int run_policy(struct request *rq, struct reply *reply, struct err *e);

static const struct filter_column columns[] = {
        {.name = "name",
                .sql = "snapshot_policy.name",
                .flags = FILTER_FILTERABLE | FILTER_SORTABLE | FILTER_UNIQUE},
        {.name = "id",
                .sql = "snapshot_policy.id",
                .flags = FILTER_FILTERABLE | FILTER_SORTABLE | FILTER_UNIQUE},
        {0},
};

static const int create_errors[] = {ERR_EXISTS, 0};
static const int change_errors[] = {ERR_NOT_FOUND, ERR_EXISTS, ERR_PRECONDITION, 0};
static const int delete_errors[] = {ERR_NOT_FOUND, ERR_PRECONDITION, 0};
static const int run_errors[] = {ERR_NOT_FOUND, ERR_BUSY, ERR_PRECONDITION, 0};
static const int read_errors[] = {ERR_NOT_FOUND, 0};

static const struct route routes[] = {
        {.method = "GET",
                .path = "/snapshot-policies",
                .permission = "vm.read",
                .mode = ROUTE_READ,
                .flags = ROUTE_LIST,
                .response = &snapshot_policy_fields,
                .columns = columns,
                .status = 200,
                .id = "snapshot_policy_list",
                .summary = "List snapshot policies",
                .handler = list_policies},
        {.method = "POST",
                .path = "/snapshot-policies",
                .permission = "vm.snapshot",
                .mode = ROUTE_WRITE,
                .body = &snapshot_policy_write_fields,
                .response = &snapshot_policy_fields,
                .errors = create_errors,
                .status = 201,
                .id = "snapshot_policy_create",
                .summary = "Create a snapshot policy",
                .handler = create_policy},
        {.method = "GET",
                .path = "/snapshot-policies/{policy}",
                .permission = "vm.read",
                .mode = ROUTE_READ,
                .flags = ROUTE_FIELDS,
                .response = &snapshot_policy_fields,
                .errors = read_errors,
                .status = 200,
                .id = "snapshot_policy_get",
                .summary = "Read a snapshot policy, with a forecast of the longest chain",
                .handler = get_policy},
        {.method = "PUT",
                .path = "/snapshot-policies/{policy}",
                .permission = "vm.snapshot",
                .mode = ROUTE_WRITE,
                .body = &snapshot_policy_write_fields,
                .response = &snapshot_policy_fields,
                .errors = change_errors,
                .status = 200,
                .id = "snapshot_policy_put",
                .summary = "Create a snapshot policy by name, or replace it",
                .handler = put_policy},
        {.method = "PATCH",
                .path = "/snapshot-policies/{policy}",
                .permission = "vm.snapshot",
                .mode = ROUTE_WRITE,
                .flags = ROUTE_MERGE_PATCH,
                .body = &snapshot_policy_write_fields,
                .response = &snapshot_policy_fields,
                .errors = change_errors,
                .status = 200,
                .id = "snapshot_policy_update",
                .summary = "Change a snapshot policy",
                .handler = patch_policy},
        {.method = "DELETE",
                .path = "/snapshot-policies/{policy}",
                .permission = "vm.snapshot",
                .mode = ROUTE_WRITE,
                .errors = delete_errors,
                .status = 204,
                .id = "snapshot_policy_delete",
                .summary = "Delete a snapshot policy; its snapshots stay",
                .handler = delete_policy},
        {.method = "POST",
                .path = "/snapshot-policies/{policy}/run",
                .permission = "vm.snapshot",
                .mode = ROUTE_WRITE,
                .flags = ROUTE_OPERATION,
                .errors = run_errors,
                .status = 202,
                .id = "snapshot_policy_run",
                .summary = "Run a snapshot policy now, whatever its schedule says",
                .handler = run_policy},
};
const struct route_table snapshot_policies_routes = {
        .tag = "Snapshot policies", .routes = routes, .n_routes = ARRAY_LEN(routes)};

static int write_item(void *arg, const struct snapshot_policy_row *row)
{
	struct list *list = arg;
	struct sql_bind values[] = {LIST_TEXT(row->spec.name), LIST_TEXT(row->id)};
	if (!list_item(list, values))
		return 0;
	return snapshot_policy_encode(
	        list->rq->db, row, /* with_forecast= */ false, list_writer(list), NULL);
}

static int list_policies(struct request *rq, struct reply *reply, struct err *e)
{
	struct list list;
	list_begin(&list, rq, reply);
	int rc = snapshot_policy_store_list(rq->db, &rq->list->page, write_item, &list, e);
	if (rc == 0)
		list_end(&list);
	return rc;
}

static int reply_policy(struct request *rq, struct reply *reply, const char *id, struct err *e)
{
	struct snapshot_policy_row row CLEANUP(snapshot_policy_row_done) = {0};
	int rc = snapshot_policy_store_get(rq->db, id, &row, e);
	if (rc < 0)
		return rc;
	reply_etag(reply, row.id, row.version);
	if (reply->status == 201)
		reply_location(reply, "/api/v1/snapshot-policies/%s", row.spec.name);
	return snapshot_policy_encode(rq->db, &row, /* with_forecast= */ true, &reply->body, e);
}

static int create_policy(struct request *rq, struct reply *reply, struct err *e)
{
	char id[UUID_TEXT_SIZE];
	int rc = request_check_absent(rq, e);
	if (rc == 0)
		rc = snapshot_policy_create(rq->db, rq->body, id, e);
	reply->status = 201;
	return rc < 0 ? rc : reply_policy(rq, reply, id, e);
}

static int get_policy(struct request *rq, struct reply *reply, struct err *e)
{
	return reply_policy(rq, reply, rq->params[0], e);
}

/* The row, if the request's conditions on it hold. */
static int get_matching(struct request *rq, struct snapshot_policy_row *ret_row, struct err *e)
{
	int rc = snapshot_policy_store_get(rq->db, rq->params[0], ret_row, e);
	return rc < 0 ? rc : request_check_match(rq, ret_row->id, ret_row->version, e);
}

static int put_policy(struct request *rq, struct reply *reply, struct err *e)
{
	const struct snapshot_policy_spec *spec = rq->body;
	struct snapshot_policy_row row CLEANUP(snapshot_policy_row_done) = {0};
	int rc = get_matching(rq, &row, e);
	if (rc == ERR_NOT_FOUND && !uuid_is_shaped(rq->params[0])) {
		err_clear(e);
		rc = request_check_name(spec->name, rq->params[0], e);
		return rc < 0 ? rc : create_policy(rq, reply, e);
	}
	if (rc == 0)
		rc = request_check_name(spec->name, row.spec.name, e);
	if (rc == 0)
		rc = snapshot_policy_replace(rq->db, &row, spec, e);
	return rc < 0 ? rc : reply_policy(rq, reply, row.id, e);
}

static int patch_policy(struct request *rq, struct reply *reply, struct err *e)
{
	struct snapshot_policy_row row CLEANUP(snapshot_policy_row_done) = {0};
	int rc = get_matching(rq, &row, e);
	if (rc == 0)
		rc = snapshot_policy_update(rq->db, &row, rq->json, rq->errors, e);
	return rc < 0 ? rc : reply_policy(rq, reply, row.id, e);
}

static int delete_policy(struct request *rq, struct reply *reply, struct err *e)
{
	struct snapshot_policy_row row CLEANUP(snapshot_policy_row_done) = {0};
	(void)reply;
	int rc = get_matching(rq, &row, e);
	return rc < 0 ? rc : snapshot_policy_delete(rq->db, &row, e);
}

static int run_policy(struct request *rq, struct reply *reply, struct err *e)
{
	struct snapshot_policy_row row CLEANUP(snapshot_policy_row_done) = {0};
	char operation[UUID_TEXT_SIZE];
	const struct vm_request asked = {.requested_by = rq->principal.name, .request_id = rq->id};
	int rc = get_matching(rq, &row, e);
	if (rc == 0)
		rc = snapshot_policy_run(
		        rq->db, rq->app->engine, &row, clock_wall_ms(), &asked, operation, e);
	return rc < 0 ? rc : reply_operation(rq, reply, operation, e);
}

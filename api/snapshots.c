/* SPDX-License-Identifier: Apache-2.0 */
/* /vms/{vm}/snapshots: taking, reading, changing and deleting snapshots, and going back to one. */
#include "api/list.h"
#include "api/request_asked.h"
#include "api/route.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "compute/snapshot_store.h"

extern const struct route_table snapshots_routes;

static int list_snapshots(struct request *rq, struct reply *reply, struct err *e);
static int create_snapshot(struct request *rq, struct reply *reply, struct err *e);
static int get_snapshot(struct request *rq, struct reply *reply, struct err *e);
static int patch_snapshot(struct request *rq, struct reply *reply, struct err *e);
static int delete_snapshot(struct request *rq, struct reply *reply, struct err *e);
static int revert_snapshot(struct request *rq, struct reply *reply, struct err *e);

static const struct filter_column columns[] = {
        {.name = "created_at",
                .sql = "snapshot.created_at",
                .type = FILTER_TIME,
                .flags = FILTER_FILTERABLE | FILTER_SORTABLE},
        {.name = "name", .sql = "snapshot.name", .flags = FILTER_FILTERABLE | FILTER_SORTABLE},
        {.name = "id",
                .sql = "snapshot.id",
                .flags = FILTER_FILTERABLE | FILTER_SORTABLE | FILTER_UNIQUE},
        {.name = "kind", .sql = "snapshot.kind", .flags = FILTER_FILTERABLE},
        {.name = "state", .sql = "snapshot.state", .flags = FILTER_FILTERABLE},
        {.name = "expires_at",
                .sql = "snapshot.expires_at",
                .type = FILTER_TIME,
                .flags = FILTER_FILTERABLE},
        {0},
};

static const int create_errors[] = {ERR_NOT_FOUND, ERR_EXISTS, ERR_WRONG_STATE, ERR_BUSY,
        ERR_UNSUPPORTED, ERR_UNPROCESSABLE, ERR_LIMIT, ERR_DISK_FULL, ERR_PRECONDITION,
        ERR_HOST_DOWN, ERR_HOST_SLOW, 0};
static const int revert_errors[] = {ERR_NOT_FOUND, ERR_WRONG_STATE, ERR_BUSY, ERR_IN_USE,
        ERR_REFERENCE, ERR_UNSUPPORTED, ERR_LIMIT, ERR_PRECONDITION, ERR_HOST_DOWN, ERR_HOST_SLOW,
        0};
static const int delete_errors[] = {ERR_NOT_FOUND, ERR_WRONG_STATE, ERR_UNSUPPORTED, ERR_BUSY,
        ERR_PRECONDITION, ERR_HOST_DOWN, ERR_HOST_SLOW, 0};
static const int change_errors[] = {ERR_NOT_FOUND, ERR_EXISTS, ERR_PRECONDITION, 0};
static const int read_errors[] = {ERR_NOT_FOUND, 0};

static const struct route routes[] = {
        {.method = "GET",
                .path = "/vms/{vm}/snapshots",
                .permission = "vm.read",
                .mode = ROUTE_READ,
                .flags = ROUTE_LIST,
                .response = &snapshot_fields,
                .columns = columns,
                .errors = read_errors,
                .status = 200,
                .id = "snapshot_list",
                .summary = "List a VM's snapshots: a tree, by parent and children",
                .handler = list_snapshots},
        {.method = "POST",
                .path = "/vms/{vm}/snapshots",
                .permission = "vm.snapshot",
                .mode = ROUTE_WRITE,
                .flags = ROUTE_OPERATION | ROUTE_HOST_WAIT,
                .body = &snapshot_write_fields,
                .response = &snapshot_fields,
                .errors = create_errors,
                .status = 202,
                .id = "snapshot_create",
                .summary = "Take a snapshot of a VM",
                .handler = create_snapshot},
        {.method = "GET",
                .path = "/vms/{vm}/snapshots/{snapshot}",
                .permission = "vm.read",
                .mode = ROUTE_READ,
                .flags = ROUTE_FIELDS,
                .response = &snapshot_fields,
                .errors = read_errors,
                .status = 200,
                .id = "snapshot_get",
                .summary = "Read a snapshot",
                .handler = get_snapshot},
        {.method = "PATCH",
                .path = "/vms/{vm}/snapshots/{snapshot}",
                .permission = "vm.snapshot",
                .mode = ROUTE_WRITE,
                .flags = ROUTE_MERGE_PATCH,
                .body = &snapshot_change_fields,
                .response = &snapshot_fields,
                .errors = change_errors,
                .status = 200,
                .id = "snapshot_update",
                .summary = "Change a snapshot's name, description or expiry",
                .handler = patch_snapshot},
        {.method = "DELETE",
                .path = "/vms/{vm}/snapshots/{snapshot}",
                .permission = "vm.snapshot",
                .mode = ROUTE_WRITE,
                .flags = ROUTE_OPERATION | ROUTE_HOST_WAIT,
                .response = &snapshot_fields,
                .errors = delete_errors,
                .status = 202,
                .id = "snapshot_delete",
                .summary = "Delete a snapshot; those that descend from it stay",
                .handler = delete_snapshot},
        {.method = "POST",
                .path = "/vms/{vm}/snapshots/{snapshot}/revert",
                .permission = "vm.snapshot",
                .mode = ROUTE_WRITE,
                .flags = ROUTE_OPERATION | ROUTE_HOST_WAIT | ROUTE_BODY_OPTIONAL,
                .body = &snapshot_revert_fields,
                .errors = revert_errors,
                .status = 202,
                .id = "snapshot_revert",
                .summary = "Go back to a snapshot: what came after it and is in no other is lost",
                .handler = revert_snapshot},
};
const struct route_table snapshots_routes = {
        .tag = "Snapshots", .routes = routes, .n_routes = ARRAY_LEN(routes)};

/* ---- reading ---- */

struct page {
	struct list list;
	struct db *db;
	struct err *e;
};

static int write_item(void *arg, const struct snapshot_row *row)
{
	struct page *page = arg;
	struct sql_bind values[] = {LIST_INT(row->created_at), LIST_TEXT(row->name),
	        LIST_TEXT(row->id), LIST_TEXT(snapshot_kind_names[row->kind]),
	        LIST_TEXT(snapshot_state_names[row->state]), LIST_INT(row->expires_at)};
	return list_item(&page->list, values)
	               ? snapshot_encode(page->db, row, list_writer(&page->list), page->e)
	               : 0;
}

static int list_snapshots(struct request *rq, struct reply *reply, struct err *e)
{
	struct vm_row vm CLEANUP(vm_row_done) = {0};
	struct page page = {.db = rq->db, .e = e};
	int rc = vm_store_get(rq->db, rq->params[0], &vm, e);
	if (rc < 0)
		return rc;
	list_begin(&page.list, rq, reply);
	rc = snapshot_store_list(rq->db, vm.id, &rq->list->page, write_item, &page, e);
	if (rc == 0)
		list_end(&page.list);
	return rc;
}

static int find(
        struct request *rq, struct vm_row *ret_vm, struct snapshot_row *ret_row, struct err *e)
{
	int rc = vm_store_get(rq->db, rq->params[0], ret_vm, e);
	return rc < 0 ? rc : snapshot_store_get(rq->db, ret_vm->id, rq->params[1], ret_row, e);
}

static int reply_snapshot(
        struct request *rq, struct reply *reply, const struct snapshot_row *row, struct err *e)
{
	reply_etag(reply, row->id, row->version);
	return snapshot_encode(rq->db, row, &reply->body, e);
}

static int get_snapshot(struct request *rq, struct reply *reply, struct err *e)
{
	struct vm_row vm CLEANUP(vm_row_done) = {0};
	struct snapshot_row row CLEANUP(snapshot_row_done) = {0};
	int rc = find(rq, &vm, &row, e);
	return rc < 0 ? rc : reply_snapshot(rq, reply, &row, e);
}

/* ---- changing ---- */

static int create_snapshot(struct request *rq, struct reply *reply, struct err *e)
{
	const struct snapshot_spec *spec = rq->body;
	const struct snapshot_request request = {
	        .name = spec->name,
	        .description = spec->description,
	        .memory = spec->memory,
	        .quiesce = spec->quiesce,
	        .expires_at = spec->expires_at,
	};
	const struct vm_request asked = request_vm(rq);
	struct vm_row vm CLEANUP(vm_row_done) = {0};
	char operation[UUID_TEXT_SIZE], id[UUID_TEXT_SIZE];
	int rc = request_check_absent(rq, e);
	if (rc == 0)
		rc = vm_store_get(rq->db, rq->params[0], &vm, e);
	if (rc == 0)
		rc = request_check_busy(rq, vm.id, e);
	if (rc == 0)
		rc = snapshot_create(rq->db, rq->app->vms, &vm, &request, &asked, operation, id, e);
	return rc < 0 ? rc : reply_operation(rq, reply, operation, e);
}

/* The row, if the request's conditions on it hold. */
static int find_matching(
        struct request *rq, struct vm_row *ret_vm, struct snapshot_row *ret_row, struct err *e)
{
	int rc = find(rq, ret_vm, ret_row, e);
	return rc < 0 ? rc : request_check_match(rq, ret_row->id, ret_row->version, e);
}

static void spec_done(struct snapshot_spec *spec)
{
	field_release(&snapshot_change_fields, spec);
}

static int patch_snapshot(struct request *rq, struct reply *reply, struct err *e)
{
	struct vm_row vm CLEANUP(vm_row_done) = {0};
	struct snapshot_row row CLEANUP(snapshot_row_done) = {0};
	struct snapshot_row now CLEANUP(snapshot_row_done) = {0};
	struct snapshot_spec spec CLEANUP(spec_done) = {0};
	int rc = find_matching(rq, &vm, &row, e);
	if (rc < 0)
		return rc;
	json_t *base CLEANUP(cleanup_json) = snapshot_patch_base(&row);
	json_t *merged CLEANUP(cleanup_json) = field_merge_patch(base, rq->json);
	rc = field_decode(&snapshot_change_fields, merged, FIELD_DECODE_CREATE, &spec, rq->errors);
	if (rc == 0)
		rc = snapshot_update(rq->db, &row, spec.name,
		        spec.description ? spec.description : "", spec.expires_at, e);
	if (rc == 0)
		rc = snapshot_store_get(rq->db, vm.id, row.id, &now, e);
	return rc < 0 ? rc : reply_snapshot(rq, reply, &now, e);
}

static int delete_snapshot(struct request *rq, struct reply *reply, struct err *e)
{
	struct vm_row vm CLEANUP(vm_row_done) = {0};
	struct snapshot_row row CLEANUP(snapshot_row_done) = {0};
	const struct vm_request asked = request_vm(rq);
	char operation[UUID_TEXT_SIZE];
	int rc = find_matching(rq, &vm, &row, e);
	if (rc == 0)
		rc = request_check_busy(rq, vm.id, e);
	if (rc == 0)
		rc = snapshot_delete(rq->db, rq->app->vms, &vm, &row, &asked, operation, e);
	return rc < 0 ? rc : reply_operation(rq, reply, operation, e);
}

/* A dry run answers with what the operation's result would be. */
static int reply_plan(struct reply *reply, json_t *answer)
{
	char *text CLEANUP(cleanup_free) = json_dumps(answer, JSON_COMPACT);
	reply->status = 200;
	json_object_begin(&reply->body);
	json_member_string(&reply->body, "kind", "snapshot.revert");
	json_member_raw(&reply->body, "result", text);
	json_object_end(&reply->body);
	return 0;
}

static int revert_snapshot(struct request *rq, struct reply *reply, struct err *e)
{
	const struct snapshot_revert_spec *spec = rq->body;
	struct vm_row vm CLEANUP(vm_row_done) = {0};
	struct snapshot_row row CLEANUP(snapshot_row_done) = {0};
	json_t *answer CLEANUP(cleanup_json) = NULL;
	const struct vm_request asked = request_vm(rq);
	char operation[UUID_TEXT_SIZE];
	int rc = find_matching(rq, &vm, &row, e);
	if (rc == 0)
		rc = request_check_busy(rq, vm.id, e);
	if (rc == 0)
		rc = snapshot_revert(rq->db, rq->app->vms, &vm, &row,
		        spec ? (enum snapshot_power)spec->power : SNAPSHOT_POWER_AS_RECORDED,
		        &asked, operation, &answer, e);
	if (rc < 0)
		return rc;
	return rq->dry_run ? reply_plan(reply, answer) : reply_operation(rq, reply, operation, e);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* /images: what VMs are made from. Their content is uploaded by image_content.c. */
#include "api/image_vms.h"
#include "api/list.h"
#include "api/request_asked.h"
#include "api/route.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "storage/image_store.h"

extern const struct route_table images_routes;
int image_put_content(struct request *rq, struct reply *reply, struct err *e);

static int list_images(struct request *rq, struct reply *reply, struct err *e);
static int create_image(struct request *rq, struct reply *reply, struct err *e);
static int get_image(struct request *rq, struct reply *reply, struct err *e);
static int put_image(struct request *rq, struct reply *reply, struct err *e);
static int patch_image(struct request *rq, struct reply *reply, struct err *e);
static int delete_image(struct request *rq, struct reply *reply, struct err *e);

static const struct filter_column columns[] = {
        {.name = "name",
                .sql = "image.name",
                .flags = FILTER_FILTERABLE | FILTER_SORTABLE | FILTER_UNIQUE},
        {.name = "id",
                .sql = "image.id",
                .flags = FILTER_FILTERABLE | FILTER_SORTABLE | FILTER_UNIQUE},
        {.name = "state", .sql = "image.state", .flags = FILTER_FILTERABLE},
        {.name = "created_at",
                .sql = "image.created_at",
                .type = FILTER_TIME,
                .flags = FILTER_FILTERABLE | FILTER_SORTABLE},
        {0},
};

static const int create_errors[] = {ERR_EXISTS, 0};
static const int change_errors[] = {ERR_NOT_FOUND, ERR_EXISTS, ERR_PRECONDITION, 0};
static const int delete_errors[] = {
        ERR_NOT_FOUND, ERR_IN_USE, ERR_BUSY, ERR_PRECONDITION, ERR_UNAVAILABLE, 0};
static const int read_errors[] = {ERR_NOT_FOUND, 0};
static const int content_errors[] = {ERR_NOT_FOUND, ERR_WRONG_STATE, ERR_BUSY, ERR_TOO_LARGE,
        ERR_LIMIT, ERR_RANGE, ERR_UNPROCESSABLE, ERR_UNSUPPORTED, ERR_DISK_FULL, 0};

static const struct route routes[] = {
        {.method = "GET",
                .path = "/images",
                .permission = "image.read",
                .mode = ROUTE_READ,
                .flags = ROUTE_LIST,
                .response = &image_fields,
                .columns = columns,
                .status = 200,
                .id = "image_list",
                .summary = "List images",
                .handler = list_images},
        {.method = "POST",
                .path = "/images",
                .permission = "image.write",
                .mode = ROUTE_WRITE,
                .flags = ROUTE_OPERATION,
                .body = &image_write_fields,
                .response = &image_fields,
                .errors = create_errors,
                .status = 201,
                .id = "image_create",
                .summary = "Create an image: fetched from its URL (202), or to be uploaded (201)",
                .handler = create_image},
        {.method = "GET",
                .path = "/images/{image}",
                .permission = "image.read",
                .mode = ROUTE_READ,
                .flags = ROUTE_FIELDS,
                .response = &image_fields,
                .errors = read_errors,
                .status = 200,
                .id = "image_get",
                .summary = "Read an image",
                .handler = get_image},
        {.method = "PUT",
                .path = "/images/{image}",
                .permission = "image.write",
                .mode = ROUTE_WRITE,
                .flags = ROUTE_OPERATION,
                .body = &image_write_fields,
                .response = &image_fields,
                .errors = change_errors,
                .status = 200,
                .id = "image_put",
                .summary = "Create an image by name, or replace what is said of it",
                .handler = put_image},
        {.method = "PATCH",
                .path = "/images/{image}",
                .permission = "image.write",
                .mode = ROUTE_WRITE,
                .flags = ROUTE_MERGE_PATCH,
                .body = &image_write_fields,
                .response = &image_fields,
                .errors = change_errors,
                .status = 200,
                .id = "image_update",
                .summary = "Change what is said of an image",
                .handler = patch_image},
        {.method = "DELETE",
                .path = "/images/{image}",
                .permission = "image.write",
                .mode = ROUTE_WRITE,
                .flags = ROUTE_OPERATION | ROUTE_HOST_WAIT,
                .response = &image_fields,
                .errors = delete_errors,
                .status = 202,
                .id = "image_delete",
                .summary = "Delete an image and its copies in pools",
                .handler = delete_image},
        {.method = "PUT",
                .path = "/images/{image}/content",
                .permission = "image.write",
                .mode = ROUTE_UPLOAD,
                .flags = ROUTE_OPERATION,
                .response = &image_fields,
                .errors = content_errors,
                .status = 202,
                .id = "image_put_content",
                .summary = "Upload an image's content, whole or (Content-Range) a piece of it; the "
                           "last byte begins its import",
                .handler = image_put_content},
};
const struct route_table images_routes = {
        .tag = "Images", .routes = routes, .n_routes = ARRAY_LEN(routes)};

static int write_item(void *arg, const struct image_row *row)
{
	struct list *list = arg;
	struct sql_bind values[] = {LIST_TEXT(row->spec.name), LIST_TEXT(row->id),
	        LIST_TEXT(row->state), LIST_INT(row->created_at)};
	if (list_item(list, values))
		image_encode(row, list_writer(list));
	return 0;
}

static int list_images(struct request *rq, struct reply *reply, struct err *e)
{
	struct list list;
	list_begin(&list, rq, reply);
	int rc = image_store_list(rq->db, &rq->list->page, write_item, &list, e);
	if (rc == 0)
		list_end(&list);
	return rc;
}

static int reply_image(struct request *rq, struct reply *reply, const char *id, struct err *e)
{
	struct image_row row CLEANUP(image_row_done) = {0};
	int rc = image_store_get(rq->db, id, &row, e);
	if (rc < 0)
		return rc;
	reply_etag(reply, row.id, row.version);
	if (reply->status == 201)
		reply_location(reply, "/api/v1/images/%s", row.spec.name);
	image_encode(&row, &reply->body);
	return 0;
}

static int create_image(struct request *rq, struct reply *reply, struct err *e)
{
	char id[UUID_TEXT_SIZE], operation[UUID_TEXT_SIZE] = "";
	const struct operation_asked asked = request_asked(rq, 0);
	int rc = request_check_absent(rq, e);
	if (rc == 0)
		rc = image_check_vm_defaults(rq);
	if (rc == 0)
		rc = image_create(rq->db, rq->app->images, rq->app->engine, rq->body, &asked, id,
		        operation, e);
	if (rc < 0)
		return rc;
	if (operation[0])
		return reply_operation(rq, reply, operation, e);
	reply->status = 201;
	return reply_image(rq, reply, id, e);
}

static int get_image(struct request *rq, struct reply *reply, struct err *e)
{
	return reply_image(rq, reply, rq->params[0], e);
}

/* The row, if the request's conditions on it hold. */
static int get_matching(struct request *rq, struct image_row *ret_row, struct err *e)
{
	int rc = image_store_get(rq->db, rq->params[0], ret_row, e);
	return rc < 0 ? rc : request_check_match(rq, ret_row->id, ret_row->version, e);
}

static int put_image(struct request *rq, struct reply *reply, struct err *e)
{
	const struct image_spec *spec = rq->body;
	struct image_row row CLEANUP(image_row_done) = {0};
	int rc = get_matching(rq, &row, e);
	if (rc == ERR_NOT_FOUND && !uuid_is_shaped(rq->params[0])) {
		err_clear(e);
		rc = request_check_name(spec->name, rq->params[0], e);
		return rc < 0 ? rc : create_image(rq, reply, e);
	}
	if (rc == 0)
		rc = request_check_name(spec->name, row.spec.name, e);
	if (rc == 0)
		rc = image_check_vm_defaults(rq);
	if (rc == 0)
		rc = image_replace(rq->db, &row, spec, rq->errors, e);
	return rc < 0 ? rc : reply_image(rq, reply, row.id, e);
}

static int patch_image(struct request *rq, struct reply *reply, struct err *e)
{
	struct image_row row CLEANUP(image_row_done) = {0};
	int rc = get_matching(rq, &row, e);
	if (rc == 0)
		rc = image_check_vm_defaults(rq);
	if (rc == 0)
		rc = image_update(rq->db, &row, rq->json, rq->errors, e);
	return rc < 0 ? rc : reply_image(rq, reply, row.id, e);
}

static int delete_image(struct request *rq, struct reply *reply, struct err *e)
{
	struct image_row row CLEANUP(image_row_done) = {0};
	const struct operation_asked asked = request_asked(rq, 0);
	char operation[UUID_TEXT_SIZE] = "";
	int rc = get_matching(rq, &row, e);
	if (rc == 0)
		rc = image_delete(
		        rq->db, rq->app->images, rq->app->engine, &row, &asked, operation, e);
	return rc < 0 ? rc : reply_operation(rq, reply, operation, e);
}

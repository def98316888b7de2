/* SPDX-License-Identifier: Apache-2.0 */
/* /pools/{pool}/volumes: creating, reading and deleting volumes. */
#include "api/list.h"
#include "api/route.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "compute/host.h"
#include "storage/pool_store.h"
#include "storage/volume_operations.h"
#include "storage/volume_store.h"

extern const struct route_table volumes_routes;

static int list_volumes(struct request *rq, struct reply *reply, struct err *e);
static int create_volume(struct request *rq, struct reply *reply, struct err *e);
static int get_volume(struct request *rq, struct reply *reply, struct err *e);
static int delete_volume(struct request *rq, struct reply *reply, struct err *e);

static const struct filter_column columns[] = {
        {.name = "name", .sql = "volume.name", .flags = FILTER_FILTERABLE | FILTER_SORTABLE},
        {.name = "id",
                .sql = "volume.id",
                .flags = FILTER_FILTERABLE | FILTER_SORTABLE | FILTER_UNIQUE},
        {.name = "host", .sql = "host.name", .flags = FILTER_FILTERABLE},
        {.name = "format", .sql = "volume.format", .flags = FILTER_FILTERABLE},
        {.name = "state", .sql = "volume.state", .flags = FILTER_FILTERABLE},
        {.name = "vm", .sql = "coalesce(volume.vm_id, '')", .flags = FILTER_FILTERABLE},
        {.name = "size_bytes",
                .sql = "volume.size_bytes",
                .type = FILTER_INT,
                .flags = FILTER_FILTERABLE},
        {0},
};

static const struct query_param host_query[] = {
        {.name = "host",
                .type = QUERY_TEXT,
                .max = 63,
                .doc = "The volume's host, by name or id, if several have one of that name"},
        {0},
};

static const int create_errors[] = {
        ERR_NOT_FOUND, ERR_EXISTS, ERR_REFERENCE, ERR_NO_CAPACITY, ERR_HOST_DOWN, ERR_HOST_SLOW, 0};
static const int delete_errors[] = {ERR_NOT_FOUND, ERR_CONFLICT, ERR_IN_USE, ERR_BUSY,
        ERR_PRECONDITION, ERR_HOST_DOWN, ERR_HOST_SLOW, 0};
static const int list_errors[] = {ERR_NOT_FOUND, 0};
static const int read_errors[] = {ERR_NOT_FOUND, ERR_CONFLICT, 0};

static const struct route routes[] = {
        {.method = "GET",
                .path = "/pools/{pool}/volumes",
                .permission = "volume.read",
                .mode = ROUTE_READ,
                .flags = ROUTE_LIST,
                .response = &volume_fields,
                .columns = columns,
                .errors = list_errors,
                .status = 200,
                .id = "volume_list",
                .summary = "List a pool's volumes",
                .handler = list_volumes},
        {.method = "POST",
                .path = "/pools/{pool}/volumes",
                .permission = "volume.write",
                .mode = ROUTE_WRITE,
                .flags = ROUTE_OPERATION | ROUTE_HOST_WAIT,
                .body = &volume_write_fields,
                .response = &volume_fields,
                .errors = create_errors,
                .status = 202,
                .id = "volume_create",
                .summary = "Create an empty volume",
                .handler = create_volume},
        {.method = "GET",
                .path = "/pools/{pool}/volumes/{volume}",
                .permission = "volume.read",
                .mode = ROUTE_READ,
                .flags = ROUTE_FIELDS,
                .query = host_query,
                .response = &volume_fields,
                .errors = read_errors,
                .status = 200,
                .id = "volume_get",
                .summary = "Read a volume",
                .handler = get_volume},
        {.method = "DELETE",
                .path = "/pools/{pool}/volumes/{volume}",
                .permission = "volume.write",
                .mode = ROUTE_WRITE,
                .flags = ROUTE_OPERATION | ROUTE_HOST_WAIT,
                .query = host_query,
                .response = &volume_fields,
                .errors = delete_errors,
                .status = 202,
                .id = "volume_delete",
                .summary = "Delete a volume that no VM has, with its data",
                .handler = delete_volume},
};
const struct route_table volumes_routes = {
        .tag = "Volumes", .routes = routes, .n_routes = ARRAY_LEN(routes)};

static int write_item(void *arg, const struct volume_row *row)
{
	struct list *list = arg;
	struct sql_bind values[] = {LIST_TEXT(row->name), LIST_TEXT(row->id), LIST_TEXT(row->host),
	        LIST_TEXT(row->format), LIST_TEXT(row->state),
	        LIST_TEXT(row->vm_id ? row->vm_id : ""), LIST_INT(row->size_bytes)};
	if (list_item(list, values))
		volume_encode(row, list_writer(list));
	return 0;
}

static int list_volumes(struct request *rq, struct reply *reply, struct err *e)
{
	struct pool_row pool CLEANUP(pool_row_done) = {0};
	int rc = pool_store_get(rq->db, rq->params[0], &pool, e);
	if (rc < 0)
		return rc;
	struct list list;
	list_begin(&list, rq, reply);
	rc = volume_store_list(rq->db, pool.id, &rq->list->page, write_item, &list, e);
	if (rc == 0)
		list_end(&list);
	return rc;
}

/* The host that the volume shall be on: the named one, or the one a VM would be given. */
static int find_host(struct request *rq, const char *name, struct host_row *ret_row, struct err *e)
{
	if (!name)
		return host_store_choose(rq->db, 0, 0, ret_row, e);
	int rc = host_store_get(rq->db, name, ret_row, e);
	if (rc == ERR_NOT_FOUND)
		return err_set_at(e, ERR_REFERENCE, "/host", "no host named %s", name);
	return rc;
}

/* A host that does not answer refuses at once, unless the client asked to wait: then until that is
 * over. */
static int check_host(
        const struct request *rq, const struct host_row *host, int64_t *ret_deadline, struct err *e)
{
	int rc = host_check_available(host, e);
	*ret_deadline = 0;
	if (rc == 0 || rq->wait_ms <= 0)
		return rc;
	err_clear(e);
	*ret_deadline = clock_wall_ms() + rq->wait_ms;
	return 0;
}

static struct volume_asked asked_by(const struct request *rq, int64_t deadline)
{
	return (struct volume_asked){
	        .requested_by = rq->principal.name, .request_id = rq->id, .deadline_ms = deadline};
}

static int create_volume(struct request *rq, struct reply *reply, struct err *e)
{
	const struct volume_spec *spec = rq->body;
	struct pool_row pool CLEANUP(pool_row_done) = {0};
	struct host_row host CLEANUP(host_row_done) = {0};
	int64_t deadline = 0;
	int rc = request_check_absent(rq, e);
	if (rc < 0 || (rc = pool_store_get(rq->db, rq->params[0], &pool, e)) < 0 ||
	        (rc = find_host(rq, spec->host, &host, e)) < 0 ||
	        (rc = check_host(rq, &host, &deadline, e)) < 0)
		return rc;
	struct volume_request request = {.pool = pool.name,
	        .host_id = host.id,
	        .name = spec->name,
	        .format = volume_format_names[spec->format],
	        .size_bytes = spec->size_bytes};
	struct volume_asked asked = asked_by(rq, deadline);
	char operation[UUID_TEXT_SIZE], id[UUID_TEXT_SIZE];
	rc = volume_create(rq->db, rq->app->engine, &request, &asked, operation, id, e);
	return rc < 0 ? rc : reply_operation(rq, reply, operation, e);
}

static int find_volume(struct request *rq, struct volume_row *ret_row, struct err *e)
{
	struct host_row host CLEANUP(host_row_done) = {0};
	struct pool_row pool CLEANUP(pool_row_done) = {0};
	const char *host_name = request_query(rq, "host");
	int rc = pool_store_get(rq->db, rq->params[0], &pool, e);
	if (rc == 0 && host_name)
		rc = host_store_get(rq->db, host_name, &host, e);
	if (rc < 0)
		return rc;
	return volume_store_find(
	        rq->db, pool.name, host_name ? host.id : NULL, rq->params[1], ret_row, e);
}

static int get_volume(struct request *rq, struct reply *reply, struct err *e)
{
	struct volume_row row CLEANUP(volume_row_done) = {0};
	int rc = find_volume(rq, &row, e);
	if (rc < 0)
		return rc;
	reply_etag(reply, row.id, row.version);
	volume_encode(&row, &reply->body);
	return 0;
}

static int delete_volume(struct request *rq, struct reply *reply, struct err *e)
{
	struct volume_row row CLEANUP(volume_row_done) = {0};
	struct host_row host CLEANUP(host_row_done) = {0};
	int64_t deadline = 0;
	int rc = find_volume(rq, &row, e);
	if (rc < 0 || (rc = request_check_match(rq, row.id, row.version, e)) < 0 ||
	        (rc = request_check_busy(rq, row.id, e)) < 0 ||
	        (rc = host_store_get(rq->db, row.host_id, &host, e)) < 0 ||
	        (rc = check_host(rq, &host, &deadline, e)) < 0)
		return rc;
	struct volume_asked asked = asked_by(rq, deadline);
	char operation[UUID_TEXT_SIZE];
	rc = volume_delete(rq->db, rq->app->engine, &row, &asked, operation, e);
	return rc < 0 ? rc : reply_operation(rq, reply, operation, e);
}

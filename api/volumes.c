/* SPDX-License-Identifier: Apache-2.0 */
/* /pools/{pool}/volumes: making, reading, growing, copying, wiping and deleting volumes. */
#include "api/volumes.h"

#include "api/list.h"
#include "api/request_asked.h"
#include "api/route.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "compute/host.h"
#include "compute/quota.h"
#include "compute/room.h"
#include "storage/pool_store.h"
#include "storage/volume_operations.h"
#include "storage/volume_store.h"

extern const struct route_table volumes_routes;

static int list_volumes(struct request *rq, struct reply *reply, struct err *e);
static int create_volume(struct request *rq, struct reply *reply, struct err *e);
static int get_volume(struct request *rq, struct reply *reply, struct err *e);
static int delete_volume(struct request *rq, struct reply *reply, struct err *e);
static int resize_volume(struct request *rq, struct reply *reply, struct err *e);
static int clone_volume(struct request *rq, struct reply *reply, struct err *e);
static int wipe_volume(struct request *rq, struct reply *reply, struct err *e);

/* ---- bodies of verbs ---- */

#define MIB ((int64_t)1 << 20)
#define TIB ((int64_t)1 << 40)

struct resize_body {
	int64_t size_bytes;
};
static const struct field resize_fields[] = {
        {.name = "size_bytes",
                .type = FIELD_INT,
                .offset = offsetof(struct resize_body, size_bytes),
                .flags = FIELD_REQUIRED,
                .min = MIB,
                .max = 256 * TIB,
                .doc = "The new size in bytes, a multiple of 1 MiB; not less than it has"},
};
static const struct field_table resize_table =
        FIELD_TABLE("VolumeResize", struct resize_body, resize_fields);

struct clone_body {
	char *name, *pool, *host; /* owned; pool NULL: the source's; host NULL: chosen */
	int mode, format;
	bool has_format;
	int64_t size_bytes; /* 0: not given */
};
static const struct field clone_fields[] = {
        {.name = "name",
                .type = FIELD_STRING,
                .offset = offsetof(struct clone_body, name),
                .flags = FIELD_REQUIRED,
                .max = 63,
                .check = field_check_name,
                .format = "^[a-z][a-z0-9-]{0,62}$",
                .doc = "Of the new volume, unique in its pool on its host"},
        {.name = "pool",
                .type = FIELD_STRING,
                .offset = offsetof(struct clone_body, pool),
                .max = 63,
                .check = field_check_text,
                .doc = "The pool it shall lie in, by name or id; left out: the source's"},
        {.name = "host",
                .type = FIELD_STRING,
                .offset = offsetof(struct clone_body, host),
                .max = 63,
                .check = field_check_text,
                .doc = "The host it shall lie on, by name or id; left out: the source's, or "
                       "chosen"},
        {.name = "mode",
                .type = FIELD_ENUM,
                .offset = offsetof(struct clone_body, mode),
                .names = volume_clone_mode_names,
                .default_text = "\"full\"",
                .doc = "full copies everything; linked stands on the source, which must not be "
                       "written "
                       "any more as long as the clone exists"},
        {.name = "format",
                .type = FIELD_ENUM,
                .offset = offsetof(struct clone_body, format),
                .present = offsetof(struct clone_body, has_format),
                .names = volume_format_names,
                .doc = "Left out: as the source, or what the pool can hold; a linked clone is "
                       "qcow2"},
        {.name = "size_bytes",
                .type = FIELD_INT,
                .offset = offsetof(struct clone_body, size_bytes),
                .min = MIB,
                .max = 256 * TIB,
                .doc = "At least the source's, a multiple of 1 MiB; left out: the source's"},
};
static const struct field_table clone_table =
        FIELD_TABLE("VolumeClone", struct clone_body, clone_fields);

/* ---- routes ---- */

static const struct filter_column columns[] = {
        {.name = "name", .sql = "volume.name", .flags = FILTER_FILTERABLE | FILTER_SORTABLE},
        {.name = "id",
                .sql = "volume.id",
                .flags = FILTER_FILTERABLE | FILTER_SORTABLE | FILTER_UNIQUE},
        {.name = "host", .sql = "coalesce(host.name, '')", .flags = FILTER_FILTERABLE},
        {.name = "format", .sql = "volume.format", .flags = FILTER_FILTERABLE},
        {.name = "state", .sql = "volume.state", .flags = FILTER_FILTERABLE},
        {.name = "vm", .sql = "coalesce(volume.vm_id, '')", .flags = FILTER_FILTERABLE},
        {.name = "disk", .sql = "coalesce(volume.disk, '')", .flags = FILTER_FILTERABLE},
        {.name = "drift", .sql = "volume.drift", .flags = FILTER_FILTERABLE},
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

static const int create_errors[] = {ERR_NOT_FOUND, ERR_EXISTS, ERR_REFERENCE, ERR_UNSUPPORTED,
        ERR_NO_CAPACITY, ERR_DISK_FULL, ERR_WRONG_STATE, ERR_UNAVAILABLE, ERR_HOST_DOWN,
        ERR_HOST_SLOW, 0};
static const int delete_errors[] = {ERR_NOT_FOUND, ERR_CONFLICT, ERR_IN_USE, ERR_BUSY,
        ERR_PRECONDITION, ERR_UNAVAILABLE, ERR_HOST_DOWN, ERR_HOST_SLOW, 0};
static const int work_errors[] = {ERR_NOT_FOUND, ERR_CONFLICT, ERR_EXISTS, ERR_REFERENCE,
        ERR_UNSUPPORTED, ERR_IN_USE, ERR_BUSY, ERR_WRONG_STATE, ERR_LIMIT, ERR_DISK_FULL,
        ERR_PRECONDITION, ERR_UNAVAILABLE, ERR_HOST_DOWN, ERR_HOST_SLOW, 0};
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
        {.method = "POST",
                .path = "/pools/{pool}/volumes/{volume}/resize",
                .permission = "volume.write",
                .mode = ROUTE_WRITE,
                .flags = ROUTE_OPERATION | ROUTE_HOST_WAIT,
                .query = host_query,
                .body = &resize_table,
                .errors = work_errors,
                .status = 202,
                .id = "volume_resize",
                .summary = "Grow a volume; a running guest sees the new size",
                .handler = resize_volume},
        {.method = "POST",
                .path = "/pools/{pool}/volumes/{volume}/clone",
                .permission = "volume.write",
                .mode = ROUTE_WRITE,
                .flags = ROUTE_OPERATION | ROUTE_HOST_WAIT,
                .query = host_query,
                .body = &clone_table,
                .errors = work_errors,
                .status = 202,
                .id = "volume_clone",
                .summary = "Copy a volume, or make one that stands on it",
                .handler = clone_volume},
        {.method = "POST",
                .path = "/pools/{pool}/volumes/{volume}/wipe",
                .permission = "volume.write",
                .mode = ROUTE_WRITE,
                .flags = ROUTE_OPERATION | ROUTE_HOST_WAIT,
                .query = host_query,
                .errors = work_errors,
                .status = 202,
                .id = "volume_wipe",
                .summary = "Destroy what was written in a volume that no VM has",
                .handler = wipe_volume},
};
const struct route_table volumes_routes = {
        .tag = "Volumes", .routes = routes, .n_routes = ARRAY_LEN(routes)};

struct listing {
	struct list list;
	struct db *db;
	struct err *e;
};

static int write_item(void *arg, const struct volume_row *row)
{
	struct listing *listing = arg;
	struct list *list = &listing->list;
	struct sql_bind values[] = {LIST_TEXT(row->name), LIST_TEXT(row->id),
	        LIST_TEXT(row->host ? row->host : ""), LIST_TEXT(row->format),
	        LIST_TEXT(row->state), LIST_TEXT(row->vm_id ? row->vm_id : ""),
	        LIST_TEXT(row->disk ? row->disk : ""), LIST_TEXT(row->drift),
	        LIST_INT(row->size_bytes)};
	if (!list_item(list, values))
		return 0;
	return volume_encode(listing->db, row, list_writer(list), listing->e);
}

static int list_volumes(struct request *rq, struct reply *reply, struct err *e)
{
	struct pool_row pool CLEANUP(pool_row_done) = {0};
	int rc = pool_store_get(rq->db, rq->params[0], &pool, e);
	if (rc < 0)
		return rc;
	struct listing listing = {.db = rq->db, .e = e};
	list_begin(&listing.list, rq, reply);
	rc = volume_store_list(rq->db, pool.id, &rq->list->page, write_item, &listing, e);
	if (rc == 0)
		list_end(&listing.list);
	return rc;
}

/* ---- which host ---- */

static int get_host(struct request *rq, const char *name, struct host_row *ret_row, struct err *e)
{
	int rc = host_store_get(rq->db, name, ret_row, e);
	if (rc == ERR_NOT_FOUND)
		return err_set_at(e, ERR_REFERENCE, "/host", "no host named %s", name);
	return rc;
}

/* The host that a VM with such a disk, and nothing else, would be given. */
static int choose_host(
        struct request *rq, const struct pool_row *pool, char ret_id[UUID_TEXT_SIZE], struct err *e)
{
	struct vm_disk disk = {.pool = pool->name};
	const struct vm_spec spec = {.disks = {.items = &disk, .len = 1}};
	const struct room_wish wish = {.spec = &spec, .may_wait = true};
	return room_choose(rq->db, rq->app->room, &wish, ret_id, e);
}

/* The host whose copy of the pool a new volume shall lie in: the named one, or the one a VM would be given. A shared pool has one copy, reached from wherever it works. */
static int find_host(struct request *rq, const struct pool_row *pool, const char *name,
        struct host_row *ret_row, struct err *e)
{
	if (name)
		return get_host(rq, name, ret_row, e);
	char id[UUID_TEXT_SIZE];
	int rc = pool->shared ? pool_choose_host(rq->db, pool->id, id, e)
	                      : choose_host(rq, pool, id, e);
	return rc < 0 ? rc : host_store_get(rq->db, id, ret_row, e);
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

/* ---- making ---- */

/* What libvirt has no pool for cannot be asked for a size. */
static int choose_size(const struct volume_spec *spec, const struct pool_row *pool,
        int64_t *ret_size_bytes, struct err *e)
{
	const struct pool_kind *kind = pool_kind_find(pool->kind);
	bool is_found = spec->existing_file && kind && kind->libvirt_type;
	*ret_size_bytes = spec->has_size ? spec->size_bytes : MIB;
	if (spec->has_size || is_found)
		return 0;
	return err_set_at(e, ERR_INVALID, "/size_bytes", "is missing");
}

static const char *choose_format(const struct volume_spec *spec, const struct pool_row *pool)
{
	const struct pool_kind *kind = pool_kind_find(pool->kind);
	if (spec->has_format)
		return volume_format_names[spec->format];
	return kind && kind->flags & POOL_FILES && !spec->existing_file ? "qcow2" : "raw";
}

static int create_volume(struct request *rq, struct reply *reply, struct err *e)
{
	const struct volume_spec *spec = rq->body;
	struct pool_row pool CLEANUP(pool_row_done) = {0};
	struct host_row host CLEANUP(host_row_done) = {0};
	int64_t deadline = 0, size_bytes = 0;
	int rc = request_check_absent(rq, e);
	if (rc < 0 || (rc = pool_store_get(rq->db, rq->params[0], &pool, e)) < 0 ||
	        (rc = choose_size(spec, &pool, &size_bytes, e)) < 0 ||
	        (rc = find_host(rq, &pool, spec->host, &host, e)) < 0 ||
	        (rc = check_host(rq, &host, &deadline, e)) < 0 ||
	        (rc = pool_check_host(rq->db, pool.id, host.id, e)) < 0)
		return rc;
	struct volume_request request = {.pool = pool.name,
	        .host_id = host.id,
	        .name = spec->name,
	        .format = choose_format(spec, &pool),
	        .size_bytes = size_bytes,
	        .existing_file = spec->existing_file,
	        .full = spec->allocation == VOLUME_FULL};
	struct operation_asked asked = request_asked(rq, deadline);
	char operation[UUID_TEXT_SIZE], id[UUID_TEXT_SIZE];
	rc = volume_create(rq->db, rq->app->engine, &request, &asked, operation, id, e);
	return rc < 0 ? rc : reply_operation(rq, reply, operation, e);
}

int volumes_find(struct request *rq, struct volume_row *ret_row, struct err *e)
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
	int rc = volumes_find(rq, &row, e);
	if (rc < 0)
		return rc;
	reply_etag(reply, row.id, row.version);
	return volume_encode(rq->db, &row, &reply->body, e);
}

/* ---- work on one that is there ---- */

/* What each such handler begins with: the volume, its conditions, and a host that can work on it. */
static int begin_work(
        struct request *rq, struct volume_row *ret_row, int64_t *ret_deadline, struct err *e)
{
	struct host_row host CLEANUP(host_row_done) = {0};
	char host_id[UUID_TEXT_SIZE];
	int rc = volumes_find(rq, ret_row, e);
	if (rc < 0 || (rc = request_check_match(rq, ret_row->id, ret_row->version, e)) < 0 ||
	        (rc = request_check_busy(rq, ret_row->vm_id ? ret_row->vm_id : ret_row->id, e)) <
	                0 ||
	        (rc = volume_choose_host(rq->db, ret_row, host_id, e)) < 0 ||
	        (rc = host_store_get(rq->db, host_id, &host, e)) < 0)
		return rc;
	return check_host(rq, &host, ret_deadline, e);
}

typedef int (*volume_work)(struct db *db, struct operation_engine *engine,
        const struct volume_row *row, const struct operation_asked *asked,
        char ret_operation[UUID_TEXT_SIZE], struct err *e);

/* Work that needs to be told nothing more. */
static int start_work(struct request *rq, struct reply *reply, volume_work start, struct err *e)
{
	struct volume_row row CLEANUP(volume_row_done) = {0};
	char operation[UUID_TEXT_SIZE];
	int64_t deadline = 0;
	int rc = begin_work(rq, &row, &deadline, e);
	if (rc < 0)
		return rc;
	struct operation_asked asked = request_asked(rq, deadline);
	rc = start(rq->db, rq->app->engine, &row, &asked, operation, e);
	return rc < 0 ? rc : reply_operation(rq, reply, operation, e);
}

static int delete_volume(struct request *rq, struct reply *reply, struct err *e)
{
	return start_work(rq, reply, volume_delete, e);
}

static int wipe_volume(struct request *rq, struct reply *reply, struct err *e)
{
	return start_work(rq, reply, volume_wipe, e);
}

static int resize_volume(struct request *rq, struct reply *reply, struct err *e)
{
	const struct resize_body *body = rq->body;
	struct volume_row row CLEANUP(volume_row_done) = {0};
	char operation[UUID_TEXT_SIZE];
	int64_t deadline = 0;
	int rc = begin_work(rq, &row, &deadline, e);
	if (rc < 0)
		return rc;
	struct operation_asked asked = request_asked(rq, deadline);
	if (row.vm_id && row.vm_id[0])
		rc = quota_check_disk(rq->db, &row, body->size_bytes, e);
	if (rc == 0)
		rc = volume_resize(
		        rq->db, rq->app->engine, &row, body->size_bytes, &asked, operation, e);
	return rc < 0 ? rc : reply_operation(rq, reply, operation, e);
}

static int clone_volume(struct request *rq, struct reply *reply, struct err *e)
{
	const struct clone_body *body = rq->body;
	struct volume_row row CLEANUP(volume_row_done) = {0};
	struct host_row host CLEANUP(host_row_done) = {0};
	char operation[UUID_TEXT_SIZE], id[UUID_TEXT_SIZE];
	int64_t deadline = 0;
	int rc = begin_work(rq, &row, &deadline, e);
	if (rc == 0 && body->host)
		rc = get_host(rq, body->host, &host, e);
	if (rc < 0)
		return rc;
	const struct volume_clone_request request = {
	        .name = body->name,
	        .pool = body->pool,
	        .host_id = body->host ? host.id : NULL,
	        .mode = (enum volume_clone_mode)body->mode,
	        .format = body->has_format ? volume_format_names[body->format] : NULL,
	        .size_bytes = body->size_bytes,
	};
	struct operation_asked asked = request_asked(rq, deadline);
	rc = volume_clone_start(
	        rq->db, rq->app->engine, row.layer_id, &request, &asked, operation, id, e);
	return rc < 0 ? rc : reply_operation(rq, reply, operation, e);
}

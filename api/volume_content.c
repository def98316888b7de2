/* SPDX-License-Identifier: Apache-2.0 */
/* /pools/{pool}/volumes/{volume}/content: a volume's bytes, in the format it has. */
#include <stdlib.h>

#include "api/download.h"
#include "api/request_asked.h"
#include "api/route.h"
#include "api/upload.h"
#include "api/volumes.h"
#include "base/alloc.h"
#include "base/cleanup.h"
#include "compute/host.h"
#include "operation/services.h"
#include "storage/pool_store.h"
#include "storage/volume_content.h"
#include "storage/volume_store.h"

extern const struct route_table volume_content_routes;

static int get_content(struct request *rq, struct reply *reply, struct err *e);
static int put_content(struct request *rq, struct reply *reply, struct err *e);

static const struct query_param host_query[] = {
        {.name = "host",
                .type = QUERY_TEXT,
                .max = 63,
                .doc = "The volume's host, by name or id, if several have one of that name"},
        {0},
};
static const int get_errors[] = {ERR_NOT_FOUND, ERR_CONFLICT, ERR_BUSY, ERR_WRONG_STATE,
        ERR_UNSUPPORTED, ERR_RANGE, ERR_LIMIT, ERR_UNAVAILABLE, ERR_HOST_DOWN, ERR_HOST_SLOW, 0};
static const int put_errors[] = {ERR_NOT_FOUND, ERR_CONFLICT, ERR_BUSY, ERR_IN_USE, ERR_WRONG_STATE,
        ERR_UNSUPPORTED, ERR_UNPROCESSABLE, ERR_TOO_LARGE, ERR_PRECONDITION, ERR_LIMIT,
        ERR_DISK_FULL, ERR_UNAVAILABLE, ERR_HOST_DOWN, ERR_HOST_SLOW, 0};

static const struct route routes[] = {
        {.method = "GET",
                .path = "/pools/{pool}/volumes/{volume}/content",
                .permission = "volume.download",
                .mode = ROUTE_DOWNLOAD,
                .query = host_query,
                .errors = get_errors,
                .status = 200,
                .id = "volume_download",
                .summary = "Read a volume's content, as it lies in its file; Range for raw ones",
                .handler = get_content},
        {.method = "PUT",
                .path = "/pools/{pool}/volumes/{volume}/content",
                .permission = "volume.write",
                .mode = ROUTE_UPLOAD,
                .query = host_query,
                .response = &volume_fields,
                .errors = put_errors,
                .status = 200,
                .id = "volume_upload",
                .summary = "Replace a volume's content; a failure leaves it empty",
                .handler = put_content},
};
const struct route_table volume_content_routes = {
        .tag = "Volumes", .routes = routes, .n_routes = ARRAY_LEN(routes)};

/* ---- one transfer ---- */

struct work {
	struct operation_services services;
	struct volume_content *content; /* owned; NULL for a HEAD */
	char volume_id[UUID_TEXT_SIZE];
	char place[POOL_PLACE_SIZE];
};

static void free_work(void *arg)
{
	struct work *work = arg;
	volume_content_unref(work->content);
	free(work);
}

static struct work *make_work(const struct request *rq, const struct volume_row *row)
{
	struct work *work = xcalloc(1, sizeof(*work));
	work->services = (struct operation_services){.loop = rq->app->loop,
	        .writer = rq->app->writer,
	        .readers = rq->app->readers,
	        .bulk = rq->app->bulk,
	        .engine = rq->app->engine};
	uuid_text_copy(work->volume_id, row->id);
	pool_place(row->pool_id, row->host_id, work->place);
	return work;
}

static int check_host(struct request *rq, const struct volume_row *row, struct err *e)
{
	struct host_row host CLEANUP(host_row_done) = {0};
	char host_id[UUID_TEXT_SIZE];
	int rc = volume_choose_host(rq->db, row, host_id, e);
	if (rc == 0)
		rc = host_store_get(rq->db, host_id, &host, e);
	return rc < 0 ? rc : host_check_available(&host, e);
}

static int begin(struct request *rq, const struct volume_row *row, struct work *work,
        enum volume_content_direction direction, int64_t length, struct err *e)
{
	const struct operation_asked asked = request_asked(rq, 0);
	int rc = check_host(rq, row, e);
	return rc < 0 ? rc
	              : volume_content_begin(rq->db, rq->app->engine, row, direction, length,
	                        &asked, &work->content, e);
}

/* ---- out ---- */

static int write_out(void *arg, const void *bytes, size_t n, struct err *e)
{
	return download_write(arg, bytes, n, e);
}

static void cancel_out(void *arg, int rc, const struct err *e)
{
	download_cancel(arg, rc, e);
}

static bool is_out_cancelled(void *arg)
{
	return download_is_cancelled(arg);
}

static bool is_out_stopping(void *arg)
{
	return download_is_stopping(arg);
}

static int produce(
        struct download *download, int64_t offset, int64_t length, void *arg, struct err *e)
{
	struct work *work = arg;
	const struct volume_content_io io = {.write = write_out,
	        .cancel = cancel_out,
	        .is_cancelled = is_out_cancelled,
	        .is_stopping = is_out_stopping,
	        .arg = download};
	return volume_content_run(work->content, &work->services, &io, offset, length, e);
}

static const struct download_handlers download_handlers = {
        .produce = produce, .release = free_work};

static int get_content(struct request *rq, struct reply *reply, struct err *e)
{
	struct volume_row row CLEANUP(volume_row_done) = {0};
	int rc = volumes_find(rq, &row, e);
	if (rc < 0)
		return rc;
	struct work *work = make_work(rq, &row);
	int64_t length = volume_content_length(&row);
	if (!request_is_head(rq))
		rc = begin(rq, &row, work, VOLUME_CONTENT_OUT, length, e);
	if (rc < 0) {
		free_work(work);
		return rc;
	}
	return download_open(rq, reply, &download_handlers, work, work->place, length, e);
}

/* ---- in ---- */

static int64_t read_in(void *arg, void *bytes, size_t n, struct err *e)
{
	return upload_read(arg, bytes, n, e);
}

static void cancel_in(void *arg, int rc, const struct err *e)
{
	upload_cancel(arg, rc, e);
}

static bool is_in_cancelled(void *arg)
{
	return upload_is_cancelled(arg);
}

static bool is_in_stopping(void *arg)
{
	return upload_is_stopping(arg);
}

static int consume(struct upload *upload, void *arg, struct err *e)
{
	struct work *work = arg;
	const struct volume_content_io io = {.read = read_in,
	        .cancel = cancel_in,
	        .is_cancelled = is_in_cancelled,
	        .is_stopping = is_in_stopping,
	        .arg = upload};
	return volume_content_run(work->content, &work->services, &io, 0, 0, e);
}

/* The operation has recorded what became of it. */
static int finish(struct request *rq, struct reply *reply, void *arg, int rc,
        const struct err *error, struct err *e)
{
	struct volume_row row CLEANUP(volume_row_done) = {0};
	const struct work *work = arg;
	(void)error;
	if (rc < 0)
		return 0;
	rc = volume_store_get(rq->db, work->volume_id, &row, e);
	if (rc < 0)
		return rc;
	reply_etag(reply, row.id, row.version);
	return volume_encode(rq->db, &row, &reply->body, e);
}

static const struct upload_handlers upload_handlers = {
        .consume = consume, .finish = finish, .release = free_work};

/* Content-Range would be a part of it, which RFC 9110 (14.5) forbids to take for the whole. */
static int check_whole(const struct request *rq, struct err *e)
{
	struct content_range range;
	bool is_part = false;
	int rc = request_content_range(rq, &range, &is_part, e);
	if (rc < 0 || !is_part)
		return rc;
	return err_set(
	        e, ERR_UNSUPPORTED, "a volume's content is replaced as a whole, not in parts");
}

static int put_content(struct request *rq, struct reply *reply, struct err *e)
{
	struct volume_row row CLEANUP(volume_row_done) = {0};
	(void)reply;
	int rc = volumes_find(rq, &row, e);
	if (rc == 0)
		rc = request_check_match(rq, row.id, row.version, e);
	if (rc == 0)
		rc = check_whole(rq, e);
	if (rc < 0)
		return rc;
	struct work *work = make_work(rq, &row);
	rc = begin(rq, &row, work, VOLUME_CONTENT_IN, request_content_length(rq), e);
	if (rc < 0) {
		free_work(work);
		return rc;
	}
	return upload_open(
	        rq, &upload_handlers, work, work->place, volume_content_max_bytes(&row), e);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PUT /images/{image}/content.
 *
 *	[writer] the range fits what is there, sizes and quota allow it; the total is recorded
 *	[bulk]   bytes into the staging file; what is synced is recorded every RECORD_BYTES
 *	[writer] what is there is recorded; all of it: image.import begins
 *
 * After a crash or a broken connection the upload goes on at received_bytes. With a Content-Digest nothing of a
 * request counts before all of it is checked.
 */
#include <stdlib.h>

#include "api/route.h"
#include "api/request_asked.h"
#include "api/upload.h"
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "db/writer.h"
#include "storage/image_library.h"
#include "storage/image_receive.h"
#include "storage/image_room.h"
#include "storage/image_store.h"

int image_put_content(struct request *rq, struct reply *reply, struct err *e);

#define BLOCK_BYTES  ((size_t)256 * 1024)
#define RECORD_BYTES ((int64_t)64 << 20)

struct content {
	struct images *images; /* borrowed, as the writer */
	struct writer *writer;
	struct image_receiver receiver;
	struct image_room room; /* for an upload without a total */
	bool has_digest;
	/* Between consume and finish. */
	int64_t recorded, received;
	bool is_whole, is_refused;
};

static void release(void *arg)
{
	struct content *content = arg;
	image_receiver_close(&content->receiver);
	images_release_upload(content->images, content->receiver.id);
	free(content);
}

/* ---- bulk thread ---- */

static int record_job(struct db *db, void *arg, struct err *e)
{
	const struct content *content = arg;
	return image_upload_record(
	        db, content->receiver.id, content->received, content->receiver.total, e);
}

static int record(struct content *content, struct err *e)
{
	int rc = image_receiver_sync(&content->receiver, e);
	if (rc < 0)
		return rc;
	content->recorded = content->received = content->receiver.received;
	return writer_run(content->writer, record_job, content, e);
}

static int take_all(struct upload *upload, struct content *content, char *block, struct err *e)
{
	struct image_receiver *receiver = &content->receiver;
	int64_t n;
	while ((n = upload_read(upload, block, BLOCK_BYTES, e)) > 0) {
		int rc = receiver->total >= 0
		                 ? 0
		                 : image_room_take(&content->room, receiver->received + n, e);
		if (rc == 0)
			rc = image_receiver_take(receiver, block, (size_t)n, e);
		if (rc == 0 && !content->has_digest &&
		        receiver->received - content->recorded >= RECORD_BYTES)
			rc = record(content, e);
		if (rc < 0)
			return rc;
	}
	if (n < 0)
		return (int)n;
	content->is_whole = receiver->total < 0 || receiver->received >= receiver->total;
	return content->is_whole ? image_receiver_end(receiver, e) : 0;
}

/* More of it will not help: the content will not be taken, or has no room. */
static bool is_hopeless(const struct content *content, int rc)
{
	return (rc == ERR_UNPROCESSABLE && !content->has_digest) || rc == ERR_TOO_LARGE ||
	       rc == ERR_LIMIT || rc == ERR_DISK_FULL;
}

/* What came before the connection broke is kept, unless its digest can no longer be checked. */
static int keep_what_came(struct content *content, int rc, struct err *e)
{
	struct image_receiver *receiver = &content->receiver;
	if (content->is_refused)
		receiver->first = 0;
	bool is_lost = rc < 0 && (content->has_digest || content->is_refused);
	int kept = is_lost ? image_receiver_rewind(receiver, e) : image_receiver_sync(receiver, e);
	if (kept < 0)
		return kept;
	content->received = receiver->received;
	return 0;
}

static int consume(struct upload *upload, void *arg, struct err *e)
{
	struct content *content = arg;
	char *block CLEANUP(cleanup_free) = xcalloc(1, BLOCK_BYTES);
	struct err later = {0};
	content->received = content->recorded = content->receiver.first;
	int rc = image_receiver_open(&content->receiver, e);
	if (rc < 0)
		return rc;
	rc = take_all(upload, content, block, e);
	content->is_refused = is_hopeless(content, rc);
	int kept = keep_what_came(content, rc, &later);
	if (rc == 0 && kept < 0)
		*e = later;
	return rc < 0 ? rc : kept;
}

/* ---- writer thread ---- */

static int finish_failed(
        struct request *rq, const struct content *content, const struct err *error, struct err *e)
{
	const char *id = content->receiver.id;
	if (content->is_refused)
		return image_upload_fail(rq->db, id, error, e);
	return image_upload_record(rq->db, id, content->received, -1, e);
}

static int begin_import(
        struct request *rq, struct reply *reply, const struct image_row *row, struct err *e)
{
	const struct operation_asked asked = request_asked(rq, 0);
	char operation[UUID_TEXT_SIZE];
	int rc = image_import_start(rq->db, rq->app->engine, row, &asked, operation, e);
	return rc < 0 ? rc : reply_operation(rq, reply, operation, e);
}

static int finish(struct request *rq, struct reply *reply, void *arg, int rc,
        const struct err *error, struct err *e)
{
	const struct content *content = arg;
	struct image_row row CLEANUP(image_row_done) = {0};
	images_claim_room(content->images, content->receiver.id, 0); /* the row says it now */
	if (rc < 0)
		return finish_failed(rq, content, error, e);
	rc = image_upload_record(
	        rq->db, content->receiver.id, content->received, content->receiver.total, e);
	if (rc == 0)
		rc = image_store_get(rq->db, content->receiver.id, &row, e);
	if (rc < 0)
		return rc;
	if (content->is_whole)
		return begin_import(rq, reply, &row, e);
	reply->status = 200;
	reply_etag(reply, row.id, row.version);
	image_encode(&row, &reply->body);
	return 0;
}

static const struct upload_handlers handlers = {
        .consume = consume, .finish = finish, .release = release};

/* Which bytes of the content this request brings. */
static int read_range(const struct request *rq, struct image_upload_range *ret_range, struct err *e)
{
	struct content_range range;
	bool has_range = false;
	int64_t length = request_content_length(rq);
	int rc = request_content_range(rq, &range, &has_range, e);
	if (rc < 0)
		return rc;
	*ret_range = (struct image_upload_range){.length = length, .total = length};
	if (!has_range)
		return 0;
	int64_t asked = range.last - range.first + 1;
	if (length >= 0 && length != asked)
		return err_set(e, ERR_MALFORMED,
		        "Content-Range says %lld bytes, Content-Length %lld", (long long)asked,
		        (long long)length);
	*ret_range = (struct image_upload_range){
	        .first = range.first, .length = asked, .total = range.total};
	return 0;
}

static struct content *make_content(const struct request *rq, const struct image_row *row,
        const struct image_upload_range *range, bool has_digest)
{
	struct content *content = xcalloc(1, sizeof(*content));
	content->images = rq->app->images;
	content->writer = rq->app->writer;
	content->has_digest = has_digest;
	content->receiver = (struct image_receiver){
	        .images = rq->app->images,
	        .format =
	                row->spec.has_format ? (enum image_format)row->spec.format : IMAGE_FORMATS,
	        .first = range->first,
	        /* A resumed upload may leave its total to what was told before. */
	        .total = range->total >= 0                          ? range->total
	                 : range->first > 0 && row->total_bytes > 0 ? row->total_bytes
	                                                            : -1,
	        .fd = -1,
	};
	uuid_text_copy(content->receiver.id, row->id);
	content->room = (struct image_room){.writer = rq->app->writer, .images = rq->app->images};
	uuid_text_copy(content->room.id, row->id);
	return content;
}

int image_put_content(struct request *rq, struct reply *reply, struct err *e)
{
	struct image_row row CLEANUP(image_row_done) = {0};
	struct image_upload_range range = {0};
	unsigned char digest[32];
	bool has_digest = false;
	int64_t max_bytes = 0;
	(void)reply;
	int rc = image_store_get(rq->db, rq->params[0], &row, e);
	if (rc == 0)
		rc = request_content_digest(rq, digest, &has_digest, e);
	if (rc == 0)
		rc = read_range(rq, &range, e);
	if (rc < 0)
		return rc;
	if (!images_claim_upload(rq->app->images, row.id))
		return err_set(e, ERR_BUSY, "another upload of image %s runs", row.spec.name);
	rc = image_upload_begin(rq->db, rq->app->images, &row, &range, &max_bytes, e);
	if (rc < 0) {
		images_release_upload(rq->app->images, row.id);
		return rc;
	}
	return upload_open(rq, &handlers, make_content(rq, &row, &range, has_digest),
	        /* key= */ NULL, max_bytes, e);
}

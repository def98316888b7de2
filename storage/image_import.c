/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image.import: from what was uploaded, or is at a URL, to what is kept.
 *
 *	fetch    by the URL; of an upload: all of it is there          undo: the staging files go
 *	verify   its sha-256
 *	inspect  our own reading of its headers; of an ova: its disk is taken out and looked at
 *	convert  qemu-img, confined, with the format that was found
 *	store    synced, renamed into the library                      undo: it goes
 *
 * Every step does its work from the start when it is run again. All but the ends run on bulk threads.
 */
#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "db/writer.h"
#include "operation/services.h"
#include "storage/image_fetch.h"
#include "storage/image_kinds.h"
#include "storage/image_ova.h"
#include "storage/image_room.h"
#include "storage/image_store.h"
#include "storage/image_work.h"
#include "storage/qemu_img.h"

#define HASH_BLOCK   ((size_t)1 << 20)
#define MIB          ((int64_t)1 << 20)
#define SHA256_BYTES 32

static int load_row(struct image_work *work, struct image_row *ret_row, struct err *e)
{
	struct db *db;
	int rc = image_work_db(work, &db, e);
	return rc < 0 ? rc : image_store_get(db, work->image_id, ret_row, e);
}

static bool is_cancelled(void *arg)
{
	return image_work_is_cancelled(arg);
}

static int64_t file_size(int fd)
{
	struct stat st;
	return fstat(fd, &st) < 0 ? -1 : (int64_t)st.st_size;
}

static int sync_file(int fd, struct err *e)
{
	return fsync(fd) < 0 ? err_set_errno(e, errno, "syncing the image") : 0;
}

/* ---- fetch ---- */

static struct image_room room_of(struct image_work *work)
{
	struct image_room room = {.writer = work->writer, .images = work->images};
	uuid_text_copy(room.id, work->image_id);
	return room;
}

struct fetched {
	struct image_work *work;
	struct image_room room;
	int64_t bytes;
};

static void on_fetched(void *arg, int64_t done_bytes, int64_t total_bytes)
{
	const struct fetched *fetched = arg;
	image_work_progress(fetched->work, done_bytes, total_bytes);
}

static bool is_fetch_cancelled(void *arg)
{
	const struct fetched *fetched = arg;
	return image_work_is_cancelled(fetched->work);
}

static int check_room(void *arg, int64_t bytes, struct err *e)
{
	struct fetched *fetched = arg;
	return image_room_take(&fetched->room, bytes, e);
}

/* Writer thread: from now on its row says what it takes. */
static int record_job(struct db *db, void *arg, struct err *e)
{
	const struct fetched *fetched = arg;
	return image_store_set_received(db, fetched->room.id, fetched->bytes, fetched->bytes, e);
}

static int fetch_into(struct fetched *fetched, const struct image_row *row, int fd, struct err *e)
{
	const struct image_options *options = images_options(fetched->work->images);
	const struct image_fetch fetch = {
	        .url = row->spec.url,
	        .fd = fd,
	        .max_bytes = image_max_bytes(options, &row->spec),
	        .check_room = check_room,
	        .stall_ms = options->stall_ms,
	        .allow_private_networks = options->allow_private_networks,
	        .on_progress = on_fetched,
	        .is_cancelled = is_fetch_cancelled,
	        .arg = fetched,
	};
	int rc = image_fetch_run(&fetch, &fetched->bytes, e);
	if (rc == 0)
		rc = sync_file(fd, e);
	return rc < 0 ? rc : writer_run(fetched->work->writer, record_job, fetched, e);
}

static int fetch(struct image_work *work, const struct image_row *row, struct err *e)
{
	struct fetched fetched = {.work = work, .room = room_of(work)};
	int fd CLEANUP(cleanup_fd) = images_open(
	        work->images, row->id, IMAGE_FILE_UPLOAD, O_RDWR | O_CREAT | O_TRUNC, e);
	if (fd < 0)
		return fd;
	int rc = fetch_into(&fetched, row, fd, e);
	images_claim_room(work->images, row->id, 0);
	return rc;
}

static int check_uploaded(struct image_work *work, const struct image_row *row, struct err *e)
{
	int fd CLEANUP(cleanup_fd) =
	        images_open(work->images, row->id, IMAGE_FILE_UPLOAD, O_RDONLY, e);
	if (fd < 0)
		return fd;
	if (file_size(fd) == row->received_bytes)
		return 0;
	return err_set(e, ERR_UNPROCESSABLE, "of %lld bytes that were uploaded %lld are there",
	        (long long)row->received_bytes, (long long)file_size(fd));
}

static int work_fetch(struct image_work *work, struct err *e)
{
	struct image_row row CLEANUP(image_row_done) = {0};
	int rc = load_row(work, &row, e);
	if (rc < 0)
		return rc;
	return row.spec.url ? fetch(work, &row, e) : check_uploaded(work, &row, e);
}

static int work_clear(struct image_work *work, struct err *e)
{
	return images_clear_staging(work->images, work->image_id, e);
}

/* ---- verify ---- */

static int hash_blocks(struct image_work *work, int fd, gnutls_hash_hd_t hash, struct err *e)
{
	char *block CLEANUP(cleanup_free) = xcalloc(1, HASH_BLOCK);
	int64_t done = 0, total = file_size(fd);
	ssize_t n;
	while ((n = pread(fd, block, HASH_BLOCK, done)) > 0) {
		if (image_work_is_cancelled(work))
			return err_set(e, ERR_CANCELLED, "cancelled");
		if (gnutls_hash(hash, block, (size_t)n) < 0)
			return err_set(e, ERR_INTERNAL, "the image could not be hashed");
		done += n;
		image_work_progress(work, done, total);
	}
	return n < 0 ? err_set_errno(e, errno, "reading the image") : 0;
}

static int hash_file(struct image_work *work, int fd, char ret_hex[65], struct err *e)
{
	unsigned char digest[SHA256_BYTES];
	gnutls_hash_hd_t hash;
	if (gnutls_hash_init(&hash, GNUTLS_DIG_SHA256) < 0)
		return err_set(e, ERR_INTERNAL, "SHA-256 is not to be had");
	int rc = hash_blocks(work, fd, hash, e);
	gnutls_hash_deinit(hash, digest);
	for (size_t i = 0; i < sizeof(digest); i++)
		snprintf(ret_hex + 2 * i, 3, "%02x", digest[i]);
	return rc;
}

static int check_digest(const char *expected, const char *hex, struct err *e)
{
	if (!expected || strcasecmp(expected + strlen("sha256:"), hex) == 0)
		return 0;
	return err_set(e, ERR_UNPROCESSABLE, "its content has sha256:%s, not %s", hex, expected);
}

static int work_verify(struct image_work *work, struct err *e)
{
	struct image_row row CLEANUP(image_row_done) = {0};
	char hex[65];
	int rc = load_row(work, &row, e);
	if (rc < 0)
		return rc;
	int fd CLEANUP(cleanup_fd) =
	        images_open(work->images, row.id, IMAGE_FILE_UPLOAD, O_RDONLY, e);
	if (fd < 0)
		return fd;
	rc = hash_file(work, fd, hex, e);
	if (rc == 0)
		rc = check_digest(row.spec.digest, hex, e);
	if (rc == 0)
		work->results = json_pack(
		        "{s:s,s:I}", "sha256", hex, "total_bytes", (json_int_t)file_size(fd));
	return rc;
}

/* ---- inspect ---- */

static int inspect_inner(struct image_work *work, int fd, struct image_facts *facts, struct err *e)
{
	const struct image_options *options = images_options(work->images);
	int disk CLEANUP(cleanup_fd) = images_open(
	        work->images, work->image_id, IMAGE_FILE_DISK, O_RDWR | O_CREAT | O_TRUNC, e);
	if (disk < 0)
		return disk;
	int rc = image_ova_extract(fd, disk, is_cancelled, work, e);
	if (rc == 0)
		rc = image_inspect_fd(disk, IMAGE_FORMATS, options->max_virtual_bytes, facts, e);
	if (rc == 0 && facts->format == IMAGE_OVA)
		rc = err_set(e, ERR_UNPROCESSABLE, "the disk in the archive is an archive");
	return rc < 0 ? rc : sync_file(disk, e);
}

static int work_inspect(struct image_work *work, struct err *e)
{
	struct image_row row CLEANUP(image_row_done) = {0};
	struct image_facts facts = {0};
	int rc = load_row(work, &row, e);
	if (rc < 0)
		return rc;
	int fd CLEANUP(cleanup_fd) =
	        images_open(work->images, row.id, IMAGE_FILE_UPLOAD, O_RDONLY, e);
	if (fd < 0)
		return fd;
	rc = image_inspect_fd(fd,
	        row.spec.has_format ? (enum image_format)row.spec.format : IMAGE_FORMATS,
	        images_options(work->images)->max_virtual_bytes, &facts, e);
	const char *source = rc == 0 ? image_format_names[facts.format] : "";
	bool is_archive = rc == 0 && facts.format == IMAGE_OVA;
	if (is_archive)
		rc = inspect_inner(work, fd, &facts, e);
	if (rc == 0)
		work->results = json_pack("{s:s,s:i,s:b,s:I}", "source_format", source, "format",
		        (int)facts.format, "is_archive", is_archive, "virtual_bytes",
		        (json_int_t)facts.virtual_bytes);
	return rc;
}

/* ---- convert ---- */

struct conversion {
	struct image_work *work;
	struct image_room room;
	int to_fd;
	int rc; /* of the room */
	struct err error;
};

static void on_converted(void *arg, double percent)
{
	struct image_work *work = ((struct conversion *)arg)->work;
	int64_t total = image_work_number(work, "virtual_bytes");
	image_work_progress(work, (int64_t)((double)total * percent / 100), total);
}

/* Asked every moment: also what others have taken meanwhile may end it. */
static bool must_stop(void *arg)
{
	struct conversion *c = arg;
	if (c->rc == 0)
		c->rc = image_room_take(&c->room, file_size(c->to_fd), &c->error);
	return c->rc < 0 || image_work_is_cancelled(c->work);
}

/* All of the disk, with qcow2's tables; but no more than the quota leaves now. */
static int find_convert_limit(struct image_work *work, int64_t *ret_bytes, struct err *e)
{
	int64_t size = image_work_number(work, "virtual_bytes"), left = 0;
	struct db *db;
	int rc = image_work_db(work, &db, e);
	if (rc == 0)
		rc = image_quota_left(db, work->images, work->image_id, &left, e);
	int64_t whole = size + size / 1024 + 16 * MIB;
	*ret_bytes = whole < left ? whole : left;
	return rc;
}

/* What qemu-img made, looked at like what others make; filled up to whole MiB, as volumes are. */
static int check_converted(struct image_work *work, struct image_room *room, int fd, struct err *e)
{
	struct image_facts facts;
	int rc = image_inspect_fd(fd, IMAGE_QCOW2, 0, &facts, e);
	if (rc < 0)
		return err_prefix(e, "the converted image");
	int64_t bytes = (file_size(fd) + MIB - 1) / MIB * MIB;
	rc = image_room_take(room, bytes, e);
	if (rc < 0)
		return rc;
	if (ftruncate(fd, bytes) < 0)
		return err_set_errno(e, errno, "extending the converted image");
	images_claim_room(work->images, work->image_id, bytes); /* until the row says it */
	work->results = json_pack("{s:I,s:I}", "size_bytes", (json_int_t)facts.virtual_bytes,
	        "file_bytes", (json_int_t)bytes);
	return sync_file(fd, e);
}

static int convert(struct image_work *work, int from, int to, struct err *e)
{
	struct conversion c = {.work = work, .room = room_of(work), .to_fd = to};
	struct qemu_img_convert convert = {
	        .program = images_options(work->images)->qemu_img,
	        .from_fd = from,
	        .to_fd = to,
	        .format = (enum image_format)image_work_number(work, "format"),
	        .virtual_bytes = image_work_number(work, "virtual_bytes"),
	        .on_progress = on_converted,
	        .is_cancelled = must_stop,
	        .arg = &c,
	};
	int rc = find_convert_limit(work, &convert.max_bytes, e);
	if (rc == 0)
		rc = qemu_img_convert(&convert, e);
	if (c.rc < 0 && e)
		*e = c.error;
	if (c.rc < 0)
		return c.rc;
	return rc < 0 ? rc : check_converted(work, &c.room, to, e);
}

static int work_convert(struct image_work *work, struct err *e)
{
	bool is_archive = json_is_true(json_object_get(work->memory, "is_archive"));
	int from CLEANUP(cleanup_fd) = images_open(work->images, work->image_id,
	        is_archive ? IMAGE_FILE_DISK : IMAGE_FILE_UPLOAD, O_RDONLY, e);
	if (from < 0)
		return from;
	int to CLEANUP(cleanup_fd) = images_open(
	        work->images, work->image_id, IMAGE_FILE_CONVERTED, O_RDWR | O_CREAT | O_TRUNC, e);
	return to < 0 ? to : convert(work, from, to, e);
}

/* ---- store ---- */

static int work_store(struct image_work *work, struct err *e)
{
	int rc = images_keep(work->images, work->image_id, e);
	return rc < 0 ? rc : images_clear_staging(work->images, work->image_id, e);
}

static int work_discard(struct image_work *work, struct err *e)
{
	return images_remove(work->images, work->image_id, IMAGE_FILE_KEPT, e);
}

/* ---- the kind ---- */

#define STEP(name)                                                                                 \
	static void run_##name(struct operation *op)                                               \
	{                                                                                          \
		image_work_run(op, IMAGE_WORK_LIBRARY, work_##name);                               \
	}
STEP(fetch)
STEP(clear)
STEP(verify)
STEP(inspect)
STEP(convert)
STEP(store)
STEP(discard)

static const struct operation_step steps[] = {
        {.name = "fetch", .run = run_fetch, .undo = run_clear},
        {.name = "verify", .run = run_verify},
        {.name = "inspect", .run = run_inspect},
        {.name = "convert", .run = run_convert},
        {.name = "store", .run = run_store, .undo = run_discard},
};

static int store_outcome(struct db *db, const struct operation *op, struct err *e)
{
	const json_t *memory = operation_memory(op);
	const struct image_outcome outcome = {
	        .source_format = json_string_value(json_object_get(memory, "source_format")),
	        .sha256 = json_string_value(json_object_get(memory, "sha256")),
	        .size_bytes = json_integer_value(json_object_get(memory, "size_bytes")),
	        .file_bytes = json_integer_value(json_object_get(memory, "file_bytes")),
	        .total_bytes = json_integer_value(json_object_get(memory, "total_bytes")),
	};
	int rc = image_store_set_outcome(db, operation_target_id(op), &outcome, e);
	return rc < 0 ? rc
	              : image_set_state(db, operation_target_id(op), operation_target_name(op),
	                        "ready", "", e);
}

static int finish(struct db *db, const struct operation *op, enum operation_state outcome,
        const struct err *error, struct err *e)
{
	const struct operation_services *services = operation_context(op);
	images_claim_room(services->images, operation_target_id(op), 0);
	if (outcome == OPERATION_SUCCEEDED)
		return store_outcome(db, op, e);
	int rc = image_store_set_received(db, operation_target_id(op), 0, 0, e);
	return rc < 0 ? rc
	              : image_set_state(db, operation_target_id(op), operation_target_name(op),
	                        "failed", error ? error->message : "cancelled", e);
}

const struct operation_kind image_import_kind = {
        .name = "image.import",
        .steps = steps,
        .n_steps = ARRAY_LEN(steps),
        .finish = finish,
        .on_cancel = image_work_cancel,
};

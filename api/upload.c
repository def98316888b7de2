/* SPDX-License-Identifier: Apache-2.0 */
/* Uploads: what their handlers and consumers call, and the way from the consumer's end to the answer. */
#include "api/upload.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "api/flow.h"
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "db/writer.h"

struct upload {
	struct flow flow; /* first: it is freed as one */
	const struct upload_handlers *handlers;
	void *arg; /* owned through handlers->release */
	int64_t max_bytes, declared_length;
	bool has_digest;
	unsigned char wanted_digest[32];

	/* Bulk thread, then writer thread. */
	int64_t received;
	crypto_hash_sha256_state hash;
	int rc; /* of consume */
	struct err error;
};

static void run_upload(struct flow *flow);

static void free_upload(struct flow *flow)
{
	struct upload *upload = (struct upload *)flow;
	upload->handlers->release(upload->arg);
	free(upload);
}

static int check_length(const struct upload *upload, int64_t length, struct err *e)
{
	if (length <= upload->max_bytes)
		return 0;
	err_set(e, ERR_TOO_LARGE, "the body has %s%lld bytes, no more than %lld are possible here",
	        upload->declared_length < 0 ? "at least " : "", (long long)length,
	        (long long)upload->max_bytes);
	return err_numbers(e, "{\"body_bytes\":%lld,\"max_bytes\":%lld}", (long long)length,
	        (long long)upload->max_bytes);
}

int upload_open(struct request *rq, const struct upload_handlers *handlers, void *arg,
        const char *key, int64_t max_bytes, struct err *e)
{
	struct upload *upload = xcalloc(1, sizeof(*upload));
	upload->handlers = handlers;
	upload->arg = arg;
	upload->max_bytes = max_bytes;
	upload->declared_length = request_content_length(rq);
	upload->flow.free = free_upload;
	upload->flow.run = run_upload;
	int rc = flow_init(&upload->flow, FLOW_UP, key, UPLOAD_BUFFER, e);
	if (rc == 0)
		rc = check_length(upload, upload->declared_length, e);
	if (rc == 0)
		rc = request_content_digest(rq, upload->wanted_digest, &upload->has_digest, e);
	if (rc < 0) {
		flow_unref(&upload->flow);
		return rc;
	}
	crypto_hash_sha256_init(&upload->hash);
	rq->exchange->flow = &upload->flow;
	return 0;
}

/* ---- bulk thread ---- */

static int check_digest(struct upload *upload, struct err *e)
{
	unsigned char digest[32];
	char seen[65], wanted[65];
	crypto_hash_sha256_state hash = upload->hash; /* the end may be read again */
	crypto_hash_sha256_final(&hash, digest);
	if (memcmp(digest, upload->wanted_digest, sizeof(digest)) == 0)
		return 0;
	sodium_bin2hex(seen, sizeof(seen), digest, sizeof(digest));
	sodium_bin2hex(wanted, sizeof(wanted), upload->wanted_digest, sizeof(digest));
	return err_set(e, ERR_UNPROCESSABLE,
	        "the %lld bytes that came have the sha-256 %s, Content-Digest says %s",
	        (long long)upload->received, seen, wanted);
}

int64_t upload_read(struct upload *upload, void *bytes, size_t n, struct err *e)
{
	int64_t got = pipe_read(upload->flow.pipe, bytes, n, e);
	if (got < 0)
		return got;
	if (got == 0)
		return upload->has_digest ? check_digest(upload, e) : 0;
	upload->received += got;
	int rc = check_length(upload, upload->received, e);
	if (rc < 0)
		return rc;
	if (upload->has_digest)
		crypto_hash_sha256_update(&upload->hash, bytes, (unsigned long long)got);
	return got;
}

int64_t upload_length(const struct upload *upload)
{
	return upload->declared_length;
}

int64_t upload_received(const struct upload *upload)
{
	return upload->received;
}

bool upload_is_cancelled(const struct upload *upload)
{
	return flow_is_cancelled(&upload->flow);
}

bool upload_is_stopping(const struct upload *upload)
{
	return flow_is_stopping(&upload->flow);
}

void upload_cancel(struct upload *upload, int rc, const struct err *e)
{
	flow_cancel(&upload->flow, rc, e);
}

/* ---- the outcome ---- */

/* Writer thread, inside the savepoint. */
static int run_finish(struct db *db, void *arg, struct err *e)
{
	struct upload *upload = arg;
	struct exchange *ex = upload->flow.exchange;
	LOG_SCOPE("request_id", ex->request_id);
	if (!upload->handlers->finish)
		return 0;
	ex->rq.db = db;
	int rc = upload->handlers->finish(&ex->rq, &ex->reply, upload->arg, upload->rc,
	        upload->rc < 0 ? &upload->error : NULL, e);
	ex->rq.db = NULL;
	return rc;
}

/* The exchange goes back to the connection, if that is still there and wants it. */
static void hand_back(struct flow *flow)
{
	struct exchange *ex = flow->exchange;
	bool is_awaited;
	{
		LOCK_SCOPE(&flow->lock);
		flow->is_finished = true;
		is_awaited = flow->is_awaited;
	}
	if (is_awaited && exchange_must_wait(ex)) {
		exchange_begin_wait(ex, ex->reply.operation_id);
	} else {
		if (is_awaited)
			exchange_unpark(ex);
		exchange_unref(ex);
	}
	flow_unref(flow);
}

/* Writer thread, after the commit. */
static void finished(void *arg, int rc, const struct err *e)
{
	struct upload *upload = arg;
	struct exchange *ex = upload->flow.exchange;
	ex->rc = upload->rc < 0 ? upload->rc : rc;
	if (upload->rc < 0)
		ex->error = upload->error;
	else if (rc < 0)
		ex->error = *e;
	if (upload->rc < 0 && rc < 0)
		log_err(LOG_LEVEL_ERROR, e, "the failure of the upload %s could not be recorded",
		        ex->request_id);
	hand_back(&upload->flow);
}

/* Bulk thread: the whole work. */
static void run_upload(struct flow *flow)
{
	struct upload *upload = (struct upload *)flow;
	upload->rc = upload->handlers->consume(upload, upload->arg, &upload->error);
	if (upload->rc > 0)
		upload->rc = 0;
	pipe_close_reader(flow->pipe, upload->rc, &upload->error);
	struct writer_job job = {.run = run_finish, .done = finished, .arg = upload};
	writer_submit(flow->exchange->rq.app->writer, job);
}

/* HTTP thread, after the connection was suspended. */
void exchange_await(struct exchange *ex)
{
	struct flow *flow = ex->flow;
	bool is_finished;
	atomic_store(&ex->deadline_ms, clock_now_ms() + FLOW_FINISH_MS);
	atomic_store(&ex->hold, HOLD_PARKED);
	{
		LOCK_SCOPE(&flow->lock);
		is_finished = flow->is_finished;
		flow->is_awaited = true;
	}
	if (is_finished)
		exchange_unpark(ex);
}

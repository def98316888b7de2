/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes: the handler as a job of the writer, idempotent repetition, and the wait for an operation.
 *
 *	exchange_submit_write -> [writer] run -> done -> unpark
 *	                                           \-> (?wait) operation_engine_wait -> [core loop]
 *-> unpark
 *
 * The job owns one reference of the exchange until it unparks it.
 */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "api/flow.h"
#include "api/idempotency_store.h"
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "db/reader.h"
#include "db/writer.h"
#include "operation/operation.h"
#include "operation/operation_store.h"

#define KEY_MAX       255
#define WAIT_SLACK_MS 5000 /* the wait has its own timer; this is for a loop that does not turn */
#define OPERATIONS    "/api/v1/operations/"

static const char *idempotency_key(const struct exchange *ex)
{
	return ex->rq.dry_run ? NULL : ex->headers[HEADER_IDEMPOTENCY_KEY];
}

static void hash_text(crypto_hash_sha256_state *state, const char *text, size_t len)
{
	uint64_t size = len; /* the length first, so that no two sequences hash alike */
	crypto_hash_sha256_update(state, (const unsigned char *)&size, sizeof(size));
	crypto_hash_sha256_update(state, (const unsigned char *)text, len);
}

static void make_digest(struct exchange *ex)
{
	crypto_hash_sha256_state state;
	crypto_hash_sha256_init(&state);
	hash_text(&state, ex->method, strlen(ex->method));
	hash_text(&state, ex->path, ex->path_len);
	hash_text(&state, ex->query_text, strlen(ex->query_text));
	hash_text(&state, str_text(&ex->body), ex->body.len);
	crypto_hash_sha256_final(&state, ex->digest);
}

int exchange_check_idempotency_key(struct exchange *ex, struct err *e)
{
	const char *key = ex->headers[HEADER_IDEMPOTENCY_KEY];
	if (!key || !exchange_is_write(ex))
		return 0;
	if (strcmp(ex->method, "POST") != 0) {
		ex->headers[HEADER_IDEMPOTENCY_KEY] =
		        NULL; /* PUT, PATCH, DELETE are repeatable by themselves */
		return 0;
	}
	if (ex->rq.route->flags & ROUTE_SECRET_ANSWER)
		return err_set(e, ERR_UNSUPPORTED,
		        "the answer holds a secret that is not kept, so no Idempotency-Key is "
		        "possible here");
	size_t len = strlen(key);
	for (const char *at = key; *at; at++)
		if (*at <= 0x20 || *at >= 0x7f)
			len = 0;
	if (len == 0 || len > KEY_MAX)
		return err_set(e, ERR_MALFORMED,
		        "the Idempotency-Key must be 1 to %d visible ASCII characters", KEY_MAX);
	make_digest(ex);
	return 0;
}

/* The stored answer becomes the reply. */
static int replay(struct exchange *ex, struct idempotency_record *record, struct err *e)
{
	if (memcmp(record->digest, ex->digest, sizeof(ex->digest)) != 0)
		return err_set(e, ERR_KEY_REUSED,
		        "the Idempotency-Key was used before for another request");
	struct reply *reply = &ex->reply;
	ex->is_replay = true;
	reply->status = record->status;
	reply->location = TAKE(record->location);
	str_add(&reply->body.out, record->body);
	if (record->etag)
		str_add(&ex->replay_etag, record->etag);
	if (reply->status == 202 && reply->location && str_starts_with(reply->location, OPERATIONS))
		snprintf(reply->operation_id, sizeof(reply->operation_id), "%s",
		        reply->location + strlen(OPERATIONS));
	return 0;
}

static int remember(struct exchange *ex, struct db *db, const char *key, struct err *e)
{
	struct reply *reply = &ex->reply;
	char etag[UUID_TEXT_SIZE + 32] = "";
	if (reply->etag_version > 0)
		snprintf(etag, sizeof(etag), "\"%s-%lld\"", reply->etag_id,
		        (long long)reply->etag_version);
	CLEANUP(cleanup_free) char *body = xstrdup(str_text(&reply->body.out));
	struct idempotency_record record = {.status = reply->status,
	        .location = reply->location,
	        .etag = etag[0] ? etag : NULL,
	        .body = body};
	memcpy(record.digest, ex->digest, sizeof(record.digest));
	return idempotency_add(db, ex->principal.name, key, &record, e);
}

/* Whether it was answered before. */
static int look_back(struct exchange *ex, struct db *db, const char *key, struct err *e)
{
	struct idempotency_record record CLEANUP(idempotency_record_done) = {0};
	bool found = false;
	int rc = idempotency_find(db, ex->principal.name, key, &record, &found, e);
	return rc < 0 || !found ? rc : replay(ex, &record, e);
}

/* Writer thread, inside the savepoint. */
static int run(struct db *db, void *arg, struct err *e)
{
	struct exchange *ex = arg;
	LOG_SCOPE("request_id", ex->request_id);
	const char *key = idempotency_key(ex);
	int rc = key ? look_back(ex, db, key, e) : 0;
	if (rc < 0 || ex->is_replay)
		return rc;
	ex->rq.db = db;
	rc = ex->rq.route->handler(&ex->rq, &ex->reply, e);
	ex->rq.db = NULL;
	return rc == 0 && key ? remember(ex, db, key, e) : rc;
}

bool exchange_must_wait(const struct exchange *ex)
{
	return ex->rc == 0 && ex->rq.wait_ms > 0 && !ex->rq.dry_run && ex->reply.operation_id[0];
}

/* Writer thread, after the commit. */
static void done(void *arg, int rc, const struct err *e)
{
	struct exchange *ex = arg;
	ex->rc = rc;
	if (rc < 0)
		ex->error = *e;
	if (exchange_must_wait(ex)) {
		exchange_begin_wait(ex, ex->reply.operation_id);
		return;
	}
	/* A download's first byte unparks it, and then the flow may be gone at once. */
	struct flow *flow = rc == 0 && ex->flow && ex->flow->pipe ? ex->flow : NULL;
	bool is_download = flow && flow->direction == FLOW_DOWN;
	if (flow)
		flow_start(flow, ex);
	if (!is_download)
		exchange_unpark(ex);
	exchange_unref(ex);
}

void exchange_submit_write(struct exchange *ex)
{
	writer_submit(
	        ex->rq.app->writer, (struct writer_job){
	                                    .run = run,
	                                    .done = done,
	                                    .arg = ex,
	                                    .mode = ex->rq.dry_run ? WRITER_DRY_RUN : WRITER_COMMIT,
	                            });
}

/* Core loop. */
static void wait_over(void *arg, bool ended)
{
	struct exchange *ex = arg;
	ex->wait_ended = ended;
	exchange_unpark(ex);
	exchange_unref(ex);
}

void exchange_begin_wait(struct exchange *ex, const char *operation_id)
{
	ex->is_waiting = true;
	atomic_store(&ex->deadline_ms, clock_now_ms() + ex->rq.wait_ms + WAIT_SLACK_MS);
	operation_engine_wait(ex->rq.app->engine, operation_id, ex->rq.wait_ms, wait_over, ex);
}

static int read_operation(struct exchange *ex, struct db *db, struct err *e)
{
	struct operation_row row CLEANUP(operation_row_done) = {0};
	int rc = operation_store_get(db, ex->reply.operation_id, &row, e);
	if (rc < 0)
		return rc;
	json_writer_done(&ex->reply.body);
	operation_encode(ex->rq.app->engine, &row, &ex->reply.body);
	ex->reply.status = row.ended_at > 0 ? 200 : 202;
	return 0;
}

int exchange_read_operation(struct exchange *ex, struct err *e)
{
	struct db *db = NULL;
	int rc = readers_get(ex->rq.app->readers, &db, e);
	return rc < 0 ? rc : read_operation(ex, db, e);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of table idempotency: the first answer to each request that carried an Idempotency-Key.
 */
#pragma once

#include "db/db.h"

#define IDEMPOTENCY_KEEP_MS     86400000 /* 24 h: afterwards a key may be used anew */
#define IDEMPOTENCY_DIGEST_SIZE 32

/* Texts owned by a found record, borrowed by an added one. */
struct idempotency_record {
	unsigned char digest[IDEMPOTENCY_DIGEST_SIZE]; /* SHA-256 of method, path, query and body */
	int status;
	char *location;     /* or NULL */
	char *etag;         /* or NULL */
	char *body;         /* "" if the answer had none */
	int64_t created_at; /* wall ms; set by find */
};
void idempotency_record_done(struct idempotency_record *record);

/* The answer kept for that principal's key, unless it is older than IDEMPOTENCY_KEEP_MS. Any
 * connection; a mutation looks inside its own job, so that two requests with one key cannot both
 * miss. */
int idempotency_find(struct db *db, const char *principal, const char *key,
        struct idempotency_record *ret_record, bool *ret_found, struct err *e);
/* In the transaction of the work. Replaces an expired record; ERR_EXISTS for a live one. Writer
 * thread. */
int idempotency_add(struct db *db, const char *principal, const char *key,
        const struct idempotency_record *record, struct err *e);
/* Forgets records older than before_ms. Writer thread. */
int idempotency_prune(struct db *db, int64_t before_ms, struct err *e);

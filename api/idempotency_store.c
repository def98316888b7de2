/* SPDX-License-Identifier: Apache-2.0 */
/* All SQL of table idempotency. */
#include "api/idempotency_store.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"

void idempotency_record_done(struct idempotency_record *record)
{
	free(record->location);
	free(record->etag);
	free(record->body);
	*record = (struct idempotency_record){0};
}

static int64_t expired_before_ms(void)
{
	return clock_wall_ms() - IDEMPOTENCY_KEEP_MS;
}

static void read_row(struct statement *s, struct idempotency_record *record)
{
	*record = (struct idempotency_record){
	        .status = (int)statement_int(s, 1),
	        .location = statement_text_copy(s, 2),
	        .etag = statement_text_copy(s, 3),
	        .body = statement_text_copy(s, 4),
	        .created_at = statement_int(s, 5),
	};
	size_t len;
	const void *digest = statement_blob(s, 0, &len);
	if (digest && len == sizeof(record->digest))
		memcpy(record->digest, digest, len);
}

SQL(idempotency_by_key, 0,
        "SELECT digest, status, location, etag, body, created_at FROM idempotency "
        "WHERE principal = ? AND key = ? AND created_at >= ?");

int idempotency_find(struct db *db, const char *principal, const char *key,
        struct idempotency_record *ret_record, bool *ret_found, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_prepare(db, idempotency_by_key.text, &s, e);
	if (rc < 0)
		return rc;
	statement_bind_text(s, 1, principal);
	statement_bind_text(s, 2, key);
	statement_bind_int(s, 3, expired_before_ms());
	if ((rc = statement_step(s, e)) < 0)
		return rc;
	*ret_found = rc == 1;
	if (rc == 1)
		read_row(s, ret_record);
	return 0;
}

SQL(idempotency_insert, 0,
        "INSERT INTO idempotency "
        "(principal, key, digest, status, location, etag, body, created_at) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) "
        "ON CONFLICT (principal, key) DO UPDATE SET "
        "digest = ?3, status = ?4, location = ?5, etag = ?6, body = ?7, created_at = ?8 "
        "WHERE idempotency.created_at < ?9");

int idempotency_add(struct db *db, const char *principal, const char *key,
        const struct idempotency_record *record, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_prepare(db, idempotency_insert.text, &s, e);
	if (rc < 0)
		return rc;
	statement_bind_text(s, 1, principal);
	statement_bind_text(s, 2, key);
	statement_bind_blob(s, 3, record->digest, sizeof(record->digest));
	statement_bind_int(s, 4, record->status);
	statement_bind_text(s, 5, record->location);
	statement_bind_text(s, 6, record->etag);
	statement_bind_text(s, 7, record->body ? record->body : "");
	statement_bind_int(s, 8, clock_wall_ms());
	statement_bind_int(s, 9, expired_before_ms());
	if ((rc = statement_run(s, e)) < 0)
		return rc;
	if (db_changes(db) == 0)
		return err_set(e, ERR_EXISTS, "the idempotency key %s has an answer already", key);
	return 0;
}

SQL(idempotency_delete_old, 0, "DELETE FROM idempotency WHERE created_at < ?");

int idempotency_prune(struct db *db, int64_t before_ms, struct err *e)
{
	return db_run(db, &idempotency_delete_old, SQL_BINDS(SQL_INT(before_ms)), e);
}

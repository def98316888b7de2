/* SPDX-License-Identifier: Apache-2.0 */
/* All SQL of snapshot policies. */
#include "compute/snapshot_policy_store.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "compute/snapshot_policy_internal.h"

#define COLUMNS                                                                                    \
	"SELECT snapshot_policy.id, snapshot_policy.name, snapshot_policy.spec, "                  \
	"snapshot_policy.next_run_at, snapshot_policy.last_run_at, "                               \
	"snapshot_policy.last_result, snapshot_policy.version, snapshot_policy.created_at "        \
	"FROM snapshot_policy "

SQL(snapshot_policy_by_id, 0, COLUMNS "WHERE id = ?");
SQL(snapshot_policy_by_name, 0, COLUMNS "WHERE name = ?");
SQL(snapshot_policy_insert, 0,
        "INSERT INTO snapshot_policy (id, name, spec, next_run_at, created_at) "
        "VALUES (?, ?, ?, ?, ?)");
SQL(snapshot_policy_update_row, 0,
        "UPDATE snapshot_policy SET name = ?2, spec = ?3, next_run_at = ?4, "
        "version = version + 1 WHERE id = ?1");
SQL(snapshot_policy_delete_row, 0, "DELETE FROM snapshot_policy WHERE id = ?");
SQL(snapshot_policy_set_next, 0, "UPDATE snapshot_policy SET next_run_at = ?2 WHERE id = ?1");
SQL(snapshot_policy_set_last, 0,
        "UPDATE snapshot_policy SET last_run_at = ?2, last_result = ?3 WHERE id = ?1");
SQL(snapshot_policy_due, 0,
        "SELECT id FROM snapshot_policy WHERE next_run_at <= ? ORDER BY next_run_at LIMIT 50");
SQL(snapshot_expired, 0,
        "SELECT snapshot.id FROM snapshot JOIN vm ON vm.id = snapshot.vm_id "
        "WHERE snapshot.expires_at > 0 AND snapshot.expires_at <= ? AND snapshot.state = 'ready' "
        "AND vm.power <> 'suspended' AND NOT EXISTS (SELECT 1 FROM operation "
        "WHERE operation.queue = vm.id AND operation.ended_at = 0 "
        "AND operation.kind = 'snapshot.delete') "
        "ORDER BY snapshot.expires_at LIMIT 200");
SQL(snapshot_of_policy, 0,
        "SELECT id FROM snapshot WHERE policy_id = ? AND vm_id = ? AND state = 'ready' "
        "ORDER BY created_at, id");
SQL(snapshot_of_policy_in_chain,
        SQL_SCAN, /* of what the disk's top stands on: as many rows as it has layers */
        "WITH RECURSIVE chain (id) AS ("
        "SELECT layer_id FROM volume WHERE vm_id = ?2 AND disk = ?3 "
        "UNION ALL SELECT layer.backing_id FROM layer JOIN chain ON layer.id = chain.id "
        "WHERE layer.backing_id IS NOT NULL) "
        "SELECT snapshot.id FROM chain JOIN snapshot_disk ON snapshot_disk.layer_id = chain.id "
        "JOIN snapshot ON snapshot.id = snapshot_disk.snapshot_id "
        "WHERE snapshot.policy_id = ?1 AND snapshot.vm_id = ?2 AND snapshot.state = 'ready' "
        "ORDER BY snapshot.created_at, snapshot.id");
SQL(snapshot_vm_id, 0, "SELECT vm_id FROM snapshot WHERE id = ?");

static int read_row(struct statement *s, struct snapshot_policy_row *ret_row, struct err *e)
{
	uuid_text_copy(ret_row->id, statement_text(s, 0));
	int rc = snapshot_policy_load(statement_text(s, 2), &ret_row->spec, e);
	if (rc < 0)
		return rc;
	str_replace(&ret_row->spec.name, statement_text(s, 1));
	ret_row->next_run_at = statement_int(s, 3);
	ret_row->last_run_at = statement_int(s, 4);
	str_replace(&ret_row->last_result, statement_text(s, 5));
	ret_row->version = statement_int(s, 6);
	ret_row->created_at = statement_int(s, 7);
	return 0;
}

int snapshot_policy_store_get(
        struct db *db, const char *name_or_id, struct snapshot_policy_row *ret_row, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	const struct sql_text *sql =
	        uuid_is_shaped(name_or_id) ? &snapshot_policy_by_id : &snapshot_policy_by_name;
	int rc = db_find(db, sql, SQL_BINDS(SQL_TEXT(name_or_id)), &s, e);
	if (rc == 0)
		return err_set(e, ERR_NOT_FOUND, "no snapshot policy named %s", name_or_id);
	return rc < 0 ? rc : read_row(s, ret_row, e);
}

int snapshot_policy_store_list(struct db *db, const struct db_page *page,
        int (*each)(void *arg, const struct snapshot_policy_row *row), void *arg, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_prepare_page(db, COLUMNS, page, NULL, NULL, &s, e);
	if (rc < 0)
		return rc;
	while ((rc = statement_step(s, e)) > 0) {
		struct snapshot_policy_row row CLEANUP(snapshot_policy_row_done) = {0};
		if ((rc = read_row(s, &row, e)) < 0 || (rc = each(arg, &row)) < 0)
			return rc;
	}
	return rc;
}

int snapshot_policy_store_insert(
        struct db *db, const struct snapshot_policy_row *row, const char *spec, struct err *e)
{
	return db_run(db, &snapshot_policy_insert,
	        SQL_BINDS(SQL_TEXT(row->id), SQL_TEXT(row->spec.name), SQL_TEXT(spec),
	                SQL_INT(row->next_run_at), SQL_INT(row->created_at)),
	        e);
}

int snapshot_policy_store_update(struct db *db, const char *id, const char *name, const char *spec,
        int64_t next_run_at, struct err *e)
{
	return db_run(db, &snapshot_policy_update_row,
	        SQL_BINDS(SQL_TEXT(id), SQL_TEXT(name), SQL_TEXT(spec), SQL_INT(next_run_at)), e);
}

int snapshot_policy_store_delete(struct db *db, const char *id, struct err *e)
{
	return db_run(db, &snapshot_policy_delete_row, SQL_BINDS(SQL_TEXT(id)), e);
}

int snapshot_policy_store_set_next(
        struct db *db, const char *id, int64_t next_run_at, struct err *e)
{
	return db_run(
	        db, &snapshot_policy_set_next, SQL_BINDS(SQL_TEXT(id), SQL_INT(next_run_at)), e);
}

int snapshot_policy_store_set_last(
        struct db *db, const char *id, int64_t at, const char *result, struct err *e)
{
	return db_run(db, &snapshot_policy_set_last,
	        SQL_BINDS(SQL_TEXT(id), SQL_INT(at), SQL_TEXT(result)), e);
}

/* ---- ids ---- */

void snapshot_ids_done(struct snapshot_ids *ids)
{
	free(ids->ids);
	*ids = (struct snapshot_ids){0};
}

static int read_ids(struct statement *s, struct snapshot_ids *ret_ids, struct err *e)
{
	int rc;
	while ((rc = statement_step(s, e)) == 1) {
		if (ret_ids->len == ret_ids->capacity) {
			ret_ids->capacity = ret_ids->capacity ? ret_ids->capacity * 2 : 16;
			ret_ids->ids =
			        xrealloc(ret_ids->ids, ret_ids->capacity * sizeof(ret_ids->ids[0]));
		}
		uuid_text_copy(ret_ids->ids[ret_ids->len++], statement_text(s, 0));
	}
	return rc;
}

static int ids_until(struct db *db, const struct sql_text *sql, int64_t now_ms,
        struct snapshot_ids *ret_ids, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_query(db, sql, SQL_BINDS(SQL_INT(now_ms)), &s, e);
	if (rc < 0)
		return rc;
	return read_ids(s, ret_ids, e);
}

int snapshot_policy_store_due(
        struct db *db, int64_t now_ms, struct snapshot_ids *ret_ids, struct err *e)
{
	return ids_until(db, &snapshot_policy_due, now_ms, ret_ids, e);
}

int snapshot_policy_store_expired(
        struct db *db, int64_t now_ms, struct snapshot_ids *ret_ids, struct err *e)
{
	return ids_until(db, &snapshot_expired, now_ms, ret_ids, e);
}

int snapshot_policy_store_of_vm(struct db *db, const char *policy_id, const char *vm_id,
        struct snapshot_ids *ret_ids, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_query(
	        db, &snapshot_of_policy, SQL_BINDS(SQL_TEXT(policy_id), SQL_TEXT(vm_id)), &s, e);
	if (rc < 0)
		return rc;
	return read_ids(s, ret_ids, e);
}

int snapshot_policy_store_in_chain(struct db *db, const char *policy_id, const char *vm_id,
        const char *disk, struct snapshot_ids *ret_ids, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_query(db, &snapshot_of_policy_in_chain,
	        SQL_BINDS(SQL_TEXT(policy_id), SQL_TEXT(vm_id), SQL_TEXT(disk)), &s, e);
	return rc < 0 ? rc : read_ids(s, ret_ids, e);
}

int snapshot_policy_store_vm_of(
        struct db *db, const char *snapshot_id, char ret_vm_id[UUID_TEXT_SIZE], struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_find(db, &snapshot_vm_id, SQL_BINDS(SQL_TEXT(snapshot_id)), &s, e);
	if (rc == 0)
		return err_set(e, ERR_NOT_FOUND, "no snapshot %s", snapshot_id);
	if (rc == 1)
		uuid_text_copy(ret_vm_id, statement_text(s, 0));
	return rc < 0 ? rc : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* All SQL of snapshot groups. */
#include "compute/snapshot_group_store.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "compute/snapshot_group_internal.h"

#define COLUMNS                                                                                    \
	"SELECT snapshot_group.id, snapshot_group.name, snapshot_group.spec, "                     \
	"snapshot_group.state, snapshot_group.version, snapshot_group.created_at "                 \
	"FROM snapshot_group "

SQL(snapshot_group_by_id, 0, COLUMNS "WHERE id = ?");
SQL(snapshot_group_by_name, 0, COLUMNS "WHERE name = ?");
SQL(snapshot_group_insert, 0,
        "INSERT INTO snapshot_group (id, name, spec, state, created_at) "
        "VALUES (?, ?, ?, ?, ?)");
SQL(snapshot_group_set_state, 0, "UPDATE snapshot_group SET state = ?2 WHERE id = ?1");
SQL(snapshot_group_detach, 0, "UPDATE snapshot SET group_id = NULL WHERE group_id = ?");
SQL(snapshot_group_delete_row, 0, "DELETE FROM snapshot_group WHERE id = ?");
SQL(snapshot_group_members, 0,
        "SELECT snapshot.id, snapshot.vm_id, vm.name, snapshot.name, snapshot.state "
        "FROM snapshot JOIN vm ON vm.id = snapshot.vm_id WHERE snapshot.group_id = ? "
        "ORDER BY snapshot.vm_id");

SQL(snapshot_labelled_vms, SQL_SCAN, /* labels are in the configuration only */
        "SELECT id, spec FROM vm WHERE managed = 1 AND spec LIKE '%\"labels\"%' ORDER BY id");

static int read_row(struct statement *s, struct snapshot_group_row *ret_row, struct err *e)
{
	uuid_text_copy(ret_row->id, statement_text(s, 0));
	int rc = snapshot_group_load(statement_text(s, 2), &ret_row->spec, e);
	if (rc < 0)
		return rc;
	str_replace(&ret_row->spec.name, statement_text(s, 1));
	snprintf(ret_row->state, sizeof(ret_row->state), "%s", statement_text(s, 3));
	ret_row->version = statement_int(s, 4);
	ret_row->created_at = statement_int(s, 5);
	return 0;
}

int snapshot_group_store_get(
        struct db *db, const char *name_or_id, struct snapshot_group_row *ret_row, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	const struct sql_text *sql =
	        uuid_is_shaped(name_or_id) ? &snapshot_group_by_id : &snapshot_group_by_name;
	int rc = db_find(db, sql, SQL_BINDS(SQL_TEXT(name_or_id)), &s, e);
	if (rc == 0)
		return err_set(e, ERR_NOT_FOUND, "no snapshot group named %s", name_or_id);
	return rc < 0 ? rc : read_row(s, ret_row, e);
}

int snapshot_group_store_list(struct db *db, const struct db_page *page,
        int (*each)(void *arg, const struct snapshot_group_row *row), void *arg, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_prepare_page(db, COLUMNS, page, NULL, NULL, &s, e);
	if (rc < 0)
		return rc;
	while ((rc = statement_step(s, e)) > 0) {
		struct snapshot_group_row row CLEANUP(snapshot_group_row_done) = {0};
		if ((rc = read_row(s, &row, e)) < 0 || (rc = each(arg, &row)) < 0)
			return rc;
	}
	return rc;
}

int snapshot_group_store_insert(
        struct db *db, const struct snapshot_group_row *row, const char *spec, struct err *e)
{
	return db_run(db, &snapshot_group_insert,
	        SQL_BINDS(SQL_TEXT(row->id), SQL_TEXT(row->spec.name), SQL_TEXT(spec),
	                SQL_TEXT(row->state), SQL_INT(row->created_at)),
	        e);
}

int snapshot_group_store_set_state(struct db *db, const char *id, const char *state, struct err *e)
{
	return db_run(db, &snapshot_group_set_state, SQL_BINDS(SQL_TEXT(id), SQL_TEXT(state)), e);
}

int snapshot_group_store_delete(struct db *db, const char *id, struct err *e)
{
	int rc = db_run(db, &snapshot_group_detach, SQL_BINDS(SQL_TEXT(id)), e);
	return rc < 0 ? rc : db_run(db, &snapshot_group_delete_row, SQL_BINDS(SQL_TEXT(id)), e);
}

int snapshot_group_store_members(struct db *db, const char *id,
        int (*each)(void *arg, const struct snapshot_group_member *member, struct err *e),
        void *arg, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_query(db, &snapshot_group_members, SQL_BINDS(SQL_TEXT(id)), &s, e);
	if (rc < 0)
		return rc;
	while ((rc = statement_step(s, e)) == 1) {
		struct snapshot_group_member member = {.vm = statement_text(s, 2),
		        .name = statement_text(s, 3),
		        .state = statement_text(s, 4)};
		uuid_text_copy(member.id, statement_text(s, 0));
		uuid_text_copy(member.vm_id, statement_text(s, 1));
		rc = each(arg, &member, e);
		if (rc < 0)
			return rc;
	}
	return rc;
}

int snapshot_group_store_each_labelled(struct db *db,
        void (*each)(void *arg, const char *id, const char *spec), void *arg, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_prepare(db, snapshot_labelled_vms.text, &s, e);
	while (rc >= 0 && (rc = statement_step(s, e)) == 1)
		each(arg, statement_text(s, 0), statement_text(s, 1));
	return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* SQL of host groups. */
#include "compute/host_group_store.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"

#define COLUMNS                                                                                    \
	"SELECT host_group.id, host_group.name, host_group.spec, host_group.version, "             \
	"host_group.created_at, "                                                                  \
	"(SELECT count(*) FROM host WHERE host.host_group = host_group.id) FROM host_group "

SQL(host_group_by_id, 0, COLUMNS "WHERE id = ?");
SQL(host_group_by_name, 0, COLUMNS "WHERE name = ?");
SQL(host_group_insert, 0,
        "INSERT INTO host_group (id, name, spec, created_at) VALUES (?, ?, ?, ?)");
SQL(host_group_update_row, 0,
        "UPDATE host_group SET name = ?2, spec = ?3, version = version + 1 WHERE id = ?1");
SQL(host_group_delete_row, 0, "DELETE FROM host_group WHERE id = ?");
SQL(host_group_host_names, 0, "SELECT name FROM host WHERE host_group = ? ORDER BY name LIMIT ?");

static int read_row(struct statement *s, struct host_group_row *ret_row, struct err *e)
{
	snprintf(ret_row->id, sizeof(ret_row->id), "%s", statement_text(s, 0));
	int rc = host_group_load(statement_text(s, 2), &ret_row->spec, e);
	if (rc < 0)
		return rc;
	str_replace(&ret_row->spec.name, statement_text(s, 1));
	ret_row->version = statement_int(s, 3);
	ret_row->created_at = statement_int(s, 4);
	ret_row->hosts = statement_int(s, 5);
	return 0;
}

int host_group_store_get(
        struct db *db, const char *name_or_id, struct host_group_row *ret_row, struct err *e)
{
	CLEANUP(statement_done) struct statement *s = NULL;
	const struct sql_text *sql =
	        uuid_is_shaped(name_or_id) ? &host_group_by_id : &host_group_by_name;
	int rc = db_find(db, sql, SQL_BINDS(SQL_TEXT(name_or_id)), &s, e);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return err_set(e, ERR_NOT_FOUND, "no host group named \"%s\"", name_or_id);
	return read_row(s, ret_row, e);
}

int host_group_store_insert(struct db *db, const char *id, const char *name, const char *spec,
        int64_t created_at, struct err *e)
{
	return db_run(db, &host_group_insert,
	        SQL_BINDS(SQL_TEXT(id), SQL_TEXT(name), SQL_TEXT(spec), SQL_INT(created_at)), e);
}

int host_group_store_update(
        struct db *db, const char *id, const char *name, const char *spec, struct err *e)
{
	return db_run(db, &host_group_update_row,
	        SQL_BINDS(SQL_TEXT(id), SQL_TEXT(name), SQL_TEXT(spec)), e);
}

int host_group_store_delete(struct db *db, const char *id, struct err *e)
{
	return db_run(db, &host_group_delete_row, SQL_BINDS(SQL_TEXT(id)), e);
}

int host_group_store_hosts(
        struct db *db, const char *id, int64_t max, char **ret_names, struct err *e)
{
	CLEANUP(statement_done) struct statement *s = NULL;
	CLEANUP(str_done) struct str names = {0};
	int rc = db_query(db, &host_group_host_names, SQL_BINDS(SQL_TEXT(id), SQL_INT(max)), &s, e);
	if (rc < 0)
		return rc;
	while ((rc = statement_step(s, e)) > 0)
		str_printf(&names, "%s%s", names.len ? ", " : "", statement_text(s, 0));
	if (rc == 0)
		*ret_names = str_take(&names);
	return rc;
}

int host_group_store_list(struct db *db, const struct db_page *page,
        int (*each)(void *arg, const struct host_group_row *row), void *arg, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_prepare_page(db, COLUMNS, page, NULL, NULL, &s, e);
	if (rc < 0)
		return rc;
	while ((rc = statement_step(s, e)) > 0) {
		struct host_group_row row CLEANUP(host_group_row_done) = {0};
		if ((rc = read_row(s, &row, e)) < 0 || (rc = each(arg, &row)) < 0)
			return rc;
	}
	return rc;
}

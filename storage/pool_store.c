/* SPDX-License-Identifier: Apache-2.0 */
/* SQL on table pool. */
#include "storage/pool_store.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"

#define COLUMNS                                                                                    \
	"SELECT id, name, kind, path, version, created_at, "                                       \
	"(SELECT count(*) FROM volume WHERE volume.pool_id = pool.id) "                            \
	"FROM pool "

SQL(pool_by_id, 0, COLUMNS "WHERE id = ?");
SQL(pool_by_name, 0, COLUMNS "WHERE name = ?");
/* Without the count of volumes, which reads an index of all of them. */
SQL(pool_id, 0, "SELECT id FROM pool WHERE name = ?1 UNION ALL SELECT id FROM pool WHERE id = ?1");
SQL(pool_insert, 0, "INSERT INTO pool (id, name, kind, path, created_at) VALUES (?, ?, ?, ?, ?)");

void pool_row_done(struct pool_row *row)
{
	free(row->name);
	free(row->kind);
	free(row->path);
	*row = (struct pool_row){0};
}

static void read_row(struct statement *s, struct pool_row *row)
{
	snprintf(row->id, sizeof(row->id), "%s", statement_text(s, 0));
	row->name = statement_text_copy(s, 1);
	row->kind = statement_text_copy(s, 2);
	row->path = statement_text_copy(s, 3);
	row->version = statement_int(s, 4);
	row->created_at = statement_int(s, 5);
	row->volumes = statement_int(s, 6);
}

int pool_store_get(struct db *db, const char *name_or_id, struct pool_row *ret_row, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	bool is_id = uuid_is_shaped(name_or_id);
	int rc = db_prepare(db, is_id ? pool_by_id.text : pool_by_name.text, &s, e);
	if (rc < 0)
		return rc;
	statement_bind_text(s, 1, name_or_id);
	rc = statement_step(s, e);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return err_set(e, ERR_NOT_FOUND, is_id ? "no pool with id %s" : "no pool named %s",
		        name_or_id);
	read_row(s, ret_row);
	return 0;
}

int pool_store_get_id(
        struct db *db, const char *name_or_id, char ret_id[UUID_TEXT_SIZE], struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_prepare(db, pool_id.text, &s, e);
	if (rc < 0)
		return rc;
	statement_bind_text(s, 1, name_or_id);
	rc = statement_step(s, e);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return err_set(e, ERR_NOT_FOUND, "no pool named %s", name_or_id);
	uuid_text_copy(ret_id, statement_text(s, 0));
	return 0;
}

int pool_store_insert(struct db *db, const char *id, const char *name, const char *kind,
        const char *path, int64_t created_at, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_prepare(db, pool_insert.text, &s, e);
	if (rc < 0)
		return rc;
	statement_bind_text(s, 1, id);
	statement_bind_text(s, 2, name);
	statement_bind_text(s, 3, kind);
	statement_bind_text(s, 4, path);
	statement_bind_int(s, 5, created_at);
	return statement_run(s, e);
}

int pool_store_list(struct db *db, const struct db_page *page,
        int (*each)(void *arg, const struct pool_row *row), void *arg, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_prepare_page(db, COLUMNS, page, NULL, NULL, &s, e);
	if (rc < 0)
		return rc;
	while ((rc = statement_step(s, e)) > 0) {
		struct pool_row row CLEANUP(pool_row_done) = {0};
		read_row(s, &row);
		if ((rc = each(arg, &row)) < 0)
			return rc;
	}
	return rc;
}

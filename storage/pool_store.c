/* SPDX-License-Identifier: Apache-2.0 */
/* SQL on table pool; pool_host_store.c has how hosts see them. */
#include "storage/pool_store.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/str.h"

#define COLUMNS                                                                                    \
	"SELECT id, name, kind, path, spec, state, shared, version, created_at, "                  \
	"(SELECT count(*) FROM volume WHERE volume.pool_id = pool.id) "                            \
	"FROM pool "

SQL(pool_by_id, 0, COLUMNS "WHERE id = ?");
SQL(pool_by_name, 0, COLUMNS "WHERE name = ?");
/* Without the count of volumes, which reads an index of all of them. */
SQL(pool_id, 0, "SELECT id FROM pool WHERE name = ?1 UNION ALL SELECT id FROM pool WHERE id = ?1");
SQL(pool_secret, 0, "SELECT secret FROM pool WHERE id = ?");
SQL(pool_insert, 0,
        "INSERT INTO pool (id, name, kind, path, spec, state, secret, shared, created_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)");
SQL(pool_update, 0,
        "UPDATE pool SET path = ?2, spec = ?3, shared = ?4, secret = ?5, version = version + 1 "
        "WHERE id = ?1");
SQL(pool_set_state, 0, "UPDATE pool SET state = ?2, version = version + 1 WHERE id = ?1");
SQL(pool_delete_row, 0, "DELETE FROM pool WHERE id = ?");
SQL(pool_by_path, SQL_SCAN, "SELECT name FROM pool WHERE path = ?1 AND id <> ?2");
SQL(pool_users, 0,
        "SELECT 'volume ' || name FROM volume WHERE pool_id = ?1 "
        "UNION SELECT 'image ' || image.name FROM layer JOIN image ON image.id = layer.image_id "
        "WHERE layer.pool_id = ?1 "
        "UNION SELECT 'volume ' || volume.name FROM layer JOIN volume ON volume.id = "
        "layer.volume_id WHERE layer.pool_id = ?1 "
        "UNION SELECT 'snapshot ' || snapshot.name || ' of VM ' || vm.name FROM snapshot "
        "JOIN vm ON vm.id = snapshot.vm_id WHERE snapshot.memory_pool_id = ?1 "
        "ORDER BY 1 LIMIT 6");
SQL(pool_host_users, 0,
        "SELECT 'volume ' || volume.name FROM volume LEFT JOIN vm ON vm.id = volume.vm_id "
        "WHERE volume.pool_id = ?1 AND (volume.host_id = ?2 OR vm.host_id = ?2) "
        "UNION SELECT 'image ' || image.name FROM layer JOIN image ON image.id = layer.image_id "
        "WHERE layer.pool_id = ?1 AND layer.host_id = ?2 "
        "UNION SELECT 'volume ' || volume.name FROM layer "
        "JOIN volume ON volume.id = layer.volume_id LEFT JOIN vm ON vm.id = volume.vm_id "
        "WHERE layer.pool_id = ?1 AND (layer.host_id = ?2 OR vm.host_id = ?2) "
        "UNION SELECT 'snapshot ' || snapshot.name || ' of VM ' || vm.name FROM snapshot "
        "JOIN vm ON vm.id = snapshot.vm_id "
        "WHERE snapshot.memory_pool_id = ?1 AND vm.host_id = ?2 "
        "ORDER BY 1 LIMIT 6");

SQL(pool_file_elsewhere, SQL_SCAN,
        "SELECT pool.id, volume.name FROM pool JOIN layer ON layer.pool_id = pool.id "
        "AND coalesce(layer.host_id, '') = '' AND layer.file = ?2 "
        "JOIN volume ON volume.id = layer.volume_id WHERE pool.id <> ?1");

void pool_row_done(struct pool_row *row)
{
	free(row->name);
	free(row->kind);
	free(row->path);
	free(row->spec);
	free(row->state);
	*row = (struct pool_row){0};
}

static void read_row(struct statement *s, struct pool_row *row)
{
	snprintf(row->id, sizeof(row->id), "%s", statement_text(s, 0));
	row->name = statement_text_copy(s, 1);
	row->kind = statement_text_copy(s, 2);
	row->path = statement_text_copy(s, 3);
	row->spec = statement_text_copy(s, 4);
	row->state = statement_text_copy(s, 5);
	row->shared = statement_int(s, 6) != 0;
	row->version = statement_int(s, 7);
	row->created_at = statement_int(s, 8);
	row->volumes = statement_int(s, 9);
}

int pool_store_get(struct db *db, const char *name_or_id, struct pool_row *ret_row, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	bool is_id = uuid_is_shaped(name_or_id);
	int rc = db_find(
	        db, is_id ? &pool_by_id : &pool_by_name, SQL_BINDS(SQL_TEXT(name_or_id)), &s, e);
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
	int rc = db_find(db, &pool_id, SQL_BINDS(SQL_TEXT(name_or_id)), &s, e);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return err_set(e, ERR_NOT_FOUND, "no pool named %s", name_or_id);
	uuid_text_copy(ret_id, statement_text(s, 0));
	return 0;
}

int pool_store_get_secret(struct db *db, const char *id, char **ret_secret, struct err *e)
{
	*ret_secret = NULL;
	int rc = db_find_text(db, &pool_secret, SQL_BINDS(SQL_TEXT(id)), ret_secret, e);
	return rc < 0 ? rc : 0;
}

int pool_store_insert(struct db *db, const struct pool_insert *row, struct err *e)
{
	return db_run(db, &pool_insert,
	        SQL_BINDS(SQL_TEXT(row->id), SQL_TEXT(row->name), SQL_TEXT(row->kind),
	                SQL_TEXT(row->path), SQL_TEXT(row->spec), SQL_TEXT(row->state),
	                SQL_TEXT(row->secret), SQL_INT(row->shared), SQL_INT(row->created_at)),
	        e);
}

int pool_store_update(struct db *db, const char *id, const char *path, const char *spec,
        bool shared, const char *secret, struct err *e)
{
	return db_run(db, &pool_update,
	        SQL_BINDS(SQL_TEXT(id), SQL_TEXT(path), SQL_TEXT(spec), SQL_INT(shared),
	                SQL_TEXT(secret)),
	        e);
}

int pool_store_set_state(struct db *db, const char *id, const char *state, struct err *e)
{
	return db_run(db, &pool_set_state, SQL_BINDS(SQL_TEXT(id), SQL_TEXT(state)), e);
}

int pool_store_delete(struct db *db, const char *id, struct err *e)
{
	return db_run(db, &pool_delete_row, SQL_BINDS(SQL_TEXT(id)), e);
}

int pool_store_find_path(
        struct db *db, const char *path, const char *own_id, char **ret_name, struct err *e)
{
	int rc = db_find_text(
	        db, &pool_by_path, SQL_BINDS(SQL_TEXT(path), SQL_TEXT(own_id)), ret_name, e);
	return rc < 0 ? rc : 0;
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

static int add_users(struct db *db, const struct sql_text *sql, const char *id, const char *host_id,
        struct str *users, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	const struct sql_bind binds[] = {SQL_TEXT(id), SQL_TEXT(host_id)};
	int rc = db_query(db, sql, binds, host_id ? 2 : 1, &s, e);
	if (rc < 0)
		return rc;
	while ((rc = statement_step(s, e)) > 0)
		str_printf(users, "%s%s", users->len ? ", " : "", statement_text(s, 0));
	return rc;
}

int pool_store_users(struct db *db, const char *id, struct str *users, struct err *e)
{
	return add_users(db, &pool_users, id, NULL, users, e);
}

int pool_store_host_users(
        struct db *db, const char *id, const char *host_id, struct str *users, struct err *e)
{
	return add_users(db, &pool_host_users, id, host_id, users, e);
}

int pool_store_file_elsewhere(struct db *db, const char *id, const char *file,
        int (*each)(void *arg, const char *pool_id, const char *volume, struct err *e), void *arg,
        struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_query(db, &pool_file_elsewhere, SQL_BINDS(SQL_TEXT(id), SQL_TEXT(file)), &s, e);
	if (rc < 0)
		return rc;
	while ((rc = statement_step(s, e)) > 0) {
		int result = each(arg, statement_text(s, 0), statement_text(s, 1), e);
		if (result < 0)
			return result;
	}
	return rc;
}

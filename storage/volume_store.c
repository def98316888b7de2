/* SPDX-License-Identifier: Apache-2.0 */
/* SQL on table volume. */
#include "storage/volume_store.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/vec.h"

#define COLUMNS                                                                                    \
	"SELECT volume.id, volume.layer_id, volume.name, volume.pool_id, pool.name, "              \
	"volume.host_id, host.name, volume.format, volume.state, volume.vm_id, volume.disk, "      \
	"volume.drift, volume.next_backup_full, volume.size_bytes, volume.version, "               \
	"volume.created_at FROM volume JOIN pool ON pool.id = volume.pool_id "                     \
	"LEFT JOIN host ON host.id = volume.host_id "

SQL(volume_by_id, 0, COLUMNS "WHERE volume.id = ?");
SQL(volume_by_name, 0,
        COLUMNS "WHERE volume.pool_id = (SELECT id FROM pool WHERE name = ?1 OR id = ?1) "
                "AND coalesce(volume.host_id, '') IN (?2, '') AND volume.name = ?3");
SQL(volume_by_name_anywhere, 0,
        COLUMNS "WHERE volume.pool_id = (SELECT id FROM pool WHERE name = ?1 OR id = ?1) "
                "AND volume.name = ?2 LIMIT 2");
SQL(volume_by_vm, 0, COLUMNS "WHERE volume.vm_id = ? ORDER BY volume.disk");
SQL(volume_insert, 0,
        "INSERT INTO volume (id, name, pool_id, host_id, format, size_bytes, layer_id, vm_id, "
        "disk, "
        "created_at, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'creating')");
SQL(volume_update_layer, 0, "UPDATE volume SET layer_id = ?2, version = version + 1 WHERE id = ?1");
SQL(volume_update_place, 0,
        "UPDATE volume SET (pool_id, host_id, format) = "
        "(SELECT pool_id, host_id, format FROM layer WHERE id = volume.layer_id) WHERE id = ?");
SQL(volume_update_size, 0,
        "UPDATE volume SET size_bytes = ?2, version = version + 1 WHERE id = ?1");
SQL(volume_set_full_backup, 0, "UPDATE volume SET next_backup_full = 1 WHERE id = ?");
SQL(volume_clones, 0,
        "SELECT DISTINCT volume.name FROM layer JOIN layer AS upper ON upper.backing_id = layer.id "
        "JOIN volume ON volume.id = upper.volume_id "
        "WHERE layer.volume_id = ?1 AND upper.volume_id <> ?1 ORDER BY volume.name LIMIT 6");
SQL(volume_snapshots, 0,
        "SELECT snapshot.name, vm.name FROM snapshot_disk "
        "JOIN snapshot ON snapshot.id = snapshot_disk.snapshot_id "
        "JOIN vm ON vm.id = snapshot.vm_id "
        "WHERE snapshot_disk.volume_id = ?1 AND vm.id <> coalesce(?2, '') ORDER BY 2, 1 LIMIT 6");
SQL(volume_set_state, 0, "UPDATE volume SET state = ?2, version = version + 1 WHERE id = ?1");
SQL(volume_set_owner, 0,
        "UPDATE volume SET vm_id = ?2, disk = ?3, version = version + 1 WHERE id = ?1");
SQL(volume_delete_row, 0, "DELETE FROM volume WHERE id = ?");
SQL(volume_vm_name, 0, "SELECT name FROM vm WHERE id = ?");

void volume_row_done(struct volume_row *row)
{
	free(row->name);
	free(row->pool_id);
	free(row->pool);
	free(row->host_id);
	free(row->host);
	free(row->format);
	free(row->state);
	free(row->vm_id);
	free(row->disk);
	free(row->drift);
	*row = (struct volume_row){0};
}

static void read_row(struct statement *s, struct volume_row *row)
{
	snprintf(row->id, sizeof(row->id), "%s", statement_text(s, 0));
	snprintf(row->layer_id, sizeof(row->layer_id), "%s", statement_text(s, 1));
	row->name = statement_text_copy(s, 2);
	row->pool_id = statement_text_copy(s, 3);
	row->pool = statement_text_copy(s, 4);
	row->host_id = statement_text_copy(s, 5);
	row->host = statement_text_copy(s, 6);
	row->format = statement_text_copy(s, 7);
	row->state = statement_text_copy(s, 8);
	row->vm_id = statement_text_copy(s, 9);
	row->disk = statement_text_copy(s, 10);
	row->drift = statement_text_copy(s, 11);
	row->next_backup_full = statement_int(s, 12) != 0;
	row->size_bytes = statement_int(s, 13);
	row->version = statement_int(s, 14);
	row->created_at = statement_int(s, 15);
}

/* Reads the only row of a bound statement; two are a conflict, none is ERR_NOT_FOUND. */
static int read_only_row(
        struct statement *s, const char *asked, struct volume_row *ret_row, struct err *e)
{
	struct volume_row row CLEANUP(volume_row_done) = {0};
	int rc = statement_step(s, e);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return err_set(e, ERR_NOT_FOUND, "no volume named %s is there", asked);
	read_row(s, &row);
	rc = statement_step(s, e);
	if (rc > 0) {
		err_set(e, ERR_CONFLICT, "several hosts have a volume named %s in that pool",
		        asked);
		return err_hint(e, "name the host, or use the volume's id");
	}
	if (rc == 0) {
		*ret_row = row;
		row = (struct volume_row){0};
	}
	return rc;
}

int volume_store_get(struct db *db, const char *id, struct volume_row *ret_row, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_query(db, &volume_by_id, SQL_BINDS(SQL_TEXT(id)), &s, e);
	if (rc < 0)
		return rc;
	return read_only_row(s, id, ret_row, e);
}

/* By id, if it is of that pool and (unless NULL) host. */
static int find_by_id(struct db *db, const char *pool, const char *host_id, const char *id,
        struct volume_row *ret_row, struct err *e)
{
	struct volume_row row CLEANUP(volume_row_done) = {0};
	int rc = volume_store_get(db, id, &row, e);
	if (rc < 0)
		return rc;
	if ((!str_equal(row.pool, pool) && !str_equal(row.pool_id, pool)) ||
	        (host_id && row.host_id && !str_equal(row.host_id, host_id)))
		return err_set(e, ERR_NOT_FOUND, "no volume with id %s is there", id);
	*ret_row = row;
	row = (struct volume_row){0};
	return 0;
}

int volume_store_find(struct db *db, const char *pool, const char *host_id, const char *name_or_id,
        struct volume_row *ret_row, struct err *e)
{
	if (uuid_is_shaped(name_or_id))
		return find_by_id(db, pool, host_id, name_or_id, ret_row, e);
	struct statement *s CLEANUP(statement_done) = NULL;
	const struct sql_bind on_host[] = {SQL_TEXT(pool), SQL_TEXT(host_id), SQL_TEXT(name_or_id)};
	const struct sql_bind anywhere[] = {SQL_TEXT(pool), SQL_TEXT(name_or_id)};
	int rc = host_id ? db_query(db, &volume_by_name, on_host, 3, &s, e)
	                 : db_query(db, &volume_by_name_anywhere, anywhere, 2, &s, e);
	return rc < 0 ? rc : read_only_row(s, name_or_id, ret_row, e);
}

int volume_store_of_vm(struct db *db, const char *vm_id, struct volume_row **ret_rows,
        size_t *ret_n, struct err *e)
{
	VEC(struct volume_row) rows = {0};
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_query(db, &volume_by_vm, SQL_BINDS(SQL_TEXT(vm_id)), &s, e);
	if (rc < 0)
		return rc;
	while ((rc = statement_step(s, e)) > 0) {
		struct volume_row row = {0};
		read_row(s, &row);
		VEC_PUSH(&rows, row);
	}
	if (rc < 0) {
		VEC_FOR_EACH (&rows, row) {
			volume_row_done(row);
		}
		VEC_DONE(&rows);
		return rc;
	}
	*ret_rows = rows.items;
	*ret_n = rows.len;
	return 0;
}

int volume_store_list(struct db *db, const char *pool_id, const struct db_page *page,
        int (*each)(void *arg, const struct volume_row *row), void *arg, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_prepare_page(db, COLUMNS, page, "volume.pool_id", pool_id, &s, e);
	if (rc < 0)
		return rc;
	while ((rc = statement_step(s, e)) > 0) {
		struct volume_row row CLEANUP(volume_row_done) = {0};
		read_row(s, &row);
		if ((rc = each(arg, &row)) < 0)
			return rc;
	}
	return rc;
}

int volume_store_insert(struct db *db, const struct volume_insert *row, struct err *e)
{
	return db_run(db, &volume_insert,
	        SQL_BINDS(SQL_TEXT(row->id), SQL_TEXT(row->name), SQL_TEXT(row->pool_id),
	                SQL_TEXT(row->host_id), SQL_TEXT(row->format), SQL_INT(row->size_bytes),
	                SQL_TEXT(row->layer_id), SQL_TEXT(row->vm_id), SQL_TEXT(row->disk),
	                SQL_INT(row->created_at)),
	        e);
}

int volume_store_set_state(struct db *db, const char *id, const char *state, struct err *e)
{
	return db_run(db, &volume_set_state, SQL_BINDS(SQL_TEXT(id), SQL_TEXT(state)), e);
}

int volume_store_set_owner(
        struct db *db, const char *id, const char *vm_id, const char *disk, struct err *e)
{
	return db_run(
	        db, &volume_set_owner, SQL_BINDS(SQL_TEXT(id), SQL_TEXT(vm_id), SQL_TEXT(disk)), e);
}

int volume_store_delete(struct db *db, const char *id, struct err *e)
{
	return db_run(db, &volume_delete_row, SQL_BINDS(SQL_TEXT(id)), e);
}

int volume_store_vm_name(struct db *db, const char *vm_id, char **ret_name, struct err *e)
{
	int rc = db_find_text(db, &volume_vm_name, SQL_BINDS(SQL_TEXT(vm_id)), ret_name, e);
	return rc < 0 ? rc : 0;
}

int volume_store_set_layer(struct db *db, const char *id, const char *layer_id, struct err *e)
{
	return db_run(db, &volume_update_layer, SQL_BINDS(SQL_TEXT(id), SQL_TEXT(layer_id)), e);
}

int volume_store_follow_layer(struct db *db, const char *id, struct err *e)
{
	return db_run(db, &volume_update_place, SQL_BINDS(SQL_TEXT(id)), e);
}

int volume_store_set_size(struct db *db, const char *id, int64_t size_bytes, struct err *e)
{
	return db_run(db, &volume_update_size, SQL_BINDS(SQL_TEXT(id), SQL_INT(size_bytes)), e);
}

int volume_store_set_full_backup(struct db *db, const char *id, struct err *e)
{
	return db_run(db, &volume_set_full_backup, SQL_BINDS(SQL_TEXT(id)), e);
}

static int add_clones(struct db *db, const char *id, struct str *users, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_query(db, &volume_clones, SQL_BINDS(SQL_TEXT(id)), &s, e);
	if (rc < 0)
		return rc;
	while ((rc = statement_step(s, e)) > 0)
		str_printf(
		        users, "%slinked clone %s", users->len ? ", " : "", statement_text(s, 0));
	return rc;
}

int volume_store_users(
        struct db *db, const char *id, const char *own_vm_id, struct str *users, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = add_clones(db, id, users, e);
	if (rc == 0)
		rc = db_query(
		        db, &volume_snapshots, SQL_BINDS(SQL_TEXT(id), SQL_TEXT(own_vm_id)), &s, e);
	if (rc < 0)
		return rc;
	while ((rc = statement_step(s, e)) > 0)
		str_printf(users, "%ssnapshot %s of VM %s", users->len ? ", " : "",
		        statement_text(s, 0), statement_text(s, 1));
	return rc;
}

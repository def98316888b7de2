/* SPDX-License-Identifier: Apache-2.0 */
/* SQL on table layer. */
#include "storage/layer_store.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/vec.h"

#define COLUMNS                                                                                    \
	"SELECT id, pool_id, host_id, backing_id, volume_id, image_id, file, drift, format, "      \
	"state, size_bytes, allocation_bytes, created_at, pulling FROM layer "

SQL(layer_by_id, 0, COLUMNS "WHERE id = ?");
SQL(layer_by_volume, 0, COLUMNS "WHERE volume_id = ?");
SQL(layer_by_backing, 0, COLUMNS "WHERE backing_id = ?");
SQL(layer_by_image, 0, COLUMNS "WHERE image_id = ?");
SQL(layer_copy, 0,
        "SELECT id FROM layer WHERE image_id = ?1 AND pool_id = ?2 "
        "AND coalesce(host_id, '') = coalesce(?3, '')");
SQL(layer_insert, 0,
        "INSERT INTO layer (id, pool_id, host_id, file, format, size_bytes, backing_id, "
        "volume_id, image_id, created_at, state) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'creating')");
SQL(layer_update_state, 0, "UPDATE layer SET state = ?2 WHERE id = ?1");
SQL(layer_update_size, 0, "UPDATE layer SET size_bytes = ?2 WHERE id = ?1");
SQL(layer_update_backing, 0, "UPDATE layer SET backing_id = ?2, pulling = 0 WHERE id = ?1");
SQL(layer_update_pulling, 0, "UPDATE layer SET pulling = ?2 WHERE id = ?1");
SQL(layer_update_file, 0,
        "UPDATE layer SET file = ?2, format = ?3, backing_id = ?4, pool_id = ?5, host_id = ?6, "
        "pulling = ?7, drift = '' WHERE id = ?1");
SQL(layer_delete_row, 0, "DELETE FROM layer WHERE id = ?");

SQL(layer_leftovers, SQL_SCAN, /* once a minute */
        "SELECT DISTINCT volume.vm_id FROM layer JOIN volume ON volume.id = layer.volume_id "
        "WHERE layer.state = 'deleting' AND volume.state = 'ready' AND volume.vm_id IS NOT NULL");

void layer_row_done(struct layer_row *row)
{
	free(row->file);
	free(row->drift);
	*row = (struct layer_row){0};
}

void layer_list_done(struct layer_list *list)
{
	for (size_t i = 0; i < list->len; i++)
		layer_row_done(&list->items[i]);
	free(list->items);
	*list = (struct layer_list){0};
}

static void read_id(struct statement *s, int column, char ret_id[UUID_TEXT_SIZE])
{
	const char *text = statement_text(s, column);
	snprintf(ret_id, UUID_TEXT_SIZE, "%s", text ? text : "");
}

static void read_row(struct statement *s, struct layer_row *row)
{
	read_id(s, 0, row->id);
	read_id(s, 1, row->pool_id);
	read_id(s, 2, row->host_id);
	read_id(s, 3, row->backing_id);
	read_id(s, 4, row->volume_id);
	read_id(s, 5, row->image_id);
	row->file = statement_text_copy(s, 6);
	row->drift = statement_text_copy(s, 7);
	snprintf(row->format, sizeof(row->format), "%s", statement_text(s, 8));
	snprintf(row->state, sizeof(row->state), "%s", statement_text(s, 9));
	row->size_bytes = statement_int(s, 10);
	row->allocation_bytes = statement_int(s, 11);
	row->created_at = statement_int(s, 12);
	row->is_pulling = statement_int(s, 13);
}

int layer_store_get(struct db *db, const char *id, struct layer_row *ret_row, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_find(db, &layer_by_id, SQL_BINDS(SQL_TEXT(id)), &s, e);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return err_set(e, ERR_NOT_FOUND, "no layer with id %s", id);
	read_row(s, ret_row);
	return 0;
}

static int read_list(struct db *db, const struct sql_text *sql, const char *id,
        struct layer_list *ret_list, struct err *e)
{
	VEC(struct layer_row) rows = {0};
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_query(db, sql, SQL_BINDS(SQL_TEXT(id)), &s, e);
	if (rc < 0)
		return rc;
	while ((rc = statement_step(s, e)) > 0) {
		struct layer_row row = {0};
		read_row(s, &row);
		VEC_PUSH(&rows, row);
	}
	struct layer_list list = {.items = rows.items, .len = rows.len};
	if (rc < 0)
		layer_list_done(&list);
	else
		*ret_list = list;
	return rc;
}

int layer_store_of_volume(
        struct db *db, const char *volume_id, struct layer_list *ret_list, struct err *e)
{
	return read_list(db, &layer_by_volume, volume_id, ret_list, e);
}

int layer_store_children(struct db *db, const char *id, struct layer_list *ret_list, struct err *e)
{
	return read_list(db, &layer_by_backing, id, ret_list, e);
}

int layer_store_of_image(
        struct db *db, const char *image_id, struct layer_list *ret_list, struct err *e)
{
	return read_list(db, &layer_by_image, image_id, ret_list, e);
}

int layer_store_find_copy(struct db *db, const char *image_id, const char *pool_id,
        const char *host_id, char ret_id[UUID_TEXT_SIZE], struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	ret_id[0] = '\0';
	int rc = db_find(db, &layer_copy,
	        SQL_BINDS(SQL_TEXT(image_id), SQL_TEXT(pool_id), SQL_TEXT(host_id)), &s, e);
	if (rc > 0)
		read_id(s, 0, ret_id);
	return rc < 0 ? rc : 0;
}

int layer_store_insert(struct db *db, const struct layer_insert *row, struct err *e)
{
	return db_run(db, &layer_insert,
	        SQL_BINDS(SQL_TEXT(row->id), SQL_TEXT(row->pool_id), SQL_TEXT(row->host_id),
	                SQL_TEXT(row->file), SQL_TEXT(row->format), SQL_INT(row->size_bytes),
	                SQL_TEXT(row->backing_id), SQL_TEXT(row->volume_id),
	                SQL_TEXT(row->image_id), SQL_INT(row->created_at)),
	        e);
}

int layer_store_set_state(struct db *db, const char *id, const char *state, struct err *e)
{
	return db_run(db, &layer_update_state, SQL_BINDS(SQL_TEXT(id), SQL_TEXT(state)), e);
}

int layer_store_set_backing(struct db *db, const char *id, const char *backing_id, struct err *e)
{
	return db_run(db, &layer_update_backing, SQL_BINDS(SQL_TEXT(id), SQL_TEXT(backing_id)), e);
}

int layer_store_set_pulling(struct db *db, const char *id, bool is_pulling, struct err *e)
{
	return db_run(db, &layer_update_pulling, SQL_BINDS(SQL_TEXT(id), SQL_INT(is_pulling)), e);
}

int layer_store_set_size(struct db *db, const char *id, int64_t size_bytes, struct err *e)
{
	return db_run(db, &layer_update_size, SQL_BINDS(SQL_TEXT(id), SQL_INT(size_bytes)), e);
}

int layer_store_set_file(struct db *db, const char *id, const char *file,
        const struct layer_row *place, const char *backing_id, struct err *e)
{
	const char *host_id = place->host_id[0] ? place->host_id : NULL;
	return db_run(db, &layer_update_file,
	        SQL_BINDS(SQL_TEXT(id), SQL_TEXT(file), SQL_TEXT(place->format),
	                SQL_TEXT(backing_id), SQL_TEXT(place->pool_id), SQL_TEXT(host_id),
	                SQL_INT(place->is_pulling)),
	        e);
}

int layer_store_delete(struct db *db, const char *id, struct err *e)
{
	return db_run(db, &layer_delete_row, SQL_BINDS(SQL_TEXT(id)), e);
}

int layer_store_each_leftover(struct db *db,
        int (*each)(struct db *db, void *arg, const char *vm_id, struct err *e), void *arg,
        struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_query(db, &layer_leftovers, SQL_BINDS(), &s, e);
	if (rc < 0)
		return rc;
	while ((rc = statement_step(s, e)) > 0)
		if ((rc = each(db, arg, statement_text(s, 0), e)) < 0)
			return rc;
	return rc;
}

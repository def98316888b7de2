/* SPDX-License-Identifier: Apache-2.0 */
/* SQL of images. */
#include "storage/image_store.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"

#define COLUMNS                                                                                    \
	"SELECT image.id, image.name, image.spec, image.state, image.reason, "                     \
	"image.source_format, image.sha256, image.size_bytes, image.file_bytes, "                  \
	"image.received_bytes, image.total_bytes, image.version, image.created_at FROM image "

SQL(image_by_id, 0, COLUMNS "WHERE id = ?");
SQL(image_by_name, 0, COLUMNS "WHERE name = ?");
SQL(image_insert, 0,
        "INSERT INTO image (id, name, spec, state, created_at) VALUES (?, ?, ?, ?, ?)");
SQL(image_update_row, 0,
        "UPDATE image SET name = ?2, spec = ?3, version = version + 1 WHERE id = ?1");
SQL(image_update_state, 0,
        "UPDATE image SET state = ?2, reason = ?3, version = version + 1 WHERE id = ?1");
SQL(image_update_received, 0,
        "UPDATE image SET received_bytes = ?2, total_bytes = ?3 WHERE id = ?1");
SQL(image_update_outcome, 0,
        "UPDATE image SET source_format = ?2, sha256 = ?3, size_bytes = ?4, file_bytes = ?5, "
        "received_bytes = 0, total_bytes = ?6 WHERE id = ?1");
SQL(image_delete_row, 0, "DELETE FROM image WHERE id = ?");
/* An upload is a file of its own until it is imported, and then its conversion; the larger counts. */
SQL(image_used_bytes, SQL_SCAN,
        "SELECT id, CASE WHEN state = 'ready' THEN file_bytes "
        "WHEN total_bytes > received_bytes THEN total_bytes ELSE received_bytes END "
        "FROM image WHERE id <> ?");
SQL(image_user_names, 0,
        "SELECT DISTINCT coalesce(volume.name, child.file) FROM layer copy "
        "JOIN layer child ON child.backing_id = copy.id "
        "LEFT JOIN volume ON volume.id = child.volume_id WHERE copy.image_id = ? LIMIT 6");

static int read_row(struct statement *s, struct image_row *ret_row, struct err *e)
{
	int rc = image_spec_load(statement_text(s, 2), &ret_row->spec, e);
	if (rc < 0)
		return rc;
	uuid_text_copy(ret_row->id, statement_text(s, 0));
	str_replace(&ret_row->spec.name, statement_text(s, 1));
	snprintf(ret_row->state, sizeof(ret_row->state), "%s", statement_text(s, 3));
	str_replace(&ret_row->reason, statement_text(s, 4));
	snprintf(
	        ret_row->source_format, sizeof(ret_row->source_format), "%s", statement_text(s, 5));
	snprintf(ret_row->sha256, sizeof(ret_row->sha256), "%s", statement_text(s, 6));
	ret_row->size_bytes = statement_int(s, 7);
	ret_row->file_bytes = statement_int(s, 8);
	ret_row->received_bytes = statement_int(s, 9);
	ret_row->total_bytes = statement_int(s, 10);
	ret_row->version = statement_int(s, 11);
	ret_row->created_at = statement_int(s, 12);
	return 0;
}

int image_store_get(struct db *db, const char *name_or_id, struct image_row *ret_row, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	const struct sql_text *sql = uuid_is_shaped(name_or_id) ? &image_by_id : &image_by_name;
	int rc = db_find(db, sql, SQL_BINDS(SQL_TEXT(name_or_id)), &s, e);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return err_set(e, ERR_NOT_FOUND, "no image named \"%s\"", name_or_id);
	return read_row(s, ret_row, e);
}

int image_store_insert(struct db *db, const char *id, const char *name, const char *spec,
        const char *state, int64_t created_at, struct err *e)
{
	return db_run(db, &image_insert,
	        SQL_BINDS(SQL_TEXT(id), SQL_TEXT(name), SQL_TEXT(spec), SQL_TEXT(state),
	                SQL_INT(created_at)),
	        e);
}

int image_store_update(
        struct db *db, const char *id, const char *name, const char *spec, struct err *e)
{
	return db_run(
	        db, &image_update_row, SQL_BINDS(SQL_TEXT(id), SQL_TEXT(name), SQL_TEXT(spec)), e);
}

int image_store_set_state(
        struct db *db, const char *id, const char *state, const char *reason, struct err *e)
{
	return db_run(db, &image_update_state,
	        SQL_BINDS(SQL_TEXT(id), SQL_TEXT(state), SQL_TEXT(reason)), e);
}

int image_store_set_received(
        struct db *db, const char *id, int64_t received_bytes, int64_t total_bytes, struct err *e)
{
	return db_run(db, &image_update_received,
	        SQL_BINDS(SQL_TEXT(id), SQL_INT(received_bytes), SQL_INT(total_bytes)), e);
}

int image_store_set_outcome(
        struct db *db, const char *id, const struct image_outcome *outcome, struct err *e)
{
	return db_run(db, &image_update_outcome,
	        SQL_BINDS(SQL_TEXT(id), SQL_TEXT(outcome->source_format), SQL_TEXT(outcome->sha256),
	                SQL_INT(outcome->size_bytes), SQL_INT(outcome->file_bytes),
	                SQL_INT(outcome->total_bytes)),
	        e);
}

int image_store_delete(struct db *db, const char *id, struct err *e)
{
	return db_run(db, &image_delete_row, SQL_BINDS(SQL_TEXT(id)), e);
}

int image_store_each_used(struct db *db, const char *except_id,
        void (*each)(void *arg, const char *id, int64_t bytes), void *arg, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_query(db, &image_used_bytes, SQL_BINDS(SQL_TEXT(except_id)), &s, e);
	if (rc < 0)
		return rc;
	while ((rc = statement_step(s, e)) > 0)
		each(arg, statement_text(s, 0), statement_int(s, 1));
	return rc;
}

int image_store_users(struct db *db, const char *id, char **ret_names, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	struct str names CLEANUP(str_done) = {0};
	int rc = db_query(db, &image_user_names, SQL_BINDS(SQL_TEXT(id)), &s, e);
	if (rc < 0)
		return rc;
	while ((rc = statement_step(s, e)) > 0)
		str_printf(&names, "%s%s", names.len ? ", " : "", statement_text(s, 0));
	if (rc == 0)
		*ret_names = str_take(&names);
	return rc;
}

int image_store_list(struct db *db, const struct db_page *page,
        int (*each)(void *arg, const struct image_row *row), void *arg, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_prepare_page(db, COLUMNS, page, NULL, NULL, &s, e);
	if (rc < 0)
		return rc;
	while ((rc = statement_step(s, e)) > 0) {
		struct image_row row CLEANUP(image_row_done) = {0};
		if ((rc = read_row(s, &row, e)) < 0 || (rc = each(arg, &row)) < 0)
			return rc;
	}
	return rc;
}

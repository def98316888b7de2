/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Brings a database file to the newest schema.
 *
 *	user_version = 0, no tables   -> every migration
 *	user_version = newest         -> nothing
 *	in between                    -> backup PATH.before-NNNN, then each missing migration in its
 * own transaction above, or 0 with tables in it -> refused, untouched
 *
 * The number is written by the transaction that changes the schema, so a crash leaves the old
 * schema with the old number or the new one with the new. Foreign keys are off while tables are
 * rebuilt and are checked as a whole before the commit (https://www.sqlite.org/lang_altertable.html,
 * section 7).
 */
#include "db/migrations.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "db/db_internal.h"

/* ---- the backup ---- */

static int create_backup_file(const char *path, struct err *e)
{
	if (unlink(path) < 0 && errno != ENOENT)
		return err_set_errno(e, errno, "cannot remove the unfinished backup %s", path);
	int fd CLEANUP(cleanup_fd) = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set_errno(e, errno, "cannot create the backup %s", path);
	return 0;
}

static int copy_pages(struct db *db, sqlite3 *target, const char *path, struct err *e)
{
	sqlite3_backup *backup = sqlite3_backup_init(target, "main", db->handle, "main");
	int rc = SQLITE_ERROR;
	if (backup) {
		sqlite3_backup_step(backup, -1);
		rc = sqlite3_backup_finish(backup);
	}
	if (rc == SQLITE_OK)
		return 0;
	int code = (rc & 0xff) == SQLITE_FULL ? ERR_DISK_FULL : ERR_DATABASE;
	return err_set(e, code, "cannot write the backup %s: %s", path, sqlite3_errmsg(target));
}

/* The copy is synced as a whole afterwards; a journal would only cost time. */
static int write_backup(struct db *db, const char *path, struct err *e)
{
	int rc = create_backup_file(path, e);
	if (rc < 0)
		return rc;
	sqlite3 *target = NULL;
	int sqlite_rc = sqlite3_open_v2(path, &target, SQLITE_OPEN_READWRITE, NULL);
	if (sqlite_rc == SQLITE_OK)
		sqlite_rc = sqlite3_exec(target,
		        "PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF", NULL, NULL, NULL);
	if (sqlite_rc == SQLITE_OK)
		rc = copy_pages(db, target, path, e);
	else
		rc = err_set(e, ERR_DATABASE, "cannot open the backup %s: %s", path,
		        sqlite3_errstr(sqlite_rc));
	sqlite3_close(target);
	return rc;
}

static int sync_path(const char *path, int flags, struct err *e)
{
	int fd CLEANUP(cleanup_fd) = open(path, flags | O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return err_set_errno(e, errno, "cannot sync %s", path);
	return 0;
}

/* The name appears only when the whole copy is on disk. */
static int publish_backup(const char *from, const char *to, struct err *e)
{
	int rc = sync_path(from, 0, e);
	if (rc < 0)
		return rc;
	if (rename(from, to) < 0)
		return err_set_errno(e, errno, "cannot rename the backup %s", from);
	return db_sync_directory_of(to, e);
}

static int make_backup(struct db *db, const char *path, int number, struct err *e)
{
	char *name CLEANUP(cleanup_free) = str_format("%s.before-%04d", path, number);
	char *unfinished CLEANUP(cleanup_free) = str_format("%s.unfinished", name);
	int rc = write_backup(db, unfinished, e);
	if (rc == 0)
		rc = publish_backup(unfinished, name, e);
	if (rc < 0) {
		unlink(unfinished);
		return rc;
	}
	log_info("database backed up to %s before its schema is changed", name);
	return 0;
}

/* ---- the migrations ---- */

static int check_references(struct db *db, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_prepare(db, "PRAGMA foreign_key_check", &s, e);
	if (rc < 0 || (rc = statement_step(s, e)) <= 0)
		return rc;
	return err_set(e, ERR_DATABASE,
	        "a row of table %s refers to a row of %s that does not exist", statement_text(s, 0),
	        statement_text(s, 2));
}

static int run_statements(struct db *db, const struct migration *migration, struct err *e)
{
	int rc = db_exec(db, migration->sql, e);
	if (rc < 0 || (rc = check_references(db, e)) < 0)
		return rc;
	char sql[64];
	snprintf(sql, sizeof(sql), "PRAGMA user_version = %d", migration->number);
	return db_exec(db, sql, e);
}

static int apply_one(struct db *db, const struct migration *migration, struct err *e)
{
	int64_t start_ms = clock_now_ms();
	int rc = db_exec(db, "BEGIN IMMEDIATE", e);
	if (rc == 0) {
		rc = run_statements(db, migration, e);
		if (rc == 0)
			rc = db_exec(db, "COMMIT", e);
		if (rc < 0) /* refused when SQLite has rolled back already */
			db_exec(db, "ROLLBACK", NULL);
	}
	if (rc < 0) {
		err_prefix(e, "migration %s", migration->name);
		return rc;
	}
	log_info("migration %s applied in %lld ms", migration->name,
	        (long long)(clock_now_ms() - start_ms));
	return 0;
}

static int apply_after(struct db *db, const struct migration *list, int64_t version, struct err *e)
{
	int rc = db_exec(db, "PRAGMA foreign_keys = OFF", e);
	for (; rc == 0 && list->number != 0; list++)
		if (list->number > version)
			rc = apply_one(db, list, e);
	return rc;
}

static int newest_number(const struct migration *list)
{
	int newest = 0;
	for (; list->number != 0; list++)
		newest = list->number;
	return newest;
}

static int first_after(const struct migration *list, int64_t version)
{
	while (list->number != 0 && list->number <= version)
		list++;
	return list->number;
}

static int refuse_newer(const char *path, int64_t version, int newest, struct err *e)
{
	err_set(e, ERR_UNSUPPORTED,
	        "the database %s has schema %lld, this program knows schemas up to %d", path,
	        (long long)version, newest);
	err_hint(e, "run the newer version, or put the backup %s.before-%04d back", path,
	        newest + 1);
	err_numbers(e, "{\"schema\":%lld,\"known_schema\":%d}", (long long)version, newest);
	return ERR_UNSUPPORTED;
}

/* A file without a number must be empty: another program's data is not ours to change. */
static int check_is_ours(struct db *db, const char *path, int64_t version, struct err *e)
{
	int64_t tables = 0;
	if (version > 0)
		return 0;
	int rc = db_query_int(db, "SELECT count(*) FROM sqlite_schema", &tables, e);
	if (rc < 0 || tables == 0)
		return rc;
	return err_set(e, ERR_CONFLICT,
	        "%s is a database of another program: it has %lld tables and no "
	        "schema number",
	        path, (long long)tables);
}

static int check_version(
        struct db *db, const char *path, int newest, int64_t *ret_version, struct err *e)
{
	int64_t version = 0;
	int rc = db_query_int(db, "PRAGMA user_version", &version, e);
	if (rc < 0)
		return rc;
	if (version > newest)
		return refuse_newer(path, version, newest, e);
	*ret_version = version;
	return check_is_ours(db, path, version, e);
}

/* Read-only, because opening for writing already turns the file to WAL. */
static int inspect(const char *path, int newest, int64_t *ret_version, struct err *e)
{
	struct db *db = NULL;
	*ret_version = 0;
	if (access(path, F_OK) < 0 && errno == ENOENT)
		return 0;
	int rc = db_open(path, DB_READ_ONLY, &db, e);
	if (rc == 0)
		rc = check_version(db, path, newest, ret_version, e);
	db_close(db);
	return rc;
}

int migrations_apply(const char *path, const struct migration *list, struct err *e)
{
	int64_t version = 0;
	struct db *db = NULL;
	int rc = inspect(path, newest_number(list), &version, e);
	if (rc < 0 || (rc = db_open(path, DB_READ_WRITE, &db, e)) < 0)
		return rc;
	if (version > 0 && version < newest_number(list))
		rc = make_backup(db, path, first_after(list, version), e);
	if (rc == 0)
		rc = apply_after(db, list, version, e);
	db_close(db);
	return rc;
}

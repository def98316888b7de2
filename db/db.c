/* SPDX-License-Identifier: Apache-2.0 */
/* A connection: opening it with the settings that durability rests on, errors, the end hooks of
 * jobs. */
#include "db/db_internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

/* Memory accounting takes a global lock at each allocation, and nothing here reads it. Refused
 * without harm when a library of this process uses SQLite already. */
static void configure_sqlite(void)
{
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

static int code_from_sqlite(int sqlite_rc)
{
	switch (sqlite_rc) {
	case SQLITE_CONSTRAINT_UNIQUE:
	case SQLITE_CONSTRAINT_PRIMARYKEY:
	case SQLITE_CONSTRAINT_ROWID:
		return ERR_EXISTS;
	case SQLITE_CONSTRAINT_FOREIGNKEY:
		return ERR_REFERENCE;
	default:
		return (sqlite_rc & 0xff) == SQLITE_FULL ? ERR_DISK_FULL : ERR_DATABASE;
	}
}

int db_error(struct db *db, int sqlite_rc, const char *doing, struct err *e)
{
	int code = code_from_sqlite(sqlite_rc);
	int os_error = sqlite3_system_errno(db->handle);
	/* A quota is reported as a failed write. */
	if ((sqlite_rc & 0xff) == SQLITE_IOERR && os_error == EDQUOT)
		code = ERR_DISK_FULL;
	err_set(e, code, "%s: %s", doing, sqlite3_errmsg(db->handle));
	if (!e)
		return code;
	e->source = ERR_SOURCE_SQLITE;
	e->source_code = sqlite_rc;
	if (code == ERR_DISK_FULL)
		err_hint(e, "free some space on the file system that holds the state directory");
	else if ((sqlite_rc & 0xff) == SQLITE_IOERR && os_error != 0)
		err_hint(e, "the operating system says: %s", strerror(os_error));
	return code;
}

int db_sync_directory_of(const char *path, struct err *e)
{
	char *copy CLEANUP(cleanup_free) = xstrdup(path);
	int fd CLEANUP(cleanup_fd) = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return err_set_errno(e, errno, "cannot sync the directory of %s", path);
	return 0;
}

/* Makes the file 0600 before SQLite would make it 0644; the WAL takes over its mode. An existing
 * file is never opened here: closing it would drop the locks of every other connection of this
 * process. */
static int create_file(const char *path, struct err *e)
{
	int fd CLEANUP(cleanup_fd) = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd >= 0)
		return db_sync_directory_of(path, e);
	if (errno == EEXIST)
		return 0;
	return err_set_errno(e, errno, "cannot create the database %s", path);
}

static int open_handle(struct db *db, const char *path, enum db_mode mode, struct err *e)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, configure_sqlite);
	int flags = mode == DB_READ_WRITE ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY;
	int rc = sqlite3_open_v2(path, &db->handle,
	        flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE,
	        NULL);
	if (rc == SQLITE_OK)
		return 0;
	if (!db->handle)
		return err_set(e, ERR_DATABASE, "no memory to open the database %s", path);
	rc = db_error(db, rc, "cannot open the database", e);
	err_prefix(e, "%s", path);
	return rc;
}

static void set_options(struct db *db)
{
	sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(db->handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	sqlite3_db_config(db->handle, SQLITE_DBCONFIG_ENABLE_FKEY, 1, NULL);
	sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
	sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
	sqlite3_busy_timeout(db->handle, DB_BUSY_TIMEOUT_MS);
}

/* WAL is a property of the file, and some file systems cannot share its memory. */
static int enter_wal(struct db *db, const char *path, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_prepare(db, "PRAGMA journal_mode = WAL", &s, e);
	if (rc < 0)
		return rc;
	if ((rc = statement_step(s, e)) < 0)
		return rc;
	const char *mode = rc ? statement_text(s, 0) : NULL;
	if (!mode || strcmp(mode, "wal") != 0)
		return err_set(e, ERR_DATABASE,
		        "%s: its file system does not support WAL (mode is %s)", path,
		        mode ? mode : "unknown");
	return 0;
}

static int set_writable(struct db *db, const char *path, struct err *e)
{
	int rc = enter_wal(db, path, e);
	if (rc < 0)
		return rc;
	return db_exec(db, "PRAGMA synchronous = FULL", e);
}

/* Only the writer checkpoints: two connections doing it at once is what the WAL-reset bug of
 * SQLite 3.40 needs. */
static int set_read_only(struct db *db, struct err *e)
{
	sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	return db_exec(db, "PRAGMA query_only = ON", e);
}

int db_open(const char *path, enum db_mode mode, struct db **ret_db, struct err *e)
{
	int rc;
	if (mode == DB_READ_WRITE && (rc = create_file(path, e)) < 0)
		return rc;
	struct db *db = xcalloc(1, sizeof(*db));
	rc = open_handle(db, path, mode, e);
	if (rc == 0) {
		set_options(db);
		rc = db_exec(db, "PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY", e);
	}
	if (rc == 0)
		rc = mode == DB_READ_WRITE ? set_writable(db, path, e) : set_read_only(db, e);
	if (rc < 0) {
		db_close(db);
		return rc;
	}
	*ret_db = db;
	return 0;
}

void db_close(struct db *db)
{
	if (!db)
		return;
	assert(db->hooks.len == 0);
	statement_cache_done(&db->cache);
	VEC_DONE(&db->hooks);
	int rc = sqlite3_close(db->handle);
	assert(rc == SQLITE_OK); /* a statement is still held */
	(void)rc;
	free(db);
}

int db_exec(struct db *db, const char *sql, struct err *e)
{
	int rc = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
	return rc == SQLITE_OK ? 0 : db_error(db, rc, "database", e);
}

int db_exec_cached(struct db *db, const char *sql, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_prepare(db, sql, &s, e);
	return rc < 0 ? rc : statement_run(s, e);
}

int db_query_int(struct db *db, const char *sql, int64_t *ret_value, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_prepare(db, sql, &s, e);
	if (rc < 0 || (rc = statement_step(s, e)) < 0)
		return rc;
	*ret_value = rc ? statement_int(s, 0) : 0;
	return 0;
}

int64_t db_changes(struct db *db)
{
	return sqlite3_changes64(db->handle);
}

void db_on_end(struct db *db, void (*fn)(void *arg, bool committed), void *arg)
{
	assert(db->in_job);
	VEC_PUSH(&db->hooks, ((struct end_hook){.fn = fn, .arg = arg}));
}

void db_end_hooks(struct db *db, size_t first, bool committed)
{
	size_t len = db->hooks.len;
	for (size_t i = first; i < len; i++) {
		struct end_hook hook = db->hooks.items[committed ? i : first + len - 1 - i];
		hook.fn(hook.arg, committed);
	}
	assert(db->hooks.len == len); /* a hook cannot register another */
	db->hooks.len = first;
}

bool db_is_dry_run(const struct db *db)
{
	return db->dry_run;
}

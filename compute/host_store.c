/* SPDX-License-Identifier: Apache-2.0 */
/* SQL on table host: configuration, state and facts. host_usage_store.c has what refers to it. */
#include "compute/host_store.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"

#define COLUMNS                                                                                    \
	"host.id, host.name, host.uri, host.access, host.host_group, host_group.name, "            \
	"host.accelerator, host.spec, host.state, host.state_reason, host.facts, "                 \
	"host.state_since, host.cpu_threads, host.memory_bytes, host.version, host.created_at"
#define N_COLUMNS 16
#define FROM      " FROM host JOIN host_group ON host_group.id = host.host_group "
SQL(host_by_id, 0, "SELECT " COLUMNS FROM "WHERE host.id = ?");
SQL(host_by_name, 0, "SELECT " COLUMNS FROM "WHERE host.name = ?");
SQL(host_full_by_id, 0, "SELECT " COLUMNS ", host_group.spec" FROM "WHERE host.id = ?");
SQL(host_full_by_name, 0, "SELECT " COLUMNS ", host_group.spec" FROM "WHERE host.name = ?");
SQL(host_all, SQL_SCAN, "SELECT " COLUMNS FROM "ORDER BY host.name");
SQL(host_insert, 0,
        "INSERT INTO host (id, name, uri, access, host_group, accelerator, spec, created_at, "
        "state, state_since) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 'connecting', ?8)");
SQL(host_update_row, 0,
        "UPDATE host SET name = ?2, uri = ?3, access = ?4, host_group = ?5, accelerator = ?6, "
        "spec = ?7, version = version + 1 WHERE id = ?1");
SQL(host_delete_row, 0, "DELETE FROM host WHERE id = ?");
SQL(host_forget_facts, 0,
        "UPDATE host SET state = 'connecting', listed = 0, state_reason = '', state_since = ?2, "
        "facts = '{}', cpu_threads = 0, memory_bytes = 0 WHERE id = ?1");
SQL(host_set_state, 0,
        "UPDATE host SET state = ?2, state_reason = ?3, state_since = ?4, "
        "listed = CASE WHEN ?2 IN ('ok', 'slow') THEN listed ELSE 0 END WHERE id = ?1 "
        "AND (state <> ?2 OR state_reason <> ?3 OR state_since <> ?4) RETURNING name");
SQL(host_set_facts, 0,
        "UPDATE host SET facts = ?2, cpu_threads = ?3, memory_bytes = ?4 "
        "WHERE id = ?1 AND facts <> ?2 RETURNING name");
SQL(host_all_connecting, SQL_SCAN,
        "UPDATE host SET state = 'connecting', listed = 0, state_reason = '', state_since = ? "
        "RETURNING id, name");
SQL(host_by_uri, SQL_SCAN, "SELECT name FROM host WHERE uri = ? AND id <> ?");
SQL(host_meta_get, 0, "SELECT value FROM meta WHERE key = ?");
SQL(host_meta_set, 0,
        "INSERT INTO meta (key, value) VALUES (?1, ?2) "
        "ON CONFLICT (key) DO UPDATE SET value = ?2");

void host_row_done(struct host_row *row)
{
	free(row->name);
	free(row->uri);
	free(row->access);
	free(row->group_id);
	free(row->group);
	free(row->accelerator);
	free(row->spec);
	free(row->state);
	free(row->state_reason);
	free(row->facts);
	*row = (struct host_row){0};
}

void host_full_row_done(struct host_full_row *full)
{
	host_row_done(&full->row);
	free(full->group_spec);
	*full = (struct host_full_row){0};
}

static void read_row(struct statement *s, struct host_row *row)
{
	snprintf(row->id, sizeof(row->id), "%s", statement_text(s, 0));
	row->name = statement_text_copy(s, 1);
	row->uri = statement_text_copy(s, 2);
	row->access = statement_text_copy(s, 3);
	row->group_id = statement_text_copy(s, 4);
	row->group = statement_text_copy(s, 5);
	row->accelerator = statement_text_copy(s, 6);
	row->spec = statement_text_copy(s, 7);
	row->state = statement_text_copy(s, 8);
	row->state_reason = statement_text_copy(s, 9);
	row->facts = statement_text_copy(s, 10);
	row->state_since = statement_int(s, 11);
	row->cpu_threads = statement_int(s, 12);
	row->memory_bytes = statement_int(s, 13);
	row->version = statement_int(s, 14);
	row->created_at = statement_int(s, 15);
}

static void read_full_row(struct statement *s, struct host_full_row *full)
{
	read_row(s, &full->row);
	full->group_spec = statement_text_copy(s, N_COLUMNS);
}

/* Leaves the statement on the row; ERR_NOT_FOUND if there is none. */
static int find(struct db *db, const struct sql_text *by_id, const struct sql_text *by_name,
        const char *name_or_id, struct statement **ret_statement, struct err *e)
{
	bool is_id = uuid_is_shaped(name_or_id);
	int rc = db_find(
	        db, is_id ? by_id : by_name, SQL_BINDS(SQL_TEXT(name_or_id)), ret_statement, e);
	if (rc == 0)
		return err_set(e, ERR_NOT_FOUND, is_id ? "no host with id %s" : "no host named %s",
		        name_or_id);
	return rc < 0 ? rc : 0;
}

int host_store_get(struct db *db, const char *name_or_id, struct host_row *ret_row, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = find(db, &host_by_id, &host_by_name, name_or_id, &s, e);
	if (rc == 0)
		read_row(s, ret_row);
	return rc;
}

int host_store_get_full(
        struct db *db, const char *name_or_id, struct host_full_row *ret_full, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = find(db, &host_full_by_id, &host_full_by_name, name_or_id, &s, e);
	if (rc < 0)
		return rc;
	read_full_row(s, ret_full);
	return host_store_get_allocation(db, ret_full->row.id, &ret_full->allocation, e);
}

/* What both statements below bind first. */
#define RECORD_BINDS(record)                                                                       \
	SQL_TEXT((record)->id), SQL_TEXT((record)->name), SQL_TEXT((record)->uri),                 \
	        SQL_TEXT((record)->access), SQL_TEXT((record)->group_id),                          \
	        SQL_TEXT((record)->accelerator), SQL_TEXT((record)->spec)

int host_store_insert(
        struct db *db, const struct host_record *record, int64_t created_at, struct err *e)
{
	return db_run(db, &host_insert, SQL_BINDS(RECORD_BINDS(record), SQL_INT(created_at)), e);
}

int host_store_update(struct db *db, const struct host_record *record, struct err *e)
{
	return db_run(db, &host_update_row, SQL_BINDS(RECORD_BINDS(record)), e);
}

int host_store_delete(struct db *db, const char *id, struct err *e)
{
	return db_run(db, &host_delete_row, SQL_BINDS(SQL_TEXT(id)), e);
}

int host_store_forget_facts(struct db *db, const char *id, int64_t since, struct err *e)
{
	return db_run(db, &host_forget_facts, SQL_BINDS(SQL_TEXT(id), SQL_INT(since)), e);
}

/* Steps a statement that returns the name of the row it changed, if it changed one. */
static int run_returning_name(struct statement *s, char **ret_name, struct err *e)
{
	char *name CLEANUP(cleanup_free) = NULL;
	int rc = statement_step(s, e);
	if (rc > 0) {
		name = statement_text_copy(s, 0);
		rc = statement_step(s, e); /* to its end: only then is the change made */
	}
	if (rc == 0)
		*ret_name = TAKE(name);
	return rc;
}

int host_store_set_state(struct db *db, const char *id, const char *state, const char *reason,
        int64_t since, char **ret_name, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_query(db, &host_set_state,
	        SQL_BINDS(SQL_TEXT(id), SQL_TEXT(state), SQL_TEXT(reason), SQL_INT(since)), &s, e);
	if (rc < 0)
		return rc;
	return run_returning_name(s, ret_name, e);
}

int host_store_set_facts(struct db *db, const char *id, const char *facts, int64_t cpu_threads,
        int64_t memory_bytes, char **ret_name, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_query(db, &host_set_facts,
	        SQL_BINDS(
	                SQL_TEXT(id), SQL_TEXT(facts), SQL_INT(cpu_threads), SQL_INT(memory_bytes)),
	        &s, e);
	if (rc < 0)
		return rc;
	return run_returning_name(s, ret_name, e);
}

int host_store_set_all_connecting(struct db *db, int64_t since,
        int (*each)(struct db *db, const char *id, const char *name, struct err *e), struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_query(db, &host_all_connecting, SQL_BINDS(SQL_INT(since)), &s, e);
	if (rc < 0)
		return rc;
	while ((rc = statement_step(s, e)) > 0)
		if ((rc = each(db, statement_text(s, 0), statement_text(s, 1), e)) < 0)
			return rc;
	return rc;
}

int host_store_each(struct db *db, void (*each)(void *arg, const struct host_row *row), void *arg,
        struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_query(db, &host_all, NULL, 0, &s, e);
	if (rc < 0)
		return rc;
	while ((rc = statement_step(s, e)) > 0) {
		struct host_row row CLEANUP(host_row_done) = {0};
		read_row(s, &row);
		each(arg, &row);
	}
	return rc;
}

int host_store_find_uri(
        struct db *db, const char *uri, const char *but_id, char **ret_name, struct err *e)
{
	int rc = db_find_text(
	        db, &host_by_uri, SQL_BINDS(SQL_TEXT(uri), SQL_TEXT(but_id)), ret_name, e);
	return rc < 0 ? rc : 0;
}

int host_store_meta_get(struct db *db, const char *key, bool *ret_found, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_find(db, &host_meta_get, SQL_BINDS(SQL_TEXT(key)), &s, e);
	if (rc < 0)
		return rc;
	*ret_found = rc > 0;
	return 0;
}

int host_store_meta_set(struct db *db, const char *key, const char *value, struct err *e)
{
	return db_run(db, &host_meta_set, SQL_BINDS(SQL_TEXT(key), SQL_TEXT(value)), e);
}

int host_store_list(struct db *db, const struct db_page *page,
        int (*each)(void *arg, const struct host_full_row *row), void *arg, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_prepare_page(
	        db, "SELECT " COLUMNS ", host_group.spec" FROM, page, NULL, NULL, &s, e);
	if (rc < 0)
		return rc;
	while ((rc = statement_step(s, e)) > 0) {
		struct host_full_row row CLEANUP(host_full_row_done) = {0};
		read_full_row(s, &row);
		rc = host_store_get_allocation(db, row.row.id, &row.allocation, e);
		if (rc < 0 || (rc = each(arg, &row)) < 0)
			return rc;
	}
	return rc;
}

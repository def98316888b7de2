/* SPDX-License-Identifier: Apache-2.0 */
/* Statements: the cache keyed by text, binding, stepping, columns. */
#include "base/str.h"
#include "db/db_internal.h"

#include <assert.h>
#include <string.h>

#include "base/cleanup.h"

/* FNV-1a, http://www.isthe.com/chongo/tech/comp/fnv/ */
static unsigned hash_text(const char *text)
{
	unsigned hash = 2166136261u;
	for (const unsigned char *p = (const unsigned char *)text; *p; p++)
		hash = (hash ^ *p) * 16777619u;
	return hash;
}

static struct statement **shortcut_for(struct statement_cache *cache, const char *sql)
{
	uintptr_t address = (uintptr_t)sql;
	return &cache->shortcuts[(address ^ (address >> 8)) % STATEMENT_SHORTCUTS];
}

static void statement_free(struct statement *s)
{
	sqlite3_finalize(s->handle);
	free(s->text);
	free(s);
}

static void unlink_statement(struct statement_cache *cache, struct statement *s)
{
	struct statement **link = &cache->buckets[s->hash % STATEMENT_BUCKETS];
	while (*link != s)
		link = &(*link)->next;
	*link = s->next;
	struct statement **shortcut = shortcut_for(cache, s->source);
	if (*shortcut == s)
		*shortcut = NULL;
	cache->len--;
}

static struct statement *least_recent(const struct statement_cache *cache)
{
	struct statement *oldest = NULL;
	for (size_t i = 0; i < STATEMENT_BUCKETS; i++)
		for (struct statement *s = cache->buckets[i]; s; s = s->next)
			if (!s->in_use && (!oldest || s->used_at < oldest->used_at))
				oldest = s;
	return oldest;
}

static void make_room(struct statement_cache *cache)
{
	if (cache->len < STATEMENT_CACHE_MAX)
		return;
	struct statement *victim = least_recent(cache);
	if (!victim)
		return;
	unlink_statement(cache, victim);
	statement_free(victim);
}

static struct statement *find_by_text(struct statement_cache *cache, const char *sql, unsigned hash)
{
	for (struct statement *s = cache->buckets[hash % STATEMENT_BUCKETS]; s; s = s->next)
		if (!s->in_use && s->hash == hash && strcmp(s->text, sql) == 0)
			return s;
	return NULL;
}

/* The address alone proves nothing: a composed text may lie where another one was freed. */
static struct statement *find_by_address(struct statement_cache *cache, const char *sql)
{
	struct statement *s = *shortcut_for(cache, sql);
	return s && s->source == sql && !s->in_use && strcmp(s->text, sql) == 0 ? s : NULL;
}

static void set_shortcut(struct statement_cache *cache, struct statement *s, const char *sql)
{
	struct statement **old = shortcut_for(cache, s->source);
	if (*old == s)
		*old = NULL;
	s->source = sql;
	*shortcut_for(cache, sql) = s;
}

static int prepare_new(struct db *db, const char *sql, unsigned hash,
        struct statement **ret_statement, struct err *e)
{
	sqlite3_stmt *handle = NULL;
	int rc = sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &handle, NULL);
	if (rc != SQLITE_OK)
		return db_error(db, rc, "database", e);
	assert(handle); /* an empty statement */
	make_room(&db->cache);
	struct statement *s = xcalloc(1, sizeof(*s));
	*s = (struct statement){
	        .handle = handle, .db = db, .text = xstrdup(sql), .source = sql, .hash = hash};
	struct statement **bucket = &db->cache.buckets[hash % STATEMENT_BUCKETS];
	s->next = *bucket;
	*bucket = s;
	db->cache.len++;
	*ret_statement = s;
	return 0;
}

int db_prepare(struct db *db, const char *sql, struct statement **ret_statement, struct err *e)
{
	struct statement_cache *cache = &db->cache;
	struct statement *s = find_by_address(cache, sql);
	if (!s) {
		unsigned hash = hash_text(sql);
		s = find_by_text(cache, sql, hash);
		int rc = s ? 0 : prepare_new(db, sql, hash, &s, e);
		if (rc < 0)
			return rc;
		set_shortcut(cache, s, sql);
	}
	s->in_use = true;
	s->bind_rc = SQLITE_OK;
	s->used_at = ++cache->clock;
	*ret_statement = s;
	return 0;
}

void statement_done(struct statement **slot)
{
	struct statement *s = *slot;
	*slot = NULL;
	if (!s)
		return;
	sqlite3_reset(s->handle);
	sqlite3_clear_bindings(s->handle);
	s->in_use = false;
}

void statement_cache_done(struct statement_cache *cache)
{
	for (size_t i = 0; i < STATEMENT_BUCKETS; i++) {
		while (cache->buckets[i]) {
			struct statement *s = cache->buckets[i];
			assert(!s->in_use);
			cache->buckets[i] = s->next;
			statement_free(s);
		}
	}
	*cache = (struct statement_cache){0};
}

static void note_bind(struct statement *s, int rc)
{
	assert(rc != SQLITE_RANGE && rc != SQLITE_MISUSE); /* wrong index, or bound after a step */
	if (s->bind_rc == SQLITE_OK)
		s->bind_rc = rc;
}

void statement_bind_text(struct statement *s, int index, const char *text)
{
	note_bind(s, sqlite3_bind_text(s->handle, index, text, -1, SQLITE_TRANSIENT));
}

void statement_bind_int(struct statement *s, int index, int64_t value)
{
	note_bind(s, sqlite3_bind_int64(s->handle, index, value));
}

void statement_bind_real(struct statement *s, int index, double value)
{
	note_bind(s, sqlite3_bind_double(s->handle, index, value));
}

void statement_bind_null(struct statement *s, int index)
{
	note_bind(s, sqlite3_bind_null(s->handle, index));
}

void statement_bind_blob(struct statement *s, int index, const void *data, size_t len)
{
	/* A NULL pointer would bind NULL, and an empty blob is not that. */
	note_bind(
	        s, sqlite3_bind_blob64(s->handle, index, data ? data : "", len, SQLITE_TRANSIENT));
}

void statement_bind_all(
        struct statement *s, int first, const struct sql_bind *binds, size_t n_binds)
{
	for (size_t i = 0; i < n_binds; i++) {
		int index = first + (int)i;
		if (binds[i].type == SQL_BIND_TEXT)
			statement_bind_text(s, index, binds[i].text);
		else
			statement_bind_int(s, index, binds[i].integer);
	}
}

int statement_step(struct statement *s, struct err *e)
{
	if (s->bind_rc != SQLITE_OK)
		return err_set(
		        e, ERR_DATABASE, "cannot bind a value: %s", sqlite3_errstr(s->bind_rc));
	int rc = sqlite3_step(s->handle);
	if (rc == SQLITE_ROW)
		return 1;
	if (rc == SQLITE_DONE)
		return 0;
	return db_error(s->db, rc, "database", e);
}

int statement_run(struct statement *s, struct err *e)
{
	int rc;
	while ((rc = statement_step(s, e)) > 0)
		;
	return rc;
}

const char *statement_text(struct statement *s, int column)
{
	return (const char *)sqlite3_column_text(s->handle, column);
}

int64_t statement_int(struct statement *s, int column)
{
	return sqlite3_column_int64(s->handle, column);
}

double statement_real(struct statement *s, int column)
{
	return sqlite3_column_double(s->handle, column);
}

bool statement_is_null(struct statement *s, int column)
{
	return sqlite3_column_type(s->handle, column) == SQLITE_NULL;
}

const void *statement_blob(struct statement *s, int column, size_t *ret_len)
{
	const void *data = sqlite3_column_blob(s->handle, column);
	*ret_len = (size_t)sqlite3_column_bytes(s->handle, column);
	return data;
}

char *statement_text_copy(struct statement *s, int column)
{
	const char *text = statement_text(s, column);
	return text ? xstrndup(text, (size_t)sqlite3_column_bytes(s->handle, column)) : NULL;
}

int db_query(struct db *db, const struct sql_text *sql, const struct sql_bind *binds,
        size_t n_binds, struct statement **ret_statement, struct err *e)
{
	int rc = db_prepare(db, sql->text, ret_statement, e);
	if (rc == 0)
		statement_bind_all(*ret_statement, 1, binds, n_binds);
	return rc;
}

int db_find(struct db *db, const struct sql_text *sql, const struct sql_bind *binds, size_t n_binds,
        struct statement **ret_statement, struct err *e)
{
	int rc = db_query(db, sql, binds, n_binds, ret_statement, e);
	return rc < 0 ? rc : statement_step(*ret_statement, e);
}

int db_find_text(struct db *db, const struct sql_text *sql, const struct sql_bind *binds,
        size_t n_binds, char **ret_text, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_find(db, sql, binds, n_binds, &s, e);
	if (rc > 0)
		*ret_text = statement_text_copy(s, 0);
	return rc;
}

int db_run(struct db *db, const struct sql_text *sql, const struct sql_bind *binds, size_t n_binds,
        struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	int rc = db_query(db, sql, binds, n_binds, &s, e);
	return rc < 0 ? rc : statement_run(s, e);
}

int db_prepare_page(struct db *db, const char *select, const struct db_page *page,
        const char *owner_column, const char *owner, struct statement **ret_statement,
        struct err *e)
{
	struct str sql CLEANUP(str_done) = {0};
	bool has_where = !str_is_empty(page->where);
	str_add(&sql, select);
	if (has_where)
		str_printf(&sql, " WHERE (%s)", page->where);
	if (owner_column)
		str_printf(&sql, " %s %s = ?%zu", has_where ? "AND" : "WHERE", owner_column,
		        page->n_binds + 1);
	str_printf(&sql, " %s LIMIT %zu", page->order, page->limit);
	int rc = db_prepare(db, sql.data, ret_statement, e);
	if (rc < 0)
		return rc;
	statement_bind_all(*ret_statement, 1, page->binds, page->n_binds);
	if (owner_column)
		statement_bind_text(*ret_statement, (int)page->n_binds + 1, owner);
	return 0;
}

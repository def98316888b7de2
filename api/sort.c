/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sort orders, and the condition that begins the next page behind a given row (keyset pagination:
 * see Markus Winand, "We need tool support for keyset pagination"). Pure; any thread.
 */
#include "api/filter.h"

#include <assert.h>
#include <string.h>

#include "base/cleanup.h"

static const struct filter_column *find_sortable(
        const struct filter_column *columns, const char *name, size_t len)
{
	for (const struct filter_column *c = columns; c->name; c++)
		if (c->flags & FILTER_SORTABLE && strlen(c->name) == len &&
		        memcmp(c->name, name, len) == 0)
			return c;
	return NULL;
}

static int refuse_unknown(
        const struct filter_column *columns, const char *name, size_t len, struct err *e)
{
	struct str known CLEANUP(str_done) = {0};
	for (const struct filter_column *c = columns; c->name; c++)
		if (c->flags & FILTER_SORTABLE)
			str_printf(&known, "%s%s", known.len > 0 ? ", " : "", c->name);
	return err_set_at(e, ERR_INVALID, "/sort",
	        "'%.*s' is not one of the columns to sort by: %s", len > 40 ? 40 : (int)len, name,
	        str_text(&known));
}

static bool has_key(const struct sort *sort, const struct filter_column *column)
{
	for (size_t i = 0; i < sort->n_keys; i++)
		if (sort->keys[i].column == column)
			return true;
	return false;
}

static int add_key(const struct filter_column *columns, const char *word, size_t len,
        struct sort *sort, struct err *e)
{
	bool descending = len > 0 && word[0] == '-';
	const char *name = descending ? word + 1 : word;
	size_t name_len = descending ? len - 1 : len;
	const struct filter_column *column = find_sortable(columns, name, name_len);
	if (!column)
		return refuse_unknown(columns, name, name_len, e);
	if (sort->n_keys == SORT_KEYS_MAX - 1)
		return err_set_at(e, ERR_INVALID, "/sort", "at most %d columns can be sorted by",
		        SORT_KEYS_MAX - 1);
	if (has_key(sort, column))
		return err_set_at(e, ERR_INVALID, "/sort", "'%s' is named twice", column->name);
	sort->keys[sort->n_keys++] = (struct sort_key){.column = column, .descending = descending};
	return 0;
}

static const struct filter_column *find_id(const struct filter_column *columns)
{
	while (columns->name && strcmp(columns->name, "id") != 0)
		columns++;
	assert(columns->name && "a list's columns include the id");
	return columns;
}

/* What follows a unique key changes nothing. The id goes in the direction of the key before it, so
 * that an index over both serves either direction. */
static void end_with_unique_key(const struct filter_column *columns, struct sort *sort)
{
	const struct filter_column *id = find_id(columns);
	for (size_t i = 0; i < sort->n_keys; i++) {
		if (sort->keys[i].column == id || sort->keys[i].column->flags & FILTER_UNIQUE) {
			sort->n_keys = i + 1;
			return;
		}
	}
	bool descending = sort->n_keys > 0 && sort->keys[sort->n_keys - 1].descending;
	sort->keys[sort->n_keys++] = (struct sort_key){.column = id, .descending = descending};
}

int sort_parse(const struct filter_column *columns, const char *text, const char *default_text,
        struct sort *ret_sort, struct err *e)
{
	struct sort sort = {0};
	const char *word = str_is_empty(text) ? default_text : text;
	for (;;) {
		size_t len = strcspn(word, ",");
		int rc = add_key(columns, word, len, &sort, e);
		if (rc < 0)
			return rc;
		if (word[len] == '\0')
			break;
		word += len + 1;
	}
	end_with_unique_key(columns, &sort);
	*ret_sort = sort;
	return 0;
}

void sort_render_order(const struct sort *sort, struct str *sql)
{
	str_add(sql, "ORDER BY ");
	for (size_t i = 0; i < sort->n_keys; i++)
		str_printf(sql, "%s%s%s", i > 0 ? ", " : "", sort->keys[i].column->sql,
		        sort->keys[i].descending ? " DESC" : "");
}

/* a >= ? AND (a > ? OR (b >= ? AND (b > ? OR id > ?))): the first comparison lets an index on `a`
 * seek. */
void sort_render_after(
        const struct sort *sort, const struct sql_bind *values, struct filter_sql *sql)
{
	struct str *where = &sql->where;
	if (where->len > 0)
		str_add(where, " AND ");
	for (size_t i = 0; i < sort->n_keys; i++) {
		const char *column = sort->keys[i].column->sql;
		const char *beyond = sort->keys[i].descending ? "<" : ">";
		bool last = i + 1 == sort->n_keys;
		if (!last) {
			str_printf(where, "%s%s %s= ? AND (", i > 0 ? "(" : "", column, beyond);
			sql->binds[sql->n_binds++] = values[i];
		}
		str_printf(where, "%s %s ?%s", column, beyond, last ? "" : " OR ");
		sql->binds[sql->n_binds++] = values[i];
	}
	/* one parenthesis per OR, one more per nested key but the outermost and the last */
	for (size_t i = 1; i < sort->n_keys; i++)
		str_add(where, i == 1 ? ")" : "))");
}

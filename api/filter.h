/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The filter and sort parameters of lists, parsed against the columns a list declares, and rendered
 * as SQL fragments with bound values. Nothing of the user's text gets into the SQL.
 *
 *	filter = term *( "and" term )       term = column operator value
 *	operator = eq | ne | lt | gt | contains     contains: text only, case-sensitive
 *	                                             booleans: eq and ne only
 *	value = JSON string | bare word | integer | true | false | RFC 3339 time
 *	sort = ["-"] column *2( "," ["-"] column )
 *
 *	name contains "web" and vcpus gt 2            -created_at,name
 *
 * Pure; any thread.
 */
#pragma once

#include <stddef.h>

#include "base/err.h"
#include "base/str.h"
#include "db/db.h"

#define FILTER_BYTES_MAX 4096
#define FILTER_TERMS_MAX 16
#define SORT_KEYS_MAX    4 /* three of the user's and the id */
#define FILTER_BINDS_MAX (FILTER_TERMS_MAX + 2 * SORT_KEYS_MAX)

enum filter_type { FILTER_TEXT, FILTER_INT, FILTER_BOOL, FILTER_TIME };

enum filter_flags {
	FILTER_FILTERABLE = 1 << 0,
	FILTER_SORTABLE = 1 << 1,
	FILTER_UNIQUE = 1 << 2, /* sorting by it needs no further key */
};

/*
 * A table of columns ends with name NULL and has a column "id" (text, unique), which breaks ties.
 * `sql` must never be NULL for a row (COALESCE(x, '') in the expression where the column may be),
 * because NULL compares with nothing and its rows would get lost between pages.
 */
struct filter_column {
	const char *name; /* in JSON */
	const char *sql;  /* column or expression */
	enum filter_type type;
	unsigned flags; /* enum filter_flags */
};

enum filter_operator { FILTER_EQ, FILTER_NE, FILTER_LT, FILTER_GT, FILTER_CONTAINS };

struct filter_term {
	const struct filter_column *column; /* borrowed */
	enum filter_operator operator;
	struct sql_bind value; /* text borrowed from the filter's `texts` */
};

struct filter {
	struct filter_term terms[FILTER_TERMS_MAX];
	size_t n_terms;
	char *texts[FILTER_TERMS_MAX]; /* owned, one per term or NULL */
};

struct sort_key {
	const struct filter_column *column; /* borrowed */
	bool descending;
};

/* Always ends with a unique key. */
struct sort {
	struct sort_key keys[SORT_KEYS_MAX];
	size_t n_keys;
};

/* A condition under construction: parts joined by AND, "" when empty, with its binds in order. */
struct filter_sql {
	struct str where; /* owned */
	struct sql_bind binds[FILTER_BINDS_MAX];
	size_t n_binds;
};
void filter_sql_done(struct filter_sql *sql);

/* NULL or blank text gives no terms. ERR_INVALID at /filter with the position; nothing to free
 * then. */
int filter_parse(const struct filter_column *columns, const char *text, struct filter *ret_filter,
        struct err *e);
void filter_done(struct filter *filter);
/* Adds the filter's condition; the binds borrow from the filter. */
void filter_render(const struct filter *filter, struct filter_sql *sql);

/* `text` NULL or "" gives `default_text`, which must be right. ERR_INVALID at /sort. */
int sort_parse(const struct filter_column *columns, const char *text, const char *default_text,
        struct sort *ret_sort, struct err *e);
/* Adds "ORDER BY ..." without a space around it. */
void sort_render_order(const struct sort *sort, struct str *sql);
/* Adds the condition "comes after the row with these sort values" (one per key; borrowed by the
 * binds). */
void sort_render_after(
        const struct sort *sort, const struct sql_bind *values, struct filter_sql *sql);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes filters and sort orders. The input is "FILTER\nSORT". What is accepted renders to SQL made
 * only of our own fragments: as many placeholders as binds, nothing of the user's text.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/filter.h"
#include "base/alloc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct filter_column columns[] = {
        {"id", "a", FILTER_TEXT, FILTER_FILTERABLE | FILTER_SORTABLE | FILTER_UNIQUE},
        {"name", "b", FILTER_TEXT, FILTER_FILTERABLE | FILTER_SORTABLE},
        {"vcpus", "c", FILTER_INT, FILTER_FILTERABLE | FILTER_SORTABLE},
        {"managed", "d", FILTER_BOOL, FILTER_FILTERABLE},
        {"created_at", "e", FILTER_TIME, FILTER_FILTERABLE | FILTER_SORTABLE},
        {NULL, NULL, FILTER_TEXT, 0},
};

static void check_sql(const struct filter_sql *sql)
{
	size_t placeholders = 0;
	const char *text = str_text(&sql->where);
	if (strspn(text, "abcde ?=<>(),instrANDOR0") != strlen(text))
		abort();
	for (; *text; text++)
		placeholders += *text == '?';
	if (placeholders != sql->n_binds || sql->n_binds > FILTER_BINDS_MAX)
		abort();
	for (size_t i = 0; i < sql->n_binds; i++)
		if (sql->binds[i].type == SQL_BIND_TEXT && !sql->binds[i].text)
			abort();
}

static void render(const struct filter *filter, const struct sort *sort)
{
	struct sql_bind values[SORT_KEYS_MAX] = {0};
	struct filter_sql sql = {0};
	struct str order = {0};
	filter_render(filter, &sql);
	sort_render_after(sort, values, &sql);
	sort_render_order(sort, &order);
	check_sql(&sql);
	filter_sql_done(&sql);
	str_done(&order);
}

static void check_refusal(const struct err *e, const char *pointer)
{
	if (e->code != ERR_INVALID || strcmp(e->pointer, pointer) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = xstrndup((const char *)data, size);
	char *newline = strchr(text, '\n');
	if (newline)
		*newline = '\0';
	struct err e = {0};
	struct filter filter;
	struct sort sort;
	if (sort_parse(columns, newline ? newline + 1 : NULL, "name", &sort, &e) < 0)
		check_refusal(&e, "/sort");
	else if (filter_parse(columns, text, &filter, &e) < 0)
		check_refusal(&e, "/filter");
	else {
		render(&filter, &sort);
		filter_done(&filter);
	}
	free(text);
	return 0;
}

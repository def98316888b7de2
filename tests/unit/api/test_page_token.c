/* SPDX-License-Identifier: Apache-2.0 */
/* Page tokens: they survive the trip, fit only their own list, and walking by them sees each row
 * once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <sqlite3.h>

#include "api/page_token.h"
#include "base/cleanup.h"

static const struct filter_column columns[] = {
        {"id", "id", FILTER_TEXT, FILTER_FILTERABLE | FILTER_SORTABLE | FILTER_UNIQUE},
        {"name", "name", FILTER_TEXT, FILTER_FILTERABLE | FILTER_SORTABLE},
        {"vcpus", "vcpus", FILTER_INT, FILTER_FILTERABLE | FILTER_SORTABLE},
        {"size", "size", FILTER_INT, FILTER_FILTERABLE | FILTER_SORTABLE},
        {NULL, NULL, FILTER_TEXT, 0},
};

static const struct sql_bind values[] = {
        {.type = SQL_BIND_TEXT, .text = "we\"b\xc3\xa4"},
        {.type = SQL_BIND_INT, .integer = INT64_MIN},
        {.type = SQL_BIND_TEXT, .text = "a0eebc99"},
};

static struct sort parse_sort(const char *text)
{
	struct sort sort;
	assert_int_equal(sort_parse(columns, text, "name", &sort, NULL), 0);
	return sort;
}

static void test_a_token_brings_its_values_back(void **state)
{
	(void)state;
	struct filter filter = {0};
	struct sort sort = parse_sort("name,vcpus");
	char *token CLEANUP(cleanup_free) = page_token_make(&filter, &sort, values);
	assert_int_equal(
	        strspn(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
	        strlen(token));
	struct page_position position;
	assert_int_equal(page_token_parse(token, &filter, &sort, &position, NULL), 0);
	assert_string_equal(position.values[0].text, values[0].text);
	assert_true(position.values[1].integer == INT64_MIN);
	assert_int_equal(position.values[1].type, SQL_BIND_INT);
	assert_string_equal(position.values[2].text, "a0eebc99");
	page_position_done(&position);
}

static void assert_refused(const char *token, const struct filter *filter, const struct sort *sort)
{
	struct page_position position = {0};
	struct err e = {0};
	assert_int_equal(page_token_parse(token, filter, sort, &position, &e), ERR_INVALID);
	assert_string_equal(e.pointer, "/page_token");
	assert_true(e.hint[0] != '\0');
	assert_null(position.owner);
}

static void test_a_token_fits_only_its_filter_and_sort_order(void **state)
{
	(void)state;
	struct filter filter, other_value, other_operator, none = {0};
	struct sort sort = parse_sort("name,vcpus"), reversed = parse_sort("name,-vcpus");
	struct sort shorter = parse_sort("name"), other = parse_sort("name,size");
	filter_parse(columns, "name eq x", &filter, NULL);
	filter_parse(columns, "name eq y", &other_value, NULL);
	filter_parse(columns, "name ne x", &other_operator, NULL);
	char *token CLEANUP(cleanup_free) = page_token_make(&filter, &sort, values);
	assert_refused(token, &none, &sort);
	assert_refused(token, &other_value, &sort);
	assert_refused(token, &other_operator, &sort);
	assert_refused(token, &filter, &reversed);
	assert_refused(token, &filter, &shorter);
	assert_refused(token, &filter, &other);
	struct page_position position;
	assert_int_equal(page_token_parse(token, &filter, &sort, &position, NULL), 0);
	page_position_done(&position);
	filter_done(&filter);
	filter_done(&other_value);
	filter_done(&other_operator);
}

static void test_a_changed_or_made_up_token_is_refused(void **state)
{
	(void)state;
	struct filter filter = {0};
	struct sort sort = parse_sort("name,vcpus");
	char *token CLEANUP(cleanup_free) = page_token_make(&filter, &sort, values);
	for (size_t i = 0; token[i]; i++) {
		char before = token[i];
		token[i] = before == 'A' ? 'B' : 'A';
		assert_refused(token, &filter, &sort);
		token[i] = before;
	}
	token[strlen(token) - 1] = '\0';
	assert_refused(token, &filter, &sort);
	assert_refused("", &filter, &sort);
	assert_refused("AAAA", &filter, &sort);
	assert_refused("%%%", &filter, &sort);
	assert_refused("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", &filter, &sort);
	char *huge CLEANUP(cleanup_free) = calloc(1, 100001);
	memset(huge, 'A', 100000);
	assert_refused(huge, &filter, &sort);
}

#define ROWS 300

/* Rows with many equal values in each column. */
static sqlite3 *open_rows(void)
{
	sqlite3 *db = NULL;
	assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
	assert_int_equal(
	        sqlite3_exec(db,
	                "CREATE TABLE v (id TEXT PRIMARY KEY, name TEXT, vcpus INT, size INT);"
	                "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < "
	                "299) "
	                "INSERT INTO v SELECT printf('id%03d', i * 7 % 300), "
	                "printf('n%d', i % 5), i % 3, i % 2 FROM n",
	                NULL, NULL, NULL),
	        SQLITE_OK);
	return db;
}

/* Runs one page; returns the number of rows and the sort values of the last one. */
static size_t run_page(sqlite3 *db, const struct sort *sort, const struct filter_sql *where,
        size_t limit, struct sql_bind *last, char texts[][16], bool seen[ROWS])
{
	struct str sql CLEANUP(str_done) = {0};
	str_add(&sql, "SELECT id, name, vcpus, size FROM v ");
	if (where->where.len > 0)
		str_printf(&sql, "WHERE %s ", where->where.data);
	sort_render_order(sort, &sql);
	str_printf(&sql, " LIMIT %zu", limit);
	sqlite3_stmt *s = NULL;
	assert_int_equal(sqlite3_prepare_v2(db, sql.data, -1, &s, NULL), SQLITE_OK);
	for (size_t i = 0; i < where->n_binds; i++) {
		if (where->binds[i].type == SQL_BIND_TEXT)
			sqlite3_bind_text(
			        s, (int)i + 1, where->binds[i].text, -1, SQLITE_TRANSIENT);
		else
			sqlite3_bind_int64(s, (int)i + 1, where->binds[i].integer);
	}
	size_t n = 0;
	for (; sqlite3_step(s) == SQLITE_ROW; n++) {
		int id = atoi((const char *)sqlite3_column_text(s, 0) + 2);
		assert_false(seen[id]);
		seen[id] = true;
		for (size_t k = 0; k < sort->n_keys; k++) {
			int column = (int)(sort->keys[k].column - columns);
			snprintf(texts[k], 16, "%s", (const char *)sqlite3_column_text(s, column));
			last[k] =
			        sort->keys[k].column->type == FILTER_TEXT
			                ? (struct sql_bind){.type = SQL_BIND_TEXT, .text = texts[k]}
			                : (struct sql_bind){.type = SQL_BIND_INT,
			                          .integer = sqlite3_column_int64(s, column)};
		}
	}
	sqlite3_finalize(s);
	return n;
}

static size_t walk(sqlite3 *db, const char *sort_text, const char *filter_text, size_t limit)
{
	struct sort sort = parse_sort(sort_text);
	struct filter filter;
	assert_int_equal(filter_parse(columns, filter_text, &filter, NULL), 0);
	bool seen[ROWS] = {false};
	char texts[SORT_KEYS_MAX][16];
	char *token = NULL;
	size_t total = 0, n = limit;
	while (n == limit) {
		struct page_position position = {0};
		struct filter_sql where CLEANUP(filter_sql_done) = {0};
		filter_render(&filter, &where);
		if (token) {
			assert_int_equal(
			        page_token_parse(token, &filter, &sort, &position, NULL), 0);
			sort_render_after(&sort, position.values, &where);
		}
		struct sql_bind last[SORT_KEYS_MAX];
		n = run_page(db, &sort, &where, limit, last, texts, seen);
		total += n;
		page_position_done(&position);
		free(token);
		token = n > 0 ? page_token_make(&filter, &sort, last) : NULL;
	}
	free(token);
	filter_done(&filter);
	return total;
}

static void test_walking_page_by_page_sees_each_row_once(void **state)
{
	(void)state;
	sqlite3 *db = open_rows();
	static const char *const orders[] = {"name", "-name", "id", "-id", "vcpus,name",
	        "-vcpus,name", "vcpus,-name", "size,-vcpus,name", "-size,-vcpus,-name",
	        "size,vcpus,-id"};
	for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
		for (size_t limit = 1; limit <= 301; limit += 43)
			assert_int_equal(walk(db, orders[i], NULL, limit), ROWS);
		assert_int_equal(walk(db, orders[i], "vcpus gt 0 and name contains n1", 7), 40);
	}
	sqlite3_close(db);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_a_token_brings_its_values_back),
	        cmocka_unit_test(test_a_token_fits_only_its_filter_and_sort_order),
	        cmocka_unit_test(test_a_changed_or_made_up_token_is_refused),
	        cmocka_unit_test(test_walking_page_by_page_sees_each_row_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

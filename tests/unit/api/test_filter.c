/* SPDX-License-Identifier: Apache-2.0 */
/* The filter language and sort orders: what is accepted, what is refused and where, and the SQL
 * made of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "api/filter.h"
#include "base/cleanup.h"

static const struct filter_column columns[] = {
        {"id", "v.id", FILTER_TEXT, FILTER_FILTERABLE | FILTER_SORTABLE | FILTER_UNIQUE},
        {"name", "v.name", FILTER_TEXT, FILTER_FILTERABLE | FILTER_SORTABLE},
        {"vcpus", "v.vcpus", FILTER_INT, FILTER_FILTERABLE | FILTER_SORTABLE},
        {"managed", "v.managed", FILTER_BOOL, FILTER_FILTERABLE},
        {"created_at", "v.created_at", FILTER_TIME, FILTER_FILTERABLE | FILTER_SORTABLE},
        {"seq", "v.seq", FILTER_INT, FILTER_SORTABLE | FILTER_UNIQUE},
        {NULL, NULL, FILTER_TEXT, 0},
};

static void assert_renders(const char *text, const char *where)
{
	struct filter filter;
	struct err e = {0};
	int rc = filter_parse(columns, text, &filter, &e);
	assert_string_equal(e.message, "");
	assert_int_equal(rc, 0);
	struct filter_sql sql CLEANUP(filter_sql_done) = {0};
	filter_render(&filter, &sql);
	assert_string_equal(str_text(&sql.where), where);
	assert_int_equal(sql.n_binds, filter.n_terms);
	filter_done(&filter);
}

static void assert_refused(const char *text, const char *message)
{
	struct filter filter;
	struct err e = {0};
	assert_int_equal(filter_parse(columns, text, &filter, &e), ERR_INVALID);
	assert_string_equal(e.pointer, "/filter");
	assert_string_equal(e.message, message);
	assert_int_equal(filter.n_terms, 0);
}

static void test_terms_become_conditions(void **state)
{
	(void)state;
	assert_renders(NULL, "");
	assert_renders(" ", "");
	assert_renders("name eq web", "v.name = ?");
	assert_renders("  name   ne  \"web\"  ", "v.name <> ?");
	assert_renders("vcpus gt -2 and vcpus lt 8", "v.vcpus > ? AND v.vcpus < ?");
	assert_renders("name contains \"a b\" and managed eq true",
	        "instr(v.name, ?) > 0 AND v.managed = ?");
	assert_renders("created_at gt 2026-01-31T12:00:00Z", "v.created_at > ?");
	assert_renders("name eq and and name eq eq", "v.name = ? AND v.name = ?");
}

static void test_values_are_bound_by_their_column(void **state)
{
	(void)state;
	struct filter filter;
	assert_int_equal(
	        filter_parse(columns,
	                "name eq \"x' OR 1=1 --\\u00e4\" and vcpus eq 5 and managed ne false and "
	                "created_at lt \"1970-01-01T00:00:01Z\"",
	                &filter, NULL),
	        0);
	struct filter_sql sql CLEANUP(filter_sql_done) = {0};
	filter_render(&filter, &sql);
	assert_null(strstr(sql.where.data, "OR"));
	assert_int_equal(sql.binds[0].type, SQL_BIND_TEXT);
	assert_string_equal(sql.binds[0].text, "x' OR 1=1 --\xc3\xa4");
	assert_int_equal(sql.binds[1].type, SQL_BIND_INT);
	assert_int_equal(sql.binds[1].integer, 5);
	assert_int_equal(sql.binds[2].integer, 0);
	assert_int_equal(sql.binds[3].integer, 1000);
	filter_done(&filter);
}

static void test_mistakes_are_refused_with_their_place(void **state)
{
	(void)state;
	assert_refused("nope eq 1",
	        "filter, character 1: 'nope' is not one of the columns that can be filtered: "
	        "id, name, vcpus, managed, created_at");
	assert_refused("seq eq 1",
	        "filter, character 1: 'seq' is not one of the columns that can be filtered: "
	        "id, name, vcpus, managed, created_at");
	assert_refused(
	        "name", "filter, character 5: '' is not an operator: eq, ne, lt, gt, contains");
	assert_refused("name = x",
	        "filter, character 6: '=' is not an operator: eq, ne, lt, gt, contains");
	assert_refused("name EQ x",
	        "filter, character 6: 'EQ' is not an operator: eq, ne, lt, gt, contains");
	assert_refused("name eq", "filter, character 8: a value is missing");
	assert_refused("name eq \"x", "filter, character 9: not a JSON string");
	assert_refused("name eq \"\\u0000\"", "filter, character 9: not a JSON string");
	assert_refused("name eq \"a\\\"", "filter, character 9: not a JSON string");
	assert_refused("name eq \"x\"y", "filter, character 12: a blank is missing");
	assert_refused("name eq x or name eq y", "filter, character 11: 'and' is expected here");
	assert_refused("name eq x y", "filter, character 11: 'and' is expected here");
	assert_refused("name eq x and",
	        "filter, character 14: '' is not one of the columns that can be filtered: "
	        "id, name, vcpus, managed, created_at");
	assert_refused("vcpus eq two", "filter, character 10: vcpus needs an integer");
	assert_refused("vcpus eq \"2\"", "filter, character 10: vcpus needs an integer");
	assert_refused(
	        "vcpus eq 9223372036854775808", "filter, character 10: vcpus needs an integer");
	assert_refused(
	        "vcpus contains 2", "filter, character 7: 'contains' does not apply to vcpus");
	assert_refused("managed gt true", "filter, character 9: 'gt' does not apply to managed");
	assert_refused("managed eq 1", "filter, character 12: managed needs true or false");
	assert_refused("created_at gt now", "filter, character 15: created_at needs an RFC 3339 "
	                                    "time like 2026-01-31T12:00:00Z");
	assert_refused("name eq \xff", "filter, character 9: is not UTF-8");
}

static void test_length_and_number_of_terms_are_bounded(void **state)
{
	(void)state;
	struct str text CLEANUP(str_done) = {0};
	for (int i = 0; i < FILTER_TERMS_MAX; i++)
		str_add(&text, i > 0 ? " and name eq x" : "name eq x");
	struct filter filter;
	assert_int_equal(filter_parse(columns, text.data, &filter, NULL), 0);
	filter_done(&filter);
	str_add(&text, " and name eq y");
	assert_int_equal(filter_parse(columns, text.data, &filter, NULL), ERR_INVALID);
	str_reset(&text);
	str_add(&text, "name eq ");
	while (text.len <= FILTER_BYTES_MAX)
		str_add_char(&text, 'x');
	assert_int_equal(filter_parse(columns, text.data, &filter, NULL), ERR_INVALID);
}

static void assert_order(const char *text, const char *order)
{
	struct sort sort;
	assert_int_equal(sort_parse(columns, text, "-created_at", &sort, NULL), 0);
	struct str sql CLEANUP(str_done) = {0};
	sort_render_order(&sort, &sql);
	assert_string_equal(sql.data, order);
}

static void test_a_sort_order_always_ends_unique(void **state)
{
	(void)state;
	assert_order(NULL, "ORDER BY v.created_at DESC, v.id DESC");
	assert_order("", "ORDER BY v.created_at DESC, v.id DESC");
	assert_order("name", "ORDER BY v.name, v.id");
	assert_order("-name,vcpus", "ORDER BY v.name DESC, v.vcpus, v.id");
	assert_order("name,-vcpus,created_at", "ORDER BY v.name, v.vcpus DESC, v.created_at, v.id");
	assert_order("id", "ORDER BY v.id");
	assert_order("vcpus,-id,name", "ORDER BY v.vcpus, v.id DESC");
	assert_order("-seq,name", "ORDER BY v.seq DESC");
}

static void test_bad_sort_orders_are_refused(void **state)
{
	(void)state;
	static const struct {
		const char *text, *message;
	} cases[] = {
	        {"managed", "'managed' is not one of the columns to sort by: id, name, vcpus, "
	                    "created_at, seq"},
	        {"name,", "'' is not one of the columns to sort by: id, name, vcpus, created_at, "
	                  "seq"},
	        {"--name", "'-name' is not one of the columns to sort by: id, name, vcpus, "
	                   "created_at, seq"},
	        {"name desc", "'name desc' is not one of the columns to sort by: id, name, vcpus, "
	                      "created_at, seq"},
	        {"name,-name", "'name' is named twice"},
	        {"name,vcpus,created_at,seq", "at most 3 columns can be sorted by"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sort sort;
		struct err e = {0};
		assert_int_equal(
		        sort_parse(columns, cases[i].text, "name", &sort, &e), ERR_INVALID);
		assert_string_equal(e.pointer, "/sort");
		assert_string_equal(e.message, cases[i].message);
	}
}

static void test_the_next_page_begins_behind_the_last_row(void **state)
{
	(void)state;
	struct sort sort;
	struct sql_bind values[SORT_KEYS_MAX] = {{.integer = 1}, {.integer = 2}, {.integer = 3}};
	struct filter_sql sql CLEANUP(filter_sql_done) = {0};
	sort_parse(columns, "-name,vcpus", "name", &sort, NULL);
	sort_render_after(&sort, values, &sql);
	assert_string_equal(sql.where.data,
	        "v.name <= ? AND (v.name < ? OR (v.vcpus >= ? AND (v.vcpus > ? OR v.id > ?)))");
	static const int64_t bound[] = {1, 1, 2, 2, 3};
	assert_int_equal(sql.n_binds, 5);
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(sql.binds[i].integer, bound[i]);
	sort_parse(columns, "seq", "name", &sort, NULL);
	sort_render_after(&sort, values, &sql);
	assert_non_null(strstr(sql.where.data, "))) AND v.seq > ?"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_terms_become_conditions),
	        cmocka_unit_test(test_values_are_bound_by_their_column),
	        cmocka_unit_test(test_mistakes_are_refused_with_their_place),
	        cmocka_unit_test(test_length_and_number_of_terms_are_bounded),
	        cmocka_unit_test(test_a_sort_order_always_ends_unique),
	        cmocka_unit_test(test_bad_sort_orders_are_refused),
	        cmocka_unit_test(test_the_next_page_begins_behind_the_last_row),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

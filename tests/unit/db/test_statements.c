/* SPDX-License-Identifier: Apache-2.0 */
/* Every SQL() statement of the program prepares against today's schema, and none scans a table
 * unawares. */
#include "tests/unit/db/temp_db.h"

#include "base/cleanup.h"
#include "base/str.h"

struct fixture {
	struct temp_db temp;
	struct db *db;
};

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));
	temp_db_init(&f->temp);
	f->db = temp_db_open(&f->temp, DB_READ_WRITE);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	db_close(f->db);
	temp_db_done(&f->temp);
	free(f);
	return 0;
}

static bool is_declared(const char *name)
{
	for (const struct sql_text *sql = __start_berth_sql; sql < __stop_berth_sql; sql++)
		if (strcmp(sql->name, name) == 0)
			return true;
	return false;
}

/* Otherwise the linker left files out and the other tests here prove nothing. */
static void test_statements_of_all_folders_are_linked(void **state)
{
	(void)state;
	assert_true(is_declared("change_insert"));   /* db/ */
	assert_true(is_declared("token_by_digest")); /* api/ */
	assert_true(is_declared("vm_delete_row"));   /* compute/ */
	assert_true(__stop_berth_sql - __start_berth_sql >= 20);
}

static void test_every_statement_prepares(void **state)
{
	struct fixture *f = *state;
	int failed = 0;
	for (const struct sql_text *sql = __start_berth_sql; sql < __stop_berth_sql; sql++) {
		struct err e = {0};
		struct statement *s CLEANUP(statement_done) = NULL;
		if (db_prepare(f->db, sql->text, &s, &e) < 0) {
			print_error("%s: %s\n", sql->name, e.message);
			failed++;
		}
	}
	assert_int_equal(failed, 0);
}

/* "SCAN vm", "SCAN vm USING INDEX ..."; but not "SCAN CONSTANT ROW", nor of a subquery's result. */
static bool is_table_scan(const char *detail)
{
	return str_starts_with(detail, "SCAN ") && !str_starts_with(detail, "SCAN CONSTANT ROW") &&
	       !str_starts_with(detail, "SCAN (");
}

/* The first table scan of the plan, or NULL; caller frees. */
static char *find_scan(struct db *db, const char *text)
{
	struct err e = {0};
	struct statement *s CLEANUP(statement_done) = NULL;
	char *sql CLEANUP(cleanup_free) = str_format("EXPLAIN QUERY PLAN %s", text);
	must(db_prepare(db, sql, &s, &e), &e);
	while (statement_step(s, &e) == 1)
		if (is_table_scan(statement_text(s, 3)))
			return statement_text_copy(s, 3);
	return NULL;
}

static void test_no_statement_scans_a_table_unless_marked(void **state)
{
	struct fixture *f = *state;
	int failed = 0;
	for (const struct sql_text *sql = __start_berth_sql; sql < __stop_berth_sql; sql++) {
		char *scan CLEANUP(cleanup_free) = find_scan(f->db, sql->text);
		if (scan && !(sql->flags & SQL_SCAN)) {
			print_error("%s: %s: %s\n", sql->name, scan, sql->text);
			failed++;
		}
	}
	assert_int_equal(failed, 0);
}

static void test_the_scan_check_sees_scans(void **state)
{
	struct fixture *f = *state;
	char *scan CLEANUP(cleanup_free) = find_scan(f->db, "SELECT * FROM vm WHERE guest = ''");
	assert_non_null(scan);
	char *search = find_scan(f->db, "SELECT * FROM vm WHERE id = ''");
	assert_null(search);
}

static void test_statement_names_are_unique(void **state)
{
	(void)state;
	for (const struct sql_text *a = __start_berth_sql; a < __stop_berth_sql; a++)
		for (const struct sql_text *b = a + 1; b < __stop_berth_sql; b++)
			if (strcmp(a->name, b->name) == 0)
				fail_msg("two statements are named %s", a->name);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	        T(test_statements_of_all_folders_are_linked),
	        T(test_every_statement_prepares),
	        T(test_no_statement_scans_a_table_unless_marked),
	        T(test_the_scan_check_sees_scans),
	        T(test_statement_names_are_unique),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Connections and statements: settings, the statement cache, binding, the mapping of errors. */
#include "tests/unit/db/temp_db.h"

#include <fcntl.h>
#include <sys/stat.h>

struct fixture {
	struct temp_db temp;
	struct db *db;
};

static int setup(void **state)
{
	struct err e = {0};
	struct fixture *f = xcalloc(1, sizeof(*f));
	temp_db_init_empty(&f->temp);
	f->db = temp_db_open(&f->temp, DB_READ_WRITE);
	must(db_exec(f->db,
	             "CREATE TABLE parent (id INTEGER PRIMARY KEY, name TEXT UNIQUE);"
	             "CREATE TABLE child (parent INTEGER REFERENCES parent (id));"
	             "CREATE TABLE value (a, b, c, d, e)",
	             &e),
	        &e);
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

static struct statement *prepare(struct db *db, const char *sql)
{
	struct err e = {0};
	struct statement *s = NULL;
	must(db_prepare(db, sql, &s, &e), &e);
	return s;
}

static int64_t query(struct db *db, const char *sql)
{
	struct err e = {0};
	int64_t value = -1;
	must(db_query_int(db, sql, &value, &e), &e);
	return value;
}

static void test_file_and_wal_are_private_whatever_the_umask(void **state)
{
	struct fixture *f = *state;
	struct err e = {0};
	struct stat st;
	char wal[128];
	must(db_exec(f->db, "INSERT INTO parent VALUES (1, 'a')", &e), &e);
	snprintf(wal, sizeof(wal), "%s-wal", f->temp.path);
	assert_int_equal(stat(f->temp.path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(stat(wal, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void test_settings_are_those_durability_rests_on(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(query(f->db, "PRAGMA synchronous"), 2);
	assert_int_equal(query(f->db, "PRAGMA foreign_keys"), 1);
	assert_int_equal(query(f->db, "PRAGMA trusted_schema"), 0);
	assert_int_equal(query(f->db, "PRAGMA mmap_size"), 0);
	assert_int_equal(query(f->db, "PRAGMA busy_timeout"), 5000);
	struct statement *s = prepare(f->db, "PRAGMA journal_mode");
	struct err e = {0};
	assert_int_equal(statement_step(s, &e), 1);
	assert_string_equal(statement_text(s, 0), "wal");
	statement_done(&s);
}

static void test_read_only_connection_cannot_write(void **state)
{
	struct fixture *f = *state;
	struct err e = {0};
	struct db *reader = temp_db_open(&f->temp, DB_READ_ONLY);
	assert_int_equal(db_exec(reader, "INSERT INTO parent VALUES (1, 'a')", &e), ERR_DATABASE);
	assert_int_equal(e.source, ERR_SOURCE_SQLITE);
	db_close(reader);
	assert_int_equal(query(f->db, "SELECT count(*) FROM parent"), 0);
}

static void test_opening_a_missing_file_for_reading_names_it(void **state)
{
	(void)state;
	struct err e = {0};
	struct db *db = NULL;
	assert_true(db_open("/nonexistent/berth.db", DB_READ_ONLY, &db, &e) < 0);
	assert_non_null(strstr(e.message, "/nonexistent/berth.db"));
	assert_int_equal(db_open("/nonexistent/berth.db", DB_READ_WRITE, &db, &e), ERR_NOT_FOUND);
	assert_non_null(strstr(e.message, "/nonexistent/berth.db"));
	assert_null(db);
}

static void test_statement_is_prepared_once_per_text(void **state)
{
	struct fixture *f = *state;
	char copy[] = "SELECT 1";
	struct statement *first = prepare(f->db, "SELECT 1");
	struct statement *same = first;
	statement_done(&first);
	assert_null(first);
	struct statement *again = prepare(f->db, "SELECT 1");
	assert_ptr_equal(again, same);
	statement_done(&again);
	struct statement *by_text = prepare(f->db, copy); /* other address, same text */
	assert_ptr_equal(by_text, same);
	statement_done(&by_text);
}

static void test_text_in_use_twice_is_two_statements(void **state)
{
	struct fixture *f = *state;
	struct err e = {0};
	struct statement *a = prepare(f->db, "SELECT ?");
	statement_bind_int(a, 1, 1);
	struct statement *b = prepare(f->db, "SELECT ?");
	statement_bind_int(b, 1, 2);
	assert_ptr_not_equal(a, b);
	assert_int_equal(statement_step(a, &e), 1);
	assert_int_equal(statement_step(b, &e), 1);
	assert_int_equal(statement_int(a, 0), 1);
	assert_int_equal(statement_int(b, 0), 2);
	statement_done(&a);
	statement_done(&b);
}

static void test_reused_address_with_another_text_is_another_statement(void **state)
{
	struct fixture *f = *state;
	char sql[] = "SELECT 1";
	assert_int_equal(query(f->db, sql), 1);
	sql[7] = '2';
	assert_int_equal(query(f->db, sql), 2);
	sql[7] = '1';
	assert_int_equal(query(f->db, sql), 1);
}

static void test_cache_is_bounded_and_keeps_what_is_used(void **state)
{
	struct fixture *f = *state;
	struct statement *kept = prepare(f->db, "SELECT 'kept'");
	struct statement *kept_address = kept;
	statement_done(&kept);
	for (int i = 0; i < 1000; i++) {
		char sql[32];
		snprintf(sql, sizeof(sql), "SELECT %d", i);
		assert_int_equal(query(f->db, sql), i);
		kept = prepare(f->db, "SELECT 'kept'");
		assert_ptr_equal(kept, kept_address);
		statement_done(&kept);
		assert_true(f->db->cache.len <= STATEMENT_CACHE_MAX);
	}
}

static void test_cache_grows_when_all_statements_are_held(void **state)
{
	struct fixture *f = *state;
	struct err e = {0};
	struct statement *held[STATEMENT_CACHE_MAX + 10];
	for (size_t i = 0; i < STATEMENT_CACHE_MAX + 10; i++)
		held[i] = prepare(f->db, "SELECT 7");
	for (size_t i = 0; i < STATEMENT_CACHE_MAX + 10; i++) {
		assert_int_equal(statement_step(held[i], &e), 1);
		statement_done(&held[i]);
	}
}

static void test_bindings_do_not_leak_into_the_next_use(void **state)
{
	struct fixture *f = *state;
	struct err e = {0};
	struct statement *s = prepare(f->db, "SELECT ?");
	statement_bind_text(s, 1, "secret");
	assert_int_equal(statement_step(s, &e), 1);
	statement_done(&s);
	s = prepare(f->db, "SELECT ?");
	assert_int_equal(statement_step(s, &e), 1);
	assert_true(statement_is_null(s, 0));
	statement_done(&s);
}

static void test_values_come_back_as_they_were_bound(void **state)
{
	struct fixture *f = *state;
	struct err e = {0};
	struct statement *s = prepare(f->db, "INSERT INTO value VALUES (?, ?, ?, ?, ?)");
	statement_bind_text(s, 1, NULL);
	statement_bind_int(s, 2, INT64_MIN);
	statement_bind_real(s, 3, 0.5);
	statement_bind_blob(s, 4, "\0\1\2", 3);
	statement_bind_blob(s, 5, NULL, 0);
	must(statement_run(s, &e), &e);
	statement_done(&s);
	assert_int_equal(db_changes(f->db), 1);

	s = prepare(f->db, "SELECT a, b, c, d, e FROM value");
	size_t len = 99;
	assert_int_equal(statement_step(s, &e), 1);
	assert_null(statement_text(s, 0));
	assert_null(statement_text_copy(s, 0));
	assert_true(statement_int(s, 1) == INT64_MIN);
	assert_true(statement_real(s, 2) == 0.5);
	assert_memory_equal(statement_blob(s, 3, &len), "\0\1\2", 3);
	assert_int_equal(len, 3);
	assert_false(statement_is_null(s, 4));
	statement_blob(s, 4, &len);
	assert_int_equal(len, 0);
	assert_int_equal(statement_step(s, &e), 0);
	statement_done(&s);
}

static void test_composed_binds_start_at_the_given_parameter(void **state)
{
	struct fixture *f = *state;
	struct err e = {0};
	const struct sql_bind binds[] = {
	        {.type = SQL_BIND_INT, .integer = 5}, {.type = SQL_BIND_TEXT, .text = "x"}};
	struct statement *s = prepare(f->db, "SELECT ?1, ?2, ?3");
	statement_bind_text(s, 1, "own");
	statement_bind_all(s, 2, binds, 2);
	assert_int_equal(statement_step(s, &e), 1);
	assert_string_equal(statement_text(s, 0), "own");
	assert_int_equal(statement_int(s, 1), 5);
	assert_string_equal(statement_text(s, 2), "x");
	statement_done(&s);
}

SQL(value_put, 0, "INSERT INTO value (a, b, c) VALUES (?1, ?2, ?3)");
SQL(value_by_b, 0, "SELECT a, c FROM value WHERE b = ?");
SQL(parent_put, 0, "INSERT INTO parent (name) VALUES (?)");
SQL(no_such_table, 0, "DELETE FROM nothing WHERE id = ?");

static void put_value(struct db *db, const char *a, int64_t b, const char *c)
{
	struct err e = {0};
	must(db_run(db, &value_put, SQL_BINDS(SQL_TEXT(a), SQL_INT(b), SQL_TEXT(c)), &e), &e);
}

static void test_run_binds_its_values_in_order_and_changes_the_rows(void **state)
{
	struct fixture *f = *state;
	put_value(f->db, "one", 1, NULL);
	assert_int_equal(db_changes(f->db), 1);
	assert_int_equal(
	        query(f->db, "SELECT count(*) FROM value WHERE a = 'one' AND b = 1 AND c IS NULL"),
	        1);
}

static void test_run_gives_its_statement_back_also_after_an_error(void **state)
{
	struct fixture *f = *state;
	struct err e = {0};
	must(db_run(f->db, &parent_put, SQL_BINDS(SQL_TEXT("a")), &e), &e);
	assert_int_equal(db_run(f->db, &parent_put, SQL_BINDS(SQL_TEXT("a")), &e), ERR_EXISTS);
	size_t len = f->db->cache.len;
	must(db_run(f->db, &parent_put, SQL_BINDS(SQL_TEXT("b")), &e), &e);
	assert_int_equal(f->db->cache.len, len); /* one still in use would be prepared again */
	assert_int_equal(db_run(f->db, &no_such_table, SQL_BINDS(SQL_INT(1)), &e), ERR_DATABASE);
	assert_non_null(strstr(e.message, "nothing"));
}

static void test_query_leaves_all_rows_to_be_stepped(void **state)
{
	struct fixture *f = *state;
	struct err e = {0};
	struct statement *s = NULL;
	put_value(f->db, "one", 1, NULL);
	put_value(f->db, "another", 1, NULL);
	must(db_query(f->db, &value_by_b, SQL_BINDS(SQL_INT(1)), &s, &e), &e);
	assert_int_equal(statement_step(s, &e), 1);
	assert_int_equal(statement_step(s, &e), 1);
	assert_int_equal(statement_step(s, &e), 0);
	statement_done(&s);
	assert_int_equal(
	        db_query(f->db, &no_such_table, SQL_BINDS(SQL_INT(1)), &s, &e), ERR_DATABASE);
	assert_null(s);
}

static void test_find_stands_on_the_first_row_or_says_there_is_none(void **state)
{
	struct fixture *f = *state;
	struct err e = {0};
	struct statement *s = NULL;
	put_value(f->db, "one", 1, "c");
	assert_int_equal(db_find(f->db, &value_by_b, SQL_BINDS(SQL_INT(1)), &s, &e), 1);
	assert_string_equal(statement_text(s, 0), "one");
	assert_string_equal(statement_text(s, 1), "c");
	statement_done(&s);
	assert_int_equal(db_find(f->db, &value_by_b, SQL_BINDS(SQL_INT(2)), &s, &e), 0);
	statement_done(&s);
	assert_int_equal(
	        db_find(f->db, &no_such_table, SQL_BINDS(SQL_INT(1)), &s, &e), ERR_DATABASE);
	assert_null(s);
}

static void test_found_text_is_a_copy_and_none_leaves_the_callers(void **state)
{
	struct fixture *f = *state;
	struct err e = {0};
	char *own = xstrdup("own"), *text = own;
	put_value(f->db, "one", 1, NULL);
	put_value(f->db, NULL, 2, NULL);
	assert_int_equal(db_find_text(f->db, &value_by_b, SQL_BINDS(SQL_INT(3)), &text, &e), 0);
	assert_ptr_equal(text, own);
	assert_int_equal(db_find_text(f->db, &no_such_table, SQL_BINDS(SQL_INT(1)), &text, &e),
	        ERR_DATABASE);
	assert_ptr_equal(text, own);
	free(own);
	assert_int_equal(db_find_text(f->db, &value_by_b, SQL_BINDS(SQL_INT(1)), &text, &e), 1);
	assert_string_equal(text, "one");
	free(text);
	assert_int_equal(db_find_text(f->db, &value_by_b, SQL_BINDS(SQL_INT(2)), &text, &e), 1);
	assert_null(text);
}

static void test_violations_have_their_own_codes(void **state)
{
	struct fixture *f = *state;
	struct err e = {0};
	must(db_exec(f->db, "INSERT INTO parent VALUES (1, 'a'); INSERT INTO child VALUES (1)", &e),
	        &e);
	assert_int_equal(db_exec(f->db, "INSERT INTO parent VALUES (2, 'a')", &e), ERR_EXISTS);
	assert_non_null(strstr(e.message, "parent.name"));
	assert_int_equal(db_exec(f->db, "INSERT INTO parent VALUES (1, 'b')", &e), ERR_EXISTS);
	assert_int_equal(db_exec(f->db, "INSERT INTO child VALUES (9)", &e), ERR_REFERENCE);
	assert_int_equal(db_exec(f->db, "DELETE FROM parent", &e), ERR_REFERENCE);
	assert_int_equal(db_exec(f->db, "SELECT * FROM nothing", &e), ERR_DATABASE);
	assert_non_null(strstr(e.message, "nothing"));
	assert_int_equal(db_exec(f->db, "SELECT * FROM nothing", NULL), ERR_DATABASE);
	struct statement *s = NULL;
	assert_int_equal(db_prepare(f->db, "SELEC", &s, &e), ERR_DATABASE);
	assert_null(s);
}

static void test_full_disk_is_disk_full_with_a_hint(void **state)
{
	struct fixture *f = *state;
	struct err e = {0};
	must(db_exec(f->db, "PRAGMA max_page_count = 1", &e), &e);
	assert_int_equal(db_exec(f->db, "INSERT INTO value (a) VALUES (zeroblob(100000))", &e),
	        ERR_DISK_FULL);
	assert_string_not_equal(e.hint, "");
	assert_int_equal(e.source_code, SQLITE_FULL);
}

static void test_damaged_file_is_an_error_not_a_crash(void **state)
{
	(void)state;
	struct temp_db temp;
	temp_db_init_empty(&temp);
	int fd = open(temp.path, O_WRONLY | O_CREAT, 0600);
	assert_int_equal(write(fd, "this is not a database at all, is it?", 37), 37);
	close(fd);
	struct err e = {0};
	struct db *db = NULL;
	assert_int_equal(db_open(temp.path, DB_READ_WRITE, &db, &e), ERR_DATABASE);
	assert_string_not_equal(e.message, "");
	temp_db_done(&temp);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	        T(test_file_and_wal_are_private_whatever_the_umask),
	        T(test_settings_are_those_durability_rests_on),
	        T(test_read_only_connection_cannot_write),
	        cmocka_unit_test(test_opening_a_missing_file_for_reading_names_it),
	        T(test_statement_is_prepared_once_per_text),
	        T(test_text_in_use_twice_is_two_statements),
	        T(test_reused_address_with_another_text_is_another_statement),
	        T(test_cache_is_bounded_and_keeps_what_is_used),
	        T(test_cache_grows_when_all_statements_are_held),
	        T(test_bindings_do_not_leak_into_the_next_use),
	        T(test_values_come_back_as_they_were_bound),
	        T(test_composed_binds_start_at_the_given_parameter),
	        T(test_run_binds_its_values_in_order_and_changes_the_rows),
	        T(test_run_gives_its_statement_back_also_after_an_error),
	        T(test_query_leaves_all_rows_to_be_stepped),
	        T(test_find_stands_on_the_first_row_or_says_there_is_none),
	        T(test_found_text_is_a_copy_and_none_leaves_the_callers),
	        T(test_violations_have_their_own_codes),
	        T(test_full_disk_is_disk_full_with_a_hint),
	        cmocka_unit_test(test_damaged_file_is_an_error_not_a_crash),
	};
	umask(0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

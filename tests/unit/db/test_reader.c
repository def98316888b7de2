/* SPDX-License-Identifier: Apache-2.0 */
/* Readers: one connection per thread, snapshots, independence of the writer. */
#include "tests/unit/db/temp_db.h"

#include <pthread.h>

#include "db/reader.h"

struct fixture {
	struct temp_db temp;
	struct db *writable;
	struct readers *readers;
};

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));
	temp_db_init(&f->temp);
	f->writable = temp_db_open(&f->temp, DB_READ_WRITE);
	f->readers = readers_new(f->temp.path);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	readers_free(f->readers);
	db_close(f->writable);
	temp_db_done(&f->temp);
	free(f);
	return 0;
}

static void add_row(struct fixture *f, const char *key)
{
	struct err e = {0};
	char sql[128];
	snprintf(sql, sizeof(sql), "INSERT INTO meta VALUES ('%s', '')", key);
	must(db_exec(f->writable, sql, &e), &e);
}

static int64_t count(struct db *db)
{
	struct err e = {0};
	int64_t n = -1;
	must(db_query_int(db, "SELECT count(*) FROM meta", &n, &e), &e);
	return n;
}

static struct db *get(struct fixture *f)
{
	struct err e = {0};
	struct db *db = NULL;
	must(readers_get(f->readers, &db, &e), &e);
	return db;
}

static void *get_in_thread(void *arg)
{
	struct db *db = get(arg);
	assert_ptr_equal(get(arg), db);
	assert_int_equal(count(db), 0);
	return db;
}

static void test_each_thread_has_one_connection(void **state)
{
	struct fixture *f = *state;
	struct db *mine = get(f);
	assert_ptr_equal(get(f), mine);
	pthread_t thread;
	void *others = NULL;
	assert_int_equal(pthread_create(&thread, NULL, get_in_thread, f), 0);
	pthread_join(thread, &others);
	assert_ptr_not_equal(others, mine);
}

static void test_two_sets_of_readers_do_not_mix(void **state)
{
	struct fixture *f = *state;
	struct readers *other = readers_new(f->temp.path);
	struct err e = {0};
	struct db *db = NULL;
	must(readers_get(other, &db, &e), &e);
	assert_ptr_not_equal(db, get(f));
	readers_free(other);
	assert_int_equal(count(get(f)), 0);
}

static void test_transaction_sees_one_state(void **state)
{
	struct fixture *f = *state;
	struct err e = {0};
	struct db *db = get(f);
	add_row(f, "before");
	must(reader_begin(db, &e), &e);
	assert_int_equal(count(db), 1);
	add_row(f, "during");
	assert_int_equal(count(db), 1);
	reader_end(db);
	assert_int_equal(count(db), 2);
}

static void test_reader_waits_for_no_open_write(void **state)
{
	struct fixture *f = *state;
	struct err e = {0};
	add_row(f, "before");
	must(db_exec(f->writable, "BEGIN IMMEDIATE", &e), &e);
	add_row(f, "uncommitted");
	assert_int_equal(count(get(f)), 1);
	must(db_exec(f->writable, "COMMIT", &e), &e);
	assert_int_equal(count(get(f)), 2);
}

static void test_missing_file_is_an_error_each_time(void **state)
{
	(void)state;
	struct readers *readers = readers_new("/nonexistent/berth.db");
	struct err e = {0};
	struct db *db = NULL;
	assert_true(readers_get(readers, &db, &e) < 0);
	assert_true(readers_get(readers, &db, &e) < 0);
	assert_null(db);
	readers_free(readers);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	        T(test_each_thread_has_one_connection),
	        T(test_two_sets_of_readers_do_not_mix),
	        T(test_transaction_sees_one_state),
	        T(test_reader_waits_for_no_open_write),
	        cmocka_unit_test(test_missing_file_is_an_error_each_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

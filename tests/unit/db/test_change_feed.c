/* SPDX-License-Identifier: Apache-2.0 */
/* The change feed: numbers, paging, pruning, one wake per commit. */
#include "tests/unit/db/writer_jobs.h"

#include "base/clock.h"
#include "db/change_feed.h"

struct fixture {
	struct temp_db temp;
	struct writer *writer;
	int wakes;
	int64_t seen_at_wake; /* rows another connection sees during the wake */
};

static void on_wake(void *arg)
{
	struct fixture *f = arg;
	f->wakes++;
	f->seen_at_wake = temp_db_int(&f->temp, "SELECT count(*) FROM change");
}

static int setup(void **state)
{
	struct err e = {0};
	struct fixture *f = xcalloc(1, sizeof(*f));
	temp_db_init(&f->temp);
	must(writer_start(f->temp.path, &f->writer, &e), &e);
	change_feed_listen((struct change_listener){.wake = on_wake, .arg = f});
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	writer_free(f->writer);
	change_feed_reset();
	clock_fake_set(-1);
	temp_db_done(&f->temp);
	free(f);
	return 0;
}

struct adding {
	int n;
	int rc; /* what the job ends with */
};

static int add_changes(struct db *db, void *arg, struct err *e)
{
	const struct adding *adding = arg;
	for (int i = 0; i < adding->n; i++) {
		char id[16];
		snprintf(id, sizeof(id), "id-%d", i);
		const struct change change = {
		        .kind = "vm", .event = "created", .object_id = id, .data = "{}"};
		int rc = change_add(db, &change, e);
		if (rc < 0)
			return rc;
	}
	return adding->rc ? err_set(e, adding->rc, "as told") : 0;
}

static void add(struct fixture *f, int n)
{
	struct err e = {0};
	struct adding adding = {.n = n};
	must(writer_run(f->writer, add_changes, &adding, &e), &e);
}

static int do_nothing(struct db *db, void *arg, struct err *e)
{
	(void)db;
	(void)arg;
	(void)e;
	return 0;
}

static void test_commit_wakes_once_however_many_rows(void **state)
{
	struct fixture *f = *state;
	add(f, 10);
	assert_int_equal(f->wakes, 1);
	assert_int_equal(f->seen_at_wake, 10);
	add(f, 1);
	assert_int_equal(f->wakes, 2);
}

static void test_no_rows_no_wake(void **state)
{
	struct fixture *f = *state;
	struct err e = {0};
	struct adding failing = {.n = 3, .rc = ERR_CONFLICT};
	must(writer_run(f->writer, do_nothing, NULL, &e), &e);
	assert_int_equal(writer_run(f->writer, add_changes, &failing, &e), ERR_CONFLICT);
	assert_int_equal(f->wakes, 0);
	assert_int_equal(temp_db_int(&f->temp, "SELECT count(*) FROM change"), 0);
}

static void test_rolled_back_rows_in_a_batch_wake_nobody(void **state)
{
	struct fixture *f = *state;
	struct hold hold;
	struct adding failing = {.n = 3, .rc = ERR_CONFLICT};
	struct recorded other = {.key = "a"};
	hold_writer(&hold, f->writer);
	writer_submit(f->writer, (struct writer_job){.run = add_changes, .arg = &failing});
	submit(f->writer, &other, WRITER_COMMIT);
	let_go(&hold);
	wait_done(&other);
	wait_done(&hold.job);
	assert_int_equal(other.done_rc, 0);
	assert_int_equal(f->wakes, 0);
}

static void test_rolled_back_rows_leave_no_gap(void **state)
{
	struct fixture *f = *state;
	struct err e = {0};
	struct adding failing = {.n = 3, .rc = ERR_CONFLICT};
	add(f, 2);
	assert_int_equal(writer_run(f->writer, add_changes, &failing, &e), ERR_CONFLICT);
	add(f, 1);
	assert_int_equal(temp_db_int(&f->temp, "SELECT max(seq) FROM change"), 3);
	assert_int_equal(temp_db_int(&f->temp, "SELECT count(*) FROM change"), 3);
}

static void test_rows_are_read_in_pages_oldest_first(void **state)
{
	struct fixture *f = *state;
	struct err e = {0};
	struct change_row rows[4];
	size_t n = 0;
	clock_fake_set(1234567);
	add(f, 6);
	struct db *db = temp_db_open(&f->temp, DB_READ_ONLY);
	must(change_read(db, 0, 4, rows, &n, &e), &e);
	assert_int_equal(n, 4);
	assert_int_equal(rows[0].seq, 1);
	assert_int_equal(rows[0].at, 1234567);
	assert_string_equal(rows[0].kind, "vm");
	assert_string_equal(rows[0].event, "created");
	assert_string_equal(rows[0].object_id, "id-0");
	assert_null(rows[0].name);
	assert_string_equal(rows[0].data, "{}");
	for (size_t i = 0; i < n; i++)
		change_row_done(&rows[i]);
	must(change_read(db, 4, 4, rows, &n, &e), &e);
	assert_int_equal(n, 2);
	assert_int_equal(rows[1].seq, 6);
	for (size_t i = 0; i < n; i++)
		change_row_done(&rows[i]);
	must(change_read(db, 6, 4, rows, &n, &e), &e);
	assert_int_equal(n, 0);
	db_close(db);
}

static void test_empty_feed_reads_as_empty(void **state)
{
	struct fixture *f = *state;
	struct err e = {0};
	struct change_row row;
	size_t n = 9;
	int64_t seq = -1;
	struct db *db = temp_db_open(&f->temp, DB_READ_ONLY);
	must(change_read(db, 0, 1, &row, &n, &e), &e);
	assert_int_equal(n, 0);
	must(change_newest(db, &seq, &e), &e);
	assert_int_equal(seq, 0);
	must(change_oldest(db, &seq, &e), &e);
	assert_int_equal(seq, 0);
	db_close(db);
}

static int prune(struct db *db, void *arg, struct err *e)
{
	return change_prune(db, *(const int64_t *)arg, e);
}

static void prune_before(struct fixture *f, int64_t before_ms)
{
	struct err e = {0};
	must(writer_run(f->writer, prune, &before_ms, &e), &e);
}

static void test_pruned_rows_are_gone_not_skipped(void **state)
{
	struct fixture *f = *state;
	struct err e = {0};
	struct change_row rows[8];
	size_t n = 0;
	clock_fake_set(1000);
	add(f, 3);
	clock_fake_set(2000);
	add(f, 3);
	prune_before(f, 2000);
	struct db *db = temp_db_open(&f->temp, DB_READ_ONLY);
	assert_int_equal(change_read(db, 0, 8, rows, &n, &e), ERR_GONE);
	assert_int_equal(change_read(db, 2, 8, rows, &n, &e), ERR_GONE);
	must(change_read(db, 3, 8, rows, &n, &e), &e);
	assert_int_equal(n, 3);
	for (size_t i = 0; i < n; i++)
		change_row_done(&rows[i]);
	db_close(db);
}

static void test_pruning_keeps_the_newest_row(void **state)
{
	struct fixture *f = *state;
	struct err e = {0};
	int64_t seq = 0;
	clock_fake_set(1000);
	add(f, 5);
	prune_before(f, 999999);
	struct db *db = temp_db_open(&f->temp, DB_READ_ONLY);
	must(change_oldest(db, &seq, &e), &e);
	assert_int_equal(seq, 5);
	must(change_newest(db, &seq, &e), &e);
	assert_int_equal(seq, 5);
	db_close(db);
	prune_before(f, 999999);
	add(f, 1);
	assert_int_equal(temp_db_int(&f->temp, "SELECT max(seq) FROM change"), 6);
}

/* A clock that went back must not punch holes: a reader could not tell that it missed something. */
static void test_pruning_removes_only_from_the_start(void **state)
{
	struct fixture *f = *state;
	clock_fake_set(1000);
	add(f, 1);
	clock_fake_set(5000);
	add(f, 1);
	clock_fake_set(1000);
	add(f, 1);
	clock_fake_set(6000);
	add(f, 1);
	prune_before(f, 2000);
	assert_int_equal(temp_db_int(&f->temp, "SELECT min(seq) FROM change"), 2);
	assert_int_equal(temp_db_int(&f->temp, "SELECT count(*) FROM change"), 3);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	        T(test_commit_wakes_once_however_many_rows),
	        T(test_no_rows_no_wake),
	        T(test_rolled_back_rows_in_a_batch_wake_nobody),
	        T(test_rolled_back_rows_leave_no_gap),
	        T(test_rows_are_read_in_pages_oldest_first),
	        T(test_empty_feed_reads_as_empty),
	        T(test_pruned_rows_are_gone_not_skipped),
	        T(test_pruning_keeps_the_newest_row),
	        T(test_pruning_removes_only_from_the_start),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

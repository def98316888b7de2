/* SPDX-License-Identifier: Apache-2.0 */
/* The writer: group commit, isolation of jobs, dry runs, end hooks, stopping, checkpoints. */
#include "tests/unit/db/writer_jobs.h"

#include <sys/stat.h>

#include "base/clock.h"
#include "db/change_feed.h"

struct fixture {
	struct temp_db temp;
	struct writer *writer;
};

static int setup(void **state)
{
	struct err e = {0};
	struct fixture *f = xcalloc(1, sizeof(*f));
	temp_db_init(&f->temp);
	must(writer_start(f->temp.path, &f->writer, &e), &e);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	writer_free(f->writer);
	temp_db_done(&f->temp);
	free(f);
	return 0;
}

static struct writer_stats stats(struct fixture *f)
{
	struct writer_stats s;
	writer_get_stats(f->writer, &s);
	return s;
}

/* Submits them while the writer is held, so that they are one batch, and waits for all. */
static void run_as_batch(struct fixture *f, struct recorded *jobs, size_t n)
{
	struct hold hold;
	hold_writer(&hold, f->writer);
	for (size_t i = 0; i < n; i++)
		submit(f->writer, &jobs[i], WRITER_COMMIT);
	let_go(&hold);
	for (size_t i = 0; i < n; i++)
		wait_done(&jobs[i]);
	wait_done(&hold.job);
}

static void assert_ended_once(const struct recorded *r, bool committed)
{
	assert_int_equal(r->runs, 1);
	assert_int_equal(r->hooks, 1);
	assert_int_equal(r->dones, 1);
	assert_int_equal(r->committed, committed);
	assert_true(r->hook_was_before_done);
}

static void test_committed_job_is_visible_when_done(void **state)
{
	struct fixture *f = *state;
	struct recorded job = {.key = "a"};
	submit(f->writer, &job, WRITER_COMMIT);
	wait_done(&job);
	assert_int_equal(job.done_rc, 0);
	assert_int_equal(job.done_err.code, 0);
	assert_ended_once(&job, true);
	assert_true(has_key(&f->temp, "a"));
}

static void test_waiting_jobs_share_one_transaction(void **state)
{
	struct fixture *f = *state;
	struct recorded jobs[31];
	char keys[31][16];
	for (int i = 0; i < 31; i++) {
		snprintf(keys[i], sizeof(keys[i]), "k%d", i);
		jobs[i] = (struct recorded){.key = keys[i]};
	}
	run_as_batch(f, jobs, 31);
	assert_int_equal(temp_db_int(&f->temp, "SELECT count(*) FROM meta"), 31);
	assert_int_equal(stats(f).jobs, 32);
	assert_int_equal(stats(f).transactions, 2);
	assert_int_equal(stats(f).queue_high, 31);
}

#define SUBMITTERS 32
#define PER_THREAD 50

static void *submit_many(void *arg)
{
	struct fixture *f = arg;
	for (int i = 0; i < PER_THREAD; i++) {
		char key[48];
		snprintf(key, sizeof(key), "%lx-%d", (unsigned long)pthread_self(), i);
		struct recorded job = {.key = key};
		submit(f->writer, &job, WRITER_COMMIT);
		wait_done(&job);
		assert_ended_once(&job, true);
	}
	return NULL;
}

static void test_concurrent_submitters_share_commits(void **state)
{
	struct fixture *f = *state;
	pthread_t threads[SUBMITTERS];
	for (int i = 0; i < SUBMITTERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, submit_many, f), 0);
	for (int i = 0; i < SUBMITTERS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(
	        temp_db_int(&f->temp, "SELECT count(*) FROM meta"), SUBMITTERS * PER_THREAD);
	assert_int_equal(stats(f).jobs, SUBMITTERS * PER_THREAD);
	assert_true(stats(f).transactions < stats(f).jobs / 2);
}

static void test_jobs_run_and_complete_in_order(void **state)
{
	struct fixture *f = *state;
	struct recorded jobs[5] = {0};
	run_as_batch(f, jobs, 5);
	for (int i = 1; i < 5; i++) {
		assert_true(jobs[i].run_number > jobs[i - 1].run_number);
		assert_true(jobs[i].hook_number > jobs[i - 1].hook_number);
		assert_true(jobs[i].done_number > jobs[i - 1].done_number);
	}
	assert_true(jobs[0].hook_number > jobs[4].run_number);
	assert_true(jobs[0].done_number > jobs[4].hook_number);
}

static void test_failing_job_rolls_back_alone(void **state)
{
	struct fixture *f = *state;
	struct recorded jobs[] = {
	        {.key = "first"},
	        {.key = "second", .rc = ERR_CONFLICT, .message = "no room for second"},
	        {.key = "first"}, /* a unique key */
	        {.key = "second"},
	};
	run_as_batch(f, jobs, 4);
	assert_int_equal(jobs[1].done_rc, ERR_CONFLICT);
	assert_string_equal(jobs[1].done_err.message, "no room for second");
	assert_int_equal(jobs[2].done_rc, ERR_EXISTS);
	assert_ended_once(&jobs[0], true);
	assert_ended_once(&jobs[1], false);
	assert_ended_once(&jobs[2], false);
	assert_ended_once(&jobs[3], true);
	assert_true(has_key(&f->temp, "first"));
	assert_true(has_key(&f->temp, "second"));
	assert_int_equal(stats(f).failed_jobs, 2);
	assert_int_equal(stats(f).transactions, 2);
}

/* What the next job decides by must not include what was just taken back. */
static void test_hook_of_a_failed_job_runs_before_the_next_job(void **state)
{
	struct fixture *f = *state;
	struct recorded jobs[] = {{.rc = ERR_CONFLICT}, {0}};
	run_as_batch(f, jobs, 2);
	assert_true(jobs[0].hook_number < jobs[1].run_number);
}

struct two_hooks {
	int order[2];
	int n;
};

static void note_first(void *arg, bool committed)
{
	struct two_hooks *h = arg;
	(void)committed;
	h->order[h->n++] = 1;
}

static void note_second(void *arg, bool committed)
{
	struct two_hooks *h = arg;
	(void)committed;
	h->order[h->n++] = 2;
}

static int register_two(struct db *db, void *arg, struct err *e)
{
	(void)e;
	db_on_end(db, note_first, arg);
	db_on_end(db, note_second, arg);
	return 0;
}

static int register_two_and_fail(struct db *db, void *arg, struct err *e)
{
	register_two(db, arg, e);
	return err_set(e, ERR_CONFLICT, "as told");
}

static void test_hooks_run_in_order_or_undo_in_reverse(void **state)
{
	struct fixture *f = *state;
	struct err e = {0};
	struct two_hooks kept = {0}, undone = {0};
	must(writer_run(f->writer, register_two, &kept, &e), &e);
	assert_int_equal(writer_run(f->writer, register_two_and_fail, &undone, &e), ERR_CONFLICT);
	assert_int_equal(kept.n, 2);
	assert_int_equal(kept.order[0], 1);
	assert_int_equal(undone.n, 2);
	assert_int_equal(undone.order[0], 2);
}

static void test_error_without_words_gets_the_title(void **state)
{
	struct fixture *f = *state;
	struct recorded job = {.rc = ERR_BUSY};
	submit(f->writer, &job, WRITER_COMMIT);
	wait_done(&job);
	assert_int_equal(job.done_err.code, ERR_BUSY);
	assert_string_equal(job.done_err.message, err_info(ERR_BUSY)->title);
}

static void test_dry_run_leaves_nothing_but_its_result(void **state)
{
	struct fixture *f = *state;
	struct recorded good = {.key = "a"};
	struct recorded bad = {.key = "b", .rc = ERR_NO_CAPACITY, .message = "4 asked, 2 free"};
	submit(f->writer, &good, WRITER_DRY_RUN);
	submit(f->writer, &bad, WRITER_DRY_RUN);
	wait_done(&good);
	wait_done(&bad);
	assert_true(good.was_dry_run);
	assert_int_equal(good.done_rc, 0);
	assert_int_equal(bad.done_rc, ERR_NO_CAPACITY);
	assert_string_equal(bad.done_err.message, "4 asked, 2 free");
	assert_ended_once(&good, false);
	assert_ended_once(&bad, false);
	assert_int_equal(temp_db_int(&f->temp, "SELECT count(*) FROM meta"), 0);
}

static void test_dry_run_in_a_batch_leaves_the_others_alone(void **state)
{
	struct fixture *f = *state;
	struct hold hold;
	struct recorded before = {.key = "a"}, dry = {.key = "b"}, after = {.key = "c"};
	hold_writer(&hold, f->writer);
	submit(f->writer, &before, WRITER_COMMIT);
	submit(f->writer, &dry, WRITER_DRY_RUN);
	submit(f->writer, &after, WRITER_COMMIT);
	let_go(&hold);
	wait_done(&before);
	wait_done(&dry);
	wait_done(&after);
	wait_done(&hold.job);
	assert_false(after.was_dry_run);
	assert_true(has_key(&f->temp, "a"));
	assert_false(has_key(&f->temp, "b"));
	assert_true(has_key(&f->temp, "c"));
}

/* Ends the transaction under the writer's feet, as SQLite does itself on some errors. */
static void test_lost_transaction_fails_its_jobs_and_the_rest_goes_on(void **state)
{
	struct fixture *f = *state;
	struct recorded jobs[] = {
	        {.key = "before"},
	        {.key = "broken", .rc = ERR_CONFLICT},
	        {.key = "culprit",
	                .then = "ROLLBACK",
	                .rc = ERR_DATABASE,
	                .message = "disk I/O error"},
	        {.key = "after"},
	};
	run_as_batch(f, jobs, 4);
	assert_int_equal(jobs[0].done_rc, ERR_DATABASE);
	assert_non_null(strstr(jobs[0].done_err.message, "disk I/O error"));
	assert_int_equal(jobs[1].done_rc, ERR_CONFLICT);
	assert_int_equal(jobs[2].done_rc, ERR_DATABASE);
	assert_int_equal(jobs[3].done_rc, 0);
	assert_ended_once(&jobs[0], false);
	assert_ended_once(&jobs[1], false);
	assert_ended_once(&jobs[2], false);
	assert_ended_once(&jobs[3], true);
	assert_int_equal(temp_db_int(&f->temp, "SELECT count(*) FROM meta"), 1);
	assert_true(has_key(&f->temp, "after"));
}

/* Foreign keys that are checked at the end make COMMIT itself fail and leave the transaction open.
 */
static void test_failing_commit_fails_the_batch(void **state)
{
	struct fixture *f = *state;
	struct recorded jobs[] = {
	        {.key = "a",
	                .then = "PRAGMA defer_foreign_keys = ON;"
	                        "INSERT INTO vm_nic VALUES ('nobody', 'eth0', "
	                        "'52:54:00:00:00:01')"},
	        {.key = "b"},
	        {.key = "c", .rc = ERR_CONFLICT},
	};
	run_as_batch(f, jobs, 3);
	assert_true(jobs[0].done_rc < 0);
	assert_int_equal(jobs[1].done_rc, jobs[0].done_rc);
	assert_int_equal(jobs[2].done_rc, ERR_CONFLICT);
	for (int i = 0; i < 3; i++)
		assert_ended_once(&jobs[i], false);
	struct recorded next = {.key = "d"};
	submit(f->writer, &next, WRITER_COMMIT);
	wait_done(&next);
	assert_ended_once(&next, true);
	assert_int_equal(temp_db_int(&f->temp, "SELECT count(*) FROM meta"), 1);
}

static void test_stop_runs_what_is_queued_and_refuses_the_rest(void **state)
{
	struct fixture *f = *state;
	struct recorded jobs[20];
	char keys[20][16];
	for (int i = 0; i < 20; i++) {
		snprintf(keys[i], sizeof(keys[i]), "k%d", i);
		jobs[i] = (struct recorded){.key = keys[i]};
		submit(f->writer, &jobs[i], WRITER_COMMIT);
	}
	writer_stop(f->writer);
	for (int i = 0; i < 20; i++)
		assert_ended_once(&jobs[i], true);
	struct recorded late = {.key = "late"};
	submit(f->writer, &late, WRITER_COMMIT);
	assert_int_equal(late.dones, 1);
	assert_int_equal(late.runs, 0);
	assert_int_equal(late.done_rc, ERR_UNAVAILABLE);
	struct err e = {0};
	struct recorded later = {0};
	assert_int_equal(writer_run(f->writer, run_recorded, &later, &e), ERR_UNAVAILABLE);
	assert_int_equal(temp_db_int(&f->temp, "SELECT count(*) FROM meta"), 20);
}

static void test_stop_leaves_no_wal_behind(void **state)
{
	struct fixture *f = *state;
	struct recorded job = {.key = "a"};
	char wal[128];
	snprintf(wal, sizeof(wal), "%s-wal", f->temp.path);
	submit(f->writer, &job, WRITER_COMMIT);
	wait_done(&job);
	writer_stop(f->writer);
	assert_int_not_equal(access(wal, F_OK), 0);
}

static int insert_big(struct db *db, void *arg, struct err *e)
{
	(void)arg;
	return db_exec(db, "INSERT INTO meta VALUES (hex(randomblob(8)), hex(zeroblob(50000)))", e);
}

static int64_t wal_bytes(struct fixture *f)
{
	struct stat st;
	char wal[128];
	snprintf(wal, sizeof(wal), "%s-wal", f->temp.path);
	return stat(wal, &st) == 0 ? st.st_size : 0;
}

static void test_wal_stays_small_under_load(void **state)
{
	struct fixture *f = *state;
	struct err e = {0};
	for (int i = 0; i < 300; i++) /* 30 MB */
		must(writer_run(f->writer, insert_big, NULL, &e), &e);
	assert_true(wal_bytes(f) < 6 << 20);
	int64_t checkpoints = stats(f).checkpoints;
	assert_true(checkpoints >= 5 && checkpoints <= 20);
}

/* A reader that stays in its state keeps the WAL from starting anew; it must not cost a try per
 * commit. */
static void test_slow_reader_does_not_cause_a_checkpoint_per_commit(void **state)
{
	struct fixture *f = *state;
	struct err e = {0};
	struct db *reader = temp_db_open(&f->temp, DB_READ_ONLY);
	int64_t n;
	must(db_exec(reader, "BEGIN", &e), &e);
	must(db_query_int(reader, "SELECT count(*) FROM meta", &n, &e), &e);
	for (int i = 0; i < 150; i++) /* 15 MB */
		must(writer_run(f->writer, insert_big, NULL, &e), &e);
	assert_true(stats(f).checkpoints <= 10);
	must(db_exec(reader, "COMMIT", &e), &e);
	db_close(reader);
}

static void test_idle_writer_checkpoints_what_is_left(void **state)
{
	struct fixture *f = *state;
	struct recorded job = {.key = "a"};
	submit(f->writer, &job, WRITER_COMMIT);
	wait_done(&job);
	assert_int_equal(stats(f).checkpoints, 0);
	int64_t deadline = clock_now_ms() + 20000;
	while (stats(f).checkpoints == 0 && clock_now_ms() < deadline)
		usleep(10000);
	assert_int_equal(stats(f).checkpoints, 1);
}

static void test_start_fails_with_the_path_of_a_missing_directory(void **state)
{
	(void)state;
	struct err e = {0};
	struct writer *w = NULL;
	assert_true(writer_start("/nonexistent/berth.db", &w, &e) < 0);
	assert_non_null(strstr(e.message, "/nonexistent/berth.db"));
	assert_null(w);
	writer_free(NULL);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	        T(test_committed_job_is_visible_when_done),
	        T(test_waiting_jobs_share_one_transaction),
	        T(test_concurrent_submitters_share_commits),
	        T(test_jobs_run_and_complete_in_order),
	        T(test_failing_job_rolls_back_alone),
	        T(test_hook_of_a_failed_job_runs_before_the_next_job),
	        T(test_hooks_run_in_order_or_undo_in_reverse),
	        T(test_error_without_words_gets_the_title),
	        T(test_dry_run_leaves_nothing_but_its_result),
	        T(test_dry_run_in_a_batch_leaves_the_others_alone),
	        T(test_lost_transaction_fails_its_jobs_and_the_rest_goes_on),
	        T(test_failing_commit_fails_the_batch),
	        T(test_stop_runs_what_is_queued_and_refuses_the_rest),
	        T(test_stop_leaves_no_wal_behind),
	        T(test_wal_stays_small_under_load),
	        T(test_slow_reader_does_not_cause_a_checkpoint_per_commit),
	        T(test_idle_writer_checkpoints_what_is_left),
	        cmocka_unit_test(test_start_fails_with_the_path_of_a_missing_directory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

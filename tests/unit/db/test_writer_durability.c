/* SPDX-License-Identifier: Apache-2.0 */
/* What the writer promises when the disk fails, and when the process is killed. */
#include "tests/unit/db/writer_jobs.h"

#include <signal.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "tests/unit/db/fault_vfs.h"

static void start(const struct temp_db *temp, struct writer **ret_writer)
{
	struct err e = {0};
	must(writer_start(temp->path, ret_writer, &e), &e);
}

static void note_unsynced(void *arg, bool committed)
{
	if (committed)
		atomic_fetch_add((atomic_int *)arg, atomic_load(&fault.unsynced));
}

static int insert_and_look(struct db *db, void *arg, struct err *e)
{
	db_on_end(db, note_unsynced, arg);
	return db_exec(db, "INSERT INTO meta VALUES (hex(randomblob(8)), '')", e);
}

static void test_nothing_is_called_committed_before_it_is_synced(void **state)
{
	(void)state;
	struct temp_db temp;
	struct writer *w = NULL;
	struct err e = {0};
	atomic_int unsynced = 0;
	temp_db_init(&temp);
	start(&temp, &w);
	int syncs = atomic_load(&fault.wal_syncs);
	for (int i = 0; i < 20; i++)
		must(writer_run(w, insert_and_look, &unsynced, &e), &e);
	assert_int_equal(unsynced, 0);
	assert_true(atomic_load(&fault.wal_syncs) - syncs >= 20);
	writer_free(w);
	temp_db_done(&temp);
}

/* Three jobs in one transaction while the nth write or sync fails; false if none did any more. */
static bool fail_nth_call(int nth, int error, bool keeps_going)
{
	struct temp_db temp;
	struct writer *w = NULL;
	struct hold hold;
	struct recorded jobs[] = {{.key = "a"}, {.key = "b", .rc = ERR_CONFLICT}, {.key = "c"}};
	temp_db_init(&temp);
	start(&temp, &w);
	hold_writer(&hold, w);
	for (size_t i = 0; i < ARRAY_LEN(jobs); i++)
		submit(w, &jobs[i], WRITER_COMMIT);
	fault_arm(nth, error, keeps_going);
	let_go(&hold);
	for (size_t i = 0; i < ARRAY_LEN(jobs); i++)
		wait_done(&jobs[i]);
	wait_done(&hold.job);
	bool fired = atomic_load(&fault.fired) > 0;
	fault_disarm();

	struct recorded next = {.key = "next"};
	submit(w, &next, WRITER_COMMIT);
	wait_done(&next);
	assert_int_equal(next.done_rc, 0);
	writer_free(w);
	for (size_t i = 0; i < ARRAY_LEN(jobs); i++) {
		const struct recorded *job = &jobs[i];
		assert_int_equal(job->hooks, job->runs);
		assert_int_equal(job->dones, 1);
		assert_int_equal(job->committed, job->done_rc == 0);
		assert_int_equal(has_key(&temp, job->key), job->done_rc == 0);
	}
	assert_int_equal(jobs[0].done_rc, jobs[2].done_rc);
	if (fired)
		assert_int_equal(jobs[0].done_rc,
		        error == SQLITE_FULL && jobs[0].done_err.source_code == error
		                ? ERR_DISK_FULL
		                : ERR_DATABASE);
	temp_db_done(&temp);
	return fired;
}

static void fail_every_call(int error, bool keeps_going)
{
	int nth = 1;
	while (fail_nth_call(nth, error, keeps_going))
		nth++;
	assert_true(nth > 2); /* at least a write and a sync were tried */
}

static void test_answers_are_true_whichever_write_or_sync_fails(void **state)
{
	(void)state;
	fail_every_call(SQLITE_IOERR_WRITE, /* keeps_going= */ false);
	fail_every_call(SQLITE_IOERR_WRITE, /* keeps_going= */ true);
}

static void test_answers_are_true_whenever_the_disk_is_full(void **state)
{
	(void)state;
	fail_every_call(SQLITE_FULL, /* keeps_going= */ false);
	fail_every_call(SQLITE_FULL, /* keeps_going= */ true);
}

/* ---- kill -9 ---- */

#define KILLS     20
#define IN_FLIGHT 4

struct numbered {
	int64_t number;
	int pipe;
	sem_t *room;
};

static int insert_number(struct db *db, void *arg, struct err *e)
{
	char key[32];
	snprintf(key, sizeof(key), "%lld", (long long)((struct numbered *)arg)->number);
	return insert_key(db, key, e);
}

static void print_number(void *arg, int rc, const struct err *e)
{
	struct numbered *n = arg;
	(void)e;
	if (rc < 0 || write(n->pipe, &n->number, sizeof(n->number)) != sizeof(n->number))
		_exit(1);
	sem_post(n->room);
	free(n);
}

static _Noreturn void write_until_killed(const char *path, int64_t first, int pipe)
{
	struct err e = {0};
	struct writer *w = NULL;
	sem_t room;
	sem_init(&room, 0, IN_FLIGHT);
	if (writer_start(path, &w, &e) < 0)
		_exit(2);
	for (int64_t number = first;; number++) {
		struct numbered *n = xcalloc(1, sizeof(*n));
		*n = (struct numbered){.number = number, .pipe = pipe, .room = &room};
		sem_wait(&room);
		writer_submit(w,
		        (struct writer_job){.run = insert_number, .done = print_number, .arg = n});
	}
}

/* Reads what the child has printed: until `n` numbers, then it kills it and reads the rest. Returns
 * the last. */
static int64_t read_then_kill(pid_t child, int pipe, int n)
{
	int64_t number = -1, last = -1;
	for (int i = 0; read(pipe, &number, sizeof(number)) == sizeof(number); i++) {
		if (i == n)
			kill(child, SIGKILL);
		assert_true(last < 0 || number == last + 1);
		last = number;
	}
	int status = 0;
	waitpid(child, &status, 0);
	assert_true(WIFSIGNALED(status));
	return last;
}

static void assert_all_present(const struct temp_db *temp, int64_t last)
{
	char sql[128];
	snprintf(sql, sizeof(sql), "SELECT count(*) FROM meta WHERE CAST(key AS INTEGER) <= %lld",
	        (long long)last);
	assert_int_equal(temp_db_int(temp, sql), last);
	assert_int_equal(
	        temp_db_int(temp, "SELECT count(*) = max(CAST(key AS INTEGER)) FROM meta"), 1);
	assert_int_equal(temp_db_int(temp, "SELECT count(*) FROM pragma_integrity_check "
	                                   "WHERE integrity_check = 'ok'"),
	        1);
}

static void test_every_answered_row_survives_kill_9(void **state)
{
	(void)state;
	struct temp_db temp;
	int64_t next = 1;
	temp_db_init(&temp);
	unsigned seed = 7;
	for (int i = 0; i < KILLS; i++) {
		int pipes[2];
		assert_int_equal(pipe(pipes), 0);
		pid_t child = fork();
		if (child == 0) {
			close(pipes[0]);
			write_until_killed(temp.path, next, pipes[1]);
		}
		close(pipes[1]);
		int64_t last = read_then_kill(child, pipes[0], rand_r(&seed) % 150);
		close(pipes[0]);
		assert_true(last >= next);
		assert_all_present(&temp, last);
		next = temp_db_int(&temp, "SELECT max(CAST(key AS INTEGER)) FROM meta") + 1;
	}
	temp_db_done(&temp);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_nothing_is_called_committed_before_it_is_synced),
	        cmocka_unit_test(test_answers_are_true_whichever_write_or_sync_fails),
	        cmocka_unit_test(test_answers_are_true_whenever_the_disk_is_full),
	        cmocka_unit_test(test_every_answered_row_survives_kill_9),
	};
	fault_install();
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the database floor costs beside its floors, measured in one run: a bare durable commit by
 * SQLite alone against a writer job with 1 and with 32 submitters; one row, and a page of 100.
 * Prints key=value lines.
 *
 *	bench_db [DIRECTORY]       default: the temporary directory; it should lie on the disk that
 * counts
 */
#include <pthread.h>
#include <semaphore.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "db/migrations.h"
#include "db/reader.h"
#include "db/writer.h"

#define COMMITS       1000
#define SUBMITTERS    32
#define PER_SUBMITTER 200
#define SELECTS       200000
#define PAGES         5000
#define ROWS          1000

static _Noreturn void die(const char *what, const struct err *e)
{
	fprintf(stderr, "bench_db: %s: %s\n", what, e->message);
	exit(1);
}

static int compare(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

struct times {
	double p50_us, p99_us;
};

static struct times summarize(double *samples, size_t n)
{
	qsort(samples, n, sizeof(samples[0]), compare);
	return (struct times){.p50_us = samples[n / 2], .p99_us = samples[n * 99 / 100]};
}

static double us_since(int64_t start_ns)
{
	return (double)(clock_now_ns() - start_ns) / 1000;
}

static double cpu_us(void)
{
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

#define INSERT_SQL                                                                                 \
	"INSERT INTO idempotency (principal, key, digest, status, body, created_at) "              \
	"VALUES ('bench', ?, x'00', 201, '{\"name\":\"vm-1\",\"state\":\"running\"}', 1)"

/* ---- the floor: SQLite with the same settings and row, and nothing else ---- */

static void check_sqlite(sqlite3 *handle, int rc)
{
	if (rc == SQLITE_OK || rc == SQLITE_DONE || rc == SQLITE_ROW)
		return;
	fprintf(stderr, "bench_db: %s\n", sqlite3_errmsg(handle));
	exit(1);
}

static struct times bench_bare_commit(const char *path)
{
	static double samples[COMMITS];
	sqlite3 *handle;
	sqlite3_stmt *insert;
	check_sqlite(NULL, sqlite3_open(path, &handle));
	check_sqlite(handle, sqlite3_exec(handle, "PRAGMA synchronous = FULL", NULL, NULL, NULL));
	check_sqlite(handle, sqlite3_prepare_v2(handle, INSERT_SQL, -1, &insert, NULL));
	for (int i = 0; i < COMMITS; i++) {
		int64_t start_ns = clock_now_ns();
		sqlite3_bind_int(insert, 1, i);
		check_sqlite(handle, sqlite3_step(insert));
		sqlite3_reset(insert);
		samples[i] = us_since(start_ns);
	}
	sqlite3_finalize(insert);
	sqlite3_close(handle);
	return summarize(samples, COMMITS);
}

/* ---- the writer ---- */

static int insert_row(struct db *db, void *arg, struct err *e)
{
	struct statement *s = NULL;
	int rc = db_prepare(db, INSERT_SQL, &s, e);
	if (rc < 0)
		return rc;
	statement_bind_text(s, 1, arg);
	rc = statement_run(s, e);
	statement_done(&s);
	return rc;
}

static struct times bench_one_submitter(struct writer *w)
{
	static double samples[COMMITS];
	struct err e = {0};
	for (int i = 0; i < COMMITS; i++) {
		char key[32];
		snprintf(key, sizeof(key), "one-%d", i);
		int64_t start_ns = clock_now_ns();
		if (writer_run(w, insert_row, key, &e) < 0)
			die("insert", &e);
		samples[i] = us_since(start_ns);
	}
	return summarize(samples, COMMITS);
}

struct submitter {
	pthread_t thread;
	struct writer *writer;
	int number;
	double samples[PER_SUBMITTER];
};

static void *submitter_main(void *arg)
{
	struct submitter *s = arg;
	struct err e = {0};
	for (int i = 0; i < PER_SUBMITTER; i++) {
		char key[48];
		snprintf(key, sizeof(key), "many-%d-%d", s->number, i);
		int64_t start_ns = clock_now_ns();
		if (writer_run(s->writer, insert_row, key, &e) < 0)
			die("insert", &e);
		s->samples[i] = us_since(start_ns);
	}
	return NULL;
}

static struct times bench_many_submitters(struct writer *w, double *ret_us_per_job)
{
	static struct submitter submitters[SUBMITTERS];
	static double samples[SUBMITTERS * PER_SUBMITTER];
	int64_t start_ns = clock_now_ns();
	for (int i = 0; i < SUBMITTERS; i++) {
		submitters[i].writer = w;
		submitters[i].number = i;
		pthread_create(&submitters[i].thread, NULL, submitter_main, &submitters[i]);
	}
	for (int i = 0; i < SUBMITTERS; i++) {
		pthread_join(submitters[i].thread, NULL);
		memcpy(samples + (ptrdiff_t)i * PER_SUBMITTER, submitters[i].samples,
		        sizeof(submitters[i].samples));
	}
	*ret_us_per_job = us_since(start_ns) / (SUBMITTERS * PER_SUBMITTER);
	return summarize(samples, SUBMITTERS * PER_SUBMITTER);
}

static void bench_writes(const char *path)
{
	struct err e = {0};
	struct writer *w = NULL;
	struct times bare = bench_bare_commit(path);
	if (writer_start(path, &w, &e) < 0)
		die("writer", &e);
	double cpu_before_us = cpu_us();
	struct times one = bench_one_submitter(w);
	double cpu_per_job_us = (cpu_us() - cpu_before_us) / COMMITS;
	struct writer_stats before, after;
	double us_per_job;
	writer_get_stats(w, &before);
	struct times many = bench_many_submitters(w, &us_per_job);
	writer_get_stats(w, &after);
	writer_free(w);
	double per_transaction = (double)(after.jobs - before.jobs) /
	                         (double)(after.transactions - before.transactions);
	printf("bare_commit_p50_us=%.1f bare_commit_p99_us=%.1f\n", bare.p50_us, bare.p99_us);
	printf("job_1_submitter_p50_us=%.1f job_1_submitter_p99_us=%.1f cpu_per_job_us=%.1f\n",
	        one.p50_us, one.p99_us, cpu_per_job_us);
	printf("job_32_submitters_p50_us=%.1f job_32_submitters_p99_us=%.1f\n", many.p50_us,
	        many.p99_us);
	printf("job_32_submitters_us_per_job=%.1f jobs_per_transaction=%.1f\n", us_per_job,
	        per_transaction);
	printf("ratio_job_1_submitter_to_bare_commit=%.2f\n", one.p50_us / bare.p50_us);
	printf("ratio_job_32_submitters_to_bare_commit=%.2f\n", many.p50_us / bare.p50_us);
	printf("ratio_throughput_32_submitters_to_bare_commit=%.1f\n", bare.p50_us / us_per_job);
}

/* ---- reads ---- */

#define ONE_SQL                                                                                    \
	"SELECT principal, key, status, body, created_at FROM idempotency WHERE principal = ? "    \
	"AND key = ?"
#define PAGE_SQL                                                                                   \
	"SELECT principal, key, status, body, created_at FROM idempotency "                        \
	"WHERE principal = ? AND key > ? ORDER BY key LIMIT 100"

static double bench_bare_select(const char *path, const char *sql, const char *key, int n)
{
	sqlite3 *handle;
	sqlite3_stmt *s;
	check_sqlite(NULL,
	        sqlite3_open_v2(path, &handle, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL));
	check_sqlite(handle, sqlite3_prepare_v2(handle, sql, -1, &s, NULL));
	int64_t start_ns = clock_now_ns();
	for (int i = 0; i < n; i++) {
		sqlite3_bind_text(s, 1, "bench", -1, SQLITE_STATIC);
		sqlite3_bind_text(s, 2, key, -1, SQLITE_STATIC);
		while (sqlite3_step(s) == SQLITE_ROW)
			for (int column = 0; column < 5; column++)
				sqlite3_column_text(s, column);
		sqlite3_reset(s);
	}
	double each_us = us_since(start_ns) / n;
	sqlite3_finalize(s);
	sqlite3_close(handle);
	return each_us;
}

static void select_once(struct db *db, const char *sql, const char *key)
{
	struct err e = {0};
	struct statement *s = NULL;
	if (db_prepare(db, sql, &s, &e) < 0)
		die("select", &e);
	statement_bind_text(s, 1, "bench");
	statement_bind_text(s, 2, key);
	while (statement_step(s, &e) == 1)
		for (int column = 0; column < 5; column++)
			statement_text(s, column);
	statement_done(&s);
}

static double bench_select(struct readers *readers, const char *sql, const char *key, int n)
{
	struct err e = {0};
	int64_t start_ns = clock_now_ns();
	for (int i = 0; i < n; i++) {
		struct db *db = NULL;
		if (readers_get(readers, &db, &e) < 0)
			die("reader", &e);
		select_once(db, sql, key);
	}
	return us_since(start_ns) / n;
}

static void bench_reads(const char *path)
{
	struct readers *readers = readers_new(path);
	double bare_one = bench_bare_select(path, ONE_SQL, "one-500", SELECTS);
	double one = bench_select(readers, ONE_SQL, "one-500", SELECTS);
	double bare_page = bench_bare_select(path, PAGE_SQL, "one-100", PAGES);
	double page = bench_select(readers, PAGE_SQL, "one-100", PAGES);
	readers_free(readers);
	printf("bare_select_one_us=%.2f select_one_us=%.2f\n", bare_one, one);
	printf("ratio_select_one_to_bare=%.2f\n", one / bare_one);
	printf("bare_select_page_us=%.1f select_page_us=%.1f\n", bare_page, page);
	printf("ratio_select_page_to_bare=%.2f\n", page / bare_page);
}

int main(int argc, char **argv)
{
	const char *base = argc > 1 ? argv[1] : getenv("TMPDIR");
	char dir[256], path[300];
	struct err e = {0};
	snprintf(dir, sizeof(dir), "%s/berth-bench-XXXXXX", base ? base : "/tmp");
	if (!mkdtemp(dir)) {
		perror(dir);
		return 1;
	}
	snprintf(path, sizeof(path), "%s/bench.db", dir);
	log_init(LOG_LEVEL_WARNING);
	if (migrations_apply(path, migrations_embedded, &e) < 0)
		die("migrations", &e);
	bench_writes(path);
	bench_reads(path);
	unlink(path);
	char side[320];
	snprintf(side, sizeof(side), "%s-wal", path);
	unlink(side);
	snprintf(side, sizeof(side), "%s-shm", path);
	unlink(side);
	rmdir(dir);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs for the writer's tests: each adds a row and records everything that is done to it. */
#pragma once

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <time.h>

#include "db/writer.h"
#include "tests/unit/db/temp_db.h"

struct recorded {
	/* What it shall do: */
	const char *key;     /* adds this row to table meta; NULL: none */
	const char *then;    /* SQL run after it, its failure ignored; NULL: none */
	int rc;              /* and ends with this */
	const char *message; /* and this text; NULL: none */
	sem_t *gate;         /* after signalling `entered`, waits for it */
	sem_t *entered;
	/* What was done to it: */
	int runs, hooks, dones;
	bool committed; /* as the hook was told */
	bool hook_was_before_done;
	bool was_dry_run;
	int done_rc;
	struct err done_err;
	int run_number, hook_number, done_number; /* places in the order of all such events */
	sem_t done;
};

static atomic_int event_number;

static inline void recorded_init(struct recorded *r)
{
	sem_init(&r->done, 0, 0);
}

static void on_recorded_end(void *arg, bool committed)
{
	struct recorded *r = arg;
	r->hooks++;
	r->committed = committed;
	r->hook_was_before_done = r->dones == 0;
	r->hook_number = atomic_fetch_add(&event_number, 1);
}

static int insert_key(struct db *db, const char *key, struct err *e)
{
	struct statement *s = NULL;
	int rc = db_prepare(db, "INSERT INTO meta (key, value) VALUES (?, '')", &s, e);
	if (rc < 0)
		return rc;
	statement_bind_text(s, 1, key);
	rc = statement_run(s, e);
	statement_done(&s);
	return rc;
}

static int run_recorded(struct db *db, void *arg, struct err *e)
{
	struct recorded *r = arg;
	r->runs++;
	r->run_number = atomic_fetch_add(&event_number, 1);
	r->was_dry_run = db_is_dry_run(db);
	if (r->entered)
		sem_post(r->entered);
	if (r->gate)
		sem_wait(r->gate);
	db_on_end(db, on_recorded_end, r);
	int rc = r->key ? insert_key(db, r->key, e) : 0;
	if (rc < 0)
		return rc;
	if (r->then)
		db_exec(db, r->then, NULL);
	if (r->rc < 0 && r->message)
		return err_set(e, r->rc, "%s", r->message);
	return r->rc;
}

static void on_recorded_done(void *arg, int rc, const struct err *e)
{
	struct recorded *r = arg;
	r->dones++;
	r->done_rc = rc;
	r->done_err = *e;
	r->done_number = atomic_fetch_add(&event_number, 1);
	sem_post(&r->done);
}

static inline void submit(struct writer *w, struct recorded *r, enum writer_mode mode)
{
	recorded_init(r);
	writer_submit(
	        w, (struct writer_job){
	                   .run = run_recorded, .done = on_recorded_done, .arg = r, .mode = mode});
}

static inline void wait_done(struct recorded *r)
{
	while (sem_wait(&r->done) != 0)
		;
}

/* Holds the writer inside a job of its own, so that everything submitted meanwhile becomes one
 * batch. */
struct hold {
	sem_t gate, entered;
	struct recorded job;
};

static inline void hold_writer(struct hold *hold, struct writer *w)
{
	*hold = (struct hold){0};
	sem_init(&hold->gate, 0, 0);
	sem_init(&hold->entered, 0, 0);
	hold->job.gate = &hold->gate;
	hold->job.entered = &hold->entered;
	submit(w, &hold->job, WRITER_COMMIT);
	sem_wait(&hold->entered);
}

static inline void let_go(struct hold *hold)
{
	sem_post(&hold->gate);
}

static inline bool has_key(const struct temp_db *temp, const char *key)
{
	char sql[128];
	snprintf(sql, sizeof(sql), "SELECT count(*) FROM meta WHERE key = '%s'", key);
	return temp_db_int(temp, sql) == 1;
}

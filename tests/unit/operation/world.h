/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A world for tests of operations: a real database file, a real writer, a real loop, an engine, and
 * kinds whose steps do what the test scripts. The test's thread owns the loop.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "base/vec.h"
#include "db/migrations.h"
#include "operation/operation.h"
#include "operation/operation_store.h"

#define WORLD_PATIENCE_MS 20000 /* how long a test waits before it fails */

/* What a step does. Looked up by "TARGET/run STEP" or "TARGET/undo STEP"; without one it succeeds.
 */
struct behaviour {
	char key[96];
	int code;  /* fail with it ... */
	int times; /* ... so often; -1: always */
	bool hold; /* wait for world_release */
	bool sync; /* answer inside the call */
	bool done_on_cancel;
	int (*store)(struct db *db, void *arg, struct err *e);
};

struct held {
	struct operation *op;
	char key[96];
};

struct world {
	char dir[64];
	char path[96];
	struct loop *loop;
	struct writer *writer;
	struct operation_engine *engine;
	struct db *db; /* read only */
	VEC(struct behaviour) script;
	VEC(struct held) held;
	struct str trace; /* "TARGET/run a;TARGET/undo a;" */
	void (*on_call)(struct world *w, struct operation *op, const char *key);
	int released; /* store arguments given back */
	bool timed_out;
};

static inline struct behaviour *world_script(struct world *w, const char *key)
{
	VEC_FOR_EACH (&w->script, b)
		if (strcmp(b->key, key) == 0)
			return b;
	struct behaviour fresh = {0};
	snprintf(fresh.key, sizeof(fresh.key), "%s", key);
	VEC_PUSH(&w->script, fresh);
	return &w->script.items[w->script.len - 1];
}

static inline void world_fail(struct world *w, const char *key, int code, int times)
{
	struct behaviour *b = world_script(w, key);
	b->code = code;
	b->times = times;
}

static inline void world_hold(struct world *w, const char *key)
{
	world_script(w, key)->hold = true;
}

static inline void world_release_store(void *arg)
{
	struct world *w = arg;
	w->released++;
}

static inline void world_answer(struct world *w, struct operation *op, const char *key)
{
	struct behaviour *b = world_script(w, key);
	struct err e;
	if (b->code && b->times != 0) {
		if (b->times > 0)
			b->times--;
		err_set(&e, b->code, "scripted failure of %s", key);
		operation_step_done(op, b->code, &e);
	} else if (b->store) {
		operation_step_done_storing(op, b->store, w, world_release_store);
	} else {
		operation_step_done(op, 0, NULL);
	}
}

struct answer_later {
	struct world *w;
	struct operation *op;
	char key[96];
};

static inline void world_answer_posted(void *arg)
{
	struct answer_later *later = arg;
	world_answer(later->w, later->op, later->key);
	free(later);
}

static inline void world_call(struct operation *op, const char *step)
{
	struct world *w = operation_context(op);
	char key[96];
	snprintf(key, sizeof(key), "%s/%s %s", operation_target_id(op),
	        operation_is_undoing(op) ? "undo" : "run", step);
	str_printf(&w->trace, "%s;", key);
	if (w->on_call)
		w->on_call(w, op, key);
	struct behaviour *b = world_script(w, key);
	if (b->hold) {
		struct held held = {.op = op};
		memcpy(held.key, key, sizeof(key));
		VEC_PUSH(&w->held, held);
	} else if (b->sync) {
		world_answer(w, op, key);
	} else {
		struct answer_later *later = xcalloc(1, sizeof(*later));
		later->w = w;
		later->op = op;
		memcpy(later->key, key, sizeof(key));
		loop_post(w->loop, world_answer_posted, later);
	}
}

#define WORLD_STEP(name)                                                                           \
	static void step_##name(struct operation *op)                                              \
	{                                                                                          \
		world_call(op, #name);                                                             \
	}
WORLD_STEP(a)
WORLD_STEP(b)
WORLD_STEP(c)
WORLD_STEP(d)

/* Counts how often an operation ended: the key's value grows by one letter each time. */
static int world_finish(struct db *db, const struct operation *op, enum operation_state outcome,
        const struct err *error, struct err *e)
{
	assert_true((outcome == OPERATION_SUCCEEDED) == (error == NULL));
	CLEANUP(statement_done) struct statement *s = NULL;
	int rc = db_prepare(db,
	        "INSERT INTO meta (key, value) VALUES (?, ?) "
	        "ON CONFLICT (key) DO UPDATE SET value = value || excluded.value",
	        &s, e);
	if (rc < 0)
		return rc;
	char key[64];
	snprintf(key, sizeof(key), "finish %s", operation_id(op));
	statement_bind_text(s, 1, key);
	statement_bind_text(s, 2, (const char *[]){"q", "r", "S", "F", "C", "I"}[outcome]);
	return statement_run(s, e);
}

static void world_on_cancel(struct operation *op)
{
	struct world *w = operation_context(op);
	for (size_t i = 0; i < w->held.len; i++) {
		struct held held = w->held.items[i];
		if (held.op != op || !world_script(w, held.key)->done_on_cancel)
			continue;
		VEC_REMOVE(&w->held, i);
		struct err e;
		err_set(&e, ERR_CANCELLED, "stopped early");
		operation_step_done(op, ERR_CANCELLED, &e);
		return;
	}
}

static const struct operation_step world_four_steps[] = {
        {.name = "a", .run = step_a, .undo = step_a},
        {.name = "b", .run = step_b, .undo = step_b},
        {.name = "c", .run = step_c},
        {.name = "d", .run = step_d, .undo = step_d},
};
static const struct operation_kind world_four = {.name = "test.four",
        .steps = world_four_steps,
        .n_steps = 4,
        .finish = world_finish,
        .on_cancel = world_on_cancel};

static const struct operation_step world_final_steps[] = {
        {.name = "a",
                .run = step_a,
                .undo = step_a,
                .flags = OPERATION_FINAL | OPERATION_HOST_FREE},
};
static const struct operation_kind world_final = {
        .name = "test.final", .steps = world_final_steps, .n_steps = 1, .finish = world_finish};

static const struct operation_step world_late_steps[] = {
        {.name = "a", .run = step_a, .undo = step_a},
        {.name = "b", .run = step_b, .undo = step_b, .flags = OPERATION_FINAL},
        {.name = "c", .run = step_c},
};
static const struct operation_kind world_late = {
        .name = "test.late", .steps = world_late_steps, .n_steps = 3, .finish = world_finish};

static const struct operation_step world_plain_steps[] = {
        {.name = "a", .run = step_a},
};
static const struct operation_kind world_plain = {
        .name = "test.plain", .steps = world_plain_steps, .n_steps = 1, .finish = world_finish};

/* Two kinds that may run beside each other, but not beside their own. */
static const struct operation_step world_pair_steps[] = {
        {.name = "a", .run = step_a, .undo = step_a},
        {.name = "b", .run = step_b, .undo = step_b},
};
static const struct operation_kind world_long = {.name = "test.long",
        .steps = world_pair_steps,
        .n_steps = 2,
        .finish = world_finish,
        .on_cancel = world_on_cancel,
        .job = 1,
        .beside = 2};
static const struct operation_kind world_side = {.name = "test.side",
        .steps = world_pair_steps,
        .n_steps = 2,
        .finish = world_finish,
        .on_cancel = world_on_cancel,
        .job = 2,
        .beside = 1};

static const struct operation_kind world_empty = {.name = "test.empty", .finish = world_finish};

/* ---- its life ---- */

static inline void world_make_dir(struct world *w)
{
	snprintf(w->dir, sizeof(w->dir), "/tmp/berth-operation-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	snprintf(w->path, sizeof(w->path), "%s/berth.db", w->dir);
	struct err e;
	if (migrations_apply(w->path, migrations_embedded, &e) < 0)
		fail_msg("%s", e.message);
}

static inline void world_check(int rc, const struct err *e)
{
	if (rc < 0)
		fail_msg("%s: %s", err_info(rc)->name, e->message);
}

static inline void world_start_with(struct world *w, bool knows_four)
{
	struct err e = {0};
	w->loop = loop_new();
	world_check(writer_start(w->path, &w->writer, &e), &e);
	world_check(db_open(w->path, DB_READ_ONLY, &w->db, &e), &e);
	w->engine = operation_engine_new(w->loop, w->writer, w);
	operation_engine_set_times(w->engine, (struct operation_times){.retry_min_ms = 2,
	                                              .retry_max_ms = 8,
	                                              .patience_ms = HOST_PATIENCE_MS,
	                                              .report_ms = 5});
	if (knows_four)
		operation_engine_register(w->engine, &world_four);
	operation_engine_register(w->engine, &world_final);
	operation_engine_register(w->engine, &world_late);
	operation_engine_register(w->engine, &world_plain);
	operation_engine_register(w->engine, &world_empty);
	operation_engine_register(w->engine, &world_long);
	operation_engine_register(w->engine, &world_side);
	world_check(operation_engine_load(w->engine, w->db, &e), &e);
}

static inline void world_start(struct world *w)
{
	world_start_with(w, /* knows_four= */ true);
}

/* Answers that were posted but not delivered; the loop would drop them. */
static inline void world_drain(struct world *w)
{
	uv_run(loop_uv(w->loop), UV_RUN_NOWAIT);
	uv_run(loop_uv(w->loop), UV_RUN_NOWAIT);
}

/* Like a kill, but for the memory: whatever is under way is abandoned. */
static inline void world_stop(struct world *w)
{
	operation_engine_stop(w->engine);
	writer_stop(w->writer);
	world_drain(w);
	operation_engine_free(w->engine);
	writer_free(w->writer);
	db_close(w->db);
	loop_free(w->loop);
	VEC_DONE(&w->held);
}

static inline void world_remove_dir(struct world *w)
{
	char command[128];
	snprintf(command, sizeof(command), "rm -rf '%s'", w->dir);
	assert_int_equal(system(command), 0);
}

static inline int world_setup(void **state)
{
	log_init(LOG_LEVEL_ERROR - 1); /* failures are scripted here */
	struct world *w = xcalloc(1, sizeof(*w));
	world_make_dir(w);
	world_start(w);
	*state = w;
	return 0;
}

static inline int world_teardown(void **state)
{
	struct world *w = *state;
	world_stop(w);
	world_remove_dir(w);
	VEC_DONE(&w->script);
	str_done(&w->trace);
	free(w);
	return 0;
}

static inline void world_restart(struct world *w)
{
	world_stop(w);
	world_start(w);
}

/* ---- waiting ---- */

static inline void world_on_guard(void *arg)
{
	((struct world *)arg)->timed_out = true;
}

/* Runs the loop until `test` holds; fails the test when it takes too long. */
static inline void world_run_until(
        struct world *w, bool (*test)(struct world *w, const char *arg), const char *arg)
{
	w->timed_out = false;
	struct loop_timer *guard =
	        loop_timer_start(w->loop, WORLD_PATIENCE_MS, 0, world_on_guard, w);
	while (!test(w, arg) && !w->timed_out)
		uv_run(loop_uv(w->loop), UV_RUN_ONCE);
	loop_timer_free(guard);
	if (w->timed_out)
		fail_msg("waited too long for '%s'; so far: %s", arg, str_text(&w->trace));
}

static inline bool world_is_held(struct world *w, const char *key)
{
	VEC_FOR_EACH (&w->held, held)
		if (strcmp(held->key, key) == 0)
			return true;
	return false;
}

static inline void world_wait_held(struct world *w, const char *key)
{
	world_run_until(w, world_is_held, key);
}

static inline void world_release(struct world *w, const char *key)
{
	world_wait_held(w, key);
	for (size_t i = 0; i < w->held.len; i++) {
		struct held held = w->held.items[i];
		if (strcmp(held.key, key) != 0)
			continue;
		VEC_REMOVE(&w->held, i);
		world_answer(w, held.op, held.key);
		return;
	}
}

static inline void world_get(struct world *w, const char *id, struct operation_row *row)
{
	struct err e;
	operation_row_done(row);
	world_check(operation_store_get(w->db, id, row, &e), &e);
}

static inline bool world_has_ended(struct world *w, const char *id)
{
	CLEANUP(operation_row_done) struct operation_row row = {0};
	world_get(w, id, &row);
	return row.ended_at != 0;
}

static inline void world_assert_state(struct world *w, const char *id, enum operation_state state)
{
	CLEANUP(operation_row_done) struct operation_row row = {0};
	world_get(w, id, &row);
	assert_string_equal(operation_state_names[row.state], operation_state_names[state]);
}

static inline void world_wait_end(struct world *w, const char *id, enum operation_state state)
{
	world_run_until(w, world_has_ended, id);
	world_assert_state(w, id, state);
}

static inline bool world_is_idle(struct world *w, const char *arg)
{
	(void)arg;
	int running, queued;
	operation_engine_count(w->engine, &running, &queued);
	return running == 0 && queued == 0;
}

/* ---- requests ---- */

struct create_job {
	struct operation_engine *engine;
	struct operation_request request;
	char id[UUID_TEXT_SIZE];
};

static inline int world_create_run(struct db *db, void *arg, struct err *e)
{
	struct create_job *job = arg;
	return operation_create(db, job->engine, &job->request, job->id, e);
}

/* The id lives in `ret_id`. The target's id names the queue unless the request says otherwise. */
static inline void world_create_request(
        struct world *w, struct operation_request request, char ret_id[UUID_TEXT_SIZE])
{
	struct create_job job = {.engine = w->engine, .request = request};
	struct err e;
	world_check(writer_run(w->writer, world_create_run, &job, &e), &e);
	memcpy(ret_id, job.id, UUID_TEXT_SIZE);
}

static inline struct operation_request world_request(const char *kind, const char *target)
{
	return (struct operation_request){.kind = kind,
	        .target_kind = "vm",
	        .target_id = target,
	        .target_name = target,
	        .host_id = "host-1",
	        .requested_by = "tester"};
}

static inline void world_create(
        struct world *w, const char *kind, const char *target, char ret_id[UUID_TEXT_SIZE])
{
	world_create_request(w, world_request(kind, target), ret_id);
}

struct cancel_job {
	struct operation_engine *engine;
	const char *id;
};

static inline int world_cancel_run(struct db *db, void *arg, struct err *e)
{
	struct cancel_job *job = arg;
	return operation_cancel(db, job->engine, job->id, e);
}

static inline int world_cancel(struct world *w, const char *id, struct err *e)
{
	struct cancel_job job = {.engine = w->engine, .id = id};
	return writer_run(w->writer, world_cancel_run, &job, e);
}

static inline int world_exec_run(struct db *db, void *arg, struct err *e)
{
	return db_exec(db, arg, e);
}

static inline void world_exec(struct world *w, const char *sql)
{
	struct err e;
	world_check(writer_run(w->writer, world_exec_run, (void *)sql, &e), &e);
}

/* A text value of the database, or ""; caller frees. */
static inline char *world_query(struct world *w, const char *sql, const char *parameter)
{
	CLEANUP(statement_done) struct statement *s = NULL;
	struct err e;
	world_check(db_prepare(w->db, sql, &s, &e), &e);
	if (parameter)
		statement_bind_text(s, 1, parameter);
	int rc = statement_step(s, &e);
	world_check(rc, &e);
	char *text = rc == 1 ? statement_text_copy(s, 0) : NULL;
	return text ? text : xstrdup("");
}

/* The letters of world_finish. */
static inline void world_assert_finished(struct world *w, const char *id, const char *letters)
{
	CLEANUP(cleanup_free)
	char *found = world_query(w, "SELECT value FROM meta WHERE key = 'finish ' || ?", id);
	assert_string_equal(found, letters);
}

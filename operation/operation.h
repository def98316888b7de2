/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations: long work as persisted state machines, ticked on the core loop.
 *
 *            +--------- cancel, or a step failed ---------+
 *            |                                            v
 *  QUEUED -> RUNNING step 0 -> step 1 -> ... -> end    UNDOING step i -> i-1 -> ... -> 0
 *    |                                           |        |
 *    v cancel                                    v        v
 *  CANCELLED                              SUCCEEDED    FAILED | CANCELLED
 *
 * The engine knows no kind of work: a kind is a const table of steps. The index of a step is
 * durable before the step runs, so after a kill -9 the engine runs that step again: `run` and
 * `undo` must be idempotent. When step i fails, `undo` is called for i, i-1, ... 0 (i itself may
 * have half happened). Undo never gives up: it is retried until it works, because what it removes
 * is ours.
 *
 * A step that fails because its host does not answer (ERR_HOST_DOWN, ERR_HOST_SLOW) is run again
 * when the host is back (operation_engine_poke) until the operation's deadline, or HOST_PATIENCE_MS
 * without one. Operations with the same queue key run one after another in order of creation;
 * others side by side.
 *
 * Fault points: with BERTH_FAULT="KIND/STEP:before|after|undo|undone" in the environment the
 * process kills itself with SIGKILL there (before and after `run`, before and after `undo`), for
 * crash tests.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json_writer.h"
#include "base/loop.h"
#include "base/uuid.h"
#include "db/writer.h"

#define HOST_PATIENCE_MS 120000

enum operation_state {
	OPERATION_QUEUED,
	OPERATION_RUNNING,
	OPERATION_SUCCEEDED,
	OPERATION_FAILED,
	OPERATION_CANCELLED,
	OPERATION_INTERRUPTED,
	OPERATION_STATES
};
extern const char *const operation_state_names[OPERATION_STATES + 1];

struct operation;
struct operation_engine;

enum operation_step_flags {
	OPERATION_FINAL =
	        1 << 0, /* once begun, cancel is refused until it ends (point of no return) */
	OPERATION_HOST_FREE = 1 << 1, /* host errors are not waited for */
};

struct operation_step {
	const char *name; /* shown as the phase; unique within the kind */
	/* Core loop. Must lead to exactly one operation_step_done (now or later). Idempotent. */
	void (*run)(struct operation *op);
	/* Same contract; NULL: nothing to undo. */
	void (*undo)(struct operation *op);
	unsigned flags;
};

struct operation_kind {
	const char *name; /* "vm.create" */
	const struct operation_step *steps;
	size_t n_steps;
	/* Writer thread, in the transaction that ends the operation: the durable outcome (rows,
	 * changes). `error` is NULL on success. Must not fail for reasons a retry cannot cure. May
	 * be NULL. */
	int (*finish)(struct db *db, const struct operation *op, enum operation_state outcome,
	        const struct err *error, struct err *e);
	/* Core loop: a cancel arrived while a step runs; it may end its step early. May be NULL. */
	void (*on_cancel)(struct operation *op);
	/*
	 * What kind of work it is and which kinds of work it may run beside in one queue, as bits that the kinds of one
	 * queue agree on (compute/vm_jobs.h). An operation begins when each earlier unfinished one of its queue is in its
	 * `beside` and it in theirs. 0, 0: alone.
	 */
	unsigned job, beside;
};

/* ---- for the steps (core loop) ---- */
const char *operation_id(const struct operation *op);
const char *operation_target_id(const struct operation *op);
const char *operation_target_name(const struct operation *op);
const char *operation_host_id(const struct operation *op); /* "" if none */
json_t *operation_input(const struct operation *op);       /* borrowed, never changed */
json_t *operation_memory(
        const struct operation *op); /* borrowed; what a step sets here is durable with its end */
bool operation_is_cancelled(const struct operation *op);
bool operation_is_undoing(const struct operation *op);
/* The engine was stopped: what the step still does is left to the next start, so what only waits should end. */
bool operation_is_abandoned(const struct operation *op);
void *operation_context(const struct operation *op); /* the engine's context pointer */
struct loop *operation_loop(const struct operation *op);
/* Ends the running step: rc 0, or the error (copied). Core loop, once per run or undo. */
void operation_step_done(struct operation *op, int rc, const struct err *e);
/* As above with success, and `store` runs in the same transaction as the step's advance;
 * `release(arg)` afterwards on the core loop. If store fails, the step failed with its error; it
 * may run again when the transaction could not be committed. */
void operation_step_done_storing(struct operation *op,
        int (*store)(struct db *db, void *arg, struct err *e), void *arg,
        void (*release)(void *arg));
/* Core loop, instead of ending the step now: `run` (the step's own, or a part of it) goes on after that time. When the engine
 * was stopped meanwhile, the step ends and is left to the next start. */
void operation_step_again(struct operation *op, int delay_ms, void (*run)(struct operation *op));
/* Core loop, in a step: what the operation found or made, shown as `result` once the step has ended. Takes over `result`
 * (a JSON object, no secrets); members of the same name are replaced. */
void operation_add_result(struct operation *op, json_t *result);
/* Shown to users; persisted at most once a second. */
void operation_progress(struct operation *op, int percent, int64_t done_bytes, int64_t total_bytes);

/* ---- the engine (core loop unless said otherwise) ---- */
struct operation_engine *operation_engine_new(
        struct loop *loop, struct writer *writer, void *context);
void operation_engine_register(struct operation_engine *engine, const struct operation_kind *kind);
/* Reads the unfinished operations and takes them up again; an unknown kind ends as INTERRUPTED.
 * Start-up: `db` is any connection, before the loop runs. */
int operation_engine_load(struct operation_engine *engine, struct db *db, struct err *e);
/* Starts no further step; steps in flight are abandoned to the next start, waiters are told "not
 * ended". */
void operation_engine_stop(struct operation_engine *engine);
/* After the writer has stopped and the loop no longer runs, before loop_free. Accepts NULL. */
void operation_engine_free(struct operation_engine *engine);
/* How long things take; for tests. */
struct operation_times {
	int retry_min_ms, retry_max_ms; /* pauses between tries, doubling: 1 s, 30 s */
	int patience_ms;                /* HOST_PATIENCE_MS */
	int report_ms;                  /* between two writes of progress: 1 s */
};
void operation_engine_set_times(struct operation_engine *engine, struct operation_times times);
/* The host answers again: operations that waited for it go on. NULL: all. */
void operation_engine_poke(struct operation_engine *engine, const char *host_id);
/* Calls fn(arg, ended) once: when the operation has ended (also if it had before, or is unknown) or
 * after timeout_ms. Any thread; fn runs on the core loop. */
void operation_engine_wait(struct operation_engine *engine, const char *id, int64_t timeout_ms,
        void (*fn)(void *arg, bool ended), void *arg);
/* Number running and queued, for /metrics and for draining: once stopped, only steps that have not
 * answered yet count as running. Any thread. */
void operation_engine_count(struct operation_engine *engine, int *ret_running, int *ret_queued);

/* What is under way in a queue: the `job` bits of all its operations that have begun and not ended. Core loop. */
unsigned operation_engine_jobs(const struct operation_engine *engine, const char *queue);

/* ---- for mutations (writer thread, inside a job) ---- */
/* Who asked for work, and how long it may wait for its host. */
struct operation_asked {
	const char *requested_by, *request_id; /* request_id may be NULL */
	int64_t deadline_ms;                   /* wall; 0: the engine's patience */
};
struct operation_request {
	const char *kind;
	const char *target_kind, *target_id, *target_name;
	const char *host_id;      /* NULL: none */
	const char *queue;        /* NULL: target_id */
	json_t *input;            /* borrowed; NULL: {} */
	const char *requested_by; /* principal's name, or "berth" for our own */
	const char *request_id;   /* or NULL */
	int64_t deadline_ms;      /* wall; 0: none */
};
/* Inserts the row and the change; the engine is told when the transaction has committed. */
int operation_create(struct db *db, struct operation_engine *engine,
        const struct operation_request *request, char ret_id[UUID_TEXT_SIZE], struct err *e);
/* Marks an operation cancelled: ERR_NOT_FOUND, or ERR_WRONG_STATE when it has ended or is past
 * return. */
int operation_cancel(struct db *db, struct operation_engine *engine, const char *id, struct err *e);
/* The oldest unfinished operation on that queue: *ret_id is "" if there is none. Any connection. */
int operation_find_busy(struct db *db, const char *queue, char ret_id[UUID_TEXT_SIZE],
        char ret_kind[64], struct err *e);
/* As above, but for operations of the kinds in `but` (NULL-terminated). */
int operation_find_busy_but(struct db *db, const char *queue, const char *const *but,
        char ret_id[UUID_TEXT_SIZE], char ret_kind[64], struct err *e);
/* The input of the oldest unfinished operation of that kind on that queue, as JSON; *ret_input NULL: none. Caller frees. */
int operation_find_input(
        struct db *db, const char *queue, const char *kind, char **ret_input, struct err *e);
/* As above, but only of that kind. */
int operation_find_kind(struct db *db, const char *queue, const char *kind,
        char ret_id[UUID_TEXT_SIZE], struct err *e);
/* Forgets operations that ended before `before_ms`. Writer thread. */
int operation_prune(struct db *db, int64_t before_ms, struct err *e);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine: what an operation does next. Core loop only.
 *
 *               begin            step done, failed or cancelled
 *   IN_LINE ------------> STEPPING ------------------------> PERSISTING ---> OVER
 *      |                  ^  ^  | host down, undo failed      |  ^    ^
 *      |                  |  |  v                             |  |    |
 *      |         poke,    | RESTING -- cancelled, patience ---|--+    |
 *      |         pause    |            at an end              |       |
 *      |         over     +---------- next step, undo --------+       |
 *      +-- cancelled, nothing to do, first step is final --------------+
 *
 * A transition is first made durable (PERSISTING), then taken in memory (operation_persisted), then
 * acted on.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "operation/operation_internal.h"

static const bool allowed[OPERATION_ACTIVITIES][OPERATION_ACTIVITIES] = {
        [OPERATION_IN_LINE] = {[OPERATION_STEPPING] = true, [OPERATION_PERSISTING] = true},
        [OPERATION_STEPPING] = {[OPERATION_RESTING] = true, [OPERATION_PERSISTING] = true},
        [OPERATION_RESTING] = {[OPERATION_STEPPING] = true, [OPERATION_PERSISTING] = true},
        [OPERATION_PERSISTING] =
                {
                        [OPERATION_STEPPING] = true,
                        [OPERATION_RESTING] = true, /* an undo's store failed */
                        [OPERATION_PERSISTING] = true,
                        [OPERATION_OVER] = true,
                },
};

static void move(struct operation *op, enum operation_activity to)
{
	assert(allowed[op->activity][to]);
	if (op->activity == OPERATION_IN_LINE) {
		atomic_fetch_sub(&op->engine->n_queued, 1);
		atomic_fetch_add(&op->engine->n_running, 1);
	}
	if (to == OPERATION_OVER)
		atomic_fetch_sub(&op->engine->n_running, 1);
	op->activity = to;
}

static const struct operation_step *current_step(const struct operation *op)
{
	return &op->kind->steps[op->step];
}

/* Sets what users see; true if it is news. */
static bool show(struct operation *op, const char *phase, const char *reason)
{
	if (str_equal(op->phase, phase) && str_equal(op->reason, reason))
		return false;
	snprintf(op->phase, sizeof(op->phase), "%s", phase);
	snprintf(op->reason, sizeof(op->reason), "%s", reason);
	return true;
}

static bool show_step(struct operation *op, int step, bool undoing)
{
	char phase[sizeof(op->phase)];
	snprintf(phase, sizeof(phase), "%s%s", undoing ? "undo " : "", op->kind->steps[step].name);
	return show(op, phase, "");
}

static void keep_error(struct operation *op, const struct err *error)
{
	assert(error);
	struct err copy = *error; /* may be op->error itself */
	if (!op->error)
		op->error = xcalloc(1, sizeof(*op->error));
	*op->error = copy;
}

/* ---- transitions ---- */

static void persist(struct operation *op, enum persist_goal goal, int step, bool undoing,
        enum operation_state state)
{
	move(op, OPERATION_PERSISTING);
	op->persist.goal = goal;
	operation_persist(op, step, undoing, state);
}

/* `error` NULL on success, else why; its step was named by turn_back if there was one. */
static void end(struct operation *op, enum operation_state outcome, const struct err *error)
{
	if (error)
		keep_error(op, error);
	show(op, "", error ? op->error->message : "");
	persist(op, PERSIST_END, op->step, op->undoing, outcome);
}

static void end_undone(struct operation *op)
{
	end(op, operation_is_cancelled(op) ? OPERATION_CANCELLED : OPERATION_FAILED, op->error);
}

/* The highest step at or below `from` that has something to undo, or -1. */
static int find_undo(const struct operation *op, int from)
{
	while (from >= 0 && !op->kind->steps[from].undo)
		from--;
	return from;
}

/* From here on backwards: the current step failed with `error`, or was cancelled. */
static void turn_back(struct operation *op, const struct err *error)
{
	struct err cancelled = {0};
	const char *name = op->kind->n_steps > 0 ? current_step(op)->name : NULL;
	if (operation_is_cancelled(op)) {
		err_set(&cancelled, ERR_CANCELLED, "cancelled during step '%s'", name ? name : "");
		error = &cancelled;
	}
	keep_error(op, error);
	str_replace(&op->error_step, name);
	int step = name ? find_undo(op, op->step) : -1;
	if (step < 0) {
		end_undone(op);
		return;
	}
	if (op->started_at == 0)
		op->started_at = clock_wall_ms();
	show_step(op, step, /* undoing= */ true);
	persist(op, PERSIST_TURN, step, true, OPERATION_RUNNING);
}

static void advance(struct operation *op)
{
	int next = op->step + 1;
	if (next == (int)op->kind->n_steps) {
		end(op, OPERATION_SUCCEEDED, NULL);
		return;
	}
	show_step(op, next, /* undoing= */ false);
	persist(op, PERSIST_ADVANCE, next, false, OPERATION_RUNNING);
}

static void step_undone(struct operation *op)
{
	int next = find_undo(op, op->step - 1);
	if (next < 0) {
		end_undone(op);
		return;
	}
	show_step(op, next, /* undoing= */ true);
	persist(op, PERSIST_UNDONE, next, true, OPERATION_RUNNING);
}

/* ---- steps ---- */

static void run_step(struct operation *op)
{
	LOG_SCOPE("operation_id", op->id);
	op->poked = false;
	move(op, OPERATION_STEPPING);
	if (show_step(op, op->step, op->undoing))
		operation_report_now(op);
	operation_fault_point(op, op->undoing ? "undo" : "before");
	if (op->undoing)
		current_step(op)->undo(op);
	else
		current_step(op)->run(op);
}

/* When waiting for the host makes no sense any more, and why. */
static bool is_patience_over(const struct operation *op, struct err *ret_error)
{
	const struct err *last = op->error;
	int64_t waited = clock_now_ms() - op->rest_since_ms;
	if (op->deadline && clock_wall_ms() >= op->deadline) {
		*ret_error = *last;
		ret_error->code = ERR_DEADLINE;
		err_prefix(ret_error, "the deadline has passed while waiting for the host");
		return true;
	}
	if (!op->deadline && waited >= op->engine->times.patience_ms) {
		*ret_error = *last;
		err_prefix(ret_error, "gave up after waiting %lld s for the host",
		        (long long)(waited / 1000));
		return true;
	}
	return false;
}

static void on_rest_over(void *arg)
{
	struct operation *op = arg;
	struct err error;
	loop_timer_free(TAKE(op->timer));
	if (!op->undoing && !op->poked && is_patience_over(op, &error))
		turn_back(op, &error);
	else
		run_step(op);
}

static int64_t limit_pause(const struct operation *op, int64_t pause_ms)
{
	if (op->undoing)
		return pause_ms;
	int64_t left = op->deadline
	                       ? op->deadline - clock_wall_ms()
	                       : op->rest_since_ms + op->engine->times.patience_ms - clock_now_ms();
	return left < 0 ? 0 : left < pause_ms ? left : pause_ms;
}

/* Waits for a poke or a pause, then runs the same step (or its undo) again. */
static void rest(struct operation *op, const struct err *error)
{
	bool waits_for_host = error->code == ERR_HOST_DOWN || error->code == ERR_HOST_SLOW;
	move(op, OPERATION_RESTING);
	if (op->rest_since_ms == 0)
		op->rest_since_ms = clock_now_ms();
	int64_t pause_ms = limit_pause(op, operation_next_pause_ms(op));
	if (op->poked)
		pause_ms = 0;
	if (show(op, waits_for_host ? "waiting for host" : op->phase, error->message))
		operation_report_now(op);
	op->timer = loop_timer_start(op->engine->loop, pause_ms, 0, on_rest_over, op);
}

static bool is_worth_waiting(const struct operation *op, const struct err *error)
{
	return (error->code == ERR_HOST_DOWN || error->code == ERR_HOST_SLOW) &&
	       !(current_step(op)->flags & OPERATION_HOST_FREE) && !operation_is_cancelled(op);
}

static void wait_for_host(struct operation *op, const struct err *error)
{
	struct err gave_up;
	keep_error(op, error);
	if (op->rest_since_ms != 0 && is_patience_over(op, &gave_up))
		turn_back(op, &gave_up);
	else
		rest(op, error);
}

static void step_failed(struct operation *op, const struct err *error)
{
	if (op->undoing) {
		if (op->rest_since_ms == 0)
			log_err(LOG_LEVEL_WARNING, error,
			        "undo of step %s of %s failed, trying again",
			        current_step(op)->name, op->kind_name);
		rest(op, error);
	} else if (is_worth_waiting(op, error)) {
		wait_for_host(op, error);
	} else {
		turn_back(op, error);
	}
}

static void step_succeeded(struct operation *op)
{
	operation_fault_point(op, op->undoing ? "undone" : "after");
	op->rest_since_ms = 0;
	op->pause_ms = 0;
	if (op->undoing)
		step_undone(op);
	else if (operation_is_cancelled(op))
		turn_back(op, NULL);
	else
		advance(op);
}

/* Whether a step's answer still counts. */
static bool take_answer(struct operation *op)
{
	assert(loop_is_mine(op->engine->loop));
	assert(op->activity == OPERATION_STEPPING);
	if (op->engine->stopped)
		atomic_fetch_sub(&op->engine->n_running, 1);
	return !op->engine->stopped;
}

void operation_step_done(struct operation *op, int rc, const struct err *e)
{
	if (!take_answer(op))
		return;
	LOG_SCOPE("operation_id", op->id);
	if (rc == 0) {
		step_succeeded(op);
		return;
	}
	struct err error = {0};
	if (e)
		error = *e;
	if (error.code == 0)
		err_set(&error, rc, "step '%s' failed", current_step(op)->name);
	step_failed(op, &error);
}

void operation_step_done_storing(struct operation *op,
        int (*store)(struct db *db, void *arg, struct err *e), void *arg,
        void (*release)(void *arg))
{
	bool is_wanted = !op->engine->stopped && (op->undoing || !operation_is_cancelled(op));
	if (is_wanted) {
		op->persist.store = store;
		op->persist.store_arg = arg;
		op->persist.release = release;
	} else if (release) {
		release(arg);
	}
	operation_step_done(op, 0, NULL);
}

void operation_add_result(struct operation *op, json_t *result)
{
	json_t *known = json_object_get(op->memory, OPERATION_RESULT);
	if (json_is_object(known))
		json_object_update(known, result);
	else
		json_object_set(op->memory, OPERATION_RESULT, result);
	json_decref(result);
}

void operation_progress(struct operation *op, int percent, int64_t done_bytes, int64_t total_bytes)
{
	if (op->activity != OPERATION_STEPPING)
		return; /* a straggler */
	percent = percent < 0 ? 0 : percent > 100 ? 100 : percent;
	if (op->percent == percent && op->done_bytes == done_bytes &&
	        op->total_bytes == total_bytes)
		return;
	op->percent = percent;
	op->done_bytes = done_bytes;
	op->total_bytes = total_bytes;
	operation_report_later(op);
}

/* ---- what arrives from outside ---- */

static void end_cancelled_in_line(struct operation *op)
{
	struct err error;
	err_set(&error, ERR_CANCELLED, "cancelled before it began");
	end(op, OPERATION_CANCELLED, &error);
}

static void end_interrupted(struct operation *op)
{
	struct err error;
	err_set(&error, ERR_UNSUPPORTED,
	        "this version of Berth does not know how to go on with operations of kind '%s'",
	        op->kind_name);
	end(op, OPERATION_INTERRUPTED, &error);
}

static bool is_step_known(const struct operation *op)
{
	if (!op->kind || op->step < 0)
		return false;
	int n = (int)op->kind->n_steps;
	if (n == 0)
		return op->step == 0 && !op->undoing;
	return op->step < n && (!op->undoing || op->kind->steps[op->step].undo);
}

/* Its turn has come after the time it was wanted by. */
static void begin_too_late(struct operation *op)
{
	struct err error;
	err_set(&error, ERR_DEADLINE, "its deadline passed before its turn came");
	if (op->loaded)
		turn_back(op, &error); /* an earlier process may have begun step 0 */
	else
		end(op, OPERATION_FAILED, &error);
}

static void begin_fresh(struct operation *op)
{
	if (op->deadline && clock_wall_ms() >= op->deadline) {
		begin_too_late(op);
		return;
	}
	op->started_at = clock_wall_ms();
	if (op->kind->n_steps == 0) {
		end(op, OPERATION_SUCCEEDED, NULL);
	} else if (op->kind->steps[0].flags & OPERATION_FINAL) {
		show_step(op, 0, /* undoing= */ false);
		persist(op, PERSIST_BEGIN, 0, false, OPERATION_RUNNING);
	} else {
		run_step(op); /* "running" is on its way to the database meanwhile */
	}
}

void operation_begin(struct operation *op)
{
	LOG_SCOPE("operation_id", op->id);
	if (!is_step_known(op))
		end_interrupted(op);
	else if (operation_is_cancelled(op) && !op->loaded)
		end_cancelled_in_line(op);
	else if (operation_is_cancelled(op) && !op->undoing)
		turn_back(op, NULL);
	else if (op->started_at == 0)
		begin_fresh(op);
	else
		run_step(op);
}

bool operation_may_have_begun(const struct operation *op)
{
	return op->loaded && (op->started_at != 0 || operation_queue_may_begin(op));
}

void operation_take_cancel(struct operation *op)
{
	LOG_SCOPE("operation_id", op->id);
	atomic_store(&op->cancel, true);
	if (op->activity == OPERATION_IN_LINE) {
		if (!operation_may_have_begun(op)) /* else operation_begin sees it */
			end_cancelled_in_line(op);
	} else if (op->undoing) {
		return;
	} else if (op->activity == OPERATION_STEPPING) {
		if (op->kind->on_cancel)
			op->kind->on_cancel(op);
	} else if (op->activity == OPERATION_RESTING) {
		loop_timer_free(TAKE(op->timer));
		turn_back(op, NULL);
	}
}

void operation_take_poke(struct operation *op)
{
	op->poked = true;
	if (op->activity != OPERATION_RESTING)
		return;
	loop_timer_free(TAKE(op->timer));
	op->timer = loop_timer_start(op->engine->loop, 0, 0, on_rest_over, op);
}

/* ---- after a transition ---- */

static void log_end(const struct operation *op)
{
	enum operation_state outcome = op->persist.update.state;
	const char *state = operation_state_names[outcome];
	if (outcome == OPERATION_SUCCEEDED)
		log_info(
		        "%s of %s '%s' %s", op->kind_name, op->target_kind, op->target_name, state);
	else
		log_err(LOG_LEVEL_WARNING, op->error, "%s of %s '%s' %s", op->kind_name,
		        op->target_kind, op->target_name, state);
}

static void be_over(struct operation *op)
{
	move(op, OPERATION_OVER);
	log_end(op);
	operation_waiters_call(op, true);
	operation_queue_leave(op);
	map_remove(op->engine->operations, op->id);
	operation_free(op);
}

/* A cancel was written first: nothing of this transition has happened. */
static void refused(struct operation *op, enum persist_goal goal)
{
	if (goal == PERSIST_BEGIN && !op->loaded)
		end_cancelled_in_line(op);
	else
		turn_back(op, NULL);
}

static void taken(struct operation *op, enum persist_goal goal)
{
	switch (goal) {
	case PERSIST_BEGIN:
	case PERSIST_ADVANCE:
		if (operation_is_cancelled(op))
			turn_back(op, NULL);
		else
			run_step(op);
		break;
	case PERSIST_TURN:
	case PERSIST_UNDONE:
		run_step(op);
		break;
	case PERSIST_END:
		be_over(op);
		break;
	}
}

void operation_persisted(struct operation *op)
{
	LOG_SCOPE("operation_id", op->id);
	struct persist *p = &op->persist;
	enum persist_goal goal = p->goal;
	if (p->row_is_gone)
		log_err(LOG_LEVEL_ERROR, &p->failure, "operation %s is given up", op->id);
	if (p->row_is_gone || (goal == PERSIST_END && !p->is_refused)) {
		be_over(op);
		return;
	}
	bool is_refused = p->is_refused, store_failed = p->store_failed;
	struct err failure = p->failure;
	if (!is_refused && !store_failed) {
		op->step = p->update.step;
		op->undoing = p->update.undoing;
	}
	operation_persist_release(op);
	if (is_refused)
		refused(op, goal);
	else if (store_failed)
		step_failed(op, &failure);
	else
		taken(op, goal);
}

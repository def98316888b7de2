/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing operations: one job per transition, and the reports in between.
 *
 * A transition is one transaction: the step's own `store`, its memory and the next state; at the
 * end also the kind's `finish`. It is written before anything that follows from it happens. When it
 * cannot be written (a full disk), the same job is submitted again after a pause, for ever: the
 * step is neither lost nor run twice.
 *
 * The writer settles the race with a cancel: jobs run one by one there, so either the cancel sees a
 * final step begun and is refused, or the transition sees the cancel and is.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/problem.h"
#include "operation/operation_internal.h"

/* ---- writer thread ---- */

static bool yields_to_cancel(const struct persist *p)
{
	return p->goal == PERSIST_BEGIN || p->goal == PERSIST_ADVANCE ||
	       (p->goal == PERSIST_END && p->update.state == OPERATION_SUCCEEDED);
}

static int refuse_if_cancelled(struct db *db, struct operation *op, struct err *e)
{
	struct persist *p = &op->persist;
	bool cancelled = false;
	int rc = operation_store_is_cancelled(db, op->id, &cancelled, e);
	p->row_is_gone = rc == ERR_NOT_FOUND;
	if (rc < 0 || !cancelled)
		return rc;
	if (yields_to_cancel(p)) {
		p->is_refused = true;
		return err_set(e, ERR_CANCELLED, "operation '%s' was cancelled", op->id);
	}
	if (p->goal == PERSIST_END && p->update.state == OPERATION_FAILED)
		p->update.state = OPERATION_CANCELLED; /* the cancel was accepted: keep the word */
	return 0;
}

static int run_store(struct db *db, struct persist *p, struct err *e)
{
	int rc = p->store ? p->store(db, p->store_arg, e) : 0;
	/* A full disk is no answer about the step; it is tried again like any other write. */
	p->store_failed = rc < 0 && rc != ERR_DISK_FULL;
	return rc;
}

static int run_finish(struct db *db, const struct operation *op, struct err *e)
{
	const struct persist *p = &op->persist;
	if (p->goal != PERSIST_END || !op->kind || !op->kind->finish)
		return 0;
	const struct err *error = p->update.state == OPERATION_SUCCEEDED ? NULL : op->error;
	return op->kind->finish(db, op, p->update.state, error, e);
}

static struct operation_news news_of(const struct operation *op)
{
	return (struct operation_news){.event = "updated",
	        .id = op->id,
	        .kind = op->kind_name,
	        .target_id = op->target_id,
	        .target_name = op->target_name};
}

static int persist_run(struct db *db, void *arg, struct err *e)
{
	struct operation *op = arg;
	struct persist *p = &op->persist;
	p->is_refused = p->store_failed = p->row_is_gone = false;
	int rc;
	if ((rc = refuse_if_cancelled(db, op, e)) < 0 || (rc = run_store(db, p, e)) < 0 ||
	        (rc = operation_store_update(db, &p->update, e)) < 0 ||
	        (rc = run_finish(db, op, e)) < 0)
		return rc;
	struct operation_news news = news_of(op);
	news.event = p->goal == PERSIST_END ? "ended" : "updated";
	news.state = p->update.state;
	news.phase = p->update.phase;
	return operation_change_add(db, &news, e);
}

static void persist_back(void *arg);

static void persist_done(void *arg, int rc, const struct err *e)
{
	struct operation *op = arg;
	op->persist.rc = rc;
	if (rc < 0 && e)
		op->persist.failure = *e;
	loop_post(op->engine->loop, persist_back, op);
}

/* ---- core loop: transitions ---- */

static void submit(struct operation *op)
{
	writer_submit(op->engine->writer,
	        (struct writer_job){.run = persist_run, .done = persist_done, .arg = op});
}

int operation_next_pause_ms(struct operation *op)
{
	const struct operation_times *times = &op->engine->times;
	int next = op->pause_ms > 0 ? op->pause_ms * 2 : times->retry_min_ms;
	op->pause_ms = next < times->retry_max_ms ? next : times->retry_max_ms;
	return op->pause_ms;
}

static void on_pause_over(void *arg)
{
	struct operation *op = arg;
	loop_timer_free(TAKE(op->timer));
	submit(op);
}

static void try_again(struct operation *op)
{
	if (!op->failure_logged)
		log_err(LOG_LEVEL_ERROR, &op->persist.failure,
		        "operation %s (%s) cannot be written, trying again until it can", op->id,
		        op->kind_name);
	op->failure_logged = true;
	op->timer = loop_timer_start(
	        op->engine->loop, operation_next_pause_ms(op), 0, on_pause_over, op);
}

static void persist_back(void *arg)
{
	struct operation *op = arg;
	const struct persist *p = &op->persist;
	if (op->engine->stopped)
		return;
	if (p->is_refused && !operation_is_cancelled(op)) {
		submit(op); /* that cancel was rolled back after all: its commit failed */
		return;
	}
	bool answered = p->rc == 0 || p->is_refused || p->store_failed || p->row_is_gone;
	if (!answered) {
		try_again(op);
		return;
	}
	if (op->failure_logged)
		log_info("operation %s (%s) could be written again", op->id, op->kind_name);
	op->failure_logged = false;
	op->pause_ms = 0;
	operation_persisted(op);
}

static char *encode_error(const struct operation *op)
{
	struct json_writer w CLEANUP(json_writer_done) = {0};
	json_object_begin(&w);
	problem_encode_members(op->error, &w);
	if (op->error_step)
		json_member_string(&w, "step", op->error_step);
	json_object_end(&w);
	return str_take(&w.out);
}

void operation_persist(struct operation *op, int step, bool undoing, enum operation_state state)
{
	struct persist *p = &op->persist;
	bool has_error = op->error && (undoing || p->goal == PERSIST_END);
	loop_timer_free(TAKE(op->report.timer));
	op->report.is_dirty = op->report.is_notable = false; /* all of it is in this job */
	p->memory = json_dumps(op->memory, JSON_COMPACT);
	p->error = has_error && state != OPERATION_SUCCEEDED ? encode_error(op) : NULL;
	p->update = (struct operation_update){
	        .id = op->id,
	        .state = state,
	        .step = step,
	        .undoing = undoing,
	        .memory = p->memory,
	        .phase = op->phase,
	        .reason = op->reason,
	        .error = p->error,
	        .percent = state == OPERATION_SUCCEEDED ? 100 : op->percent,
	        .done_bytes = op->done_bytes,
	        .total_bytes = op->total_bytes,
	        .started_at = op->started_at,
	        .ended_at = p->goal == PERSIST_END ? clock_wall_ms() : 0,
	};
	submit(op);
}

void operation_persist_release(struct operation *op)
{
	struct persist *p = &op->persist;
	if (p->release)
		p->release(p->store_arg);
	free(p->memory);
	free(p->error);
	*p = (struct persist){0};
}

/* ---- reports ---- */

static int report_run(struct db *db, void *arg, struct err *e)
{
	struct operation *op = arg;
	const struct report *r = &op->report;
	int rc = operation_store_report(db, &r->values, e);
	if (rc < 0 || !r->in_feed)
		return rc;
	struct operation_news news = news_of(op);
	news.state = OPERATION_RUNNING;
	news.phase = r->phase;
	return operation_change_add(db, &news, e);
}

static void report_back(void *arg);

static void report_done(void *arg, int rc, const struct err *e)
{
	(void)e;
	struct operation *op = arg;
	op->report.rc = rc;
	loop_post(op->engine->loop, report_back, op);
}

static void report_send(struct operation *op)
{
	struct report *r = &op->report;
	snprintf(r->phase, sizeof(r->phase), "%s", op->phase);
	snprintf(r->reason, sizeof(r->reason), "%s", op->reason);
	r->values = (struct operation_report){.id = op->id,
	        .phase = r->phase,
	        .reason = r->reason,
	        .percent = op->percent,
	        .done_bytes = op->done_bytes,
	        .total_bytes = op->total_bytes,
	        .started_at = op->started_at};
	r->in_feed = r->is_notable;
	r->is_dirty = r->is_notable = false;
	r->is_in_flight = true;
	r->sent_ms = clock_now_ms();
	writer_submit(op->engine->writer,
	        (struct writer_job){.run = report_run, .done = report_done, .arg = op});
}

static void on_report_due(void *arg)
{
	struct operation *op = arg;
	loop_timer_free(TAKE(op->report.timer));
	report_send(op);
}

static void report_schedule(struct operation *op)
{
	struct report *r = &op->report;
	if (r->is_in_flight || r->timer)
		return;
	int64_t wait = r->sent_ms ? r->sent_ms + op->engine->times.report_ms - clock_now_ms() : 0;
	if (wait > 0)
		r->timer = loop_timer_start(op->engine->loop, wait, 0, on_report_due, op);
	else
		report_send(op);
}

static void report_back(void *arg)
{
	struct operation *op = arg;
	struct report *r = &op->report;
	bool shows = op->activity == OPERATION_STEPPING || op->activity == OPERATION_RESTING;
	r->is_in_flight = false;
	if (op->engine->stopped || !shows)
		return;
	if (r->rc < 0) {
		r->is_dirty = true;
		r->is_notable |= r->in_feed;
	} else if (r->is_notable) {
		report_send(op);
		return;
	}
	if (r->is_dirty)
		report_schedule(op);
}

void operation_report_later(struct operation *op)
{
	if (op->engine->stopped)
		return;
	op->report.is_dirty = true;
	report_schedule(op);
}

void operation_report_now(struct operation *op)
{
	if (op->engine->stopped)
		return;
	op->report.is_dirty = op->report.is_notable = true;
	if (op->report.is_in_flight)
		return;
	loop_timer_free(TAKE(op->report.timer));
	report_send(op);
}

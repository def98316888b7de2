/* SPDX-License-Identifier: Apache-2.0 */
/* Operations as others see them: what a step may ask, and how one is created and cancelled. */
#include "operation/operation.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "db/change_feed.h"
#include "operation/operation_internal.h"

const char *const operation_state_names[OPERATION_STATES + 1] = {
        "queued", "running", "succeeded", "failed", "cancelled", "interrupted", NULL};

const char *operation_id(const struct operation *op)
{
	return op->id;
}

const char *operation_target_id(const struct operation *op)
{
	return op->target_id;
}

const char *operation_target_name(const struct operation *op)
{
	return op->target_name;
}

const char *operation_host_id(const struct operation *op)
{
	return op->host_id ? op->host_id : "";
}

json_t *operation_input(const struct operation *op)
{
	return op->input;
}

json_t *operation_memory(const struct operation *op)
{
	return op->memory;
}

bool operation_is_cancelled(const struct operation *op)
{
	return atomic_load(&op->cancel);
}

bool operation_is_undoing(const struct operation *op)
{
	return op->undoing;
}

bool operation_is_abandoned(const struct operation *op)
{
	return op->engine->stopped;
}

void *operation_context(const struct operation *op)
{
	return op->engine->context;
}

struct loop *operation_loop(const struct operation *op)
{
	return op->engine->loop;
}

const struct operation_kind *operation_kind_find(
        const struct operation_engine *engine, const char *name)
{
	return map_get(engine->kinds, name);
}

static json_t *parse_object(const char *text)
{
	json_t *value = text ? json_loads(text, 0, NULL) : NULL;
	if (json_is_object(value))
		return value;
	json_decref(value);
	return json_object();
}

struct operation *operation_new(struct operation_engine *engine, const struct operation_row *row)
{
	struct operation *op = xcalloc(1, sizeof(*op));
	op->engine = engine;
	op->kind = operation_kind_find(engine, row->kind);
	op->kind_name = xstrdup(row->kind);
	op->target_kind = xstrdup(row->target_kind);
	op->target_id = xstrdup(row->target_id);
	op->target_name = xstrdup(row->target_name);
	op->host_id = xstrdup(row->host_id);
	op->queue = xstrdup(row->queue);
	op->request_id = xstrdup(row->request_id);
	snprintf(op->id, sizeof(op->id), "%s", row->id);
	op->deadline = row->deadline;
	op->started_at = row->started_at;
	op->input = parse_object(row->input);
	op->memory = parse_object(row->memory);
	op->step = row->step;
	op->undoing = row->undoing;
	atomic_store(&op->cancel, row->cancel);
	op->percent = row->percent;
	op->done_bytes = row->done_bytes;
	op->total_bytes = row->total_bytes;
	snprintf(op->phase, sizeof(op->phase), "%s", row->phase ? row->phase : "");
	snprintf(op->reason, sizeof(op->reason), "%s", row->reason ? row->reason : "");
	return op;
}

void operation_free(struct operation *op)
{
	if (!op)
		return;
	operation_persist_release(op);
	loop_timer_free(op->timer);
	loop_timer_free(op->report.timer);
	char *const texts[] = {op->kind_name, op->target_kind, op->target_id, op->target_name,
	        op->host_id, op->queue, op->request_id, op->error_step};
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		free(texts[i]);
	json_decref(op->input);
	json_decref(op->memory);
	free(op->error);
	free(op);
}

/* ---- creation and cancelling: writer thread ---- */

int operation_change_add(struct db *db, const struct operation_news *news, struct err *e)
{
	CLEANUP(json_writer_done) struct json_writer w = {0};
	json_object_begin(&w);
	json_member_string(&w, "state", operation_state_names[news->state]);
	json_member_string(&w, "kind", news->kind);
	json_member_string(&w, "target_id", news->target_id);
	json_member_string(&w, "phase", news->phase);
	json_object_end(&w);
	return change_add(db,
	        &(struct change){.kind = "operation",
	                .event = news->event,
	                .object_id = news->id,
	                .name = news->target_name,
	                .data = str_text(&w.out)},
	        e);
}

static int add_row_change(
        struct db *db, const char *event, const struct operation_row *row, struct err *e)
{
	struct operation_news news = {.event = event,
	        .id = row->id,
	        .kind = row->kind,
	        .target_id = row->target_id,
	        .target_name = row->target_name,
	        .phase = row->phase,
	        .state = row->state};
	return operation_change_add(db, &news, e);
}

/* Borrows its texts from the request; `input` is owned by the caller. */
static struct operation_row row_from_request(
        const struct operation_request *request, char *id, char *input)
{
	return (struct operation_row){
	        .id = id,
	        .kind = (char *)request->kind,
	        .target_kind = (char *)request->target_kind,
	        .target_id = (char *)request->target_id,
	        .target_name = (char *)request->target_name,
	        .host_id = str_is_empty(request->host_id) ? NULL : (char *)request->host_id,
	        .queue = (char *)(request->queue ? request->queue : request->target_id),
	        .input = input,
	        .phase = (char *)"",
	        .requested_by = (char *)request->requested_by,
	        .request_id = (char *)(request->request_id ? request->request_id : ""),
	        .deadline = request->deadline_ms,
	        .created_at = clock_wall_ms(),
	};
}

static void on_created(void *arg, bool committed)
{
	struct operation *op = arg;
	if (committed)
		operation_inbox_put(
		        op->engine, (struct inbox_item){.message = INBOX_ADOPT, .op = op});
	else
		operation_free(op);
}

int operation_create(struct db *db, struct operation_engine *engine,
        const struct operation_request *request, char ret_id[UUID_TEXT_SIZE], struct err *e)
{
	if (!operation_kind_find(engine, request->kind))
		return err_set(e, ERR_INTERNAL, "no such kind of operation: %s", request->kind);
	char id[UUID_TEXT_SIZE];
	uuid_make(id);
	CLEANUP(cleanup_free)
	char *input = request->input ? json_dumps(request->input, JSON_COMPACT) : xstrdup("{}");
	struct operation_row row = row_from_request(request, id, input);
	int rc = operation_store_insert(db, &row, e);
	if (rc == 0)
		rc = add_row_change(db, "created", &row, e);
	if (rc < 0)
		return rc;
	db_on_end(db, on_created, operation_new(engine, &row));
	memcpy(ret_id, id, sizeof(id));
	return 0;
}

struct cancel_note {
	struct operation_engine *engine;
	char id[UUID_TEXT_SIZE];
};

static void on_cancelled(void *arg, bool committed)
{
	struct cancel_note *note = arg;
	if (committed) {
		struct inbox_item item = {.message = INBOX_CANCEL};
		memcpy(item.id, note->id, sizeof(item.id));
		operation_inbox_put(note->engine, item);
	}
	free(note);
}

/* The name of the final step at or before `step`, or NULL. */
static const char *find_final_step(const struct operation_kind *kind, int step)
{
	for (int i = 0; kind && i <= step && i < (int)kind->n_steps; i++)
		if (kind->steps[i].flags & OPERATION_FINAL)
			return kind->steps[i].name;
	return NULL;
}

static int check_cancellable(
        const struct operation_engine *engine, const struct operation_row *row, struct err *e)
{
	if (row->ended_at != 0)
		return err_set(e, ERR_WRONG_STATE, "operation '%s' (%s) has ended already: %s",
		        row->id, row->kind, operation_state_names[row->state]);
	if (row->undoing)
		return err_set(e, ERR_WRONG_STATE,
		        "operation '%s' (%s) has failed and is being undone", row->id, row->kind);
	const char *final =
	        row->state == OPERATION_RUNNING
	                ? find_final_step(operation_kind_find(engine, row->kind), row->step)
	                : NULL;
	if (final)
		return err_set(e, ERR_WRONG_STATE,
		        "operation '%s' (%s) cannot be cancelled any more: step '%s' has begun",
		        row->id, row->kind, final);
	return 0;
}

int operation_cancel(struct db *db, struct operation_engine *engine, const char *id, struct err *e)
{
	CLEANUP(operation_row_done) struct operation_row row = {0};
	int rc = operation_store_get(db, id, &row, e);
	if (rc < 0)
		return rc;
	if (row.cancel && row.ended_at == 0)
		return 0; /* asked before, and on its way */
	if ((rc = check_cancellable(engine, &row, e)) < 0 ||
	        (rc = operation_store_set_cancel(db, row.id, e)) < 0 ||
	        (rc = add_row_change(db, "updated", &row, e)) < 0)
		return rc;
	struct cancel_note *note = xcalloc(1, sizeof(*note));
	note->engine = engine;
	snprintf(note->id, sizeof(note->id), "%s", row.id);
	db_on_end(db, on_cancelled, note);
	return 0;
}

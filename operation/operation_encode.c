/* SPDX-License-Identifier: Apache-2.0 */
/* Operations as api.md describes them. Any thread. */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "operation/operation_internal.h"

static const char *const step_states[] = {"pending", "running", "done", "undoing", "undone",
        "failed", "cancelled", "interrupted", NULL};

/* ---- the field table: for the schema; the answer itself is written below ---- */

static const struct field target_fields[] = {
        {.name = "kind",
                .type = FIELD_STRING,
                .flags = FIELD_READ_ONLY,
                .offset = offsetof(struct operation_row, target_kind),
                .doc = "Kind of the resource: vm, host or volume."},
        {.name = "id",
                .type = FIELD_STRING,
                .flags = FIELD_READ_ONLY,
                .offset = offsetof(struct operation_row, target_id),
                .doc = "Its id."},
        {.name = "name",
                .type = FIELD_STRING,
                .flags = FIELD_READ_ONLY,
                .offset = offsetof(struct operation_row, target_name),
                .doc = "Its name when the operation was created."},
};
static const struct field_table target_table =
        FIELD_TABLE(NULL, struct operation_row, target_fields);

static const struct field progress_fields[] = {
        {.name = "percent",
                .type = FIELD_INT,
                .flags = FIELD_READ_ONLY,
                .max = 100,
                .doc = "How much is done, as far as it can be told."},
        {.name = "done_bytes",
                .type = FIELD_INT,
                .flags = FIELD_READ_ONLY,
                .offset = offsetof(struct operation_row, done_bytes),
                .doc = "Bytes moved so far."},
        {.name = "total_bytes",
                .type = FIELD_INT,
                .flags = FIELD_READ_ONLY,
                .offset = offsetof(struct operation_row, total_bytes),
                .doc = "Bytes to move; 0 when that is not known or not the measure."},
        {.name = "phase",
                .type = FIELD_STRING,
                .flags = FIELD_READ_ONLY,
                .offset = offsetof(struct operation_row, phase),
                .doc = "The step under way; 'undo STEP' while it is undone."},
};
static const struct field_table progress_table =
        FIELD_TABLE(NULL, struct operation_row, progress_fields);

static const struct field step_fields[] = {
        {.name = "name", .type = FIELD_STRING, .flags = FIELD_READ_ONLY, .doc = "The step."},
        {.name = "state",
                .type = FIELD_ENUM,
                .flags = FIELD_READ_ONLY,
                .names = step_states,
                .doc = "What became of it."},
};
static const struct field_table step_table =
        FIELD_TABLE("OperationStep", struct operation_row, step_fields);

#define TEXT(member, flags_, doc_)                                                                 \
	{                                                                                          \
		.name = #member, .type = FIELD_STRING, .flags = FIELD_READ_ONLY | (flags_),        \
		.offset = offsetof(struct operation_row, member), .doc = doc_                      \
	}
#define TIME(member, flags_, doc_)                                                                 \
	{                                                                                          \
		.name = #member, .type = FIELD_TIME, .flags = FIELD_READ_ONLY | (flags_),          \
		.offset = offsetof(struct operation_row, member), .doc = doc_                      \
	}

static const struct field fields[] = {
        TEXT(id, 0, "The operation's id."),
        TEXT(kind, FIELD_FILTER, "What is done, such as vm.create."),
        {.name = "target",
                .type = FIELD_OBJECT,
                .flags = FIELD_READ_ONLY,
                .sub = &target_table,
                .doc = "What it is done to."},
        TEXT(host_id, FIELD_NULLABLE, "Id of the host where it is done; null if none."),
        {.name = "state",
                .type = FIELD_ENUM,
                .flags = FIELD_READ_ONLY | FIELD_FILTER,
                .offset = offsetof(struct operation_row, state),
                .names = operation_state_names,
                .doc = "Where it stands; the last four states are final."},
        {.name = "progress",
                .type = FIELD_OBJECT,
                .flags = FIELD_READ_ONLY,
                .sub = &progress_table,
                .doc = "How far it is; written about once a second."},
        TEXT(reason, 0, "Why it waits, or why it failed; empty otherwise."),
        {.name = "error",
                .type = FIELD_JSON,
                .flags = FIELD_READ_ONLY | FIELD_NULLABLE,
                .offset = offsetof(struct operation_row, error),
                .doc = "The problem (RFC 9457) that made it fail, with the step; null if there is "
                       "none."},
        {.name = "result",
                .type = FIELD_JSON,
                .flags = FIELD_READ_ONLY | FIELD_NULLABLE,
                .offset = offsetof(struct operation_row, memory),
                .doc = "What its steps found or made so far, by kind; null if nothing, or if it "
                       "was undone."},
        TEXT(requested_by, 0, "Who asked for it; 'berth' for our own work."),
        TIME(created_at, FIELD_FILTER | FIELD_SORT, "When it was asked for."),
        TIME(started_at, FIELD_NULLABLE, "When its first step began."),
        TIME(ended_at, FIELD_NULLABLE, "When it ended."),
        {.name = "steps",
                .type = FIELD_LIST,
                .flags = FIELD_READ_ONLY,
                .sub = &step_table,
                .doc = "Its steps in order."},
};
const struct field_table operation_fields = FIELD_TABLE("Operation", struct operation_row, fields);

/* ---- the answer ---- */

/* Index of the step named in the stored error, or -1. */
static int find_failed_step(const struct operation_kind *kind, const char *error)
{
	json_t *problem = error ? json_loads(error, 0, NULL) : NULL;
	const char *name = json_string_value(json_object_get(problem, "step"));
	int found = -1;
	for (size_t i = 0; name && i < kind->n_steps; i++)
		if (strcmp(kind->steps[i].name, name) == 0)
			found = (int)i;
	json_decref(problem);
	return found;
}

/* The state of a step before which nothing was turned back. */
static const char *forward_state(const struct operation_row *row, int step)
{
	if (row->state == OPERATION_SUCCEEDED ||
	        (row->state != OPERATION_QUEUED && step < row->step))
		return "done";
	if (row->state == OPERATION_QUEUED || step > row->step)
		return "pending";
	return row->state == OPERATION_RUNNING ? "running" : "interrupted";
}

/* The state of a step of an operation that was turned back at step `failed`. */
static const char *backward_state(
        const struct operation_row *row, const struct operation_step *steps, int step, int failed)
{
	if (step > failed)
		return "pending";
	bool under_way = row->state == OPERATION_RUNNING;
	if (under_way && step == row->step)
		return "undoing";
	if (under_way && step < row->step)
		return "done";
	if (step == failed)
		return row->state == OPERATION_CANCELLED || (under_way && row->cancel) ? "cancelled"
		                                                                       : "failed";
	return steps[step].undo ? "undone" : "done";
}

static void encode_steps(
        const struct operation_kind *kind, const struct operation_row *row, struct json_writer *w)
{
	bool backward =
	        row->undoing || row->state == OPERATION_FAILED || row->state == OPERATION_CANCELLED;
	int failed = backward && kind ? find_failed_step(kind, row->error) : -1;
	json_key(w, "steps");
	json_array_begin(w);
	for (size_t i = 0; kind && i < kind->n_steps; i++) {
		json_object_begin(w);
		json_member_string(w, "name", kind->steps[i].name);
		json_member_string(w, "state",
		        backward ? backward_state(row, kind->steps, (int)i, failed)
		                 : forward_state(row, (int)i));
		json_object_end(w);
	}
	json_array_end(w);
}

static void encode_target(const struct operation_row *row, struct json_writer *w)
{
	json_key(w, "target");
	json_object_begin(w);
	json_member_string(w, "kind", row->target_kind);
	json_member_string(w, "id", row->target_id);
	json_member_string(w, "name", row->target_name);
	json_object_end(w);
}

static void encode_progress(const struct operation_row *row, struct json_writer *w)
{
	json_key(w, "progress");
	json_object_begin(w);
	json_member_int(w, "percent", row->percent);
	json_member_int(w, "done_bytes", row->done_bytes);
	json_member_int(w, "total_bytes", row->total_bytes);
	json_member_string(w, "phase", row->phase);
	json_object_end(w);
}

/* Of an operation that was turned back nothing is left to show. */
static void encode_result(const struct operation_row *row, struct json_writer *w)
{
	bool may_have = row->memory && !row->undoing && row->state != OPERATION_FAILED &&
	                row->state != OPERATION_CANCELLED &&
	                strstr(row->memory, "\"" OPERATION_RESULT "\"");
	json_t *memory = may_have ? json_loads(row->memory, 0, NULL) : NULL;
	const json_t *result = json_object_get(memory, OPERATION_RESULT);
	char *text CLEANUP(cleanup_free) = result ? json_dumps(result, JSON_COMPACT) : NULL;
	json_member_raw(w, "result", text ? text : "null");
	json_decref(memory);
}

void operation_encode(const struct operation_engine *engine, const struct operation_row *row,
        struct json_writer *w)
{
	json_object_begin(w);
	json_member_string(w, "id", row->id);
	json_member_string(w, "kind", row->kind);
	encode_target(row, w);
	json_member_string(w, "host_id", row->host_id);
	json_member_string(w, "state", operation_state_names[row->state]);
	encode_progress(row, w);
	json_member_string(w, "reason", row->reason);
	json_member_raw(w, "error", row->error ? row->error : "null");
	encode_result(row, w);
	json_member_string(w, "requested_by", row->requested_by);
	json_member_time(w, "created_at", row->created_at);
	json_member_time(w, "started_at", row->started_at);
	json_member_time(w, "ended_at", row->ended_at);
	encode_steps(operation_kind_find(engine, row->kind), row, w);
	json_object_end(w);
}

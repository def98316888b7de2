/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operations of snapshot groups: both wait for the operations of the members.
 *
 *  create:  members   all must succeed          undo: all end, and those that are there are deleted
 *  delete:  members
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "compute/snapshot_group_internal.h"
#include "compute/snapshot_group_store.h"
#include "compute/vm_live.h"
#include "operation/operation_store.h"

#define WORK_TIMEOUT_MS (24 * 3600 * (int64_t)1000)

/* A step's wait, and its jobs. */
struct task {
	struct operation *op;
	const struct operation_services *services;
	json_t *members; /* owned copy: reference counts are not for two threads */
	size_t left, at;
	int (*each)(struct db *db, struct task *task, const json_t *member, struct err *e);
	void (*then)(struct task *task);
	int rc;
	struct err error;
};

static struct task *task_new(struct operation *op)
{
	struct task *task = xcalloc(1, sizeof(*task));
	task->op = op;
	task->services = operation_context(op);
	task->members = json_deep_copy(json_object_get(operation_input(op), "members"));
	return task;
}

static void end_step(struct task *task, int rc, const struct err *e)
{
	struct operation *op = task->op;
	struct err error = rc < 0 ? *e : (struct err){0};
	json_decref(task->members);
	free(task);
	operation_step_done(op, rc, &error);
}

static const char *text_of(const json_t *member, const char *name)
{
	const char *text = json_string_value(json_object_get(member, name));
	return text ? text : "";
}

/* ---- how the members' operations ended ---- */

/* Let go because another one failed: that one is the reason. */
static bool is_consequence(const struct operation_row *row)
{
	return row->error && strstr(row->error, "\"code\":\"cancelled\"");
}

/* 0 unless it failed: then `e` is set, but a better reason is not replaced by a consequence. */
static int check_member(struct db *db, const json_t *member, int rc_before, struct err *e)
{
	struct operation_row row CLEANUP(operation_row_done) = {0};
	int rc = operation_store_get(db, text_of(member, "operation"), &row, e);
	if (rc < 0 || (row.ended_at && row.state == OPERATION_SUCCEEDED))
		return rc;
	if (rc_before < 0 && is_consequence(&row))
		return ERR_UNPROCESSABLE;
	rc = operation_row_explain(&row, e);
	err_prefix(e, "VM %s", text_of(member, "vm"));
	return rc;
}

static int run_check(struct db *db, void *arg, struct err *e)
{
	struct task *task = arg;
	int rc = 0;
	for (size_t i = 0; i < json_array_size(task->members); i++) {
		int member_rc = check_member(db, json_array_get(task->members, i), rc, e);
		rc = member_rc < 0 ? member_rc : rc;
	}
	return rc;
}

static void on_check_back(void *arg)
{
	struct task *task = arg;
	snapshot_group_forget(task->services->barriers, operation_target_id(task->op));
	end_step(task, task->rc, &task->error);
}

static void on_check(void *arg, int rc, const struct err *e)
{
	struct task *task = arg;
	task->rc = rc;
	task->error = rc < 0 && e ? *e : (struct err){0};
	loop_post(task->services->loop, on_check_back, task);
}

static void on_ended(void *arg, bool ended)
{
	struct task *task = arg;
	struct err why;
	err_set(&why, ERR_CANCELLED, "the snapshot of another VM of the group failed");
	/* All pass the barrier before the first can end well. */
	if (ended)
		snapshot_group_break(task->services->barriers, operation_target_id(task->op), &why);
	if (--task->left > 0)
		return;
	writer_submit(task->services->writer,
	        (struct writer_job){.run = run_check, .done = on_check, .arg = task});
}

/* There is at least one. */
static void await(struct task *task, void (*on_one)(void *arg, bool ended))
{
	size_t n = task->left = json_array_size(task->members);
	for (size_t i = 0; i < n; i++)
		operation_engine_wait(task->services->engine,
		        text_of(json_array_get(task->members, i), "operation"), WORK_TIMEOUT_MS,
		        on_one, task);
}

static void run_members(struct operation *op)
{
	struct task *task = task_new(op);
	if (json_array_size(task->members) == 0)
		end_step(task, 0, NULL);
	else
		await(task, on_ended);
}

/* ---- all or nothing: what still waits is cancelled, all are waited for, and what is there is deleted ---- */

static int cancel_one(struct db *db, struct task *task, const json_t *member, struct err *e)
{
	int rc = operation_cancel(db, task->services->engine, text_of(member, "operation"), e);
	return rc == ERR_WRONG_STATE || rc == ERR_NOT_FOUND ? 0 : rc; /* it ends by itself */
}

static int delete_one(struct db *db, struct task *task, const json_t *member, struct err *e)
{
	struct vm_row vm CLEANUP(vm_row_done) = {0};
	struct snapshot_row row CLEANUP(snapshot_row_done) = {0};
	const struct vm_request asked = {.requested_by = "berth", .wait_ms = HOST_PATIENCE_MS};
	char operation[UUID_TEXT_SIZE];
	int rc = vm_store_get(db, text_of(member, "vm_id"), &vm, e);
	if (rc == 0)
		rc = snapshot_store_get(db, vm.id, text_of(member, "snapshot"), &row, e);
	if (rc == 0 && row.state == SNAPSHOT_READY)
		rc = snapshot_delete(db, task->services->vms, &vm, &row, &asked, operation, e);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

static void walk_on(struct task *task);

static void on_each_back(void *arg)
{
	struct task *task = arg;
	if (task->rc < 0)
		log_err(LOG_LEVEL_WARNING, &task->error,
		        "a snapshot of group %s could not be undone",
		        operation_target_name(task->op));
	task->at++;
	walk_on(task);
}

static void on_each(void *arg, int rc, const struct err *e)
{
	struct task *task = arg;
	task->rc = rc;
	task->error = rc < 0 && e ? *e : (struct err){0};
	loop_post(task->services->loop, on_each_back, task);
}

static int run_each(struct db *db, void *arg, struct err *e)
{
	struct task *task = arg;
	return task->each(db, task, json_array_get(task->members, task->at), e);
}

/* One job of the writer for each member. */
static void walk_on(struct task *task)
{
	if (task->at == json_array_size(task->members))
		task->then(task);
	else
		writer_submit(task->services->writer,
		        (struct writer_job){.run = run_each, .done = on_each, .arg = task});
}

static void walk(struct task *task,
        int (*each)(struct db *db, struct task *task, const json_t *member, struct err *e),
        void (*then)(struct task *task))
{
	task->at = 0;
	task->each = each;
	task->then = then;
	walk_on(task);
}

static void end_undone(struct task *task)
{
	end_step(task, 0, NULL);
}

/* What was past return when the group was given up is there only now. */
static void on_undone_ended(void *arg, bool ended)
{
	struct task *task = arg;
	struct err stopped;
	(void)ended;
	if (--task->left > 0)
		return;
	if (operation_is_abandoned(task->op)) {
		int rc = err_set(&stopped, ERR_CANCELLED, "berthd is stopping");
		end_step(task, rc, &stopped);
		return;
	}
	snapshot_group_forget(task->services->barriers, operation_target_id(task->op));
	walk(task, delete_one, end_undone);
}

static void await_undone(struct task *task)
{
	await(task, on_undone_ended);
}

static void undo_members(struct operation *op)
{
	struct task *task = task_new(op);
	struct err why;
	err_set(&why, ERR_CANCELLED, "snapshot group %s was given up", operation_target_name(op));
	snapshot_group_break(task->services->barriers, operation_target_id(op), &why);
	walk(task, cancel_one, await_undone);
}

/* The members that wait for each other need not wait any longer; the step ends with them. */
static void on_cancel(struct operation *op)
{
	const struct operation_services *services = operation_context(op);
	struct err why;
	err_set(&why, ERR_CANCELLED, "snapshot group %s was cancelled", operation_target_name(op));
	snapshot_group_break(services->barriers, operation_target_id(op), &why);
}

static int finish_create(struct db *db, const struct operation *op, enum operation_state outcome,
        const struct err *error, struct err *e)
{
	(void)error;
	const char *id = operation_target_id(op), *name = operation_target_name(op);
	int rc = outcome == OPERATION_SUCCEEDED ? snapshot_group_store_set_state(db, id, "ready", e)
	                                        : snapshot_group_store_delete(db, id, e);
	return rc < 0 ? rc
	              : snapshot_group_add_change(db,
	                        outcome == OPERATION_SUCCEEDED ? "ready" : "deleted", id, name, e);
}

/* What could not be deleted stays in the group, which can be deleted again. */
static int finish_delete(struct db *db, const struct operation *op, enum operation_state outcome,
        const struct err *error, struct err *e)
{
	(void)error;
	const char *id = operation_target_id(op);
	if (outcome != OPERATION_SUCCEEDED)
		return snapshot_group_store_set_state(db, id, "ready", e);
	int rc = snapshot_group_store_delete(db, id, e);
	return rc < 0 ? rc
	              : snapshot_group_add_change(db, "deleted", id, operation_target_name(op), e);
}

static const struct operation_step create_steps[] = {
        {.name = "members", .run = run_members, .undo = undo_members},
};
const struct operation_kind snapshot_group_create_kind = {.name = "snapshot_group.create",
        .steps = create_steps,
        .n_steps = ARRAY_LEN(create_steps),
        .finish = finish_create,
        .on_cancel = on_cancel};

static const struct operation_step delete_steps[] = {{.name = "members", .run = run_members}};
const struct operation_kind snapshot_group_delete_kind = {.name = "snapshot_group.delete",
        .steps = delete_steps,
        .n_steps = ARRAY_LEN(delete_steps),
        .finish = finish_delete};

void snapshot_group_register_kinds(struct operation_engine *engine)
{
	operation_engine_register(engine, &snapshot_group_create_kind);
	operation_engine_register(engine, &snapshot_group_delete_kind);
}

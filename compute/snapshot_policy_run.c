/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One run of a snapshot policy, as an operation.
 *
 *	room    of VMs whose chains are full, as many of the policy's oldest snapshots are deleted as it takes; waits
 *	create  a snapshot of each VM, in its queue; waits
 *	expire  what came of each; deletes the policy's snapshots beyond `keep`, oldest first; does not wait
 *
 * A step walks over the VMs with one job of the writer each, so that a VM that fails harms none of the others and no job is
 * long. Repeating a step is harmless: a snapshot's name says which run it is of.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "base/vec.h"
#include "compute/snapshot_policy_internal.h"
#include "compute/snapshot_policy_store.h"
#include "compute/vm_live.h"
#include "operation/operation_store.h"
#include "storage/layer.h"

#define WORK_TIMEOUT_MS (4 * 3600 * (int64_t)1000) /* for one VM's merge or snapshot */
#define FAILED_SHOWN    50

struct walk;
typedef int (*walk_fn)(struct db *db, struct walk *walk, const struct vm_row *vm, struct err *e);

/* One step's way over the VMs. The core loop's and the writer's in turn. */
struct walk {
	struct operation *op;
	const struct operation_services *services;
	walk_fn each;
	struct snapshot_policy_row policy;
	int64_t at_ms;
	struct snapshot_selection vms;
	size_t at;
	struct snapshot_ids operations; /* to wait for */
	char vm_name[256];              /* of the one under way */
	char found[UUID_TEXT_SIZE];     /* an operation that `each` made: "" if none */
	char made[UUID_TEXT_SIZE];      /* the one that an earlier step made for this VM */
	int n_found;                    /* what `each` counts */
	int rc;
	struct err error;
};

static void walk_free(struct walk *walk)
{
	snapshot_policy_row_done(&walk->policy);
	snapshot_selection_done(&walk->vms);
	snapshot_ids_done(&walk->operations);
	free(walk);
}

static const struct vm_request by_berth = {
        .requested_by = "berth", .request_id = NULL, .wait_ms = HOST_PATIENCE_MS};

/* ---- memory of the operation: what the run has come to ---- */

static json_t *member(struct operation *op, const char *name)
{
	json_t *memory = operation_memory(op);
	if (!json_object_get(memory, name))
		json_object_set_new(memory, name, json_object());
	return json_object_get(memory, name);
}

static int check_one(struct db *db, struct walk *walk, const struct vm_row *vm, struct err *e);
static int create_one(struct db *db, struct walk *walk, const struct vm_row *vm, struct err *e);

static void note_failed(struct walk *walk, const char *vm, const struct err *e)
{
	json_t *failed = member(walk->op, "failed");
	if (walk->each == check_one && json_object_get(failed, vm))
		return; /* why it could not even be asked for is known */
	if (json_object_size(failed) < FAILED_SHOWN)
		json_object_set_new(failed, vm, json_string(e->message));
	else
		json_object_set_new(failed, "...", json_string("and others"));
}

static void count(struct operation *op, const char *name, int n)
{
	json_t *memory = operation_memory(op);
	json_int_t before = json_integer_value(json_object_get(memory, name));
	json_object_set_new(memory, name, json_integer(before + n));
}

/* ---- waiting for operations ---- */

struct waiting {
	struct walk *walk;
	size_t left;
	void (*then)(struct walk *walk);
};

static void on_ended(void *arg, bool ended)
{
	struct waiting *waiting = arg;
	(void)ended; /* late ones are counted as what they are by then */
	if (--waiting->left > 0)
		return;
	struct walk *walk = waiting->walk;
	void (*then)(struct walk *) = waiting->then;
	free(waiting);
	then(walk);
}

static void wait_for_all(struct walk *walk, void (*then)(struct walk *walk))
{
	if (walk->operations.len == 0) {
		then(walk);
		return;
	}
	struct waiting *waiting = xcalloc(1, sizeof(*waiting));
	*waiting = (struct waiting){.walk = walk, .left = walk->operations.len, .then = then};
	for (size_t i = 0; i < walk->operations.len; i++)
		operation_engine_wait(walk->services->engine, walk->operations.ids[i],
		        WORK_TIMEOUT_MS, on_ended, waiting);
}

static void end_step(struct walk *walk)
{
	struct operation *op = walk->op;
	walk_free(walk);
	operation_step_done(op, 0, NULL);
}

/* ---- the walk ---- */

static void walk_on(struct walk *walk);
static void expire_done(struct walk *walk);

static int run_each(struct db *db, void *arg, struct err *e)
{
	struct walk *walk = arg;
	struct vm_row vm CLEANUP(vm_row_done) = {0};
	bool found = false;
	walk->found[0] = '\0';
	walk->n_found = 0;
	snprintf(walk->vm_name, sizeof(walk->vm_name), "%s", walk->vms.ids[walk->at]);
	int rc = vm_store_find(db, walk->vms.ids[walk->at], &vm, &found, e);
	if (rc < 0 || !found)
		return rc;
	snprintf(walk->vm_name, sizeof(walk->vm_name), "%s", vm.name);
	return walk->each(db, walk, &vm, e);
}

static void add_operation(struct walk *walk, const char *id)
{
	struct snapshot_ids *ids = &walk->operations;
	ids->ids = xrealloc(ids->ids, (ids->len + 1) * sizeof(ids->ids[0]));
	uuid_text_copy(ids->ids[ids->len++], id);
}

static void note_operation(struct walk *walk)
{
	add_operation(walk, walk->found);
	if (walk->each == create_one)
		json_object_set_new(member(walk->op, "operations"), walk->vms.ids[walk->at],
		        json_string(walk->found));
}

static void on_each_back(void *arg)
{
	struct walk *walk = arg;
	if (walk->rc < 0)
		note_failed(walk, walk->vm_name, &walk->error);
	else if (walk->each == check_one)
		json_object_del(member(walk->op, "failed"), walk->vm_name);
	if (walk->rc == 0 && walk->found[0])
		note_operation(walk);
	if (walk->rc == 0 && walk->n_found != 0)
		count(walk->op, walk->n_found > 0 ? "snapshots" : "deleted", abs(walk->n_found));
	walk->at++;
	operation_progress(walk->op, (int)(walk->at * 100 / walk->vms.len), 0, 0);
	walk_on(walk);
}

static void post_back(struct walk *walk, int rc, const struct err *e, void (*fn)(void *arg))
{
	walk->rc = rc;
	walk->error = rc < 0 && e ? *e : (struct err){0};
	loop_post(walk->services->loop, fn, walk);
}

static void on_each_run(void *arg, int rc, const struct err *e)
{
	post_back(arg, rc, e, on_each_back);
}

static int expire_vm(struct db *db, struct walk *walk, const struct vm_row *vm, struct err *e);

static void walk_on(struct walk *walk)
{
	if (operation_is_cancelled(walk->op) || operation_is_abandoned(walk->op)) {
		end_step(walk);
		return;
	}
	if (walk->at < walk->vms.len) {
		const char *made = json_string_value(
		        json_object_get(member(walk->op, "operations"), walk->vms.ids[walk->at]));
		uuid_text_copy(walk->made, made ? made : "");
		writer_submit(walk->services->writer,
		        (struct writer_job){.run = run_each, .done = on_each_run, .arg = walk});
		return;
	}
	if (walk->each == expire_vm)
		expire_done(walk);
	else
		wait_for_all(walk, end_step);
}

static int run_load(struct db *db, void *arg, struct err *e)
{
	struct walk *walk = arg;
	int rc = snapshot_policy_store_get(db, operation_target_id(walk->op), &walk->policy, e);
	return rc < 0 ? rc
	              : snapshot_select(db, &walk->policy.spec.selector, /* is_strict= */ false,
	                        &walk->vms, e);
}

static void on_load_back(void *arg)
{
	struct walk *walk = arg;
	if (walk->rc == 0) {
		walk_on(walk);
		return;
	}
	struct operation *op = walk->op;
	struct err error = walk->error;
	walk_free(walk);
	operation_step_done(op, error.code, &error);
}

static void on_load_run(void *arg, int rc, const struct err *e)
{
	post_back(arg, rc, e, on_load_back);
}

static void walk_begin(struct operation *op, walk_fn each)
{
	struct walk *walk = xcalloc(1, sizeof(*walk));
	walk->op = op;
	walk->services = operation_context(op);
	walk->each = each;
	walk->at_ms = json_integer_value(json_object_get(operation_input(op), "at"));
	writer_submit(walk->services->writer,
	        (struct writer_job){.run = run_load, .done = on_load_run, .arg = walk});
}

/* ---- what is done to each VM: writer thread ---- */

/* The oldest `n` of the policy's; the last operation made is the one to wait for. */
static int delete_oldest(struct db *db, struct walk *walk, const struct vm_row *vm,
        const struct snapshot_ids *own, size_t n, struct err *e)
{
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < n && i < own->len; i++) {
		struct snapshot_row row CLEANUP(snapshot_row_done) = {0};
		rc = snapshot_store_get(db, vm->id, own->ids[i], &row, e);
		if (rc == 0)
			rc = snapshot_delete(
			        db, walk->services->vms, vm, &row, &by_berth, walk->found, e);
		walk->n_found--;
	}
	return rc;
}

static int make_room(struct db *db, struct walk *walk, const struct vm_row *vm, struct err *e)
{
	struct snapshot_ids own CLEANUP(snapshot_ids_done) = {0};
	int64_t depth = 0;
	char disk[64];
	int rc = snapshot_chain_depth(db, vm->id, &depth, disk, e);
	int64_t too_many = depth + 1 - layer_max_chain_depth();
	if (rc < 0 || too_many <= 0)
		return rc;
	rc = snapshot_policy_store_in_chain(db, walk->policy.id, vm->id, disk, &own, e);
	return rc < 0 ? rc : delete_oldest(db, walk, vm, &own, (size_t)too_many, e);
}

static int create_one(struct db *db, struct walk *walk, const struct vm_row *vm, struct err *e)
{
	const struct snapshot_policy_spec *spec = &walk->policy.spec;
	char *name CLEANUP(cleanup_free) = snapshot_policy_make_name(spec->name, walk->at_ms);
	char id[UUID_TEXT_SIZE];
	struct snapshot_row row CLEANUP(snapshot_row_done) = {0};
	int rc = snapshot_store_get(db, vm->id, name, &row, e);
	if (rc == 0) /* asked for before a restart: perhaps it is still to be waited for */
		return operation_find_kind(db, vm->id, "snapshot.create", walk->found, e);
	if (rc != ERR_NOT_FOUND)
		return rc;
	err_clear(e);
	bool runs = vm->recorded_power == POWER_RUNNING;
	const struct snapshot_request request = {
	        .name = name,
	        .description = "",
	        .memory = spec->memory,
	        .quiesce = spec->quiesce && runs,
	        .expires_at = spec->expire_after_hours > 0
	                              ? walk->at_ms + spec->expire_after_hours * 3600000
	                              : 0,
	        .policy_id = walk->policy.id,
	};
	return snapshot_create(
	        db, walk->services->vms, vm, &request, &by_berth, walk->found, id, e);
}

static int expire_vm(struct db *db, struct walk *walk, const struct vm_row *vm, struct err *e)
{
	struct snapshot_ids own CLEANUP(snapshot_ids_done) = {0};
	int rc = snapshot_policy_store_of_vm(db, walk->policy.id, vm->id, &own, e);
	size_t keep = (size_t)walk->policy.spec.keep;
	if (rc < 0 || own.len <= keep)
		return rc;
	return delete_oldest(db, walk, vm, &own, own.len - keep, e);
}

/* After the wait: is this run's snapshot there? */
static int check_one(struct db *db, struct walk *walk, const struct vm_row *vm, struct err *e)
{
	struct operation_row made CLEANUP(operation_row_done) = {0};
	char *name CLEANUP(cleanup_free) =
	        snapshot_policy_make_name(walk->policy.spec.name, walk->at_ms);
	struct snapshot_row row CLEANUP(snapshot_row_done) = {0};
	int rc = snapshot_store_get(db, vm->id, name, &row, e);
	if (rc == 0 && row.state == SNAPSHOT_READY)
		walk->n_found = 1;
	if (walk->n_found == 1 || (rc < 0 && rc != ERR_NOT_FOUND))
		return rc;
	if (walk->made[0] && operation_store_get(db, walk->made, &made, NULL) == 0 && made.ended_at)
		return operation_row_explain(&made, e);
	return err_set(e, ERR_UNPROCESSABLE, "snapshot %s has not been taken in time", name);
}

/* ---- steps ---- */

static void run_room(struct operation *op)
{
	walk_begin(op, make_room);
}

static void run_create(struct operation *op)
{
	walk_begin(op, create_one);
}

static void run_check(struct operation *op)
{
	json_object_del(operation_memory(op), "snapshots"); /* counted anew after a restart */
	walk_begin(op, check_one);
}

static void run_expire(struct operation *op)
{
	walk_begin(op, expire_vm);
}

/* Nothing at all worked: the run has failed. */
static void expire_done(struct walk *walk)
{
	struct operation *op = walk->op;
	size_t n_failed = json_object_size(json_object_get(operation_memory(op), "failed"));
	json_int_t n = json_integer_value(json_object_get(operation_memory(op), "snapshots"));
	struct err e = {0};
	int rc = 0;
	if (n == 0 && n_failed > 0)
		rc = err_set(&e, ERR_UNPROCESSABLE, "no snapshot was taken of any of %zu VMs",
		        walk->vms.len);
	json_t *failed = json_object_get(operation_memory(op), "failed");
	json_t *result = json_pack("{s:I, s:I}", "snapshots", n, "deleted",
	        json_integer_value(json_object_get(operation_memory(op), "deleted")));
	json_object_set_new(result, "failed", failed ? json_deep_copy(failed) : json_object());
	operation_add_result(op, result);
	walk_free(walk);
	operation_step_done(op, rc, &e);
}

static int finish_run(struct db *db, const struct operation *op, enum operation_state outcome,
        const struct err *error, struct err *e)
{
	json_t *memory = operation_memory(op);
	json_t *failed = json_object_get(memory, "failed");
	json_t *result = json_pack("{s:s, s:s, s:I, s:I}", "operation", operation_id(op), "state",
	        operation_state_names[outcome], "snapshots",
	        json_integer_value(json_object_get(memory, "snapshots")), "deleted",
	        json_integer_value(json_object_get(memory, "deleted")));
	json_object_set_new(result, "failed", failed ? json_deep_copy(failed) : json_object());
	if (error)
		json_object_set_new(result, "reason", json_string(error->message));
	char *text CLEANUP(cleanup_free) = json_dumps(result, JSON_COMPACT);
	json_decref(result);
	const char *id = operation_target_id(op);
	int64_t at = json_integer_value(json_object_get(operation_input(op), "at"));
	int rc = snapshot_policy_store_set_last(db, id, at, text, e);
	return rc < 0 ? rc
	              : snapshot_policy_add_change(db, "ran", id, operation_target_name(op), e);
}

static const struct operation_step steps[] = {
        {.name = "room", .run = run_room},
        {.name = "create", .run = run_create},
        {.name = "check", .run = run_check},
        {.name = "expire", .run = run_expire},
};
const struct operation_kind snapshot_policy_run_kind = {.name = "snapshot_policy.run",
        .steps = steps,
        .n_steps = ARRAY_LEN(steps),
        .finish = finish_run};

void snapshot_policy_register_kinds(struct operation_engine *engine)
{
	operation_engine_register(engine, &snapshot_policy_run_kind);
}

int snapshot_policy_run(struct db *db, struct operation_engine *engine,
        const struct snapshot_policy_row *row, int64_t at_ms, const struct vm_request *asked,
        char ret_operation[UUID_TEXT_SIZE], struct err *e)
{
	char busy[UUID_TEXT_SIZE], kind[64];
	int rc = operation_find_busy(db, row->id, busy, kind, e);
	if (rc == 0 && busy[0])
		return err_set(e, ERR_BUSY, "snapshot policy %s is running: operation %s",
		        row->spec.name, busy);
	if (rc < 0)
		return rc;
	json_t *input = json_pack("{s:I}", "at", (json_int_t)at_ms);
	const struct operation_request request = {.kind = snapshot_policy_run_kind.name,
	        .target_kind = "snapshot_policy",
	        .target_id = row->id,
	        .target_name = row->spec.name,
	        .input = input,
	        .requested_by = asked->requested_by,
	        .request_id = asked->request_id};
	rc = operation_create(db, engine, &request, ret_operation, e);
	json_decref(input);
	return rc;
}

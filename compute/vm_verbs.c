/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The power verbs: which states allow them, what they want, and the steps that carry them out. Each
 * step looks at the domain after acting, so that the operation's end and the power that was seen
 * are one transaction.
 *
 *  shutdown:  ask -> wait (asking again every 10 s) -> finish (by force if asked to and still
 * running)
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "compute/vm_call.h"
#include "compute/vm_jobs.h"
#include "compute/vm_live.h"
#include "compute/vm_room.h"
#include "compute/vm_volumes.h"
#include "db/reader.h"

#define ASK_AGAIN_MS 10000

/* ---- start ---- */

/*
 * A change that was asked for after this start is in the row already, but neither its volumes nor its seed are made: the
 * guest starts with what holds until that change has its turn. It may have been taken back since the plan was read.
 */
static int hold_back_changes(struct vm_call *call, char **ret_spec, struct err *e)
{
	char *text CLEANUP(cleanup_free) = NULL;
	struct vm_row now CLEANUP(vm_row_done) = {0};
	struct db *db;
	int rc = readers_get(call->readers, &db, e);
	if (rc == 0)
		rc = operation_find_input(db, call->vm_id, vm_update_kind.name, &text, e);
	if (rc == 0)
		rc = vm_store_get(db, call->vm_id, &now, e);
	if (rc < 0)
		return rc;
	json_t *input CLEANUP(cleanup_json) = text ? json_loads(text, 0, NULL) : NULL;
	const char *before = json_string_value(json_object_get(input, "before"));
	rc = vm_volumes_leave_unmade(db, call->vm_id, before ? before : now.spec, ret_spec, e);
	if (rc < 0)
		return rc;
	vm_spec_done(&call->plan.spec);
	return vm_spec_load(*ret_spec, &call->plan.spec, e);
}

static int prepare(struct vm_call *call, const struct driver *driver, struct driver_connection *c,
        struct err *e)
{
	if (call->plan.row.adopted)
		return 0; /* its definition is not ours to write */
	for (size_t i = 0; i < call->plan.n_volumes; i++) {
		if (!vm_volume_is_named(&call->plan.volumes[i], &call->plan.spec))
			continue;
		int rc = layer_chain_check(&call->plan.chains[i], driver, c, e);
		if (rc < 0)
			return err_prefix(e, "disk %s", call->plan.volumes[i].disk);
	}
	return vm_call_define(call, driver, c, e);
}

static int start_domain(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	struct domain_info info CLEANUP(domain_info_done) = {0};
	int rc = driver->get_domain(c, call->vm_id, &info, e);
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	bool is_off = rc == ERR_NOT_FOUND || domain_state_is_off(info.state);
	if (is_off) {
		char *spec CLEANUP(cleanup_free) = NULL;
		rc = hold_back_changes(call, &spec, e);
		if (rc == 0 && !info.has_managed_save)
			rc = prepare(call, driver, c, e);
		if (rc == 0)
			rc = driver->start(c, call->vm_id, e);
		if (rc < 0)
			return rc;
		if (!info.has_managed_save)
			call->active_spec = TAKE(spec);
	}
	return vm_call_look(call, driver, c, e);
}

static int store_start(struct db *db, struct vm_call *call, struct err *e)
{
	if (!call->active_spec)
		return 0;
	return vm_store_set_active(db, call->vm_id, call->active_spec, "{}", e);
}

static void run_start(struct operation *op)
{
	vm_call_submit(
	        op, start_domain, store_start, 240000, 0); /* defines first: see vm_create.c */
}

static const struct operation_step start_steps[] = {
        {.name = "room", .run = vm_room_wait},
        {.name = "start", .run = run_start},
};

/* ---- the plain verbs: one call each ---- */

static enum shutdown_mode mode_of(const struct vm_call *call)
{
	return (enum shutdown_mode)json_integer_value(json_object_get(call->input, "mode"));
}

#define PLAIN_VERB(verb, action, timeout_ms, flags)                                                \
	static int verb##_domain(struct vm_call *call, const struct driver *driver,                \
	        struct driver_connection *c, struct err *e)                                        \
	{                                                                                          \
		int rc = action;                                                                   \
		return rc < 0 ? rc : vm_call_look(call, driver, c, e);                             \
	}                                                                                          \
	static void run_##verb(struct operation *op)                                               \
	{                                                                                          \
		vm_call_submit(op, verb##_domain, NULL, timeout_ms, flags);                        \
	}                                                                                          \
	static const struct operation_step verb##_steps[] = {{.name = #verb, .run = run_##verb}}

PLAIN_VERB(stop, driver->destroy(c, call->vm_id, e), 60000, VM_CALL_FORCE);
PLAIN_VERB(reboot, driver->reboot(c, call->vm_id, mode_of(call), e), 15000, 0);
PLAIN_VERB(reset, driver->reset(c, call->vm_id, e), 15000, 0);
PLAIN_VERB(pause, driver->pause(c, call->vm_id, e), 15000, 0);
PLAIN_VERB(resume, driver->resume(c, call->vm_id, e), 15000, 0);
PLAIN_VERB(suspend, driver->managed_save(c, call->vm_id, e), 600000, 0);

/* ---- shutdown ---- */

static int ask_shutdown(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	struct domain_info info CLEANUP(domain_info_done) = {0};
	int rc = driver->get_domain(c, call->vm_id, &info, e);
	if (rc == ERR_NOT_FOUND ||
	        (rc == 0 && info.state != DOMAIN_RUNNING && info.state != DOMAIN_PAUSED))
		return 0; /* off already */
	return rc < 0 ? rc : driver->shutdown(c, call->vm_id, mode_of(call), e);
}

static void run_ask(struct operation *op)
{
	vm_call_submit(op, ask_shutdown, NULL, 15000, 0);
}

/* The wait of one shutdown; freed when the step ends. */
struct shutdown_wait {
	struct operation *op;
	int64_t left_ms;
	char vm_id[UUID_TEXT_SIZE];
};

static void wait_more(struct shutdown_wait *wait);

static void on_asked_again(struct vm_call *call, int rc, const struct err *e)
{
	(void)call;
	(void)rc; /* the answer that counts is whether it stops */
	(void)e;
}

static void end_wait_step(struct shutdown_wait *wait, int rc, const struct err *e)
{
	struct operation *op = wait->op;
	free(wait);
	operation_step_done(op, rc, e);
}

static void on_waited(void *arg, bool reached)
{
	struct shutdown_wait *wait = arg;
	struct err e = {0};
	json_t *input = operation_input(wait->op);
	if (vms_of(wait->op)->is_stopping) {
		free(wait); /* the next start takes the operation up again */
	} else if (reached) {
		end_wait_step(wait, 0, NULL);
	} else if (operation_is_cancelled(wait->op)) {
		int rc = err_set(&e, ERR_CANCELLED, "no longer waiting for the guest to shut down");
		end_wait_step(wait, rc, &e);
	} else if (wait->left_ms > 0) {
		vm_call_submit_then(wait->op, ask_shutdown, 15000, 0, on_asked_again);
		wait_more(wait);
	} else if (json_is_true(json_object_get(input, "force"))) {
		end_wait_step(wait, 0, NULL);
	} else {
		int rc = err_set(&e, ERR_DEADLINE,
		        "the guest of VM %s did not shut down within %lld s",
		        operation_target_name(wait->op),
		        json_integer_value(json_object_get(input, "timeout_seconds")));
		err_hint(&e, "the guest may ignore ACPI: install its agent, or repeat with "
		             "\"force\": true");
		end_wait_step(wait, rc, &e);
	}
}

static void wait_more(struct shutdown_wait *wait)
{
	int64_t slice = wait->left_ms < ASK_AGAIN_MS ? wait->left_ms : ASK_AGAIN_MS;
	wait->left_ms -= slice;
	vms_wait_power(vms_of(wait->op), wait->vm_id, POWER_STOPPED, slice, on_waited, wait);
}

static void run_wait(struct operation *op)
{
	struct shutdown_wait *wait = xcalloc(1, sizeof(*wait));
	wait->op = op;
	wait->left_ms =
	        json_integer_value(json_object_get(operation_input(op), "timeout_seconds")) * 1000;
	uuid_text_copy(wait->vm_id, operation_target_id(op));
	vms_mark_dirty(vms_of(op), operation_host_id(op), wait->vm_id);
	wait_more(wait);
}

static int finish_shutdown(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	int rc = 0;
	if (json_is_true(json_object_get(call->input, "force")))
		rc = driver->destroy(c, call->vm_id, e);
	return rc < 0 ? rc : vm_call_look(call, driver, c, e);
}

static void run_finish(struct operation *op)
{
	vm_call_submit(op, finish_shutdown, NULL, 60000, VM_CALL_FORCE);
}

static const struct operation_step shutdown_steps[] = {
        {.name = "ask", .run = run_ask},
        {.name = "wait", .run = run_wait},
        {.name = "finish", .run = run_finish},
};

/* ---- the table ---- */

#define ON(power) (1u << (power))
struct verb {
	const char *name;
	unsigned allowed; /* bits of enum vm_power */
	int desired;      /* enum vm_power, or -1: unchanged */
};

static const struct verb verbs[VM_VERBS] = {
        [VM_START] = {"started", ON(POWER_STOPPED) | ON(POWER_SUSPENDED), POWER_RUNNING},
        [VM_SHUTDOWN] = {"shut down", ON(POWER_RUNNING), POWER_STOPPED},
        [VM_STOP] = {"stopped", ON(POWER_RUNNING) | ON(POWER_PAUSED), POWER_STOPPED},
        [VM_REBOOT] = {"rebooted", ON(POWER_RUNNING), -1},
        [VM_RESET] = {"reset", ON(POWER_RUNNING) | ON(POWER_PAUSED), -1},
        [VM_PAUSE] = {"paused", ON(POWER_RUNNING), POWER_PAUSED},
        [VM_RESUME] = {"resumed", ON(POWER_PAUSED), POWER_RUNNING},
        [VM_SUSPEND] = {"suspended", ON(POWER_RUNNING) | ON(POWER_PAUSED), POWER_SUSPENDED},
};

static int finish_verb(struct db *db, const struct operation *op, enum operation_state outcome,
        const struct err *error, struct err *e)
{
	(void)error;
	const char *id = operation_target_id(op);
	vms_mark_dirty_on_commit(db, vms_of(op), operation_host_id(op), id);
	if (outcome == OPERATION_SUCCEEDED)
		return 0;
	const char *before =
	        json_string_value(json_object_get(operation_input(op), "previous_desired"));
	return vm_store_set_desired(db, id, vm_power_from_name(before), e);
}

#define VERB_KIND(kind_name, verb, job_name)                                                       \
	{                                                                                          \
		.name = kind_name, .steps = verb##_steps, .n_steps = ARRAY_LEN(verb##_steps),      \
		.finish = finish_verb, .on_cancel = vm_room_cancel, VM_JOB(job_name)               \
	}

const struct operation_kind vm_verb_kinds[VM_VERBS] = {
        [VM_START] = VERB_KIND("vm.start", start, START),
        [VM_SHUTDOWN] = VERB_KIND("vm.shutdown", shutdown, POWER),
        [VM_STOP] = VERB_KIND("vm.stop", stop, POWER),
        [VM_REBOOT] = VERB_KIND("vm.reboot", reboot, POWER),
        [VM_RESET] = VERB_KIND("vm.reset", reset, POWER),
        [VM_PAUSE] = VERB_KIND("vm.pause", pause, POWER),
        [VM_RESUME] = VERB_KIND("vm.resume", resume, POWER),
        [VM_SUSPEND] = VERB_KIND("vm.suspend", suspend, SUSPEND),
};

/* ---- the mutation ---- */

/* The state is judged now only if nothing is queued before; otherwise when the turn comes. */
static int check_state(
        struct db *db, const struct vm_row *row, const struct verb *verb, struct err *e)
{
	char busy[UUID_TEXT_SIZE], kind[64];
	int rc = vm_jobs_find_busy(db, row->id, busy, kind, e);
	if (rc < 0 || busy[0] != '\0' || row->power == POWER_UNKNOWN ||
	        verb->allowed & ON(row->power))
		return rc;
	struct str allowed CLEANUP(str_done) = {0};
	for (int power = POWER_STOPPED; power < POWER_UNKNOWN; power++)
		if (verb->allowed & ON(power))
			str_printf(
			        &allowed, "%s%s", allowed.len ? " or " : "", vm_power_names[power]);
	return err_set(e, ERR_WRONG_STATE, "VM %s is %s and cannot be %s: it must be %s", row->name,
	        vm_power_names[row->power], verb->name, allowed.data);
}

int vm_act(struct db *db, struct vms *vms, const struct vm_row *row, enum vm_verb verb,
        const struct vm_verb_options *options, const struct vm_request *request,
        char ret_operation[UUID_TEXT_SIZE], struct err *e)
{
	int rc = vm_check_managed(row, e);
	if (rc == 0)
		rc = vm_check_host(request, db, row->host_id, e);
	if (rc == 0)
		rc = check_state(db, row, &verbs[verb], e);
	if (rc == 0 && verbs[verb].desired >= 0)
		rc = vm_store_set_desired(db, row->id, (enum vm_power)verbs[verb].desired, e);
	json_t *input CLEANUP(cleanup_json) =
	        json_pack("{s:i, s:I, s:b}", "mode", (int)options->mode, "timeout_seconds",
	                (json_int_t)options->timeout_seconds, "force", (int)options->force);
	if (rc == 0 && verb == VM_START)
		rc = vm_room_grant_start(db, vms, row, input, e);
	return rc < 0 ? rc
	              : vm_create_operation(db, vms, row, vm_verb_kinds[verb].name, input, request,
	                        ret_operation, e);
}

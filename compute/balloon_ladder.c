/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rungs beyond ballooning and KSM. A CPU that is throttled is marked in the database before, so that its limit is put
 * back when it is over, also by a later process; a VM that stopped meanwhile gets its own limit with its next start.
 *
 *	free -> mark durable -> limited -> ... -> restored -> mark removed
 *
 * A suspension is an ordinary operation, requested by "berth"; only of VMs with memory.on_critical = suspend.
 */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "compute/balloon_internal.h"
#include "compute/balloon_store.h"
#include "compute/vm.h"
#include "hypervisor/host_directory.h"

#define LIMIT_TIMEOUT_MS 5000
#define THROTTLE_PERCENT 20    /* of each vCPU */
#define SUSPEND_AGAIN_MS 30000 /* asked for once, however long it takes to be queued */

/* ---- the CPU's limit ---- */

struct limit_call {
	struct balloons *all;
	char host_id[UUID_TEXT_SIZE], vm_id[UUID_TEXT_SIZE];
	int64_t limit_percent; /* as set_cpu_live takes it */
	bool is_throttle;
};

static int run_limit(
        const struct driver *driver, struct driver_connection *c, void *arg, struct err *e)
{
	const struct limit_call *call = arg;
	if (!driver->set_cpu_live)
		return err_set(e, ERR_UNSUPPORTED, "the host cannot limit CPUs");
	return driver->set_cpu_live(c, call->vm_id, 0, call->limit_percent, e);
}

static void on_limit(void *arg, int rc, const struct err *e)
{
	const struct limit_call *call = arg;
	struct balloon_live *guest = balloons_find_guest(call->all, call->host_id, call->vm_id);
	if (rc < 0)
		log_debug("the CPU limit of VM %s was not set: %s", call->vm_id, e->message);
	if (!guest)
		return;
	guest->is_limiting = false;
	if (rc == 0)
		guest->is_limited = call->is_throttle;
}

static void submit_limit(
        struct balloon_site *site, struct balloon_live *guest, const struct balloon_member *m)
{
	struct limit_call *call = xcalloc(1, sizeof(*call));
	call->all = site->all;
	uuid_text_copy(call->host_id, site->id);
	uuid_text_copy(call->vm_id, guest->id);
	call->is_throttle = guest->wants_throttle;
	int64_t own = m->cpu_limit_percent > 0 ? m->cpu_limit_percent : -1;
	bool is_lower = own > 0 && own < THROTTLE_PERCENT;
	call->limit_percent = call->is_throttle && !is_lower ? THROTTLE_PERCENT : own;
	guest->is_limiting = true;
	const struct lane_call lane_call = {
	        .class = LANE_BACKGROUND,
	        .domain = guest->id,
	        .timeout_ms = LIMIT_TIMEOUT_MS,
	        .run = run_limit,
	        .done = on_limit,
	        .release = free,
	        .arg = call,
	};
	host_directory_submit(site->all->config.services->directory, call->host_id, &lane_call);
}

static void note_throttle(struct balloon_round *round, size_t i, struct balloon_record *record)
{
	const struct balloon_live *guest = round->guests[i];
	struct json_writer w CLEANUP(json_writer_done) = {0};
	json_object_begin(&w);
	json_member_bool(&w, "throttled", guest->wants_throttle);
	json_member_int(&w, "limit_percent",
	        guest->wants_throttle ? THROTTLE_PERCENT : round->members[i]->cpu_limit_percent);
	json_member_int(&w, "current_bytes", round->vms[i].current_bytes);
	json_member_int(&w, "min_bytes", round->vms[i].min_bytes);
	json_member_string(&w, "reason",
	        guest->wants_throttle ? "its host stays critical and it takes most above its floor"
	                              : "its host is better");
	json_object_end(&w);
	balloon_record_event(
	        record, "vm", "balloon_throttle", guest->id, round->members[i]->name, &w);
}

static void follow_throttle(struct balloon_round *round, size_t i, struct balloon_record *record)
{
	struct balloon_live *guest = round->guests[i];
	guest->wants_throttle = round->plans[i].throttle && round->members[i]->managed;
	if (guest->wants_throttle && !guest->is_marked) {
		balloon_record_mark(record, BALLOON_THROTTLE_MARK, guest->id, round->site->id);
		guest->mark = BALLOON_MARK_SET;
		note_throttle(round, i, record);
	} else if (guest->is_marked && guest->wants_throttle != guest->is_limited) {
		if (!guest->is_limiting)
			submit_limit(round->site, guest, round->members[i]);
	} else if (guest->is_marked && !guest->wants_throttle && !guest->is_limiting) {
		balloon_record_mark(record, BALLOON_THROTTLE_MARK, guest->id, NULL);
		guest->mark = BALLOON_MARK_DROP;
		note_throttle(round, i, record);
	}
}

void balloon_ladder_recorded(struct balloon_site *site, int rc)
{
	size_t cursor = 0;
	void *value;
	while (map_next(site->guests, &cursor, NULL, &value)) {
		struct balloon_live *guest = value;
		if (rc == 0 && guest->mark != BALLOON_MARK_KEEP)
			guest->is_marked = guest->mark == BALLOON_MARK_SET;
		guest->mark = BALLOON_MARK_KEEP;
	}
}

/* ---- suspension ---- */

struct suspension {
	struct balloons *all;
	char vm_id[UUID_TEXT_SIZE];
};

/* Writer thread. What was true for the plan is looked at again. */
static int run_suspension(struct db *db, void *arg, struct err *e)
{
	const struct suspension *suspension = arg;
	const struct operation_services *services = suspension->all->config.services;
	const struct vm_request by_berth = {.requested_by = "berth", .wait_ms = -1};
	const struct vm_verb_options options = {0};
	char operation[UUID_TEXT_SIZE];
	struct vm_row row CLEANUP(vm_row_done) = {0};
	struct vm_spec spec CLEANUP(vm_spec_done) = {0};
	int rc = vm_store_get(db, suspension->vm_id, &row, e);
	if (rc == 0)
		rc = vm_spec_load(row.spec, &spec, e);
	if (rc == 0 && spec.memory.on_critical != ON_CRITICAL_SUSPEND)
		return err_set(e, ERR_WRONG_STATE, "its owner does not allow it any more");
	return rc < 0 ? rc
	              : vm_act(db, services->vms, &row, VM_SUSPEND, &options, &by_berth, operation,
	                        e);
}

static void on_suspension(void *arg, int rc, const struct err *e)
{
	struct suspension *suspension = arg;
	if (rc < 0)
		log_err(LOG_LEVEL_WARNING, e, "VM %s was not suspended on its critical host",
		        suspension->vm_id);
	free(suspension);
}

static void note_suspension(struct balloon_round *round, size_t i, struct balloon_record *record)
{
	struct json_writer w CLEANUP(json_writer_done) = {0};
	json_object_begin(&w);
	json_member_int(&w, "current_bytes", round->vms[i].current_bytes);
	json_member_int(&w, "missing_bytes", round->plan.missing_bytes);
	json_member_string(
	        &w, "reason", "its host stays critical and its memory.on_critical is suspend");
	json_object_end(&w);
	balloon_record_event(
	        record, "vm", "balloon_suspend", round->guests[i]->id, round->members[i]->name, &w);
}

static void follow_suspend(struct balloon_round *round, size_t i, struct balloon_record *record)
{
	struct balloon_live *guest = round->guests[i];
	bool is_asked = guest->suspend_asked_ms > 0 &&
	                round->now_ms - guest->suspend_asked_ms < SUSPEND_AGAIN_MS;
	if (!round->plans[i].suspend || is_asked || !round->members[i]->may_suspend)
		return;
	guest->suspend_asked_ms = round->now_ms;
	struct suspension *suspension = xcalloc(1, sizeof(*suspension));
	suspension->all = round->site->all;
	uuid_text_copy(suspension->vm_id, guest->id);
	note_suspension(round, i, record);
	writer_submit(round->site->all->config.services->writer,
	        (struct writer_job){
	                .run = run_suspension, .done = on_suspension, .arg = suspension});
}

void balloon_round_climb(struct balloon_round *round, struct balloon_record *record)
{
	for (size_t i = 0; i < round->n; i++) {
		follow_throttle(round, i, record);
		follow_suspend(round, i, record);
	}
}

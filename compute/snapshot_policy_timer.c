/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The timer of snapshot policies: which have come due, and which snapshots' time is over. Each is a job of its own, so that
 * one that fails leaves the others alone. Core loop, but for the jobs.
 */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "compute/snapshot_policy_internal.h"
#include "compute/snapshot_policy_store.h"

struct snapshot_policies {
	const struct operation_services *services; /* borrowed */
	struct loop_timer *timer;                  /* owned */
	bool is_looking, is_stopped;
	/* The look's, and then the core loop's. */
	struct snapshot_ids due, expired;
	int64_t now_ms;
};

static const struct vm_request by_berth = {.requested_by = "berth", .wait_ms = HOST_PATIENCE_MS};

/* ---- one policy, one snapshot: writer thread ---- */

struct item {
	const struct operation_services *services;
	char id[UUID_TEXT_SIZE];
	int64_t now_ms;
};

static int run_policy(struct db *db, void *arg, struct err *e)
{
	const struct item *item = arg;
	char operation[UUID_TEXT_SIZE];
	struct snapshot_policy_row row CLEANUP(snapshot_policy_row_done) = {0};
	int rc = snapshot_policy_store_get(db, item->id, &row, e);
	if (rc < 0)
		return rc;
	int64_t next = snapshot_schedule_next(&row.spec.schedule, row.next_run_at, item->now_ms);
	rc = snapshot_policy_store_set_next(db, row.id, row.spec.enabled ? next : INT64_MAX, e);
	if (rc == 0 && row.spec.enabled)
		rc = snapshot_policy_run(
		        db, item->services->engine, &row, item->now_ms, &by_berth, operation, e);
	if (rc == ERR_BUSY) {
		log_warning("%s; this run is left out", e->message);
		err_clear(e);
		rc = 0;
	}
	return rc;
}

static int run_expired(struct db *db, void *arg, struct err *e)
{
	const struct item *item = arg;
	char vm_id[UUID_TEXT_SIZE], operation[UUID_TEXT_SIZE];
	struct vm_row vm CLEANUP(vm_row_done) = {0};
	struct snapshot_row row CLEANUP(snapshot_row_done) = {0};
	int rc = snapshot_policy_store_vm_of(db, item->id, vm_id, e);
	if (rc == 0)
		rc = vm_store_get(db, vm_id, &vm, e);
	if (rc == 0)
		rc = snapshot_store_get(db, vm_id, item->id, &row, e);
	return rc < 0 ? rc
	              : snapshot_delete(
	                        db, item->services->vms, &vm, &row, &by_berth, operation, e);
}

static void on_item(void *arg, int rc, const struct err *e)
{
	if (rc < 0 && rc != ERR_NOT_FOUND && e)
		log_debug("a snapshot policy's work is put off: %s", e->message);
	free(arg);
}

static void submit_items(struct snapshot_policies *p, const struct snapshot_ids *ids,
        int (*run)(struct db *db, void *arg, struct err *e))
{
	for (size_t i = 0; i < ids->len; i++) {
		struct item *item = xcalloc(1, sizeof(*item));
		item->services = p->services;
		item->now_ms = p->now_ms;
		uuid_text_copy(item->id, ids->ids[i]);
		writer_submit(p->services->writer,
		        (struct writer_job){.run = run, .done = on_item, .arg = item});
	}
}

/* ---- the look ---- */

static int run_look(struct db *db, void *arg, struct err *e)
{
	struct snapshot_policies *p = arg;
	int rc = snapshot_policy_store_due(db, p->now_ms, &p->due, e);
	return rc < 0 ? rc : snapshot_policy_store_expired(db, p->now_ms, &p->expired, e);
}

static void on_look_back(void *arg)
{
	struct snapshot_policies *p = arg;
	if (!p->is_stopped) {
		submit_items(p, &p->due, run_policy);
		submit_items(p, &p->expired, run_expired);
	}
	snapshot_ids_done(&p->due);
	snapshot_ids_done(&p->expired);
	p->is_looking = false;
}

static void on_look(void *arg, int rc, const struct err *e)
{
	struct snapshot_policies *p = arg;
	if (rc < 0)
		log_err(LOG_LEVEL_WARNING, e, "snapshot policies could not be read");
	loop_post(p->services->loop, on_look_back, p);
}

static void on_tick(void *arg)
{
	struct snapshot_policies *p = arg;
	if (p->is_looking)
		return;
	p->is_looking = true;
	p->now_ms = clock_wall_ms();
	writer_submit(p->services->writer,
	        (struct writer_job){.run = run_look, .done = on_look, .arg = p});
}

struct snapshot_policies *snapshot_policies_start(
        const struct operation_services *services, int64_t tick_ms)
{
	struct snapshot_policies *p = xcalloc(1, sizeof(*p));
	p->services = services;
	p->timer = loop_timer_start(services->loop, tick_ms, tick_ms, on_tick, p);
	return p;
}

void snapshot_policies_stop(struct snapshot_policies *policies)
{
	if (!policies)
		return;
	policies->is_stopped = true;
	loop_timer_free(TAKE(policies->timer));
}

void snapshot_policies_free(struct snapshot_policies *policies)
{
	if (!policies)
		return;
	snapshot_policies_stop(policies);
	snapshot_ids_done(&policies->due);
	snapshot_ids_done(&policies->expired);
	free(policies);
}

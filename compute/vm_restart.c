/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting VMs without being asked: after a crash or a guest's shutdown (restart_policy), and after
 * a host came up again (autostart). Core loop; the start itself is an ordinary operation, created
 * only if the VM is still off and wanted, which is checked in its transaction.
 *
 * A guest that keeps ending is started again after 0, 10, 20, 40 ... 300 s; ten quiet minutes
 * forgive it. One that finds no room (compute/room.h) is tried again in the same rhythm, each time with an event.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json_writer.h"
#include "base/log.h"
#include "base/str.h"
#include "base/vec.h"
#include "compute/vm_jobs.h"
#include "compute/vm_live.h"
#include "compute/vm_room.h"
#include "db/change_feed.h"

#define RESTART_MAX_MS     300000
#define RESTART_FORGIVE_MS 600000

/* ---- the start operation ---- */

struct start_request {
	struct vms *vms;
	char vm_id[UUID_TEXT_SIZE];
	bool is_refused; /* there is no room for it now */
};

static void restart(struct vms *vms, struct vm_live *live);

/* Nobody waits for an answer: the reason is an event. */
static int tell_refusal(
        struct db *db, const struct vm_row *row, const struct err *why, struct err *e)
{
	struct json_writer w CLEANUP(json_writer_done) = {0};
	json_object_begin(&w);
	json_member_string(&w, "code", err_info(why->code)->name);
	json_member_string(&w, "reason", why->message);
	if (why->hint[0])
		json_member_string(&w, "hint", why->hint);
	if (why->numbers[0])
		json_member_raw(&w, "numbers", why->numbers);
	json_object_end(&w);
	const struct change change = {.kind = "vm",
	        .event = "restart_refused",
	        .object_id = row->id,
	        .name = row->name,
	        .data = str_text(&w.out)};
	return change_add(db, &change, e);
}

static bool is_for_lack_of_room(int rc)
{
	return rc == ERR_NO_CAPACITY || rc == ERR_UNPROCESSABLE;
}

static int create_start(struct db *db, void *arg, struct err *e)
{
	struct start_request *start = arg;
	struct vm_row row CLEANUP(vm_row_done) = {0};
	bool found = false;
	int rc = vm_store_find(db, start->vm_id, &row, &found, e);
	if (rc < 0 || !found || !row.managed)
		return rc;
	char busy[UUID_TEXT_SIZE], kind[64];
	rc = vm_jobs_find_busy(db, row.id, busy, kind, e);
	if (rc < 0 || busy[0] != '\0' || row.recorded_power != POWER_STOPPED ||
	        row.desired_power != POWER_RUNNING)
		return rc;
	const struct vm_request request = {.requested_by = "berth", .wait_ms = HOST_PATIENCE_MS};
	char operation[UUID_TEXT_SIZE];
	json_t *input CLEANUP(cleanup_json) = json_object();
	struct err why = {0};
	rc = vm_room_grant_start(db, start->vms, &row, input, &why);
	start->is_refused = is_for_lack_of_room(rc);
	if (start->is_refused)
		return tell_refusal(db, &row, &why, e);
	if (rc < 0) {
		*e = why;
		return rc;
	}
	rc = vm_create_operation(db, start->vms, &row, "vm.start", input, &request, operation, e);
	return rc < 0 ? rc : vm_add_change(db, "restarting", row.id, row.name, e);
}

/* Core loop. */
static void try_again(void *arg)
{
	struct start_request *start = arg;
	struct vm_live *live = vms_find(start->vms, start->vm_id);
	if (live && !start->vms->is_stopping)
		restart(start->vms, live);
	free(start);
}

static void on_start_created(void *arg, int rc, const struct err *e)
{
	struct start_request *start = arg;
	if (rc < 0)
		log_err(LOG_LEVEL_ERROR, e, "VM %s could not be started again", start->vm_id);
	if (rc == 0 && start->is_refused)
		loop_post(start->vms->config.services->loop, try_again, start);
	else
		free(start);
}

static void start_vm(struct vms *vms, const char *vm_id)
{
	struct start_request *start = xcalloc(1, sizeof(*start));
	start->vms = vms;
	uuid_text_copy(start->vm_id, vm_id);
	writer_submit(vms->config.services->writer,
	        (struct writer_job){.run = create_start, .done = on_start_created, .arg = start});
}

/* ---- restart policy ---- */

static int64_t restart_delay_ms(struct vm_live *live)
{
	int64_t now = clock_now_ms();
	if (now - live->last_restart_ms > RESTART_FORGIVE_MS)
		live->restarts = 0;
	live->last_restart_ms = now;
	int n = live->restarts++;
	if (n == 0)
		return 0;
	int64_t delay = live->vms->restart_step_ms << (n > 6 ? 5 : n - 1);
	return delay < RESTART_MAX_MS ? delay : RESTART_MAX_MS;
}

static void on_restart_timer(void *arg)
{
	struct vm_live *live = arg;
	struct loop_timer *timer = TAKE(live->restart_timer);
	loop_timer_free(timer);
	start_vm(live->vms, live->id);
}

static void restart(struct vms *vms, struct vm_live *live)
{
	if (live->restart_timer)
		return;
	live->restart_timer = loop_timer_start(
	        vms->config.services->loop, restart_delay_ms(live), 0, on_restart_timer, live);
}

/* ---- autostart: one queue per host, by priority, each after the delay of the one before ---- */

struct autostart_entry {
	char vm_id[UUID_TEXT_SIZE];
	int64_t priority, delay_ms;
};

struct autostart {
	struct vms *vms;
	VEC(struct autostart_entry) queue; /* sorted by priority */
	struct loop_timer *timer;
};

#define AUTOSTART_GATHER_MS                                                                        \
	1000 /* so that all VMs of a host that came up are seen before the first starts */

static void on_autostart_timer(void *arg)
{
	struct autostart *a = arg;
	loop_timer_free(TAKE(a->timer));
	if (a->queue.len == 0)
		return;
	struct autostart_entry first = a->queue.items[0];
	VEC_REMOVE(&a->queue, 0);
	start_vm(a->vms, first.vm_id);
	if (a->queue.len > 0)
		a->timer = loop_timer_start(
		        a->vms->config.services->loop, first.delay_ms, 0, on_autostart_timer, a);
}

static bool is_queued(struct autostart *a, const char *vm_id)
{
	VEC_FOR_EACH (&a->queue, entry)
		if (strcmp(entry->vm_id, vm_id) == 0)
			return true;
	return false;
}

static void enqueue(struct autostart *a, struct autostart_entry entry)
{
	size_t at = a->queue.len;
	VEC_PUSH(&a->queue, entry);
	for (; at > 0 && a->queue.items[at - 1].priority > entry.priority; at--)
		a->queue.items[at] = a->queue.items[at - 1];
	a->queue.items[at] = entry;
}

static void autostart(struct vms *vms, struct vm_live *live, const struct vm_observed *observed)
{
	struct autostart *a = map_get(vms->autostarts, live->host_id);
	if (!a) {
		a = xcalloc(1, sizeof(*a));
		a->vms = vms;
		map_put(vms->autostarts, live->host_id, a);
	}
	if (is_queued(a, live->id))
		return;
	struct autostart_entry entry = {
	        .priority = observed->autostart_priority, .delay_ms = observed->autostart_delay_ms};
	uuid_text_copy(entry.vm_id, live->id);
	enqueue(a, entry);
	if (!a->timer)
		a->timer = loop_timer_start(
		        vms->config.services->loop, AUTOSTART_GATHER_MS, 0, on_autostart_timer, a);
}

void vms_free_autostarts(struct vms *vms)
{
	size_t cursor = 0;
	void *value;
	while (map_next(vms->autostarts, &cursor, NULL, &value)) {
		struct autostart *a = value;
		loop_timer_free(a->timer);
		VEC_DONE(&a->queue);
		free(a);
	}
}

void vms_follow_up(struct vms *vms, struct vm_live *live, const struct vm_observed *observed)
{
	if (observed->follow_up == VM_FOLLOW_RESTART)
		restart(vms, live);
	else if (observed->follow_up == VM_FOLLOW_AUTOSTART)
		autostart(vms, live, observed);
}

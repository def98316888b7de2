/* SPDX-License-Identifier: Apache-2.0 */
/* Carrying out where VMs belong: passes over a host, lane calls, and again after a while. */
#include "compute/cpu_mover.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/map.h"
#include "base/number.h"
#include "base/uuid.h"
#include "base/vec.h"
#include "compute/room.h"
#include "compute/room_cpus.h"
#include "db/change_feed.h"
#include "db/writer.h"
#include "hypervisor/host_directory.h"

#define TELL_TIMEOUT_MS 10000
#define RETRY_MIN_MS    1000
#define RETRY_MAX_MS    30000

struct cpu_mover {
	const struct operation_services *services;
	struct map *sites; /* by host id; those with something to do */
	bool is_stopped;
};

/* A host with something to do. */
struct site {
	struct cpu_mover *mover;
	char host_id[UUID_TEXT_SIZE];
	struct room_moves moved; /* told, and not noted yet */
	size_t telling;          /* calls under way */
	bool is_passing;         /* a writer job is under way */
	bool is_wanted;          /* something has changed since */
	bool has_failed;         /* some could not be told */
	int64_t retry_ms;
	struct loop_timer *timer;
};

static void start_pass(struct site *site);

static struct site *find_or_add(struct cpu_mover *mover, const char *host_id)
{
	struct site *site = map_get(mover->sites, host_id);
	if (site)
		return site;
	site = xcalloc(1, sizeof(*site));
	site->mover = mover;
	uuid_text_copy(site->host_id, host_id);
	map_put(mover->sites, site->host_id, site);
	return site;
}

static void free_site(struct site *site)
{
	loop_timer_free(site->timer);
	room_moves_done(&site->moved);
	free(site);
}

static void want_pass(struct cpu_mover *mover, const char *host_id)
{
	if (mover->is_stopped)
		return;
	struct site *site = find_or_add(mover, host_id);
	site->is_wanted = true;
	site->retry_ms = 0;
	if (!site->is_passing && site->telling == 0)
		start_pass(site);
}

/* ---- what a pass leads to ---- */

static void on_retry(void *arg)
{
	struct site *site = arg;
	loop_timer_free(TAKE(site->timer));
	start_pass(site);
}

static void retry_later(struct site *site)
{
	site->retry_ms = int64_min(int64_max(2 * site->retry_ms, RETRY_MIN_MS), RETRY_MAX_MS);
	site->timer =
	        loop_timer_start(site->mover->services->loop, site->retry_ms, 0, on_retry, site);
}

/* Nothing is under way: what now? */
static void go_on(struct site *site)
{
	if (site->mover->is_stopped)
		return;
	if (site->is_wanted || site->moved.len > 0) {
		start_pass(site);
	} else if (site->has_failed) {
		retry_later(site);
	} else {
		map_remove(site->mover->sites, site->host_id);
		free_site(site);
	}
}

/* ---- telling ---- */

struct tell {
	struct site *site;
	struct room_move move;
};

static int run_tell(
        const struct driver *driver, struct driver_connection *c, void *arg, struct err *e)
{
	const struct tell *tell = arg;
	return room_pins_apply(driver, c, tell->move.vm_id, tell->move.cpus, e);
}

static void on_told(void *arg, int rc, const struct err *e)
{
	struct tell *tell = arg;
	struct site *site = tell->site;
	site->telling--;
	if (rc == 0 || rc == ERR_UNSUPPORTED) {
		struct room_move moved = tell->move;
		moved.cpus = xstrdup(moved.cpus);
		VEC_PUSH(&site->moved, moved);
	} else {
		log_debug("VM %s was not moved to other CPUs: %s", tell->move.vm_id, e->message);
		site->has_failed = true;
	}
	if (site->telling == 0)
		go_on(site);
}

static void release_tell(void *arg)
{
	struct tell *tell = arg;
	free(tell->move.cpus);
	free(tell);
}

/* Takes the move. */
static void submit_tell(struct site *site, struct room_move *move)
{
	struct tell *tell = xcalloc(1, sizeof(*tell));
	tell->site = site;
	tell->move = *move;
	move->cpus = NULL;
	site->telling++;
	const struct lane_call call = {
	        .class = LANE_CONTROL,
	        .domain = tell->move.vm_id,
	        .timeout_ms = TELL_TIMEOUT_MS,
	        .run = run_tell,
	        .done = on_told,
	        .release = release_tell,
	        .arg = tell,
	};
	host_directory_submit(site->mover->services->directory, site->host_id, &call);
}

/* ---- a pass ---- */

struct pass {
	struct site *site;
	struct room_moves moved, due; /* owned */
	int rc;
};

static int run_pass(struct db *db, void *arg, struct err *e)
{
	struct pass *pass = arg;
	const struct site *site = pass->site;
	int rc = 0;
	VEC_FOR_EACH (&pass->moved, move)
		if (rc == 0)
			rc = room_note_moved(db, site->host_id, move, e);
	return rc < 0 ? rc
	              : room_settle_cpus(
	                        db, site->mover->services->room, site->host_id, &pass->due, e);
}

static void on_pass_back(void *arg)
{
	struct pass *pass = arg;
	struct site *site = pass->site;
	site->is_passing = false;
	site->has_failed = pass->rc < 0;
	if (pass->rc == 0 && !site->mover->is_stopped)
		VEC_FOR_EACH (&pass->due, move)
			submit_tell(site, move);
	room_moves_done(&pass->moved);
	room_moves_done(&pass->due);
	free(pass);
	if (site->telling == 0)
		go_on(site);
}

/* Writer thread. */
static void on_pass_done(void *arg, int rc, const struct err *e)
{
	struct pass *pass = arg;
	pass->rc = rc;
	if (rc < 0)
		log_err(LOG_LEVEL_WARNING, e, "where VMs may run could not be written down");
	loop_post(pass->site->mover->services->loop, on_pass_back, pass);
}

static void start_pass(struct site *site)
{
	struct pass *pass = xcalloc(1, sizeof(*pass));
	pass->site = site;
	pass->moved = site->moved;
	site->moved = (struct room_moves){0};
	site->is_passing = true;
	site->is_wanted = site->has_failed = false;
	loop_timer_free(TAKE(site->timer));
	writer_submit(site->mover->services->writer,
	        (struct writer_job){.run = run_pass, .done = on_pass_done, .arg = pass});
}

/* ---- what it is told ---- */

struct touch {
	struct cpu_mover *mover;
	char host_id[UUID_TEXT_SIZE];
};

static void on_touch_back(void *arg)
{
	struct touch *touch = arg;
	want_pass(touch->mover, touch->host_id);
	free(touch);
}

static void on_touch_end(void *arg, bool committed)
{
	struct touch *touch = arg;
	if (committed)
		loop_post(touch->mover->services->loop, on_touch_back, touch);
	else
		free(touch);
}

/* Writer thread. */
static void on_change(void *arg, struct db *db, const char *kind, const char *object_id)
{
	if (strcmp(kind, ROOM_CPUS_CHANGED) != 0 || !db)
		return;
	struct touch *touch = xcalloc(1, sizeof(*touch));
	touch->mover = arg;
	uuid_text_copy(touch->host_id, object_id);
	db_on_end(db, on_touch_end, touch);
}

void cpu_mover_host_up(struct cpu_mover *mover, const char *host_id)
{
	want_pass(mover, host_id);
}

struct cpu_mover *cpu_mover_new(const struct operation_services *services)
{
	struct cpu_mover *mover = xcalloc(1, sizeof(*mover));
	mover->services = services;
	mover->sites = map_new();
	change_feed_watch((struct change_watcher){.saw = on_change, .arg = mover});
	return mover;
}

void cpu_mover_stop(struct cpu_mover *mover)
{
	size_t cursor = 0;
	void *site;
	if (!mover)
		return;
	mover->is_stopped = true;
	while (map_next(mover->sites, &cursor, NULL, &site))
		loop_timer_free(TAKE(((struct site *)site)->timer));
}

void cpu_mover_free(struct cpu_mover *mover)
{
	size_t cursor = 0;
	void *site;
	if (!mover)
		return;
	while (map_next(mover->sites, &cursor, NULL, &site))
		free_site(site);
	map_free(mover->sites);
	free(mover);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Carrying out where VMs belong: writer jobs, lane calls, and again after a while. */
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

#define TELL_TIMEOUT_MS  40000 /* libvirt waits 30 s for a domain's other job, and says so */
#define QUEUE_TIMEOUT_MS 60000
#define RETRY_MIN_MS     1000
#define RETRY_MAX_MS     30000

struct cpu_mover {
	const struct operation_services *services;
	struct map *sites; /* by host id; those with something to do */
	bool is_stopped;
};

/* A VM that is being told. */
struct tell {
	struct site *site;
	struct tell *next;
	struct room_move move; /* owned */
};

/* A host with something to do. */
struct site {
	struct cpu_mover *mover;
	char host_id[UUID_TEXT_SIZE];
	struct tell *tells; /* under way; each is its call's */
	size_t jobs;        /* of the writer, under way */
	bool is_wanted;     /* a pass, as something has changed */
	bool is_unwatched;  /* since when anything may have happened */
	bool has_failed;    /* some could not be told */
	int64_t retry_ms;
	struct loop_timer *timer;
};

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
	free(site);
}

/* ---- jobs of the writer ---- */

/* Settles the host, after noting one who is there, or doubting all. */
struct job {
	struct site *site;
	struct room_move moved; /* owned; cpus NULL: this is a pass */
	bool doubts_all;
	struct room_moves due; /* owned */
	int rc;
};

static int run_job(struct db *db, void *arg, struct err *e)
{
	struct job *job = arg;
	const struct site *site = job->site;
	int rc = job->moved.cpus ? room_note_moved(db, site->host_id, &job->moved, e) : 0;
	if (rc == 0 && job->doubts_all)
		rc = room_doubt_host_cpus(db, site->host_id, e);
	return rc < 0 ? rc
	              : room_settle_cpus(
	                        db, site->mover->services->room, site->host_id, &job->due, e);
}

static void on_job_back(void *arg);

/* Writer thread. */
static void on_job_done(void *arg, int rc, const struct err *e)
{
	struct job *job = arg;
	job->rc = rc;
	if (rc < 0)
		log_err(LOG_LEVEL_WARNING, e, "where VMs may run could not be written down");
	loop_post(job->site->mover->services->loop, on_job_back, job);
}

static void submit_job(struct site *site, struct job *job)
{
	job->site = site;
	site->jobs++;
	writer_submit(site->mover->services->writer,
	        (struct writer_job){.run = run_job, .done = on_job_done, .arg = job});
}

static void start_pass(struct site *site)
{
	struct job *job = xcalloc(1, sizeof(*job));
	job->doubts_all = site->is_unwatched;
	site->is_wanted = site->is_unwatched = site->has_failed = false;
	loop_timer_free(TAKE(site->timer));
	submit_job(site, job);
}

/* ---- what now ---- */

static void on_retry(void *arg)
{
	start_pass(arg);
}

static void retry_later(struct site *site)
{
	site->retry_ms = int64_min(int64_max(2 * site->retry_ms, RETRY_MIN_MS), RETRY_MAX_MS);
	site->timer =
	        loop_timer_start(site->mover->services->loop, site->retry_ms, 0, on_retry, site);
}

static void go_on(struct site *site)
{
	if (site->mover->is_stopped || site->jobs > 0)
		return;
	if (site->is_wanted) {
		start_pass(site);
	} else if (site->has_failed && !site->timer) {
		retry_later(site);
	} else if (!site->has_failed && !site->tells) {
		map_remove(site->mover->sites, site->host_id);
		free_site(site);
	}
}

static void want_pass(struct cpu_mover *mover, const char *host_id, bool is_unwatched)
{
	if (mover->is_stopped)
		return;
	struct site *site = find_or_add(mover, host_id);
	site->is_wanted = true;
	site->is_unwatched = site->is_unwatched || is_unwatched;
	site->retry_ms = 0;
	go_on(site);
}

/* ---- telling ---- */

static int run_tell(
        const struct driver *driver, struct driver_connection *c, void *arg, struct err *e)
{
	const struct tell *tell = arg;
	return room_pins_apply(driver, c, tell->move.vm_id, tell->move.cpus, e);
}

static struct room_move copy_move(const struct room_move *move)
{
	struct room_move copy = *move;
	copy.cpus = xstrdup(move->cpus);
	return copy;
}

static void note_moved(struct site *site, const struct room_move *move)
{
	struct job *job = xcalloc(1, sizeof(*job));
	job->moved = copy_move(move);
	submit_job(site, job);
}

static void on_told(void *arg, int rc, const struct err *e)
{
	struct tell *tell = arg;
	struct site *site = tell->site;
	struct tell **it = &site->tells;
	while (*it != tell)
		it = &(*it)->next;
	*it = tell->next;
	if (rc < 0)
		log_debug("VM %s was not moved to other CPUs: %s", tell->move.vm_id, e->message);
	if (tell->move.has_process && (rc == 0 || rc == ERR_UNSUPPORTED))
		note_moved(site, &tell->move);
	else if (tell->move.has_process)
		site->has_failed = true;
	go_on(site);
}

static void release_tell(void *arg)
{
	struct tell *tell = arg;
	free(tell->move.cpus);
	free(tell);
}

static bool is_being_told(const struct site *site, const struct room_move *move)
{
	for (const struct tell *it = site->tells; it; it = it->next)
		if (strcmp(it->move.vm_id, move->vm_id) == 0 &&
		        it->move.cpus_due == move->cpus_due &&
		        strcmp(it->move.cpus, move->cpus) == 0)
			return true;
	return false;
}

static void submit_tell(struct site *site, const struct room_move *move)
{
	struct tell *tell = xcalloc(1, sizeof(*tell));
	tell->site = site;
	tell->move = copy_move(move);
	tell->next = site->tells;
	site->tells = tell;
	const struct lane_call call = {
	        .class = LANE_CONTROL,
	        .domain = tell->move.vm_id,
	        .timeout_ms = TELL_TIMEOUT_MS,
	        .queue_timeout_ms = QUEUE_TIMEOUT_MS,
	        .run = run_tell,
	        .done = on_told,
	        .release = release_tell,
	        .arg = tell,
	};
	host_directory_submit(site->mover->services->directory, site->host_id, &call);
}

static void on_job_back(void *arg)
{
	struct job *job = arg;
	struct site *site = job->site;
	site->jobs--;
	site->has_failed = site->has_failed || job->rc < 0;
	/* Who could not be told is told again by a pass, not whenever someone else was. */
	if (job->rc == 0 && !job->moved.cpus && !site->mover->is_stopped)
		VEC_FOR_EACH (&job->due, move)
			if (!is_being_told(site, move))
				submit_tell(site, move);
	free(job->moved.cpus);
	room_moves_done(&job->due);
	free(job);
	go_on(site);
}

/* ---- what it is told ---- */

struct touch {
	struct cpu_mover *mover;
	char host_id[UUID_TEXT_SIZE];
};

static void on_touch_back(void *arg)
{
	struct touch *touch = arg;
	want_pass(touch->mover, touch->host_id, /* is_unwatched= */ false);
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
	want_pass(mover, host_id, /* is_unwatched= */ true);
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

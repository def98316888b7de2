/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Block jobs as parts of steps. Core loop, but for a turn's `run` on a lane thread.
 *
 * A turn is one call on the domain's lane: it asks for the job and does what is next. Between turns a timer rests, 20 ms
 * at first and up to 1 s, always a small part of the time that the job has taken so far: its end is noticed soon after,
 * and asking costs nothing. What a turn knows of earlier ones
 * is little: whether a job was seen or started, how far it was. Everything else is read from the domain each time, which
 * is why a step that runs again after a restart takes up the job that runs, or sees that it has ended well.
 *
 * Only a CLONE leaves no trace in its domain: it is done again from the start, into the same target.
 */
#include "storage/block_job.h"

#include <assert.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "hypervisor/domain_xml.h"
#include "hypervisor/host_directory.h"
#include "operation/services.h"

#define PAUSE_MIN_MS    20
#define PAUSE_MAX_MS    1000
#define PAUSE_PART      32 /* of the time so far */
#define TURN_TIMEOUT_MS 120000
#define MIB             ((int64_t)1 << 20)
/* QEMU writes that much at a time, so so much may be left of a full disk. */
#define BUFFERS_BYTES (16 * MIB)

/* The request with texts of its own. Immutable, shared by the job and its turns; references: core loop. */
struct shared_work {
	struct block_work work;
	int references;
};

/* One that runs. Core loop. */
struct block_job {
	struct block_job *next;
	struct operation *op;
	void (*done)(struct operation *op, int rc, const struct err *e);
	struct shared_work *shared;
	struct loop_timer *timer;   /* owned; NULL while a turn is under way */
	struct block_job_info last; /* type NONE: none was seen yet */
	int64_t begun_ms;           /* monotonic */
	bool is_begun, is_cancelled;
};

enum turn_result { TURN_RUNNING, TURN_DONE, TURN_CANCELLED };

/* Handed to the lane. The first part is read, the second written by its thread. */
struct turn {
	struct block_job *job; /* core loop only */
	struct shared_work *shared;
	bool is_begun, is_cancelled;
	struct block_job_info last;

	enum turn_result result;
	struct block_job_info info;
};

/* Those that run now: block_work_cancel knows only the operation. Core loop. */
static struct block_job *jobs;

static struct shared_work *share(const struct block_work *work)
{
	struct shared_work *shared = xcalloc(1, sizeof(*shared));
	shared->references = 1;
	shared->work = (struct block_work){
	        .kind = work->kind,
	        .host_id = xstrdup(work->host_id),
	        .domain_id = xstrdup(work->domain_id),
	        .disk = xstrdup(work->disk),
	        .top = xstrdup(work->top),
	        .base = xstrdup(work->base),
	        .target_xml = xstrdup(work->target_xml),
	        .target_path = xstrdup(work->target_path),
	        .pool = xstrdup(work->pool),
	};
	return shared;
}

static void unref_shared(struct shared_work *shared)
{
	if (--shared->references > 0)
		return;
	const struct block_work *work = &shared->work;
	const char *const texts[] = {work->host_id, work->domain_id, work->disk, work->top,
	        work->base, work->target_xml, work->target_path, work->pool};
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		free((void *)(uintptr_t)texts[i]);
	free(shared);
}

/* ---- a turn: lane thread ---- */

static enum block_job_type expected_type(const struct block_work *work)
{
	switch (work->kind) {
	case BLOCK_WORK_COPY:
	case BLOCK_WORK_CLONE:
		return BLOCK_JOB_COPY;
	case BLOCK_WORK_COMMIT:
		return work->top ? BLOCK_JOB_COMMIT : BLOCK_JOB_ACTIVE_COMMIT;
	case BLOCK_WORK_PULL:
		return BLOCK_JOB_PULL;
	}
	return BLOCK_JOB_NONE;
}

static bool has_path(char *const *paths, const char *path)
{
	for (size_t i = 0; paths[i]; i++)
		if (str_equal(paths[i], path))
			return true;
	return false;
}

/* Whether a chain is what the work is to make of it. */
static bool is_outcome(const struct block_work *work, char *const *paths)
{
	if (!paths[0])
		return false;
	switch (work->kind) {
	case BLOCK_WORK_COPY:
		return str_equal(paths[0], work->target_path);
	case BLOCK_WORK_CLONE:
		return false;
	case BLOCK_WORK_COMMIT:
		return work->top ? !has_path(paths, work->top) : str_equal(paths[0], work->base);
	case BLOCK_WORK_PULL:
		return str_equal(paths[1], work->base);
	}
	return false;
}

static void free_paths(char ***paths)
{
	for (size_t i = 0; *paths && (*paths)[i]; i++)
		free((*paths)[i]);
	free(*paths);
}

/* Looks at the chain: *ret_there, and that base is in it wherever it must be. */
static int look(const struct block_work *work, const struct driver *driver,
        struct driver_connection *c, bool *ret_there, struct err *e)
{
	char **paths CLEANUP(free_paths) = NULL;
	int rc = driver->disk_chain(c, work->domain_id, work->disk, &paths, e);
	if (rc < 0)
		return rc;
	*ret_there = is_outcome(work, paths);
	if (work->base && !has_path(paths, work->base))
		return err_set(e, ERR_UNPROCESSABLE,
		        "disk %s does not stand on %s, as is recorded: it is left alone",
		        work->disk, work->base);
	return 0;
}

/*
 * When QEMU goes over to a copy, libvirt writes that into the persistent definition: after the domain has ended that alone
 * tells where the guest wrote last. It can do so only where the definition has the disk at the same place on the same file.
 */
static int check_definition_follows(const struct block_work *work, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	struct domain_info info CLEANUP(domain_info_done) = {0};
	struct domain_chain live CLEANUP(domain_chain_done) = {0};
	struct domain_chain defined CLEANUP(domain_chain_done) = {0};
	int rc = driver->get_domain(c, work->domain_id, &info, e);
	if (rc < 0 || !info.persistent || !info.live_xml)
		return rc;
	rc = domain_xml_read_chain(info.live_xml, work->disk, &live, e);
	if (rc == 0)
		rc = domain_xml_read_chain(info.xml, work->disk, &defined, NULL);
	bool follows = rc == 0 && live.n_layers > 0 && defined.n_layers > 0 &&
	               str_equal(live.target, defined.target) &&
	               str_equal(live.layers[0].path, defined.layers[0].path);
	if (follows || (rc < 0 && !live.target))
		return rc;
	err_set(e, ERR_WRONG_STATE,
	        "disk %s of %s runs otherwise than it is defined: it cannot go over to a copy",
	        work->disk, info.name);
	return err_hint(e, "a change of it waits for a restart: restart the VM, or stop it");
}

static int start(const struct block_work *work, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	int rc = work->kind == BLOCK_WORK_COPY ? check_definition_follows(work, driver, c, e) : 0;
	if (rc < 0)
		return rc;
	switch (work->kind) {
	case BLOCK_WORK_COPY:
	case BLOCK_WORK_CLONE:
		return driver->block_copy(c, work->domain_id, work->disk, work->target_xml, e);
	case BLOCK_WORK_COMMIT:
		return driver->block_commit(
		        c, work->domain_id, work->disk, work->top, work->base, e);
	case BLOCK_WORK_PULL:
		return driver->block_pull(c, work->domain_id, work->disk, work->base, e);
	}
	return err_set(e, ERR_INTERNAL, "no such block job");
}

/* libvirt tells that a job failed, but not why. */
static int explain_failure(const struct turn *turn, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	const struct block_work *work = &turn->shared->work;
	const struct block_job_info *last = &turn->last;
	struct pool_info room;
	if (work->pool && driver->pool_info(c, work->pool, &room, NULL) == 0) {
		int64_t left = last->total_bytes - last->done_bytes;
		if (room.available_bytes < left + BUFFERS_BYTES) {
			err_set(e, ERR_DISK_FULL,
			        "pool %s is full: %lld bytes are free, and %lld of disk %s were "
			        "still to be "
			        "looked at",
			        work->pool, (long long)room.available_bytes, (long long)left,
			        work->disk);
			return err_numbers(e, "{\"free_bytes\":%lld,\"left_bytes\":%lld}",
			        (long long)room.available_bytes, (long long)left);
		}
	}
	return err_set(e, ERR_HYPERVISOR,
	        "the hypervisor gave up its work on disk %s after %lld of %lld bytes", work->disk,
	        (long long)last->done_bytes, (long long)last->total_bytes);
}

/* No job: it has ended, or is to begin. */
static int turn_without_job(
        struct turn *turn, const struct driver *driver, struct driver_connection *c, struct err *e)
{
	const struct block_work *work = &turn->shared->work;
	bool is_there = false;
	int rc = look(work, driver, c, &is_there, e);
	if (rc < 0)
		return rc;
	if (is_there || turn->is_cancelled) {
		turn->result = is_there ? TURN_DONE : TURN_CANCELLED;
		return 0;
	}
	if (turn->is_begun)
		return explain_failure(turn, driver, c, e);
	return start(work, driver, c, e);
}

static int cancel(
        struct turn *turn, const struct driver *driver, struct driver_connection *c, struct err *e)
{
	const struct block_work *work = &turn->shared->work;
	bool is_there = false;
	int rc = driver->block_job_end(c, work->domain_id, work->disk, BLOCK_JOB_CANCEL, e);
	if (rc == 0)
		rc = look(work, driver, c, &is_there, e);
	turn->result = is_there ? TURN_DONE : TURN_CANCELLED;
	return rc;
}

/* Both sides are equal. */
static int finish(
        struct turn *turn, const struct driver *driver, struct driver_connection *c, struct err *e)
{
	const struct block_work *work = &turn->shared->work;
	bool is_there = work->kind == BLOCK_WORK_CLONE;
	int rc = work->kind == BLOCK_WORK_COPY ? check_definition_follows(work, driver, c, e) : 0;
	if (rc == 0)
		rc = driver->block_job_end(c, work->domain_id, work->disk,
		        is_there ? BLOCK_JOB_CANCEL : BLOCK_JOB_PIVOT, e);
	if (rc == 0 && !is_there)
		rc = look(work, driver, c, &is_there, e);
	if (rc < 0)
		return rc;
	if (!is_there)
		return err_set(e, ERR_HYPERVISOR, "disk %s did not go over to %s", work->disk,
		        work->target_path ? work->target_path : work->base);
	turn->result = TURN_DONE;
	return 0;
}

static int turn_with_job(
        struct turn *turn, const struct driver *driver, struct driver_connection *c, struct err *e)
{
	const struct block_work *work = &turn->shared->work;
	enum block_job_type type = expected_type(work);
	if (turn->info.type != type)
		return err_set(e, ERR_BUSY, "another block job is at work on disk %s", work->disk);
	if (turn->is_cancelled)
		return cancel(turn, driver, c, e);
	bool ends_ready = type == BLOCK_JOB_COPY || type == BLOCK_JOB_ACTIVE_COMMIT;
	return ends_ready && turn->info.is_ready ? finish(turn, driver, c, e) : 0;
}

static int take_turn(
        struct turn *turn, const struct driver *driver, struct driver_connection *c, struct err *e)
{
	const struct block_work *work = &turn->shared->work;
	int rc = driver->block_job_get(c, work->domain_id, work->disk, &turn->info, e);
	if (rc < 0)
		return rc;
	return turn->info.type == BLOCK_JOB_NONE ? turn_without_job(turn, driver, c, e)
	                                         : turn_with_job(turn, driver, c, e);
}

/* A domain that ended explains whatever failed. */
static int explain_end(const struct block_work *work, const struct driver *driver,
        struct driver_connection *c, int failure, struct err *e)
{
	struct domain_info info CLEANUP(domain_info_done) = {0};
	if (failure == ERR_HOST_DOWN || failure == ERR_HOST_SLOW)
		return failure;
	int rc = driver->get_domain(c, work->domain_id, &info, NULL);
	bool has_ended = rc == ERR_NOT_FOUND || (rc == 0 && domain_state_is_off(info.state));
	if (!has_ended)
		return failure;
	return err_set(e, ERR_GONE, "what ran with disk %s ended while the disk was worked on",
	        work->disk);
}

static int run_turn(
        const struct driver *driver, struct driver_connection *c, void *arg, struct err *e)
{
	struct turn *turn = arg;
	if (!driver->block_job_get || !driver->disk_chain)
		return err_set(e, ERR_UNSUPPORTED, "the host's hypervisor has no block jobs");
	int rc = take_turn(turn, driver, c, e);
	return rc < 0 ? explain_end(&turn->shared->work, driver, c, rc, e) : 0;
}

/* ---- from turn to turn: core loop ---- */

static void submit_turn(struct block_job *job);

static void end_job(struct block_job *job, int rc, const struct err *e)
{
	for (struct block_job **p = &jobs; *p; p = &(*p)->next)
		if (*p == job) {
			*p = job->next;
			break;
		}
	struct operation *op = job->op;
	void (*done)(struct operation * op, int rc, const struct err *e) = job->done;
	loop_timer_free(job->timer);
	unref_shared(job->shared);
	free(job);
	done(op, rc, e);
}

static void end_cancelled(struct block_job *job)
{
	struct err e;
	err_set(&e, ERR_CANCELLED, "the work on disk %s was cancelled", job->shared->work.disk);
	end_job(job, ERR_CANCELLED, &e);
}

static void on_pause_over(void *arg)
{
	struct block_job *job = arg;
	loop_timer_free(TAKE(job->timer));
	if (operation_is_abandoned(job->op)) /* the job goes on; the next start finds it */
		end_cancelled(job);
	else
		submit_turn(job);
}

static int64_t pause_ms(const struct block_job *job)
{
	int64_t pause = (clock_now_ms() - job->begun_ms) / PAUSE_PART;
	if (job->is_cancelled)
		return 0;
	return pause < PAUSE_MIN_MS ? PAUSE_MIN_MS : pause > PAUSE_MAX_MS ? PAUSE_MAX_MS : pause;
}

static void rest(struct block_job *job)
{
	job->timer =
	        loop_timer_start(operation_loop(job->op), pause_ms(job), 0, on_pause_over, job);
}

static void report(const struct block_job *job)
{
	const struct block_job_info *at = &job->last;
	if (at->total_bytes > 0)
		operation_progress(job->op,
		        (int)(100 * (double)at->done_bytes / (double)at->total_bytes),
		        at->done_bytes, at->total_bytes);
}

static void turn_done(void *arg, int rc, const struct err *e)
{
	const struct turn *turn = arg;
	struct block_job *job = turn->job;
	if (rc < 0 || turn->result == TURN_DONE) {
		end_job(job, rc, e);
		return;
	}
	if (turn->result == TURN_CANCELLED) {
		end_cancelled(job);
		return;
	}
	job->is_begun = true;
	if (turn->info.type != BLOCK_JOB_NONE) {
		job->last = turn->info;
		report(job);
	}
	rest(job);
}

static void release_turn(void *arg)
{
	struct turn *turn = arg;
	unref_shared(turn->shared);
	free(turn);
}

static void submit_turn(struct block_job *job)
{
	const struct operation_services *services = operation_context(job->op);
	struct turn *turn = xcalloc(1, sizeof(*turn));
	*turn = (struct turn){
	        .job = job,
	        .shared = job->shared,
	        .is_begun = job->is_begun,
	        .is_cancelled = job->is_cancelled,
	        .last = job->last,
	};
	job->shared->references++;
	const struct lane_call call = {
	        .class = LANE_CONTROL,
	        .domain = job->shared->work.domain_id,
	        .timeout_ms = TURN_TIMEOUT_MS,
	        .run = run_turn,
	        .done = turn_done,
	        .release = release_turn,
	        .arg = turn,
	};
	host_directory_submit(services->directory, job->shared->work.host_id, &call);
}

void block_work_run(struct operation *op, const struct block_work *work,
        void (*done)(struct operation *op, int rc, const struct err *e))
{
	assert(loop_is_mine(operation_loop(op)));
	struct block_job *job = xcalloc(1, sizeof(*job));
	*job = (struct block_job){
	        .next = jobs,
	        .op = op,
	        .done = done,
	        .shared = share(work),
	        .begun_ms = clock_now_ms(),
	        .is_cancelled = !operation_is_undoing(op) && operation_is_cancelled(op),
	};
	jobs = job;
	submit_turn(job);
}

void block_work_cancel(struct operation *op)
{
	for (struct block_job *job = jobs; job; job = job->next)
		if (job->op == op) {
			job->is_cancelled = true;
			if (job->timer) {
				loop_timer_free(TAKE(job->timer));
				submit_turn(job);
			}
			return;
		}
}

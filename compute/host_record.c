/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way between the live side of hosts and the database: transitions and facts go to the writer,
 * committed mutations come back.
 *
 *   core loop: transition --job--> writer: UPDATE host + change row
 *   core loop: hosts_apply <--post-- writer: after the commit of create, update, delete
 *
 * Jobs are submitted in order, so the row ends in the newest state. A job that fails (a full disk)
 * is made again from what is then true, every RECORD_AGAIN_MS.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "compute/host_live.h"
#include "compute/host_store.h"
#include "compute/host_view.h"
#include "db/change_feed.h"

#define RECORD_AGAIN_MS 1000

struct record_job {
	struct hosts *hosts; /* a reference */
	char id[UUID_TEXT_SIZE];
	enum host_state state;
	char *reason, *facts; /* owned; reason for a state, facts for facts */
	int64_t since, cpu_threads, memory_bytes;
};

static void record_free(struct record_job *job)
{
	hosts_unref(job->hosts);
	free(job->reason);
	free(job->facts);
	free(job);
}

static int add_change(struct db *db, const struct record_job *job, const char *event,
        const char *name, const char *data, struct err *e)
{
	struct change change = {
	        .kind = "host", .event = event, .object_id = job->id, .name = name, .data = data};
	return change_add(db, &change, e);
}

/* Writer thread. A host that was removed meanwhile is nobody's concern. */
static int run_state(struct db *db, void *arg, struct err *e)
{
	struct record_job *job = arg;
	char *name CLEANUP(cleanup_free) = NULL;
	const char *state = host_state_name(job->state);
	int rc = host_store_set_state(db, job->id, state, job->reason, job->since, &name, e);
	if (rc < 0 || !name)
		return rc;
	struct json_writer data CLEANUP(json_writer_done) = {0};
	json_object_begin(&data);
	json_member_string(&data, "state", state);
	json_member_string(&data, "reason", job->reason);
	json_object_end(&data);
	return add_change(db, job, "state", name, str_text(&data.out), e);
}

static int run_facts(struct db *db, void *arg, struct err *e)
{
	struct record_job *job = arg;
	char *name CLEANUP(cleanup_free) = NULL;
	int rc = host_store_set_facts(
	        db, job->id, job->facts, job->cpu_threads, job->memory_bytes, &name, e);
	if (rc < 0 || !name)
		return rc;
	return add_change(db, job, "updated", name, NULL, e);
}

static void record_again(void *arg)
{
	struct live_host *host = arg;
	loop_timer_free(TAKE(host->record_again));
	if (host->has_facts)
		host_record_facts(host);
	host_record_state(host);
}

/* Core loop. */
static void record_failed(void *arg)
{
	struct record_job *job = arg;
	struct live_host *host = job->hosts->is_closing ? NULL : map_get(job->hosts->map, job->id);
	if (host && !host->record_again)
		host->record_again = loop_timer_start(
		        job->hosts->config.loop, RECORD_AGAIN_MS, 0, record_again, host);
	record_free(job);
}

/* Writer thread. */
static void record_done(void *arg, int rc, const struct err *e)
{
	struct record_job *job = arg;
	if (rc == 0 || job->hosts->is_closing) {
		record_free(job);
		return;
	}
	log_err(LOG_LEVEL_ERROR, e, "cannot record the state of host %s", job->id);
	loop_post(job->hosts->config.loop, record_failed, job);
}

static struct record_job *record_new(const struct live_host *host)
{
	struct record_job *job = xcalloc(1, sizeof(*job));
	job->hosts = hosts_ref(host->hosts);
	snprintf(job->id, sizeof(job->id), "%s", host->id);
	return job;
}

static void submit(struct record_job *job, int (*run)(struct db *, void *, struct err *))
{
	writer_submit(job->hosts->config.writer,
	        (struct writer_job){.run = run, .done = record_done, .arg = job});
}

void host_record_state(struct live_host *host)
{
	struct record_job *job = record_new(host);
	job->state = host->state;
	job->reason = xstrdup(host->reason);
	job->since = host->since;
	submit(job, run_state);
}

void host_record_facts(struct live_host *host)
{
	struct record_job *job = record_new(host);
	job->facts = host_facts_store(&host->facts);
	job->cpu_threads = host->facts.threads;
	job->memory_bytes = host->facts.memory_bytes;
	submit(job, run_facts);
}

/* ---- the way back ---- */

struct follow {
	struct hosts *hosts; /* a reference */
	enum host_follow what;
	struct host_row row; /* owned: id, name, uri, access, accelerator, state_since */
};

static void follow_free(struct follow *f)
{
	hosts_unref(f->hosts);
	host_row_done(&f->row);
	free(f);
}

static void follow_apply(void *arg)
{
	struct follow *f = arg;
	if (!f->hosts->is_closing)
		hosts_apply(f->hosts, f->what, &f->row);
	follow_free(f);
}

static void follow_ended(void *arg, bool committed)
{
	struct follow *f = arg;
	if (committed && !f->hosts->is_closing)
		loop_post(f->hosts->config.loop, follow_apply, f);
	else
		follow_free(f);
}

void hosts_follow(struct hosts *h, struct db *db, enum host_follow what, const struct host_row *row)
{
	if (!h)
		return;
	struct follow *f = xcalloc(1, sizeof(*f));
	f->hosts = hosts_ref(h);
	f->what = what;
	snprintf(f->row.id, sizeof(f->row.id), "%s", row->id);
	f->row.name = xstrdup(row->name);
	f->row.uri = xstrdup(row->uri);
	f->row.access = xstrdup(row->access);
	f->row.accelerator = xstrdup(row->accelerator);
	f->row.state_since = row->state_since;
	db_on_end(db, follow_ended, f);
}

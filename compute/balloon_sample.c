/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One look at a host: a single lane call of class background, so that a host costs one place in its lane however many
 * guests it has. The bulk statistics never wait for a busy guest. What a host cannot say is left unknown.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "compute/balloon_internal.h"
#include "db/reader.h"
#include "hypervisor/host_directory.h"

#define SAMPLE_TIMEOUT_MS 5000
#define KSM_READ_EVERY_MS 5000

struct sample_call {
	struct balloons *all;
	char host_id[UUID_TEXT_SIZE];
	int64_t number;
	bool wants_roster, wants_stats, wants_ksm;
	struct balloon_sample sample; /* the lane thread's until the call is done */
};

static void release_call(void *arg)
{
	struct sample_call *call = arg;
	balloon_roster_free(call->sample.roster);
	domain_stats_list_done(&call->sample.list);
	free(call);
}

/* ---- lane thread ---- */

static int compare_stats(const void *a, const void *b)
{
	return strcmp(((const struct domain_stats *)a)->id, ((const struct domain_stats *)b)->id);
}

static int read_roster(struct sample_call *call, struct err *e)
{
	struct db *db = NULL;
	int rc = readers_get(call->all->config.services->readers, &db, e);
	if (rc < 0)
		return rc;
	call->sample.roster = balloon_roster_read(db, call->host_id, e);
	return call->sample.roster ? 0 : e->code;
}

static void read_host(
        struct sample_call *call, const struct driver *driver, struct driver_connection *c)
{
	struct balloon_sample *sample = &call->sample;
	struct err ignored = {0}; /* what a host does not say is unknown, not an error */
	sample->has_host =
	        driver->get_host_stats && driver->get_host_stats(c, &sample->host, &ignored) == 0;
	if (!call->wants_ksm)
		return;
	if (driver->get_ksm)
		sample->has_ksm = driver->get_ksm(c, &sample->ksm, &sample->ksm_error) == 0;
	else
		err_set(&sample->ksm_error, ERR_UNSUPPORTED, "this host says nothing of KSM");
}

static int run_sample(
        const struct driver *driver, struct driver_connection *c, void *arg, struct err *e)
{
	struct sample_call *call = arg;
	struct balloon_sample *sample = &call->sample;
	int rc = call->wants_roster ? read_roster(call, e) : 0;
	if (rc < 0)
		return rc;
	if (!call->wants_stats && !(sample->roster && sample->roster->has_work))
		return 0;
	if (!driver->get_stats)
		return err_set(e, ERR_UNSUPPORTED, "no statistics from this host");
	rc = driver->get_stats(c, STATS_CPU | STATS_BALLOON, &sample->list, e);
	if (rc < 0)
		return rc;
	if (sample->list.len > 0)
		qsort(sample->list.items, sample->list.len, sizeof(sample->list.items[0]),
		        compare_stats);
	read_host(call, driver, c);
	sample->has_stats = true;
	return 0;
}

/* ---- core loop ---- */

static void on_sample(void *arg, int rc, const struct err *e)
{
	struct sample_call *call = arg;
	struct balloon_site *site = balloons_find(call->all, call->host_id);
	if (!site || site->sample_number != call->number)
		return;
	if (rc < 0) {
		log_debug("the balloons of a host could not be looked at: %s", e->message);
		site->is_stale = site->is_stale || call->wants_roster;
	}
	balloon_site_saw(site, rc < 0 ? NULL : &call->sample);
}

void balloon_sample_submit(struct balloon_site *site)
{
	struct sample_call *call = xcalloc(1, sizeof(*call));
	int64_t now = clock_now_ms();
	call->all = site->all;
	uuid_text_copy(call->host_id, site->id);
	call->number = ++site->sample_number;
	call->wants_roster = site->is_stale || !site->roster;
	call->wants_stats = balloon_site_has_work(site);
	call->wants_ksm = site->ksm_read_ms == 0 || now - site->ksm_read_ms >= KSM_READ_EVERY_MS;
	call->sample.records = site->is_recording ? -1 : site->records;
	site->is_stale = false;
	site->is_sampling = true;
	const struct lane_call lane_call = {
	        .class = LANE_BACKGROUND,
	        .timeout_ms = SAMPLE_TIMEOUT_MS,
	        .run = run_sample,
	        .done = on_sample,
	        .release = release_call,
	        .arg = call,
	};
	host_directory_submit(site->all->config.services->directory, call->host_id, &lane_call);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A host's KSM: what was set before us is written down before the first change, and set again when the host is relaxed,
 * also by a later process. Where libvirt cannot start it and nobody else has, that is said and nothing is done.
 */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "compute/balloon_internal.h"
#include "compute/balloon_store.h"
#include "hypervisor/host_directory.h"
#include "scheduler/ksm_plan.h"

#define KSM_TIMEOUT_MS 5000
#define KSM_STEP_MS    10000 /* between two steps, so that one can have an effect */

struct ksm_call {
	struct balloons *all;
	char host_id[UUID_TEXT_SIZE];
	struct ksm_change change;
};

static int run_set(
        const struct driver *driver, struct driver_connection *c, void *arg, struct err *e)
{
	const struct ksm_call *call = arg;
	if (!driver->set_ksm)
		return err_set(e, ERR_UNSUPPORTED, "this host's KSM cannot be set");
	return driver->set_ksm(c, &call->change, e);
}

static void on_set(void *arg, int rc, const struct err *e)
{
	const struct ksm_call *call = arg;
	struct balloon_site *site = balloons_find(call->all, call->host_id);
	if (!site)
		return;
	site->is_setting_ksm = false;
	if (rc < 0) {
		log_debug("KSM of host %s was not set: %s", call->host_id, e->message);
		return;
	}
	site->ksm_read_ms = 0; /* look again */
	site->ksm.pages_to_scan = call->change.pages_to_scan;
	if (call->change.run > KSM_RUN_UNKNOWN)
		site->ksm.run = call->change.run;
}

static void submit_set(struct balloon_site *site)
{
	struct ksm_call *call = xcalloc(1, sizeof(*call));
	call->all = site->all;
	uuid_text_copy(call->host_id, site->id);
	call->change = site->ksm_wanted;
	site->ksm_wanted = (struct ksm_change){.run = KSM_RUN_UNKNOWN};
	site->is_setting_ksm = true;
	const struct lane_call lane_call = {
	        .class = LANE_BACKGROUND,
	        .timeout_ms = KSM_TIMEOUT_MS,
	        .run = run_set,
	        .done = on_set,
	        .release = free,
	        .arg = call,
	};
	host_directory_submit(site->all->config.services->directory, call->host_id, &lane_call);
}

static bool wants_change(const struct balloon_site *site)
{
	return site->ksm_wanted.pages_to_scan > 0 || site->ksm_wanted.run > KSM_RUN_UNKNOWN;
}

void balloon_ksm_recorded(struct balloon_site *site, int rc)
{
	if (rc == 0 && site->ksm_mark != BALLOON_MARK_KEEP)
		site->is_ksm_marked = site->ksm_mark == BALLOON_MARK_SET;
	site->ksm_mark = BALLOON_MARK_KEEP;
	if (site->is_ksm_marked && wants_change(site) && !site->is_setting_ksm &&
	        !site->all->is_stopped)
		submit_set(site);
}

/* ---- what it was before us ---- */

static void read_base(struct balloon_site *site)
{
	site->ksm_base = site->ksm;
	if (!site->is_ksm_marked || !site->roster->ksm_mark)
		return;
	json_t *mark CLEANUP(cleanup_json) = json_loads(site->roster->ksm_mark, 0, NULL);
	json_int_t run = 0, pages = 0;
	if (json_unpack(mark, "{s:I, s:I}", "run", &run, "pages_to_scan", &pages) < 0)
		return;
	site->ksm_base.run = run == KSM_RUN_STOPPED ? KSM_RUN_STOPPED : KSM_RUN_RUNNING;
	site->ksm_base.pages_to_scan = pages;
}

static void take_sample(struct balloon_round *round)
{
	struct balloon_site *site = round->site;
	const struct balloon_sample *sample = round->sample;
	if (!sample->has_ksm && sample->ksm_error.code == 0)
		return; /* not asked for */
	bool is_first = !site->has_ksm;
	site->has_ksm = sample->has_ksm;
	site->ksm_read_ms = round->now_ms;
	site->ksm_error = sample->ksm_error;
	site->ksm = sample->ksm;
	if (site->has_ksm && (is_first || !site->is_ksm_marked))
		read_base(site);
}

/* ---- what it shall be ---- */

static bool may_merge(const struct balloon_round *round)
{
	for (size_t i = 0; i < round->n; i++)
		if (round->members[i]->managed && round->members[i]->merge)
			return true;
	return false;
}

static int64_t choose_pages(const struct balloon_round *round)
{
	const struct balloon_site *site = round->site;
	const struct ksm_question question = {
	        .state = round->plan.state,
	        .is_boosted = round->plan.ksm_boost,
	        .may_merge = may_merge(round),
	        .base_pages = site->ksm_base.pages_to_scan,
	        .pages = site->ksm.pages_to_scan,
	};
	return ksm_plan_pages(&question);
}

/* Runs while it is sped up, and as before otherwise. */
static enum ksm_run choose_run(const struct balloon_site *site, int64_t pages)
{
	bool is_sped_up = pages > site->ksm_base.pages_to_scan;
	enum ksm_run run = is_sped_up ? KSM_RUN_RUNNING : site->ksm_base.run;
	return run == site->ksm.run || !site->ksm.can_set_run ? KSM_RUN_UNKNOWN : run;
}

static bool can_steer(const struct balloon_site *site)
{
	return site->has_ksm && site->ksm.pages_to_scan > 0 &&
	       (site->ksm.run == KSM_RUN_RUNNING || site->ksm.can_set_run || site->is_ksm_marked);
}

static void set_mark(struct balloon_round *round, struct balloon_record *record)
{
	struct balloon_site *site = round->site;
	char text[96];
	snprintf(text, sizeof(text), "{\"run\":%d,\"pages_to_scan\":%lld}", (int)site->ksm_base.run,
	        (long long)site->ksm_base.pages_to_scan);
	balloon_record_mark(record, BALLOON_KSM_MARK, site->id, text);
	site->ksm_mark = BALLOON_MARK_SET;
}

static void note_change(struct balloon_round *round, struct balloon_record *record, int64_t pages)
{
	struct json_writer w CLEANUP(json_writer_done) = {0};
	json_object_begin(&w);
	json_member_int(&w, "pages_to_scan", pages);
	json_member_int(&w, "before", round->site->ksm.pages_to_scan);
	json_member_int(&w, "saved_bytes", round->site->ksm.saved_bytes);
	json_member_string(&w, "reason", balloon_state_names[round->plan.state]);
	json_object_end(&w);
	balloon_record_event(
	        record, "host", "balloon_ksm", round->site->id, round->site->roster->host_name, &w);
}

void balloon_round_ksm(struct balloon_round *round, struct balloon_record *record)
{
	struct balloon_site *site = round->site;
	take_sample(round);
	if (!can_steer(site) || site->is_setting_ksm)
		return;
	int64_t pages = choose_pages(round);
	enum ksm_run run = choose_run(site, pages);
	bool is_change = pages != site->ksm.pages_to_scan || run != KSM_RUN_UNKNOWN;
	bool is_late = round->plan.ksm_boost || round->now_ms - site->ksm_step_ms >= KSM_STEP_MS;
	if (is_change && is_late) {
		site->ksm_step_ms = round->now_ms;
		site->ksm_wanted = (struct ksm_change){.run = run, .pages_to_scan = pages};
		if (!site->is_ksm_marked)
			set_mark(round, record);
		note_change(round, record, pages);
	} else if (!is_change && site->is_ksm_marked && pages == site->ksm_base.pages_to_scan) {
		balloon_record_mark(record, BALLOON_KSM_MARK, site->id, NULL);
		site->ksm_mark = BALLOON_MARK_DROP;
	}
}

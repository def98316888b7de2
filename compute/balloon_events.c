/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of a cycle is news: the host's state and rung when they change, guests that are flagged or forgiven, and guests that
 * exceed their targets, each at most once a minute. They are written with the cycle's record, so there is at most one write
 * per host and cycle.
 */
#include "base/cleanup.h"
#include "compute/balloon_internal.h"

#define EXCEEDS_AGAIN_MS 60000

static void note_host(struct balloon_round *round, struct balloon_record *record)
{
	struct balloon_site *site = round->site;
	const struct balloon_host_plan *plan = &round->plan;
	bool is_first = site->since == 0;
	if (!is_first && site->state == plan->state)
		return;
	struct json_writer w CLEANUP(json_writer_done) = {0};
	json_object_begin(&w);
	json_member_string(&w, "state", balloon_state_names[plan->state]);
	json_member_string(&w, "before", is_first ? NULL : balloon_state_names[site->state]);
	json_member_string(&w, "reason", balloon_state_reason_names[plan->reason]);
	json_member_int(&w, "usable_bytes", plan->usable_bytes);
	json_member_int(&w, "free_bytes", plan->free_bytes);
	json_member_int(&w, "missing_bytes", plan->missing_bytes);
	json_object_end(&w);
	site->since = round->wall_ms;
	site->state = plan->state;
	/* That an ordinary host is seen for the first time is no news. */
	if (!is_first || plan->state > BALLOON_NORMAL)
		balloon_record_event(
		        record, "host", "balloon", site->id, site->roster->host_name, &w);
}

static void note_rung(struct balloon_round *round, struct balloon_record *record)
{
	struct balloon_site *site = round->site;
	const struct balloon_host_plan *plan = &round->plan;
	if (site->rung == plan->rung)
		return;
	struct json_writer w CLEANUP(json_writer_done) = {0};
	json_object_begin(&w);
	json_member_string(&w, "rung", balloon_rung_names[plan->rung]);
	json_member_string(&w, "before", balloon_rung_names[site->rung]);
	json_member_string(&w, "reason",
	        plan->rung > site->rung ? "the host stays critical" : "the host is better");
	json_member_int(&w, "free_bytes", plan->free_bytes);
	json_member_int(&w, "missing_bytes", plan->missing_bytes);
	json_object_end(&w);
	site->rung = plan->rung;
	balloon_record_event(
	        record, "host", "balloon_ladder", site->id, site->roster->host_name, &w);
}

static bool is_flagged(enum balloon_vm_state state)
{
	return state == BALLOON_VM_UNCOOPERATIVE || state == BALLOON_VM_NO_DRIVER;
}

static void note_flag(struct balloon_round *round, size_t i, enum balloon_vm_state before,
        struct balloon_record *record)
{
	enum balloon_vm_state state = round->plans[i].state;
	/* Held or off for a while says nothing: it is forgiven when it moves. */
	bool is_forgiven = is_flagged(before) && state == BALLOON_VM_ACTIVE;
	if (before == state || !(is_flagged(state) || is_forgiven))
		return;
	struct json_writer w CLEANUP(json_writer_done) = {0};
	json_object_begin(&w);
	json_member_string(&w, "state", balloon_vm_state_names[state]);
	json_member_string(&w, "before", balloon_vm_state_names[before]);
	json_member_int(&w, "current_bytes", round->guests[i]->memory.current_bytes);
	json_member_int(&w, "target_bytes", round->plans[i].target_bytes);
	json_object_end(&w);
	balloon_record_event(record, "vm", is_forgiven ? "balloon_forgiven" : "balloon_flagged",
	        round->guests[i]->id, round->members[i]->name, &w);
}

static void note_exceeding(struct balloon_round *round, size_t i, struct balloon_record *record)
{
	struct balloon_live *guest = round->guests[i];
	bool is_told = guest->exceeds_told_ms > 0 &&
	               round->now_ms - guest->exceeds_told_ms < EXCEEDS_AGAIN_MS;
	if (guest->memory.exceeded_cycles == 0 || is_told)
		return;
	struct json_writer w CLEANUP(json_writer_done) = {0};
	json_object_begin(&w);
	json_member_int(&w, "current_bytes", guest->memory.current_bytes);
	json_member_int(&w, "exceeds_by_bytes", round->plans[i].moved_bytes);
	json_object_end(&w);
	guest->exceeds_told_ms = round->now_ms;
	balloon_record_event(
	        record, "vm", "balloon_exceeds", guest->id, round->members[i]->name, &w);
}

static void note_guest(struct balloon_round *round, size_t i, struct balloon_record *record)
{
	struct balloon_live *guest = round->guests[i];
	const struct balloon_vm_plan *plan = &round->plans[i];
	if (guest->since > 0)
		note_flag(round, i, guest->state, record);
	if (guest->since == 0 || guest->state != plan->state)
		guest->since = round->wall_ms;
	guest->state = plan->state;
	note_exceeding(round, i, record);
}

void balloon_round_note(struct balloon_round *round, struct balloon_record *record)
{
	note_host(round, record);
	note_rung(round, record);
	for (size_t i = 0; i < round->n; i++)
		note_guest(round, i, record);
}

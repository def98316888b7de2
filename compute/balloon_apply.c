/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the plan to the balloons. What a guest is told is never more than what is booked for it: a guest that grows is told
 * once the writer has it, one that shrinks is told at once and stays booked until it has given. A call that fails or hangs
 * delays that guest alone; the plan is told so and asks again.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "compute/balloon_internal.h"
#include "hypervisor/host_directory.h"

#define TELL_TIMEOUT_MS   5000
#define BOOKED_STEP_BYTES ((int64_t)64 << 20)
#define RETURN_STEP_BYTES ((int64_t)16 << 20)
#define STATS_PERIOD_S    1

/* ---- one balloon ---- */

struct tell_call {
	struct balloons *all;
	char host_id[UUID_TEXT_SIZE], vm_id[UUID_TEXT_SIZE];
	int64_t bytes;
};

static int run_tell(
        const struct driver *driver, struct driver_connection *c, void *arg, struct err *e)
{
	const struct tell_call *call = arg;
	if (!driver->set_memory_live)
		return err_set(e, ERR_UNSUPPORTED, "the host has no balloons");
	return driver->set_memory_live(c, call->vm_id, call->bytes, e);
}

static void submit_tell(struct balloon_site *site, struct balloon_live *guest, int64_t bytes);

static void on_told(void *arg, int rc, const struct err *e)
{
	const struct tell_call *call = arg;
	struct balloon_live *guest = balloons_find_guest(call->all, call->host_id, call->vm_id);
	if (!guest)
		return;
	guest->is_telling = false;
	if (rc < 0) {
		log_debug("the balloon of VM %s was not told: %s", call->vm_id, e->message);
		guest->memory.target_bytes = 0;
		guest->next_bytes = 0;
	} else if (guest->next_bytes > 0 && !call->all->is_stopped) {
		int64_t bytes = guest->next_bytes;
		guest->next_bytes = 0;
		submit_tell(balloons_find(call->all, call->host_id), guest, bytes);
	}
}

static void submit_call(struct balloon_site *site, struct balloon_live *guest, int64_t bytes,
        int (*run)(const struct driver *, struct driver_connection *, void *, struct err *),
        void (*done)(void *arg, int rc, const struct err *e))
{
	struct tell_call *call = xcalloc(1, sizeof(*call));
	call->all = site->all;
	uuid_text_copy(call->host_id, site->id);
	uuid_text_copy(call->vm_id, guest->id);
	call->bytes = bytes;
	const struct lane_call lane_call = {
	        .class = LANE_BACKGROUND,
	        .domain = guest->id,
	        .timeout_ms = TELL_TIMEOUT_MS,
	        .run = run,
	        .done = done,
	        .release = free,
	        .arg = call,
	};
	host_directory_submit(site->all->config.services->directory, call->host_id, &lane_call);
}

static void submit_tell(struct balloon_site *site, struct balloon_live *guest, int64_t bytes)
{
	guest->is_telling = true;
	submit_call(site, guest, bytes, run_tell, on_told);
}

/* Tells it what it waits to hear, if that much is booked. */
static void tell_if_booked(struct balloon_site *site, struct balloon_live *guest)
{
	int64_t bytes = guest->wanted_bytes;
	if (bytes == 0 || (guest->recorded_bytes > 0 && bytes > guest->recorded_bytes))
		return;
	guest->wanted_bytes = 0;
	if (guest->is_telling)
		guest->next_bytes = bytes;
	else
		submit_tell(site, guest, bytes);
}

/* ---- statistics: domains that others defined may not send any ---- */

static int run_period(
        const struct driver *driver, struct driver_connection *c, void *arg, struct err *e)
{
	const struct tell_call *call = arg;
	return driver->set_memory_stats_period
	               ? driver->set_memory_stats_period(c, call->vm_id, STATS_PERIOD_S, e)
	               : 0;
}

static void on_period(void *arg, int rc, const struct err *e)
{
	const struct tell_call *call = arg;
	if (rc < 0)
		log_debug("VM %s sends no memory statistics: %s", call->vm_id, e->message);
}

static void ask_for_stats(struct balloon_round *round, size_t i)
{
	struct balloon_live *guest = round->guests[i];
	if (guest->has_stats_period || guest->stats_update_s > 0 || !round->vms[i].ballooning ||
	        round->vms[i].held || round->vms[i].current_bytes < 0)
		return;
	guest->has_stats_period = true;
	submit_call(round->site, guest, 0, run_period, on_period);
}

/* ---- guests whose balloon was switched off get their memory back, once ---- */

static bool is_off(const struct balloon_round *round, size_t i)
{
	return round->members[i]->managed && !round->vms[i].held && !round->vms[i].starting &&
	       !(round->policy.enabled && round->vms[i].ballooning);
}

static void return_one(struct balloon_round *round, size_t i, int64_t *free_bytes)
{
	struct balloon_live *guest = round->guests[i];
	struct balloon_vm_plan *plan = &round->plans[i];
	int64_t current = round->vms[i].current_bytes, size = round->vms[i].size_bytes;
	if (current < 0 || guest->is_returned)
		return;
	guest->is_returned = current >= size;
	int64_t missing = size - current;
	int64_t given = missing < *free_bytes ? missing : *free_bytes;
	if (guest->is_returned || (given < RETURN_STEP_BYTES && given < missing))
		return;
	*free_bytes -= given;
	plan->target_bytes = plan->booked_bytes = current + given;
	plan->tell = true;
	plan->reason = BALLOON_RETURNS;
	plan->moved_bytes = given;
	round->plan.booked_bytes += given;
}

static void return_sizes(struct balloon_round *round)
{
	int64_t free_bytes =
	        round->plan.usable_bytes - round->plan.booked_bytes - round->plan.room_bytes;
	for (size_t i = 0; i < round->n; i++) {
		if (is_off(round, i))
			return_one(round, i, &free_bytes);
		else if (round->vms[i].ballooning && round->policy.enabled)
			round->guests[i]->is_returned = false;
	}
}

/* ---- what is booked ---- */

int64_t balloon_choose_booked(
        int64_t booked_bytes, int64_t recorded_bytes, int64_t size_bytes, bool is_exact)
{
	int64_t step = is_exact ? (int64_t)1 << 20 : BOOKED_STEP_BYTES;
	int64_t up = (booked_bytes + step - 1) / step * step;
	if (up > size_bytes)
		up = booked_bytes > size_bytes ? booked_bytes : size_bytes;
	bool is_enough = booked_bytes <= recorded_bytes;
	/* Half a step of play, so that a guest on the edge of a step is not written again and again. */
	bool is_much_less = booked_bytes + step + step / 2 <= recorded_bytes;
	return is_enough && !is_much_less && !is_exact ? recorded_bytes : up;
}

static void book(struct balloon_round *round, size_t i, struct balloon_record *record)
{
	const struct balloon_live *guest = round->guests[i];
	if (guest->recorded_bytes == 0 || round->vms[i].starting)
		return;
	int64_t booked = balloon_choose_booked(round->plans[i].booked_bytes, guest->recorded_bytes,
	        round->vms[i].size_bytes, round->site->waiters != NULL);
	if (booked != guest->recorded_bytes)
		balloon_record_book(record, guest->id, booked);
}

/* ---- the whole ---- */

static void fill_record(struct balloon_round *round, struct balloon_record *record)
{
	for (size_t i = 0; i < round->n; i++)
		book(round, i, record);
	balloon_round_climb(round, record);
	balloon_round_ksm(round, record);
	balloon_round_note(round, record);
	if (balloon_record_is_empty(record))
		balloon_record_free(record);
	else
		balloon_record_submit(record);
}

void balloon_round_apply(struct balloon_round *round)
{
	struct balloon_site *site = round->site;
	return_sizes(round);
	for (size_t i = 0; i < round->n; i++) {
		struct balloon_live *guest = round->guests[i];
		if (round->plans[i].tell)
			guest->wanted_bytes = round->plans[i].target_bytes;
		tell_if_booked(site, guest);
		ask_for_stats(round, i);
	}
	if (!site->is_recording)
		fill_record(round, balloon_record_new(site));
}

void balloon_site_recorded(struct balloon_site *site, const struct balloon_record *record, int rc)
{
	size_t cursor = 0;
	void *value;
	balloon_ladder_recorded(site, rc);
	balloon_ksm_recorded(site, rc);
	while (rc == 0 && map_next(site->guests, &cursor, NULL, &value)) {
		struct balloon_live *guest = value;
		int64_t booked = balloon_record_booked(record, guest->id);
		if (booked > 0)
			guest->recorded_bytes = booked;
		if (!site->all->is_stopped)
			tell_if_booked(site, guest);
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The answer about a host's balloons: its field tables, building it (core loop) and handing it out (any thread). */
#include "compute/balloon_view.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/number.h"
#include "base/str.h"
#include "compute/balloon_internal.h"
#include "compute/host.h"

#define RO            .flags = FIELD_READ_ONLY
#define RO_OR_NULL    .flags = FIELD_READ_ONLY | FIELD_NULLABLE
#define VM(member)    .offset = offsetof(struct balloon_vm_view, member)
#define VM_IF(member) .present = offsetof(struct balloon_vm_view, member)

static const struct field vm_fields[] = {
        {.name = "id", .type = FIELD_STRING, RO, VM(id), .doc = "UUID"},
        {.name = "name", .type = FIELD_STRING, RO, VM(name), .doc = "The VM's name"},
        {.name = "size_bytes",
                .type = FIELD_INT,
                RO,
                VM(size_bytes),
                .doc = "What it booted with and grew by"},
        {.name = "min_bytes", .type = FIELD_INT, RO, VM(min_bytes), .doc = "Its guaranteed floor"},
        {.name = "current_bytes",
                .type = FIELD_INT,
                RO_OR_NULL,
                VM(current_bytes),
                VM_IF(has_current),
                .doc = "What its balloon leaves it now; null: not known"},
        {.name = "target_bytes",
                .type = FIELD_INT,
                RO,
                VM(target_bytes),
                .doc = "What its balloon is asked for"},
        {.name = "booked_bytes",
                .type = FIELD_INT,
                RO,
                VM(booked_bytes),
                .doc = "What it counts with: the larger of the two"},
        {.name = "used_bytes",
                .type = FIELD_INT,
                RO_OR_NULL,
                VM(used_bytes),
                VM_IF(has_used),
                .doc = "What it needs now, by its own statistics; null: it sends none"},
        {.name = "demand_bytes",
                .type = FIELD_INT,
                RO,
                VM(demand_bytes),
                .doc = "That and a margin, between its floor and its size"},
        {.name = "state",
                .type = FIELD_ENUM,
                RO,
                VM(state),
                .names = balloon_vm_state_names,
                .doc = "Whether its balloon does what it is asked for"},
        {.name = "reason",
                .type = FIELD_ENUM,
                RO,
                VM(reason),
                .names = balloon_reason_names,
                .doc = "Why its target is what it is, as a word"},
        {.name = "reason_text",
                .type = FIELD_STRING,
                RO,
                VM(reason_text),
                .doc = "And as a sentence with the numbers"},
        {.name = "throttled",
                .type = FIELD_BOOL,
                RO,
                VM(throttled),
                .doc = "Whether its CPU is limited until its host is better"},
        {.name = "since",
                .type = FIELD_TIME,
                RO_OR_NULL,
                VM(since),
                .doc = "Since when it is in this state"},
};
static const struct field_table vm_table =
        FIELD_TABLE("HostBalloonVm", struct balloon_vm_view, vm_fields);

#define MEMORY(member, text)                                                                       \
	{                                                                                          \
		.name = #member, .type = FIELD_INT, RO,                                            \
		.offset = offsetof(struct balloon_memory_view, member), .doc = text                \
	}
static const struct field memory_fields[] = {
        MEMORY(total_bytes, "Of the host, without huge pages"),
        MEMORY(reserve_bytes, "Kept for the host, with what QEMU needs beside its guests"),
        MEMORY(usable_bytes, "What guests may have in all"),
        MEMORY(booked_bytes, "What they count with"),
        MEMORY(free_bytes, "What is left; less when the host itself has less"),
        {.name = "available_bytes",
                .type = FIELD_INT,
                RO_OR_NULL,
                .offset = offsetof(struct balloon_memory_view, available_bytes),
                .present = offsetof(struct balloon_memory_view, has_available),
                .doc = "What the host could give without swapping; null: not known"},
        MEMORY(missing_bytes, "What guests need beyond what they have and what is free"),
        MEMORY(freeable_bytes, "What guests could give above what they need"),
        MEMORY(freeable_floor_bytes, "What they could give above their floors"),
        MEMORY(wanted_bytes, "What VMs that are to start wait for"),
        MEMORY(room_bytes, "What was seen to be free and is kept for them"),
};
static const struct field_table memory_table =
        FIELD_TABLE("HostBalloonMemory", struct balloon_memory_view, memory_fields);

#define KSM(member) .offset = offsetof(struct balloon_ksm_view, member)
static const struct field ksm_fields[] = {
        {.name = "supported",
                .type = FIELD_BOOL,
                RO,
                KSM(supported),
                .doc = "Whether the host says anything of it"},
        {.name = "reason",
                .type = FIELD_STRING,
                RO_OR_NULL,
                KSM(reason),
                .doc = "Why it is not known or not steered"},
        {.name = "running", .type = FIELD_BOOL, RO, KSM(running), .doc = "Whether it merges"},
        {.name = "steered",
                .type = FIELD_BOOL,
                RO,
                KSM(steered),
                .doc = "Whether Berth has changed its speed; it is put back later"},
        {.name = "pages_to_scan", .type = FIELD_INT, RO, KSM(pages_to_scan), .doc = "Its speed"},
        {.name = "pages_shared",
                .type = FIELD_INT,
                RO,
                KSM(pages_shared),
                .doc = "Pages that several share"},
        {.name = "pages_sharing",
                .type = FIELD_INT,
                RO,
                KSM(pages_sharing),
                .doc = "Pages that are saved thereby"},
        {.name = "saved_bytes",
                .type = FIELD_INT,
                RO,
                KSM(saved_bytes),
                .doc = "The same in bytes"},
};
static const struct field_table ksm_table =
        FIELD_TABLE("HostBalloonKsm", struct balloon_ksm_view, ksm_fields);

#define VIEW(member)    .offset = offsetof(struct balloon_view, member)
#define VIEW_IF(member) .present = offsetof(struct balloon_view, member)
static const struct field view_fields[] = {
        {.name = "state",
                .type = FIELD_ENUM,
                RO_OR_NULL,
                VIEW(state),
                VIEW_IF(has_state),
                .names = balloon_state_names,
                .doc = "How short of memory the host is; null: it is not looked at, or not known"},
        {.name = "state_reason",
                .type = FIELD_ENUM,
                RO_OR_NULL,
                VIEW(state_reason),
                VIEW_IF(has_state),
                .names = balloon_state_reason_names,
                .doc = "By what: free (beyond the reserve), host (what it has available), demand "
                       "(of guests), overload (for long), pressure (of its kernel)"},
        {.name = "reason",
                .type = FIELD_STRING,
                RO_OR_NULL,
                VIEW(reason),
                .doc = "Why there is no state"},
        {.name = "since",
                .type = FIELD_TIME,
                RO_OR_NULL,
                VIEW(since),
                .doc = "Since when it is in this state"},
        {.name = "at", .type = FIELD_TIME, RO_OR_NULL, VIEW(at), .doc = "When it was looked at"},
        {.name = "memory",
                .type = FIELD_OBJECT,
                RO_OR_NULL,
                VIEW(memory),
                VIEW_IF(has_memory),
                .sub = &memory_table,
                .doc = "The host's numbers"},
        {.name = "rung",
                .type = FIELD_ENUM,
                RO_OR_NULL,
                VIEW(rung),
                VIEW_IF(has_state),
                .names = balloon_rung_names,
                .doc = "How far up the ladder it is: what is done while it stays critical"},
        {.name = "ksm",
                .type = FIELD_OBJECT,
                RO_OR_NULL,
                VIEW(ksm),
                VIEW_IF(has_ksm),
                .sub = &ksm_table,
                .doc = "The kernel's merging of equal pages"},
        {.name = "exceeding",
                .type = FIELD_INT,
                RO,
                VIEW(exceeding),
                .doc = "Guests that have more than their target, unasked, now"},
        {.name = "exceeded_cycles",
                .type = FIELD_INT,
                RO,
                VIEW(exceeded_cycles),
                .doc = "Cycles with such guests since the host is known"},
        {.name = "vms", .type = FIELD_LIST, RO, VIEW(vms), .sub = &vm_table, .doc = "Its guests"},
};
const struct field_table balloon_view_table =
        FIELD_TABLE("HostBalloon", struct balloon_view, view_fields);

struct balloon_view *balloon_view_ref(struct balloon_view *view)
{
	view->references++;
	return view;
}

void balloon_view_unref(struct balloon_view *view)
{
	if (!view || --view->references > 0)
		return;
	field_release(&balloon_view_table, view);
	free(view);
}

/* ---- building it: core loop ---- */

static struct balloon_vm_view view_of(const struct balloon_round *round, size_t i)
{
	const struct balloon_vm_plan *plan = &round->plans[i];
	const struct balloon_vm *vm = &round->vms[i];
	const char *peer = plan->peer >= 0 ? round->members[plan->peer]->name : NULL;
	char text[256];
	balloon_reason_text(plan, peer, text, sizeof(text));
	return (struct balloon_vm_view){
	        .id = xstrdup(vm->id),
	        .name = xstrdup(round->members[i]->name),
	        .reason_text = xstrdup(text),
	        .size_bytes = vm->size_bytes,
	        .min_bytes = vm->min_bytes,
	        .current_bytes = vm->current_bytes,
	        .has_current = vm->current_bytes >= 0,
	        .target_bytes = plan->target_bytes,
	        .booked_bytes = plan->booked_bytes,
	        .used_bytes = plan->need_bytes,
	        .has_used = plan->need_bytes >= 0,
	        .demand_bytes = plan->demand_bytes,
	        .state = plan->state,
	        .reason = plan->reason,
	        .throttled = round->guests[i]->is_marked,
	        .since = round->guests[i]->since,
	};
}

static struct balloon_memory_view memory_of(const struct balloon_round *round)
{
	const struct balloon_host_plan *plan = &round->plan;
	const struct balloon_host *host = &round->host;
	return (struct balloon_memory_view){
	        .total_bytes = host->total_bytes,
	        .reserve_bytes = host->reserve_bytes,
	        .usable_bytes = plan->usable_bytes,
	        .booked_bytes = plan->booked_bytes,
	        .free_bytes = plan->free_bytes,
	        .available_bytes = host->available_bytes,
	        .has_available = host->available_bytes >= 0,
	        .missing_bytes = plan->missing_bytes,
	        .freeable_bytes = plan->freeable_bytes,
	        .freeable_floor_bytes = plan->freeable_floor_bytes,
	        .wanted_bytes = host->wanted_bytes,
	        .room_bytes = plan->room_bytes,
	};
}

static struct balloon_ksm_view ksm_of(const struct balloon_site *site)
{
	const struct ksm_state *ksm = &site->ksm;
	if (!site->has_ksm)
		return (struct balloon_ksm_view){.reason = xstrdup(site->ksm_error.message)};
	bool is_off = ksm->run != KSM_RUN_RUNNING && !ksm->can_set_run;
	return (struct balloon_ksm_view){
	        .supported = true,
	        .reason = is_off ? xstrdup("it is off, or not known to run, and only the host's "
	                                   "administrator can start it")
	                         : NULL,
	        .running = ksm->run == KSM_RUN_RUNNING,
	        .steered = site->is_ksm_marked,
	        .pages_to_scan = int64_max(ksm->pages_to_scan, 0),
	        .pages_shared = int64_max(ksm->pages_shared, 0),
	        .pages_sharing = int64_max(ksm->pages_sharing, 0),
	        .saved_bytes = int64_max(ksm->saved_bytes, 0),
	};
}

static struct balloon_view *build(const struct balloon_round *round)
{
	const struct balloon_site *site = round->site;
	struct balloon_view *view = xcalloc(1, sizeof(*view));
	struct balloon_vm_view *vms = xcalloc(round->n + 1, sizeof(*vms));
	for (size_t i = 0; i < round->n; i++)
		vms[i] = view_of(round, i);
	*view = (struct balloon_view){
	        .references = 1,
	        .has_state = true,
	        .state = round->plan.state,
	        .state_reason = round->plan.reason,
	        .rung = round->plan.rung,
	        .since = site->since,
	        .at = round->wall_ms,
	        .has_memory = true,
	        .memory = memory_of(round),
	        .has_ksm = site->ksm_read_ms > 0,
	        .ksm = ksm_of(site),
	        .exceeding = round->plan.exceeding,
	        .exceeded_cycles = round->plan.exceeded_cycles,
	        .vms = {.items = vms, .len = round->n},
	};
	return view;
}

/* ---- handing it out ---- */

static void put_current(struct balloons *all, const char *vm_id, int64_t bytes)
{
	int64_t *slot = map_get(all->currents, vm_id);
	if (!slot) {
		slot = xcalloc(1, sizeof(*slot));
		map_put(all->currents, vm_id, slot);
	}
	*slot = bytes;
}

static void swap_currents(
        struct balloons *all, const struct balloon_view *before, const struct balloon_view *now)
{
	for (size_t i = 0; before && i < before->vms.len; i++)
		free(map_remove(
		        all->currents, ((const struct balloon_vm_view *)before->vms.items)[i].id));
	for (size_t i = 0; now && i < now->vms.len; i++) {
		const struct balloon_vm_view *vm =
		        (const struct balloon_vm_view *)now->vms.items + i;
		if (vm->has_current)
			put_current(all, vm->id, vm->current_bytes);
	}
}

static void publish(struct balloon_site *site, struct balloon_view *view)
{
	struct balloons *all = site->all;
	struct balloon_view *before = site->view;
	site->view = view;
	pthread_mutex_lock(&all->lock);
	swap_currents(all, before, view);
	if (view)
		map_put(all->views, site->id, view);
	else
		map_remove(all->views, site->id);
	pthread_mutex_unlock(&all->lock);
	balloon_view_unref(before);
}

void balloon_round_publish(struct balloon_round *round)
{
	publish(round->site, build(round));
}

void balloon_site_unpublish(struct balloon_site *site)
{
	publish(site, NULL);
}

static struct balloon_view *get_view(struct balloons *all, const char *host_id)
{
	LOCK_SCOPE(&all->lock);
	struct balloon_view *view = map_get(all->views, host_id);
	return view ? balloon_view_ref(view) : NULL;
}

/* What was seen before a host fell silent is no answer about now. */
static void encode_absent(const struct host_row *host, int64_t at, struct json_writer *w)
{
	bool is_ok = str_equal(host->state, "ok");
	char *reason CLEANUP(cleanup_free) =
	        is_ok ? xstrdup("no guest of this host may give memory, or it was not looked at "
	                        "yet")
	              : str_format("the host is %s%s%s", host->state,
	                        host->state_reason[0] ? ": " : "", host->state_reason);
	const struct balloon_view absent = {
	        .reason = reason, .since = is_ok ? 0 : host->state_since, .at = at};
	field_encode(&balloon_view_table, &absent, FIELD_ENCODE_ANSWER, w);
}

void balloons_encode(struct balloons *all, const struct host_row *host, struct json_writer *w)
{
	struct balloon_view *view = get_view(all, host->id);
	bool is_silent = str_equal(host->state, "slow") || str_equal(host->state, "down") ||
	                 str_equal(host->state, "connecting");
	if (view && !is_silent)
		field_encode(&balloon_view_table, view, FIELD_ENCODE_ANSWER, w);
	else
		encode_absent(host, view ? view->at : 0, w);
	balloon_view_unref(view);
}

bool balloons_get_current(struct balloons *all, const char *vm_id, int64_t *ret_bytes)
{
	LOCK_SCOPE(&all->lock);
	const int64_t *bytes = map_get(all->currents, vm_id);
	if (bytes)
		*ret_bytes = *bytes;
	return bytes != NULL;
}

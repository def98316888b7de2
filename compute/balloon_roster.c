/* SPDX-License-Identifier: Apache-2.0 */
/* Who takes part on one host, from the database. Lane threads; a roster is immutable once read. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/number.h"
#include "compute/balloon_internal.h"
#include "compute/balloon_store.h"
#include "compute/host_group.h"
#include "compute/vm_spec.h"
#include "db/reader.h"
#include "scheduler/admission.h"

struct reading {
	struct balloon_roster *roster; /* owned */
	VEC(struct balloon_member) members;
	struct err error;
	int rc;
};

static void read_host(void *arg, const struct balloon_host_row *row)
{
	struct reading *reading = arg;
	struct balloon_roster *roster = reading->roster;
	struct host_group_spec group CLEANUP(host_group_spec_done) = {0};
	reading->rc = host_group_load(row->group_spec, &group, &reading->error);
	roster->host_name = xstrdup(row->name);
	roster->ksm_mark = xstrdup(row->ksm_mark);
	roster->total_bytes = row->memory_bytes;
	roster->reserve_bytes = group.host_reserve.memory_bytes;
	roster->policy = group.balloon;
	roster->is_overcommitted = group.overcommit.mode == OVERCOMMIT_BALLOON;
}

static int64_t overhead_of(const struct balloon_vm_row *row, const struct vm_spec *active)
{
	if (row->is_reserved)
		return row->overhead_bytes;
	int64_t max_bytes = active->memory.max_bytes > active->memory.size_bytes
	                            ? active->memory.max_bytes
	                            : active->memory.size_bytes;
	int64_t vcpus = active->cpu.max > active->cpu.count ? active->cpu.max : active->cpu.count;
	return admission_overhead_bytes(vcpus, max_bytes);
}

/* What the guest was given at boot is in `active`; what its owner allows, and what it is promised, in `wanted`. */
static struct balloon_member member_of(const struct balloon_vm_row *row,
        const struct vm_spec *active, const struct vm_spec *wanted)
{
	const struct vm_memory *memory = &active->memory;
	int64_t min_bytes =
	        wanted->memory.has_min ? wanted->memory.min_bytes : wanted->memory.size_bytes;
	struct balloon_member member = {
	        .name = xstrdup(row->name),
	        .managed = row->managed,
	        .ballooning = row->managed && memory->ballooning == BALLOONING_AUTO &&
	                      wanted->memory.ballooning == BALLOONING_AUTO,
	        .hugepages = memory->hugepages,
	        .merge = memory->merge,
	        .may_suspend = wanted->memory.on_critical == ON_CRITICAL_SUSPEND,
	        .is_starting = row->is_starting,
	        .is_throttled = row->is_throttled,
	        .size_bytes = memory->size_bytes,
	        .min_bytes = int64_min(min_bytes, memory->size_bytes),
	        .shares = wanted->memory.shares > 0 ? wanted->memory.shares : 1,
	        .overhead_bytes = overhead_of(row, active),
	        .booked_bytes = row->is_reserved ? row->booked_bytes : 0,
	        .vcpus = active->cpu.count,
	        .cpu_shares = active->cpu.shares,
	        .cpu_limit_percent = active->cpu.limit_percent,
	        .cpu_reservation_percent = active->cpu.reservation_percent,
	};
	uuid_text_copy(member.id, row->id);
	return member;
}

static int read_vm(void *arg, const struct balloon_vm_row *row, struct err *e)
{
	struct reading *reading = arg;
	struct vm_spec active CLEANUP(vm_spec_done) = {0}, wanted CLEANUP(vm_spec_done) = {0};
	int rc = vm_spec_load(row->spec, &wanted, e);
	if (rc == 0)
		rc = vm_spec_load(row->active_spec ? row->active_spec : row->spec, &active, e);
	if (rc < 0)
		return rc;
	VEC_PUSH(&reading->members, member_of(row, &active, &wanted));
	return 0;
}

struct balloon_roster *balloon_roster_read(struct db *db, const char *host_id, struct err *e)
{
	struct reading reading = {.roster = xcalloc(1, sizeof(*reading.roster))};
	bool is_found = false;
	int rc = reader_begin(db, e);
	if (rc == 0) {
		rc = balloon_store_get_host(db, host_id, read_host, &reading, &is_found, e);
		if (rc == 0 && is_found)
			rc = balloon_store_each_vm(db, host_id, read_vm, &reading, e);
		reader_end(db);
	}
	struct balloon_roster *roster = reading.roster;
	roster->members = reading.members.items;
	roster->n_members = reading.members.len;
	if (rc == 0 && reading.rc < 0) {
		rc = reading.rc;
		*e = reading.error;
	}
	if (rc < 0) {
		balloon_roster_free(roster);
		return NULL;
	}
	roster->has_work = balloon_roster_judge(roster);
	return roster;
}

void balloon_roster_free(struct balloon_roster *roster)
{
	if (!roster)
		return;
	for (size_t i = 0; i < roster->n_members; i++)
		free(roster->members[i].name);
	free(roster->members);
	free(roster->host_name);
	free(roster->ksm_mark);
	free(roster);
}

static int compare_member(const void *id, const void *member)
{
	return strcmp(id, ((const struct balloon_member *)member)->id);
}

const struct balloon_member *balloon_roster_find(
        const struct balloon_roster *roster, const char *vm_id)
{
	if (roster->n_members == 0)
		return NULL;
	return bsearch(vm_id, roster->members, roster->n_members, sizeof(roster->members[0]),
	        compare_member);
}

/* Its memory may move; or it may not any more, and some of it was taken before. */
static bool member_has_work(const struct balloon_roster *roster, const struct balloon_member *m)
{
	if (m->is_throttled)
		return true;
	if (!m->managed || m->hugepages)
		return false;
	bool is_on = roster->policy.enabled && m->ballooning;
	return is_on ? m->min_bytes < m->size_bytes || m->booked_bytes < m->size_bytes
	             : m->booked_bytes > 0 && m->booked_bytes < m->size_bytes;
}

bool balloon_roster_judge(const struct balloon_roster *roster)
{
	if (!roster->host_name)
		return false;
	if (roster->ksm_mark || (roster->is_overcommitted && roster->n_members > 0))
		return true;
	for (size_t i = 0; i < roster->n_members; i++)
		if (member_has_work(roster, &roster->members[i]))
			return true;
	return false;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The bounds of a host against what is asked (docs/decisions/0012). */
#include "scheduler/admission.h"

#include <string.h>

#include "scheduler/admission_internal.h"

#define MIB       ((int64_t)1 << 20)
#define MILLIONTH 1000000

const char *const admission_bound_names[] = {
        [ADMISSION_THREADS] = "threads",
        [ADMISSION_SIZE] = "memory_size",
        [ADMISSION_FLOOR] = "memory_floor",
        [ADMISSION_HUGEPAGES] = "hugepages",
        [ADMISSION_DEDICATED] = "dedicated_cpus",
        [ADMISSION_VCPUS] = "vcpus",
        [ADMISSION_CPU_RESERVATION] = "cpu_reservation",
        [ADMISSION_NONE] = NULL,
};

int64_t admission_overhead_bytes(int64_t max_vcpus, int64_t max_bytes)
{
	return 32 * MIB + 8 * MIB * max_vcpus + max_bytes / 512;
}

/* ---- what a host has ---- */

static int64_t memory_limit(int64_t usable_bytes, double ratio)
{
	double limit = (double)usable_bytes * ratio;
	return limit < 0x1p62 ? (int64_t)limit : (int64_t)1 << 62;
}

static void limit_memory(struct host_limits *limits, const struct host_entry *host)
{
	const struct inventory_group *group = &host->group->pub;
	int64_t usable =
	        host->pub.memory_bytes - group->reserve_memory_bytes - host->pub.hugepage_bytes;
	limits->usable_bytes = usable > 0 ? usable : 0;
	limits->hugepage_bytes = host->pub.hugepage_bytes;
	if (group->mode == OVERCOMMIT_STRICT)
		limits->size_bytes = limits->usable_bytes;
	else
		limits->floor_bytes = limits->usable_bytes;
	if (group->mode == OVERCOMMIT_RATIO)
		limits->size_bytes = memory_limit(limits->usable_bytes, group->memory_ratio);
}

struct host_limits host_limits_get(const struct host_entry *host)
{
	const struct inventory_group *group = &host->group->pub;
	struct host_limits limits = {
	        .threads = ADMISSION_UNLIMITED,
	        .usable_bytes = ADMISSION_UNLIMITED,
	        .size_bytes = ADMISSION_UNLIMITED,
	        .floor_bytes = ADMISSION_UNLIMITED,
	        .hugepage_bytes = ADMISSION_UNLIMITED,
	        .cpu_hundredths = ADMISSION_UNLIMITED,
	        .ratio_millionths = (int64_t)(group->cpu_ratio * MILLIONTH + 0.5),
	        .counts_starts = group->mode == OVERCOMMIT_BALLOON,
	};
	if (host->pub.memory_bytes > 0)
		limit_memory(&limits, host);
	if (host->pub.cpu_threads > 0) {
		limits.threads = host->pub.cpu_threads;
		limits.cpu_hundredths = host->pub.cpu_threads * (100 - group->reserve_cpu_percent);
	}
	return limits;
}

/* ---- one VM ---- */

/* What is left for shared VMs when so many CPUs are dedicated. */
static int64_t shared_hundredths(const struct host_limits *limits, int64_t dedicated)
{
	if (limits->cpu_hundredths == ADMISSION_UNLIMITED)
		return ADMISSION_UNLIMITED;
	int64_t left = limits->cpu_hundredths - 100 * dedicated;
	return left > 0 ? left : 0;
}

static int64_t vcpus_limit(const struct host_limits *limits, int64_t hundredths)
{
	if (hundredths == ADMISSION_UNLIMITED)
		return ADMISSION_UNLIMITED;
	return hundredths * limits->ratio_millionths / (100 * MILLIONTH);
}

static void fill_sums(const struct host_limits *limits, const struct holding *held,
        const struct holding *asked, int64_t max_vcpus, struct admission_sum *sums)
{
	int64_t whole = shared_hundredths(limits, 0);
	int64_t shared = shared_hundredths(limits, held->dedicated_vcpus + asked->dedicated_vcpus);
	bool starts = limits->counts_starts;
	sums[ADMISSION_THREADS] = (struct admission_sum){0, max_vcpus, limits->threads};
	sums[ADMISSION_SIZE] =
	        (struct admission_sum){held->size_bytes, asked->size_bytes, limits->size_bytes};
	sums[ADMISSION_FLOOR] =
	        (struct admission_sum){starts ? held->start_bytes : held->floor_bytes,
	                starts ? asked->start_bytes : asked->floor_bytes, limits->floor_bytes};
	sums[ADMISSION_HUGEPAGES] = (struct admission_sum){
	        held->hugepage_bytes, asked->hugepage_bytes, limits->hugepage_bytes};
	sums[ADMISSION_DEDICATED] = (struct admission_sum){held->dedicated_vcpus,
	        asked->dedicated_vcpus, whole == ADMISSION_UNLIMITED ? whole : whole / 100};
	sums[ADMISSION_VCPUS] = (struct admission_sum){
	        held->shared_vcpus, asked->shared_vcpus, vcpus_limit(limits, shared)};
	sums[ADMISSION_CPU_RESERVATION] =
	        (struct admission_sum){held->reserved_percent, asked->reserved_percent, shared};
}

/*
 * A sum that is not made larger refuses nothing: on a host that holds too much already (domains
 * that others started) a VM may still shrink, and what it does not ask for is not its matter. CPUs
 * that become dedicated make the limits of the shared ones smaller, so they matter to those.
 */
static enum admission_bound find_bound(
        const struct admission_sum *sums, const struct admission_sum *own)
{
	bool dedicates = sums[ADMISSION_DEDICATED].asked > own[ADMISSION_DEDICATED].asked;
	for (int i = 0; i < ADMISSION_BOUND_COUNT; i++) {
		bool narrows =
		        dedicates && (i == ADMISSION_VCPUS || i == ADMISSION_CPU_RESERVATION);
		if (sums[i].limit == ADMISSION_UNLIMITED ||
		        (sums[i].asked <= own[i].asked && !narrows))
			continue;
		if (sums[i].asked > sums[i].limit - sums[i].held)
			return (enum admission_bound)i;
	}
	return ADMISSION_NONE;
}

/* Which bound would refuse on the same host if nothing else were there. */
static enum admission_bound find_bound_when_empty(
        const struct host_limits *limits, const struct holding *asked, int64_t max_vcpus)
{
	static const struct holding nothing;
	static const struct admission_sum no_sums[ADMISSION_BOUND_COUNT];
	struct admission_sum sums[ADMISSION_BOUND_COUNT];
	fill_sums(limits, &nothing, asked, max_vcpus, sums);
	return find_bound(sums, no_sums);
}

void admission_weigh(const struct host_limits *limits, const struct holding *held,
        const struct holding *own, const struct holding *asked, int64_t max_vcpus,
        struct admission *ret)
{
	struct admission_sum own_sums[ADMISSION_BOUND_COUNT] = {0};
	if (own->vms > 0)
		fill_sums(limits, held, own, 0, own_sums);
	fill_sums(limits, held, asked, max_vcpus, ret->sums);
	ret->bound = find_bound(ret->sums, own_sums);
	ret->usable_bytes = limits->usable_bytes;
	ret->is_never = false;
	ret->wait_bytes = 0;
	if (ret->bound != ADMISSION_NONE) {
		enum admission_bound never = find_bound_when_empty(limits, asked, max_vcpus);
		ret->is_never = never != ADMISSION_NONE;
		ret->bound = ret->is_never ? never : ret->bound;
	} else if (limits->counts_starts && limits->usable_bytes != ADMISSION_UNLIMITED) {
		int64_t beyond = held->booked_bytes + asked->booked_bytes - limits->usable_bytes;
		ret->wait_bytes = beyond > 0 ? beyond : 0;
	}
}

struct holding admission_own_holding(
        const struct inventory *inv, const struct host_entry *host, const char *vm_id)
{
	struct holding own = {0};
	const struct token *t = vm_id ? index_find(inv, WORD_VM, vm_id) : NULL;
	MEMBERS_FOR_EACH (t, LINK_VMS, member) {
		const struct vm_entry *vm = member->entry;
		if (vm->host == host && strcmp(vm->pub.id, vm_id) == 0)
			own = vm->holding;
	}
	return own;
}

void admission_decide(const struct inventory *inv, const struct inventory_host *pub,
        const struct reservation *asked, const char *vm_id, struct admission *ret)
{
	const struct host_entry *host = host_entry_of(pub);
	struct holding own = admission_own_holding(inv, host, vm_id);
	struct holding held = host->held;
	holding_subtract(&held, &own);
	struct holding wanted = reservation_holding(asked);
	struct host_limits limits = host_limits_get(host);
	admission_weigh(&limits, &held, &own, &wanted, reservation_most_vcpus(asked), ret);
	ret->total_bytes = pub->memory_bytes;
	ret->reserved_bytes = host->group->pub.reserve_memory_bytes;
	ret->hugepage_bytes = pub->hugepage_bytes;
}

/* ---- many VMs ---- */

struct load load_of(const struct host_limits *limits, const struct holding *h)
{
	return (struct load){{
	        [LOAD_SIZE] = h->size_bytes,
	        [LOAD_FLOOR] = h->floor_bytes,
	        [LOAD_HUGEPAGES] = h->hugepage_bytes,
	        [LOAD_VCPUS] =
	                h->shared_vcpus * MILLIONTH + h->dedicated_vcpus * limits->ratio_millionths,
	        [LOAD_CPU_RESERVATION] = h->reserved_percent + h->dedicated_vcpus * 100,
	}};
}

struct load load_limit(const struct host_limits *limits)
{
	bool has_cpu = limits->cpu_hundredths != ADMISSION_UNLIMITED;
	return (struct load){{
	        [LOAD_SIZE] = limits->size_bytes,
	        [LOAD_FLOOR] = limits->floor_bytes,
	        [LOAD_HUGEPAGES] = limits->hugepage_bytes,
	        [LOAD_VCPUS] = has_cpu ? limits->cpu_hundredths * limits->ratio_millionths / 100
	                               : ADMISSION_UNLIMITED,
	        [LOAD_CPU_RESERVATION] = limits->cpu_hundredths,
	}};
}

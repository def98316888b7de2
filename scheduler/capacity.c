/* SPDX-License-Identifier: Apache-2.0 */
/* Sums of a group, and how much more it takes. */
#include "scheduler/capacity.h"

#include "base/number.h"
#include "scheduler/host_loss.h"
#include "scheduler/placement.h"

#define MIB ((int64_t)1 << 20)
/* Of a VM that nobody described: what is still free is asked of one vCPU. */
static const struct reservation one_vcpu = {.state = RESERVATION_STARTING, .vcpus = 1};

/* ---- sums ---- */

static void add_memory(
        struct capacity *c, const struct host_entry *host, const struct host_limits *limits)
{
	const struct holding *held = &host->held;
	c->total_bytes += host->pub.memory_bytes;
	c->reserved_bytes += int64_min(c->group->reserve_memory_bytes, host->pub.memory_bytes);
	c->hugepage_bytes += host->pub.hugepage_bytes;
	if (limits->usable_bytes == ADMISSION_UNLIMITED)
		return;
	c->usable_bytes += limits->usable_bytes;
	int64_t floor = limits->counts_starts ? held->start_bytes : held->floor_bytes;
	int64_t by_size = limits->size_bytes == ADMISSION_UNLIMITED
	                          ? INT64_MAX
	                          : int64_max(limits->size_bytes - held->size_bytes, 0);
	int64_t by_floor = limits->floor_bytes == ADMISSION_UNLIMITED
	                           ? INT64_MAX
	                           : int64_max(limits->floor_bytes - floor, 0);
	c->free_bytes += int64_min(by_size, by_floor);
}

static void add_cpu(struct capacity *c, const struct host_entry *host)
{
	const struct holding *held = &host->held;
	struct admission a;
	admission_decide(NULL, &host->pub, &(struct reservation){0}, NULL, &a);
	const struct admission_sum *vcpus = &a.sums[ADMISSION_VCPUS];
	c->threads += host->pub.cpu_threads;
	c->dedicated_vcpus += held->dedicated_vcpus;
	c->shared_vcpus += held->shared_vcpus;
	c->reserved_percent += held->reserved_percent;
	if (vcpus->limit == ADMISSION_UNLIMITED)
		return;
	c->vcpus_limit += vcpus->limit;
	c->free_vcpus += int64_max(vcpus->limit - vcpus->held, 0);
}

static void add_host(struct capacity *c, const struct host_entry *host)
{
	const struct holding *held = &host->held;
	struct host_limits limits = host->limits;
	c->hosts++;
	if (host->pub.state != INVENTORY_HOST_OK)
		return;
	c->hosts_ok++;
	c->vms += held->vms;
	c->configured_bytes += held->size_bytes;
	c->guaranteed_bytes += held->floor_bytes;
	c->booked_bytes += held->booked_bytes;
	c->hugepage_held_bytes += held->hugepage_bytes;
	add_memory(c, host, &limits);
	add_cpu(c, host);
}

/* ---- how many more ---- */

/*
 * How many more of one size a host takes, started one after another: in mode balloon the last one
 * still needs its whole size while the others have shrunk to their floors.
 */
static int64_t count_on_host(const struct host_entry *host, const struct reservation *each)
{
	struct host_limits limits = host->limits;
	struct reservation running = *each, starting = *each;
	struct admission first;
	running.state = RESERVATION_RUNNING;
	running.booked_bytes = each->size_bytes;
	starting.state = RESERVATION_STARTING;
	struct holding settled = reservation_holding(&running),
	               start = reservation_holding(&starting);
	static const struct holding nothing;
	admission_weigh(
	        &limits, &host->held, &nothing, &start, reservation_most_vcpus(each), &first);
	if (!admission_fits(&first) || host->pub.state != INVENTORY_HOST_OK)
		return 0;
	struct holding held = host->held;
	if (limits.counts_starts) {
		/* Room for the last one's start, beyond its floor, is kept free. */
		held.floor_bytes = held.start_bytes + start.start_bytes - settled.floor_bytes;
	}
	struct load limit = load_limit(&limits), has = load_of(&limits, &held);
	struct load takes = load_of(&limits, &settled);
	int64_t n = INT64_MAX;
	for (int d = 0; d < LOAD_COUNT; d++)
		if (takes.amount[d] > 0 && limit.amount[d] != ADMISSION_UNLIMITED)
			n = int64_min(n, (limit.amount[d] - has.amount[d]) / takes.amount[d]);
	return int64_max(n, 0);
}

struct count {
	VEC(int64_t) most; /* by host of the group */
	int64_t sum;
	struct host_loss loss;
};

/* Spreads `n` over the hosts, each as far as it can, in the order of the hosts. */
static bool survives_with(struct count *count, int64_t n)
{
	int64_t left = n, sum = count->sum;
	bool survives = true;
	VEC(int64_t) given = {0};
	for (size_t i = 0; i < count->most.len; i++) {
		/* In proportion to what each takes, rounded so that nothing is left over. */
		int64_t most = count->most.items[i];
		int64_t share = sum > 0 ? (int64_t)(((__int128)left * most + sum - 1) / sum) : 0;
		share = int64_min(int64_min(share, most), left);
		VEC_PUSH(&given, share);
		host_loss_count(&count->loss, i, share);
		left -= share;
		sum -= most;
	}
	survives = host_loss_survives(&count->loss);
	for (size_t i = 0; i < given.len; i++)
		host_loss_count(&count->loss, i, -given.items[i]);
	VEC_DONE(&given);
	return survives;
}

/* The largest number that was shown to survive; by halves, since more VMs never need less. */
static int64_t count_surviving(struct count *count)
{
	int64_t good = 0, bad = count->sum + 1;
	if (count->sum == 0 || !survives_with(count, 0))
		return 0;
	while (bad - good > 1) {
		int64_t middle = good + (bad - good) / 2;
		if (survives_with(count, middle))
			good = middle;
		else
			bad = middle;
	}
	return good;
}

static void count_fits(const struct inventory *inv, struct capacity *c,
        const struct group_entry *group, const struct reservation *each)
{
	struct count count = {0};
	for (size_t i = 0; i < group->hosts.len; i++) {
		int64_t n = count_on_host(group->hosts.items[i], each);
		/* Without any limit there is no number. */
		if (n == INT64_MAX)
			n = 0;
		VEC_PUSH(&count.most, n);
		count.sum += n;
	}
	c->fits = count.sum;
	if (c->group->survive_host_loss > 0) {
		struct loss_item item = host_loss_item(group, each);
		host_loss_prepare(&count.loss, inv, group, &item, NULL);
		c->fits = count_surviving(&count);
		host_loss_done(&count.loss);
	}
	VEC_DONE(&count.most);
}

/* ---- the largest ---- */

/* The same shape with another size: min and overhead follow. */
static struct reservation resized(const struct reservation *each, int64_t size_bytes)
{
	struct reservation r = *each;
	r.state = RESERVATION_STARTING;
	r.size_bytes = size_bytes;
	r.min_bytes = size_bytes;
	if (each->size_bytes > 0 && each->min_bytes > 0)
		r.min_bytes = (int64_t)((__int128)size_bytes * each->min_bytes / each->size_bytes);
	r.booked_bytes = 0;
	r.overhead_bytes = admission_overhead_bytes(reservation_most_vcpus(each), size_bytes);
	return r;
}

static const struct inventory_host *find_place(const struct inventory *inv, struct capacity *c,
        const struct reservation *asked, struct placement *places)
{
	struct placement_request request = {.group_id = c->group->id, .asked = *asked};
	place(inv, &request, places);
	return places->ranked.len > 0 ? places->ranked.items[0].host : NULL;
}

static int64_t most_usable(const struct group_entry *group)
{
	int64_t most = 0;
	for (size_t i = 0; i < group->hosts.len; i++)
		if (group->hosts.items[i]->pub.memory_bytes > most)
			most = group->hosts.items[i]->pub.memory_bytes;
	return most;
}

/* By halves, in MiB; placement itself says what fits. */
static void find_largest(const struct inventory *inv, struct capacity *c,
        const struct group_entry *group, const struct reservation *each)
{
	struct placement places = {0};
	int64_t good = 0, bad = most_usable(group) / MIB + 1;
	while (bad - good > 1) {
		int64_t middle = good + (bad - good) / 2;
		struct reservation asked = resized(each, middle * MIB);
		const struct inventory_host *host = find_place(inv, c, &asked, &places);
		if (host)
			c->largest_host = host;
		good = host ? middle : good;
		bad = host ? bad : middle;
	}
	c->largest_bytes = good * MIB;
	placement_done(&places);
}

static void find_most_vcpus(const struct inventory *inv, struct capacity *c,
        const struct group_entry *group, const struct reservation *each)
{
	struct placement places = {0};
	int64_t good = 0, bad = 1;
	for (size_t i = 0; i < group->hosts.len; i++)
		if (group->hosts.items[i]->pub.cpu_threads >= bad)
			bad = group->hosts.items[i]->pub.cpu_threads + 1;
	while (bad - good > 1) {
		int64_t middle = good + (bad - good) / 2;
		struct reservation asked = *each;
		asked.state = RESERVATION_STARTING;
		asked.vcpus = middle;
		asked.max_vcpus = 0;
		bool fits = find_place(inv, c, &asked, &places);
		good = fits ? middle : good;
		bad = fits ? bad : middle;
	}
	c->largest_vcpus = good;
	placement_done(&places);
}

/* ---- losses ---- */

static void find_losses(
        const struct inventory *inv, struct capacity *c, const struct group_entry *group)
{
	struct host_loss loss = {0};
	host_loss_prepare(&loss, inv, group, &(struct loss_item){0}, NULL);
	c->survives_host_loss = host_loss_survives(&loss);
	for (size_t i = 0; i < group->hosts.len && !c->survives_host_loss; i++) {
		struct loss_homeless homeless;
		if (host_loss_is_absorbed(&loss, i, &homeless))
			continue;
		struct capacity_loss entry = {.host = &group->hosts.items[i]->pub,
		        .missing_bytes = homeless.bytes,
		        .missing_vcpus = homeless.vcpus,
		        .vms = homeless.vms,
		        .homeless = homeless.homeless};
		VEC_PUSH(&c->losses, entry);
	}
	host_loss_done(&loss);
}

void capacity_of_group(const struct inventory *inv, const struct inventory_group *pub,
        const struct reservation *each, struct capacity *ret)
{
	const struct group_entry *group = group_entry_of(pub);
	*ret = (struct capacity){.group = pub};
	for (size_t i = 0; i < group->hosts.len; i++)
		add_host(ret, group->hosts.items[i]);
	if (each)
		count_fits(inv, ret, group, each);
	find_largest(inv, ret, group, each ? each : &one_vcpu);
	find_most_vcpus(inv, ret, group, each ? each : &one_vcpu);
	find_losses(inv, ret, group);
}

void capacity_done(struct capacity *c)
{
	VEC_DONE(&c->losses);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The sufficient test, and what it and the packing start from. */
#include "scheduler/host_loss.h"

#include <string.h>

#include "scheduler/host_loss_internal.h"

/* Free amount of what is not limited; sums of 10,000 hosts stay far below 2^63. */
#define PLENTY ((int64_t)1 << 48)
/* Above the rounding of sums of weights. */
#define MARGIN 1e-6

static struct load counted_load(const struct host_loss *l, const struct holding *h)
{
	enum overcommit_mode mode = l->group->pub.mode;
	struct load load = load_of(&l->unit, h);
	if (mode == OVERCOMMIT_STRICT)
		load.amount[LOAD_FLOOR] = 0;
	if (mode == OVERCOMMIT_BALLOON)
		load.amount[LOAD_SIZE] = 0;
	return load;
}

void load_move(struct load *to, const struct load *what, int64_t times)
{
	for (int d = 0; d < LOAD_COUNT; d++)
		to->amount[d] += what->amount[d] * times;
}

bool load_fits(const struct load *left, int64_t threads, const struct loss_item *item)
{
	if (item->vcpus > threads)
		return false;
	for (int d = 0; d < LOAD_COUNT; d++)
		if (item->load.amount[d] > 0 && item->load.amount[d] > left->amount[d])
			return false;
	return true;
}

static void maximize(struct load *largest, const struct load *load)
{
	for (int d = 0; d < LOAD_COUNT; d++)
		if (load->amount[d] > largest->amount[d])
			largest->amount[d] = load->amount[d];
}

bool loss_is_own(const struct host_loss *l, const struct vm_entry *vm)
{
	return l->own && strcmp(l->own->word + 1, vm->pub.id) == 0;
}

struct loss_item loss_item_of(const struct host_loss *l, const struct vm_entry *vm)
{
	return (struct loss_item){.load = counted_load(l, &vm->holding),
	        .vcpus = reservation_most_vcpus(&vm->pub.reservation),
	        .vm = vm};
}

/* ---- what each host has and holds ---- */

static void find_free(struct loss_bin *bin, const struct host_limits *limits)
{
	struct load limit = load_limit(limits);
	for (int d = 0; d < LOAD_COUNT; d++) {
		bool is_limited = limit.amount[d] != ADMISSION_UNLIMITED;
		bin->free.amount[d] = is_limited ? limit.amount[d] - bin->load.amount[d] : PLENTY;
	}
}

static void add_bin(struct host_loss *l, const struct host_entry *host)
{
	struct host_limits limits = host_limits_get(host);
	struct loss_bin bin = {
	        .host = host,
	        .threads = limits.threads,
	        .load = counted_load(l, &host->held),
	        .absorbs = host->pub.state == INVENTORY_HOST_OK,
	};
	struct load largest = counted_load(l, &host->largest);
	if (bin.absorbs)
		find_free(&bin, &limits);
	maximize(&l->largest, &largest);
	if (host->most_vcpus > l->most_vcpus)
		l->most_vcpus = host->most_vcpus;
	VEC_PUSH(&l->bins, bin);
}

static void leave_out_own(struct host_loss *l)
{
	MEMBERS_FOR_EACH (l->own, LINK_VMS, member) {
		const struct vm_entry *vm = member->entry;
		/* An entry has two links on one word if its name is its id. */
		bool is_by_id = member->link == &vm->links[0];
		if (vm->host->group != l->group || vm->holding.vms == 0 || !is_by_id)
			continue;
		struct loss_bin *bin = &l->bins.items[vm->host->group_index];
		struct loss_item own = loss_item_of(l, vm);
		load_move(&bin->load, &own.load, -1);
		if (bin->absorbs)
			load_move(&bin->free, &own.load, 1);
	}
}

static double weight_of(const struct host_loss *l, const struct load *left, int64_t threads)
{
	double weight = l->dimensions; /* more is of no use */
	if (l->most_vcpus > threads)
		return 0;
	for (int d = 0; d < LOAD_COUNT; d++) {
		if (l->heaviest.amount[d] == 0)
			continue;
		int64_t spare = left->amount[d] - l->largest.amount[d];
		double share = spare > 0 ? (double)spare / (double)l->heaviest.amount[d] : 0;
		if (share < weight)
			weight = share;
	}
	return weight;
}

static void find_heaviest(struct host_loss *l)
{
	l->heaviest = (struct load){{0}};
	for (size_t i = 0; i < l->bins.len; i++)
		maximize(&l->heaviest, &l->bins.items[i].load);
	l->dimensions = 0;
	for (int d = 0; d < LOAD_COUNT; d++)
		l->dimensions += l->heaviest.amount[d] > 0;
}

static void find_first_two(struct host_loss *l, size_t i)
{
	double weight = l->bins.items[i].weight;
	if (l->first == LOSS_NOWHERE || weight > l->bins.items[l->first].weight) {
		l->second = l->first;
		l->first = i;
	} else if (l->second == LOSS_NOWHERE || weight > l->bins.items[l->second].weight) {
		l->second = i;
	}
}

static void weigh(struct host_loss *l)
{
	find_heaviest(l);
	l->weight_sum = 0;
	l->first = l->second = l->only_taker = LOSS_NOWHERE;
	l->takers = 0;
	l->free_sum = (struct load){{0}};
	for (size_t i = 0; i < l->bins.len; i++) {
		struct loss_bin *bin = &l->bins.items[i];
		bin->weight = bin->absorbs ? weight_of(l, &bin->free, bin->threads) : 0;
		l->weight_sum += bin->weight;
		find_first_two(l, i);
		if (bin->absorbs && load_fits(&bin->free, bin->threads, &l->item)) {
			l->takers++;
			l->only_taker = i;
		}
		for (int d = 0; d < LOAD_COUNT; d++)
			if (bin->free.amount[d] > 0)
				l->free_sum.amount[d] += bin->free.amount[d];
	}
	for (int d = 0; d < LOAD_COUNT; d++)
		l->free_sum_inverse[d] = 1 / ((double)l->free_sum.amount[d] + 1);
	l->is_settled = false;
	l->order.len = 0;
}

void host_loss_prepare(struct host_loss *l, const struct group_entry *group,
        const struct loss_item *item, const struct token *own)
{
	l->group = group;
	l->own = own;
	l->item = *item;
	l->bins.len = 0;
	l->largest = (struct load){{0}};
	l->most_vcpus = 0;
	if (group->hosts.len > 0)
		l->unit = host_limits_get(group->hosts.items[0]);
	for (size_t i = 0; i < group->hosts.len; i++)
		add_bin(l, group->hosts.items[i]);
	leave_out_own(l);
	weigh(l);
	l->is_prepared = true;
}

struct loss_item host_loss_item(const struct group_entry *group, const struct reservation *r)
{
	struct reservation running = *r;
	struct host_loss l = {.group = group};
	running.state = RESERVATION_RUNNING;
	if (group->hosts.len == 0)
		return (struct loss_item){0};
	if (running.inflexible)
		running.booked_bytes = running.size_bytes;
	struct holding h = reservation_holding(&running);
	l.unit = host_limits_get(group->hosts.items[0]);
	return (struct loss_item){.load = counted_load(&l, &h), .vcpus = reservation_most_vcpus(r)};
}

void host_loss_done(struct host_loss *l)
{
	VEC_DONE(&l->bins);
	VEC_DONE(&l->items);
	VEC_DONE(&l->order);
	VEC_DONE(&l->placed);
	VEC_DONE(&l->in_the_way);
	VEC_DONE(&l->left);
}

/* ---- the questions ---- */

static double weight_at(const struct host_loss *l, size_t i)
{
	return i == LOSS_NOWHERE ? 0 : l->bins.items[i].weight;
}

static bool is_sufficient(const struct host_loss *l, double weight)
{
	return l->dimensions == 0 || weight >= l->dimensions + MARGIN;
}

/* Both the loss of the host itself, with the item, and of any other. */
static bool surely_allows(const struct host_loss *l, size_t i)
{
	const struct loss_bin *bin = &l->bins.items[i];
	struct load left = bin->free;
	load_move(&left, &l->item.load, -1);
	bool item_finds_room = l->takers > 1 || (l->takers == 1 && l->only_taker != i);
	double others = l->weight_sum - bin->weight;
	double with_item = bin->absorbs ? weight_of(l, &left, bin->threads) : 0;
	/* The one that is lost with them; or that is set aside for the item. */
	double missing = weight_at(l, l->first == i ? l->second : l->first);
	return item_finds_room && is_sufficient(l, others - missing) &&
	       is_sufficient(l, others + with_item - missing);
}

bool host_loss_allows(
        struct host_loss *l, const struct host_entry *host, const struct host_entry **ret_lost)
{
	size_t i = host->group_index;
	if (surely_allows(l, i))
		return true;
	if (!l->is_settled)
		loss_settle(l);
	*ret_lost = l->lost_anyway ? l->lost_anyway : l->bins.items[i].not_with;
	if (!*ret_lost && !loss_pack(l, i, i))
		*ret_lost = host;
	return !*ret_lost;
}

bool host_loss_survives(struct host_loss *l)
{
	maximize(&l->largest, &l->item.load); /* it is one of many now */
	if (l->item.vcpus > l->most_vcpus)
		l->most_vcpus = l->item.vcpus;
	weigh(l);
	if (is_sufficient(l, l->weight_sum - weight_at(l, l->first)))
		return true;
	for (size_t i = 0; i < l->bins.len; i++)
		if (!loss_pack(l, i, LOSS_NOWHERE))
			return false;
	return true;
}

void host_loss_count(struct host_loss *l, size_t i, int64_t n)
{
	struct loss_bin *bin = &l->bins.items[i];
	bin->extra += n;
	load_move(&bin->load, &l->item.load, n);
	if (bin->absorbs)
		load_move(&bin->free, &l->item.load, -n);
}

struct loss_amounts host_loss_amounts(
        const struct host_loss *l, const struct host_entry *host, const struct host_entry *lost)
{
	static const struct {
		enum admission_bound bound;
		int64_t scale;
	} meaning[LOAD_COUNT] = {
	        [LOAD_SIZE] = {ADMISSION_SIZE, 1},
	        [LOAD_FLOOR] = {ADMISSION_FLOOR, 1},
	        [LOAD_HUGEPAGES] = {ADMISSION_HUGEPAGES, 1},
	        [LOAD_VCPUS] = {ADMISSION_VCPUS, 1000000},
	        [LOAD_CPU_RESERVATION] = {ADMISSION_CPU_RESERVATION, 1},
	};
	const struct loss_bin *bin = &l->bins.items[lost->group_index];
	struct loss_amounts scarcest = {.bound = ADMISSION_NONE};
	double worst = -1;
	for (int d = 0; d < LOAD_COUNT; d++) {
		int64_t item = host ? l->item.load.amount[d] : 0;
		int64_t own_free = bin->free.amount[d] > 0 ? bin->free.amount[d] : 0;
		int64_t needed = bin->load.amount[d] + (host == lost ? item : 0);
		int64_t left = l->free_sum.amount[d] - own_free - (host == lost ? 0 : item);
		double share = (double)needed / (left > 0 ? (double)left : 0.5);
		if (needed == 0 || share <= worst)
			continue;
		worst = share;
		scarcest = (struct loss_amounts){meaning[d].bound, needed / meaning[d].scale,
		        (left > 0 ? left : 0) / meaning[d].scale};
	}
	return scarcest;
}

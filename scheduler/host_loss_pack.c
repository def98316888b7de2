/* SPDX-License-Identifier: Apache-2.0 */
/* Packing the VMs of a lost host into the others: first fit, largest first, with steps back. */
#include <stdlib.h>
#include <string.h>

#include "scheduler/host_loss_internal.h"

/* Steps back that one packing may take: few where there are many hosts to look at. */
#define STEPS_BACK(hosts) (20000 / (hosts) + 4)

/* ---- what is packed ---- */

static double size_of(const struct host_loss *l, const struct loss_item *item)
{
	double size = 0;
	for (int d = 0; d < LOAD_COUNT; d++) {
		double share = (double)item->load.amount[d] * l->free_sum_inverse[d];
		if (share > size)
			size = share;
	}
	return size;
}

static void add_item(struct host_loss *l, struct loss_item item)
{
	item.size = size_of(l, &item);
	VEC_PUSH(&l->items, item);
}

static int compare_items(const void *a, const void *b)
{
	const struct loss_item *x = a, *y = b;
	if (x->size != y->size)
		return x->size < y->size ? 1 : -1;
	if (!x->vm || !y->vm)
		return (x->vm != NULL) - (y->vm != NULL);
	int order = memcmp(&x->load, &y->load, sizeof(x->load)); /* equal ones side by side */
	if (order)
		return order;
	order = strcmp(x->vm->pub.name, y->vm->pub.name);
	return order ? order : strcmp(x->vm->pub.id, y->vm->pub.id);
}

static void collect_items(struct host_loss *l, size_t lost, size_t with_item)
{
	const struct loss_bin *bin = &l->bins.items[lost];
	l->items.len = 0;
	for (size_t i = 0; i < bin->host->vms.len; i++) {
		const struct vm_entry *vm = bin->host->vms.items[i];
		if (vm->holding.vms > 0 && !loss_is_own(l, vm))
			add_item(l, loss_item_of(l, vm));
	}
	for (int64_t i = bin->extra + (with_item == lost); i > 0; i--)
		add_item(l, l->item);
	if (l->items.len > 1)
		qsort(l->items.items, l->items.len, sizeof(*l->items.items), compare_items);
}

/* ---- where it is packed ---- */

static int compare_bins(const void *a, const void *b, void *arg)
{
	const struct host_loss *l = arg;
	uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
	double x = l->bins.items[i].weight, y = l->bins.items[j].weight;
	if (x != y)
		return x < y ? 1 : -1;
	int64_t free_i =
	        l->bins.items[i].free.amount[LOAD_SIZE] + l->bins.items[i].free.amount[LOAD_FLOOR];
	int64_t free_j =
	        l->bins.items[j].free.amount[LOAD_SIZE] + l->bins.items[j].free.amount[LOAD_FLOOR];
	if (free_i != free_j)
		return free_i < free_j ? 1 : -1;
	return i < j ? -1 : 1;
}

static void order_bins(struct host_loss *l)
{
	if (l->order.len > 0)
		return; /* nothing was counted or prepared since */
	VEC_RESERVE(&l->left, l->bins.len);
	l->left.len = l->bins.len;
	for (uint32_t i = 0; i < l->bins.len; i++) {
		l->left.items[i] = l->bins.items[i].free;
		if (l->bins.items[i].absorbs)
			VEC_PUSH(&l->order, i);
	}
	if (l->order.len > 1)
		qsort_r(l->order.items, l->order.len, sizeof(*l->order.items), compare_bins, l);
}

static bool fits(const struct host_loss *l, size_t bin, const struct loss_item *item)
{
	return load_fits(&l->left.items[bin], l->bins.items[bin].threads, item);
}

/* The first position from `from` on that takes the item; order.len: none. */
static size_t find_position(
        const struct host_loss *l, const struct loss_item *item, size_t lost, size_t from)
{
	while (from < l->order.len &&
	        (l->order.items[from] == lost || !fits(l, l->order.items[from], item)))
		from++;
	return from;
}

static struct load *left_at(struct host_loss *l, size_t position)
{
	return &l->left.items[l->order.items[position]];
}

static bool are_alike(const struct loss_item *a, const struct loss_item *b)
{
	return a->vcpus == b->vcpus && memcmp(&a->load, &b->load, sizeof(a->load)) == 0;
}

/* Alike items need not be tried in more than one order. */
static size_t first_position(const struct host_loss *l, size_t i)
{
	if (i == 0 || !are_alike(&l->items.items[i], &l->items.items[i - 1]))
		return 0;
	return l->placed.items[i - 1];
}

static void undo(struct host_loss *l, size_t n_placed)
{
	for (size_t i = 0; i < n_placed; i++)
		load_move(left_at(l, l->placed.items[i]), &l->items.items[i].load, 1);
}

/* On success all items are placed, and taken from what is left; on failure nothing is. */
static bool search(struct host_loss *l, size_t lost)
{
	size_t steps_back = STEPS_BACK(l->order.len + 1), i = 0, from = 0;
	while (i < l->items.len) {
		const struct loss_item *item = &l->items.items[i];
		size_t position = find_position(l, item, lost, from);
		if (position < l->order.len) {
			load_move(left_at(l, position), &item->load, -1);
			l->placed.items[i++] = (uint32_t)position;
			from = i < l->items.len ? first_position(l, i) : 0;
			continue;
		}
		if (i == 0)
			return false;
		if (steps_back-- == 0) {
			undo(l, i);
			return false;
		}
		from = l->placed.items[--i];
		load_move(left_at(l, from), &l->items.items[i].load, 1);
		from++;
	}
	return true;
}

/* The others have less free than the host holds. */
static bool is_hopeless(const struct host_loss *l, size_t lost, size_t with_item)
{
	const struct loss_bin *bin = &l->bins.items[lost];
	for (int d = 0; d < LOAD_COUNT; d++) {
		int64_t item = with_item == LOSS_NOWHERE ? 0 : l->item.load.amount[d];
		int64_t needed = bin->load.amount[d] + (with_item == lost ? item : 0);
		int64_t own = bin->free.amount[d] > 0 ? bin->free.amount[d] : 0;
		if (needed > 0 && needed > l->free_sum.amount[d] - own)
			return true;
	}
	return false;
}

static void prepare(struct host_loss *l, size_t lost, size_t with_item)
{
	collect_items(l, lost, with_item);
	order_bins(l);
	VEC_RESERVE(&l->placed, l->items.len);
}

bool loss_pack(struct host_loss *l, size_t lost, size_t with_item)
{
	bool is_elsewhere = with_item != LOSS_NOWHERE && with_item != lost;
	if (is_hopeless(l, lost, with_item))
		return false;
	prepare(l, lost, with_item);
	if (is_elsewhere)
		load_move(&l->left.items[with_item], &l->item.load, -1);
	bool is_packed = search(l, lost);
	if (is_packed)
		undo(l, l->items.len);
	if (is_elsewhere)
		load_move(&l->left.items[with_item], &l->item.load, 1);
	return is_packed;
}

/* With all of the lost host's VMs moved, where is no room for the item any more? Those that are
 * known not to take it are left out. */
static bool find_in_the_way(struct host_loss *l, size_t lost)
{
	l->in_the_way.len = 0;
	if (is_hopeless(l, lost, LOSS_NOWHERE))
		return false;
	prepare(l, lost, LOSS_NOWHERE);
	if (!search(l, lost))
		return false;
	for (size_t i = 0; i < l->items.len; i++) {
		uint32_t bin = l->order.items[l->placed.items[i]];
		if (!l->bins.items[bin].not_with && !fits(l, bin, &l->item))
			VEC_PUSH(&l->in_the_way, bin);
	}
	undo(l, l->items.len);
	return true;
}

static bool settle_loss(struct host_loss *l, size_t lost)
{
	if (!find_in_the_way(l, lost))
		return false;
	for (size_t i = 0; i < l->in_the_way.len; i++) {
		struct loss_bin *bin = &l->bins.items[l->in_the_way.items[i]];
		if (!bin->not_with && !loss_pack(l, lost, l->in_the_way.items[i]))
			bin->not_with = l->bins.items[lost].host;
	}
	return true;
}

void loss_settle(struct host_loss *l)
{
	l->is_settled = true;
	l->lost_anyway = NULL;
	VEC_FOR_EACH (&l->bins, bin) {
		bin->not_with = NULL;
	}
	for (size_t i = 0; i < l->bins.len; i++) {
		if (!settle_loss(l, i)) {
			l->lost_anyway = l->bins.items[i].host;
			return;
		}
	}
}

static void add_homeless(
        const struct host_loss *l, const struct loss_item *item, struct loss_homeless *homeless)
{
	const struct load *load = &item->load;
	homeless->homeless++;
	homeless->bytes +=
	        load->amount[LOAD_SIZE] > 0 ? load->amount[LOAD_SIZE] : load->amount[LOAD_FLOOR];
	homeless->vcpus += item->vm ? item->vm->pub.reservation.vcpus : l->item.vcpus;
}

bool host_loss_is_absorbed(struct host_loss *l, size_t lost, struct loss_homeless *ret_homeless)
{
	*ret_homeless = (struct loss_homeless){.vms = l->bins.items[lost].host->held.vms};
	if (loss_pack(l, lost, LOSS_NOWHERE))
		return true;
	prepare(l, lost, LOSS_NOWHERE);
	for (size_t i = 0; i < l->items.len; i++) {
		const struct loss_item *item = &l->items.items[i];
		size_t position = find_position(l, item, lost, 0);
		l->placed.items[i] = (uint32_t)position;
		if (position < l->order.len)
			load_move(left_at(l, position), &item->load, -1);
		else
			add_homeless(l, item, ret_homeless);
	}
	for (size_t i = 0; i < l->items.len; i++)
		if (l->placed.items[i] < l->order.len)
			load_move(left_at(l, l->placed.items[i]), &l->items.items[i].load, 1);
	return ret_homeless->homeless == 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * N+1: whether the other hosts of a group could take the VMs of any one host that is lost. Only
 * room counts, as what the VMs count for once they run; hosts that are not ok take nothing.
 *
 * It is vector bin packing, so exact answers cost too much. Three steps, the first that knows ends:
 *	sufficient	Before first fit refuses a VM on a host with the free amounts f, more than
 *			f - m is filled there in some dimension, m being the largest VM. With L the
 *			largest load of a host, that is a share w = min over dimensions of
 *			(f - m) / L of all that is to be placed. If the w of the others sum up to
 *			the number of dimensions, no order of VMs can fill them all, so everything
 *			finds room. The VM that is being placed is left out of m and L: it only
 *			moves if its own host is lost, and then a host is set aside for it.
 *	necessary	In each dimension the others have as much free as the lost host holds.
 *	constructive	First fit, VMs by size, and a bounded number of steps back. What is not
 *			found in that many steps counts as not absorbed.
 */
#pragma once

#include "base/vec.h"
#include "scheduler/admission_internal.h"

struct loss_bin {
	const struct host_entry *host;
	struct load free; /* nothing on hosts that are not ok */
	struct load load; /* of its VMs */
	int64_t threads;
	int64_t extra; /* how many more of the item are counted on it */
	double weight; /* w */
	bool absorbs;
	const struct host_entry *not_with; /* a loss that is not absorbed with the item on it */
};

struct loss_item {
	struct load load;
	int64_t vcpus;             /* of one VM: no host with fewer threads takes it */
	double size;               /* the largest share of what all hosts have free */
	const struct vm_entry *vm; /* NULL: what is to be placed */
};

struct host_loss {
	bool is_prepared, is_settled;
	const struct group_entry *group;
	const struct token *own;   /* of the VM whose holdings do not count; NULL: all count */
	struct loss_item item;     /* what is to be placed */
	VEC(struct loss_bin) bins; /* in the order of the group's hosts */
	struct load free_sum;      /* of those that absorb */
	double free_sum_inverse[LOAD_COUNT];
	struct host_limits unit; /* of any host: what is the same in the whole group */
	struct load largest;     /* of one VM, each amount for itself */
	struct load heaviest;    /* of one host's VMs */
	int64_t most_vcpus;      /* of one VM */
	int dimensions;          /* that anything is held in */
	double weight_sum;
	size_t first, second;                 /* bins with the largest weights */
	size_t takers;                        /* hosts where the item fits */
	size_t only_taker;                    /* the last of them */
	const struct host_entry *lost_anyway; /* not absorbed, wherever the item is placed */
	/* Scratch of the packing. */
	VEC(struct loss_item) items;
	VEC(uint32_t) order;      /* bins, most free first */
	VEC(uint32_t) placed;     /* item -> position in order */
	VEC(uint32_t) in_the_way; /* bins that a packing leaves without room for the item */
	VEC(struct load) left;    /* by bin; free, but for what is being packed */
};

#define LOSS_NOWHERE SIZE_MAX

/* What a VM of that size would count for in the group. */
struct loss_item host_loss_item(const struct group_entry *group, const struct reservation *r);

/* `item` (zeroed: nothing) is what will be placed; own: the word of a VM whose holdings do not
 * count, or NULL. Reuses what *l has allocated. */
void host_loss_prepare(struct host_loss *l, const struct group_entry *group,
        const struct loss_item *item, const struct token *own);
void host_loss_done(struct host_loss *l);

/* Whether every loss is still absorbed with the item on this host; if not, *ret_lost is one that is
 * not. */
bool host_loss_allows(
        struct host_loss *l, const struct host_entry *host, const struct host_entry **ret_lost);
/* What is scarcest when `lost` is lost with the item on `host` (NULL: nowhere). */
struct loss_amounts {
	enum admission_bound bound;
	int64_t needed, free;
};
struct loss_amounts host_loss_amounts(
        const struct host_loss *l, const struct host_entry *host, const struct host_entry *lost);

/* ---- counting ---- */

/* Counts `n` of the item on a host. */
void host_loss_count(struct host_loss *l, size_t bin, int64_t n);
/* Whether every loss is absorbed with all that is counted. */
bool host_loss_survives(struct host_loss *l);
/* Items of one lost host that found no room. */
struct loss_homeless {
	int64_t vms, homeless, bytes, vcpus;
};
bool host_loss_is_absorbed(struct host_loss *l, size_t bin, struct loss_homeless *ret_homeless);

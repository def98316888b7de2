/* SPDX-License-Identifier: Apache-2.0 */
/* From what a VM asks for to what it counts for. */
#include "scheduler/reservation.h"

#include "base/number.h"

/* Far above any machine, and small enough that thousands of them can be added. */
#define AMOUNT_MAX ((int64_t)1 << 50)
#define VCPUS_MAX  ((int64_t)1 << 20)

static int64_t bounded(int64_t amount)
{
	if (amount < 0)
		return 0;
	return amount < AMOUNT_MAX ? amount : AMOUNT_MAX;
}

static int64_t or_else(int64_t amount, int64_t otherwise)
{
	return amount > 0 ? bounded(amount) : otherwise;
}

/* What a guest that cannot shrink has: all of its size until it was seen to run. */
static int64_t floor_bytes(const struct reservation *r, int64_t size, int64_t booked)
{
	int64_t min = or_else(r->min_bytes, size);
	if (!r->inflexible)
		return min;
	return int64_max(min, r->state == RESERVATION_STARTING ? size : booked);
}

static void add_memory(struct holding *h, const struct reservation *r)
{
	int64_t size = bounded(r->size_bytes), overhead = bounded(r->overhead_bytes);
	int64_t booked = r->state == RESERVATION_STARTING ? size : or_else(r->booked_bytes, size);
	int64_t floor = floor_bytes(r, size, booked);
	if (r->hugepages) {
		h->hugepage_bytes = size;
		size = booked = floor = 0;
	}
	h->size_bytes = size + overhead;
	h->floor_bytes = floor + overhead;
	h->start_bytes = (r->state == RESERVATION_STARTING ? size : floor) + overhead;
	h->booked_bytes = booked + overhead;
}

struct holding reservation_holding(const struct reservation *r)
{
	struct holding h = {0};
	if (r->state == RESERVATION_NONE)
		return h;
	h.vms = 1;
	add_memory(&h, r);
	if (r->dedicated) {
		h.dedicated_vcpus = (r->vcpus < VCPUS_MAX ? bounded(r->vcpus) : VCPUS_MAX);
	} else {
		h.shared_vcpus = (r->vcpus < VCPUS_MAX ? bounded(r->vcpus) : VCPUS_MAX);
		h.reserved_percent = h.shared_vcpus * r->reservation_percent;
	}
	return h;
}

void holding_add(struct holding *sum, const struct holding *h)
{
	sum->vms += h->vms;
	sum->size_bytes += h->size_bytes;
	sum->floor_bytes += h->floor_bytes;
	sum->start_bytes += h->start_bytes;
	sum->booked_bytes += h->booked_bytes;
	sum->hugepage_bytes += h->hugepage_bytes;
	sum->shared_vcpus += h->shared_vcpus;
	sum->dedicated_vcpus += h->dedicated_vcpus;
	sum->reserved_percent += h->reserved_percent;
}

void holding_subtract(struct holding *sum, const struct holding *h)
{
	sum->vms -= h->vms;
	sum->size_bytes -= h->size_bytes;
	sum->floor_bytes -= h->floor_bytes;
	sum->start_bytes -= h->start_bytes;
	sum->booked_bytes -= h->booked_bytes;
	sum->hugepage_bytes -= h->hugepage_bytes;
	sum->shared_vcpus -= h->shared_vcpus;
	sum->dedicated_vcpus -= h->dedicated_vcpus;
	sum->reserved_percent -= h->reserved_percent;
}

void holding_maximize(struct holding *largest, const struct holding *h)
{
	largest->vms = int64_max(largest->vms, h->vms);
	largest->size_bytes = int64_max(largest->size_bytes, h->size_bytes);
	largest->floor_bytes = int64_max(largest->floor_bytes, h->floor_bytes);
	largest->start_bytes = int64_max(largest->start_bytes, h->start_bytes);
	largest->booked_bytes = int64_max(largest->booked_bytes, h->booked_bytes);
	largest->hugepage_bytes = int64_max(largest->hugepage_bytes, h->hugepage_bytes);
	largest->shared_vcpus = int64_max(largest->shared_vcpus, h->shared_vcpus);
	largest->dedicated_vcpus = int64_max(largest->dedicated_vcpus, h->dedicated_vcpus);
	largest->reserved_percent = int64_max(largest->reserved_percent, h->reserved_percent);
}

int64_t reservation_most_vcpus(const struct reservation *r)
{
	return int64_max(r->vcpus, r->max_vcpus);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/ksm_plan.h"

/* The kernel's default, for hosts whose administrator set less: from nothing no step leads up. */
#define LEAST_PAGES  100
#define STEER_FACTOR 8
#define BOOST_FACTOR 16

static int64_t most(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static int64_t least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

int64_t ksm_plan_pages(const struct ksm_question *q)
{
	int64_t start = most(q->base_pages, LEAST_PAGES);
	if (!q->may_merge)
		return q->base_pages;
	if (q->is_boosted)
		return start * BOOST_FACTOR;
	switch (q->state) {
	case BALLOON_SHORT:
	case BALLOON_CRITICAL:
		return least(most(q->pages, start) * 2, start * STEER_FACTOR);
	case BALLOON_RELAXED:
		return q->pages / 2 > start ? q->pages / 2 : q->base_pages;
	default:
		return least(q->pages, start * STEER_FACTOR);
	}
}

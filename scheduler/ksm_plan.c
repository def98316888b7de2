/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/ksm_plan.h"

#include "base/number.h"

/* The kernel's default, for hosts whose administrator set less: from nothing no step leads up. */
#define LEAST_PAGES  100
#define STEER_FACTOR 8
#define BOOST_FACTOR 16

int64_t ksm_plan_pages(const struct ksm_question *q)
{
	int64_t start = int64_max(q->base_pages, LEAST_PAGES);
	if (!q->may_merge)
		return q->base_pages;
	if (q->is_boosted)
		return start * BOOST_FACTOR;
	switch (q->state) {
	case BALLOON_SHORT:
	case BALLOON_CRITICAL:
		return int64_min(int64_max(q->pages, start) * 2, start * STEER_FACTOR);
	case BALLOON_RELAXED:
		return q->pages / 2 > start ? q->pages / 2 : q->base_pages;
	default:
		return int64_min(q->pages, start * STEER_FACTOR);
	}
}

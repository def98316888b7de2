/* SPDX-License-Identifier: Apache-2.0 */
/* How fast a host's KSM looks for equal pages: in steps, up while memory is short and down when it is not. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "scheduler/balloon_plan.h"

struct ksm_question {
	enum balloon_state state; /* of the host */
	bool is_boosted;          /* the ladder wants all of it */
	bool may_merge;           /* some guest's owner allows it */
	int64_t base_pages;       /* pages_to_scan before Berth changed it */
	int64_t pages;            /* now */
};

/* pages_to_scan from now on: between the base and 16 times that. */
int64_t ksm_plan_pages(const struct ksm_question *question);

/* SPDX-License-Identifier: Apache-2.0 */
/* The plan of one cycle. */
#include <string.h>

#include "scheduler/balloon_plan.h"

#define MIB ((int64_t)1 << 20)

void balloon_policy_default(struct balloon_policy *policy)
{
	*policy = (struct balloon_policy){
	        .enabled = true,
	        .period_ms = 1000,
	        .margin_percent = 12,
	        .margin_bytes = 32 * MIB,
	        .step_percent = 10,
	        .idle_tax_percent = 75,
	        .pool_percent = 4,
	};
}

/* For the time being every guest keeps what it has. */
void balloon_plan(const struct balloon_policy *policy, const struct balloon_host *host,
        struct balloon_host_memory *memory, const struct balloon_vm *vms, size_t n, int64_t now_ms,
        struct balloon_host_plan *ret_host, struct balloon_vm_plan *plans)
{
	(void)policy;
	memory->state = BALLOON_NORMAL;
	memory->since_ms = memory->since_ms ? memory->since_ms : now_ms;
	*ret_host = (struct balloon_host_plan){.state = BALLOON_NORMAL,
	        .since_ms = memory->since_ms,
	        .usable_bytes = host->total_bytes - host->reserve_bytes};
	for (size_t i = 0; i < n; i++) {
		int64_t has = vms[i].current_bytes >= 0 ? vms[i].current_bytes : vms[i].size_bytes;
		plans[i] = (struct balloon_vm_plan){.target_bytes = has,
		        .demand_bytes = has,
		        .booked_bytes = has,
		        .need_bytes = BALLOON_UNKNOWN,
		        .margin_bytes = BALLOON_UNKNOWN,
		        .reason = BALLOON_LEFT_ALONE,
		        .peer = -1};
		ret_host->booked_bytes += has;
	}
	ret_host->free_bytes = ret_host->usable_bytes - ret_host->booked_bytes;
}

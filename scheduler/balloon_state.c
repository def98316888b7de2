/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state of a host: relaxed, normal, short, critical. Towards worse at once, towards better one step at a time,
 * each after the better one was right for 5 s; the limits for leaving lie beyond those for entering:
 *
 *	             entered                                             left
 *	relaxed      4 pools are free and nobody waits                   less than 2 pools are free
 *	short        guests lack memory, or less than 1/4 pool is free   nobody lacks any, and 1/2 pool is free
 *	critical     2 pools more are taken than there are; or guests    none of it
 *	             need more than all idle memory for 3 s; or the
 *	             kernel reports pressure while little is free
 */
#include "scheduler/balloon_internal.h"

#define PSI_SHORT    10.0 /* percent of time in which some task waited for memory */
#define PSI_CRITICAL 10.0 /* and in which all of them did */

struct verdict {
	enum balloon_state state;
	enum balloon_state_reason reason;
};

static enum balloon_state_reason by_room(const struct balloon_cycle *cycle)
{
	return cycle->limited_by_host ? BALLOON_BY_HOST : BALLOON_BY_FREE;
}

/* More is needed to live than all idle memory and all free memory make up. */
static bool is_overloaded(struct balloon_cycle *cycle)
{
	int64_t short_of = cycle->urgent - cycle->free - cycle->idle - cycle->pending;
	int64_t *since = &cycle->memory->overload_ms;
	if (short_of <= 0)
		*since = 0;
	else if (*since == 0)
		*since = cycle->now_ms;
	return *since > 0 && (cycle->now_ms - *since >= BALLOON_OVERLOAD_MS ||
	                             cycle->memory->state == BALLOON_CRITICAL);
}

/* Pressure counts only where memory can be the cause: a cgroup that is full waits for memory too. */
static bool pressure_counts(const struct balloon_cycle *cycle)
{
	int64_t available = cycle->host->available_bytes;
	return available >= 0 && available < cycle->host->total_bytes / 8;
}

static bool is_critical(struct balloon_cycle *cycle, struct verdict *verdict)
{
	bool overloaded = is_overloaded(cycle);
	int64_t limit = cycle->memory->state == BALLOON_CRITICAL ? 0 : -2 * cycle->pool;
	*verdict = (struct verdict){BALLOON_CRITICAL, by_room(cycle)};
	if (cycle->free < limit)
		return true;
	verdict->reason = BALLOON_BY_PRESSURE;
	if (pressure_counts(cycle) && cycle->host->psi_full >= PSI_CRITICAL)
		return true;
	verdict->reason = BALLOON_BY_OVERLOAD;
	return overloaded;
}

static bool is_short(const struct balloon_cycle *cycle, int64_t left, struct verdict *verdict)
{
	int64_t limit = cycle->memory->state >= BALLOON_SHORT ? cycle->pool / 2 : cycle->pool / 4;
	*verdict = (struct verdict){BALLOON_SHORT, BALLOON_BY_DEMAND};
	if (cycle->lacking > cycle->granted)
		return true;
	verdict->reason = by_room(cycle);
	if (left < limit)
		return true;
	verdict->reason = BALLOON_BY_PRESSURE;
	return pressure_counts(cycle) &&
	       (cycle->host->psi_some >= PSI_SHORT || cycle->host->swap_bytes >= 16 * MIB);
}

static bool is_relaxed(const struct balloon_cycle *cycle, int64_t left)
{
	bool already = cycle->memory->since_ms > 0 && cycle->memory->state == BALLOON_RELAXED;
	return left >= (already ? 2 : 4) * cycle->pool && cycle->host->wanted_bytes <= 0;
}

static struct verdict right_state(struct balloon_cycle *cycle, int64_t left)
{
	struct verdict verdict;
	if (is_critical(cycle, &verdict) || is_short(cycle, left, &verdict))
		return verdict;
	return (struct verdict){
	        is_relaxed(cycle, left) ? BALLOON_RELAXED : BALLOON_NORMAL, by_room(cycle)};
}

static void enter(
        struct balloon_cycle *cycle, enum balloon_state state, enum balloon_state_reason reason)
{
	cycle->memory->state = state;
	cycle->memory->reason = reason;
	cycle->memory->since_ms = cycle->now_ms;
	cycle->memory->better_ms = 0;
}

void balloon_state_step(struct balloon_cycle *cycle)
{
	struct balloon_host_memory *memory = cycle->memory;
	struct verdict right = right_state(cycle, cycle->free - cycle->granted);
	if (memory->since_ms == 0 || right.state > memory->state) {
		enter(cycle, right.state, right.reason);
	} else if (right.state == memory->state) {
		memory->better_ms = 0;
		memory->reason = right.reason;
	} else if (memory->better_ms == 0) {
		memory->better_ms = cycle->now_ms;
	} else if (cycle->now_ms - memory->better_ms >= BALLOON_BETTER_MS) {
		enter(cycle, memory->state - 1, right.reason);
	}
}

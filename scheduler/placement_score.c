/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How good a host is for a VM that it can take; lower is better. All of it as it would be with the
 * VM there:
 *
 *	m = fullest of the memory bounds (sizes, floors, huge pages): (held + asked) / limit
 *	c = fullest of the CPU bounds (vCPUs, reservations), likewise
 *	b = busy share of its CPUs; unknown is not idle: c then
 *
 *	memory        = m (spread) or 1 - m (pack)
 *	cpu           = c (spread) or 1 - c (pack)
 *	busy          = b / 2
 *	balance       = |m - c| / 2	what is used unevenly ends as waste
 *	fragmentation = 1/4 x share of a big slot that is lost beyond what the VM takes, a big slot
 *	                being a quarter of what the host can give
 *	affinity      = 4 x soft rules broken	more than all the others together, so that it is
 *	                preferred, and balance decides among equals
 */
#include <math.h>

#include "scheduler/placement_internal.h"

#define BUSY_WEIGHT          0.5
#define BALANCE_WEIGHT       0.5
#define FRAGMENTATION_WEIGHT 0.25
#define AFFINITY_WEIGHT      4.0
#define SLOTS_OF_A_HOST      4

const char *const placement_part_names[] = {
        [PLACEMENT_PART_MEMORY] = "memory",
        [PLACEMENT_PART_CPU] = "cpu",
        [PLACEMENT_PART_BUSY] = "busy",
        [PLACEMENT_PART_BALANCE] = "balance",
        [PLACEMENT_PART_FRAGMENTATION] = "fragmentation",
        [PLACEMENT_PART_AFFINITY] = "affinity",
        [PLACEMENT_PART_COUNT] = NULL,
};

static double fullness(const struct admission_sum *sum)
{
	if (sum->limit == ADMISSION_UNLIMITED || sum->limit <= 0)
		return 0;
	return (double)(sum->held + sum->asked) / (double)sum->limit;
}

static double memory_fullness(const struct admission_sum *sums)
{
	double m = fmax(fullness(&sums[ADMISSION_SIZE]), fullness(&sums[ADMISSION_FLOOR]));
	if (sums[ADMISSION_HUGEPAGES].asked > 0)
		m = fmax(m, fullness(&sums[ADMISSION_HUGEPAGES]));
	return m;
}

/* 0: nothing of a big slot is lost beyond the VM's own size; 1: a whole one. */
static double broken_slot(const struct admission_sum *sum)
{
	int64_t slot = sum->limit / SLOTS_OF_A_HOST;
	if (sum->limit == ADMISSION_UNLIMITED || slot <= 0)
		return 0;
	int64_t before = (sum->limit - sum->held) / slot;
	int64_t after = (sum->limit - sum->held - sum->asked) / slot;
	double beyond = (double)(before - after) - (double)sum->asked / (double)slot;
	return fmin(fmax(beyond, 0), 1);
}

static double busy_share(const struct judged *j, double reserved)
{
	int64_t busy = j->host->pub.cpu_busy_percent;
	return busy < 0 ? fmin(reserved, 1) : (double)busy / 100;
}

void placement_score(const struct placing *p, const struct judged *j, struct placement_choice *c)
{
	const struct admission_sum *sums = j->admission.sums;
	const struct admission_sum *memory =
	        &sums[sums[ADMISSION_SIZE].limit == ADMISSION_UNLIMITED ? ADMISSION_FLOOR
	                                                                : ADMISSION_SIZE];
	bool packs = j->host->group->pub.policy == PLACEMENT_PACK;
	double m = memory_fullness(sums);
	double cpu =
	        fmax(fullness(&sums[ADMISSION_VCPUS]), fullness(&sums[ADMISSION_CPU_RESERVATION]));
	double broken = (double)p->n_soft_wants + j->mark->soft_penalty;
	double parts[PLACEMENT_PART_COUNT] = {
	        [PLACEMENT_PART_MEMORY] = packs ? fmax(1 - m, 0) : m,
	        [PLACEMENT_PART_CPU] = packs ? fmax(1 - cpu, 0) : cpu,
	        [PLACEMENT_PART_BUSY] = busy_share(j, cpu) * BUSY_WEIGHT,
	        [PLACEMENT_PART_BALANCE] = fabs(m - cpu) * BALANCE_WEIGHT,
	        [PLACEMENT_PART_FRAGMENTATION] = broken_slot(memory) * FRAGMENTATION_WEIGHT,
	        [PLACEMENT_PART_AFFINITY] = broken * AFFINITY_WEIGHT,
	};
	c->host = &j->host->pub;
	c->score = 0;
	for (int i = 0; i < PLACEMENT_PART_COUNT; i++) {
		c->parts[i] = (float)parts[i];
		c->score += parts[i];
	}
}

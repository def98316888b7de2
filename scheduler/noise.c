/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/noise.h"

/* Within so much of its limit, or of its fair share, a guest waits because of that. */
#define NEARLY 0.95
/* Above its fair share by so much, a guest is a cause. */
#define NOISY_FACTOR 1.1

static double weight_of(const struct noise_vm *vm)
{
	int64_t shares = vm->shares > 0 ? vm->shares : 1024;
	return (double)shares * (double)(vm->vcpus > 0 ? vm->vcpus : 1);
}

static double wanted_cpus(const struct noise_vm *vm)
{
	double run = vm->run_cpus > 0 ? vm->run_cpus : 0;
	return run + (vm->delay_cpus > 0 ? vm->delay_cpus : 0);
}

/*
 * Weighted max-min fairness: who wants less than its part of what is left gets what it wants, and the others share the rest;
 * until nobody is satisfied any more.
 */
static void share_fairly(
        const struct noise_vm *vms, size_t n, double cpus, struct noise_verdict *verdicts)
{
	bool is_changed = true;
	for (size_t i = 0; i < n; i++)
		verdicts[i].fair_cpus = -1;
	while (is_changed) {
		double weights = 0;
		is_changed = false;
		for (size_t i = 0; i < n; i++)
			weights += verdicts[i].fair_cpus < 0 ? weight_of(&vms[i]) : 0;
		double left = cpus;
		for (size_t i = 0; i < n; i++) {
			double part = left * weight_of(&vms[i]) / (weights > 0 ? weights : 1);
			if (verdicts[i].fair_cpus >= 0 || wanted_cpus(&vms[i]) > part)
				continue;
			verdicts[i].fair_cpus = wanted_cpus(&vms[i]);
			cpus -= verdicts[i].fair_cpus;
			is_changed = true;
		}
		for (size_t i = 0; !is_changed && i < n; i++)
			if (verdicts[i].fair_cpus < 0)
				verdicts[i].fair_cpus = left * weight_of(&vms[i]) / weights;
	}
}

static double delay_percent(const struct noise_vm *vm)
{
	if (vm->run_cpus < 0 || vm->delay_cpus < 0)
		return -1;
	double wanted = wanted_cpus(vm);
	/* Next to nothing that waits next to nothing is no suffering. */
	return wanted < 0.02 ? 0 : 100 * vm->delay_cpus / wanted;
}

static bool is_at_limit(const struct noise_vm *vm)
{
	double limit = (double)vm->limit_percent / 100 * (double)vm->vcpus;
	return vm->limit_percent > 0 && vm->run_cpus >= NEARLY * limit;
}

static bool is_above_fair(const struct noise_vm *vm, const struct noise_verdict *verdict)
{
	return vm->run_cpus > verdict->fair_cpus * NOISY_FACTOR;
}

/* Hysteresis: in and out take NOISE_CYCLES each. */
static void remember(struct noise_memory *memory, bool is_bad, bool is_good)
{
	memory->bad_cycles = is_bad ? memory->bad_cycles + 1 : 0;
	memory->good_cycles = is_good ? memory->good_cycles + 1 : 0;
	if (memory->bad_cycles >= NOISE_CYCLES)
		memory->suffers = true;
	if (memory->good_cycles >= NOISE_CYCLES)
		memory->suffers = false;
}

static ptrdiff_t find_cause(
        const struct noise_vm *vms, size_t n, size_t victim, const struct noise_verdict *verdicts)
{
	ptrdiff_t cause = -1;
	double most = 0;
	for (size_t i = 0; i < n; i++) {
		double above = vms[i].run_cpus - verdicts[i].fair_cpus;
		if (i == victim || !is_above_fair(&vms[i], &verdicts[i]) || above <= most)
			continue;
		most = above;
		cause = (ptrdiff_t)i;
	}
	return cause;
}

static void judge_one(
        const struct noise_vm *vms, size_t n, size_t i, struct noise_verdict *verdicts)
{
	struct noise_verdict *verdict = &verdicts[i];
	bool did_suffer = vms[i].memory->suffers;
	verdict->delay_percent = delay_percent(&vms[i]);
	bool has_its_share = vms[i].run_cpus >= NEARLY * verdict->fair_cpus;
	bool is_own_doing = is_at_limit(&vms[i]) || has_its_share;
	bool is_bad = verdict->delay_percent > NOISE_SUFFERS_PERCENT && !is_own_doing;
	/* What is not known changes nothing. */
	bool is_good = verdict->delay_percent >= 0 &&
	               (verdict->delay_percent < NOISE_SUFFERS_PERCENT / 2.0 || is_own_doing);
	if (verdict->delay_percent >= 0)
		remember(vms[i].memory, is_bad, is_good);
	verdict->suffers = vms[i].memory->suffers;
	verdict->begins = verdict->suffers && !did_suffer;
	verdict->ends = !verdict->suffers && did_suffer;
	verdict->cause = verdict->suffers ? find_cause(vms, n, i, verdicts) : -1;
}

void noise_judge(
        const struct noise_vm *vms, size_t n, double host_cpus, struct noise_verdict *verdicts)
{
	share_fairly(vms, n, host_cpus, verdicts);
	for (size_t i = 0; i < n; i++)
		judge_one(vms, n, i, verdicts);
}

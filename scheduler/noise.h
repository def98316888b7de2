/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Noisy neighbours on one host: which guests are kept from computing, and by whom. Pure; the caller keeps the memory.
 *
 * A guest suffers while its vCPUs were runnable but not running for more than NOISE_SUFFERS_PERCENT of the time that they
 * wanted to run (delay / (delay + run)), although it is not held back by its own limit and has less than its fair
 * share. After NOISE_CYCLES cycles in a row it is said to suffer, until the ratio was below half of that for as many.
 * The cause is the guest that uses most above its fair share: the host's threads divided by weights (shares x vCPUs), what
 * guests leave going to the others.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NOISE_SUFFERS_PERCENT 20
#define NOISE_CYCLES          3

/* Kept by the caller between cycles, zeroed for a guest that is new. */
struct noise_memory {
	int bad_cycles, good_cycles;
	bool suffers;
};

struct noise_vm {
	double run_cpus;   /* CPU time used, in CPUs; negative: unknown */
	double delay_cpus; /* time that its vCPUs were ready and waited, in CPUs; negative: unknown */
	int64_t vcpus, shares;
	int64_t limit_percent; /* of each vCPU; 0: none */
	struct noise_memory *memory;
};

struct noise_verdict {
	bool suffers, begins, ends; /* begins, ends: in this cycle */
	double delay_percent;       /* of the time that it wanted to run; negative: unknown */
	double fair_cpus;           /* its fair share of what all use */
	ptrdiff_t
	        cause; /* index of who causes it; -1: it does not suffer, or no single guest does */
};

void noise_judge(
        const struct noise_vm *vms, size_t n, double host_cpus, struct noise_verdict *verdicts);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Berth and its rivals on the same hosts and traces. More VMs mean more memory reclaimed and more guests under
 * pressure, so policies are compared at equal pressure: what each reclaims with the most that it can be offered while
 * guests lack memory for at most a given share of their time.
 */
#pragma once

#include "tests/sim/sim.h"

enum sim_competitor { SIM_BERTH, SIM_PROXMOX, SIM_MOM, SIM_MOM_USABLE, N_SIM_POLICIES };

#define SIM_BUDGETS 4 /* shares of time: 0.1 %, 1 %, 5 %, 10 % */

struct sim_options {
	int hosts;
	double hours, from, to, step; /* offered: sum of sizes / memory for guests, from .. to */
	uint64_t seed;
	const char *family; /* NULL: all */
	bool detail, quiet;
};

struct sim_summary {
	double reclaimed[SIM_BUDGETS]
	                [N_SIM_POLICIES]; /* GiB of a host, summed up over the families */
	double broken[N_SIM_POLICIES];    /* seconds over capacity + targets below floors */
	double granted
	        [N_SIM_POLICIES]; /* seconds of memory given twice + targets below floors: a policy's own doing */
};

/* Runs them all and prints what came out, unless quiet. */
void sim_compare(const struct sim_options *options, struct sim_summary *ret);

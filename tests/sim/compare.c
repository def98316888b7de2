/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the policies side by side and prints the tables. */
#include <stdio.h>
#include <string.h>

#include "tests/sim/compare.h"

#define LEVELS_MAX 32

static const struct sim_policy *const policies[N_SIM_POLICIES] = {
        [SIM_BERTH] = &sim_berth,
        [SIM_PROXMOX] = &sim_proxmox,
        [SIM_MOM] = &sim_mom,
        [SIM_MOM_USABLE] = &sim_mom_usable,
};
static const double budgets[SIM_BUDGETS] = {0.001, 0.01, 0.05, 0.10};

struct outcome {
	struct sim_result at[N_SIM_POLICIES][LEVELS_MAX];
	int levels;
};

static double per_host(const struct sim_result *result, double sum)
{
	return result->seconds > 0 ? sum / result->seconds : 0;
}

static double pressure(const struct sim_result *result)
{
	return result->guest_seconds > 0 ? result->pressure_seconds / result->guest_seconds : 0;
}

static void run_level(
        const struct sim_options *options, struct sim_setup *setup, struct outcome *outcome)
{
	for (int p = 0; p < N_SIM_POLICIES; p++) {
		for (int h = 0; h < options->hosts; h++) {
			setup->seed = options->seed * 1000 + (uint64_t)h;
			sim_run(setup, policies[p], &outcome->at[p][outcome->levels]);
		}
	}
	outcome->levels++;
}

static void run_family(
        const struct sim_options *options, enum sim_family family, struct outcome *outcome)
{
	struct sim_setup setup = {.family = family,
	        .offered = options->from,
	        .seconds = (int64_t)(options->hours * 3600),
	        .warm_s = (int64_t)(options->hours * 360),
	        .day_s = options->hours * 3600};
	for (; setup.offered < options->to + 1e-6 && outcome->levels < LEVELS_MAX;
	        setup.offered += options->step)
		run_level(options, &setup, outcome);
}

static void print_detail(
        const struct sim_options *options, enum sim_family family, const struct outcome *outcome)
{
	printf("%-8s %-10s %7s %9s %8s %9s %9s %7s %7s %9s %7s\n", "family", "policy", "offered",
	        "reclaimed", "of idle", "hosted", "pressure", "over", "floors", "tells/h",
	        "starts");
	for (int level = 0; level < outcome->levels; level++) {
		for (int p = 0; p < N_SIM_POLICIES; p++) {
			const struct sim_result *r = &outcome->at[p][level];
			printf("%-8s %-10s %7.2f %5.1f GiB %6.1f %% %5.1f GiB %7.3f %% %5.0f s "
			       "%7.0f %9.1f %7.0f\n",
			        sim_family_names[family], policies[p]->name,
			        options->from + level * options->step, per_host(r, r->reclaimed),
			        100 * r->reclaimed / r->idle, per_host(r, r->hosted),
			        100 * pressure(r), r->over_capacity, r->below_min,
			        r->tells / r->guest_seconds * 3600, r->starts);
		}
	}
}

/* The most that was reclaimed while guests were under pressure for at most that share of their time. */
static double best(const struct outcome *outcome, int p, double budget)
{
	double most = 0;
	for (int level = 0; level < outcome->levels; level++) {
		const struct sim_result *r = &outcome->at[p][level];
		if (pressure(r) <= budget && per_host(r, r->reclaimed) > most)
			most = per_host(r, r->reclaimed);
	}
	return most;
}

static void print_heads(void)
{
	printf("\nreclaimed GiB of a host (sizes of running VMs less what they have) at equal "
	       "pressure of guests, "
	       "and Berth's as a multiple\n%-8s %10s",
	        "family", "pressure");
	for (int p = 0; p < N_SIM_POLICIES; p++)
		printf(" %10s", policies[p]->name);
	for (int p = 1; p < N_SIM_POLICIES; p++)
		printf("  / %-10s", policies[p]->name);
	printf("\n");
}

static void print_row(const char *name, double budget, const double reclaimed[N_SIM_POLICIES])
{
	printf("%-8s <= %5.1f %%", name, 100 * budget);
	for (int p = 0; p < N_SIM_POLICIES; p++)
		printf(" %10.1f", reclaimed[p]);
	for (int p = 1; p < N_SIM_POLICIES; p++) {
		if (reclaimed[p] > 0)
			printf("  %10.2f x", reclaimed[SIM_BERTH] / reclaimed[p]);
		else
			printf("  %10s  ", "-");
	}
	printf("\n");
}

static void print_summary(const struct sim_summary *summary)
{
	for (int b = 0; b < SIM_BUDGETS; b++)
		print_row("all", budgets[b], summary->reclaimed[b]);
	printf("\npromises broken (seconds over capacity + targets below floors; in brackets: "
	       "memory given "
	       "twice + targets below floors):");
	for (int p = 0; p < N_SIM_POLICIES; p++)
		printf(" %s %.0f (%.0f)", policies[p]->name, summary->broken[p],
		        summary->granted[p]);
	printf("\n");
}

static void sum_up(
        const struct outcome *outcome, const char *name, bool quiet, struct sim_summary *summary)
{
	for (int b = 0; b < SIM_BUDGETS; b++) {
		double row[N_SIM_POLICIES];
		for (int p = 0; p < N_SIM_POLICIES; p++)
			summary->reclaimed[b][p] += row[p] = best(outcome, p, budgets[b]);
		if (!quiet)
			print_row(name, budgets[b], row);
	}
	for (int p = 0; p < N_SIM_POLICIES; p++) {
		for (int level = 0; level < outcome->levels; level++) {
			const struct sim_result *r = &outcome->at[p][level];
			summary->broken[p] += r->over_capacity + r->below_min;
			summary->granted[p] += r->granted_over + r->below_min;
		}
	}
}

void sim_compare(const struct sim_options *options, struct sim_summary *ret)
{
	static struct outcome outcomes[N_SIM_FAMILIES];
	memset(outcomes, 0, sizeof(outcomes));
	*ret = (struct sim_summary){0};
	for (int f = 0; f < N_SIM_FAMILIES; f++) {
		if (options->family && strcmp(options->family, sim_family_names[f]) != 0)
			continue;
		run_family(options, (enum sim_family)f, &outcomes[f]);
		if (options->detail)
			print_detail(options, (enum sim_family)f, &outcomes[f]);
	}
	if (!options->quiet)
		print_heads();
	for (int f = 0; f < N_SIM_FAMILIES; f++) {
		if (outcomes[f].levels > 0)
			sum_up(&outcomes[f], sim_family_names[f], options->quiet, ret);
	}
	if (!options->quiet)
		print_summary(ret);
}

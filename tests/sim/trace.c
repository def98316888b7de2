/* SPDX-License-Identifier: Apache-2.0 */
/* What guests want, as seeded models: each second a share of the guest's size for programs and for hot page cache. */
#include <math.h>

#include "tests/sim/sim.h"

const char *const sim_family_names[] = {
        "web", "batch", "db", "desktop", "leak", "fill", "roles", "mix", NULL};

uint64_t sim_next(struct sim_random *random)
{
	uint64_t x = random->state += 0x9e3779b97f4a7c15u; /* splitmix64 */
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

double sim_fraction(struct sim_random *random)
{
	return (double)(sim_next(random) >> 11) * 0x1p-53;
}

double sim_between(struct sim_random *random, double a, double b)
{
	return a + (b - a) * sim_fraction(random);
}

bool sim_once_in(struct sim_random *random, double seconds)
{
	return sim_fraction(random) * seconds < 1;
}

/* Towards the goal by at most `rate` a second. */
static void approach(struct sim_trace *trace)
{
	double gap = trace->goal - trace->anon;
	trace->anon += gap > trace->rate        ? trace->rate
	               : gap < -4 * trace->rate ? -4 * trace->rate
	                                        : gap;
}

static void web(struct sim_trace *trace, double now_s, double day_s)
{
	double day = 0.5 - 0.5 * cos(2 * M_PI * (now_s / day_s + trace->phase * 0.15));
	trace->level += sim_between(&trace->random, -0.002, 0.002) - trace->level * 0.01;
	trace->anon = 0.12 + 0.38 * day * day + trace->level;
	trace->hot = 0.05 + 0.08 * day;
	trace->reads = 0.002;
}

static void batch(struct sim_trace *trace, double now_s, double day_s)
{
	(void)day_s;
	if (now_s >= trace->until && trace->goal > 0.2) {
		trace->goal = 0.1;
	} else if (trace->goal <= 0.2 && sim_once_in(&trace->random, 3600)) {
		trace->goal = sim_between(&trace->random, 0.5, 0.9);
		trace->until = now_s + sim_between(&trace->random, 300, 1200);
		trace->rate = sim_between(&trace->random, 0.005, 0.03);
	}
	approach(trace);
	trace->hot = 0.05;
	trace->reads = trace->goal > 0.2 ? 0.02 : 0.0005;
}

static void database(struct sim_trace *trace, double now_s, double day_s)
{
	double day = 0.5 - 0.5 * cos(2 * M_PI * (now_s / day_s + trace->phase));
	trace->anon = 0.22 + 0.06 * trace->phase;
	trace->hot = 0.12 + 0.2 * day;
	trace->reads = 0.01;
}

static void desktop(struct sim_trace *trace, double now_s, double day_s)
{
	bool day = fmod(now_s / day_s + 0.1 * trace->phase, 1) > 0.45;
	if (!day)
		trace->goal = 0.12;
	else if (sim_once_in(&trace->random, 600))
		trace->goal = sim_between(&trace->random, 0.2, 0.7);
	trace->rate = 0.02;
	approach(trace);
	trace->hot = day ? 0.1 : 0.02;
	trace->reads = day ? 0.005 : 0.0002;
}

static void leak(struct sim_trace *trace, double now_s, double day_s)
{
	trace->anon = 0.15 + 0.75 * fmod(now_s / (day_s / 2) + trace->phase, 1);
	trace->hot = 0.04;
	trace->reads = 0.001;
}

static void fill(struct sim_trace *trace, double now_s, double day_s)
{
	(void)day_s;
	bool now = fmod(now_s, 1800) < 300 && ((int64_t)(now_s / 1800) + trace->group) % 2 == 0;
	trace->goal = now ? 0.75 : 0.1;
	trace->rate = 0.0125; /* 32 MiB/s in a guest of 2.5 GiB */
	approach(trace);
	trace->hot = 0.03;
	trace->reads = 0.0005;
}

static void roles(struct sim_trace *trace, double now_s, double day_s)
{
	(void)day_s;
	bool mine = ((int64_t)(now_s / 600) + trace->group) % 2 == 0;
	trace->goal = mine ? 0.7 : 0.15;
	trace->rate = 0.0125;
	approach(trace);
	trace->hot = 0.05;
	trace->reads = 0.002;
}

static void (*const models[N_SIM_FAMILIES])(struct sim_trace *, double, double) = {
        [SIM_WEB] = web,
        [SIM_BATCH] = batch,
        [SIM_DB] = database,
        [SIM_DESKTOP] = desktop,
        [SIM_LEAK] = leak,
        [SIM_FILL] = fill,
        [SIM_ROLES] = roles,
};

void sim_trace_init(struct sim_trace *trace, enum sim_family family, uint64_t seed)
{
	*trace = (struct sim_trace){
	        .family = family, .random = {seed}, .anon = 0.1, .goal = 0.1, .rate = 0.01};
	if (family == SIM_MIX)
		trace->family = (enum sim_family)(sim_next(&trace->random) % SIM_MIX);
	trace->group = (int)(sim_next(&trace->random) % 2);
	trace->phase = sim_fraction(&trace->random);
}

void sim_trace_step(struct sim_trace *trace, double now_s, double day_s)
{
	models[trace->family](trace, now_s, day_s);
	trace->anon = fmin(fmax(trace->anon, 0.05), 0.95);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The simulated world: hosts and guests second by second, and the policies that are compared in it. One thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MIB     ((int64_t)1 << 20)
#define GIB     ((int64_t)1 << 30)
#define SIM_MAX 128 /* guests of a host */

/* ---- random numbers: the same for every policy ---- */

struct sim_random {
	uint64_t state;
};

uint64_t sim_next(struct sim_random *random);
double sim_fraction(struct sim_random *random); /* 0..1 */
double sim_between(struct sim_random *random, double a, double b);
bool sim_once_in(struct sim_random *random, double seconds); /* true once in so many calls */

/* ---- what a guest wants (trace.c) ---- */

enum sim_family {
	SIM_WEB,     /* follows the day */
	SIM_BATCH,   /* bursts at random */
	SIM_DB,      /* hot page cache, which statistics call usable */
	SIM_DESKTOP, /* idle for long, applications that come and go */
	SIM_LEAK,    /* grows for hours, then restarts its service */
	SIM_FILL,    /* half of the guests fill memory at the same time */
	SIM_ROLES,   /* two groups swap roles */
	SIM_MIX,     /* one of the above each */
	N_SIM_FAMILIES,
};

extern const char *const sim_family_names[];

struct sim_trace {
	enum sim_family family;
	struct sim_random random;
	int group; /* 0 or 1 */
	double phase, level, goal, rate, until;
	double anon, hot, reads; /* result, shares of its size; reads: per second */
};

void sim_trace_init(struct sim_trace *trace, enum sim_family family, uint64_t seed);
void sim_trace_step(struct sim_trace *trace, double now_s, double day_s);

/* ---- a guest (guest.c) ---- */

struct sim_guest {
	struct sim_trace trace;
	int64_t size, min, shares;
	bool swap; /* has swap space; without it, it deflates its balloon when it is out of memory */
	bool deaf; /* does not follow its balloon's target */
	bool mute; /* has no driver: no statistics either */
	bool running, booting;
	int64_t boots_until_s, waits_since_s;
	int64_t has, told; /* its balloon: what is left to the guest, and what it was told last */
	int64_t anon, hot; /* what it wants in memory now */
	int64_t resident, cache;    /* what is there: of anon, and page cache */
	int64_t faults, swapped_in; /* cumulative */
};

void sim_guest_start(struct sim_guest *guest, int64_t now_s);
void sim_guest_step(struct sim_guest *guest);
/* What a host reads from it; -1: nothing. */
int64_t sim_guest_usable(const struct sim_guest *guest);
int64_t sim_guest_unused(const struct sim_guest *guest);
bool sim_guest_lacks(const struct sim_guest *guest);

/* ---- a host (world.c) ---- */

struct sim_result {
	double guest_seconds, pressure_seconds;
	double reclaimed, hosted; /* GiB x seconds: sizes less what guests have; sizes */
	double idle;              /* GiB x seconds: sizes less what guests want */
	double seconds;
	double over_capacity; /* seconds in which guests had more than the host though their programs would fit */
	double granted_over; /* seconds in which a target was raised into memory that others had or were told to have */
	double below_min; /* tells */
	double tells, starts;
	double exceeding; /* cycles; known of Berth only */
};

struct sim_host {
	int64_t total, own; /* its memory, and what it uses for itself */
	int64_t reserve;    /* what the group keeps for the host; the rivals know none */
	struct sim_guest guests[SIM_MAX];
	size_t n;
	int64_t now_s;
	ptrdiff_t next; /* the guest that waits to start first; -1 */
	bool measured;
	bool has_granted; /* in this step: a target above what its guest has */
	struct sim_random random;
	struct sim_result result;
};

struct sim_setup {
	enum sim_family family;
	double offered; /* sum of sizes / memory for guests */
	uint64_t seed;
	int64_t seconds, warm_s;
	double day_s;
};

void sim_tell(struct sim_host *host, size_t i, int64_t target);
/* What nobody has and nobody was promised, beyond the host's own use. */
int64_t sim_free(const struct sim_host *host);

/* ---- policies ---- */

struct sim_policy {
	const char *name;
	void *(*open)(void);                              /* state of one host */
	void (*step)(void *state, struct sim_host *host); /* every second */
	bool (*may_start)(void *state, const struct sim_host *host, const struct sim_guest *guest);
	void (*started)(void *state, size_t i);
};

extern const struct sim_policy sim_berth, sim_proxmox, sim_mom, sim_mom_usable;

/* Runs one host; the result is added to `result`. */
void sim_run(
        const struct sim_setup *setup, const struct sim_policy *policy, struct sim_result *result);

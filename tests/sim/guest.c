/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest: programs, hot page cache that it reads again and again, cold cache that fills whatever is free, a balloon
 * that moves at a finite speed. Short of memory it first drops cache (hot cache that is dropped is read back: major
 * faults), then swaps if it has swap space, else it deflates its balloon by itself (autodeflate).
 */
#include <stdlib.h>

#include "base/number.h"
#include "tests/sim/sim.h"

#define BOOT_S   20
#define INFLATE  (512 * MIB) /* per second */
#define DEFLATE  (2 * GIB)
#define SWAP_OUT (64 * MIB) /* per second: what a guest gives of its programs */
#define SWAP_IN  (64 * MIB)

void sim_guest_start(struct sim_guest *guest, int64_t now_s)
{
	guest->running = guest->booting = true;
	guest->boots_until_s = now_s + BOOT_S;
	guest->has = guest->told = guest->size;
	guest->resident = guest->cache = 0;
	guest->faults = guest->swapped_in = 0;
}

/* What the balloon can take: what is free or cache, and as much as can be swapped out. */
static int64_t can_give(const struct sim_guest *guest)
{
	int64_t spare = int64_max(guest->has - guest->resident - guest->size / 64, 0);
	return guest->swap ? int64_max(spare, int64_min(SWAP_OUT, guest->has)) : spare;
}

static void move_balloon(struct sim_guest *guest)
{
	int64_t gap = guest->told - guest->has;
	if (guest->deaf || guest->mute || guest->booting)
		return;
	if (gap > 0)
		guest->has += int64_min(gap, DEFLATE);
	else
		guest->has -= int64_min(-gap, int64_min(INFLATE, can_give(guest)));
}

/* Programs come first: in memory, in swap space, or by deflating the balloon. */
static void place_programs(struct sim_guest *guest)
{
	if (guest->anon > guest->has && !guest->swap && !guest->mute)
		guest->has = int64_min(guest->anon + 16 * MIB, guest->size);
	int64_t fits = int64_min(guest->anon, guest->has - guest->size / 64);
	int64_t swapped = int64_max(guest->anon - fits, 0);
	if (swapped > 0 && guest->swap)
		guest->swapped_in += int64_min(swapped, SWAP_IN) / 4;
	guest->resident = fits;
}

static void place_cache(struct sim_guest *guest)
{
	int64_t left = int64_max(guest->has - guest->resident, 0);
	int64_t reads = (int64_t)(guest->trace.reads * (double)guest->size);
	int64_t missing = int64_max(guest->hot - guest->cache, 0);
	guest->cache = int64_min(guest->cache + reads + int64_min(missing, 128 * MIB), left);
	int64_t lacks = int64_max(guest->hot - guest->cache, 0);
	guest->faults += lacks / 4096 / 50;
}

void sim_guest_step(struct sim_guest *guest)
{
	guest->anon = (int64_t)(guest->trace.anon * (double)guest->size);
	guest->hot = (int64_t)(guest->trace.hot * (double)guest->size);
	move_balloon(guest);
	place_programs(guest);
	place_cache(guest);
}

int64_t sim_guest_usable(const struct sim_guest *guest)
{
	bool says = !guest->mute && !guest->booting;
	return says ? int64_max(guest->has - guest->resident - guest->size / 64, 0) : -1;
}

int64_t sim_guest_unused(const struct sim_guest *guest)
{
	bool says = !guest->mute && !guest->booting;
	return says ? int64_max(guest->has - guest->resident - guest->cache, 0) : -1;
}

/* It has noticeably less than what it works with. */
bool sim_guest_lacks(const struct sim_guest *guest)
{
	int64_t wants = guest->anon + guest->hot;
	return !guest->booting && wants - guest->has > int64_max(wants / 50, 8 * MIB);
}

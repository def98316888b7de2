/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fake driver's memory: what balloons of guests do, what a guest reports, and growing. Lane
 * threads, but for the scripts; all under the host's lock.
 *
 * A balloon moves whenever somebody looks, by its speed times the time since, towards
 *
 *     goal = target, with autodeflate at least what the guest uses
 *
 * and never beyond what the guest booted with. What a guest uses beyond its balloon it has at once
 * with autodeflate; without, it faults for it and has swapped it in.
 */
#include "hypervisor/driver_fake_internal.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/number.h"

static int64_t at_most(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t used_bytes(const struct fake_domain *d)
{
	int64_t used = d->memory.used_bytes;
	return used < 0 ? d->balloon_bytes / 2 : at_most(used, d->memory_bytes);
}

static bool balloon_works(const struct fake_domain *d)
{
	return d->has_balloon && d->memory.balloon == FAKE_BALLOON_WORKS && !d->is_hung &&
	       d->state == DOMAIN_RUNNING;
}

static void move_balloon(struct fake_domain *d, int64_t elapsed_ms)
{
	int64_t speed = d->memory.speed_bytes_per_s;
	int64_t step = speed > 0 ? speed / 1000 * elapsed_ms : INT64_MAX;
	int64_t taken_back = d->memory.autodeflate ? used_bytes(d) : 0;
	int64_t goal = int64_max(d->target_bytes, taken_back);
	int64_t way = goal - d->balloon_bytes;
	if (way > 0)
		d->balloon_bytes += at_most(way, step);
	else
		d->balloon_bytes -= at_most(-way, step);
	d->balloon_bytes = int64_max(d->balloon_bytes, taken_back);
}

/* One fault for each page that it had to do without in this second. */
static void suffer(struct fake_domain *d, int64_t elapsed_ms)
{
	int64_t lacking = used_bytes(d) - d->balloon_bytes;
	if (lacking <= 0)
		return;
	d->memory.major_faults += lacking / 4096 * elapsed_ms / 1000;
	d->memory.swap_in_bytes += lacking / 1000 * elapsed_ms;
}

static bool reports(const struct fake_domain *d)
{
	return d->has_balloon && d->stats_period_s > 0 && d->state == DOMAIN_RUNNING &&
	       d->memory.balloon != FAKE_BALLOON_NO_DRIVER && !d->memory.is_silent && !d->is_hung;
}

static void report(struct fake_domain *d)
{
	d->said_s = clock_wall_ms() / 1000;
	d->said_available_bytes = d->memory.autodeflate ? d->memory_bytes : d->balloon_bytes;
	d->said_usable_bytes = int64_max(d->balloon_bytes - used_bytes(d), 0);
}

void fake_memory_move(struct fake_domain *d)
{
	int64_t now_ms = clock_now_ms();
	int64_t elapsed_ms = int64_max(now_ms - d->moved_ms, 0);
	d->moved_ms = now_ms;
	if (balloon_works(d))
		move_balloon(d, elapsed_ms);
	suffer(d, elapsed_ms);
	if (reports(d))
		report(d);
}

void fake_memory_boot(struct fake_domain *d)
{
	d->memory_slots_used = 0;
	d->target_bytes = d->balloon_bytes;
	if (!d->has_balloon || d->memory.balloon == FAKE_BALLOON_NO_DRIVER)
		d->balloon_bytes = d->memory_bytes;
	d->moved_ms = clock_now_ms();
	d->said_s = 0;
}

void fake_memory_fill(const struct fake_domain *d, struct domain_stats *ret)
{
	ret->balloon_maximum_bytes = d->memory_bytes;
	ret->balloon_current_bytes = d->balloon_bytes;
	if (d->is_hung)
		return;
	ret->balloon_rss_bytes = d->balloon_bytes;
	if (d->said_s == 0)
		return;
	ret->balloon_last_update_s = d->said_s;
	ret->balloon_available_bytes = d->said_available_bytes;
	ret->balloon_usable_bytes = d->said_usable_bytes;
	ret->balloon_unused_bytes = d->said_usable_bytes / 3 * 2;
	ret->balloon_major_faults = d->memory.major_faults;
	ret->balloon_minor_faults = d->memory.major_faults;
	ret->balloon_swap_in_bytes = d->memory.swap_in_bytes;
	ret->balloon_swap_out_bytes = d->memory.swap_in_bytes;
}

/* --- calls --- */

static int set_memory_body(
        struct fake_host *h, struct fake_domain *d, const void *arg, struct err *e)
{
	int64_t bytes = *(const int64_t *)arg;
	if (!fake_domain_is_active(d))
		return fake_not_running(d, e);
	if (!d->has_balloon)
		return err_set(e, ERR_WRONG_STATE, "domain '%s' has no balloon", d->name);
	if (bytes <= 0 || bytes > d->memory_bytes)
		return err_set(e, ERR_INVALID,
		        "memory of domain '%s' cannot be %lld bytes, its most is %lld", d->name,
		        (long long)bytes, (long long)d->memory_bytes);
	fake_memory_move(d); /* with the old target up to now */
	d->target_bytes = bytes;
	fake_memory_move(d);
	fake_domain_emit(h, d, DOMAIN_EVENT_GUEST);
	return 0;
}

int fake_set_memory_live(struct driver_connection *c, const char *id, int64_t bytes, struct err *e)
{
	return fake_with_domain(c, "set_memory_live", id, set_memory_body, &bytes, e);
}

static int set_period_body(
        struct fake_host *h, struct fake_domain *d, const void *arg, struct err *e)
{
	(void)h;
	if (!fake_domain_is_active(d))
		return fake_not_running(d, e);
	if (!d->has_balloon)
		return err_set(e, ERR_WRONG_STATE, "domain '%s' has no balloon", d->name);
	d->stats_period_s = *(const int *)arg;
	return 0;
}

int fake_set_memory_stats_period(
        struct driver_connection *c, const char *id, int seconds, struct err *e)
{
	return fake_with_domain(c, "set_memory_stats_period", id, set_period_body, &seconds, e);
}

static int grow_body(struct fake_host *h, struct fake_domain *d, const void *arg, struct err *e)
{
	int64_t bytes = *(const int64_t *)arg;
	if (!fake_domain_is_active(d))
		return fake_not_running(d, e);
	if (bytes > d->memory_max_bytes)
		return err_set(e, ERR_UNSUPPORTED,
		        "domain '%s' cannot grow to %lld bytes, its most is %lld", d->name,
		        (long long)bytes, (long long)d->memory_max_bytes);
	int64_t plugged = int64_max(bytes - d->memory_bytes, 0);
	if (plugged > 0 && d->memory_slots_used == DRIVER_MEMORY_SLOTS)
		return err_set(e, ERR_UNSUPPORTED,
		        "domain '%s' has used %d of its %d slots for memory: it has %lld bytes",
		        d->name, d->memory_slots_used, DRIVER_MEMORY_SLOTS,
		        (long long)d->memory_bytes);
	d->memory_slots_used += plugged > 0;
	d->memory_bytes += plugged;
	d->balloon_bytes += plugged;
	d->target_bytes += plugged;
	fake_domain_emit(h, d, DOMAIN_EVENT_GUEST);
	return 0;
}

int fake_memory_grow_live(struct driver_connection *c, const char *id, int64_t bytes, struct err *e)
{
	return fake_with_domain(c, "memory_grow_live", id, grow_body, &bytes, e);
}

/* --- scripts --- */

void fake_guest_set_memory(const char *host, const char *id, const struct fake_guest_memory *memory)
{
	struct fake_host *h = fake_host_get(host);
	LOCK_SCOPE(&h->lock);
	struct fake_domain *d = map_get(h->domains, id);
	if (!d)
		return;
	fake_memory_move(d);
	d->memory = *memory;
	if (memory->balloon == FAKE_BALLOON_NO_DRIVER) {
		d->balloon_bytes = d->memory_bytes;
		d->said_s = 0;
	}
	fake_memory_move(d);
}

int64_t fake_guest_get_target(const char *host, const char *id)
{
	struct fake_host *h = fake_host_get(host);
	LOCK_SCOPE(&h->lock);
	const struct fake_domain *d = map_get(h->domains, id);
	return d ? d->target_bytes : -1;
}

int64_t fake_guest_get_current(const char *host, const char *id)
{
	struct fake_host *h = fake_host_get(host);
	LOCK_SCOPE(&h->lock);
	struct fake_domain *d = map_get(h->domains, id);
	if (!d)
		return -1;
	fake_memory_move(d);
	return d->balloon_bytes;
}

void fake_guest_set_hung(const char *host, const char *id, bool is_hung)
{
	struct fake_host *h = fake_host_get(host);
	LOCK_SCOPE(&h->lock);
	struct fake_domain *d = map_get(h->domains, id);
	if (!d)
		return;
	fake_memory_move(d);
	d->is_hung = is_hung;
	pthread_cond_broadcast(&h->changed);
}

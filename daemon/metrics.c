/* SPDX-License-Identifier: Apache-2.0 */
/* Hosts by state, VMs by power, lane threads. */
#include "daemon/metrics.h"

#include "api/metrics.h"
#include "compute/fleet_store.h"

struct count {
	struct str *out;
	const char *family, *label;
};

static void add_count(void *arg, const char *value, int64_t n)
{
	const struct count *count = arg;
	str_printf(count->out, "%s{%s=\"%s\"} %lld\n", count->family, count->label, value,
	        (long long)n);
}

static void write_lanes(struct lane_pool *lanes, struct str *out)
{
	struct lane_pool_stats stats;
	lane_pool_get_stats(lanes, &stats);
	metrics_family(
	        out, "berth_lane_threads", "gauge", "Threads for calls to hosts, by what they do");
	str_printf(out, "berth_lane_threads{state=\"idle\"} %d\n", stats.threads - stats.busy);
	str_printf(out, "berth_lane_threads{state=\"busy\"} %d\n", stats.busy - stats.stuck);
	str_printf(out, "berth_lane_threads{state=\"stuck\"} %d\n", stats.stuck);
}

void metrics_write_fleet(void *sources_arg, struct str *out)
{
	const struct metrics_sources *sources = sources_arg;
	struct db *db;
	write_lanes(sources->lanes, out);
	if (readers_get(sources->readers, &db, NULL) < 0)
		return; /* the counters that are known are still worth an answer */
	struct count hosts = {out, "berth_hosts", "state"};
	metrics_family(out, hosts.family, "gauge", "Hosts by state");
	fleet_store_count_hosts(db, add_count, &hosts, NULL);
	struct count vms = {out, "berth_vms", "power"};
	metrics_family(
	        out, vms.family, "gauge", "VMs by power; unknown while their host does not answer");
	fleet_store_count_vms(db, add_count, &vms, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* /vms/{vm}/stats: what is counted of a running VM. */
#include "api/route.h"
#include "base/cleanup.h"
#include "compute/balloon.h"
#include "compute/vm.h"
#include "compute/vm_store.h"

extern const struct route_table vm_stats_routes;

#define COUNT(member, text)                                                                        \
	{                                                                                          \
		.name = member, .type = FIELD_INT, .flags = FIELD_READ_ONLY | FIELD_NULLABLE,      \
		.doc = text                                                                        \
	}
static const struct field stats_fields[] = {
        {.name = "at",
                .type = FIELD_TIME,
                .flags = FIELD_READ_ONLY | FIELD_NULLABLE,
                .doc = "When these were read; null: it does not run, or was not looked at yet"},
        COUNT("cpu_time_ns", "CPU time used since it was started"),
        COUNT("vcpu_delay_ns", "Time that its vCPUs were ready and waited"),
        COUNT("vcpus", "vCPUs that are plugged"),
        COUNT("memory_current_bytes", "What its balloon leaves it"),
        COUNT("memory_usable_bytes", "What it could give away, caches included"),
        COUNT("memory_unused_bytes", "What is idle in it"),
        COUNT("memory_rss_bytes", "Resident memory of its QEMU"),
        COUNT("major_faults", "Page faults that needed a disk"),
        COUNT("swap_in_bytes", "Read back by its own swapping"),
        COUNT("disk_read_bytes", "Read from its disks"),
        COUNT("disk_write_bytes", "Written to its disks"),
        COUNT("net_receive_bytes", "Received by its NICs"),
        COUNT("net_transmit_bytes", "Sent by its NICs"),
        {.name = "noise",
                .type = FIELD_OBJECT,
                .flags = FIELD_READ_ONLY | FIELD_NULLABLE,
                .sub = &balloon_noise_table,
                .doc = "Whether its neighbours keep it from computing; null: not known"},
};
static const struct field_table stats_table =
        FIELD_TABLE("VmStats", struct domain_stats, stats_fields);

static void add_counter(struct json_writer *w, const char *key, int64_t value)
{
	json_key(w, key);
	if (value >= 0)
		json_put_int(w, value);
	else
		json_put_null(w);
}

static int get_stats(struct request *rq, struct reply *reply, struct err *e)
{
	struct vm_row row CLEANUP(vm_row_done) = {0};
	int rc = vm_store_get(rq->db, rq->params[0], &row, e);
	if (rc < 0)
		return rc;
	struct domain_stats s;
	int64_t at_ms = 0;
	struct json_writer *w = &reply->body;
	json_object_begin(w);
	if (vms_get_stats(rq->app->vms, row.id, &s, &at_ms)) {
		json_member_time(w, "at", at_ms);
		add_counter(w, "cpu_time_ns", s.cpu_time_ns);
		add_counter(w, "vcpu_delay_ns", s.vcpu_delay_ns);
		add_counter(w, "vcpus", s.vcpus_current);
		add_counter(w, "memory_current_bytes", s.balloon_current_bytes);
		add_counter(w, "memory_usable_bytes", s.balloon_usable_bytes);
		add_counter(w, "memory_unused_bytes", s.balloon_unused_bytes);
		add_counter(w, "memory_rss_bytes", s.balloon_rss_bytes);
		add_counter(w, "major_faults", s.balloon_major_faults);
		add_counter(w, "swap_in_bytes", s.balloon_swap_in_bytes);
		add_counter(w, "disk_read_bytes", s.block_read_bytes);
		add_counter(w, "disk_write_bytes", s.block_write_bytes);
		add_counter(w, "net_receive_bytes", s.net_rx_bytes);
		add_counter(w, "net_transmit_bytes", s.net_tx_bytes);
		json_key(w, "noise");
		balloons_encode_noise(rq->app->balloons, row.id, w);
	} else {
		json_member_time(w, "at", 0);
		json_key(w, "noise");
		json_put_null(w);
	}
	json_object_end(w);
	return 0;
}

static const int read_errors[] = {ERR_NOT_FOUND, 0};

static const struct route routes[] = {
        {.method = "GET",
                .path = "/vms/{vm}/stats",
                .permission = "vm.read",
                .mode = ROUTE_READ,
                .response = &stats_table,
                .errors = read_errors,
                .status = 200,
                .id = "vm_stats",
                .summary = "Newest counters of a running VM, and who keeps it from computing",
                .handler = get_stats},
};
const struct route_table vm_stats_routes = {
        .tag = "VMs", .routes = routes, .n_routes = ARRAY_LEN(routes)};

/* SPDX-License-Identifier: Apache-2.0 */
/* Choosing a driver, and freeing what drivers return. */
#include "hypervisor/driver.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "hypervisor/driver_fake.h"

const struct driver *driver_for_uri(const char *uri)
{
	if (str_starts_with(uri, "fake:"))
		return fake_is_enabled() ? &driver_fake : NULL;
	if (str_starts_with(uri, "qemu:") || str_starts_with(uri, "qemu+") ||
	        str_starts_with(uri, "test:"))
		return &driver_libvirt;
	return NULL;
}

void domain_info_done(struct domain_info *info)
{
	free(info->name);
	free(info->xml);
	free(info->live_xml);
	*info = (struct domain_info){0};
}

void domain_list_done(struct domain_list *list)
{
	for (size_t i = 0; i < list->len; i++)
		domain_info_done(&list->items[i]);
	free(list->items);
	*list = (struct domain_list){0};
}

void domain_stats_init(struct domain_stats *stats)
{
	*stats = (struct domain_stats){.state = DOMAIN_UNKNOWN,
	        .cpu_time_ns = -1,
	        .vcpu_delay_ns = -1,
	        .vcpu_wait_ns = -1,
	        .vcpus_current = -1,
	        .vcpus_maximum = -1,
	        .balloon_current_bytes = -1,
	        .balloon_maximum_bytes = -1,
	        .balloon_available_bytes = -1,
	        .balloon_usable_bytes = -1,
	        .balloon_unused_bytes = -1,
	        .balloon_rss_bytes = -1,
	        .balloon_major_faults = -1,
	        .balloon_minor_faults = -1,
	        .balloon_swap_in_bytes = -1,
	        .balloon_swap_out_bytes = -1,
	        .balloon_last_update_s = -1,
	        .block_read_bytes = -1,
	        .block_write_bytes = -1,
	        .block_read_requests = -1,
	        .block_write_requests = -1,
	        .net_rx_bytes = -1,
	        .net_tx_bytes = -1};
}

#define PRESSURE_UNKNOWN                                                                           \
	{                                                                                          \
		.some_us = -1, .full_us = -1, .some_avg10_percent = -1, .full_avg10_percent = -1   \
	}

void host_stats_init(struct host_stats *stats)
{
	*stats = (struct host_stats){.memory_total_bytes = -1,
	        .memory_free_bytes = -1,
	        .memory_buffers_bytes = -1,
	        .memory_cached_bytes = -1,
	        .memory_available_bytes = -1,
	        .swap_total_bytes = -1,
	        .swap_free_bytes = -1,
	        .cpu_busy_ns = -1,
	        .cpu_idle_ns = -1,
	        .cpu_iowait_ns = -1,
	        .cpus_online = -1,
	        .memory_pressure = PRESSURE_UNKNOWN,
	        .cpu_pressure = PRESSURE_UNKNOWN};
}

void domain_stats_list_done(struct domain_stats_list *list)
{
	free(list->items);
	*list = (struct domain_stats_list){0};
}

void guest_info_done(struct guest_info *info)
{
	free(info->os_name);
	free(info->os_version);
	free(info->hostname);
	free(info->kernel);
	free(info->addresses);
	*info = (struct guest_info){0};
}

void volume_info_done(struct volume_info *info)
{
	free(info->name);
	free(info->path);
	free(info->backing_path);
	*info = (struct volume_info){0};
}

void volume_info_list_done(struct volume_info_list *list)
{
	for (size_t i = 0; i < list->len; i++)
		volume_info_done(&list->items[i]);
	free(list->items);
	*list = (struct volume_info_list){0};
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The one list of all routes. */
#include "api/server.h"

extern const struct route_table events_routes, host_balloon_routes, host_groups_routes,
        hosts_routes, operations_routes, pools_routes, snapshot_groups_routes,
        snapshot_policies_routes, snapshots_routes, system_routes, tokens_routes, vm_disks_routes,
        vms_routes, vm_stats_routes, volumes_routes, volume_content_routes, images_routes,
        image_vms_routes, quotas_routes, placements_routes;

const struct route_table *const route_tables[] = {
        &system_routes,
        &hosts_routes,
        &host_balloon_routes,
        &host_groups_routes,
        &quotas_routes,
        &placements_routes,
        &vms_routes,
        &vm_stats_routes,
        &snapshots_routes,
        &snapshot_groups_routes,
        &snapshot_policies_routes,
        &vm_disks_routes,
        &pools_routes,
        &volumes_routes,
        &volume_content_routes,
        &images_routes,
        &image_vms_routes,
        &operations_routes,
        &events_routes,
        &tokens_routes,
        NULL,
};

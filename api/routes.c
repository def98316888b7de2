/* SPDX-License-Identifier: Apache-2.0 */
/* The one list of all routes. */
#include "api/server.h"

extern const struct route_table events_routes, host_groups_routes, hosts_routes, operations_routes,
        pools_routes, system_routes, tokens_routes, vms_routes, volumes_routes;

const struct route_table *const route_tables[] = {
        &system_routes,
        &hosts_routes,
        &host_groups_routes,
        &vms_routes,
        &pools_routes,
        &volumes_routes,
        &operations_routes,
        &events_routes,
        &tokens_routes,
        NULL,
};

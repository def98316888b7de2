/* SPDX-License-Identifier: Apache-2.0 */
/* /placements and /capacity: where a VM would go and why not elsewhere; how much more fits. Both read the inventory, not
 * the database: no transaction (compute/room.h). */
#include "api/route.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "compute/room.h"
#include "compute/room_view.h"
#include "compute/vm.h"
#include "db/reader.h"

extern const struct route_table placements_routes;

static int rank_hosts(struct request *rq, struct reply *reply, struct err *e);
static int get_capacity(struct request *rq, struct reply *reply, struct err *e);

static const struct query_param capacity_query[] = {
        {"vcpus", QUERY_INT, 1, 4096, "vCPUs of the VMs to count (default 1)"},
        {"memory_bytes", QUERY_INT, 1 << 20, (int64_t)1 << 46,
                "Memory of the VMs to count (default 1 GiB)"},
        {"group", QUERY_TEXT, 0, 63, "Only this host group, by name or id"},
        {NULL, QUERY_BOOL, 0, 0, NULL},
};

static const int place_errors[] = {ERR_REFERENCE, 0};
static const int capacity_errors[] = {ERR_NOT_FOUND, 0};

static const struct route routes[] = {
        {.method = "POST",
                .path = "/placements",
                .permission = "host.read",
                .mode = ROUTE_READ,
                .flags = ROUTE_NO_DB,
                .body = &vm_write_fields,
                .response = &room_placement_fields,
                .errors = place_errors,
                .status = 200,
                .id = "placement_rank",
                .summary = "Rank the hosts for a VM, with the reason for each that is refused",
                .handler = rank_hosts},
        {.method = "GET",
                .path = "/capacity",
                .permission = "host.read",
                .mode = ROUTE_READ,
                .flags = ROUTE_NO_DB,
                .query = capacity_query,
                .response = &room_capacity_fields,
                .errors = capacity_errors,
                .status = 200,
                .id = "capacity_get",
                .summary = "Read what host groups have, hold and could still take",
                .handler = get_capacity},
};
const struct route_table placements_routes = {
        .tag = "Placement", .routes = routes, .n_routes = ARRAY_LEN(routes)};

static int rank_hosts(struct request *rq, struct reply *reply, struct err *e)
{
	struct room_ranking ranking = {.spec = rq->body, .w = &reply->body};
	struct db *db;
	if (vms_check_spec(rq->app->vms, rq->body, rq->errors) < 0)
		return ERR_INVALID;
	int rc = readers_get(rq->app->readers, &db, e);
	return rc < 0 ? rc : room_look(rq->app->room, db, room_view_rank, &ranking, e);
}

static int get_capacity(struct request *rq, struct reply *reply, struct err *e)
{
	struct room_capacity capacity = {
	        .vcpus = request_query_int(rq, "vcpus", 1),
	        .memory_bytes = request_query_int(rq, "memory_bytes", (int64_t)1 << 30),
	        .group = request_query(rq, "group"),
	        .w = &reply->body,
	};
	struct db *db;
	int rc = readers_get(rq->app->readers, &db, e);
	return rc < 0 ? rc : room_look(rq->app->room, db, room_view_capacity, &capacity, e);
}

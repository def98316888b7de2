/* SPDX-License-Identifier: Apache-2.0 */
/* /hosts/{host}/balloon: how memory moves between the guests of a host, and why. */
#include "api/route.h"
#include "base/cleanup.h"
#include "compute/balloon.h"
#include "compute/host.h"

extern const struct route_table host_balloon_routes;

static int get_balloon(struct request *rq, struct reply *reply, struct err *e)
{
	struct host_row row CLEANUP(host_row_done) = {0};
	int rc = host_store_get(rq->db, rq->params[0], &row, e);
	if (rc < 0)
		return rc;
	balloons_encode(rq->app->balloons, &row, &reply->body);
	return 0;
}

static const int read_errors[] = {ERR_NOT_FOUND, 0};

static const struct route routes[] = {
        {.method = "GET",
                .path = "/hosts/{host}/balloon",
                .permission = "host.read",
                .mode = ROUTE_READ,
                .flags = ROUTE_FIELDS,
                .response = &balloon_view_table,
                .errors = read_errors,
                .status = 200,
                .id = "host_balloon",
                .summary = "Read how memory moves between a host's guests, and why",
                .handler = get_balloon},
};
const struct route_table host_balloon_routes = {
        .tag = "Hosts", .routes = routes, .n_routes = ARRAY_LEN(routes)};

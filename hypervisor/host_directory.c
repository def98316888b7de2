/* SPDX-License-Identifier: Apache-2.0 */
/* Which connection belongs to which host id. Core loop only. */
#include "hypervisor/host_directory.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/map.h"

struct host_directory {
	struct loop *loop; /* borrowed */
	struct map *map;   /* host id -> borrowed struct host_connection */
};

struct host_directory *host_directory_new(struct loop *loop)
{
	struct host_directory *d = xcalloc(1, sizeof(*d));
	d->loop = loop;
	d->map = map_new();
	return d;
}

void host_directory_free(struct host_directory *d)
{
	if (!d)
		return;
	map_free(d->map);
	free(d);
}

void host_directory_put(struct host_directory *d, const char *host_id, struct host_connection *c)
{
	map_put(d->map, host_id, c);
}

void host_directory_remove(struct host_directory *d, const char *host_id)
{
	map_remove(d->map, host_id);
}

struct host_connection *host_directory_get(const struct host_directory *d, const char *host_id)
{
	return map_get(d->map, host_id);
}

/* A call to a host that is not there: answered from the loop, as every other call is. */
struct refusal {
	struct lane_call call;
	char host_id[UUID_TEXT_SIZE];
};

static void refuse(void *arg)
{
	struct refusal *r = arg;
	struct err e = {0};
	int rc = err_set(&e, ERR_NOT_FOUND, "no host with id %s is registered", r->host_id);
	r->call.done(r->call.arg, rc, &e);
	if (r->call.release)
		r->call.release(r->call.arg);
	free(r);
}

void host_directory_submit(
        struct host_directory *d, const char *host_id, const struct lane_call *call)
{
	struct host_connection *c = host_directory_get(d, host_id);
	if (c) {
		host_connection_submit(c, call);
		return;
	}
	struct refusal *r = xcalloc(1, sizeof(*r));
	r->call = *call;
	snprintf(r->host_id, sizeof(r->host_id), "%s", host_id);
	loop_post(d->loop, refuse, r);
}

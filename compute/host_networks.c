/* SPDX-License-Identifier: Apache-2.0 */
/* Which virtual networks are active on a host is a fact that changes while it is up: asked again every few seconds, so
 * that placement knows. Core loop, but for the call. */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "compute/host_live.h"
#include "hypervisor/host_directory.h"

#define TIMEOUT_MS 10000

struct networks_call {
	struct hosts *hosts; /* a reference */
	char id[UUID_TEXT_SIZE];
	char **names; /* owned; the answer */
};

static void release_call(void *arg)
{
	struct networks_call *call = arg;
	hosts_unref(call->hosts);
	str_list_free(call->names);
	free(call);
}

/* Lane thread. */
static int run_call(
        const struct driver *driver, struct driver_connection *c, void *arg, struct err *e)
{
	struct networks_call *call = arg;
	if (!driver->network_list)
		return err_set(e, ERR_UNSUPPORTED, "the host has no networks to list");
	return driver->network_list(c, &call->names, e);
}

/* What a host cannot tell now, it told before: that stays. */
static void on_answer(void *arg, int rc, const struct err *e)
{
	struct networks_call *call = arg;
	struct live_host *host =
	        call->hosts->is_closing ? NULL : map_get(call->hosts->map, call->id);
	(void)e;
	if (!host)
		return;
	host->is_asking_networks = false;
	if (rc < 0 || !host->has_facts || str_list_equal(host->facts.networks, call->names))
		return;
	str_list_free(host->facts.networks);
	host->facts.networks = TAKE(call->names);
	host_record_facts(host);
}

static void ask_host(struct hosts *h, struct live_host *host)
{
	struct networks_call *call = xcalloc(1, sizeof(*call));
	call->hosts = hosts_ref(h);
	uuid_text_copy(call->id, host->id);
	host->is_asking_networks = true;
	const struct lane_call lane_call = {
	        .class = LANE_BACKGROUND,
	        .timeout_ms = TIMEOUT_MS,
	        .run = run_call,
	        .done = on_answer,
	        .release = release_call,
	        .arg = call,
	};
	host_directory_submit(h->config.directory, host->id, &lane_call);
}

void hosts_ask_networks(struct hosts *h)
{
	size_t cursor = 0;
	void *value;
	while (map_next(h->map, &cursor, NULL, &value)) {
		struct live_host *host = value;
		if (host->state == HOST_OK && !host->is_asking_networks)
			ask_host(h, host);
	}
}

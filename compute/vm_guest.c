/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What guests say of themselves: addresses (DHCP lease, agent), operating system, agent state.
 * Running VMs are asked 2, 4, 8, 16, 32 and then every 60 s after a change of state; the row is
 * written only when the answer differs. Core loop.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json_writer.h"
#include "base/log.h"
#include "compute/vm_live.h"
#include "hypervisor/host_directory.h"

#define TICK_MS          1000
#define POLL_MAX_MS      60000
#define GUEST_TIMEOUT_MS 10000
#define ASKS_PER_TICK    50

struct ask {
	struct vms *vms;
	char host_id[UUID_TEXT_SIZE], vm_id[UUID_TEXT_SIZE];
	struct guest_info info;
	char *text; /* owned: the JSON for the row */
	int references;
};

static void ask_unref(void *arg)
{
	struct ask *ask = arg;
	if (--ask->references > 0)
		return;
	guest_info_done(&ask->info);
	free(ask->text);
	free(ask);
}

static int run_ask(
        const struct driver *driver, struct driver_connection *c, void *arg, struct err *e)
{
	struct ask *ask = arg;
	if (!driver->get_guest)
		return err_set(e, ERR_UNSUPPORTED, "no guest facts from this host");
	return driver->get_guest(c, ask->vm_id, &ask->info, e);
}

static void encode_address(struct json_writer *w, const struct guest_address *a)
{
	json_object_begin(w);
	json_member_string(w, "mac", a->mac);
	json_member_string(w, "address", a->address);
	json_member_int(w, "prefix", a->prefix);
	json_member_string(w, "source", a->source);
	json_object_end(w);
}

static char *encode_guest(const struct guest_info *info)
{
	struct json_writer w = {0};
	json_object_begin(&w);
	json_member_string(&w, "agent", info->agent_connected ? "connected" : "disconnected");
	json_key(&w, "os");
	if (info->os_name) {
		json_object_begin(&w);
		json_member_string(&w, "name", info->os_name);
		json_member_string(&w, "version", info->os_version);
		json_member_string(&w, "kernel", info->kernel);
		json_object_end(&w);
	} else {
		json_put_null(&w);
	}
	json_member_string(&w, "hostname", info->hostname);
	json_key(&w, "addresses");
	json_array_begin(&w);
	for (size_t i = 0; i < info->n_addresses; i++)
		encode_address(&w, &info->addresses[i]);
	json_array_end(&w);
	json_object_end(&w);
	return str_take(&w.out);
}

/* Adds "since": when this answer was first heard. */
static char *with_since(const char *text)
{
	char since[CLOCK_TEXT_SIZE];
	clock_format(clock_wall_ms(), since);
	return str_format("{\"since\":\"%s\",%s", since, text + 1);
}

static int store_guest(struct db *db, void *arg, struct err *e)
{
	struct ask *ask = arg;
	struct vm_row row CLEANUP(vm_row_done) = {0};
	bool found = false;
	int rc = vm_store_find(db, ask->vm_id, &row, &found, e);
	if (rc < 0 || !found || row.recorded_power != POWER_RUNNING)
		return rc;
	char *text CLEANUP(cleanup_free) = with_since(ask->text);
	rc = vm_store_set_guest(db, ask->vm_id, text, e);
	return rc < 0 ? rc : vm_add_change(db, "guest", ask->vm_id, row.name, e);
}

static void on_stored(void *arg)
{
	ask_unref(arg);
}

static void on_store_done(void *arg, int rc, const struct err *e)
{
	struct ask *ask = arg;
	if (rc < 0)
		log_err(LOG_LEVEL_ERROR, e, "guest facts of VM %s could not be recorded",
		        ask->vm_id);
	loop_post(ask->vms->config.services->loop, on_stored, ask);
}

static void on_answer(void *arg, int rc, const struct err *e)
{
	struct ask *ask = arg;
	struct vm_live *live = vms_find(ask->vms, ask->vm_id);
	(void)e;
	if (live)
		live->is_asking_guest = false;
	if (rc < 0 || !live || live->power != POWER_RUNNING)
		return;
	ask->text = encode_guest(&ask->info);
	if (str_equal(ask->text, live->guest))
		return;
	str_replace(&live->guest, ask->text);
	ask->references++;
	writer_submit(ask->vms->config.services->writer,
	        (struct writer_job){.run = store_guest, .done = on_store_done, .arg = ask});
}

static void ask_guest(struct vms *vms, struct vm_live *live)
{
	struct ask *ask = xcalloc(1, sizeof(*ask));
	ask->vms = vms;
	ask->references = 1;
	uuid_text_copy(ask->host_id, live->host_id);
	uuid_text_copy(ask->vm_id, live->id);
	live->is_asking_guest = true;
	const struct lane_call call = {
	        .class = LANE_BACKGROUND,
	        .domain = ask->vm_id,
	        .timeout_ms = GUEST_TIMEOUT_MS,
	        .run = run_ask,
	        .done = on_answer,
	        .release = ask_unref,
	        .arg = ask,
	};
	host_directory_submit(vms->config.services->directory, ask->host_id, &call);
}

void vms_guest_soon(struct vm_live *live)
{
	live->guest_polls = 0;
	live->next_guest_ms = clock_now_ms() + 2000;
	if (live->power != POWER_RUNNING)
		str_replace(&live->guest, NULL);
}

static void on_tick(void *arg)
{
	struct vms *vms = arg;
	int64_t now = clock_now_ms();
	int asked = 0;
	size_t cursor = 0;
	void *value;
	while (asked < ASKS_PER_TICK && map_next(vms->live, &cursor, NULL, &value)) {
		struct vm_live *live = value;
		if (live->power != POWER_RUNNING || live->is_asking_guest ||
		        now < live->next_guest_ms)
			continue;
		int64_t wait = (int64_t)2000 << (live->guest_polls < 5 ? live->guest_polls : 5);
		live->guest_polls++;
		live->next_guest_ms = now + (wait < POLL_MAX_MS ? wait : POLL_MAX_MS);
		if (hosts_state(vms->config.services->hosts, live->host_id) != HOST_OK)
			continue;
		ask_guest(vms, live);
		asked++;
	}
}

void vms_start_guest_polls(struct vms *vms)
{
	vms->guest_timer =
	        loop_timer_start(vms->config.services->loop, TICK_MS, TICK_MS, on_tick, vms);
}

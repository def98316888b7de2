/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeping the records true. Core loop, except where said.
 *
 *  libvirt event ------------------------+
 *  an operation ended -------------------+--> dirty -> look (lane) -> vm_observe (writer)
 *  host is up: a full listing, compared -+   coalesced                   |
 *  with the rows                              waits, restarts, polls <---+ (core loop)
 *
 * A listing only points at what differs; each VM is then looked at through its host's lane, where
 * calls for one domain never overtake each other, so that an old answer cannot replace a newer one.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "base/vec.h"
#include "compute/room.h"
#include "compute/vm_carriers.h"
#include "compute/vm_live.h"
#include "compute/vm_volumes.h"
#include "hypervisor/host_directory.h"

#define LOOK_TIMEOUT_MS 15000
#define LIST_TIMEOUT_MS 60000
#define RELIST_MS       5000

static void on_relist_tick(void *arg);

/* ---- the live table ---- */

struct vms *vms_new(const struct vms_config *config)
{
	struct vms *vms = xcalloc(1, sizeof(*vms));
	vms->config = *config;
	vms->console_directory = xstrdup(config->console_directory);
	vms->console_root = realpath(config->console_directory, NULL);
	if (!vms->console_root) /* not made yet */
		vms->console_root = xstrdup(config->console_directory);
	vms->live = map_new();
	vms->autostarts = map_new();
	vms->unlisted = map_new();
	vms->restart_step_ms = VM_RESTART_STEP_MS;
	vms->relist_timer =
	        loop_timer_start(config->services->loop, RELIST_MS, RELIST_MS, on_relist_tick, vms);
	vms_start_guest_polls(vms);
	vms_start_stats(vms);
	return vms;
}

static void free_live(struct vm_live *live)
{
	loop_timer_free(live->restart_timer);
	free(live->guest);
	free(live);
}

void vms_stop(struct vms *vms)
{
	if (!vms)
		return;
	vms->is_stopping = true;
	vms_free_waits(vms);
	loop_timer_free(TAKE(vms->guest_timer));
	loop_timer_free(TAKE(vms->stats_timer));
	loop_timer_free(TAKE(vms->relist_timer));
}

void vms_free(struct vms *vms)
{
	if (!vms)
		return;
	vms_free_autostarts(vms);
	vms_free_stats(vms);
	size_t cursor = 0;
	void *live;
	while (map_next(vms->live, &cursor, NULL, &live))
		free_live(live);
	map_free(vms->live);
	map_free(vms->autostarts);
	map_free(vms->unlisted);
	free(vms->console_directory);
	free(vms->console_root);
	free(vms);
}

struct vm_live *vms_find(struct vms *vms, const char *vm_id)
{
	return map_get(vms->live, vm_id);
}

static struct vm_live *find_or_add(struct vms *vms, const char *host_id, const char *vm_id)
{
	struct vm_live *live = map_get(vms->live, vm_id);
	if (!live) {
		live = xcalloc(1, sizeof(*live));
		live->vms = vms;
		uuid_text_copy(live->id, vm_id);
		live->power = POWER_UNKNOWN;
		map_put(vms->live, live->id, live);
	}
	uuid_text_copy(live->host_id, host_id);
	return live;
}

static void forget(struct vms *vms, struct vm_live *live)
{
	map_remove(vms->live, live->id);
	free_live(live);
}

struct vm_platform vms_platform(struct vms *vms, const char *host_id, const char *architecture)
{
	struct vm_platform platform = {0};
	struct hosts *hosts = vms->config.services->hosts;
	const struct host_facts *facts = hosts_facts(hosts, host_id);
	const char *type = hosts_domain_type(hosts, host_id, architecture);
	if (type)
		strncpy(platform.domain_type, type, sizeof(platform.domain_type) - 1);
	const struct arch_facts *arch = facts ? host_facts_arch(facts, architecture) : NULL;
	if (arch && arch->default_machine)
		strncpy(platform.machine, arch->default_machine, sizeof(platform.machine) - 1);
	strncpy(platform.console_directory, vms->console_directory,
	        sizeof(platform.console_directory) - 1);
	platform.is_test_driver = facts && facts->is_test_driver;
	return platform;
}

/* ---- one look ---- */

struct look {
	struct vms *vms;
	char host_id[UUID_TEXT_SIZE], vm_id[UUID_TEXT_SIZE];
	struct vm_observation seen;
	struct vm_observed observed;
	int references; /* core loop */
};

static void look_unref(void *arg)
{
	struct look *look = arg;
	if (--look->references > 0)
		return;
	vm_observation_done(&look->seen);
	free(look);
}

static int run_look(
        const struct driver *driver, struct driver_connection *c, void *arg, struct err *e)
{
	struct look *look = arg;
	struct domain_info info CLEANUP(domain_info_done) = {0};
	int rc = driver->get_domain(c, look->vm_id, &info, e);
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	bool is_vm = rc == 0 && !info.is_carrier;
	vm_observation_fill(&look->seen, look->host_id, look->vm_id, is_vm ? &info : NULL);
	return 0;
}

static int store_look(struct db *db, void *arg, struct err *e)
{
	struct look *look = arg;
	struct err unimportant = {0};
	int rc = vm_observe(db, &look->seen, &look->observed, e);
	if (rc < 0 || !look->observed.known || !look->observed.managed)
		return rc;
	/* What was seen counts all the same; the next look brings it again. */
	if (vm_volumes_release(db, look->vms, look->vm_id, &unimportant) < 0)
		log_err(LOG_LEVEL_WARNING, &unimportant,
		        "volumes that VM %s no longer has could not be set free", look->vm_id);
	return 0;
}

static void start_look(struct vms *vms, struct vm_live *live);

static void after_look(struct vms *vms, struct vm_live *live)
{
	live->is_looking = false;
	if (live->is_dirty && !vms->is_stopping)
		start_look(vms, live);
}

static void on_stored(void *arg)
{
	struct look *look = arg;
	struct vms *vms = look->vms;
	struct vm_live *live = vms_find(vms, look->vm_id);
	if (live && !vms->is_stopping) {
		live->managed = look->observed.managed;
		if (look->observed.known) {
			vms_saw(vms, &look->seen);
			vms_follow_up(vms, live, &look->observed);
		}
		after_look(vms, live);
		if (!look->observed.known && !live->is_looking)
			forget(vms, live);
	}
	look_unref(look);
}

/* Writer thread. */
static void on_store_done(void *arg, int rc, const struct err *e)
{
	struct look *look = arg;
	if (rc < 0)
		log_err(LOG_LEVEL_ERROR, e, "what was seen of VM %s could not be recorded",
		        look->vm_id);
	loop_post(look->vms->config.services->loop, on_stored, look);
}

static void on_looked(void *arg, int rc, const struct err *e)
{
	struct look *look = arg;
	struct vms *vms = look->vms;
	struct vm_live *live = vms_find(vms, look->vm_id);
	if (vms->is_stopping)
		return;
	if (rc < 0) {
		if (live) {
			/* The next event, the end of the hang or the next connection brings another
			 * look. */
			live->is_looking = false;
			live->is_dirty = false;
		}
		if (rc != ERR_CANCELLED)
			log_err(LOG_LEVEL_DEBUG, e, "could not look at VM %s", look->vm_id);
		return;
	}
	look->references++;
	writer_submit(vms->config.services->writer,
	        (struct writer_job){.run = store_look, .done = on_store_done, .arg = look});
}

static void start_look(struct vms *vms, struct vm_live *live)
{
	struct look *look = xcalloc(1, sizeof(*look));
	look->vms = vms;
	look->references = 1;
	uuid_text_copy(look->host_id, live->host_id);
	uuid_text_copy(look->vm_id, live->id);
	live->is_looking = true;
	live->is_dirty = false;
	const struct lane_call call = {
	        .class
	        = LANE_URGENT, /* not behind the queued work of others: it is what makes the records true */
	        .domain = look->vm_id,
	        .timeout_ms = LOOK_TIMEOUT_MS,
	        .queue_timeout_ms = LIST_TIMEOUT_MS,
	        .run = run_look,
	        .done = on_looked,
	        .release = look_unref,
	        .arg = look,
	};
	host_directory_submit(vms->config.services->directory, look->host_id, &call);
}

void vms_mark_dirty(struct vms *vms, const char *host_id, const char *vm_id)
{
	if (vms->is_stopping)
		return;
	struct vm_live *live = find_or_add(vms, host_id, vm_id);
	live->is_dirty = true;
	if (!live->is_looking)
		start_look(vms, live);
}

void vms_saw(struct vms *vms, const struct vm_observation *seen)
{
	struct vm_live *live = find_or_add(vms, seen->host_id, seen->id);
	enum vm_power before = live->power;
	live->power = seen->gone ? POWER_STOPPED
	                         : vm_power_from_domain(seen->state, seen->has_managed_save);
	live->agent_connected = seen->agent_connected;
	if (live->power != before)
		vms_guest_soon(live);
	vms_wake_waits(vms, live);
}

/* ---- after a commit ---- */

struct dirty_mark {
	struct vms *vms;
	char host_id[UUID_TEXT_SIZE], vm_id[UUID_TEXT_SIZE];
};

static void post_mark(void *arg)
{
	struct dirty_mark *mark = arg;
	vms_mark_dirty(mark->vms, mark->host_id, mark->vm_id);
	free(mark);
}

static void on_commit(void *arg, bool committed)
{
	struct dirty_mark *mark = arg;
	if (committed)
		loop_post(mark->vms->config.services->loop, post_mark, mark);
	else
		free(mark);
}

void vms_mark_dirty_on_commit(
        struct db *db, struct vms *vms, const char *host_id, const char *vm_id)
{
	struct dirty_mark *mark = xcalloc(1, sizeof(*mark));
	mark->vms = vms;
	uuid_text_copy(mark->host_id, host_id);
	uuid_text_copy(mark->vm_id, vm_id);
	db_on_end(db, on_commit, mark);
}

/* ---- a full listing ---- */

struct listing {
	struct vms *vms;
	char host_id[UUID_TEXT_SIZE];
	struct domain_list domains;
	struct vm_carriers carriers; /* on that host; then those whose work has ended */
	VEC(char *) dirty;           /* owned texts */
	int references;
};

static void listing_unref(void *arg)
{
	struct listing *listing = arg;
	if (--listing->references > 0)
		return;
	VEC_FOR_EACH (&listing->dirty, id)
		free(*id);
	VEC_DONE(&listing->dirty);
	domain_list_done(&listing->domains);
	vm_carriers_done(&listing->carriers);
	free(listing);
}

static int run_list(
        const struct driver *driver, struct driver_connection *c, void *arg, struct err *e)
{
	struct listing *listing = arg;
	int rc = driver->list_domains(c, &listing->domains, e);
	if (rc == 0)
		vm_carriers_take(&listing->domains, &listing->carriers);
	return rc;
}

/* A row that says the same as the listing needs no look, unless something is to follow from it. */
static bool agrees(const struct vm_row *row, const struct domain_info *info)
{
	enum vm_power power = vm_power_from_domain(info->state, info->has_managed_save);
	bool settled =
	        !row->managed || power != POWER_STOPPED || row->desired_power != POWER_RUNNING;
	return power == row->recorded_power && settled && str_equal(row->name, info->name);
}

static int check_agreement(struct db *db, const struct listing *listing, const struct vm_row *row,
        const struct domain_info *info, bool *ret_agrees, struct err *e)
{
	*ret_agrees = agrees(row, info);
	if (!*ret_agrees)
		return 0;
	return room_agrees(
	        db, row->id, listing->host_id, !domain_state_is_off(info->state), ret_agrees, e);
}

/* After the host was down the power is unknown until the listing tells it, so that nothing stale is shown; what follows
 * from it comes with the look. A listing of a host that was known all along tells nothing newer than the looks. */
static int add_dirty(struct db *db, struct listing *listing, const struct vm_row *row,
        const struct domain_info *info, struct err *e)
{
	VEC_PUSH(&listing->dirty, xstrdup(row->id));
	return row->power == POWER_UNKNOWN ? vm_observe_listed(db, row, info, e) : 0;
}

static int compare_listed(struct db *db, struct listing *listing, struct err *e)
{
	for (size_t i = 0; i < listing->domains.len; i++) {
		const struct domain_info *info = &listing->domains.items[i];
		struct vm_row row CLEANUP(vm_row_done) = {0};
		bool found = false, is_same = true;
		int rc = vm_store_find(db, info->id, &row, &found, e);
		if (rc == 0 && found)
			rc = check_agreement(db, listing, &row, info, &is_same, e);
		if (rc == 0 && !found)
			VEC_PUSH(&listing->dirty, xstrdup(info->id));
		else if (rc == 0 && !is_same)
			rc = add_dirty(db, listing, &row, info, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int compare_missing(struct db *db, struct listing *listing, const char *id, struct err *e)
{
	struct vm_row row CLEANUP(vm_row_done) = {0};
	bool found = false;
	int rc = vm_store_find(db, id, &row, &found, e);
	return rc == 0 && found ? add_dirty(db, listing, &row, NULL, e) : rc;
}

static int compare_rows(
        struct db *db, struct listing *listing, const struct map *listed, struct err *e)
{
	char **ids = NULL;
	size_t n = 0;
	int rc = vm_store_ids_on_host(db, listing->host_id, &ids, &n, e);
	for (size_t i = 0; i < n; i++) {
		if (rc == 0 && !map_get(listed, ids[i]))
			rc = compare_missing(db, listing, ids[i], e);
		free(ids[i]);
	}
	free(ids);
	return rc;
}

static int compare(struct db *db, void *arg, struct err *e)
{
	struct listing *listing = arg;
	int rc = compare_listed(db, listing, e);
	struct map *listed = map_new();
	for (size_t i = 0; i < listing->domains.len; i++)
		map_put(listed, listing->domains.items[i].id, listing);
	if (rc == 0)
		rc = compare_rows(db, listing, listed, e);
	map_free(listed);
	if (rc == 0)
		rc = vm_carriers_keep_ended(db, &listing->carriers, e);
	return rc < 0 ? rc : vm_store_set_listed(db, listing->host_id, e);
}

static void on_compared(void *arg)
{
	struct listing *listing = arg;
	struct vms *vms = listing->vms;
	for (size_t i = 0; i < listing->domains.len && !vms->is_stopping; i++) {
		const struct domain_info *info = &listing->domains.items[i];
		struct vm_live *live = find_or_add(vms, listing->host_id, info->id);
		live->power = vm_power_from_domain(info->state, info->has_managed_save);
		live->managed = info->is_ours;
		vms_wake_waits(vms, live);
	}
	VEC_FOR_EACH (&listing->dirty, id)
		vms_mark_dirty(vms, listing->host_id, *id);
	if (!vms->is_stopping)
		vm_carriers_remove(vms, listing->host_id, &listing->carriers);
	listing_unref(listing);
}

/* Writer thread. */
static void on_compare_done(void *arg, int rc, const struct err *e)
{
	struct listing *listing = arg;
	if (rc < 0)
		log_err(LOG_LEVEL_ERROR, e,
		        "a host's listing could not be compared with the records");
	loop_post(listing->vms->config.services->loop, on_compared, listing);
}

static void on_listed(void *arg, int rc, const struct err *e)
{
	struct listing *listing = arg;
	if (rc < 0) {
		/* Nothing is concluded from a listing that failed. */
		log_err(LOG_LEVEL_WARNING, e, "host %s could not be listed", listing->host_id);
		map_put(listing->vms->unlisted, listing->host_id, listing->vms);
		return;
	}
	listing->references++;
	writer_submit(listing->vms->config.services->writer,
	        (struct writer_job){.run = compare, .done = on_compare_done, .arg = listing});
}

static void list_host(struct vms *vms, const char *host_id)
{
	struct listing *listing = xcalloc(1, sizeof(*listing));
	listing->vms = vms;
	listing->references = 1;
	uuid_text_copy(listing->host_id, host_id);
	const struct lane_call call = {
	        .class = LANE_URGENT,
	        .timeout_ms = LIST_TIMEOUT_MS,
	        .run = run_list,
	        .done = on_listed,
	        .release = listing_unref,
	        .arg = listing,
	};
	host_directory_submit(vms->config.services->directory, listing->host_id, &call);
}

static void on_host_up(void *arg, const char *host_id)
{
	struct vms *vms = arg;
	map_remove(vms->unlisted, host_id);
	if (!vms->is_stopping)
		list_host(vms, host_id);
}

/* Hosts whose listing failed are asked again while they answer; a new connection brings its own. */
static void on_relist_tick(void *arg)
{
	struct vms *vms = arg;
	size_t cursor = 0;
	const char *host_id;
	void *value;
	while (map_next(vms->unlisted, &cursor, &host_id, &value)) {
		if (hosts_state(vms->config.services->hosts, host_id) == HOST_OK)
			list_host(vms, host_id);
		map_remove(vms->unlisted, host_id);
	}
}

static void on_domain_event(void *arg, const char *host_id, const struct domain_event *event)
{
	struct vms *vms = arg;
	if (event->kind == DOMAIN_EVENT_GUEST) {
		struct vm_live *live = vms_find(vms, event->id);
		if (live)
			vms_guest_soon(live);
	}
	vms_mark_dirty(vms, host_id, event->id);
}

struct hosts_callbacks vms_hosts_callbacks(struct vms *vms)
{
	return (struct hosts_callbacks){.up = on_host_up, .domain = on_domain_event, .arg = vms};
}

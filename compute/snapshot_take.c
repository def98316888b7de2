/* SPDX-License-Identifier: Apache-2.0 */
/* Taking a snapshot on the VM's host: looking, going over to the new layers, saving the memory. Lane threads. */
#include "compute/snapshot_take.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "compute/snapshot_internal.h"

struct shot {
	struct vm_call *call;
	const struct driver *driver;
	struct driver_connection *c;
	struct db *db; /* borrowed */
	struct snapshot_row row;
	struct snapshot_disks disks;
	struct layer_chain
	        *overlays; /* owned: of disks.items[i]; without layers: not reserved (any more) */
	struct domain_info info;
};

static void shot_done(struct shot *shot)
{
	for (size_t i = 0; i < shot->disks.len && shot->overlays; i++)
		layer_chain_done(&shot->overlays[i]);
	free(shot->overlays);
	snapshot_disks_done(&shot->disks);
	snapshot_row_done(&shot->row);
	domain_info_done(&shot->info);
}

static int load_shot(struct shot *shot, struct err *e)
{
	int rc = snapshot_call_load(shot->call, &shot->db, &shot->row, &shot->disks, e);
	shot->overlays = xcalloc(shot->disks.len + 1, sizeof(shot->overlays[0]));
	for (size_t i = 0; i < shot->disks.len && rc == 0; i++) {
		const struct snapshot_disk *disk = &shot->disks.items[i];
		char id[UUID_TEXT_SIZE];
		rc = snapshot_find_overlay(shot->db, disk->layer_id, disk->volume_id, id, e);
		if (rc == 0 && id[0])
			rc = layer_chain_load(shot->db, id, &shot->overlays[i], e);
	}
	return rc < 0 ? rc : shot->driver->get_domain(shot->c, shot->call->vm_id, &shot->info, e);
}

/* All disks go over at one moment, so the first one tells. */
static int has_switched(struct shot *shot, bool *ret_switched, struct err *e)
{
	char *top CLEANUP(cleanup_free) = NULL;
	*ret_switched = false;
	if (shot->disks.len == 0 || shot->overlays[0].len == 0)
		return 0;
	int rc = snapshot_find_top(
	        &shot->info, shot->disks.items[0].disk, shot->driver, shot->c, &top, e);
	*ret_switched = rc == 0 && str_equal(top, shot->overlays[0].sources[0].path);
	return rc;
}

/*
 * libvirt goes on with what a lost connection asked of it, and removes the memory file if that fails. So a file that is
 * there means: an earlier try is under way, and must not be disturbed.
 */
static int is_under_way(struct shot *shot, bool *ret_under_way, struct err *e)
{
	struct pool_access pool CLEANUP(pool_access_done) = {0};
	struct pool_info room;
	struct volume_info file CLEANUP(volume_info_done) = {0};
	int rc = pool_access_load(shot->db, shot->row.memory_pool_id, &pool, e);
	if (rc == 0)
		rc = pool_access_ensure(&pool, shot->driver, shot->c, e);
	if (rc == 0)
		rc = shot->driver->pool_info(shot->c, pool.libvirt_name, &room, e);
	if (rc == 0)
		rc = shot->driver->volume_get(
		        shot->c, pool.libvirt_name, shot->row.memory_file, &file, e);
	*ret_under_way = rc == 0;
	if (rc == ERR_NOT_FOUND)
		err_clear(e);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* libvirt tells that the memory was not written, but not always why. */
static int explain_memory(struct shot *shot, int rc, struct err *e)
{
	struct pool_access pool CLEANUP(pool_access_done) = {0};
	struct pool_info room;
	if (rc == ERR_DISK_FULL || !shot->row.memory_file ||
	        pool_access_load(shot->db, shot->row.memory_pool_id, &pool, NULL) < 0 ||
	        shot->driver->pool_info(shot->c, pool.libvirt_name, &room, NULL) < 0 ||
	        room.available_bytes >= shot->call->plan.row.memory_bytes)
		return rc;
	err_set(e, ERR_DISK_FULL,
	        "pool %s is full: the guest has %lld bytes of memory, and %lld are free", pool.name,
	        (long long)shot->call->plan.row.memory_bytes, (long long)room.available_bytes);
	return err_numbers(e, "{\"asked_bytes\":%lld,\"free_bytes\":%lld}",
	        (long long)shot->call->plan.row.memory_bytes, (long long)room.available_bytes);
}

static int build_xml(struct shot *shot, char **ret_xml, struct err *e)
{
	char *path CLEANUP(cleanup_free) = NULL;
	struct domain_overlay *overlays CLEANUP(cleanup_free) =
	        xcalloc(shot->disks.len + 1, sizeof(*overlays));
	int rc = shot->row.memory_file ? snapshot_memory_path(shot->db, &shot->row, &path, e) : 0;
	for (size_t i = 0; i < shot->disks.len; i++)
		overlays[i] = (struct domain_overlay){
		        .disk = shot->disks.items[i].disk, .source = shot->overlays[i].sources[0]};
	return rc < 0 ? rc
	              : domain_xml_build_snapshot(
	                        overlays, shot->disks.len, path, shot->info.live_xml, ret_xml, e);
}

/* The new layers stand on the recorded ones, so QEMU must, too. */
static int check_top(struct shot *shot, size_t i, struct err *e)
{
	const struct vm_plan *plan = &shot->call->plan;
	const struct snapshot_disk *disk = &shot->disks.items[i];
	const struct layer_chain *chain = vm_plan_chain(plan, disk->disk);
	char *top CLEANUP(cleanup_free) = NULL;
	int rc = snapshot_find_top(&shot->info, disk->disk, shot->driver, shot->c, &top, e);
	if (rc < 0 || !top || !chain || str_equal(top, chain->paths[0]))
		return rc;
	return snapshot_refuse_drift(plan->row.name, disk->disk, (char *[]){top, NULL}, chain, e);
}

static int take(struct shot *shot, struct err *e)
{
	char *xml CLEANUP(cleanup_free) = NULL;
	unsigned flags = shot->row.memory_file ? SNAPSHOT_LIVE : SNAPSHOT_DISK_ONLY;
	if (!shot->driver->snapshot_create)
		return err_set(e, ERR_UNSUPPORTED, "the host's hypervisor takes no snapshots");
	if (shot->disks.len == 0 && !shot->row.memory_file)
		return 0; /* nothing of it is in motion */
	int rc = 0;
	for (size_t i = 0; i < shot->disks.len && rc == 0; i++)
		rc = check_top(shot, i, e);
	if (rc == 0)
		rc = build_xml(shot, &xml, e);
	if (rc == 0)
		rc = shot->driver->snapshot_create(shot->c, shot->call->vm_id, xml, flags, e);
	return rc < 0 ? explain_memory(shot, rc, e) : 0;
}

/* The plan gets the new layers on top; called again, it is as it was. */
static void swap_chains(struct shot *shot)
{
	struct vm_plan *plan = &shot->call->plan;
	for (size_t i = 0; i < shot->disks.len; i++)
		for (size_t j = 0; j < plan->n_volumes; j++)
			if (shot->overlays[i].len > 0 &&
			        str_equal(plan->volumes[j].id, shot->disks.items[i].volume_id)) {
				struct layer_chain before = plan->chains[j];
				plan->chains[j] = shot->overlays[i];
				shot->overlays[i] = before;
			}
}

static int define_recorded(struct shot *shot, struct err *e)
{
	const struct vm_plan *plan = &shot->call->plan;
	return vm_domain_define(plan, &plan->spec, &shot->call->platform, shot->driver, shot->c, e);
}

static int define(struct shot *shot, struct err *e)
{
	swap_chains(shot);
	int rc = define_recorded(shot, e);
	swap_chains(shot);
	return rc;
}

/*
 * Of a VM that was started meanwhile all disks are on the new layers, or none is: then it writes where the snapshot would
 * be, and is taken as one that runs.
 */
static int check_started(struct shot *shot, struct err *e)
{
	struct domain_info info CLEANUP(domain_info_done) = {0};
	int rc = shot->driver->get_domain(shot->c, shot->call->vm_id, &info, e);
	if (rc < 0 || !snapshot_has_process(&info))
		return rc;
	domain_info_done(&shot->info);
	shot->info = info;
	info = (struct domain_info){0};
	bool switched = false;
	rc = has_switched(shot, &switched, e);
	shot->call->again = rc == 0 && !switched;
	return rc;
}

static void note_memory_size(struct shot *shot)
{
	struct pool_access pool CLEANUP(pool_access_done) = {0};
	struct pool_info room;
	struct volume_info file CLEANUP(volume_info_done) = {0};
	if (!shot->row.memory_file ||
	        pool_access_load(shot->db, shot->row.memory_pool_id, &pool, NULL) < 0 ||
	        shot->driver->pool_info(shot->c, pool.libvirt_name, &room, NULL) < 0 ||
	        shot->driver->volume_get(
	                shot->c, pool.libvirt_name, shot->row.memory_file, &file, NULL) < 0)
		return;
	json_object_set_new(shot->call->input, "memory_bytes", json_integer(file.allocation_bytes));
}

/* What it is in the end: the guest may have come or gone since it was decided. */
static int note_kind(struct shot *shot, struct err *e)
{
	bool runs = snapshot_has_process(&shot->info);
	enum snapshot_kind kind = shot->row.kind;
	if (kind == SNAPSHOT_MEMORY && !runs)
		return err_set(e, ERR_WRONG_STATE, "VM %s stopped before its memory could be saved",
		        shot->call->plan.row.name);
	if (kind != SNAPSHOT_MEMORY)
		kind = runs ? SNAPSHOT_DISK : SNAPSHOT_STOPPED;
	/* A group pauses its members for the moment. */
	bool is_ours = json_object_get(shot->call->input, "group") != NULL &&
	               shot->row.power == POWER_RUNNING;
	if (is_ours && runs && shot->info.state != DOMAIN_PAUSED &&
	        !json_is_true(json_object_get(shot->call->input, "quiesce")))
		return err_set(e, ERR_WRONG_STATE,
		        "VM %s was resumed by someone else: the group would not show one moment",
		        shot->call->plan.row.name);
	bool is_paused = shot->info.state == DOMAIN_PAUSED && !is_ours;
	enum vm_power power = !runs ? POWER_STOPPED : is_paused ? POWER_PAUSED : POWER_RUNNING;
	json_object_set_new(shot->call->input, "kind", json_integer(kind));
	json_object_set_new(shot->call->input, "power", json_integer(power));
	return 0;
}

static int switch_over(struct shot *shot, struct err *e)
{
	bool done = false;
	int rc = has_switched(shot, &done, e);
	if (rc < 0 || done)
		return rc;
	rc = note_kind(shot, e);
	if (rc < 0 || !snapshot_has_process(&shot->info))
		return rc;
	if (shot->row.memory_file)
		rc = is_under_way(shot, &shot->call->again, e);
	return rc < 0 || shot->call->again ? rc : take(shot, e);
}

int snapshot_take_switch(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	struct shot shot CLEANUP(shot_done) = {.call = call, .driver = driver, .c = c};
	int rc = load_shot(&shot, e);
	if (rc == 0)
		rc = switch_over(&shot, e);
	if (rc < 0 || call->again)
		return rc;
	bool ran = snapshot_has_process(&shot.info);
	rc = define(&shot, e);
	if (rc == 0 && !ran)
		rc = check_started(&shot, e);
	if (rc < 0 || call->again)
		return rc;
	note_memory_size(&shot);
	return vm_call_look(call, driver, c, e);
}

/* Whether the definition names layers that are about to go. */
static bool is_defined(const struct shot *shot)
{
	return shot->disks.len > 0 && shot->overlays[0].len > 0 && shot->info.xml &&
	       strstr(shot->info.xml, shot->overlays[0].sources[0].path);
}

/* Has it gone over, so that there is no way back? */
int snapshot_take_settle(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	bool switched = false;
	struct shot shot CLEANUP(shot_done) = {.call = call, .driver = driver, .c = c};
	int rc = load_shot(&shot, e);
	if (rc == ERR_NOT_FOUND) {
		err_clear(e);
		return 0; /* no snapshot, or no domain */
	}
	if (rc == 0)
		rc = has_switched(&shot, &switched, e);
	if (rc < 0)
		return rc;
	/* The definition may have gone over without the process, and a guest that has stopped may have run on it. */
	if (switched)
		rc = define(&shot, e);
	else if (is_defined(&shot))
		rc = define_recorded(&shot, e);
	json_object_set_new(call->input, "switched", json_boolean(switched));
	return rc;
}

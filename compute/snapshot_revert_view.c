/* SPDX-License-Identifier: Apache-2.0 */
/* What a revert changes: configuration, disks, layers. Any connection. */
#include "compute/snapshot_revert_view.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "base/vec.h"
#include "compute/snapshot_tree.h"
#include "compute/vm_domain.h"

void snapshot_revert_view_done(struct snapshot_revert_view *view)
{
	snapshot_row_done(&view->row);
	snapshot_disks_done(&view->disks);
	vm_row_done(&view->vm);
	vm_spec_done(&view->spec);
	free(view->spec_text);
	free(view->detached.items);
	free(view->attached.items);
}

struct moves {
	VEC(struct snapshot_move) v;
};

static void add_move(struct moves *moves, const char *volume_id, const char *disk)
{
	struct snapshot_move move = {0};
	uuid_text_copy(move.volume_id, volume_id);
	snprintf(move.disk, sizeof(move.disk), "%s", disk);
	VEC_PUSH(&moves->v, move);
}

/* ---- which volumes the VM has afterwards ---- */

static const struct snapshot_disk *find_disk(const struct snapshot_disks *disks, const char *name)
{
	for (size_t i = 0; i < disks->len; i++)
		if (str_equal(disks->items[i].disk, name))
			return &disks->items[i];
	return NULL;
}

static int check_free(
        const struct volume_row *volume, const char *vm_id, const char *disk, struct err *e)
{
	if (!volume->vm_id || str_equal(volume->vm_id, vm_id))
		return 0;
	err_set(e, ERR_IN_USE,
	        "disk %s had volume %s, which is disk %s of VM %s now: it must be free to come "
	        "back",
	        disk, volume->name, volume->disk, volume->vm_id);
	return err_hint(e, "remove it from that VM first");
}

/* The volume that the disk had: by the layer that is held, or of a CD-ROM by its name. */
static int find_volume(struct db *db, const struct snapshot_revert_view *view,
        const struct vm_disk *disk, struct volume_row *ret_volume, struct err *e)
{
	const struct snapshot_disk *held = find_disk(&view->disks, disk->name);
	if (held)
		return volume_store_get(db, held->volume_id, ret_volume, e);
	int rc = volume_store_find(db, disk->pool, view->vm.host_id, disk->volume, ret_volume, e);
	if (rc == ERR_NOT_FOUND) {
		err_set(e, ERR_REFERENCE,
		        "disk %s had volume %s of pool %s, which is no longer there", disk->name,
		        disk->volume, disk->pool);
		return err_hint(e, "a volume of that name must be there for the revert");
	}
	return rc;
}

static int add_wanted(struct db *db, const struct snapshot_revert_view *view,
        const struct vm_disk *disk, struct moves *wanted, struct moves *attached, struct err *e)
{
	struct volume_row volume CLEANUP(volume_row_done) = {0};
	int rc = find_volume(db, view, disk, &volume, e);
	if (rc == 0)
		rc = check_free(&volume, view->vm.id, disk->name, e);
	if (rc < 0)
		return rc;
	add_move(wanted, volume.id, disk->name);
	if (!volume.vm_id || !str_equal(volume.disk, disk->name))
		add_move(attached, volume.id, disk->name);
	return 0;
}

static bool is_wanted(const struct moves *wanted, const struct volume_row *volume)
{
	for (size_t i = 0; i < wanted->v.len; i++)
		if (str_equal(wanted->v.items[i].volume_id, volume->id) &&
		        str_equal(wanted->v.items[i].disk, volume->disk))
			return true;
	return str_equal(volume->disk, VM_SEED_DISK);
}

static int find_detached(struct db *db, const char *vm_id, const struct moves *wanted,
        struct moves *detached, struct err *e)
{
	struct volume_row *volumes = NULL;
	size_t n = 0;
	int rc = volume_store_of_vm(db, vm_id, &volumes, &n, e);
	for (size_t i = 0; i < n; i++) {
		if (rc == 0 && !is_wanted(wanted, &volumes[i]))
			add_move(detached, volumes[i].id, volumes[i].disk);
		volume_row_done(&volumes[i]);
	}
	free(volumes);
	return rc;
}

static int find_moves(struct db *db, struct snapshot_revert_view *view, struct err *e)
{
	struct moves wanted = {0}, attached = {0}, detached = {0};
	int rc = 0;
	for (size_t i = 0; i < view->spec.disks.len && rc == 0; i++) {
		const struct vm_disk *disk = vm_spec_disk(&view->spec, i);
		if (disk->volume)
			rc = add_wanted(db, view, disk, &wanted, &attached, e);
	}
	if (rc == 0)
		rc = find_detached(db, view->vm.id, &wanted, &detached, e);
	VEC_DONE(&wanted.v);
	view->attached = (struct snapshot_moves){.items = attached.v.items, .len = attached.v.len};
	view->detached = (struct snapshot_moves){.items = detached.v.items, .len = detached.v.len};
	return rc;
}

/* ---- loading ---- */

static enum vm_power choose_power(const struct snapshot_row *row, enum snapshot_power power)
{
	if (power == SNAPSHOT_POWER_STOPPED)
		return POWER_STOPPED;
	if (power == SNAPSHOT_POWER_RUNNING)
		return POWER_RUNNING;
	/* Without its memory a guest that was paused starts anew. */
	return row->kind != SNAPSHOT_MEMORY && row->power == POWER_PAUSED ? POWER_RUNNING
	                                                                  : row->power;
}

static int check_ready(const struct snapshot_row *row, struct err *e)
{
	if (row->state == SNAPSHOT_READY)
		return 0;
	return err_set(e, ERR_WRONG_STATE, "snapshot %s is %s", row->name,
	        row->state == SNAPSHOT_DELETING ? "being deleted" : "not complete");
}

static int check_depths(struct db *db, const struct snapshot_disks *disks, struct err *e)
{
	int rc = 0;
	for (size_t i = 0; i < disks->len && rc == 0; i++)
		rc = snapshot_check_depth(db, disks->items[i].disk, disks->items[i].layer_id, e);
	return rc;
}

static int load(struct db *db, const char *vm_id, const char *snapshot_id,
        struct snapshot_revert_view *view, struct err *e)
{
	int rc = vm_store_get(db, vm_id, &view->vm, e);
	if (rc == 0)
		rc = snapshot_store_get(db, vm_id, snapshot_id, &view->row, e);
	if (rc == 0)
		rc = check_ready(&view->row, e);
	if (rc == 0)
		rc = snapshot_store_disks(db, view->row.id, &view->disks, e);
	if (rc == 0)
		rc = check_depths(db, &view->disks, e);
	if (rc == 0)
		rc = snapshot_tree_merge_spec(
		        view->row.vm_spec, view->vm.spec, &view->spec_text, e);
	if (rc == 0)
		rc = vm_spec_load(view->spec_text, &view->spec, e);
	return rc < 0 ? rc : find_moves(db, view, e);
}

int snapshot_revert_view_load(struct db *db, const char *vm_id, const char *snapshot_id,
        enum snapshot_power power, struct snapshot_revert_view *ret_view, struct err *e)
{
	struct snapshot_revert_view view = {0};
	int rc = load(db, vm_id, snapshot_id, &view, e);
	if (rc < 0) {
		snapshot_revert_view_done(&view);
		return rc;
	}
	view.power = choose_power(&view.row, power);
	*ret_view = view;
	return 0;
}

/* ---- describing ---- */

/* What the layers that are given up hold: from the top down to the first that something else needs. */
static int count_discarded(
        struct db *db, const struct snapshot_disk *disk, int64_t *ret_bytes, struct err *e)
{
	struct volume_row volume CLEANUP(volume_row_done) = {0};
	char next[UUID_TEXT_SIZE];
	*ret_bytes = 0;
	int rc = volume_store_get(db, disk->volume_id, &volume, e);
	uuid_text_copy(next, rc < 0 ? "" : volume.layer_id);
	for (int depth = 0; rc == 0 && next[0] && depth < LAYER_CHAIN_MAX; depth++) {
		struct layer_row layer CLEANUP(layer_row_done) = {0};
		struct layer_list children CLEANUP(layer_list_done) = {0};
		bool held = false;
		rc = layer_store_get(db, next, &layer, e);
		if (rc == 0)
			rc = layer_store_children(db, next, &children, e);
		if (rc == 0)
			rc = snapshot_store_is_held(db, next, &held, e);
		if (rc < 0 || held || children.len > (depth > 0) || layer.image_id[0] ||
		        !str_equal(layer.volume_id, volume.id))
			break;
		*ret_bytes += layer.allocation_bytes;
		uuid_text_copy(next, layer.backing_id);
	}
	return rc;
}

static int describe_discarded(
        struct db *db, const struct snapshot_revert_view *view, json_t **ret_json, struct err *e)
{
	struct snapshot_row current CLEANUP(snapshot_row_done) = {0};
	char id[UUID_TEXT_SIZE], since[CLOCK_TEXT_SIZE];
	json_t *disks CLEANUP(cleanup_json) = json_object();
	int rc = snapshot_store_get_current(db, view->vm.id, id, e);
	if (rc == 0 && id[0])
		rc = snapshot_store_get(db, view->vm.id, id, &current, e);
	clock_format(rc == 0 && id[0] ? current.created_at : view->vm.created_at, since);
	for (size_t i = 0; i < view->disks.len && rc == 0; i++) {
		int64_t bytes = 0;
		rc = count_discarded(db, &view->disks.items[i], &bytes, e);
		json_object_set_new(disks, view->disks.items[i].disk, json_integer(bytes));
	}
	if (rc == 0)
		*ret_json = json_pack("{s:s, s:O}", "since", since, "disks", disks);
	return rc;
}

static int list_kept(struct db *db, const char *vm_id, json_t *names, struct err *e)
{
	struct snapshot_row *rows = NULL;
	size_t n = 0;
	int rc = snapshot_store_of_vm(db, vm_id, &rows, &n, e);
	for (size_t i = 0; i < n; i++) {
		if (rows[i].state == SNAPSHOT_READY)
			json_array_append_new(names, json_string(rows[i].name));
		snapshot_row_done(&rows[i]);
	}
	free(rows);
	return rc;
}

static json_t *list_moves(const struct snapshot_moves *moves)
{
	json_t *names = json_array();
	for (size_t i = 0; i < moves->len; i++)
		json_array_append_new(names, json_string(moves->items[i].disk));
	return names;
}

int snapshot_revert_view_describe(
        struct db *db, const struct snapshot_revert_view *view, json_t **ret_answer, struct err *e)
{
	json_t *discarded CLEANUP(cleanup_json) = NULL;
	json_t *kept CLEANUP(cleanup_json) = json_array();
	int rc = describe_discarded(db, view, &discarded, e);
	if (rc == 0)
		rc = list_kept(db, view->vm.id, kept, e);
	if (rc < 0)
		return rc;
	*ret_answer = json_pack("{s:{s:s, s:O, s:O}, s:o, s:{s:o, s:o}, s:s}", "branch", "from",
	        view->row.name, "discarded", discarded, "kept_snapshots", kept, "configuration",
	        snapshot_tree_changes(view->vm.spec, view->spec_text), "disks", "detached",
	        list_moves(&view->detached), "attached", list_moves(&view->attached), "power",
	        vm_power_names[view->power]);
	return 0;
}

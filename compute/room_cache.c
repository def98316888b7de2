/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the inventory from the rows, all of it or what is stale. */
#include "compute/room_cache.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/vec.h"
#include "compute/host_group_store.h"
#include "compute/host_store.h"
#include "compute/room_load.h"
#include "compute/room_store.h"
#include "compute/room_wish.h"

/* ---- marks ---- */

void room_marks_done(struct room_marks *marks)
{
	for (int what = 0; what < ROOM_MARKS; what++)
		map_free(marks->sets[what]);
	*marks = (struct room_marks){0};
}

void room_marks_add(struct room_marks *marks, enum room_mark what, const char *id)
{
	static char present;
	if (!marks->sets[what])
		marks->sets[what] = map_new();
	map_put(marks->sets[what], id, &present);
}

static int each_marked(struct room_cache *cache, enum room_mark what, struct db *db,
        int (*read)(struct room_cache *cache, struct db *db, const char *id, struct err *e),
        struct err *e)
{
	size_t cursor = 0;
	const char *id;
	void *value;
	int rc = 0;
	const struct map *set = cache->marks.sets[what];
	while (rc == 0 && set && map_next(set, &cursor, &id, &value))
		rc = read(cache, db, id, e);
	return rc;
}

/* ---- groups ---- */

static void put_group(struct inventory *inventory, const struct host_group_row *row)
{
	const struct host_group_spec *spec = &row->spec;
	const struct inventory_group group = {
	        .id = row->id,
	        .name = spec->name,
	        .mode = (enum overcommit_mode)spec->overcommit.mode,
	        .cpu_ratio = spec->overcommit.cpu_ratio,
	        .memory_ratio = spec->overcommit.memory_ratio,
	        .reserve_memory_bytes = spec->host_reserve.memory_bytes,
	        .reserve_cpu_percent = spec->host_reserve.cpu_percent,
	        .policy = (enum placement_policy)spec->placement.policy,
	        .survive_host_loss = spec->placement.survive_host_loss,
	};
	inventory_put_group(inventory, &group);
}

static int read_group(struct room_cache *cache, struct db *db, const char *id, struct err *e)
{
	struct host_group_row row CLEANUP(host_group_row_done) = {0};
	int rc = host_group_store_get(db, id, &row, e);
	if (rc == 0)
		put_group(cache->inventory, &row);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* Last, when its hosts are gone from it. */
static int drop_group(struct room_cache *cache, struct db *db, const char *id, struct err *e)
{
	struct host_group_row row CLEANUP(host_group_row_done) = {0};
	int rc = host_group_store_get(db, id, &row, e);
	if (rc == ERR_NOT_FOUND)
		inventory_remove_group(cache->inventory, id);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int on_group(void *arg, const struct host_group_row *row)
{
	put_group(arg, row);
	return 0;
}

static int read_groups(struct inventory *inventory, struct db *db, struct err *e)
{
	const struct db_page all = {.where = "", .order = "", .limit = INT32_MAX};
	return host_group_store_list(db, &all, on_group, inventory, e);
}

/* ---- hosts ---- */

static int read_host(struct room_cache *cache, struct db *db, const char *id, struct err *e)
{
	struct host_row row CLEANUP(host_row_done) = {0};
	struct room_pools pools CLEANUP(room_pools_done) = {0};
	int rc = host_store_get(db, id, &row, e);
	if (rc == ERR_NOT_FOUND) {
		inventory_remove_host(cache->inventory, id);
		return 0;
	}
	if (rc == 0)
		rc = room_pools_load(db, &pools, e);
	return rc < 0 ? rc : room_load_host(db, cache->inventory, &row, &pools, e);
}

struct host_ids {
	VEC(char *) items; /* owned */
};

static void cleanup_ids(struct host_ids *ids)
{
	VEC_FOR_EACH (&ids->items, id)
		free(*id);
	VEC_DONE(&ids->items);
}

static void on_host(void *arg, const struct host_row *row)
{
	struct host_ids *ids = arg;
	VEC_PUSH(&ids->items, xstrdup(row->id));
}

static int read_hosts(struct inventory *inventory, struct db *db, struct err *e)
{
	struct host_ids ids CLEANUP(cleanup_ids) = {0};
	struct room_pools pools CLEANUP(room_pools_done) = {0};
	int rc = room_pools_load(db, &pools, e);
	if (rc == 0)
		rc = host_store_each(db, on_host, &ids, e);
	for (size_t i = 0; rc == 0 && i < ids.items.len; i++) {
		struct host_row row CLEANUP(host_row_done) = {0};
		rc = host_store_get(db, ids.items.items[i], &row, e);
		if (rc == 0)
			rc = room_load_host(db, inventory, &row, &pools, e);
	}
	return rc;
}

/* ---- VMs ---- */

struct entries {
	struct inventory *inventory;
	struct err *e;
	int rc;
};

static void on_entry(void *arg, const struct room_entry *entry)
{
	struct entries *entries = arg;
	struct room_rules rules CLEANUP(room_rules_done) = {0};
	if (entries->rc == 0)
		entries->rc = room_rules_load(entry->placement, &rules, entries->e);
	if (entries->rc < 0)
		return;
	const struct inventory_vm vm = {
	        .id = entry->vm_id,
	        .name = entry->name,
	        .host_id = entry->host_id,
	        .labels = entry->labels,
	        .rules = rules.rules,
	        .reservation = entry->held,
	        .is_managed = entry->is_managed,
	};
	inventory_put_vm(entries->inventory, &vm);
}

static int read_entries(
        struct inventory *inventory, struct db *db, const char *vm_id, struct err *e)
{
	struct entries entries = {.inventory = inventory, .e = e};
	int rc = room_store_each_entry(db, vm_id, on_entry, &entries, e);
	return rc < 0 ? rc : entries.rc;
}

static int read_vm(struct room_cache *cache, struct db *db, const char *id, struct err *e)
{
	inventory_remove_vm(cache->inventory, id, NULL);
	return read_entries(cache->inventory, db, id, e);
}

/* ---- all together ---- */

static int read_all(struct room_cache *cache, struct db *db, struct err *e)
{
	inventory_free(cache->inventory);
	cache->inventory = inventory_new();
	int rc = read_groups(cache->inventory, db, e);
	if (rc == 0)
		rc = read_hosts(cache->inventory, db, e);
	return rc < 0 ? rc : read_entries(cache->inventory, db, NULL, e);
}

static int read_marked(struct room_cache *cache, struct db *db, struct err *e)
{
	int rc = each_marked(cache, ROOM_MARK_GROUP, db, read_group, e);
	if (rc == 0)
		rc = each_marked(cache, ROOM_MARK_HOST, db, read_host, e);
	if (rc == 0)
		rc = each_marked(cache, ROOM_MARK_GROUP, db, drop_group, e);
	return rc < 0 ? rc : each_marked(cache, ROOM_MARK_VM, db, read_vm, e);
}

void room_cache_done(struct room_cache *cache)
{
	inventory_free(cache->inventory);
	room_marks_done(&cache->marks);
	*cache = (struct room_cache){0};
}

int room_cache_refresh(struct room_cache *cache, struct db *db, struct err *e)
{
	bool all = !cache->inventory || cache->marks.all;
	if (all || cache->marks.sets[ROOM_MARK_HOST])
		cache->busy_version = 0; /* a host that is read again is not known to be busy */
	int rc = all ? read_all(cache, db, e) : read_marked(cache, db, e);
	if (rc == 0 && cache->busy)
		room_busy_apply(
		        cache->busy, &cache->busy_version, cache->inventory, clock_now_ms());
	room_marks_done(&cache->marks);
	cache->marks.all = rc < 0;
	return rc;
}

/* ---- comparing ---- */

static bool same_hosts(const struct inventory *a, const struct inventory *b)
{
	size_t cursor = 0;
	const struct inventory_host *host;
	while ((host = inventory_next_host(a, &cursor))) {
		const struct inventory_host *other = inventory_host(b, host->id);
		const struct holding held = inventory_held(a, host->id);
		const struct holding other_held = inventory_held(b, host->id);
		if (!other || other->state != host->state ||
		        other->memory_bytes != host->memory_bytes ||
		        strcmp(other->group_id, host->group_id) != 0 ||
		        memcmp(&held, &other_held, sizeof(held)) != 0)
			return false;
	}
	return true;
}

static bool same_vms(
        const struct inventory *a, const struct inventory *b, const struct inventory_host *host)
{
	size_t cursor = 0;
	const struct inventory_vm *vm;
	while ((vm = inventory_next_vm(a, host->id, &cursor))) {
		const struct inventory_vm *other = inventory_vm(b, vm->id, host->id);
		if (!other || strcmp(other->name, vm->name) != 0 ||
		        other->labels.len != vm->labels.len || other->rules.len != vm->rules.len ||
		        other->reservation.state != vm->reservation.state)
			return false;
	}
	return true;
}

bool room_cache_equals(const struct room_cache *a, const struct room_cache *b)
{
	size_t cursor = 0;
	const struct inventory_host *host;
	if (inventory_count_hosts(a->inventory) != inventory_count_hosts(b->inventory) ||
	        inventory_count_vms(a->inventory) != inventory_count_vms(b->inventory) ||
	        !same_hosts(a->inventory, b->inventory))
		return false;
	while ((host = inventory_next_host(a->inventory, &cursor)))
		if (!same_vms(a->inventory, b->inventory, host))
			return false;
	return true;
}

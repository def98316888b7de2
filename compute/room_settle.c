/* SPDX-License-Identifier: Apache-2.0 */
/* Which CPUs are left to the VMs of a host that own none, and to the emulators of those that do. */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "base/vec.h"
#include "compute/room.h"
#include "compute/room_cpus.h"
#include "compute/room_store.h"
#include "db/change_feed.h"

void room_touch_cpus(struct db *db, const char *host_id)
{
	change_touch(db, ROOM_CPUS_CHANGED, host_id);
}

int room_doubt_cpus(
        struct db *db, const char *vm_id, const char *host_id, enum room_doubt doubt, struct err *e)
{
	int rc = room_store_make_cpus_due(db, vm_id, host_id, doubt == ROOM_DOUBT_PINNED, e);
	if (rc == 0 && db_changes(db) > 0)
		room_touch_cpus(db, host_id);
	return rc;
}

int room_doubt_host_cpus(struct db *db, const char *host_id, struct err *e)
{
	return room_store_make_all_cpus_due(db, host_id, e);
}

static void touch_host(void *arg, const char *host_id)
{
	room_touch_cpus(arg, host_id);
}

int room_forget_cpus(struct db *db, const char *vm_id, struct err *e)
{
	return room_store_each_pinned_host(db, vm_id, touch_host, db, e);
}

void room_moves_done(struct room_moves *moves)
{
	VEC_FOR_EACH (moves, move)
		free(move->cpus);
	VEC_DONE(moves);
}

int room_note_moved(struct db *db, const char *host_id, const struct room_move *move, struct err *e)
{
	return room_store_clear_cpus_due(db, move->vm_id, host_id, move->cpus, move->cpus_due, e);
}

/* ---- what is held ---- */

struct settling {
	VEC(struct room_row) guests; /* ours; strings owned */
	struct cpu_set owned;        /* by any */
	bool has_pins;               /* someone is pinned, or wants CPUs of its own */
};

static void cleanup_settling(struct settling *s)
{
	VEC_FOR_EACH (&s->guests, row)
		room_row_done(row);
	VEC_DONE(&s->guests);
}

static void add_owned(struct settling *s, const char *cpus)
{
	struct cpu_layout layout = {0};
	if (room_cpus_parse(cpus, &layout) && layout.vcpus > 0)
		cpu_set_merge(&s->owned, &layout.cpus);
}

static void add_guest(void *arg, const struct room_row *row, bool is_ours)
{
	struct settling *s = arg;
	s->has_pins = s->has_pins || row->cpus || row->cpus_due > 0 || row->held.dedicated;
	add_owned(s, row->cpus);
	if (!is_ours)
		return;
	struct room_row guest = *row;
	guest.cpus = row->cpus ? xstrdup(row->cpus) : NULL;
	VEC_PUSH(&s->guests, guest);
}

/* ---- where each belongs ---- */

static int set_cpus(
        struct db *db, struct room_row *row, const struct cpu_layout *layout, struct err *e)
{
	free(row->cpus);
	row->cpus = room_cpus_format(layout);
	row->cpus_due = row->cpus ? row->cpus_due + 1 : 0;
	return room_store_set_cpus(db, row, e);
}

/* One that others started, say, owns CPUs as well, if enough are left; else it floats until its next start. */
static int give_cpus(struct db *db, struct settling *s, const struct inventory_host *host,
        struct room_row *row, struct err *e)
{
	const struct cpu_layout_request request = {
	        .pinning = CPU_PINNING_DEDICATED,
	        .vcpus = reservation_most_vcpus(&row->held),
	        .memory_bytes = row->held.size_bytes,
	        .dedicated = s->owned,
	        .shared_min = 1,
	};
	struct cpu_layout layout = {0};
	struct err ignored = {0};
	if (!row->held.dedicated || row->cpus ||
	        cpu_layout_choose(&host->topology, &request, &layout, &ignored) < 0)
		return 0;
	cpu_set_merge(&s->owned, &layout.cpus);
	return set_cpus(db, row, &layout, e);
}

static int settle_guest(struct db *db, const struct settling *s, const struct inventory_host *host,
        struct room_row *row, struct err *e)
{
	struct cpu_layout layout = {0};
	struct cpu_set others = s->owned;
	if (!room_cpus_parse(row->cpus, &layout))
		layout.is_pinned = row->cpus_due > 0; /* it does not float until it is told to */
	if (layout.vcpus > 0)
		cpu_set_subtract(&others, &layout.cpus);
	cpu_layout_follow(&host->topology, &others, &layout);
	char *cpus CLEANUP(cleanup_free) = room_cpus_format(&layout);
	if (!str_equal(cpus, row->cpus))
		return set_cpus(db, row, &layout, e);
	bool is_free = cpu_set_count(&layout.nodes) == 0 && cpu_set_count(&s->owned) == 0;
	if (!row->cpus || !is_free || row->cpus_due > 0)
		return 0;
	layout.is_pinned =
	        false; /* it was told: it runs on all CPUs, as one that was never pinned */
	return set_cpus(db, row, &layout, e);
}

static void note_due(const struct room_row *row, struct room_moves *due)
{
	if (row->cpus_due == 0 || !row->cpus)
		return;
	struct room_move move = {.cpus = xstrdup(row->cpus),
	        .cpus_due = row->cpus_due,
	        .has_process = row->held.state == RESERVATION_RUNNING};
	uuid_text_copy(move.vm_id, row->vm_id);
	VEC_PUSH(due, move);
}

int room_settle_cpus(struct db *db, struct room *room, const char *host_id,
        struct room_moves *ret_due, struct err *e)
{
	struct settling s CLEANUP(cleanup_settling) = {.has_pins = false};
	const struct inventory_host *host = NULL;
	int rc = room_store_each_on_host(db, host_id, add_guest, &s, e);
	if (rc == 0 && s.has_pins)
		rc = room_find_host(db, room, host_id, &host, e);
	if (rc < 0 || !host || host->topology.n_nodes == 0)
		return rc;
	VEC_FOR_EACH (&s.guests, row)
		if (rc == 0)
			rc = give_cpus(db, &s, host, row, e);
	VEC_FOR_EACH (&s.guests, row)
		if (rc == 0)
			rc = settle_guest(db, &s, host, row, e);
	VEC_FOR_EACH (&s.guests, row)
		note_due(row, ret_due);
	return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inventory as a copy of rows. Whatever a job touches is marked (db/change_feed.h) and read again before the next
 * decision; after a rollback, too, because the job may have read what it wrote. So the copy cannot differ from the rows.
 *
 * A cache has one owner at a time: the writer, or the reader that holds the lock of the other one (room.c).
 */
#pragma once

#include "base/map.h"
#include "compute/room_busy.h"
#include "db/db.h"
#include "scheduler/inventory.h"

enum room_mark { ROOM_MARK_GROUP, ROOM_MARK_HOST, ROOM_MARK_VM, ROOM_MARKS };

/* What is stale: sets of ids. */
struct room_marks {
	struct map *sets[ROOM_MARKS]; /* owned; NULL: empty */
	bool all;
};
void room_marks_done(struct room_marks *marks);
void room_marks_add(struct room_marks *marks, enum room_mark what, const char *id);

struct room_cache {
	struct inventory *inventory; /* owned; NULL: not read yet */
	struct room_marks marks;
	struct room_busy *busy; /* borrowed; NULL: how busy hosts are is not known */
	int64_t busy_version;   /* of what the inventory has of it; 0: nothing */
};
void room_cache_done(struct room_cache *cache);
/* Whether both say the same of every host and VM. */
bool room_cache_equals(const struct room_cache *a, const struct room_cache *b);
/* Reads all of it, or what is marked. After an error everything will be read again. */
int room_cache_refresh(struct room_cache *cache, struct db *db, struct err *e);

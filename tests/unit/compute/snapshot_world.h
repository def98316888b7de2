/* SPDX-License-Identifier: Apache-2.0 */
/* A database with one VM, its disk and layers, for tests of snapshots. */
#pragma once

#include "tests/unit/db/temp_db.h"

#include "base/alloc.h"
#include "compute/snapshot_internal.h"

/* Ids that read well: the last digits tell. */
#define ID(n)  "00000000-0000-7000-8000-0000000000" n
#define HOST   ID("01")
#define GROUP  ID("02")
#define POOL   ID("03")
#define BLOCKS ID("04")
#define VM     ID("10")
#define VOLUME ID("20")
#define BASE   ID("30")
#define TOP    ID("31")
#define SIDE   ID("32")
#define S1     ID("41")
#define S2     ID("42")
#define S3     ID("43")

struct world {
	struct temp_db temp;
	struct db *db;
	struct err e;
};

#define ok(call) assert_int_equal((call), 0)

static inline void exec(struct world *w, const char *sql)
{
	must(db_exec(w->db, sql, &w->e), &w->e);
}

/* A VM with one disk: layers BASE <- TOP, written through TOP. */
static const char *const rows =
        "PRAGMA foreign_keys = OFF;"
        "INSERT INTO host_group (id, name, spec, created_at) VALUES ('" GROUP "', 'g', '{}', 0);"
        "INSERT INTO host (id, name, uri, access, host_group, accelerator, spec, state, "
        "state_since, "
        "listed, created_at) VALUES ('" HOST "', 'h1', 'fake:///x', 'local', '" GROUP
        "', 'auto', '{}', 'ok', 0, 1, 0);"
        "INSERT INTO pool (id, name, kind, path, created_at) VALUES ('" POOL
        "', 'p', 'dir', '/p', 0);"
        "INSERT INTO vm (id, name, host_id, managed, spec, desired_power, power, power_since, "
        "vcpus, "
        "memory_bytes, created_at) VALUES ('" VM "', 'g', '" HOST
        "', 1, '{\"disks\":{\"d\":{\"kind\":\"disk\",\"pool\":\"p\",\"volume\":\"v\"}}}', "
        "'stopped', "
        "'stopped', 100, 1, 134217728, 0);"
        "INSERT INTO volume (id, name, pool_id, host_id, format, size_bytes, state, layer_id, "
        "vm_id, "
        "disk, created_at) VALUES ('" VOLUME "', 'v', '" POOL "', '" HOST
        "', 'qcow2', 1048576, 'ready', '" TOP "', '" VM "', 'd', 0);"
        "INSERT INTO layer (id, pool_id, host_id, file, format, size_bytes, backing_id, volume_id, "
        "state, allocation_bytes, created_at) VALUES "
        "('" BASE "', '" POOL "', '" HOST "', 'base', 'qcow2', 1048576, NULL, '" VOLUME
        "', 'ready', 100, 0),"
        "('" TOP "', '" POOL "', '" HOST "', 'top', 'qcow2', 1048576, '" BASE "', '" VOLUME
        "', 'ready', 10, 0);"
        "PRAGMA foreign_keys = ON;";

static inline int setup(void **state)
{
	struct world *w = xcalloc(1, sizeof(*w));
	temp_db_init(&w->temp);
	w->db = temp_db_open(&w->temp, DB_READ_WRITE);
	const char *at = rows;
	while (*at) { /* one statement at a time */
		const char *end = strchr(at, ';') + 1;
		char *one = xstrndup(at, (size_t)(end - at));
		exec(w, one);
		free(one);
		at = end;
	}
	*state = w;
	return 0;
}

static inline int teardown(void **state)
{
	struct world *w = *state;
	layer_set_max_chain_depth(16);
	db_close(w->db);
	temp_db_done(&w->temp);
	free(w);
	return 0;
}

static inline void add(struct world *w, const char *id, const char *name, const char *parent_id,
        const char *layer_id, int64_t created_at)
{
	const struct snapshot_insert row = {.id = id,
	        .vm_id = VM,
	        .name = name,
	        .description = "",
	        .parent_id = parent_id,
	        .vm_spec = "{}",
	        .kind = SNAPSHOT_STOPPED,
	        .power = POWER_STOPPED,
	        .created_at = created_at};
	must(snapshot_store_insert(w->db, &row, &w->e), &w->e);
	must(snapshot_store_add_disk(w->db, id, "d", VOLUME, layer_id, &w->e), &w->e);
	must(snapshot_store_set_state(w->db, id, SNAPSHOT_READY, &w->e), &w->e);
}

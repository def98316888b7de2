/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of pools. */
#include "storage/pool.h"

#include "base/clock.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "db/change_feed.h"
#include "storage/pool_store.h"
#include "storage/volume.h"

static const char *const kind_names[] = {"dir", NULL};

/* Described for readers of the API, written by pool_encode. */
#define READ_ONLY .flags = FIELD_READ_ONLY
static const struct field pool_field_list[] = {
        {.name = "id", .type = FIELD_STRING, READ_ONLY, .doc = "UUID"},
        {.name = "name", .type = FIELD_STRING, READ_ONLY, .doc = "Unique name"},
        {.name = "kind",
                .type = FIELD_ENUM,
                .names = kind_names,
                READ_ONLY,
                .doc = "dir: a directory on each host"},
        {.name = "path", .type = FIELD_STRING, READ_ONLY, .doc = "Where it is on the hosts"},
        {.name = "volumes", .type = FIELD_INT, READ_ONLY, .doc = "Volumes in it, on all hosts"},
        {.name = "created_at", .type = FIELD_TIME, READ_ONLY, .doc = "Time of creation"},
        {.name = "version", .type = FIELD_INT, READ_ONLY, .doc = "Counts changes"},
};
const struct field_table pool_fields = FIELD_TABLE("Pool", struct pool_row, pool_field_list);

void pool_encode(const struct pool_row *row, struct json_writer *w)
{
	json_object_begin(w);
	json_member_string(w, "id", row->id);
	json_member_string(w, "name", row->name);
	json_member_string(w, "kind", row->kind);
	json_member_string(w, "path", row->path);
	json_member_int(w, "volumes", row->volumes);
	json_member_time(w, "created_at", row->created_at);
	json_member_int(w, "version", row->version);
	json_object_end(w);
}

char *pool_libvirt_name(const char *name)
{
	return str_format("berth-%s", name);
}

int pool_ensure_default(struct db *db, const char *path, struct err *e)
{
	struct pool_row pool CLEANUP(pool_row_done) = {0};
	int rc = pool_store_get(db, POOL_DEFAULT_NAME, &pool, e);
	if (rc != ERR_NOT_FOUND)
		return rc;
	char id[UUID_TEXT_SIZE];
	uuid_make(id);
	rc = pool_store_insert(db, id, POOL_DEFAULT_NAME, "dir", path, clock_wall_ms(), e);
	if (rc < 0)
		return rc;
	struct change change = {
	        .kind = "pool", .event = "created", .object_id = id, .name = POOL_DEFAULT_NAME};
	return change_add(db, &change, e);
}

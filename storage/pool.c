/* SPDX-License-Identifier: Apache-2.0 */
/* The default pool. */
#include "storage/pool.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "db/change_feed.h"
#include "storage/pool_store.h"

int pool_ensure_default(struct db *db, const char *path, struct err *e)
{
	struct pool_row pool CLEANUP(pool_row_done) = {0};
	int rc = pool_store_get(db, POOL_DEFAULT_NAME, &pool, e);
	if (rc != ERR_NOT_FOUND)
		return rc;
	err_clear(e);
	char id[UUID_TEXT_SIZE];
	uuid_make(id);
	const struct pool_insert row = {
	        .id = id,
	        .name = POOL_DEFAULT_NAME,
	        .kind = "dir",
	        .path = path,
	        .spec = "{}",
	        .state = "ready",
	        .created_at = clock_wall_ms(),
	};
	rc = pool_store_insert(db, &row, e);
	if (rc < 0)
		return rc;
	struct change change = {
	        .kind = "pool", .event = "created", .object_id = id, .name = POOL_DEFAULT_NAME};
	return change_add(db, &change, e);
}

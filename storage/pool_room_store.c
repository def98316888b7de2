/* SPDX-License-Identifier: Apache-2.0 */
/* How much of a pool is given out. */
#include <jansson.h>

#include "base/cleanup.h"
#include "base/number.h"
#include "base/str.h"
#include "base/uuid.h"
#include "storage/pool_store.h"

/*
 * The volumes' sizes; the images' copies, which are files that never grow; and once each volume of another pool that has
 * layers here: it is being moved, or its overlays lie here. `and_layer` and `and_volume` narrow it to one host.
 */
#define PROVISIONED(and_volume, and_layer)                                                         \
	"SELECT (SELECT coalesce(sum(size_bytes), 0) FROM volume WHERE pool_id = ?1" and_volume    \
	") + (SELECT coalesce(sum(image.file_bytes), 0) FROM layer "                               \
	"JOIN image ON image.id = layer.image_id WHERE layer.pool_id = ?1" and_layer               \
	") + (SELECT coalesce(sum(bytes), 0) FROM (SELECT max(layer.size_bytes) AS bytes "         \
	"FROM layer JOIN volume ON volume.id = layer.volume_id "                                   \
	"WHERE layer.pool_id = ?1 AND layer.state <> 'deleting' "                                  \
	"AND volume.pool_id <> ?1" and_layer " GROUP BY volume.id))"
SQL(pool_provisioned, 0, PROVISIONED("", ""));
SQL(pool_provisioned_host, 0,
        PROVISIONED(" AND coalesce(host_id, '') = ?2", " AND coalesce(layer.host_id, '') = ?2"));
SQL(pool_growing, SQL_SCAN, /* of the operations that have not ended */
        "SELECT volume.id, volume.size_bytes, operation.input, volume.vm_id FROM operation "
        "JOIN volume ON volume.id = operation.target_id "
        "WHERE operation.ended_at = 0 AND operation.kind = 'volume.resize' "
        "AND (?1 IS NULL OR volume.pool_id = ?1) "
        "AND (?2 IS NULL OR coalesce(volume.host_id, '') = ?2) ORDER BY volume.id");

int pool_store_provisioned(
        struct db *db, const char *id, const char *host_id, int64_t *ret_bytes, struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	const struct sql_text *sql = host_id ? &pool_provisioned_host : &pool_provisioned;
	const struct sql_bind binds[] = {SQL_TEXT(id), SQL_TEXT(host_id)};
	int rc = db_find(db, sql, binds, host_id ? 2 : 1, &s, e);
	if (rc > 0)
		*ret_bytes = statement_int(s, 0);
	return rc < 0 ? rc : 0;
}

/* By how much a resize that has not ended makes its volume grow. */
static int64_t read_growth(struct statement *s)
{
	json_t *input CLEANUP(cleanup_json) = json_loads(statement_text(s, 2), 0, NULL);
	int64_t wanted = json_integer_value(json_object_get(input, "size_bytes"));
	int64_t has = statement_int(s, 1);
	return wanted > has ? wanted - has : 0;
}

int pool_store_each_growing(struct db *db, const char *pool_id, const char *host_id,
        int (*each)(void *arg, const struct pool_growing *growing, struct err *e), void *arg,
        struct err *e)
{
	struct statement *s CLEANUP(statement_done) = NULL;
	struct pool_growing growing = {0};
	const struct sql_bind binds[] = {SQL_TEXT(pool_id), SQL_TEXT(host_id)};
	int rc = db_query(db, &pool_growing, binds, 2, &s, e);
	while (rc >= 0 && (rc = statement_step(s, e)) > 0) {
		int64_t more = read_growth(s);
		if (str_equal(growing.volume_id, statement_text(s, 0))) {
			growing.more_bytes = int64_max(growing.more_bytes, more);
			continue;
		}
		if (growing.more_bytes > 0)
			rc = each(arg, &growing, e);
		const char *vm_id = statement_text(s, 3);
		uuid_text_copy(growing.volume_id, statement_text(s, 0));
		uuid_text_copy(growing.vm_id, vm_id ? vm_id : "");
		growing.more_bytes = more;
	}
	return rc == 0 && growing.more_bytes > 0 ? each(arg, &growing, e) : rc;
}

static int add_growth(void *total, const struct pool_growing *growing, struct err *e)
{
	(void)e;
	*(int64_t *)total += growing->more_bytes;
	return 0;
}

int pool_store_growing(
        struct db *db, const char *id, const char *host_id, int64_t *ret_bytes, struct err *e)
{
	*ret_bytes = 0;
	return pool_store_each_growing(db, id, host_id, add_growth, ret_bytes, e);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Pools that hold no files (LVM, SAN, Ceph), and the ones that hold what stands on their volumes. */
#include "base/cleanup.h"
#include "base/str.h"
#include "storage/pool.h"
#include "storage/pool_store.h"

static int refuse(const struct pool_row *pool, const char *name, const char *why, struct err *e)
{
	err_set(e, ERR_UNSUPPORTED,
	        "pool %s (%s) holds no files, and pool %s, where they would lie, %s", pool->name,
	        pool->kind, name, why);
	return err_hint(e, "name a directory or NAS in file_pool of pool %s", pool->name);
}

/* The pool that one without files names for them. */
static int load_file_pool(
        struct db *db, const struct pool_row *pool, struct pool_access *ret_files, struct err *e)
{
	struct pool_spec spec CLEANUP(pool_spec_done) = {0};
	int rc = pool_spec_load(pool->spec, pool->kind, pool->path, &spec, e);
	if (rc < 0)
		return rc;
	const char *name = spec.file_pool ? spec.file_pool : POOL_DEFAULT_NAME;
	rc = pool_access_load(db, name, ret_files, e);
	if (rc == ERR_NOT_FOUND)
		return refuse(pool, name, "is not there", e);
	if (rc == 0 && !pool_kind_makes_files(ret_files->kind))
		return refuse(pool, name, "holds none either", e);
	return rc;
}

int pool_choose_files(struct db *db, const char *pool, const char *host_id,
        struct pool_access *ret_files, struct err *e)
{
	struct pool_row row CLEANUP(pool_row_done) = {0};
	int rc = pool_store_get(db, pool, &row, e);
	if (rc < 0)
		return rc;
	rc = pool_kind_makes_files(pool_kind_find(row.kind))
	             ? pool_access_load(db, row.id, ret_files, e)
	             : load_file_pool(db, &row, ret_files, e);
	if (rc == 0)
		rc = pool_check_host(db, ret_files->id, host_id, e);
	if (rc < 0)
		pool_access_done(ret_files);
	return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Pools that hold no files (LVM, SAN, Ceph), and the ones that hold what stands on their volumes. */
#include "base/cleanup.h"
#include "base/str.h"
#include "storage/pool.h"
#include "storage/pool_store.h"

static int refuse(
        const struct pool_access *access, const char *name, const char *why, struct err *e)
{
	err_set(e, ERR_UNSUPPORTED,
	        "pool %s (%s) holds no files, and pool %s, where they would lie, %s", access->name,
	        access->kind->name, name, why);
	return err_hint(e, "name a directory or NAS in file_pool of pool %s", access->name);
}

int pool_choose_files(struct db *db, const struct pool_access *access, const char *host_id,
        struct pool_access *ret_files, struct err *e)
{
	const char *name = access->name;
	if (!pool_kind_makes_files(access->kind))
		name = access->spec.file_pool ? access->spec.file_pool : POOL_DEFAULT_NAME;
	int rc = pool_access_load(db, name, ret_files, e);
	if (rc == ERR_NOT_FOUND)
		return refuse(access, name, "is not there", e);
	if (rc == 0 && !pool_kind_makes_files(ret_files->kind))
		rc = refuse(access, name, "holds none either", e);
	if (rc == 0)
		rc = pool_check_host(db, ret_files->id, host_id, e);
	if (rc < 0)
		pool_access_done(ret_files);
	return rc;
}

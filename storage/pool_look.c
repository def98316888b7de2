/* SPDX-License-Identifier: Apache-2.0 */
/* A look at a pool: made known to its host, its space read, its volumes listed and compared. Lane threads. */
#include "storage/pool_look.h"

#include "base/cleanup.h"
#include "base/str.h"
#include "db/reader.h"
#include "storage/pool_preflight.h"

/* Lane thread. The rows come first: what is recorded then is there when the listing begins. */
static int compare_volumes(struct pool_look *look, struct db *db, const struct pool_access *access,
        const struct driver *driver, struct driver_connection *c, struct err *e)
{
	struct drift_layers layers CLEANUP(drift_layers_done) = {0};
	struct volume_info_list found CLEANUP(volume_info_list_done) = {0};
	int rc = pool_monitor_store_layers(
	        db, access, access->shared ? NULL : look->pair.host_id, &layers, e);
	if (rc == 0)
		rc = driver->volume_list(c, access->libvirt_name, &found, e);
	if (rc == 0)
		pool_drift_judge(&layers, access->kind, &found, &look->verdicts);
	return rc;
}

static int load_access(
        struct pool_look *look, struct db *db, struct pool_access *access, struct err *e)
{
	struct pool_row row CLEANUP(pool_row_done) = {0};
	char *secret = NULL;
	int rc = pool_store_get(db, look->pair.pool_id, &row, e);
	if (rc == ERR_NOT_FOUND || (rc == 0 && !str_equal(row.state, "ready"))) {
		look->is_gone = true;
		err_clear(e);
		return 0;
	}
	if (rc == 0)
		rc = pool_store_get_secret(db, row.id, &secret, e);
	return rc < 0 ? rc : pool_access_fill(access, &row, secret, e);
}

static int look_at(struct pool_look *look, struct db *db, const struct pool_access *access,
        const struct driver *driver, struct driver_connection *c, struct err *e)
{
	look->warn_percent = access->spec.warn_percent;
	if (!driver->pool_info)
		return err_set(e, ERR_UNSUPPORTED,
		        "the host's hypervisor connection serves no storage pools");
	int rc = pool_access_ensure(access, driver, c, e);
	if (rc == 0)
		rc = driver->pool_info(c, access->libvirt_name, &look->info, e);
	look->wants_list &= driver->volume_list != NULL;
	if (rc == 0 && look->wants_list)
		rc = compare_volumes(look, db, access, driver, c, e);
	if (rc < 0)
		pool_explain(access, e);
	return rc;
}

int pool_look_run(
        const struct driver *driver, struct driver_connection *c, void *arg, struct err *e)
{
	struct pool_look *look = arg;
	struct pool_access access CLEANUP(pool_access_done) = {0};
	struct db *db;
	atomic_store(&look->has_begun, true);
	int rc = readers_get(look->readers, &db, e);
	if (rc == 0)
		rc = load_access(look, db, &access, e);
	if (rc < 0 || look->is_gone)
		return rc;
	return look_at(look, db, &access, driver, c, e);
}

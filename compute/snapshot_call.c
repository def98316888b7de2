/* SPDX-License-Identifier: Apache-2.0 */
/* What steps of snapshots do on hosts: files of overlays, memory files, looking at chains. Lane threads. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "compute/snapshot_internal.h"
#include "db/reader.h"

int snapshot_call_load(struct vm_call *call, struct db **ret_db, struct snapshot_row *ret_row,
        struct snapshot_disks *ret_disks, struct err *e)
{
	int rc = readers_get(call->readers, ret_db, e);
	if (rc == 0)
		rc = snapshot_store_get(
		        *ret_db, call->vm_id, snapshot_id_of(call->input), ret_row, e);
	return rc < 0 ? rc : snapshot_store_disks(*ret_db, ret_row->id, ret_disks, e);
}

/* ---- overlays ---- */

typedef int (*chain_fn)(const struct layer_chain *chain, const struct driver *driver,
        struct driver_connection *c, struct err *e);

static int create_top(const struct layer_chain *chain, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	return layer_chain_create_top(chain, /* preallocate= */ false, driver, c, e);
}

static int with_overlay(struct db *db, const struct snapshot_disk *disk, chain_fn act,
        const struct driver *driver, struct driver_connection *c, struct err *e)
{
	char id[UUID_TEXT_SIZE];
	struct layer_chain chain CLEANUP(layer_chain_done) = {0};
	int rc = snapshot_find_overlay(db, disk->layer_id, disk->volume_id, id, e);
	if (rc < 0 || !id[0])
		return rc;
	rc = layer_chain_load(db, id, &chain, e);
	if (rc == 0)
		rc = act(&chain, driver, c, e);
	return rc < 0 ? err_prefix(e, "disk %s", disk->disk) : 0;
}

static int with_overlays(struct vm_call *call, chain_fn act, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	struct db *db;
	struct snapshot_row row CLEANUP(snapshot_row_done) = {0};
	struct snapshot_disks disks CLEANUP(snapshot_disks_done) = {0};
	int rc = snapshot_call_load(call, &db, &row, &disks, e);
	for (size_t i = 0; i < disks.len && rc == 0; i++)
		rc = with_overlay(db, &disks.items[i], act, driver, c, e);
	return rc;
}

int snapshot_call_make_overlays(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	return with_overlays(call, create_top, driver, c, e);
}

int snapshot_call_remove_overlays(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	return with_overlays(call, layer_chain_delete_top, driver, c, e);
}

/* ---- memory files ---- */

int snapshot_memory_path(
        struct db *db, const struct snapshot_row *row, char **ret_path, struct err *e)
{
	struct pool_access pool CLEANUP(pool_access_done) = {0};
	struct domain_source source;
	int rc = pool_access_load(db, row->memory_pool_id, &pool, e);
	if (rc == 0)
		pool_access_source(&pool, row->memory_file, "raw", &source, ret_path);
	return rc;
}

int snapshot_remove_memory(struct db *db, const struct snapshot_row *row,
        const struct driver *driver, struct driver_connection *c, struct err *e)
{
	struct pool_access pool CLEANUP(pool_access_done) = {0};
	struct pool_info unused;
	if (!row->memory_file)
		return 0;
	int rc = pool_access_load(db, row->memory_pool_id, &pool, e);
	if (rc == 0)
		rc = pool_access_ensure(&pool, driver, c, e);
	/* It came into the directory behind the pool's back: only a refreshed pool knows it. */
	if (rc == 0 && driver->pool_info)
		rc = driver->pool_info(c, pool.libvirt_name, &unused, e);
	return rc < 0 ? rc : driver->volume_delete(c, pool.libvirt_name, row->memory_file, e);
}

int snapshot_remove_all_memory(struct db *db, const char *vm_id, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	struct snapshot_row *rows = NULL;
	size_t n = 0;
	int rc = snapshot_store_of_vm(db, vm_id, &rows, &n, e);
	for (size_t i = 0; i < n; i++) {
		if (rc == 0)
			rc = snapshot_remove_memory(db, &rows[i], driver, c, e);
		snapshot_row_done(&rows[i]);
	}
	free(rows);
	return rc;
}

int snapshot_call_remove_memory(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	struct db *db;
	struct snapshot_row row CLEANUP(snapshot_row_done) = {0};
	int rc = readers_get(call->readers, &db, e);
	if (rc == 0)
		rc = snapshot_store_get(db, call->vm_id, snapshot_id_of(call->input), &row, e);
	if (rc == ERR_NOT_FOUND) {
		err_clear(e);
		return 0;
	}
	return rc < 0 ? rc : snapshot_remove_memory(db, &row, driver, c, e);
}

/* ---- what the hypervisor has ---- */

bool snapshot_has_process(const struct domain_info *info)
{
	return info->state == DOMAIN_RUNNING || info->state == DOMAIN_PAUSED ||
	       info->state == DOMAIN_PMSUSPENDED || info->state == DOMAIN_SHUTTING_DOWN ||
	       info->live_xml;
}

bool snapshot_is_suspended(const struct domain_info *info)
{
	return info->has_managed_save && !snapshot_has_process(info);
}

/* By the files' names, which carry ids: a message has little room. */
static void print_chain(struct str *text, char *const *paths, size_t n)
{
	for (size_t i = 0; i < n && paths[i]; i++) {
		const char *slash = strrchr(paths[i], '/');
		str_printf(text, "%s%s", i > 0 ? " on " : "", slash ? slash + 1 : paths[i]);
	}
}

int snapshot_refuse_drift(const char *vm, const char *disk, char *const *live,
        const struct layer_chain *recorded, struct err *e)
{
	struct str opened CLEANUP(str_done) = {0}, known CLEANUP(str_done) = {0};
	print_chain(&opened, live, SIZE_MAX);
	print_chain(&known, recorded->paths, recorded->len);
	err_set(e, ERR_UNPROCESSABLE,
	        "disk %s of VM %s has drifted: it runs on %s, and recorded is %s", disk, vm,
	        opened.data ? opened.data : "nothing", known.data ? known.data : "nothing");
	return err_hint(e, "stop the VM: it starts from what is recorded");
}

static int find_live_top(const char *id, const char *disk, const struct driver *driver,
        struct driver_connection *c, char **ret_path, struct err *e)
{
	char **paths = NULL;
	if (!driver->disk_chain)
		return err_set(e, ERR_UNSUPPORTED, "the host's hypervisor does not tell chains");
	int rc = driver->disk_chain(c, id, disk, &paths, e);
	for (size_t i = 0; rc == 0 && paths[i]; i++) {
		if (i == 0)
			*ret_path = paths[i];
		else
			free(paths[i]);
	}
	free(paths);
	return rc;
}

static int find_defined_top(const char *xml, const char *disk, char **ret_path, struct err *e)
{
	struct domain_facts facts CLEANUP(domain_facts_done) = {0};
	int rc = domain_xml_parse(xml, &facts, e);
	for (size_t i = 0; i < facts.n_disks && rc == 0; i++) {
		const char *alias = facts.disks[i].alias;
		if (alias && str_starts_with(alias, "ua-disk-") && str_equal(alias + 8, disk))
			*ret_path = xstrdup(facts.disks[i].path);
	}
	return rc;
}

int snapshot_find_top(const struct domain_info *info, const char *disk, const struct driver *driver,
        struct driver_connection *c, char **ret_path, struct err *e)
{
	*ret_path = NULL;
	int rc = snapshot_has_process(info) ? find_live_top(info->id, disk, driver, c, ret_path, e)
	                                    : find_defined_top(info->xml, disk, ret_path, e);
	if (rc == ERR_NOT_FOUND) {
		err_clear(e);
		rc = 0;
	}
	return rc;
}

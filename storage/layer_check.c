/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A chain's files as their hosts show them: compared with what is recorded, made, deleted. Lane threads.
 *
 * What a host tells of a volume was read in its header. Of a qcow2 layer that header is QEMU's own and must say what is
 * recorded. Of a raw layer the first bytes are the guest's, who may have written any header there: only its size is
 * looked at, and only as long as nothing pretends to be a header.
 */
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "hypervisor/driver.h"
#include "storage/layer.h"

static int drift(struct err *e, const struct layer_chain *chain, size_t i, const char *format, ...)
        __attribute__((format(printf, 4, 5)));

static int drift(struct err *e, const struct layer_chain *chain, size_t i, const char *format, ...)
{
	struct str what CLEANUP(str_done) = {0};
	va_list args;
	va_start(args, format);
	str_vprintf(&what, format, args);
	va_end(args);
	err_set(e, ERR_UNPROCESSABLE, "file %s in pool %s is not as recorded: %s",
	        chain->layers[i].file, chain->pools[i]->name, what.data);
	return err_hint(
	        e, "Berth does not guess: put the file back as it was, or delete the volume");
}

static int check_raw_size(
        const struct layer_chain *chain, size_t i, const struct volume_info *info, struct err *e)
{
	int64_t recorded = chain->layers[i].size_bytes, found = info->capacity_bytes;
	if (!str_equal(info->format, "raw") && info->format[0])
		return 0; /* the size in a guest's header means nothing */
	if (pool_kind_is_size(chain->pools[i]->kind, recorded, found))
		return 0;
	return drift(
	        e, chain, i, "it has %lld bytes, not %lld", (long long)found, (long long)recorded);
}

/* Of a network source QEMU and libvirt write URLs of their own, or nothing: what a chain stands on is told to them anyway. */
static bool header_names_below(const struct layer_chain *chain, size_t i)
{
	return i + 1 < chain->len && chain->sources[i + 1].type != DOMAIN_SOURCE_NETWORK;
}

/* Whether a pull may have written that into the header: nothing, or a layer further down. */
static bool may_be_pulled(const struct layer_chain *chain, size_t i, const char *named)
{
	bool is_one = !named;
	for (size_t below = i + 2; below < chain->len && !is_one; below++)
		is_one = str_equal(named, chain->paths[below]) ||
		         chain->sources[below].type == DOMAIN_SOURCE_NETWORK;
	return chain->layers[i].is_pulling && is_one;
}

static int check_qcow2_header(
        const struct layer_chain *chain, size_t i, const struct volume_info *info, struct err *e)
{
	const char *below = header_names_below(chain, i) ? chain->paths[i + 1] : NULL;
	bool is_comparable = below || i + 1 == chain->len;
	int64_t recorded = chain->layers[i].size_bytes;
	if (!str_equal(info->format, "qcow2"))
		return drift(e, chain, i, "it is %s, not qcow2",
		        info->format[0] ? info->format : "unreadable");
	if (info->capacity_bytes != recorded)
		return drift(e, chain, i, "its disk has %lld bytes, not %lld",
		        (long long)info->capacity_bytes, (long long)recorded);
	if (is_comparable && !str_equal(info->backing_path, below) &&
	        !may_be_pulled(chain, i, info->backing_path))
		return drift(e, chain, i, "it stands on %s, not on %s",
		        info->backing_path ? info->backing_path : "nothing",
		        below ? below : "nothing");
	return 0;
}

static int compare(const struct layer_chain *chain, size_t i, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	struct volume_info info CLEANUP(volume_info_done) = {0};
	int rc = driver->volume_get(
	        c, chain->pools[i]->libvirt_name, chain->layers[i].file, &info, e);
	if (rc == ERR_NOT_FOUND)
		return drift(e, chain, i, "it is not there");
	if (rc < 0)
		return rc;
	return str_equal(chain->layers[i].format, "raw") ? check_raw_size(chain, i, &info, e)
	                                                 : check_qcow2_header(chain, i, &info, e);
}

/* What the hypervisor's storage remembers of a header is older than a block job that has changed it since. */
static int refresh(const struct pool_access *pool, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	struct volume_info_list list CLEANUP(volume_info_list_done) = {0};
	return driver->volume_list(c, pool->libvirt_name, &list, e);
}

static int check_layer(const struct layer_chain *chain, size_t i, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	const struct pool_access *pool = chain->pools[i];
	int rc = layer_chain_enters_pool(chain, i) ? pool_access_ensure(pool, driver, c, e) : 0;
	if (rc < 0 || !pool->kind->libvirt_type || !driver->volume_get)
		return rc;
	rc = compare(chain, i, driver, c, e);
	if (rc != ERR_UNPROCESSABLE || !driver->volume_list)
		return rc;
	err_clear(e);
	rc = refresh(pool, driver, c, e);
	return rc < 0 ? rc : compare(chain, i, driver, c, e);
}

int layer_chain_check(const struct layer_chain *chain, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	for (size_t i = 0; i < chain->len; i++) {
		int rc = check_layer(chain, i, driver, c, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int layer_chain_is_flat(const struct layer_chain *chain, const struct driver *driver,
        struct driver_connection *c, bool *ret_flat, struct err *e)
{
	const struct pool_access *pool = chain->pools[0];
	struct volume_info info CLEANUP(volume_info_done) = {0};
	*ret_flat = chain->len == 1;
	bool is_told = pool->kind->libvirt_type && driver->volume_get && driver->volume_list &&
	               str_equal(chain->layers[0].format, "qcow2") && header_names_below(chain, 0);
	if (*ret_flat || !is_told)
		return 0;
	int rc = pool_access_ensure(pool, driver, c, e);
	if (rc == 0)
		rc = refresh(pool, driver, c, e);
	if (rc == 0)
		rc = driver->volume_get(c, pool->libvirt_name, chain->layers[0].file, &info, e);
	*ret_flat = rc == 0 && str_equal(info.format, "qcow2") && !info.backing_path;
	return rc;
}

static int refuse(const struct pool_access *pool, struct err *e)
{
	return err_set(e, ERR_UNSUPPORTED, "Berth cannot make or delete volumes in pool %s (%s)",
	        pool->name, pool->kind->name);
}

int layer_chain_create_top(const struct layer_chain *chain, bool preallocate,
        const struct driver *driver, struct driver_connection *c, struct err *e)
{
	const struct layer_row *top = &chain->layers[0];
	const struct pool_access *pool = chain->pools[0];
	if (!pool->kind->libvirt_type || pool->kind->flags & POOL_ADOPT_ONLY)
		return refuse(pool, e);
	if (!driver->volume_create)
		return err_set(e, ERR_UNSUPPORTED,
		        "the host's hypervisor connection serves no storage pools");
	const bool names_below = header_names_below(chain, 0);
	const struct volume_config config = {
	        .name = top->file,
	        .format = top->format,
	        .size_bytes = top->size_bytes,
	        .backing_path = names_below ? chain->paths[1] : NULL,
	        .backing_format = names_below ? chain->layers[1].format : NULL,
	        .preallocate = preallocate,
	};
	int rc = pool_access_ensure(pool, driver, c, e);
	return rc < 0 ? rc : driver->volume_create(c, pool->libvirt_name, &config, e);
}

/* Whatever the rows say: what a domain of the host has open, or goes on with when it is resumed, stays. */
static int refuse_used(
        const char *path, const struct driver *driver, struct driver_connection *c, struct err *e)
{
	char *user CLEANUP(cleanup_free) = NULL;
	int rc = driver->find_user ? driver->find_user(c, path, &user, e) : 0;
	if (rc < 0 || !user)
		return rc;
	err_set(e, ERR_IN_USE, "%s is not deleted: domain %s has it in use", path, user);
	return err_hint(e, "it runs with it, or was suspended with it: stop it first");
}

int layer_file_delete(const struct pool_access *pool, const char *file, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	struct domain_source source;
	char *path CLEANUP(cleanup_free) = NULL;
	pool_access_source(pool, file, "raw", &source, &path);
	int rc = pool_access_ensure(pool, driver, c, e);
	if (rc == 0)
		rc = refuse_used(path, driver, c, e);
	if (rc == 0)
		rc = driver->volume_delete(c, pool->libvirt_name, file, e);
	if (rc != ERR_NOT_FOUND)
		return rc;
	err_clear(e);
	return 0;
}

int layer_chain_delete_top(const struct layer_chain *chain, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	const struct pool_access *pool = chain->pools[0];
	/* Where nothing can be made, nothing of ours is left behind; what was there before us stays. */
	if (!pool->kind->libvirt_type || pool->kind->flags & POOL_ADOPT_ONLY ||
	        !driver->volume_delete)
		return 0;
	return layer_file_delete(pool, chain->layers[0].file, driver, c, e);
}

int layer_delete_all_of_volume(struct db *db, const char *volume_id, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	return layer_delete_others_of_volume(db, volume_id, NULL, driver, c, e);
}

int layer_delete_others_of_volume(struct db *db, const char *volume_id, const char *but,
        const struct driver *driver, struct driver_connection *c, struct err *e)
{
	struct layer_list own CLEANUP(layer_list_done) = {0};
	int rc = layer_store_of_volume(db, volume_id, &own, e);
	for (size_t i = 0; i < own.len && rc == 0; i++) {
		struct layer_chain chain CLEANUP(layer_chain_done) = {0};
		if (str_equal(own.items[i].id, but))
			continue;
		rc = layer_chain_load(db, own.items[i].id, &chain, e);
		if (rc == 0)
			rc = layer_chain_delete_top(&chain, driver, c, e);
	}
	return rc;
}

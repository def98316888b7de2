/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pools through libvirt's storage API. libvirt keeps a listing of each pool; what was written beside it (snapshots, block
 * jobs, an interrupted call) shows up after a refresh. A refresh that fails stops the pool: the next `ensure` starts it
 * again. A call on a pool whose server is silent hangs, and then also whatever goes through all pools (counting, listing,
 * defining a new one): what must always answer asks for one pool by its name. Lane threads.
 */
#include <libvirt/virterror.h>
#include <string.h>
#include <unistd.h>

#include "hypervisor/driver_libvirt_internal.h"
#include "hypervisor/libvirt_error.h"
#include "hypervisor/storage_xml.h"

void cleanup_libvirt_pool(virStoragePoolPtr *pool)
{
	if (*pool)
		virStoragePoolFree(*pool);
}

int libvirt_pool_find(
        struct driver_connection *c, const char *name, virStoragePoolPtr *ret_pool, struct err *e)
{
	*ret_pool = virStoragePoolLookupByName(c->libvirt, name);
	return *ret_pool ? 0 : libvirt_error_take(e, "pool %s", name);
}

bool libvirt_pool_is_supported(struct driver_connection *c)
{
	virStoragePoolPtr pool CLEANUP(cleanup_libvirt_pool) =
	        virStoragePoolLookupByName(c->libvirt, "berth-none");
	return pool || libvirt_error_number() != VIR_ERR_NO_SUPPORT;
}

#define REFRESH_TRIES    100
#define REFRESH_PAUSE_US 50000

/* libvirt refuses it while it makes any volume of the pool, which is over in milliseconds unless space is preallocated. */
int libvirt_pool_refresh(virStoragePoolPtr pool, struct err *e)
{
	const char *name = virStoragePoolGetName(pool); /* before: it forgets the last error */
	int r = 0;
	for (int i = 0; i < REFRESH_TRIES; i++) {
		if (virStoragePoolRefresh(pool, 0) == 0) {
			err_clear(e);
			return 0;
		}
		r = libvirt_error_take(e, "refreshing pool %s", name);
		if (r != ERR_BUSY)
			return r;
		usleep(REFRESH_PAUSE_US);
	}
	return r;
}

/* --- ensure --- */

static int compare(virStoragePoolPtr pool, const struct pool_config *config, struct err *e)
{
	char *xml CLEANUP(cleanup_free) = virStoragePoolGetXMLDesc(pool, 0);
	if (!xml)
		return libvirt_error_take(e, "reading pool %s", config->name);
	return storage_xml_compare_pool(xml, config, e);
}

static int define(struct driver_connection *c, const struct pool_config *config,
        virStoragePoolPtr *ret_pool, struct err *e)
{
	char *xml CLEANUP(cleanup_free) = NULL;
	int r = storage_xml_build_pool(config, &xml, e);
	if (r < 0)
		return r;
	*ret_pool = virStoragePoolDefineXML(c->libvirt, xml, 0);
	return *ret_pool ? 0 : libvirt_error_take(e, "defining pool %s", config->name);
}

static int open_or_define(struct driver_connection *c, const struct pool_config *config,
        virStoragePoolPtr *ret_pool, struct err *e)
{
	int r = libvirt_pool_find(c, config->name, ret_pool, e);
	if (r == 0)
		return compare(*ret_pool, config, e);
	if (r != ERR_NOT_FOUND)
		return r;
	err_clear(e);
	return define(c, config, ret_pool, e);
}

/*
 * Makes the directory; one that is there already is taken as it is. libvirt looks first and then makes it: of two hosts
 * that share it the slower one may fail, and finds it there the second time.
 */
static int make_directory(virStoragePoolPtr pool, const char *name, struct err *e)
{
	if (virStoragePoolBuild(pool, 0) == 0 || virStoragePoolBuild(pool, 0) == 0)
		return 0;
	return libvirt_error_take(e, "making the directory of pool %s", name);
}

static int start(virStoragePoolPtr pool, const struct pool_config *config, struct err *e)
{
	unsigned flags = storage_type_flags(config->type);
	/* Building other types would format what is there. */
	int r = (flags & STORAGE_TYPE_FILES) != 0 ? make_directory(pool, config->name, e) : 0;
	if (r < 0)
		return r;
	if (virStoragePoolCreate(pool, 0) < 0) {
		r = libvirt_error_take(e, "starting pool %s", config->name);
		if (virStoragePoolIsActive(pool) != 1)
			return r;
		err_clear(e); /* someone else was quicker */
	}
	/* So that the volumes are reachable after the host restarts, before Berth is. Not for a server's: one that
	 * is silent would keep libvirtd from starting. */
	if ((flags & STORAGE_TYPE_LOCAL) != 0)
		virStoragePoolSetAutostart(pool, 1);
	return 0;
}

int libvirt_pool_ensure(
        struct driver_connection *c, const struct pool_config *config, struct err *e)
{
	virStoragePoolPtr pool CLEANUP(cleanup_libvirt_pool) = NULL;
	int r = open_or_define(c, config, &pool, e);
	if (r < 0)
		return r;
	return virStoragePoolIsActive(pool) == 1 ? 0 : start(pool, config, e);
}

/* --- info, remove --- */

int libvirt_pool_info(struct driver_connection *c, const char *pool_name,
        struct pool_info *ret_info, struct err *e)
{
	virStoragePoolPtr pool CLEANUP(cleanup_libvirt_pool) = NULL;
	int r = libvirt_pool_find(c, pool_name, &pool, e);
	if (r < 0)
		return r;
	/* Free space is measured only then. While a volume is made in the pool the figures before it have to do. */
	r = libvirt_pool_refresh(pool, e);
	if (r < 0 && r != ERR_BUSY)
		return r;
	err_clear(e);
	virStoragePoolInfo info;
	if (virStoragePoolGetInfo(pool, &info) < 0)
		return libvirt_error_take(e, "reading pool %s", pool_name);
	*ret_info = (struct pool_info){
	        .capacity_bytes = (int64_t)info.capacity,
	        .allocation_bytes = (int64_t)info.allocation,
	        .available_bytes = (int64_t)info.available,
	};
	return 0;
}

int libvirt_pool_get_type(virStoragePoolPtr pool, char ret_type[16], struct err *e)
{
	const char *name = virStoragePoolGetName(pool); /* before: it forgets the last error */
	char *xml CLEANUP(cleanup_free) = virStoragePoolGetXMLDesc(pool, 0);
	if (!xml)
		return libvirt_error_take(e, "reading pool %s", name);
	storage_xml_parse_pool_type(xml, ret_type);
	return 0;
}

int libvirt_pool_remove(struct driver_connection *c, const char *pool_name, struct err *e)
{
	char type[16];
	virStoragePoolPtr pool CLEANUP(cleanup_libvirt_pool) = NULL;
	int r = libvirt_pool_find(c, pool_name, &pool, e);
	if (r == ERR_NOT_FOUND) {
		err_clear(e);
		return 0;
	}
	if (r == 0)
		r = libvirt_pool_get_type(pool, type, e);
	if (r < 0)
		return r;
	if (virStoragePoolIsActive(pool) == 1 && virStoragePoolDestroy(pool) < 0)
		return libvirt_error_take(e, "stopping pool %s", pool_name);
	/* rmdir: refused for a directory with anything in it, and that is meant. Of other types it would destroy: a
	 * volume group, a ZFS pool. */
	if ((storage_type_flags(type) & STORAGE_TYPE_FILES) != 0)
		virStoragePoolDelete(pool, VIR_STORAGE_POOL_DELETE_NORMAL);
	if (virStoragePoolUndefine(pool) < 0 && libvirt_error_number() != VIR_ERR_NO_STORAGE_POOL)
		return libvirt_error_take(e, "removing pool %s", pool_name);
	return 0;
}

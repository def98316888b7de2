/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directory pools and their volumes through libvirt's storage API, and networks. libvirt keeps a
 * listing of each pool; what was written beside it (snapshots, block jobs, an interrupted call)
 * shows up after a refresh, so a miss is believed only after one. Lane threads.
 */
#include <libvirt/virterror.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "hypervisor/driver_libvirt_internal.h"
#include "hypervisor/libvirt_error.h"
#include "hypervisor/storage_xml.h"

static void cleanup_pool(virStoragePoolPtr *pool)
{
	if (*pool)
		virStoragePoolFree(*pool);
}

static void cleanup_volume(virStorageVolPtr *volume)
{
	if (*volume)
		virStorageVolFree(*volume);
}

static int find_pool(
        struct driver_connection *c, const char *name, virStoragePoolPtr *ret_pool, struct err *e)
{
	*ret_pool = virStoragePoolLookupByName(c->libvirt, name);
	return *ret_pool ? 0 : libvirt_error_take(e, "pool %s", name);
}

/* Fails while a volume is being created or copied in the pool; the old listing then has to do. */
static void refresh(virStoragePoolPtr pool)
{
	virStoragePoolRefresh(pool, 0);
}

static int find_volume(struct driver_connection *c, const char *pool_name, const char *name,
        virStorageVolPtr *ret_volume, struct err *e)
{
	virStoragePoolPtr pool CLEANUP(cleanup_pool) = NULL;
	int r = find_pool(c, pool_name, &pool, e);
	if (r < 0)
		return r;
	*ret_volume = virStorageVolLookupByName(pool, name);
	if (!*ret_volume && libvirt_error_number() == VIR_ERR_NO_STORAGE_VOL) {
		refresh(pool);
		*ret_volume = virStorageVolLookupByName(pool, name);
	}
	return *ret_volume ? 0 : libvirt_error_take(e, "volume %s in pool %s", name, pool_name);
}

/* --- pools --- */

static int check_same_path(
        virStoragePoolPtr pool, const char *name, const char *path, struct err *e)
{
	char *xml CLEANUP(cleanup_free) = virStoragePoolGetXMLDesc(pool, 0);
	if (!xml)
		return libvirt_error_take(e, "reading pool %s", name);
	char *there CLEANUP(cleanup_free) = NULL;
	int r = storage_xml_parse_pool_path(xml, &there, e);
	if (r < 0 || str_equal(there, path))
		return r;
	return err_set(e, ERR_CONFLICT, "pool %s exists on the host with the path %s, not %s", name,
	        there ? there : "(none)", path);
}

static int define_pool(struct driver_connection *c, const char *name, const char *path,
        virStoragePoolPtr *ret_pool, struct err *e)
{
	char *xml CLEANUP(cleanup_free) = NULL;
	int r = storage_xml_build_pool(name, path, &xml, e);
	if (r < 0)
		return r;
	*ret_pool = virStoragePoolDefineXML(c->libvirt, xml, 0);
	return *ret_pool ? 0 : libvirt_error_take(e, "defining pool %s", name);
}

static int open_or_define(struct driver_connection *c, const char *name, const char *path,
        virStoragePoolPtr *ret_pool, struct err *e)
{
	int r = find_pool(c, name, ret_pool, e);
	if (r == 0)
		return check_same_path(*ret_pool, name, path, e);
	if (r != ERR_NOT_FOUND)
		return r;
	err_clear(e);
	return define_pool(c, name, path, ret_pool, e);
}

int libvirt_storage_pool_ensure(
        struct driver_connection *c, const char *pool_name, const char *path, struct err *e)
{
	virStoragePoolPtr pool CLEANUP(cleanup_pool) = NULL;
	int r = open_or_define(c, pool_name, path, &pool, e);
	if (r < 0 || virStoragePoolIsActive(pool) == 1)
		return r;
	/* Makes the directory; one that is there already is taken as it is. */
	if (virStoragePoolBuild(pool, 0) < 0)
		return libvirt_error_take(e, "making the directory of pool %s", pool_name);
	if (virStoragePoolCreate(pool, 0) < 0)
		return libvirt_error_take(e, "starting pool %s", pool_name);
	/* So that the volumes are reachable after the host restarts, before Berth is. */
	virStoragePoolSetAutostart(pool, 1);
	return 0;
}

int libvirt_storage_pool_info(struct driver_connection *c, const char *pool_name,
        struct pool_info *ret_info, struct err *e)
{
	virStoragePoolPtr pool CLEANUP(cleanup_pool) = NULL;
	int r = find_pool(c, pool_name, &pool, e);
	if (r < 0)
		return r;
	refresh(pool); /* free space is measured only then */
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

int libvirt_storage_pool_remove(struct driver_connection *c, const char *pool_name, struct err *e)
{
	virStoragePoolPtr pool CLEANUP(cleanup_pool) = NULL;
	int r = find_pool(c, pool_name, &pool, e);
	if (r == ERR_NOT_FOUND) {
		err_clear(e);
		return 0;
	}
	if (r < 0)
		return r;
	if (virStoragePoolIsActive(pool) == 1 && virStoragePoolDestroy(pool) < 0)
		return libvirt_error_take(e, "stopping pool %s", pool_name);
	/* rmdir: refused for a directory with anything in it, and that is meant. */
	virStoragePoolDelete(pool, VIR_STORAGE_POOL_DELETE_NORMAL);
	if (virStoragePoolUndefine(pool) < 0 && libvirt_error_number() != VIR_ERR_NO_STORAGE_POOL)
		return libvirt_error_take(e, "removing pool %s", pool_name);
	return 0;
}

/* --- volumes --- */

/* After "it exists already": success if it is what was asked for. */
static int accept_existing(struct driver_connection *c, const char *pool, const char *name,
        int64_t size_bytes, struct err *e)
{
	virStorageVolPtr volume CLEANUP(cleanup_volume) = NULL;
	int r = find_volume(c, pool, name, &volume, e);
	if (r < 0)
		return r;
	virStorageVolInfo info;
	if (virStorageVolGetInfo(volume, &info) < 0)
		return libvirt_error_take(e, "volume %s in pool %s", name, pool);
	if (info.capacity == (unsigned long long)storage_round_up(size_bytes))
		return 0;
	return err_set(e, ERR_EXISTS, "volume %s in pool %s exists with %llu bytes instead of %lld",
	        name, pool, info.capacity, (long long)size_bytes);
}

int libvirt_storage_volume_create(struct driver_connection *c, const char *pool_name,
        const char *name, const char *format, int64_t size_bytes, struct err *e)
{
	virStoragePoolPtr pool CLEANUP(cleanup_pool) = NULL;
	char *xml CLEANUP(cleanup_free) = NULL;
	int r = find_pool(c, pool_name, &pool, e);
	if (r == 0)
		r = storage_xml_build_volume(name, format, size_bytes, &xml, e);
	if (r < 0)
		return r;
	virStorageVolPtr volume CLEANUP(cleanup_volume) = virStorageVolCreateXML(pool, xml, 0);
	if (volume)
		return 0;
	r = libvirt_error_take(e, "creating volume %s in pool %s", name, pool_name);
	if (r != ERR_EXISTS)
		return r;
	err_clear(e);
	return accept_existing(c, pool_name, name, size_bytes, e);
}

int libvirt_storage_volume_delete(
        struct driver_connection *c, const char *pool_name, const char *name, struct err *e)
{
	/* A pool that is not there may hold the volume none the less: only the volume may be
	 * missing. */
	virStoragePoolPtr pool CLEANUP(cleanup_pool) = NULL;
	virStorageVolPtr volume CLEANUP(cleanup_volume) = NULL;
	int r = find_pool(c, pool_name, &pool, e);
	if (r < 0)
		return r;
	r = find_volume(c, pool_name, name, &volume, e);
	if (r == ERR_NOT_FOUND) {
		err_clear(e);
		return 0;
	}
	if (r < 0)
		return r;
	if (virStorageVolDelete(volume, 0) < 0)
		return libvirt_error_take(e, "deleting volume %s in pool %s", name, pool_name);
	return 0;
}

int libvirt_storage_volume_get(struct driver_connection *c, const char *pool_name, const char *name,
        struct volume_info *ret_info, struct err *e)
{
	virStorageVolPtr volume CLEANUP(cleanup_volume) = NULL;
	int r = find_volume(c, pool_name, name, &volume, e);
	if (r < 0)
		return r;
	virStorageVolInfo info;
	char *xml CLEANUP(cleanup_free) = virStorageVolGetXMLDesc(volume, 0);
	if (!xml || virStorageVolGetInfo(volume, &info) < 0)
		return libvirt_error_take(e, "reading volume %s in pool %s", name, pool_name);
	struct volume_info found = {
	        .name = xstrdup(virStorageVolGetName(volume)),
	        .path = virStorageVolGetPath(volume),
	        .capacity_bytes = (int64_t)info.capacity,
	        .allocation_bytes = (int64_t)info.allocation,
	};
	storage_xml_parse_volume_format(xml, found.format);
	*ret_info = found;
	return 0;
}

int libvirt_storage_volume_list(
        struct driver_connection *c, const char *pool_name, char ***ret_names, struct err *e)
{
	virStoragePoolPtr pool CLEANUP(cleanup_pool) = NULL;
	int r = find_pool(c, pool_name, &pool, e);
	if (r < 0)
		return r;
	refresh(pool);
	virStorageVolPtr *volumes = NULL;
	int n = virStoragePoolListAllVolumes(pool, &volumes, 0);
	if (n < 0)
		return libvirt_error_take(e, "listing pool %s", pool_name);
	char **names = xcalloc((size_t)n + 1, sizeof(names[0]));
	for (int i = 0; i < n; i++) {
		names[i] = xstrdup(virStorageVolGetName(volumes[i]));
		virStorageVolFree(volumes[i]);
	}
	free(volumes);
	*ret_names = names;
	return 0;
}

/* --- networks --- */

static void cleanup_network(virNetworkPtr *network)
{
	if (*network)
		virNetworkFree(*network);
}

int libvirt_network_check(struct driver_connection *c, const char *name, struct err *e)
{
	virNetworkPtr network CLEANUP(cleanup_network) = virNetworkLookupByName(c->libvirt, name);
	if (!network)
		return libvirt_error_take(e, "network %s", name);
	int active = virNetworkIsActive(network);
	if (active < 0)
		return libvirt_error_take(e, "network %s", name);
	if (active == 1)
		return 0;
	err_set(e, ERR_WRONG_STATE, "network %s is not active on the host", name);
	return err_hint(e, "virsh net-start %s", name);
}

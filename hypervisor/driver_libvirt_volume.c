/* SPDX-License-Identifier: Apache-2.0 */
/* Volumes through libvirt's storage API; a volume that is missing in a pool's listing is missing only after a refresh.
 * Lane threads. */
#include <libvirt/virterror.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "hypervisor/driver_libvirt_internal.h"
#include "hypervisor/libvirt_error.h"
#include "hypervisor/storage_xml.h"

void cleanup_libvirt_volume(virStorageVolPtr *volume)
{
	if (*volume)
		virStorageVolFree(*volume);
}

static int find_in_pool(
        virStoragePoolPtr pool, const char *name, virStorageVolPtr *ret_volume, struct err *e)
{
	const char *pool_name = virStoragePoolGetName(pool); /* before: it forgets the last error */
	*ret_volume = virStorageVolLookupByName(pool, name);
	if (!*ret_volume && libvirt_error_number() == VIR_ERR_NO_STORAGE_VOL) {
		/* Without a refresh nothing is known of it: its error is the answer. */
		int r = libvirt_pool_refresh(pool, e);
		if (r < 0)
			return r;
		*ret_volume = virStorageVolLookupByName(pool, name);
	}
	if (*ret_volume)
		return 0;
	return libvirt_error_take(e, "volume %s in pool %s", name, pool_name);
}

int libvirt_volume_find(struct driver_connection *c, const char *pool_name, const char *name,
        virStorageVolPtr *ret_volume, struct err *e)
{
	virStoragePoolPtr pool CLEANUP(cleanup_libvirt_pool) = NULL;
	int r = libvirt_pool_find(c, pool_name, &pool, e);
	return r < 0 ? r : find_in_pool(pool, name, ret_volume, e);
}

static int read_info(virStorageVolPtr volume, struct volume_info *ret_info, struct err *e)
{
	virStorageVolInfo info;
	const char *name = virStorageVolGetName(volume); /* before: it forgets the last error */
	char *xml CLEANUP(cleanup_free) = virStorageVolGetXMLDesc(volume, 0);
	if (!xml || virStorageVolGetInfo(volume, &info) < 0)
		return libvirt_error_take(e, "reading volume %s", name);
	struct volume_info found = {
	        .name = xstrdup(name),
	        .path = virStorageVolGetPath(volume),
	        .capacity_bytes = (int64_t)info.capacity,
	        .allocation_bytes = (int64_t)info.allocation,
	};
	storage_xml_parse_volume(xml, &found);
	*ret_info = found;
	return 0;
}

/* --- create --- */

/* After "it exists already": success if it is what was asked for. */
static int accept_existing(
        virStoragePoolPtr pool, const char *type, const struct volume_config *config, struct err *e)
{
	virStorageVolPtr volume CLEANUP(cleanup_libvirt_volume) = NULL;
	struct volume_info info CLEANUP(volume_info_done) = {0};
	int r = find_in_pool(pool, config->name, &volume, e);
	if (r == 0)
		r = read_info(volume, &info, e);
	if (r < 0)
		return r;
	int64_t wanted = storage_round_up(config->size_bytes);
	bool rounds = (storage_type_flags(type) & STORAGE_TYPE_ROUNDS) != 0;
	if (rounds ? info.capacity_bytes < wanted : info.capacity_bytes != wanted)
		return err_set(e, ERR_EXISTS,
		        "volume %s in pool %s exists with %lld bytes instead of %lld", config->name,
		        virStoragePoolGetName(pool), (long long)info.capacity_bytes,
		        (long long)config->size_bytes);
	if (!str_equal(info.backing_path, config->backing_path))
		return err_set(e, ERR_EXISTS, "volume %s in pool %s exists on %s instead of %s",
		        config->name, virStoragePoolGetName(pool),
		        info.backing_path ? info.backing_path : "nothing",
		        config->backing_path ? config->backing_path : "nothing");
	return 0;
}

static unsigned create_flags(const struct volume_config *config)
{
	bool is_full_qcow2 = config->preallocate && str_equal(config->format, "qcow2");
	return is_full_qcow2 ? VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA : 0;
}

int libvirt_volume_create(struct driver_connection *c, const char *pool_name,
        const struct volume_config *config, struct err *e)
{
	char type[16];
	virStoragePoolPtr pool CLEANUP(cleanup_libvirt_pool) = NULL;
	char *xml CLEANUP(cleanup_free) = NULL;
	int r = libvirt_pool_find(c, pool_name, &pool, e);
	if (r == 0)
		r = libvirt_pool_get_type(pool, type, e);
	if (r == 0)
		r = storage_xml_build_volume(type, config, &xml, e);
	if (r < 0)
		return r;
	virStorageVolPtr volume CLEANUP(cleanup_libvirt_volume) =
	        virStorageVolCreateXML(pool, xml, create_flags(config));
	if (volume)
		return 0;
	r = libvirt_error_take(e, "creating volume %s in pool %s", config->name, pool_name);
	if (r != ERR_EXISTS)
		return r;
	err_clear(e);
	return accept_existing(pool, type, config, e);
}

/* --- delete, wipe --- */

/* A pool that is not there may hold the volume none the less: only the volume may be missing. */
int libvirt_volume_delete(
        struct driver_connection *c, const char *pool_name, const char *name, struct err *e)
{
	virStoragePoolPtr pool CLEANUP(cleanup_libvirt_pool) = NULL;
	virStorageVolPtr volume CLEANUP(cleanup_libvirt_volume) = NULL;
	int r = libvirt_pool_find(c, pool_name, &pool, e);
	if (r < 0)
		return r;
	r = find_in_pool(pool, name, &volume, e);
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

int libvirt_volume_wipe(
        struct driver_connection *c, const char *pool_name, const char *name, struct err *e)
{
	virStorageVolPtr volume CLEANUP(cleanup_libvirt_volume) = NULL;
	int r = libvirt_volume_find(c, pool_name, name, &volume, e);
	if (r < 0)
		return r;
	/* libvirt overwrites as much as it believes to be allocated: it has to look first. */
	virStorageVolInfo info;
	if (virStorageVolGetInfo(volume, &info) < 0)
		return libvirt_error_take(e, "volume %s in pool %s", name, pool_name);
	if (virStorageVolWipe(volume, 0) < 0)
		return libvirt_error_take(e, "wiping volume %s in pool %s", name, pool_name);
	return 0;
}

/* --- get, list --- */

int libvirt_volume_get(struct driver_connection *c, const char *pool_name, const char *name,
        struct volume_info *ret_info, struct err *e)
{
	virStorageVolPtr volume CLEANUP(cleanup_libvirt_volume) = NULL;
	int r = libvirt_volume_find(c, pool_name, name, &volume, e);
	return r < 0 ? r : read_info(volume, ret_info, e);
}

static void free_volumes(virStorageVolPtr *volumes, int n)
{
	for (int i = 0; i < n; i++)
		virStorageVolFree(volumes[i]);
	free(volumes);
}

int libvirt_volume_list(struct driver_connection *c, const char *pool_name,
        struct volume_info_list *ret_list, struct err *e)
{
	virStoragePoolPtr pool CLEANUP(cleanup_libvirt_pool) = NULL;
	int r = libvirt_pool_find(c, pool_name, &pool, e);
	if (r == 0)
		r = libvirt_pool_refresh(pool, e);
	if (r < 0)
		return r;
	virStorageVolPtr *volumes = NULL;
	int n = virStoragePoolListAllVolumes(pool, &volumes, 0);
	if (n < 0)
		return libvirt_error_take(e, "listing pool %s", pool_name);
	struct volume_info_list list = {.items = xcalloc((size_t)n + 1, sizeof(list.items[0]))};
	/* One that cannot be read has gone since, or its file is damaged: the others are there all the same. */
	for (int i = 0; i < n; i++)
		if (read_info(volumes[i], &list.items[list.len], NULL) == 0)
			list.len++;
	free_volumes(volumes, n);
	*ret_list = list;
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The volumes behind a VM's disks. */
#include "compute/vm_volumes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"

static bool has_disk(const struct vm_spec *spec, const char *name)
{
	for (size_t i = 0; spec && i < spec->disks.len; i++)
		if (strcmp(vm_spec_disk(spec, i)->name, name) == 0)
			return true;
	return false;
}

static int claim_existing(struct db *db, const struct vm_disk *disk, const char *vm_id,
        const char *host_id, struct err *e)
{
	char pointer[128];
	snprintf(pointer, sizeof(pointer), "/disks/%s/volume", disk->name);
	struct volume_row volume CLEANUP(volume_row_done) = {0};
	int rc = volume_store_find(db, disk->pool, host_id, disk->volume, &volume, e);
	if (rc == ERR_NOT_FOUND)
		return err_set_at(e, ERR_REFERENCE, pointer,
		        "pool %s has no volume named %s on that host", disk->pool, disk->volume);
	if (rc < 0)
		return rc;
	if (disk->size_bytes != 0 && disk->size_bytes != volume.size_bytes)
		return err_set_at(e, ERR_INVALID, pointer, "volume %s has %lld bytes, not %lld",
		        volume.name, (long long)volume.size_bytes, (long long)disk->size_bytes);
	return volume_attach(db, volume.id, vm_id, disk->name, e);
}

static int claim_new(struct db *db, struct vm_disk *disk, const char *vm_name, const char *vm_id,
        const char *host_id, struct err *e)
{
	const char *random = vm_id + UUID_TEXT_SIZE - 1 - 8; /* an id's beginning is the time */
	char *name CLEANUP(cleanup_free) =
	        str_format("%.24s-%.24s-%s", vm_name, disk->name, random);
	const struct volume_request request = {
	        .pool = disk->pool,
	        .host_id = host_id,
	        .name = name,
	        .format = vm_disk_format_names[disk->format],
	        .size_bytes = disk->size_bytes,
	        .vm_id = vm_id,
	        .disk = disk->name,
	};
	char id[UUID_TEXT_SIZE];
	int rc = volume_reserve(db, &request, id, e);
	if (rc == ERR_REFERENCE) {
		char pointer[128];
		snprintf(pointer, sizeof(pointer), "/disks/%s/pool", disk->name);
		return err_set_at(
		        e, ERR_REFERENCE, pointer, "there is no pool named %s", disk->pool);
	}
	if (rc == 0)
		disk->volume = TAKE(name);
	return rc;
}

int vm_volumes_claim(struct db *db, struct vm_spec *spec, const struct vm_spec *before,
        const char *vm_id, const char *host_id, struct err *e)
{
	for (size_t i = 0; i < spec->disks.len; i++) {
		struct vm_disk *disk = vm_spec_disk(spec, i);
		if (has_disk(before, disk->name) || (disk->kind == VM_DISK_CDROM && !disk->volume))
			continue;
		int rc = disk->volume ? claim_existing(db, disk, vm_id, host_id, e)
		                      : claim_new(db, disk, spec->name, vm_id, host_id, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Calls `act` for each of the VM's volumes that `wanted` accepts. */
static int for_each_volume(struct db *db, const char *vm_id, const struct vm_spec *spec,
        int (*act)(struct db *db, const struct volume_row *volume, const struct vm_spec *spec,
                struct err *e),
        struct err *e)
{
	struct volume_row *volumes = NULL;
	size_t n = 0;
	int rc = volume_store_of_vm(db, vm_id, &volumes, &n, e);
	for (size_t i = 0; i < n; i++) {
		if (rc == 0)
			rc = act(db, &volumes[i], spec, e);
		volume_row_done(&volumes[i]);
	}
	free(volumes);
	return rc;
}

static bool is_new(const struct volume_row *volume)
{
	return strcmp(volume->state, "creating") == 0;
}

static int mark_ready(
        struct db *db, const struct volume_row *volume, const struct vm_spec *spec, struct err *e)
{
	(void)spec;
	return is_new(volume) ? volume_mark_ready(db, volume->id, e) : 0;
}

int vm_volumes_mark_ready(struct db *db, const char *vm_id, struct err *e)
{
	return for_each_volume(db, vm_id, NULL, mark_ready, e);
}

static int forget_new(
        struct db *db, const struct volume_row *volume, const struct vm_spec *spec, struct err *e)
{
	(void)spec;
	return is_new(volume) ? volume_forget(db, volume->id, e) : 0;
}

int vm_volumes_forget_new(struct db *db, const char *vm_id, struct err *e)
{
	return for_each_volume(db, vm_id, NULL, forget_new, e);
}

static int release_missing(
        struct db *db, const struct volume_row *volume, const struct vm_spec *spec, struct err *e)
{
	return has_disk(spec, volume->disk) ? 0 : volume_detach(db, volume->id, e);
}

int vm_volumes_release_missing(
        struct db *db, const char *vm_id, const struct vm_spec *spec, struct err *e)
{
	return for_each_volume(db, vm_id, spec, release_missing, e);
}

/* ---- lane thread ---- */

static int create_file(const struct volume_row *volume, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	char *pool CLEANUP(cleanup_free) = pool_libvirt_name(volume->pool);
	char *file CLEANUP(cleanup_free) = volume_file_name(volume->id, volume->format);
	int rc = driver->pool_ensure(c, pool, volume->pool_path, e);
	if (rc == 0)
		rc = driver->volume_create(c, pool, file, volume->format, volume->size_bytes, e);
	return rc < 0 ? err_prefix(e, "disk %s", volume->disk) : 0;
}

static int delete_file(const struct volume_row *volume, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	char *pool CLEANUP(cleanup_free) = pool_libvirt_name(volume->pool);
	char *file CLEANUP(cleanup_free) = volume_file_name(volume->id, volume->format);
	int rc = driver->volume_delete(c, pool, file, e);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

int vm_call_create_volumes(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	if (call->plan.n_volumes > 0 && (!driver->pool_ensure || !driver->volume_create))
		return err_set(e, ERR_UNSUPPORTED, "the host has no storage");
	for (size_t i = 0; i < call->plan.n_volumes; i++) {
		int rc = is_new(&call->plan.volumes[i])
		                 ? create_file(&call->plan.volumes[i], driver, c, e)
		                 : 0;
		if (rc < 0)
			return rc;
	}
	return 0;
}

int vm_call_delete_new_volumes(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	for (size_t i = 0; i < call->plan.n_volumes; i++) {
		int rc = is_new(&call->plan.volumes[i])
		                 ? delete_file(&call->plan.volumes[i], driver, c, e)
		                 : 0;
		if (rc < 0)
			return rc;
	}
	return 0;
}

int vm_call_delete_all_volumes(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	for (size_t i = 0; i < call->plan.n_volumes; i++) {
		int rc = delete_file(&call->plan.volumes[i], driver, c, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

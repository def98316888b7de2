/* SPDX-License-Identifier: Apache-2.0 */
/* Claiming the volumes of a VM's disks in the mutation that needs them. Writer thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "compute/vm_disk.h"
#include "compute/vm_live.h"
#include "compute/vm_volumes.h"
#include "storage/image.h"
#include "storage/pool_store.h"
#include "storage/volume_operations.h"

#define MIB ((int64_t)1 << 20)

static int claim_existing(
        struct db *db, struct vm_disk *disk, const struct vm_claim *claim, struct err *e)
{
	char pointer[128];
	snprintf(pointer, sizeof(pointer), "/disks/%s/volume", disk->name);
	struct volume_row volume CLEANUP(volume_row_done) = {0};
	int rc = volume_store_find(db, disk->pool, claim->host_id, disk->volume, &volume, e);
	if (rc == ERR_NOT_FOUND)
		return err_set_at(e, ERR_REFERENCE, pointer,
		        "pool %s has no volume named %s on that host", disk->pool, disk->volume);
	if (rc < 0)
		return rc;
	if (disk->size_bytes != 0 && disk->size_bytes != volume.size_bytes)
		return err_set_at(e, ERR_INVALID, pointer, "volume %s has %lld bytes, not %lld",
		        volume.name, (long long)volume.size_bytes, (long long)disk->size_bytes);
	disk->size_bytes = volume.size_bytes;
	rc = volume_check_host(db, &volume, claim->host_id, e);
	return rc < 0 ? rc : volume_attach(db, volume.id, claim->vm_id, disk->name, e);
}

/* ---- new volumes ---- */

static int start_copy(struct db *db, const struct image_row *image, const char *pool_id,
        const struct vm_claim *claim, char ret_layer[UUID_TEXT_SIZE], struct err *e)
{
	char operation[UUID_TEXT_SIZE] = "";
	const struct operation_asked asked = {
	        .requested_by = claim->request->requested_by,
	        .request_id = claim->request->request_id,
	};
	int rc = image_copy_start(db, claim->vms->config.engine, image, pool_id, claim->host_id,
	        &asked, operation, ret_layer, e);
	if (rc == 0 && operation[0])
		json_array_append_new(claim->wait_for, json_string(operation));
	return rc;
}

static int check_image(const struct image_row *image, const struct vm_spec *spec,
        const struct vm_disk *disk, struct err *e)
{
	char pointer[128];
	snprintf(pointer, sizeof(pointer), "/disks/%s/size_bytes", disk->name);
	if (disk->size_bytes != 0 && disk->size_bytes < image->size_bytes)
		return err_set_at(e, ERR_INVALID, pointer, "image %s needs %lld bytes, not %lld",
		        image->spec.name, (long long)image->size_bytes,
		        (long long)disk->size_bytes);
	if (disk->kind == VM_DISK_CDROM)
		return 0;
	if (!str_is_empty(image->spec.architecture) &&
	        !str_equal(image->spec.architecture, spec->architecture))
		return err_set_at(e, ERR_INVALID, "/architecture",
		        "image %s is made for %s, not %s", image->spec.name,
		        image->spec.architecture, spec->architecture);
	if (spec->memory.size_bytes < image->spec.min_memory_bytes)
		return err_set_at(e, ERR_INVALID, "/memory/size_bytes",
		        "image %s needs %lld bytes of memory, not %lld", image->spec.name,
		        (long long)image->spec.min_memory_bytes,
		        (long long)spec->memory.size_bytes);
	bool uefi = spec->boot.firmware == VM_FIRMWARE_UEFI;
	if ((uefi && image->spec.firmware == IMAGE_FIRMWARE_BIOS) ||
	        (!uefi && image->spec.firmware == IMAGE_FIRMWARE_UEFI && !spec->boot.kernel))
		return err_set_at(e, ERR_INVALID, "/boot/firmware", "image %s boots by %s only",
		        image->spec.name, uefi ? "BIOS" : "UEFI");
	return 0;
}

static int use_image(struct db *db, const struct vm_spec *spec, struct vm_disk *disk,
        const char *pool_id, const struct vm_claim *claim, char ret_layer[UUID_TEXT_SIZE],
        struct err *e)
{
	char pointer[128];
	snprintf(pointer, sizeof(pointer), "/disks/%s/image", disk->name);
	struct image_row image CLEANUP(image_row_done) = {0};
	int rc = image_store_get(db, disk->image, &image, e);
	if (rc == ERR_NOT_FOUND)
		return err_set_at(
		        e, ERR_REFERENCE, pointer, "there is no image named %s", disk->image);
	if (rc < 0)
		return rc;
	if (!str_equal(image.state, "ready"))
		return err_set_at(e, ERR_WRONG_STATE, pointer, "image %s is %s", image.spec.name,
		        image.state);
	rc = check_image(&image, spec, disk, e);
	if (rc < 0)
		return rc;
	if (disk->size_bytes == 0)
		disk->size_bytes = (image.size_bytes + MIB - 1) / MIB * MIB;
	return start_copy(db, &image, pool_id, claim, ret_layer, e);
}

/* The layer that a clone's disk begins as. */
static int use_layer(struct db *db, struct vm_disk *disk, const struct vm_claim *claim,
        char ret_layer[UUID_TEXT_SIZE], struct err *e)
{
	struct layer_chain chain CLEANUP(layer_chain_done) = {0};
	int rc = layer_chain_load(db, disk->from_layer, &chain, e);
	for (size_t i = 0; i < chain.len && rc == 0; i++)
		if (layer_chain_enters_pool(&chain, i))
			rc = pool_check_host(db, chain.pools[i]->id, claim->host_id, e);
	if (rc < 0)
		return rc;
	disk->size_bytes = chain.layers[0].size_bytes;
	uuid_text_copy(ret_layer, disk->from_layer);
	return 0;
}

/* `files`: where it begins, if it cannot in its pool; NULL: there. */
static int reserve_new(struct db *db, struct vm_disk *disk, const char *backing_id,
        const struct pool_access *files, const struct vm_claim *claim, struct err *e)
{
	const char *random = claim->vm_id + UUID_TEXT_SIZE - 1 - 8; /* its beginning is the time */
	char *name CLEANUP(cleanup_free) =
	        str_format("%.24s-%.24s-%s", claim->vm_name, disk->name, random);
	for (int i = 2; i < 1000; i++) { /* what was in a drive before may still be there */
		struct volume_row other CLEANUP(volume_row_done) = {0};
		if (volume_store_find(db, disk->pool, claim->host_id, name, &other, NULL) < 0)
			break;
		free(name);
		name = str_format("%.24s-%.20s-%d-%s", claim->vm_name, disk->name, i, random);
	}
	const struct volume_request request = {
	        .pool = disk->pool,
	        .host_id = claim->host_id,
	        .name = name,
	        .format = vm_disk_format_names[disk->format],
	        .size_bytes = disk->size_bytes,
	        .vm_id = claim->vm_id,
	        .disk = disk->name,
	        .backing_id = backing_id[0] ? backing_id : NULL,
	        .files = files,
	};
	char id[UUID_TEXT_SIZE];
	int rc = volume_reserve(db, &request, id, e);
	if (rc == 0)
		disk->volume = TAKE(name);
	return rc;
}

/*
 * In a pool that holds no files nothing can stand on an image or a snapshot. A disk that shall be whole begins in the pool's
 * file_pool and moves in when it is made (vm_volumes_flatten_new); a linked one stays there. *ret_files: the disk's pool, or that
 * other one.
 */
static int choose_files(struct db *db, struct vm_disk *disk, const struct pool_access *pool,
        const struct vm_claim *claim, struct pool_access *ret_files, struct err *e)
{
	int rc = pool_choose_files(db, pool->id, claim->host_id, ret_files, e);
	if (rc < 0 || strcmp(ret_files->id, pool->id) == 0)
		return rc;
	if (disk->kind == VM_DISK_CDROM)
		return err_set(e, ERR_UNSUPPORTED,
		        "the medium of CD-ROM %s is a file, and pool %s (%s) holds none",
		        disk->name, pool->name, pool->kind->name);
	if (!disk->from_layer[0])
		disk->clone = VM_CLONE_FULL;
	else if (disk->clone == VM_CLONE_LINKED)
		str_replace(&disk->pool, ret_files->name);
	return 0;
}

static int claim_copy(struct db *db, const struct vm_spec *spec, struct vm_disk *disk,
        const struct pool_access *pool, const struct vm_claim *claim, struct err *e)
{
	struct pool_access files CLEANUP(pool_access_done) = {0};
	char backing[UUID_TEXT_SIZE] = "";
	int rc = choose_files(db, disk, pool, claim, &files, e);
	if (rc == 0)
		rc = disk->from_layer[0] ? use_layer(db, disk, claim, backing, e)
		                         : use_image(db, spec, disk, files.id, claim, backing, e);
	bool begins_elsewhere = rc == 0 && !str_equal(files.name, disk->pool);
	return rc < 0 ? rc
	              : reserve_new(db, disk, backing, begins_elsewhere ? &files : NULL, claim, e);
}

static int claim_new(struct db *db, const struct vm_spec *spec, struct vm_disk *disk,
        const struct vm_claim *claim, struct err *e)
{
	struct pool_access pool CLEANUP(pool_access_done) = {0};
	int rc = pool_access_load(db, disk->pool, &pool, e);
	if (rc == ERR_NOT_FOUND) {
		char pointer[128];
		snprintf(pointer, sizeof(pointer), "/disks/%s/pool", disk->name);
		return err_set_at(
		        e, ERR_REFERENCE, pointer, "there is no pool named %s", disk->pool);
	}
	if (rc == 0)
		rc = pool_check_host(db, pool.id, claim->host_id, e);
	if (rc < 0)
		return rc;
	return disk->from_layer[0] || disk->image ? claim_copy(db, spec, disk, &pool, claim, e)
	                                          : reserve_new(db, disk, "", NULL, claim, e);
}

/* ---- all disks ---- */

static bool is_untouched(const struct vm_disk *disk, const struct vm_disk *old)
{
	if (!old)
		return false;
	return disk->kind != VM_DISK_CDROM ||
	       (str_equal(disk->volume, old->volume) && str_equal(disk->image, old->image) &&
	               str_equal(disk->pool, old->pool));
}

/* What a drive held until now is somebody else's from here on; a failure gives it back. */
static int take_out(
        struct db *db, const struct vm_claim *claim, const struct vm_disk *old, struct err *e)
{
	struct volume_row volume CLEANUP(volume_row_done) = {0};
	if (!old || !old->volume)
		return 0;
	int rc = volume_store_find(db, old->pool, claim->host_id, old->volume, &volume, e);
	return rc < 0 ? rc : volume_detach(db, volume.id, e);
}

/* A disk of that name that the guest still has, or whose removal is under way, has its volume; it can only come back. */
static int check_name_free(
        struct db *db, const struct vm_disk *disk, const struct vm_claim *claim, struct err *e)
{
	struct volume_row held CLEANUP(volume_row_done) = {0};
	int rc = vm_disk_find_volume(db, claim->vm_id, disk->name, &held, e);
	if (rc <= 0 || str_equal(disk->volume, held.name))
		return rc < 0 ? rc : 0;
	char pointer[128];
	snprintf(pointer, sizeof(pointer), "/disks/%s", disk->name);
	err_set_at(e, ERR_WRONG_STATE, pointer,
	        "VM %s still has the removed disk %s, with volume %s of pool %s", claim->vm_name,
	        disk->name, held.name, held.pool);
	return err_hint(
	        e, "wait until its guest lets go of it, stop the VM, or choose another name");
}

int vm_volumes_claim(struct db *db, struct vm_spec *spec, const struct vm_spec *before,
        const struct vm_claim *claim, struct err *e)
{
	for (size_t i = 0; i < spec->disks.len; i++) {
		struct vm_disk *disk = vm_spec_disk(spec, i);
		const struct vm_disk *old = before ? vm_spec_find_disk(before, disk->name) : NULL;
		if (is_untouched(disk, old))
			continue;
		int rc = take_out(db, claim, old, e);
		if (rc == 0)
			rc = check_name_free(db, disk, claim, e);
		if (rc == 0 && disk->volume)
			rc = claim_existing(db, disk, claim, e);
		else if (rc == 0 && (disk->kind == VM_DISK_DISK || disk->image))
			rc = claim_new(db, spec, disk, claim, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

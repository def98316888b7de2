/* SPDX-License-Identifier: Apache-2.0 */
/* Writes cloud-init's seed of a VM. */
#include "compute/vm_seed.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/bulk.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "compute/host_store.h"
#include "compute/vm_disk.h"
#include "db/reader.h"
#include "hypervisor/transfer.h"
#include "operation/services.h"
#include "storage/cloud_init.h"
#include "storage/image.h"
#include "storage/pool_store.h"

#define SEED_BYTES    ((int64_t)4 << 20) /* more than any seed needs; sparse */
#define PASSWORD_NAME "cloud_init_password"

void vm_seed_check(const struct vm_spec *spec, struct field_errors *errors)
{
	const struct vm_cloud_init *data = &spec->cloud_init;
	if (vm_spec_find_disk(spec, VM_SEED_DISK))
		field_errors_add(errors, "bad_value", "/disks/" VM_SEED_DISK,
		        "is the name of the disk with cloud_init's data");
	if (!spec->has_cloud_init)
		return;
	if (data->meta_data && (data->hostname || data->ssh_keys.len > 0))
		field_errors_add(errors, "bad_value", "/cloud_init/meta_data",
		        "replaces hostname and ssh_keys: give either");
	cloud_init_check(
	        "/cloud_init", data->user_data, data->meta_data, data->network_config, errors);
}

/* ---- the mutation ---- */

static int keep_password(
        struct db *db, struct vm_spec *spec, const char *vm_id, bool *changed, struct err *e)
{
	char *password CLEANUP(cleanup_free) = TAKE(spec->cloud_init.password);
	char *hash CLEANUP(cleanup_free) = NULL;
	if (!password)
		return 0;
	*changed = true;
	if (password[0] == '\0')
		return vm_store_set_secret(db, vm_id, PASSWORD_NAME, NULL, e);
	int rc = cloud_init_hash_password(password, &hash, e);
	explicit_bzero(password, strlen(password));
	return rc < 0 ? rc : vm_store_set_secret(db, vm_id, PASSWORD_NAME, hash, e);
}

/*
 * The pool of its first disk that can hold files, so that the seed lies where the VM's disks lie; else where the files of its
 * first disk lie.
 */
static int choose_pool(struct db *db, const struct vm_spec *spec, const char *host_id,
        char **ret_pool, struct err *e)
{
	struct pool_access files CLEANUP(pool_access_done) = {0};
	for (size_t i = 0; i < spec->disks.len; i++) {
		const char *name = vm_spec_disk(spec, i)->pool;
		struct pool_row pool CLEANUP(pool_row_done) = {0};
		int rc = pool_store_get(db, name, &pool, e);
		if (rc < 0)
			return rc;
		const struct pool_kind *kind = pool_kind_find(pool.kind);
		if (kind && pool_kind_makes_files(kind)) {
			*ret_pool = xstrdup(pool.name);
			return 0;
		}
	}
	if (spec->disks.len > 0) {
		int rc = pool_choose_files(db, vm_spec_disk(spec, 0)->pool, host_id, &files, e);
		if (rc < 0)
			return rc;
	}
	*ret_pool = xstrdup(files.name ? files.name : POOL_DEFAULT_NAME);
	return 0;
}

static int reserve_volume(struct db *db, const struct vm_spec *spec, const char *vm_id,
        const char *vm_name, const char *host_id, struct err *e)
{
	char *pool CLEANUP(cleanup_free) = NULL;
	int rc = choose_pool(db, spec, host_id, &pool, e);
	if (rc < 0)
		return rc;
	const char *random = vm_id + UUID_TEXT_SIZE - 1 - 8; /* an id's beginning is the time */
	char *name CLEANUP(cleanup_free) = str_format("%.24s-cloud-init-%s", vm_name, random);
	const struct volume_request request = {
	        .pool = pool,
	        .host_id = host_id,
	        .name = name,
	        .format = "raw",
	        .size_bytes = SEED_BYTES,
	        .vm_id = vm_id,
	        .disk = VM_SEED_DISK,
	};
	char id[UUID_TEXT_SIZE];
	return volume_reserve(db, &request, id, e);
}

static bool is_same(const struct vm_cloud_init *a, const struct vm_cloud_init *b)
{
	if (!str_equal(a->hostname, b->hostname) || !str_equal(a->user_data, b->user_data) ||
	        !str_equal(a->meta_data, b->meta_data) ||
	        !str_equal(a->network_config, b->network_config) ||
	        a->ssh_keys.len != b->ssh_keys.len)
		return false;
	for (size_t i = 0; i < a->ssh_keys.len; i++)
		if (!str_equal(a->ssh_keys.items[i], b->ssh_keys.items[i]))
			return false;
	return true;
}

int vm_seed_claim(struct db *db, struct vm_spec *spec, const struct vm_spec *before,
        const char *vm_id, const char *vm_name, const char *host_id, bool *ret_changed,
        struct err *e)
{
	*ret_changed = false;
	if (!spec->has_cloud_init)
		return 0;
	*ret_changed = !before || !before->has_cloud_init ||
	               !is_same(&before->cloud_init, &spec->cloud_init);
	struct volume_row seed CLEANUP(volume_row_done) = {0};
	int rc = keep_password(db, spec, vm_id, ret_changed, e);
	if (rc < 0 || !*ret_changed)
		return rc;
	rc = vm_disk_find_volume(db, vm_id, VM_SEED_DISK, &seed, e);
	if (rc > 0)
		return 0; /* the one that it has is written anew */
	return rc < 0 ? rc : reserve_volume(db, spec, vm_id, vm_name, host_id, e);
}

/* ---- the step ---- */

struct seed_write {
	struct operation *op;
	struct readers *readers;
	char vm_id[UUID_TEXT_SIZE], host_id[UUID_TEXT_SIZE];
};

struct bytes {
	const char *data;
	size_t len, at;
};

static int64_t read_bytes(void *arg, void *buffer, size_t n, struct err *e)
{
	(void)e;
	struct bytes *bytes = arg;
	size_t left = bytes->len - bytes->at;
	if (n > left)
		n = left;
	memcpy(buffer, bytes->data + bytes->at, n);
	bytes->at += n;
	return (int64_t)n;
}

/* The image that the guest began as may be gone; then cloud-init's own default counts. */
static void find_default_user(
        struct db *db, const struct vm_spec *spec, struct image_row *ret_image)
{
	for (size_t i = 0; i < spec->disks.len; i++) {
		const struct vm_disk *disk = vm_spec_disk(spec, i);
		if (disk->kind == VM_DISK_DISK && disk->image) {
			image_store_get(db, disk->image, ret_image, NULL);
			return;
		}
	}
}

static int build(
        struct db *db, const struct vm_plan *plan, void **ret_iso, size_t *ret_n, struct err *e)
{
	char *password CLEANUP(cleanup_free) = NULL;
	struct image_row image CLEANUP(image_row_done) = {0};
	char instance_id[48];
	const struct vm_cloud_init *spec = &plan->spec.cloud_init;
	int rc = vm_store_get_secret(db, plan->row.id, PASSWORD_NAME, &password, e);
	if (rc < 0)
		return rc;
	struct cloud_init_data data = {
	        .hostname = spec->hostname ? spec->hostname : plan->row.name,
	        .ssh_keys = &spec->ssh_keys,
	        .user_data = spec->user_data,
	        .meta_data = spec->meta_data,
	        .network_config = spec->network_config,
	        .password_hash = password,
	};
	find_default_user(db, &plan->spec, &image);
	data.default_user = str_is_empty(image.spec.default_user) ? NULL : image.spec.default_user;
	cloud_init_instance_id(&data, plan->row.id, instance_id);
	data.instance_id = instance_id;
	return cloud_init_build(&data, ret_iso, ret_n, e);
}

static int upload(
        const char *uri, const struct layer_chain *chain, const void *iso, size_t n, struct err *e)
{
	struct bytes bytes = {.data = iso, .len = n};
	const struct volume_source from = {.read = read_bytes, .arg = &bytes};
	const struct transfer transfer = {
	        .uri = uri,
	        .pool = chain->pools[0]->libvirt_name,
	        .volume = chain->layers[0].file,
	        .length = (int64_t)n,
	};
	return transfer_upload(&transfer, &from, e);
}

/* Bulk thread. */
static int write_seed(struct bulk_job *job, void *arg, struct err *e)
{
	(void)job;
	const struct seed_write *write = arg;
	struct vm_plan plan CLEANUP(vm_plan_done) = {0};
	struct host_row host CLEANUP(host_row_done) = {0};
	void *iso CLEANUP(cleanup_free) = NULL;
	size_t n = 0;
	struct db *db;
	int rc = readers_get(write->readers, &db, e);
	if (rc == 0)
		rc = vm_plan_load(db, write->vm_id, &plan, e);
	if (rc == 0)
		rc = host_store_get(db, write->host_id, &host, e);
	if (rc == 0)
		rc = build(db, &plan, &iso, &n, e);
	if (rc < 0)
		return rc;
	const struct layer_chain *chain = vm_plan_chain(&plan, VM_SEED_DISK);
	if (chain)
		return upload(host.uri, chain, iso, n, e);
	return err_set(e, ERR_INTERNAL, "the seed of VM %s has no volume", plan.row.name);
}

static void on_written(void *arg, int rc, const struct err *e)
{
	struct seed_write *write = arg;
	operation_step_done(write->op, rc, e);
	free(write);
}

void vm_seed_write(struct operation *op)
{
	const struct operation_services *services = operation_context(op);
	if (!json_is_true(json_object_get(operation_input(op), "seed"))) {
		operation_step_done(op, 0, NULL);
		return;
	}
	struct seed_write *write = xcalloc(1, sizeof(*write));
	write->op = op;
	write->readers = services->readers;
	uuid_text_copy(write->vm_id, operation_target_id(op));
	uuid_text_copy(write->host_id, operation_host_id(op));
	const struct bulk_call call = {
	        .run = write_seed, .done = on_written, .arg = write, .key = write->host_id};
	bulk_submit(services->bulk, &call);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fake driver's stores, the volumes in them and the streams. One lock for all stores: two hosts may reach the same
 * one. Lane and bulk threads.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "hypervisor/driver_fake_internal.h"
#include "hypervisor/storage_xml.h"

#define STORE_CAPACITY ((int64_t)1024 * 1024 * 1024 * 1024)
#define OVERCOMMIT     16 /* times its capacity may be promised */
#define QCOW2_EMPTY    ((int64_t)196608)
#define BLOCK_BYTES    ((int64_t)65536)

static pthread_mutex_t stores_lock = PTHREAD_MUTEX_INITIALIZER;
static struct map *stores; /* key -> struct fake_store, under stores_lock */

/* --- stores --- */

static void free_volume(struct fake_volume *v)
{
	if (!v)
		return;
	free(v->name);
	free(v->backing_path);
	free(v->bytes);
	free(v);
}

static void free_store(struct fake_store *store)
{
	size_t cursor = 0;
	void *volume;
	while (map_next(store->volumes, &cursor, NULL, &volume))
		free_volume(volume);
	map_free(store->volumes);
	free(store);
}

void fake_stores_reset(void)
{
	LOCK_SCOPE(&stores_lock);
	size_t cursor = 0;
	void *store;
	while (stores && map_next(stores, &cursor, NULL, &store))
		free_store(store);
	map_free(TAKE(stores));
}

struct fake_store *fake_store_get(const char *key)
{
	LOCK_SCOPE(&stores_lock);
	if (!stores)
		stores = map_new();
	struct fake_store *store = map_get(stores, key);
	if (store)
		return store;
	store = xcalloc(1, sizeof(*store));
	store->volumes = map_new();
	store->capacity_bytes = STORE_CAPACITY;
	map_put(stores, key, store);
	return store;
}

static void sum_up(const struct fake_store *store, int64_t *ret_used, int64_t *ret_promised)
{
	size_t cursor = 0;
	void *volume;
	*ret_used = *ret_promised = 0;
	while (map_next(store->volumes, &cursor, NULL, &volume)) {
		*ret_used += ((const struct fake_volume *)volume)->allocation_bytes;
		*ret_promised += ((const struct fake_volume *)volume)->capacity_bytes;
	}
}

void fake_store_measure(struct fake_store *store, struct pool_info *ret_info)
{
	LOCK_SCOPE(&stores_lock);
	int64_t used, promised, capacity = store->capacity_bytes;
	sum_up(store, &used, &promised);
	*ret_info = (struct pool_info){.capacity_bytes = capacity,
	        .allocation_bytes = used,
	        .available_bytes = used < capacity ? capacity - used : 0};
}

/* Takes space for it, or refuses. */
static int grow(
        struct fake_store *store, struct fake_volume *v, int64_t allocation_bytes, struct err *e)
{
	int64_t used, promised;
	if (allocation_bytes <= v->allocation_bytes)
		return 0;
	sum_up(store, &used, &promised);
	if (used - v->allocation_bytes + allocation_bytes > store->capacity_bytes)
		return err_set(e, ERR_DISK_FULL, "volume '%s': No space left on device", v->name);
	v->allocation_bytes = allocation_bytes;
	return 0;
}

/* --- volumes --- */

static struct fake_volume *add(
        struct fake_store *store, const char *name, const char *format, int64_t capacity_bytes)
{
	struct fake_volume *v = xcalloc(1, sizeof(*v));
	v->name = xstrdup(name);
	v->capacity_bytes = capacity_bytes;
	snprintf(v->format, sizeof(v->format), "%s", format);
	map_put(store->volumes, name, v);
	return v;
}

static int accept_existing(
        const struct fake_volume *v, const struct volume_config *config, struct err *e)
{
	if (v->capacity_bytes != storage_round_up(config->size_bytes))
		return err_set(e, ERR_EXISTS, "volume '%s' exists with %lld bytes", v->name,
		        (long long)v->capacity_bytes);
	if (!str_equal(v->backing_path, config->backing_path))
		return err_set(e, ERR_EXISTS, "volume '%s' exists on %s", v->name,
		        v->backing_path ? v->backing_path : "nothing");
	return 0;
}

static int create_new(struct fake_store *store, const struct volume_config *config, struct err *e)
{
	int64_t used, promised, capacity = storage_round_up(config->size_bytes);
	sum_up(store, &used, &promised);
	if (capacity > OVERCOMMIT * STORE_CAPACITY - promised)
		return err_set(e, ERR_DISK_FULL, "no room for volume '%s'", config->name);
	struct fake_volume *v = add(store, config->name, config->format, capacity);
	v->backing_path = xstrdup(config->backing_path);
	v->file_bytes = str_equal(config->format, "qcow2") ? QCOW2_EMPTY : capacity;
	int64_t empty = str_equal(config->format, "qcow2") ? QCOW2_EMPTY : 0;
	int rc = grow(store, v, config->preallocate ? capacity : empty, e);
	if (rc != 0)
		free_volume(map_remove(store->volumes, config->name));
	return rc;
}

int fake_volume_create(struct driver_connection *c, const char *pool,
        const struct volume_config *config, struct err *e)
{
	struct fake_pool *p;
	char *xml CLEANUP(cleanup_free) = NULL;
	int rc = fake_enter_pool(c, "volume_create", pool, &p, e);
	if (rc != 0)
		return rc;
	rc = storage_xml_build_volume(p->type, config, &xml, e);
	if (rc == 0) {
		LOCK_SCOPE(&stores_lock);
		const struct fake_volume *old = map_get(p->store->volumes, config->name);
		rc = old ? accept_existing(old, config, e) : create_new(p->store, config, e);
	}
	fake_leave(c);
	return rc;
}

int fake_volume_delete(
        struct driver_connection *c, const char *pool, const char *volume, struct err *e)
{
	struct fake_pool *p;
	int rc = fake_enter_pool(c, "volume_delete", pool, &p, e);
	if (rc != 0)
		return rc;
	pthread_mutex_lock(&stores_lock);
	free_volume(map_remove(p->store->volumes, volume));
	pthread_mutex_unlock(&stores_lock);
	fake_leave(c);
	return 0;
}

static void fill_info(
        const struct fake_pool *pool, const struct fake_volume *v, struct volume_info *ret_info)
{
	*ret_info = (struct volume_info){.name = xstrdup(v->name),
	        .path = str_format("%s/%s", pool->base, v->name),
	        .backing_path = xstrdup(v->backing_path),
	        .capacity_bytes = v->capacity_bytes,
	        .allocation_bytes = v->allocation_bytes};
	memcpy(ret_info->format, v->format, sizeof(v->format));
}

/* Enters the call and finds the volume; on success the host and the stores are locked. */
static int enter_volume(struct driver_connection *c, const char *call, const char *pool,
        const char *volume, struct fake_pool **ret_pool, struct fake_volume **ret_volume,
        struct err *e)
{
	int rc = fake_enter_pool(c, call, pool, ret_pool, e);
	if (rc != 0)
		return rc;
	pthread_mutex_lock(&stores_lock);
	*ret_volume = map_get((*ret_pool)->store->volumes, volume);
	if (*ret_volume)
		return 0;
	pthread_mutex_unlock(&stores_lock);
	fake_leave(c);
	return err_set(e, ERR_NOT_FOUND, "no volume '%s' in pool '%s'", volume, pool);
}

static void leave_volume(struct driver_connection *c)
{
	pthread_mutex_unlock(&stores_lock);
	fake_leave(c);
}

int fake_volume_get(struct driver_connection *c, const char *pool, const char *volume,
        struct volume_info *ret_info, struct err *e)
{
	struct fake_pool *p;
	struct fake_volume *v;
	int rc = enter_volume(c, "volume_get", pool, volume, &p, &v, e);
	if (rc != 0)
		return rc;
	fill_info(p, v, ret_info);
	leave_volume(c);
	return 0;
}

int fake_volume_list(struct driver_connection *c, const char *pool,
        struct volume_info_list *ret_list, struct err *e)
{
	struct fake_pool *p;
	int rc = fake_enter_pool(c, "volume_list", pool, &p, e);
	if (rc != 0)
		return rc;
	pthread_mutex_lock(&stores_lock);
	struct volume_info_list list = {
	        .items = xcalloc(map_len(p->store->volumes) + 1, sizeof(list.items[0]))};
	size_t cursor = 0;
	void *volume;
	while (map_next(p->store->volumes, &cursor, NULL, &volume))
		fill_info(p, volume, &list.items[list.len++]);
	leave_volume(c);
	*ret_list = list;
	return 0;
}

int fake_volume_wipe(
        struct driver_connection *c, const char *pool, const char *volume, struct err *e)
{
	struct fake_pool *p;
	struct fake_volume *v;
	int rc = enter_volume(c, "volume_wipe", pool, volume, &p, &v, e);
	if (rc != 0)
		return rc;
	free(TAKE(v->bytes));
	leave_volume(c);
	return 0;
}

/* --- streams --- */

static void keep_bytes(struct fake_volume *v, int64_t offset, const unsigned char *bytes, int64_t n)
{
	if (offset >= FAKE_KEPT_BYTES)
		return;
	if (!v->bytes)
		v->bytes = xcalloc(1, (size_t)FAKE_KEPT_BYTES);
	int64_t fits = n < FAKE_KEPT_BYTES - offset ? n : FAKE_KEPT_BYTES - offset;
	memcpy(v->bytes + offset, bytes, (size_t)fits);
}

static int write_block(struct driver_connection *c, const char *pool, const char *volume,
        int64_t offset, const unsigned char *bytes, int64_t n, struct err *e)
{
	struct fake_pool *p;
	struct fake_volume *v;
	int rc = enter_volume(c, "volume_upload_block", pool, volume, &p, &v, e);
	if (rc != 0)
		return rc;
	rc = grow(p->store, v, offset + n, e);
	if (rc == 0) {
		keep_bytes(v, offset, bytes, n);
		if (v->file_bytes < offset + n)
			v->file_bytes = offset + n;
	}
	leave_volume(c);
	return rc;
}

static int64_t block_size(int64_t length, int64_t done)
{
	return length > 0 && length - done < BLOCK_BYTES ? length - done : BLOCK_BYTES;
}

static int check_length(int64_t length, int64_t done, struct err *e)
{
	if (length == 0 || done == length)
		return 0;
	return err_set(e, ERR_UNPROCESSABLE, "the stream ended after %lld of %lld bytes",
	        (long long)done, (long long)length);
}

int fake_volume_upload(struct driver_connection *c, const char *pool, const char *volume,
        int64_t offset, int64_t length, const struct volume_source *from, struct err *e)
{
	struct fake_pool *p;
	struct fake_volume *v;
	int rc = enter_volume(c, "volume_upload", pool, volume, &p, &v, e);
	if (rc != 0)
		return rc;
	leave_volume(c);
	unsigned char *buffer CLEANUP(cleanup_free) = xcalloc(1, (size_t)BLOCK_BYTES);
	int64_t done = 0;
	for (int64_t want; (want = block_size(length, done)) > 0;) {
		int64_t got = from->read(from->arg, buffer, (size_t)want, e);
		if (got < 0)
			return (int)got;
		if (got == 0)
			break;
		rc = write_block(c, pool, volume, offset + done, buffer, got, e);
		if (rc != 0)
			return rc;
		done += got;
	}
	return check_length(length, done, e);
}

/* How many bytes, 0 at the end of the file; or an error. */
static int64_t read_block(struct driver_connection *c, const char *pool, const char *volume,
        int64_t offset, unsigned char *bytes, int64_t n, struct err *e)
{
	struct fake_pool *p;
	struct fake_volume *v;
	int rc = enter_volume(c, "volume_download_block", pool, volume, &p, &v, e);
	if (rc != 0)
		return rc;
	int64_t left = v->file_bytes > offset ? v->file_bytes - offset : 0;
	int64_t size = n < left ? n : left;
	int64_t kept = v->bytes && offset < FAKE_KEPT_BYTES ? FAKE_KEPT_BYTES - offset : 0;
	memset(bytes, 0, (size_t)size);
	if (kept > 0)
		memcpy(bytes, v->bytes + offset, (size_t)(size < kept ? size : kept));
	leave_volume(c);
	return size;
}

int fake_volume_download(struct driver_connection *c, const char *pool, const char *volume,
        int64_t offset, int64_t length, const struct volume_sink *to, struct err *e)
{
	struct fake_pool *p;
	struct fake_volume *v;
	int rc = enter_volume(c, "volume_download", pool, volume, &p, &v, e);
	if (rc != 0)
		return rc;
	leave_volume(c);
	unsigned char *buffer CLEANUP(cleanup_free) = xcalloc(1, (size_t)BLOCK_BYTES);
	int64_t done = 0;
	for (int64_t want; (want = block_size(length, done)) > 0;) {
		int64_t got = read_block(c, pool, volume, offset + done, buffer, want, e);
		if (got < 0)
			return (int)got;
		if (got == 0)
			break;
		rc = to->write(to->arg, buffer, (size_t)got, e);
		if (rc != 0)
			return rc;
		done += got;
	}
	return check_length(length, done, e);
}

/* --- by other hands --- */

void fake_pool_set_capacity(const char *host, const char *pool, int64_t capacity_bytes)
{
	struct fake_host *h = fake_host_get(host);
	LOCK_SCOPE(&h->lock);
	const struct fake_pool *p = fake_pool_get(h, pool);
	LOCK_SCOPE(&stores_lock);
	if (p)
		p->store->capacity_bytes = capacity_bytes;
}

void fake_volume_foreign_add(const char *host, const char *pool, const char *volume,
        const char *format, int64_t capacity_bytes)
{
	struct fake_host *h = fake_host_get(host);
	LOCK_SCOPE(&h->lock);
	struct fake_pool *p = fake_pool_get(h, pool);
	if (!p)
		return;
	LOCK_SCOPE(&stores_lock);
	free_volume(map_remove(p->store->volumes, volume));
	add(p->store, volume, format, capacity_bytes)->file_bytes = capacity_bytes;
}

void fake_volume_foreign_remove(const char *host, const char *pool, const char *volume)
{
	struct fake_host *h = fake_host_get(host);
	LOCK_SCOPE(&h->lock);
	struct fake_pool *p = fake_pool_get(h, pool);
	if (!p)
		return;
	LOCK_SCOPE(&stores_lock);
	free_volume(map_remove(p->store->volumes, volume));
}

/* QEMU calls logical unit 3 of a target "IQN/3", libvirt "unit:0:0:3". */
static struct fake_volume *find_in_pool(const struct fake_pool *pool, const char *name)
{
	struct fake_volume *v = map_get(pool->store->volumes, name);
	if (v || !str_equal(pool->type, "iscsi-direct"))
		return v;
	char *unit CLEANUP(cleanup_free) = str_format("unit:0:0:%s", name);
	return map_get(pool->store->volumes, unit);
}

/* Locked, both. */
static struct fake_volume *find_by_path(
        struct fake_host *h, const char *path, const struct fake_pool **ret_pool)
{
	size_t cursor = 0;
	void *value;
	while (map_next(h->pools, &cursor, NULL, &value)) {
		const struct fake_pool *pool = value;
		size_t n = strlen(pool->base);
		struct fake_volume *v = NULL;
		if (strncmp(path, pool->base, n) == 0 && path[n] == '/')
			v = find_in_pool(pool, path + n + 1);
		if (!v)
			continue;
		*ret_pool = pool;
		return v;
	}
	return NULL;
}

bool fake_volume_by_path(struct fake_host *h, const char *path, struct volume_info *ret_info)
{
	LOCK_SCOPE(&stores_lock);
	const struct fake_pool *pool = NULL;
	const struct fake_volume *v = find_by_path(h, path, &pool);
	if (v && ret_info)
		fill_info(pool, v, ret_info);
	return v != NULL;
}

void fake_volume_change(
        struct fake_host *h, const char *path, int64_t capacity_bytes, const char *backing_path)
{
	LOCK_SCOPE(&stores_lock);
	const struct fake_pool *pool = NULL;
	struct fake_volume *v = find_by_path(h, path, &pool);
	if (!v)
		return;
	if (capacity_bytes > 0)
		v->capacity_bytes = capacity_bytes;
	str_replace(&v->backing_path, backing_path);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The fake driver's pools, volumes and networks. Lane threads, under the host's lock. */
#include "hypervisor/driver_fake_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"

#define POOL_CAPACITY ((int64_t)1024 * 1024 * 1024 * 1024)

static void free_volume(struct fake_volume *v)
{
	free(v->name);
	free(v);
}

void fake_pool_free(struct fake_pool *pool)
{
	size_t cursor = 0;
	void *volume;
	while (map_next(pool->volumes, &cursor, NULL, &volume))
		free_volume(volume);
	map_free(pool->volumes);
	free(pool->path);
	free(pool);
}

/* Enters the call and finds the pool; on success the host is locked. */
static int enter_pool(struct driver_connection *c, const char *call, const char *name,
        struct fake_pool **ret_pool, struct err *e)
{
	int rc = fake_enter(c, call, NULL, e);
	if (rc != 0)
		return rc;
	*ret_pool = map_get(c->host->pools, name);
	if (*ret_pool)
		return 0;
	fake_leave(c);
	return err_set(e, ERR_NOT_FOUND, "host %s has no storage pool '%s'", c->host->name, name);
}

int fake_pool_ensure(struct driver_connection *c, const char *pool, const char *path, struct err *e)
{
	int rc = fake_enter(c, "pool_ensure", NULL, e);
	if (rc != 0)
		return rc;
	const struct fake_pool *old = map_get(c->host->pools, pool);
	if (!old) {
		struct fake_pool *made = xcalloc(1, sizeof(*made));
		made->path = xstrdup(path);
		made->volumes = map_new();
		map_put(c->host->pools, pool, made);
	} else if (strcmp(old->path, path) != 0) {
		rc = err_set(e, ERR_EXISTS, "storage pool '%s' exists at %s", pool, old->path);
	}
	fake_leave(c);
	return rc;
}

static int64_t used_bytes(const struct fake_pool *pool)
{
	int64_t used = 0;
	size_t cursor = 0;
	void *volume;
	while (map_next(pool->volumes, &cursor, NULL, &volume))
		used += ((const struct fake_volume *)volume)->capacity_bytes;
	return used;
}

int fake_pool_info(
        struct driver_connection *c, const char *pool, struct pool_info *ret_info, struct err *e)
{
	struct fake_pool *p;
	int rc = enter_pool(c, "pool_info", pool, &p, e);
	if (rc != 0)
		return rc;
	int64_t used = used_bytes(p);
	*ret_info = (struct pool_info){.capacity_bytes = POOL_CAPACITY,
	        .allocation_bytes = used,
	        .available_bytes = used < POOL_CAPACITY ? POOL_CAPACITY - used : 0};
	fake_leave(c);
	return 0;
}

/* As with a directory: the pool goes, a non-empty directory and its volumes would stay behind. */
int fake_pool_remove(struct driver_connection *c, const char *pool, struct err *e)
{
	int rc = fake_enter(c, "pool_remove", NULL, e);
	if (rc != 0)
		return rc;
	struct fake_pool *p = map_remove(c->host->pools, pool);
	if (p)
		fake_pool_free(p);
	fake_leave(c);
	return 0;
}

static int create_volume(struct fake_pool *pool, const char *volume, const char *format,
        int64_t size_bytes, struct err *e)
{
	const struct fake_volume *old = map_get(pool->volumes, volume);
	if (old && old->capacity_bytes == size_bytes)
		return 0;
	if (old)
		return err_set(e, ERR_EXISTS, "volume '%s' exists with %lld bytes", volume,
		        (long long)old->capacity_bytes);
	if (used_bytes(pool) + size_bytes > 16 * POOL_CAPACITY)
		return err_set(e, ERR_DISK_FULL, "no room for volume '%s'", volume);
	struct fake_volume *v = xcalloc(1, sizeof(*v));
	v->name = xstrdup(volume);
	v->capacity_bytes = size_bytes;
	snprintf(v->format, sizeof(v->format), "%s", format);
	map_put(pool->volumes, volume, v);
	return 0;
}

int fake_volume_create(struct driver_connection *c, const char *pool, const char *volume,
        const char *format, int64_t size_bytes, struct err *e)
{
	struct fake_pool *p;
	int rc = enter_pool(c, "volume_create", pool, &p, e);
	if (rc != 0)
		return rc;
	rc = create_volume(p, volume, format, size_bytes, e);
	fake_leave(c);
	return rc;
}

int fake_volume_delete(
        struct driver_connection *c, const char *pool, const char *volume, struct err *e)
{
	struct fake_pool *p;
	int rc = enter_pool(c, "volume_delete", pool, &p, e);
	if (rc != 0)
		return rc;
	struct fake_volume *v = map_remove(p->volumes, volume);
	if (v)
		free_volume(v);
	fake_leave(c);
	return 0;
}

int fake_volume_get(struct driver_connection *c, const char *pool, const char *volume,
        struct volume_info *ret_info, struct err *e)
{
	struct fake_pool *p;
	int rc = enter_pool(c, "volume_get", pool, &p, e);
	if (rc != 0)
		return rc;
	const struct fake_volume *v = map_get(p->volumes, volume);
	if (v) {
		*ret_info = (struct volume_info){.name = xstrdup(v->name),
		        .path = str_format("%s/%s", p->path, v->name),
		        .capacity_bytes = v->capacity_bytes,
		        .allocation_bytes = v->capacity_bytes / 8};
		memcpy(ret_info->format, v->format, sizeof(v->format));
	} else {
		rc = err_set(e, ERR_NOT_FOUND, "no volume '%s' in pool '%s'", volume, pool);
	}
	fake_leave(c);
	return rc;
}

int fake_volume_list(
        struct driver_connection *c, const char *pool, char ***ret_names, struct err *e)
{
	struct fake_pool *p;
	int rc = enter_pool(c, "volume_list", pool, &p, e);
	if (rc != 0)
		return rc;
	char **names = xcalloc(map_len(p->volumes) + 1, sizeof(*names));
	size_t cursor = 0, n = 0;
	const char *name;
	void *volume;
	while (map_next(p->volumes, &cursor, &name, &volume))
		names[n++] = xstrdup(name);
	*ret_names = names;
	fake_leave(c);
	return 0;
}

int fake_network_check(struct driver_connection *c, const char *network, struct err *e)
{
	int rc = fake_enter(c, "network_check", NULL, e);
	if (rc != 0)
		return rc;
	const char *state = map_get(c->host->networks, network);
	if (!state)
		rc = err_set(
		        e, ERR_NOT_FOUND, "host %s has no network '%s'", c->host->name, network);
	else if (strcmp(state, "active") != 0)
		rc = err_set(e, ERR_WRONG_STATE, "network '%s' on host %s is not active", network,
		        c->host->name);
	fake_leave(c);
	return rc;
}

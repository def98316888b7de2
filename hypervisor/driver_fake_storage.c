/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fake driver's pools, secrets and networks. A pool is a definition (of a host) and a store (what lies in it, of all
 * hosts that reach it). Lane threads, under the host's lock.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "hypervisor/driver_fake_internal.h"
#include "hypervisor/storage_xml.h"

#define SHARED_DIRECTORY "/shared/"

void fake_pool_free(struct fake_pool *pool)
{
	free(pool->xml);
	free(pool->base);
	free(pool);
}

struct fake_pool *fake_pool_get(struct fake_host *h, const char *name)
{
	return map_get(h->pools, name);
}

int fake_enter_pool(struct driver_connection *c, const char *call, const char *name,
        struct fake_pool **ret_pool, struct err *e)
{
	int rc = fake_enter(c, call, name, e);
	if (rc != 0)
		return rc;
	*ret_pool = fake_pool_get(c->host, name);
	if (*ret_pool)
		return 0;
	fake_leave(c);
	return err_set(e, ERR_NOT_FOUND, "host %s has no storage pool '%s'", c->host->name, name);
}

/* --- pools --- */

/* By which hosts find the same store. Caller frees. */
static char *store_key(const struct fake_host *h, const struct pool_config *config)
{
	const char *server = config->hosts && config->hosts[0] ? config->hosts[0] : NULL;
	bool is_local =
	        !server && !str_starts_with(config->path ? config->path : "", SHARED_DIRECTORY);
	return str_format("%s|%s|%s|%s|%s|%s|%s", is_local ? h->name : "", config->type,
	        server ? server : "", config->source_dir ? config->source_dir : "",
	        config->source_name ? config->source_name : "",
	        config->source_device ? config->source_device : "",
	        !server && config->path ? config->path : "");
}

static const char *path_base(const struct pool_config *config)
{
	if (config->path)
		return config->path;
	return config->source_name ? config->source_name : config->source_device;
}

/* Takes over xml. */
static void add_pool(struct fake_host *h, const struct pool_config *config, char *xml)
{
	struct fake_pool *pool = xcalloc(1, sizeof(*pool));
	char *key CLEANUP(cleanup_free) = store_key(h, config);
	pool->xml = xml;
	pool->base = xstrdup(path_base(config));
	snprintf(pool->type, sizeof(pool->type), "%s", config->type);
	pool->store = fake_store_get(key);
	map_put(h->pools, config->name, pool);
}

static int ensure(struct fake_host *h, const struct pool_config *config, struct err *e)
{
	char *xml CLEANUP(cleanup_free) = NULL;
	int rc = storage_xml_build_pool(config, &xml, e);
	if (rc != 0)
		return rc;
	const struct fake_pool *old = fake_pool_get(h, config->name);
	if (old)
		return storage_xml_compare_pool(old->xml, config, e);
	if (config->secret_id && !map_get(h->secrets, config->secret_id))
		return err_set(e, ERR_NOT_FOUND, "no secret with the id %s on host %s",
		        config->secret_id, h->name);
	add_pool(h, config, TAKE(xml));
	return 0;
}

int fake_pool_ensure(struct driver_connection *c, const struct pool_config *config, struct err *e)
{
	int rc = fake_enter(c, "pool_ensure", config->name, e);
	if (rc != 0)
		return rc;
	rc = ensure(c->host, config, e);
	fake_leave(c);
	return rc;
}

int fake_pool_info(
        struct driver_connection *c, const char *pool, struct pool_info *ret_info, struct err *e)
{
	struct fake_pool *p;
	int rc = fake_enter_pool(c, "pool_info", pool, &p, e);
	if (rc != 0)
		return rc;
	fake_store_measure(p->store, ret_info);
	fake_leave(c);
	return 0;
}

int fake_pool_remove(struct driver_connection *c, const char *pool, struct err *e)
{
	int rc = fake_enter(c, "pool_remove", pool, e);
	if (rc != 0)
		return rc;
	struct fake_pool *p = map_remove(c->host->pools, pool);
	if (p)
		fake_pool_free(p);
	fake_leave(c);
	return 0;
}

/* --- secrets --- */

int fake_secret_set(struct driver_connection *c, const char *secret_id, const char *usage,
        const char *value, struct err *e)
{
	int rc = fake_enter(c, "secret_set", secret_id, e);
	if (rc != 0)
		return rc;
	char *xml CLEANUP(cleanup_free) = NULL;
	rc = storage_xml_build_secret(secret_id, usage, &xml, e);
	if (rc == 0) {
		free(map_remove(c->host->secrets, secret_id));
		map_put(c->host->secrets, secret_id, xstrdup(value));
	}
	fake_leave(c);
	return rc;
}

int fake_secret_remove(struct driver_connection *c, const char *secret_id, struct err *e)
{
	int rc = fake_enter(c, "secret_remove", secret_id, e);
	if (rc != 0)
		return rc;
	free(map_remove(c->host->secrets, secret_id));
	fake_leave(c);
	return 0;
}

char *fake_secret_get(const char *host, const char *secret_id)
{
	struct fake_host *h = fake_host_get(host);
	LOCK_SCOPE(&h->lock);
	return xstrdup(map_get(h->secrets, secret_id));
}

/* --- networks --- */

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

char **fake_network_names(const struct fake_host *h)
{
	char **names = xcalloc(map_len(h->networks) + 1, sizeof(*names));
	size_t cursor = 0, n = 0;
	const char *name;
	void *state;
	while (map_next(h->networks, &cursor, &name, &state))
		if (strcmp(state, "active") == 0)
			names[n++] = xstrdup(name);
	str_list_sort(names);
	return names;
}

int fake_network_list(struct driver_connection *c, char ***ret_names, struct err *e)
{
	int rc = fake_enter(c, "network_list", NULL, e);
	if (rc != 0)
		return rc;
	*ret_names = fake_network_names(c->host);
	fake_leave(c);
	return 0;
}

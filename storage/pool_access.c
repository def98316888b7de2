/* SPDX-License-Identifier: Apache-2.0 */
/* How a pool is reached: what libvirt is told of it, and how QEMU names a file in it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "storage/pool_store.h"

char *pool_libvirt_name(const char *name)
{
	return str_format("berth-%s", name);
}

void pool_place(const char *pool_id, const char *host_id, char ret_place[POOL_PLACE_SIZE])
{
	bool is_local = !str_is_empty(host_id);
	snprintf(ret_place, POOL_PLACE_SIZE, "%s%s%s", pool_id, is_local ? "@" : "",
	        is_local ? host_id : "");
}

void pool_access_done(struct pool_access *access)
{
	free(access->name);
	free(access->libvirt_name);
	free(access->target_path);
	free(access->server_hosts);
	if (access->secret)
		explicit_bzero(access->secret, strlen(access->secret));
	free(access->secret);
	pool_spec_done(&access->spec);
	*access = (struct pool_access){0};
}

/* The directory in which the host shows what is in the pool; NULL: it is not in the host's files. */
static char *target_path(const struct pool_spec *spec)
{
	const char *type = pool_kind_of(spec)->name;
	if (str_equal(type, "logical"))
		return str_format("/dev/%s", spec->source.name);
	if (str_equal(type, "zfs"))
		return str_format("/dev/zvol/%s", spec->source.name);
	if (str_equal(type, "iscsi"))
		return xstrdup("/dev/disk/by-path");
	return xstrdup(spec->path);
}

static void fill_config(struct pool_access *access)
{
	const struct pool_source *source = &access->spec.source;
	access->server_hosts = xcalloc(source->hosts.len + 1, sizeof(access->server_hosts[0]));
	for (size_t i = 0; i < source->hosts.len; i++)
		access->server_hosts[i] = source->hosts.items[i];
	access->target_path = target_path(&access->spec);
	access->config = (struct pool_config){
	        .name = access->libvirt_name,
	        .type = access->kind->libvirt_type,
	        .path = access->target_path,
	        .hosts = source->hosts.len ? access->server_hosts : NULL,
	        .source_dir = source->dir,
	        .source_name = source->name,
	        .source_device = source->device,
	        .source_format = source->format,
	        .initiator = source->initiator,
	        .user = source->user,
	        .secret_id = access->secret ? access->secret_id : NULL,
	};
}

int pool_access_fill(
        struct pool_access *access, const struct pool_row *row, char *secret, struct err *e)
{
	*access = (struct pool_access){.secret = secret, .shared = row->shared};
	uuid_text_copy(access->id, row->id);
	uuid_text_copy(access->secret_id, row->id);
	int rc = pool_spec_load(row->spec, row->kind, row->path, &access->spec, e);
	if (rc == 0) {
		access->name = xstrdup(row->name);
		access->libvirt_name = pool_libvirt_name(row->name);
		access->kind = pool_kind_of(&access->spec);
		fill_config(access);
	} else {
		pool_access_done(access);
	}
	return rc;
}

int pool_access_load(
        struct db *db, const char *pool_id, struct pool_access *ret_access, struct err *e)
{
	struct pool_row row CLEANUP(pool_row_done) = {0};
	char *secret = NULL;
	int rc = pool_store_get(db, pool_id, &row, e);
	if (rc == 0)
		rc = pool_store_get_secret(db, row.id, &secret, e);
	return rc < 0 ? rc : pool_access_fill(ret_access, &row, secret, e);
}

int pool_access_ensure(const struct pool_access *access, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	if (!access->kind->libvirt_type)
		return 0;
	if (!driver->pool_ensure)
		return err_set(e, ERR_UNSUPPORTED,
		        "the host's hypervisor connection serves no storage pools");
	int rc = 0;
	if (access->secret && !driver->secret_set)
		return err_set(
		        e, ERR_UNSUPPORTED, "the host's hypervisor connection keeps no secrets");
	if (access->secret)
		rc = driver->secret_set(
		        c, access->secret_id, access->kind->secret_usage, access->secret, e);
	return rc < 0 ? rc : driver->pool_ensure(c, &access->config, e);
}

/* ---- how QEMU names a file ---- */

/* libvirt calls logical unit 3 of a target "unit:0:0:3"; QEMU wants "IQN/3". */
static char *iscsi_name(const struct pool_source *source, const char *file)
{
	const char *colon = strrchr(file, ':');
	return str_format("%s/%s", source->device, colon ? colon + 1 : file);
}

/* How udev names the same unit once the kernel has logged in: systemd's 60-persistent-storage.rules, ID_PATH. */
static char *iscsi_device(const struct pool_access *access, const char *file)
{
	const char *colon = strrchr(file, ':');
	const char *host =
	        access->server_hosts && access->server_hosts[0] ? access->server_hosts[0] : "";
	bool has_port = strrchr(host, ':') && (host[0] != '[' || strstr(host, "]:"));
	return str_format("%s/ip-%s%s-iscsi-%s-lun-%s", access->target_path, host,
	        has_port ? "" : ":3260", access->spec.source.device, colon ? colon + 1 : file);
}

static char *local_name(const struct pool_access *access, const char *file)
{
	if (str_equal(access->kind->libvirt_type, "iscsi"))
		return iscsi_device(access, file);
	return str_format("%s/%s", access->target_path, file);
}

static char *network_name(const struct pool_access *access, const char *file)
{
	const struct pool_source *source = &access->spec.source;
	const char *protocol = access->kind->protocol;
	if (str_equal(protocol, "iscsi"))
		return iscsi_name(source, file);
	if (str_equal(protocol, "gluster"))
		return str_format("%s%s/%s", source->name, source->dir ? source->dir : "", file);
	return str_format("%s/%s", str_equal(protocol, "nfs") ? source->dir : source->name, file);
}

void pool_access_source(const struct pool_access *access, const char *file, const char *format,
        struct domain_source *ret_source, char **ret_path)
{
	const struct pool_kind *kind = access->kind;
	bool is_network = kind->source == DOMAIN_SOURCE_NETWORK;
	*ret_path = is_network ? network_name(access, file) : local_name(access, file);
	*ret_source = (struct domain_source){
	        .type = kind->source,
	        .path = *ret_path,
	        .format = format,
	};
	if (!is_network)
		return;
	ret_source->protocol = kind->protocol;
	ret_source->hosts = access->server_hosts;
	ret_source->user = access->secret ? access->spec.source.user : NULL;
	ret_source->secret_id = access->secret ? access->secret_id : NULL;
	ret_source->initiator = access->spec.source.initiator;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A probe disk in a pool. */
#include "storage/pool_preflight.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "storage/carrier.h"

#define PROBE_BYTES 1048576

/* Of its own for each host: they probe a shared pool side by side. Caller frees. */
static char *probe_name(const char *operation_id, const char *host_id)
{
	return str_format("berth-probe-%s-%s.raw", operation_id, host_id);
}

static int no_storage(struct err *e)
{
	return err_set(
	        e, ERR_UNSUPPORTED, "the host's hypervisor connection serves no storage pools");
}

static void note(const struct pool_probe *probe, const char *text)
{
	snprintf(probe->ret_note, probe->note_size, "%s", text);
}

static int open_probe(const struct pool_probe *probe, const char *file, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	struct domain_source source;
	char *path CLEANUP(cleanup_free) = NULL;
	pool_access_source(probe->access, file, "raw", &source, &path);
	const struct layer_chain chain = {.sources = &source, .paths = &path, .len = 1};
	const struct carrier_disk disk = {.name = CARRIER_DISK, .chain = &chain};
	int rc = carrier_start(driver, c, probe->operation_id, &disk, 1, e);
	if (rc == ERR_UNSUPPORTED) { /* a hypervisor that runs nothing has nothing to refuse */
		err_clear(e);
		note(probe, "a volume was made and removed; no QEMU there could open it");
		return 0;
	}
	if (rc == 0)
		note(probe, "QEMU opened a probe disk");
	return rc < 0 ? rc : carrier_stop(driver, c, probe->operation_id, e);
}

static int run_probe(const struct pool_probe *probe, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	const struct pool_access *access = probe->access;
	char *file CLEANUP(cleanup_free) = probe_name(probe->operation_id, probe->host_id);
	const struct volume_config config = {
	        .name = file,
	        .format = "raw",
	        .size_bytes = PROBE_BYTES,
	        .preallocate = access->kind->flags & POOL_FILES, /* so that a full one is noticed */
	};
	if (!driver->volume_create || !driver->volume_delete)
		return no_storage(e);
	int rc = driver->volume_create(c, access->libvirt_name, &config, e);
	if (rc == 0)
		rc = open_probe(probe, file, driver, c, e);
	if (rc == 0)
		rc = driver->volume_delete(c, access->libvirt_name, file, e);
	return rc;
}

int pool_preflight_run(const struct pool_probe *probe, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	const struct pool_access *access = probe->access;
	if (!access->kind->libvirt_type) {
		note(probe, "not tried: QEMU reaches it by itself when a disk is used");
		return 0;
	}
	if (!driver->pool_info)
		return no_storage(e);
	int rc = pool_access_ensure(access, driver, c, e);
	if (rc == 0)
		rc = driver->pool_info(c, access->libvirt_name, probe->ret_info, e);
	if (rc == 0 && access->kind->flags & POOL_ADOPT_ONLY)
		note(probe, "it was listed; no disk was opened, for Berth makes none in it");
	else if (rc == 0)
		rc = run_probe(probe, driver, c, e);
	if (rc < 0)
		pool_explain(access, e);
	return rc;
}

int pool_preflight_undo(const struct pool_access *access, const char *operation_id,
        const char *host_id, const struct driver *driver, struct driver_connection *c,
        struct err *e)
{
	if (!access->kind->libvirt_type || access->kind->flags & POOL_ADOPT_ONLY)
		return 0;
	char *file CLEANUP(cleanup_free) = probe_name(operation_id, host_id);
	int rc = carrier_stop(driver, c, operation_id, e);
	if ((rc == 0 || rc == ERR_UNSUPPORTED) && driver->volume_delete)
		rc = driver->volume_delete(c, access->libvirt_name, file, e);
	if (rc != ERR_NOT_FOUND && rc != ERR_UNSUPPORTED)
		return rc;
	err_clear(e);
	return 0;
}

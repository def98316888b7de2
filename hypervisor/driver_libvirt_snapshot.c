/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots, saved memory and transient domains. libvirt keeps no record of our snapshots: the tree
 * is Berth's. Lane threads.
 */
#include <libvirt/virterror.h>
#include <stdlib.h>

#include "base/str.h"
#include "hypervisor/driver_libvirt_internal.h"
#include "hypervisor/libvirt_error.h"

int libvirt_snapshot_create(
        struct driver_connection *c, const char *id, const char *xml, unsigned flags, struct err *e)
{
	virDomainPtr domain CLEANUP(cleanup_libvirt_domain) = NULL;
	int r = libvirt_domain_lookup(c, id, &domain, e);
	if (r < 0)
		return r;
	unsigned int all = VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA |
	                   VIR_DOMAIN_SNAPSHOT_CREATE_REUSE_EXT | VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC;
	if (flags & SNAPSHOT_DISK_ONLY)
		all |= VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY;
	else if (flags & SNAPSHOT_LIVE)
		all |= VIR_DOMAIN_SNAPSHOT_CREATE_LIVE;
	/* Of one that does not run libvirt would make the overlays itself. */
	if (!libvirt_domain_is_active(domain))
		return err_set(e, ERR_WRONG_STATE, "%s is not running", virDomainGetName(domain));
	virDomainSnapshotPtr snapshot = virDomainSnapshotCreateXML(domain, xml, all);
	if (!snapshot)
		return libvirt_domain_error(domain, "taking a snapshot of", e);
	virDomainSnapshotFree(snapshot);
	return 0;
}

int libvirt_saved_xml(
        struct driver_connection *c, const char *memory_path, char **ret_xml, struct err *e)
{
	*ret_xml = virDomainSaveImageGetXMLDesc(
	        c->libvirt, memory_path, VIR_DOMAIN_SAVE_IMAGE_XML_SECURE);
	return *ret_xml ? 0 : libvirt_error_take(e, "reading the saved memory %s", memory_path);
}

/* Whether the domain exists and has a process; resets libvirt's error. */
static bool runs(struct driver_connection *c, const char *id)
{
	virDomainPtr domain CLEANUP(cleanup_libvirt_domain) =
	        virDomainLookupByUUIDString(c->libvirt, id);
	return domain && libvirt_domain_is_active(domain);
}

/* Takes the error of a failed start, unless the domain runs all the same. */
static int unless_running(
        struct driver_connection *c, const char *id, const char *verb, struct err *e)
{
	struct err failure = {0};
	int code = libvirt_error_take(&failure, "%s %s", verb, id);
	if (runs(c, id))
		return 0;
	/* "Not found" would read as the domain itself; here it is something the domain names. */
	if (code == ERR_NOT_FOUND)
		code = failure.code = ERR_REFERENCE;
	if (e)
		*e = failure;
	return code;
}

int libvirt_restore(struct driver_connection *c, const char *id, const char *memory_path,
        const char *xml, bool paused, struct err *e)
{
	unsigned int flags = paused ? (unsigned int)VIR_DOMAIN_SAVE_PAUSED
	                            : (unsigned int)VIR_DOMAIN_SAVE_RUNNING;
	if (runs(c, id) || virDomainRestoreFlags(c->libvirt, memory_path, xml, flags) == 0)
		return 0;
	return unless_running(c, id, "restoring domain", e);
}

int libvirt_create_transient(
        struct driver_connection *c, const char *id, const char *xml, struct err *e)
{
	if (runs(c, id))
		return 0;
	virDomainPtr domain CLEANUP(cleanup_libvirt_domain) =
	        virDomainCreateXML(c->libvirt, xml, VIR_DOMAIN_START_PAUSED);
	return domain ? 0 : unless_running(c, id, "starting domain", e);
}

/* Of one libvirt or driver without checkpoints there is nothing to drop. */
static bool has_no_checkpoints(void)
{
	int number = libvirt_error_number();
	return number == VIR_ERR_NO_SUPPORT || number == VIR_ERR_OPERATION_UNSUPPORTED;
}

int libvirt_drop_checkpoints(struct driver_connection *c, const char *id, struct err *e)
{
	virDomainPtr domain CLEANUP(cleanup_libvirt_domain) = NULL;
	virDomainCheckpointPtr *checkpoints = NULL;
	int r = libvirt_domain_lookup(c, id, &domain, e);
	if (r < 0)
		return r;
	int n = virDomainListAllCheckpoints(domain, &checkpoints, 0);
	if (n < 0)
		return has_no_checkpoints()
		               ? 0
		               : libvirt_domain_error(domain, "listing the checkpoints of", e);
	for (int i = 0; i < n; i++) {
		if (r == 0 && virDomainCheckpointDelete(checkpoints[i],
		                      VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY) < 0)
			r = libvirt_domain_error(domain, "dropping a checkpoint of", e);
		virDomainCheckpointFree(checkpoints[i]);
	}
	free(checkpoints);
	return r;
}

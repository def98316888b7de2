/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading domains. None of the calls here takes a domain's job, so that a domain stuck in another
 * call does not hold them up. A domain that vanishes while a list is read is left out; any other
 * failure fails the list, because what is missing from a list counts as gone. Lane threads.
 */
#include <libvirt/virterror.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "base/vec.h"
#include "hypervisor/domain_xml.h"
#include "hypervisor/driver_libvirt_internal.h"
#include "hypervisor/libvirt_error.h"

enum domain_state libvirt_domain_state_convert(int libvirt_state)
{
	switch (libvirt_state) {
	case VIR_DOMAIN_RUNNING:
	case VIR_DOMAIN_BLOCKED:
		return DOMAIN_RUNNING;
	case VIR_DOMAIN_PAUSED:
		return DOMAIN_PAUSED;
	case VIR_DOMAIN_SHUTDOWN:
		return DOMAIN_SHUTTING_DOWN;
	case VIR_DOMAIN_SHUTOFF:
		return DOMAIN_SHUTOFF;
	case VIR_DOMAIN_CRASHED:
		return DOMAIN_CRASHED;
	case VIR_DOMAIN_PMSUSPENDED:
		return DOMAIN_PMSUSPENDED;
	default:
		return DOMAIN_UNKNOWN;
	}
}

static enum domain_reason paused_reason(int reason)
{
	switch (reason) {
	case VIR_DOMAIN_PAUSED_USER:
		return DOMAIN_REASON_USER;
	case VIR_DOMAIN_PAUSED_IOERROR:
		return DOMAIN_REASON_IO_ERROR;
	case VIR_DOMAIN_PAUSED_CRASHED:
		return DOMAIN_REASON_CRASHED;
	case VIR_DOMAIN_PAUSED_MIGRATION:
	case VIR_DOMAIN_PAUSED_POSTCOPY:
		return DOMAIN_REASON_MIGRATED;
	default:
		return DOMAIN_REASON_NONE;
	}
}

static enum domain_reason shutoff_reason(int reason)
{
	switch (reason) {
	case VIR_DOMAIN_SHUTOFF_SHUTDOWN:
		return DOMAIN_REASON_GUEST_SHUTDOWN;
	case VIR_DOMAIN_SHUTOFF_DESTROYED:
		return DOMAIN_REASON_DESTROYED;
	case VIR_DOMAIN_SHUTOFF_CRASHED:
		return DOMAIN_REASON_CRASHED;
	case VIR_DOMAIN_SHUTOFF_MIGRATED:
		return DOMAIN_REASON_MIGRATED;
	case VIR_DOMAIN_SHUTOFF_SAVED:
		return DOMAIN_REASON_SAVED;
	case VIR_DOMAIN_SHUTOFF_FAILED:
		return DOMAIN_REASON_FAILED;
	default:
		return DOMAIN_REASON_NONE;
	}
}

enum domain_reason libvirt_domain_reason_convert(int libvirt_state, int libvirt_reason)
{
	switch (libvirt_state) {
	case VIR_DOMAIN_PAUSED:
		return paused_reason(libvirt_reason);
	case VIR_DOMAIN_SHUTOFF:
		return shutoff_reason(libvirt_reason);
	case VIR_DOMAIN_CRASHED:
		return DOMAIN_REASON_CRASHED;
	default:
		return DOMAIN_REASON_NONE;
	}
}

static int read_state(virDomainPtr domain, struct domain_info *info, struct err *e)
{
	int state = VIR_DOMAIN_NOSTATE, reason = 0;
	if (virDomainGetState(domain, &state, &reason, 0) < 0)
		return libvirt_domain_error(domain, "reading the state of", e);
	info->state = libvirt_domain_state_convert(state);
	info->reason = libvirt_domain_reason_convert(state, reason);
	return 0;
}

static int read_mark(virDomainPtr domain, struct domain_info *info, struct err *e)
{
	char *element CLEANUP(cleanup_free) = virDomainGetMetadata(domain,
	        VIR_DOMAIN_METADATA_ELEMENT, DOMAIN_METADATA_URI, VIR_DOMAIN_AFFECT_CURRENT);
	info->is_carrier = element && str_starts_with(element, "<" DOMAIN_MARK_CARRIER);
	info->is_ours = element && !info->is_carrier;
	if (element || libvirt_error_number() == VIR_ERR_NO_DOMAIN_METADATA)
		return 0;
	return libvirt_domain_error(domain, "reading the metadata of", e);
}

static int read_info(virDomainPtr domain, struct domain_info *info, struct err *e)
{
	virDomainGetUUIDString(domain, info->id);
	info->name = xstrdup(virDomainGetName(domain));
	int r = read_state(domain, info, e);
	return r < 0 ? r : read_mark(domain, info, e);
}

/* --- one domain --- */

static int read_flags(virDomainPtr domain, struct domain_info *info, struct err *e)
{
	int persistent = virDomainIsPersistent(domain);
	int saved = persistent < 0 ? -1 : virDomainHasManagedSaveImage(domain, 0);
	if (saved < 0)
		return libvirt_domain_error(domain, "reading", e);
	info->persistent = persistent == 1;
	info->has_managed_save = saved == 1;
	return 0;
}

/* A transient domain has no inactive definition: libvirt then answers with the live one. */
static int read_xml(virDomainPtr domain, struct domain_info *info, struct err *e)
{
	info->xml = virDomainGetXMLDesc(domain, VIR_DOMAIN_XML_INACTIVE);
	if (!info->xml)
		return libvirt_error_take(e, "reading the definition of %s", info->name);
	int active = virDomainIsActive(domain);
	if (active == 1)
		info->live_xml = virDomainGetXMLDesc(domain, 0);
	if (active < 0 || (active == 1 && !info->live_xml))
		return libvirt_error_take(e, "reading the live definition of %s", info->name);
	return 0;
}

int libvirt_domain_get(
        struct driver_connection *c, const char *id, struct domain_info *ret_info, struct err *e)
{
	virDomainPtr domain CLEANUP(cleanup_libvirt_domain) = NULL;
	int r = libvirt_domain_lookup(c, id, &domain, e);
	if (r < 0)
		return r;
	struct domain_info info = {0};
	r = read_info(domain, &info, e);
	if (r == 0)
		r = read_flags(domain, &info, e);
	if (r == 0)
		r = read_xml(domain, &info, e);
	if (r < 0)
		domain_info_done(&info);
	else
		*ret_info = info;
	return r;
}

int libvirt_domain_find(
        struct driver_connection *c, const char *name, char ret_id[UUID_TEXT_SIZE], struct err *e)
{
	virDomainPtr domain CLEANUP(cleanup_libvirt_domain) =
	        virDomainLookupByName(c->libvirt, name);
	if (!domain)
		return libvirt_error_take(e, "domain %s", name);
	virDomainGetUUIDString(domain, ret_id);
	return 0;
}

/* --- all domains --- */

void cleanup_domain_array(struct domain_array *array)
{
	for (int i = 0; i < array->len; i++)
		virDomainFree(array->items[i]);
	free(array->items);
}

static int compare_ids(const void *left, const void *right)
{
	return memcmp(left, right, VIR_UUID_BUFLEN);
}

/* The ids of all domains that libvirt's filter lets through, sorted. */
struct id_set {
	unsigned char (*ids)[VIR_UUID_BUFLEN]; /* owned */
	size_t len;
};

static void cleanup_id_set(struct id_set *set)
{
	free(set->ids);
}

static int read_id_set(
        struct driver_connection *c, unsigned int filter, struct id_set *set, struct err *e)
{
	struct domain_array domains CLEANUP(cleanup_domain_array) = {0};
	domains.len = virConnectListAllDomains(c->libvirt, &domains.items, filter);
	if (domains.len < 0) {
		domains.len = 0;
		return libvirt_error_take(e, "listing the domains");
	}
	set->ids = xcalloc((size_t)domains.len + 1, sizeof(set->ids[0]));
	set->len = (size_t)domains.len;
	for (size_t i = 0; i < set->len; i++)
		virDomainGetUUID(domains.items[i], set->ids[i]);
	qsort(set->ids, set->len, sizeof(set->ids[0]), compare_ids);
	return 0;
}

static bool id_set_has(const struct id_set *set, virDomainPtr domain)
{
	unsigned char id[VIR_UUID_BUFLEN];
	virDomainGetUUID(domain, id);
	return set->ids &&
	       bsearch(id, set->ids, set->len, sizeof(set->ids[0]), compare_ids) != NULL;
}

/* Appends each domain with what two more calls tell of it. */
static int read_all(const struct domain_array *domains, const struct id_set *persistent,
        const struct id_set *saved, struct domain_list *list, struct err *e)
{
	list->items = xcalloc((size_t)domains->len + 1, sizeof(list->items[0]));
	for (int i = 0; i < domains->len; i++) {
		struct domain_info *info = &list->items[list->len];
		int r = read_info(domains->items[i], info, e);
		if (r == ERR_NOT_FOUND) {
			domain_info_done(info);
			err_clear(e);
			continue;
		}
		list->len++;
		if (r < 0)
			return r;
		info->persistent = id_set_has(persistent, domains->items[i]);
		info->has_managed_save = id_set_has(saved, domains->items[i]);
	}
	return 0;
}

int libvirt_domains_list(struct driver_connection *c, struct domain_list *ret_list, struct err *e)
{
	struct id_set persistent CLEANUP(cleanup_id_set) = {0};
	struct id_set saved CLEANUP(cleanup_id_set) = {0};
	struct domain_array domains CLEANUP(cleanup_domain_array) = {0};
	domains.len = virConnectListAllDomains(c->libvirt, &domains.items, 0);
	if (domains.len < 0) {
		domains.len = 0;
		return libvirt_error_take(e, "listing the domains");
	}
	int r = read_id_set(c, VIR_CONNECT_LIST_DOMAINS_PERSISTENT, &persistent, e);
	if (r == 0)
		r = read_id_set(c, VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE, &saved, e);
	struct domain_list list = {0};
	if (r == 0)
		r = read_all(&domains, &persistent, &saved, &list, e);
	if (r < 0)
		domain_list_done(&list);
	else
		*ret_list = list;
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who uses a file: asked before it is deleted. Every running domain of the host is looked at, and every saved one, as any
 * of them may have been started by someone else. Takes no domain's job. Lane threads.
 */
#include <stdlib.h>

#include "base/alloc.h"
#include "hypervisor/domain_xml.h"
#include "hypervisor/driver_libvirt_internal.h"
#include "hypervisor/libvirt_error.h"

/* Owned; NULL: it is gone, or has stopped, meanwhile. */
typedef int (*read_fn)(virDomainPtr domain, char **ret_xml, struct err *e);

static int read_live(virDomainPtr domain, char **ret_xml, struct err *e)
{
	*ret_xml = virDomainGetXMLDesc(domain, 0);
	int rc = *ret_xml ? 0 : libvirt_domain_error(domain, "reading the definition of", e);
	/* Of a domain that has stopped libvirt tells the definition. */
	bool has_stopped = rc == ERR_NOT_FOUND || virDomainIsActive(domain) == 0;
	if (!has_stopped)
		return rc;
	err_clear(e);
	free(TAKE(*ret_xml));
	return 0;
}

/* What cannot be read counts as what was defined: it was saved with something like it. */
static int read_saved(virDomainPtr domain, char **ret_xml, struct err *e)
{
	*ret_xml = virDomainManagedSaveGetXMLDesc(domain, 0);
	if (!*ret_xml)
		*ret_xml = virDomainGetXMLDesc(domain, VIR_DOMAIN_XML_INACTIVE);
	int rc = *ret_xml ? 0 : libvirt_domain_error(domain, "reading the saved state of", e);
	if (rc != ERR_NOT_FOUND)
		return rc;
	err_clear(e);
	return 0;
}

static int find_among(struct driver_connection *c, unsigned int filter, read_fn read,
        const char *path, char **ret_name, struct err *e)
{
	struct domain_array domains CLEANUP(cleanup_domain_array) = {0};
	int n = virConnectListAllDomains(c->libvirt, &domains.items, filter);
	if (n < 0)
		return libvirt_error_take(e, "listing the domains");
	domains.len = n;
	for (int i = 0; i < n && !*ret_name; i++) {
		char *xml CLEANUP(cleanup_free) = NULL;
		int rc = read(domains.items[i], &xml, e);
		if (rc < 0)
			return rc;
		if (xml && domain_xml_names_layer(xml, path))
			*ret_name = xstrdup(virDomainGetName(domains.items[i]));
	}
	return 0;
}

int libvirt_find_user(struct driver_connection *c, const char *path, char **ret_name, struct err *e)
{
	*ret_name = NULL;
	int rc = find_among(c, VIR_CONNECT_LIST_DOMAINS_ACTIVE, read_live, path, ret_name, e);
	if (rc < 0 || *ret_name)
		return rc;
	return find_among(c, VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE, read_saved, path, ret_name, e);
}

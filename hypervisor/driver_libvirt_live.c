/* SPDX-License-Identifier: Apache-2.0 */
/* Devices of running domains. Lane threads. */
#include "base/str.h"
#include "hypervisor/domain_xml.h"
#include "hypervisor/driver_libvirt_internal.h"
#include "hypervisor/libvirt_error.h"

static unsigned int affect(enum attach_flags flags)
{
	return ((flags & ATTACH_LIVE) ? (unsigned int)VIR_DOMAIN_AFFECT_LIVE : 0U) |
	       ((flags & ATTACH_CONFIG) ? (unsigned int)VIR_DOMAIN_AFFECT_CONFIG : 0U);
}

typedef int (*device_call)(virDomainPtr domain, const char *xml, unsigned int flags);

/* libvirt finds disks by target, which may have shifted: see domain_xml_fit_device. */
static int fit(virDomainPtr domain, const char *device_xml, enum attach_flags flags, char **ret_xml,
        struct err *e)
{
	unsigned int which = (flags & ATTACH_LIVE) ? 0U : (unsigned int)VIR_DOMAIN_XML_INACTIVE;
	char *definition CLEANUP(cleanup_free) = virDomainGetXMLDesc(domain, which);
	if (!definition)
		return libvirt_domain_error(domain, "reading the definition of", e);
	return domain_xml_fit_device(device_xml, definition, ret_xml, e);
}

static int change_device(struct driver_connection *c, const char *id, const char *device_xml,
        enum attach_flags flags, device_call call, const char *verb, struct err *e)
{
	virDomainPtr domain CLEANUP(cleanup_libvirt_domain) = NULL;
	char *fitted CLEANUP(cleanup_free) = NULL;
	int r = libvirt_domain_lookup(c, id, &domain, e);
	if (r == 0)
		r = fit(domain, device_xml, flags, &fitted, e);
	if (r < 0)
		return r;
	if (call(domain, fitted, affect(flags)) < 0)
		return libvirt_domain_error(domain, verb, e);
	return 0;
}

int libvirt_live_attach_device(struct driver_connection *c, const char *id, const char *device_xml,
        enum attach_flags flags, struct err *e)
{
	return change_device(
	        c, id, device_xml, flags, virDomainAttachDeviceFlags, "attaching a device to", e);
}

int libvirt_live_detach_device(struct driver_connection *c, const char *id, const char *device_xml,
        enum attach_flags flags, struct err *e)
{
	return change_device(
	        c, id, device_xml, flags, virDomainDetachDeviceFlags, "detaching a device of", e);
}

int libvirt_live_update_device(struct driver_connection *c, const char *id, const char *device_xml,
        enum attach_flags flags, struct err *e)
{
	return change_device(
	        c, id, device_xml, flags, virDomainUpdateDeviceFlags, "changing a device of", e);
}

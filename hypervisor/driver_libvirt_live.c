/* SPDX-License-Identifier: Apache-2.0 */
/* Changes to running domains. Lane threads. */
#include "base/str.h"
#include "hypervisor/domain_xml.h"
#include "hypervisor/driver_libvirt_internal.h"
#include "hypervisor/libvirt_error.h"

#define CPU_PERIOD_US 100000

int libvirt_live_set_memory(
        struct driver_connection *c, const char *id, int64_t bytes, struct err *e)
{
	virDomainPtr domain CLEANUP(cleanup_libvirt_domain) = NULL;
	int r = libvirt_domain_lookup(c, id, &domain, e);
	if (r < 0)
		return r;
	if (virDomainSetMemoryFlags(domain, (unsigned long)(bytes / 1024), VIR_DOMAIN_AFFECT_LIVE) <
	        0)
		return libvirt_domain_error(domain, "setting the memory of", e);
	return 0;
}

int libvirt_live_set_vcpus(struct driver_connection *c, const char *id, int count, struct err *e)
{
	virDomainPtr domain CLEANUP(cleanup_libvirt_domain) = NULL;
	int r = libvirt_domain_lookup(c, id, &domain, e);
	if (r < 0)
		return r;
	if (virDomainSetVcpusFlags(domain, (unsigned int)count, VIR_DOMAIN_AFFECT_LIVE) < 0)
		return libvirt_domain_error(domain, "setting the vCPUs of", e);
	return 0;
}

struct parameters {
	virTypedParameterPtr items; /* owned */
	int len, capacity;
};

static void cleanup_parameters(struct parameters *p)
{
	virTypedParamsFree(p->items, p->len);
}

static void add_unsigned(struct parameters *p, const char *name, unsigned long long value)
{
	virTypedParamsAddULLong(&p->items, &p->len, &p->capacity, name, value);
}

/* The quota is per vCPU and so is the limit: no factor for their number. */
static void add_limit(struct parameters *p, int64_t limit_percent)
{
	long long quota = limit_percent < 0 ? -1 : CPU_PERIOD_US / 100 * limit_percent;
	add_unsigned(p, VIR_DOMAIN_SCHEDULER_VCPU_PERIOD, CPU_PERIOD_US);
	virTypedParamsAddLLong(
	        &p->items, &p->len, &p->capacity, VIR_DOMAIN_SCHEDULER_VCPU_QUOTA, quota);
}

int libvirt_live_set_cpu(struct driver_connection *c, const char *id, int64_t shares,
        int64_t limit_percent, struct err *e)
{
	virDomainPtr domain CLEANUP(cleanup_libvirt_domain) = NULL;
	struct parameters p CLEANUP(cleanup_parameters) = {0};
	int r = libvirt_domain_lookup(c, id, &domain, e);
	if (r < 0)
		return r;
	if (shares > 0)
		add_unsigned(&p, VIR_DOMAIN_SCHEDULER_CPU_SHARES, (unsigned long long)shares);
	if (limit_percent != 0)
		add_limit(&p, limit_percent);
	if (p.len > 0 && virDomainSetSchedulerParametersFlags(
	                         domain, p.items, p.len, VIR_DOMAIN_AFFECT_LIVE) < 0)
		return libvirt_domain_error(domain, "setting the CPU share of", e);
	return 0;
}

/* --- devices --- */

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

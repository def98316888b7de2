/* SPDX-License-Identifier: Apache-2.0 */
/* vCPUs of running domains: how many, how much, and where. Lane threads. */
#include <libvirt/virterror.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu_set.h"
#include "hypervisor/driver_libvirt_internal.h"
#include "hypervisor/libvirt_error.h"

#define CPU_PERIOD_US 100000

/* --- sets of CPUs, as libvirt's API takes them --- */

struct cpu_map {
	unsigned char bytes[VIR_CPU_MAPLEN(CPU_SET_MAX)];
	int count;
};

static int read_cpus(const char *text, struct cpu_map *ret_map, struct err *e)
{
	struct cpu_set set;
	if (!cpu_set_parse(text, &set))
		return err_set(e, ERR_INVALID, "'%s' is not a list of CPUs", text);
	*ret_map = (struct cpu_map){.count = cpu_set_count(&set)};
	for (int cpu = 0; cpu < CPU_SET_MAX; cpu++)
		if (cpu_set_has(&set, cpu))
			ret_map->bytes[cpu / 8] |= (unsigned char)(1U << (cpu % 8));
	return ret_map->count > 0 ? 0 : err_set(e, ERR_INVALID, "an empty list of CPUs");
}

/* --- how many --- */

/* A guest that does not let go in time may do so later: what it has now is what counts. */
static int explain_vcpus(virDomainPtr domain, int count, struct err *e)
{
	int code = libvirt_domain_error(domain, "setting the vCPUs of", e);
	int has = virDomainGetVcpusFlags(domain, VIR_DOMAIN_AFFECT_LIVE);
	if (has == count) {
		err_clear(e);
		return 0;
	}
	if (has < count || (code != ERR_DEADLINE && code != ERR_HYPERVISOR))
		return code;
	err_set(e, ERR_DEADLINE, "the guest of %s keeps %d vCPUs instead of %d",
	        virDomainGetName(domain), has, count);
	err_hint(e, "try again: it may still be letting go, or its kernel cannot unplug CPUs");
	return ERR_DEADLINE;
}

int libvirt_live_set_vcpus(struct driver_connection *c, const char *id, int count, struct err *e)
{
	virDomainPtr domain CLEANUP(cleanup_libvirt_domain) = NULL;
	int r = libvirt_domain_lookup(c, id, &domain, e);
	if (r < 0)
		return r;
	if (virDomainSetVcpusFlags(domain, (unsigned int)count, VIR_DOMAIN_AFFECT_LIVE) < 0)
		return explain_vcpus(domain, count, e);
	return 0;
}

static int count_online(const virTypedParameter *items, int n, int *ret_online, struct err *e)
{
	struct cpu_map map;
	for (int i = 0; i < n; i++) {
		if (strcmp(items[i].field, "online") != 0)
			continue;
		int r = read_cpus(items[i].value.s, &map, e);
		*ret_online = map.count;
		return r;
	}
	return err_set(e, ERR_HYPERVISOR, "the guest agent does not say which vCPUs are online");
}

int libvirt_agent_count_vcpus(
        struct driver_connection *c, const char *id, int *ret_online, struct err *e)
{
	virDomainPtr domain CLEANUP(cleanup_libvirt_domain) = NULL;
	virTypedParameterPtr items = NULL;
	unsigned int n = 0;
	int r = libvirt_agent_lookup(c, id, &domain, e);
	if (r < 0)
		return r;
	if (virDomainGetGuestVcpus(domain, &items, &n, 0) < 0)
		return libvirt_domain_error(domain, "asking the guest agent of", e);
	r = count_online(items, (int)n, ret_online, e);
	virTypedParamsFree(items, (int)n);
	return r;
}

/* --- how much --- */

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

/* --- where --- */

static int pin_vcpus(virDomainPtr domain, const struct cpu_pins *pins, struct err *e)
{
	struct cpu_map map;
	for (size_t i = 0; i < pins->n_vcpus; i++) {
		if (!pins->vcpus[i])
			continue;
		int r = read_cpus(pins->vcpus[i], &map, e);
		if (r < 0)
			return r;
		if (virDomainPinVcpuFlags(domain, (unsigned int)i, map.bytes, sizeof(map.bytes),
		            VIR_DOMAIN_AFFECT_LIVE) < 0)
			return libvirt_domain_error(domain, "pinning a vCPU of", e);
	}
	return 0;
}

static int pin_emulator(virDomainPtr domain, const char *cpus, struct err *e)
{
	struct cpu_map map;
	int r = read_cpus(cpus, &map, e);
	if (r < 0)
		return r;
	if (virDomainPinEmulator(domain, map.bytes, sizeof(map.bytes), VIR_DOMAIN_AFFECT_LIVE) < 0)
		return libvirt_domain_error(domain, "pinning the emulator of", e);
	return 0;
}

static int pin_iothreads(virDomainPtr domain, const char *cpus, struct err *e)
{
	struct cpu_map map;
	virDomainIOThreadInfoPtr *threads = NULL;
	int r = read_cpus(cpus, &map, e);
	if (r < 0)
		return r;
	int n = virDomainGetIOThreadInfo(domain, &threads, VIR_DOMAIN_AFFECT_LIVE);
	if (n < 0)
		return libvirt_domain_error(domain, "listing the I/O threads of", e);
	for (int i = 0; i < n; i++) {
		if (r == 0 && virDomainPinIOThread(domain, threads[i]->iothread_id, map.bytes,
		                      sizeof(map.bytes), VIR_DOMAIN_AFFECT_LIVE) < 0)
			r = libvirt_domain_error(domain, "pinning an I/O thread of", e);
		virDomainIOThreadInfoFree(threads[i]);
	}
	free(threads);
	return r;
}

int libvirt_live_set_cpu_pins(
        struct driver_connection *c, const char *id, const struct cpu_pins *pins, struct err *e)
{
	virDomainPtr domain CLEANUP(cleanup_libvirt_domain) = NULL;
	int r = libvirt_domain_lookup(c, id, &domain, e);
	if (r == 0)
		r = pin_vcpus(domain, pins, e);
	if (r == 0 && pins->emulator)
		r = pin_emulator(domain, pins->emulator, e);
	if (r == 0 && pins->iothreads)
		r = pin_iothreads(domain, pins->iothreads, e);
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A host's memory and CPU at this moment, and KSM. Lane threads. */
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/str.h"
#include "hypervisor/driver_libvirt_internal.h"
#include "hypervisor/host_local.h"
#include "hypervisor/libvirt_error.h"

#define KIB 1024

/* Where a value of libvirt's goes. */
struct number {
	const char *name;
	int64_t *value;
	int64_t factor;
};

static void take_number(const struct number *table, size_t n, const char *name, uint64_t value)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(table[i].name, name) == 0 &&
		        value <= (uint64_t)(INT64_MAX / table[i].factor))
			*table[i].value = (int64_t)value * table[i].factor;
}

/* --- memory and CPU --- */

static int read_memory(struct driver_connection *c, struct host_stats *s, struct err *e)
{
	const struct number table[] = {
	        {VIR_NODE_MEMORY_STATS_TOTAL, &s->memory_total_bytes, KIB},
	        {VIR_NODE_MEMORY_STATS_FREE, &s->memory_free_bytes, KIB},
	        {VIR_NODE_MEMORY_STATS_BUFFERS, &s->memory_buffers_bytes, KIB},
	        {VIR_NODE_MEMORY_STATS_CACHED, &s->memory_cached_bytes, KIB},
	};
	virNodeMemoryStats values[16];
	int n = 0;
	if (virNodeGetMemoryStats(c->libvirt, VIR_NODE_MEMORY_STATS_ALL_CELLS, NULL, &n, 0) < 0)
		return libvirt_error_take(e, "reading the host's memory");
	n = n > (int)ARRAY_LEN(values) ? (int)ARRAY_LEN(values) : n;
	if (virNodeGetMemoryStats(c->libvirt, VIR_NODE_MEMORY_STATS_ALL_CELLS, values, &n, 0) < 0)
		return libvirt_error_take(e, "reading the host's memory");
	for (int i = 0; i < n; i++)
		take_number(table, ARRAY_LEN(table), values[i].field, values[i].value);
	return 0;
}

static int64_t known(int64_t value)
{
	return value > 0 ? value : 0;
}

static void estimate_available(struct host_stats *s)
{
	if (s->memory_free_bytes < 0)
		return;
	s->memory_available_bytes = s->memory_free_bytes + known(s->memory_buffers_bytes) +
	                            known(s->memory_cached_bytes);
	s->memory_available_is_estimate = true;
}

/* Hosts of other kinds than Linux leave out some or all of them. */
static void read_cpu(struct driver_connection *c, struct host_stats *s)
{
	int64_t user = -1, kernel = -1, interrupts = 0;
	const struct number table[] = {
	        {VIR_NODE_CPU_STATS_USER, &user, 1},
	        {VIR_NODE_CPU_STATS_KERNEL, &kernel, 1},
	        {VIR_NODE_CPU_STATS_INTR, &interrupts, 1},
	        {VIR_NODE_CPU_STATS_IDLE, &s->cpu_idle_ns, 1},
	        {VIR_NODE_CPU_STATS_IOWAIT, &s->cpu_iowait_ns, 1},
	};
	virNodeCPUStats values[16];
	int n = ARRAY_LEN(values);
	int filled = 0;
	if (virNodeGetCPUStats(c->libvirt, VIR_NODE_CPU_STATS_ALL_CPUS, NULL, &filled, 0) < 0)
		return;
	n = filled < n ? filled : n;
	if (virNodeGetCPUStats(c->libvirt, VIR_NODE_CPU_STATS_ALL_CPUS, values, &n, 0) < 0)
		return;
	for (int i = 0; i < n; i++)
		take_number(table, ARRAY_LEN(table), values[i].field, values[i].value);
	if (user >= 0 && kernel >= 0)
		s->cpu_busy_ns = user + kernel + interrupts;
}

int libvirt_host_get_stats(struct driver_connection *c, struct host_stats *ret_stats, struct err *e)
{
	struct host_stats s;
	unsigned int online = 0;
	host_stats_init(&s);
	int r = read_memory(c, &s, e);
	if (r < 0)
		return r;
	estimate_available(&s);
	read_cpu(c, &s);
	if (virNodeGetCPUMap(c->libvirt, NULL, &online, 0) > 0)
		s.cpus_online = online;
	s.is_local = c->is_local;
	if (c->is_local)
		host_local_read_stats("", &s);
	*ret_stats = s;
	return 0;
}

/* --- KSM --- */

static int get_parameters(
        struct driver_connection *c, virTypedParameterPtr *ret_items, int *ret_n, struct err *e)
{
	int n = 0;
	*ret_items = NULL;
	*ret_n = 0;
	if (virNodeGetMemoryParameters(c->libvirt, NULL, &n, 0) < 0)
		return libvirt_error_take(e, "asking for KSM");
	*ret_items = xcalloc((size_t)n + 1, sizeof(**ret_items));
	if (virNodeGetMemoryParameters(c->libvirt, *ret_items, &n, 0) < 0)
		return libvirt_error_take(e, "asking for KSM");
	*ret_n = n;
	return 0;
}

static uint64_t unsigned_of(const virTypedParameter *p)
{
	return p->type == VIR_TYPED_PARAM_UINT ? p->value.ui : p->value.ul;
}

static void read_ksm(const virTypedParameter *items, int n, struct ksm_state *ksm)
{
	const struct number table[] = {
	        {VIR_NODE_MEMORY_SHARED_PAGES_TO_SCAN, &ksm->pages_to_scan, 1},
	        {VIR_NODE_MEMORY_SHARED_SLEEP_MILLISECS, &ksm->sleep_ms, 1},
	        {VIR_NODE_MEMORY_SHARED_PAGES_SHARED, &ksm->pages_shared, 1},
	        {VIR_NODE_MEMORY_SHARED_PAGES_SHARING, &ksm->pages_sharing, 1},
	        {VIR_NODE_MEMORY_SHARED_PAGES_UNSHARED, &ksm->pages_unshared, 1},
	        {VIR_NODE_MEMORY_SHARED_PAGES_VOLATILE, &ksm->pages_volatile, 1},
	        {VIR_NODE_MEMORY_SHARED_FULL_SCANS, &ksm->full_scans, 1},
	};
	for (int i = 0; i < n; i++)
		take_number(table, ARRAY_LEN(table), items[i].field, unsigned_of(&items[i]));
}

static struct ksm_state nothing_known(void)
{
	return (struct ksm_state){.run = KSM_RUN_UNKNOWN,
	        .pages_to_scan = -1,
	        .sleep_ms = -1,
	        .pages_shared = -1,
	        .pages_sharing = -1,
	        .pages_unshared = -1,
	        .pages_volatile = -1,
	        .full_scans = -1,
	        .saved_bytes = -1};
}

int libvirt_host_get_ksm(struct driver_connection *c, struct ksm_state *ret_state, struct err *e)
{
	struct ksm_state ksm = nothing_known();
	virTypedParameterPtr items = NULL;
	int n = 0;
	int r = get_parameters(c, &items, &n, e);
	if (r == 0)
		read_ksm(items, n, &ksm);
	virTypedParamsFree(items, n);
	if (r < 0)
		return r;
	if (ksm.pages_to_scan < 0)
		return err_set(e, ERR_UNSUPPORTED, "the host's kernel has no KSM");
	if (c->is_local) {
		ksm.run = host_local_read_ksm_run("");
		ksm.can_set_run = host_local_can_set_ksm_run("");
	}
	if (ksm.pages_sharing >= 0) /* those of this machine: x86 hosts all have the same */
		ksm.saved_bytes = ksm.pages_sharing * sysconf(_SC_PAGESIZE);
	*ret_state = ksm;
	return 0;
}

static int set_parameters(
        struct driver_connection *c, const struct ksm_change *change, struct err *e)
{
	virTypedParameterPtr items = NULL;
	int n = 0, capacity = 0;
	if (change->pages_to_scan > UINT_MAX || change->sleep_ms > UINT_MAX)
		return err_set(e, ERR_INVALID, "KSM cannot scan %lld pages each %lld ms",
		        (long long)change->pages_to_scan, (long long)change->sleep_ms);
	if (change->pages_to_scan > 0)
		virTypedParamsAddUInt(&items, &n, &capacity, VIR_NODE_MEMORY_SHARED_PAGES_TO_SCAN,
		        (unsigned int)change->pages_to_scan);
	if (change->sleep_ms > 0)
		virTypedParamsAddUInt(&items, &n, &capacity, VIR_NODE_MEMORY_SHARED_SLEEP_MILLISECS,
		        (unsigned int)change->sleep_ms);
	int r = n > 0 && virNodeSetMemoryParameters(c->libvirt, items, n, 0) < 0
	                ? libvirt_error_take(e, "setting KSM")
	                : 0;
	virTypedParamsFree(items, n);
	return r;
}

int libvirt_host_set_ksm(
        struct driver_connection *c, const struct ksm_change *change, struct err *e)
{
	if (change->run != KSM_RUN_UNKNOWN && !c->is_local) {
		err_set(e, ERR_UNSUPPORTED, "libvirt cannot switch KSM on a remote host");
		err_hint(e, "on the host: echo %d > /sys/kernel/mm/ksm/run, or run ksmtuned",
		        change->run);
		return ERR_UNSUPPORTED;
	}
	int r = change->run == KSM_RUN_UNKNOWN ? 0 : host_local_set_ksm_run("", change->run, e);
	return r < 0 ? r : set_parameters(c, change, e);
}

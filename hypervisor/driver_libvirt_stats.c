/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Live counters of all domains that have a process, in one call that skips busy ones (NOWAIT). A
 * QEMU that froze while idle still catches one such call, which then keeps that domain busy: the
 * call hangs until QEMU answers or dies, and all later ones skip what that domain's QEMU would say
 * (its state, CPU time and network still come). libvirt names the counters "balloon.current",
 * "block.3.rd.bytes" and so on (virConnectGetAllDomainStats). Lane threads.
 */
#include <libvirt/virterror.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "hypervisor/driver_libvirt_internal.h"
#include "hypervisor/libvirt_error.h"

static unsigned int libvirt_groups(unsigned groups)
{
	static const struct {
		unsigned ours, theirs;
	} table[] = {{STATS_CPU, VIR_DOMAIN_STATS_CPU_TOTAL},
	        {STATS_BALLOON, VIR_DOMAIN_STATS_BALLOON}, {STATS_VCPU, VIR_DOMAIN_STATS_VCPU},
	        {STATS_DEVICES, VIR_DOMAIN_STATS_INTERFACE | VIR_DOMAIN_STATS_BLOCK}};
	unsigned int flags = VIR_DOMAIN_STATS_STATE;
	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		flags |= groups & table[i].ours ? table[i].theirs : 0U;
	return flags;
}

/* Where a counter goes; numbered ones (with a suffix) are summed over all devices. */
struct counter {
	const char *prefix, *suffix; /* suffix NULL: the prefix is the whole name */
	size_t offset;
	int64_t factor;
};

#define FIELD(name) offsetof(struct domain_stats, name)
#define KIB         1024

static const struct counter counters[] = {
        {"cpu.time", NULL, FIELD(cpu_time_ns), 1},
        {"vcpu.current", NULL, FIELD(vcpus_current), 1},
        {"vcpu.maximum", NULL, FIELD(vcpus_maximum), 1},
        {"vcpu.", ".delay", FIELD(vcpu_delay_ns), 1},
        {"vcpu.", ".wait", FIELD(vcpu_wait_ns), 1},
        {"balloon.current", NULL, FIELD(balloon_current_bytes), KIB},
        {"balloon.maximum", NULL, FIELD(balloon_maximum_bytes), KIB},
        {"balloon.available", NULL, FIELD(balloon_available_bytes), KIB},
        {"balloon.usable", NULL, FIELD(balloon_usable_bytes), KIB},
        {"balloon.unused", NULL, FIELD(balloon_unused_bytes), KIB},
        {"balloon.rss", NULL, FIELD(balloon_rss_bytes), KIB},
        {"balloon.major_fault", NULL, FIELD(balloon_major_faults), 1},
        {"balloon.minor_fault", NULL, FIELD(balloon_minor_faults), 1},
        {"balloon.swap_in", NULL, FIELD(balloon_swap_in_bytes), KIB},
        {"balloon.swap_out", NULL, FIELD(balloon_swap_out_bytes), KIB},
        {"balloon.last-update", NULL, FIELD(balloon_last_update_s), 1},
        {"block.", ".rd.bytes", FIELD(block_read_bytes), 1},
        {"block.", ".wr.bytes", FIELD(block_write_bytes), 1},
        {"block.", ".rd.reqs", FIELD(block_read_requests), 1},
        {"block.", ".wr.reqs", FIELD(block_write_requests), 1},
        {"net.", ".rx.bytes", FIELD(net_rx_bytes), 1},
        {"net.", ".tx.bytes", FIELD(net_tx_bytes), 1},
};

static int64_t *counter_field(struct domain_stats *stats, const struct counter *counter)
{
	return (int64_t *)(void *)((char *)stats + counter->offset);
}

static int64_t value_of(const virTypedParameter *p)
{
	switch (p->type) {
	case VIR_TYPED_PARAM_INT:
		return p->value.i;
	case VIR_TYPED_PARAM_UINT:
		return p->value.ui;
	case VIR_TYPED_PARAM_LLONG:
		return p->value.l;
	case VIR_TYPED_PARAM_ULLONG:
		return p->value.ul > INT64_MAX ? INT64_MAX : (int64_t)p->value.ul;
	default:
		return -1;
	}
}

/* Whether `name` is PREFIX, a number, SUFFIX. */
static bool is_numbered(const char *name, const struct counter *counter)
{
	if (!str_starts_with(name, counter->prefix))
		return false;
	const char *rest = name + strlen(counter->prefix);
	size_t digits = strspn(rest, "0123456789");
	return digits > 0 && strcmp(rest + digits, counter->suffix) == 0;
}

static void add_counter(struct domain_stats *stats, const virTypedParameter *p)
{
	for (size_t i = 0; i < ARRAY_LEN(counters); i++) {
		const struct counter *counter = &counters[i];
		int64_t *field = counter_field(stats, counter);
		int64_t value = 0;
		if (counter->suffix ? !is_numbered(p->field, counter)
		                    : strcmp(p->field, counter->prefix) != 0)
			continue;
		if (__builtin_mul_overflow(value_of(p), counter->factor, &value) || value < 0)
			return;
		if (!counter->suffix || *field < 0)
			*field = value;
		else if (__builtin_add_overflow(*field, value, field))
			*field = INT64_MAX;
		return;
	}
}

static void read_record(const virDomainStatsRecord *record, struct domain_stats *stats)
{
	domain_stats_init(stats);
	virDomainGetUUIDString(record->dom, stats->id);
	for (int i = 0; i < record->nparams; i++) {
		const virTypedParameter *p = &record->params[i];
		if (strcmp(p->field, "state.state") == 0)
			stats->state = libvirt_domain_state_convert((int)value_of(p));
		else
			add_counter(stats, p);
	}
}

/* --- drivers without bulk statistics (test:///) --- */

static bool read_single(virDomainPtr domain, struct domain_stats *stats)
{
	virDomainInfo info;
	domain_stats_init(stats);
	virDomainGetUUIDString(domain, stats->id);
	if (virDomainGetInfo(domain, &info) < 0)
		return false;
	stats->state = libvirt_domain_state_convert(info.state);
	stats->cpu_time_ns = (int64_t)info.cpuTime;
	stats->vcpus_current = info.nrVirtCpu;
	stats->balloon_current_bytes = (int64_t)info.memory * KIB;
	stats->balloon_maximum_bytes = (int64_t)info.maxMem * KIB;
	return true;
}

static int get_singly(
        struct driver_connection *c, struct domain_stats_list *ret_list, struct err *e)
{
	virDomainPtr *domains = NULL;
	int n = virConnectListAllDomains(c->libvirt, &domains, VIR_CONNECT_LIST_DOMAINS_ACTIVE);
	if (n < 0)
		return libvirt_error_take(e, "listing the domains");
	struct domain_stats_list list = {.items = xcalloc((size_t)n + 1, sizeof(list.items[0]))};
	for (int i = 0; i < n; i++) {
		list.len += read_single(domains[i], &list.items[list.len]);
		virDomainFree(domains[i]);
	}
	free(domains);
	*ret_list = list;
	return 0;
}

int libvirt_stats_get(struct driver_connection *c, unsigned groups,
        struct domain_stats_list *ret_list, struct err *e)
{
	if (c->is_test)
		return get_singly(c, ret_list, e);
	virDomainStatsRecordPtr *records = NULL;
	int n = virConnectGetAllDomainStats(c->libvirt, libvirt_groups(groups), &records,
	        VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE |
	                VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT);
	if (n < 0)
		return libvirt_error_take(e, "reading the statistics");
	struct domain_stats_list list = {.items = xcalloc((size_t)n + 1, sizeof(list.items[0]))};
	for (int i = 0; i < n; i++)
		read_record(records[i], &list.items[list.len++]);
	virDomainStatsRecordListFree(records);
	*ret_list = list;
	return 0;
}

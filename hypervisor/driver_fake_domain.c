/* SPDX-License-Identifier: Apache-2.0 */
/* The fake driver's domains: what is there, how it changes by itself, listing and counters. */
#include "hypervisor/driver_fake_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"

#define FOREIGN_MEMORY_BYTES ((int64_t)512 * 1024 * 1024)

void fake_domain_free(struct fake_domain *d)
{
	free(d->name);
	free(d->xml);
	free(d->live_xml);
	fake_jobs_drop(d);
	fake_pins_free(d);
	free(d);
}

struct fake_domain *fake_domain_add(struct fake_host *h, const char *id, const char *name)
{
	struct fake_domain *d = xcalloc(1, sizeof(*d));
	snprintf(d->id, sizeof(d->id), "%s", id);
	d->name = xstrdup(name);
	d->state = DOMAIN_SHUTOFF;
	d->is_persistent = true;
	d->has_agent = true;
	d->memory_bytes = d->memory_max_bytes = FOREIGN_MEMORY_BYTES;
	d->balloon_bytes = d->target_bytes = FOREIGN_MEMORY_BYTES;
	d->has_balloon = true;
	d->memory.used_bytes = -1;
	d->vcpus = d->vcpus_current = 1;
	map_put(h->domains, d->id, d);
	map_put(h->names, d->name, d);
	return d;
}

void fake_domain_remove(struct fake_host *h, struct fake_domain *d)
{
	map_remove(h->domains, d->id);
	map_remove(h->names, d->name);
	fake_domain_free(d);
}

bool fake_domain_is_active(const struct fake_domain *d)
{
	return d->state == DOMAIN_RUNNING || d->state == DOMAIN_PAUSED;
}

void fake_domain_emit(struct fake_host *h, const struct fake_domain *d, enum domain_event_kind kind)
{
	struct domain_event event = {.kind = kind};
	memcpy(event.id, d->id, sizeof(event.id));
	snprintf(event.name, sizeof(event.name), "%s", d->name);
	if (kind == DOMAIN_EVENT_STATE) {
		event.state = d->state;
		event.reason = d->reason;
	}
	fake_emit(h, &event);
}

void fake_domain_read(struct fake_domain *d, const char *xml)
{
	struct fake_domain parsed = {0};
	if (!xml || fake_xml_parse(xml, &parsed, NULL) != 0)
		return;
	free(parsed.name);
	d->memory_bytes = parsed.memory_bytes;
	d->memory_max_bytes = parsed.memory_max_bytes;
	d->balloon_bytes = parsed.balloon_bytes;
	d->has_balloon = parsed.has_balloon;
	d->stats_period_s = parsed.stats_period_s;
	d->memory.autodeflate = parsed.memory.autodeflate;
	d->vcpus = parsed.vcpus;
	d->vcpus_current = parsed.vcpus_current;
	d->n_macs = parsed.n_macs;
	memcpy(d->macs, parsed.macs, sizeof(d->macs));
}

void fake_domain_run_as(
        struct fake_host *h, struct fake_domain *d, const char *xml, enum domain_state state)
{
	char *live_xml = xstrdup(xml); /* may be the old one */
	d->state = state;
	d->reason = state == DOMAIN_PAUSED ? DOMAIN_REASON_USER : DOMAIN_REASON_NONE;
	d->has_managed_save = false;
	d->freeze = FREEZE_THAWED;
	d->started_ns = clock_now_ns();
	free(d->live_xml);
	d->live_xml = live_xml;
	fake_domain_read(d, live_xml);
	fake_memory_boot(d);
	fake_domain_emit(h, d, DOMAIN_EVENT_STATE);
}

void fake_domain_run(struct fake_host *h, struct fake_domain *d)
{
	fake_domain_run_as(h, d, d->xml, DOMAIN_RUNNING);
}

void fake_domain_stop(struct fake_host *h, struct fake_domain *d, enum domain_reason reason)
{
	d->state = DOMAIN_SHUTOFF;
	d->reason = reason;
	free(TAKE(d->live_xml));
	fake_jobs_drop(d);
	fake_domain_emit(h, d, DOMAIN_EVENT_STATE);
	if (!d->is_persistent)
		fake_domain_remove(h, d);
}

/* Stable over restarts of the process: from the names alone (FNV-1a). */
static void make_stable_id(const char *host, int index, char ret_id[UUID_TEXT_SIZE])
{
	uint64_t hash = 0xcbf29ce484222325u;
	for (const char *it = host; *it; it++)
		hash = (hash ^ (unsigned char)*it) * 0x100000001b3u;
	snprintf(ret_id, UUID_TEXT_SIZE, "%08x-%04x-4%03x-8%03x-%012x", (unsigned)(hash >> 32),
	        (unsigned)(hash >> 16) & 0xffffu, (unsigned)(hash >> 4) & 0xfffu,
	        (unsigned)hash & 0xfffu, (unsigned)index);
}

void fake_domains_populate(struct fake_host *h, int count, int running)
{
	for (int i = 0; i < count; i++) {
		char id[UUID_TEXT_SIZE], name[40];
		make_stable_id(h->name, i, id);
		snprintf(name, sizeof(name), "foreign-%05d", i);
		struct fake_domain *d = fake_domain_add(h, id, name);
		if (i < running)
			fake_domain_run(h, d);
	}
}

static void fill_info(const struct fake_domain *d, struct domain_info *ret)
{
	*ret = (struct domain_info){.name = xstrdup(d->name),
	        .state = d->state,
	        .reason = d->reason,
	        .persistent = d->is_persistent,
	        .has_managed_save = d->has_managed_save,
	        .is_ours = d->is_ours,
	        .is_carrier = d->is_carrier};
	memcpy(ret->id, d->id, sizeof(ret->id));
}

int fake_list_domains(struct driver_connection *c, struct domain_list *ret_list, struct err *e)
{
	int rc = fake_enter(c, "list_domains", NULL, e);
	if (rc != 0)
		return rc;
	const struct map *domains = c->host->domains;
	struct domain_list list = {.items = xcalloc(map_len(domains) + 1, sizeof(*list.items))};
	size_t cursor = 0;
	void *d;
	while (map_next(domains, &cursor, NULL, &d))
		fill_info(d, &list.items[list.len++]);
	*ret_list = list;
	fake_leave(c);
	return 0;
}

int fake_get_domain(
        struct driver_connection *c, const char *id, struct domain_info *ret, struct err *e)
{
	int rc = fake_enter(c, "get_domain", id, e);
	if (rc != 0)
		return rc;
	const struct fake_domain *d = map_get(c->host->domains, id);
	if (d) {
		fill_info(d, ret);
		ret->xml = d->xml ? xstrdup(d->xml) : fake_xml_make(d);
		if (fake_domain_is_active(d))
			ret->live_xml = xstrdup(d->live_xml ? d->live_xml : ret->xml);
	} else {
		rc = err_set(e, ERR_NOT_FOUND, "no domain %s on host %s", id, c->host->name);
	}
	fake_leave(c);
	return rc;
}

int fake_find_domain(
        struct driver_connection *c, const char *name, char ret_id[UUID_TEXT_SIZE], struct err *e)
{
	int rc = fake_enter(c, "find_domain", NULL, e);
	if (rc != 0)
		return rc;
	const struct fake_domain *d = map_get(c->host->names, name);
	if (d)
		memcpy(ret_id, d->id, UUID_TEXT_SIZE);
	else
		rc = err_set(e, ERR_NOT_FOUND, "no domain '%s' on host %s", name, c->host->name);
	fake_leave(c);
	return rc;
}

static void fill_cpus(const struct fake_domain *d, struct domain_stats *ret)
{
	ret->vcpus_current = d->vcpus_current;
	ret->vcpus_maximum = d->vcpus;
	ret->vcpu_delay_ns = 0;
	ret->vcpu_wait_ns = 0;
}

static void fill_devices(int64_t ran_ns, struct domain_stats *ret)
{
	ret->block_read_bytes = ran_ns / 1000;
	ret->block_write_bytes = ran_ns / 2000;
	ret->block_read_requests = ran_ns / 4096000;
	ret->block_write_requests = ran_ns / 8192000;
	ret->net_rx_bytes = ran_ns / 10000;
	ret->net_tx_bytes = ran_ns / 20000;
}

static void fill_stats(struct fake_domain *d, unsigned groups, struct domain_stats *ret)
{
	int64_t ran_ns = clock_now_ns() - d->started_ns;
	domain_stats_init(ret);
	ret->state = d->state;
	memcpy(ret->id, d->id, sizeof(ret->id));
	fake_memory_move(d);
	if (groups & STATS_CPU)
		ret->cpu_time_ns = ran_ns / 10 * d->vcpus_current;
	if (groups & STATS_VCPU)
		fill_cpus(d, ret);
	if (groups & STATS_BALLOON)
		fake_memory_fill(d, ret);
	if (groups & STATS_DEVICES)
		fill_devices(ran_ns, ret);
}

int fake_get_stats(struct driver_connection *c, unsigned groups, struct domain_stats_list *ret_list,
        struct err *e)
{
	int rc = fake_enter(c, "get_stats", NULL, e);
	if (rc != 0)
		return rc;
	const struct map *domains = c->host->domains;
	struct domain_stats_list list = {
	        .items = xcalloc(map_len(domains) + 1, sizeof(*list.items))};
	size_t cursor = 0;
	void *d;
	while (map_next(domains, &cursor, NULL, &d))
		if (fake_domain_is_active(d))
			fill_stats(d, groups, &list.items[list.len++]);
	*ret_list = list;
	fake_leave(c);
	return 0;
}

static void fill_guest(const struct fake_domain *d, struct guest_info *ret)
{
	*ret = (struct guest_info){.agent_connected = d->has_agent};
	if (d->has_agent) {
		ret->os_name = xstrdup("Fake Linux");
		ret->os_version = xstrdup("1");
		ret->kernel = xstrdup("6.1.0");
		ret->hostname = xstrdup(d->name);
	}
	ret->addresses = xcalloc((size_t)d->n_macs + 1, sizeof(*ret->addresses));
	for (int i = 0; i < d->n_macs; i++) {
		unsigned a = 0, b = 0, last = 0;
		sscanf(d->macs[i], "%*x:%*x:%*x:%2x:%2x:%2x", &a, &b, &last);
		struct guest_address *address = &ret->addresses[ret->n_addresses++];
		*address = (struct guest_address){.prefix = 8, .source = "lease"};
		memcpy(address->mac, d->macs[i], sizeof(address->mac));
		snprintf(address->address, sizeof(address->address), "10.%u.%u.%u", a, b, last);
	}
}

int fake_get_guest(
        struct driver_connection *c, const char *id, struct guest_info *ret, struct err *e)
{
	int rc = fake_enter(c, "get_guest", id, e);
	if (rc != 0)
		return rc;
	const struct fake_domain *d = map_get(c->host->domains, id);
	if (!d)
		rc = err_set(e, ERR_NOT_FOUND, "no domain %s on host %s", id, c->host->name);
	else if (d->state != DOMAIN_RUNNING)
		rc = err_set(e, ERR_WRONG_STATE, "domain '%s' is not running", d->name);
	else
		fill_guest(d, ret);
	fake_leave(c);
	return rc;
}

/* What guests and other managers do. */

typedef void (*change_fn)(struct fake_host *h, struct fake_domain *d);

static void change(const char *host, const char *id, change_fn fn)
{
	struct fake_host *h = fake_host_get(host);
	LOCK_SCOPE(&h->lock);
	struct fake_domain *d = map_get(h->domains, id);
	if (d)
		fn(h, d);
}

static void end_by_itself(struct fake_host *h, struct fake_domain *d)
{
	if (fake_domain_is_active(d))
		fake_domain_stop(h, d, DOMAIN_REASON_GUEST_SHUTDOWN);
}

static void crash(struct fake_host *h, struct fake_domain *d)
{
	if (fake_domain_is_active(d))
		fake_domain_stop(h, d, DOMAIN_REASON_CRASHED);
}

static void run(struct fake_host *h, struct fake_domain *d)
{
	if (!fake_domain_is_active(d))
		fake_domain_run(h, d);
}

static void destroy(struct fake_host *h, struct fake_domain *d)
{
	if (fake_domain_is_active(d))
		fake_domain_stop(h, d, DOMAIN_REASON_DESTROYED);
}

static void undefine(struct fake_host *h, struct fake_domain *d)
{
	fake_domain_emit(h, d, DOMAIN_EVENT_UNDEFINED);
	d->is_persistent = false;
	if (!fake_domain_is_active(d))
		fake_domain_remove(h, d);
}

void fake_guest_shutdown(const char *host, const char *id)
{
	change(host, id, end_by_itself);
}

void fake_guest_crash(const char *host, const char *id)
{
	change(host, id, crash);
}

void fake_domain_foreign_start(const char *host, const char *id)
{
	change(host, id, run);
}

void fake_domain_foreign_destroy(const char *host, const char *id)
{
	change(host, id, destroy);
}

void fake_domain_foreign_remove(const char *host, const char *id)
{
	change(host, id, undefine);
}

static void set_agent(struct fake_host *h, struct fake_domain *d)
{
	d->has_agent = true;
	fake_domain_emit(h, d, DOMAIN_EVENT_GUEST);
}

static void unset_agent(struct fake_host *h, struct fake_domain *d)
{
	d->has_agent = false;
	fake_domain_emit(h, d, DOMAIN_EVENT_GUEST);
}

void fake_guest_set_agent(const char *host, const char *id, bool is_connected)
{
	change(host, id, is_connected ? set_agent : unset_agent);
}

static void set_deaf(struct fake_host *h, struct fake_domain *d)
{
	(void)h;
	d->is_deaf = true;
}

static void unset_deaf(struct fake_host *h, struct fake_domain *d)
{
	(void)h;
	d->is_deaf = false;
}

void fake_guest_set_deaf(const char *host, const char *id, bool is_deaf)
{
	change(host, id, is_deaf ? set_deaf : unset_deaf);
}

void fake_domain_foreign_add(
        const char *host, const char *name, bool is_running, char ret_id[UUID_TEXT_SIZE])
{
	struct fake_host *h = fake_host_get(host);
	uuid_make(ret_id);
	LOCK_SCOPE(&h->lock);
	struct fake_domain *d = fake_domain_add(h, ret_id, name);
	fake_domain_emit(h, d, DOMAIN_EVENT_DEFINED);
	if (is_running)
		fake_domain_run(h, d);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The fake driver's hosts as providers of memory and CPU: counters, KSM, pins. Lane threads, but for
 * the scripts; all under the host's lock. */
#include "hypervisor/driver_fake_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"

#define PAGE_BYTES 4096

void fake_host_resources_init(struct fake_host *h)
{
	struct host_stats nothing;
	host_stats_init(&nothing);
	h->memory_pressure = nothing.memory_pressure;
	h->cpu_pressure = nothing.cpu_pressure;
	h->ksm = (struct ksm_state){
	        .run = KSM_RUN_STOPPED, .can_set_run = true, .pages_to_scan = 100, .sleep_ms = 20};
}

static int64_t guests_bytes(const struct fake_host *h)
{
	int64_t sum = 0;
	size_t cursor = 0;
	void *value;
	while (map_next(h->domains, &cursor, NULL, &value)) {
		struct fake_domain *d = value;
		fake_memory_move(d);
		sum += fake_domain_is_active(d) ? d->balloon_bytes : 0;
	}
	return sum;
}

static void fill_host_stats(const struct fake_host *h, struct host_stats *ret)
{
	int64_t free_bytes = h->memory_bytes - h->other_bytes - guests_bytes(h);
	host_stats_init(ret);
	ret->memory_total_bytes = h->memory_bytes;
	ret->memory_free_bytes = free_bytes > 0 ? free_bytes : 0;
	ret->memory_buffers_bytes = ret->memory_cached_bytes = 0;
	ret->memory_available_bytes = ret->memory_free_bytes;
	ret->cpus_online = h->cpus;
	ret->cpu_busy_ns = clock_now_ns() / 10 * h->cpus;
	ret->cpu_idle_ns = clock_now_ns() / 10 * 9 * h->cpus;
	ret->cpu_iowait_ns = 0;
	ret->memory_pressure = h->memory_pressure;
	ret->cpu_pressure = h->cpu_pressure;
}

int fake_get_host_stats(struct driver_connection *c, struct host_stats *ret_stats, struct err *e)
{
	int rc = fake_enter(c, "get_host_stats", NULL, e);
	if (rc != 0)
		return rc;
	fill_host_stats(c->host, ret_stats);
	fake_leave(c);
	return 0;
}

int fake_get_ksm(struct driver_connection *c, struct ksm_state *ret_state, struct err *e)
{
	int rc = fake_enter(c, "get_ksm", NULL, e);
	if (rc != 0)
		return rc;
	*ret_state = c->host->ksm;
	ret_state->saved_bytes = ret_state->pages_sharing * PAGE_BYTES;
	fake_leave(c);
	return 0;
}

static int change_ksm(struct ksm_state *ksm, const struct ksm_change *change, struct err *e)
{
	if (change->run != KSM_RUN_UNKNOWN && !ksm->can_set_run)
		return err_set(e, ERR_UNSUPPORTED, "KSM cannot be switched on this host");
	if (change->run != KSM_RUN_UNKNOWN)
		ksm->run = change->run;
	if (change->pages_to_scan > 0)
		ksm->pages_to_scan = change->pages_to_scan;
	if (change->sleep_ms > 0)
		ksm->sleep_ms = change->sleep_ms;
	return 0;
}

int fake_set_ksm(struct driver_connection *c, const struct ksm_change *change, struct err *e)
{
	int rc = fake_enter(c, "set_ksm", NULL, e);
	if (rc != 0)
		return rc;
	rc = change_ksm(&c->host->ksm, change, e);
	fake_leave(c);
	return rc;
}

/* --- CPUs of a guest --- */

static void set_pins(struct fake_domain *d, const char *key, const char *cpus)
{
	if (!cpus)
		return;
	if (!d->pins)
		d->pins = map_new();
	free(map_remove(d->pins, key));
	map_put(d->pins, key, xstrdup(cpus));
}

void fake_pins_free(struct fake_domain *d)
{
	size_t cursor = 0;
	void *cpus;
	if (!d->pins)
		return;
	while (map_next(d->pins, &cursor, NULL, &cpus))
		free(cpus);
	map_free(TAKE(d->pins));
}

static int pins_body(struct fake_host *h, struct fake_domain *d, const void *arg, struct err *e)
{
	const struct cpu_pins *pins = arg;
	char key[24];
	(void)h;
	if (!fake_domain_is_active(d))
		return fake_not_running(d, e);
	if (pins->n_vcpus > (size_t)d->vcpus)
		return err_set(
		        e, ERR_INVALID, "domain '%s' has no vCPU %zu", d->name, pins->n_vcpus - 1);
	for (size_t i = 0; i < pins->n_vcpus; i++) {
		snprintf(key, sizeof(key), "%zu", i);
		set_pins(d, key, pins->vcpus[i]);
	}
	set_pins(d, "emulator", pins->emulator);
	set_pins(d, "iothreads", pins->iothreads);
	return 0;
}

int fake_set_cpu_pins_live(
        struct driver_connection *c, const char *id, const struct cpu_pins *pins, struct err *e)
{
	return fake_with_domain(c, "set_cpu_pins_live", id, pins_body, pins, e);
}

struct vcpu_question {
	int *ret_online;
};

static int guest_vcpus_body(
        struct fake_host *h, struct fake_domain *d, const void *arg, struct err *e)
{
	const struct vcpu_question *question = arg;
	(void)h;
	if (d->state != DOMAIN_RUNNING)
		return fake_not_running(d, e);
	if (!d->has_agent)
		return err_set(
		        e, ERR_UNAVAILABLE, "the agent of domain '%s' is not connected", d->name);
	*question->ret_online = d->vcpus_current;
	return 0;
}

int fake_get_guest_vcpus(
        struct driver_connection *c, const char *id, int *ret_online, struct err *e)
{
	const struct vcpu_question question = {ret_online};
	return fake_with_domain(c, "get_guest_vcpus", id, guest_vcpus_body, &question, e);
}

/* --- scripts --- */

void fake_host_set_other_memory(const char *host, int64_t bytes)
{
	struct fake_host *h = fake_host_get(host);
	LOCK_SCOPE(&h->lock);
	h->other_bytes = bytes;
}

void fake_host_set_pressure(
        const char *host, const struct host_pressure *memory, const struct host_pressure *cpu)
{
	struct fake_host *h = fake_host_get(host);
	LOCK_SCOPE(&h->lock);
	h->memory_pressure = *memory;
	h->cpu_pressure = *cpu;
}

void fake_host_set_ksm(const char *host, const struct ksm_state *state)
{
	struct fake_host *h = fake_host_get(host);
	LOCK_SCOPE(&h->lock);
	h->ksm = *state;
}

char *fake_guest_get_pins(const char *host, const char *id, int vcpu)
{
	struct fake_host *h = fake_host_get(host);
	LOCK_SCOPE(&h->lock);
	const struct fake_domain *d = map_get(h->domains, id);
	char key[16];
	snprintf(key, sizeof(key), "%d", vcpu);
	const char *name = vcpu == -1 ? "emulator" : vcpu == -2 ? "iothreads" : key;
	const char *cpus = d && d->pins ? map_get(d->pins, name) : NULL;
	return xstrdup(cpus ? cpus : "");
}

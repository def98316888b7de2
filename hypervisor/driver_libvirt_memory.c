/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of running domains: the balloon, its statistics, and growing beyond what was booted with by
 * plugging DIMMs (docs/decisions/0014). Lane threads.
 */
#include <time.h>

#include "base/str.h"
#include "hypervisor/domain_xml.h"
#include "hypervisor/driver_libvirt_internal.h"
#include "hypervisor/libvirt_error.h"

/* Jobs this old are not waited for: QEMU hangs, or is saved or copied. */
#define BUSY_MS 1000

/* A guest finds plugged memory in its own time; it is asked so often, so far apart. Larger blocks than a step (guests
 * beyond 64 GiB) are not counted on: then all tries pass. */
#define USE_TRIES    50
#define USE_AGAIN_NS (200 * 1000 * 1000)

/* libvirt would wait 30 s for the domain's job; this asks without one. */
static int check_not_busy(virDomainPtr domain, struct err *e)
{
	virDomainControlInfo info;
	if (virDomainGetControlInfo(domain, &info, 0) < 0)
		return 0; /* not told: the call that follows will */
	if (info.state != VIR_DOMAIN_CONTROL_JOB && info.state != VIR_DOMAIN_CONTROL_OCCUPIED)
		return 0;
	if (info.stateTime < BUSY_MS)
		return 0;
	return err_set(e, ERR_BUSY, "another call has worked on %s for %llu ms",
	        virDomainGetName(domain), (unsigned long long)info.stateTime);
}

int libvirt_live_set_memory(
        struct driver_connection *c, const char *id, int64_t bytes, struct err *e)
{
	virDomainPtr domain CLEANUP(cleanup_libvirt_domain) = NULL;
	int r = libvirt_domain_lookup(c, id, &domain, e);
	if (r == 0)
		r = check_not_busy(domain, e);
	if (r < 0)
		return r;
	if (virDomainSetMemoryFlags(domain, (unsigned long)(bytes / 1024), VIR_DOMAIN_AFFECT_LIVE) <
	        0)
		return libvirt_domain_error(domain, "setting the memory of", e);
	return 0;
}

int libvirt_live_set_stats_period(
        struct driver_connection *c, const char *id, int seconds, struct err *e)
{
	virDomainPtr domain CLEANUP(cleanup_libvirt_domain) = NULL;
	int r = libvirt_domain_lookup(c, id, &domain, e);
	if (r == 0)
		r = check_not_busy(domain, e);
	if (r < 0)
		return r;
	if (virDomainSetMemoryStatsPeriod(domain, seconds, VIR_DOMAIN_AFFECT_LIVE) < 0)
		return libvirt_domain_error(domain, "asking for memory statistics of", e);
	return 0;
}

/* --- growing --- */

static int read_live(virDomainPtr domain, struct domain_facts *ret_facts, struct err *e)
{
	char *xml CLEANUP(cleanup_free) = virDomainGetXMLDesc(domain, 0);
	if (!xml)
		return libvirt_domain_error(domain, "reading the definition of", e);
	return domain_xml_parse(xml, ret_facts, e);
}

static int refuse_slots(const struct domain_facts *has, int64_t bytes, struct err *e)
{
	err_set(e, ERR_UNSUPPORTED,
	        "%s has used %d of its %d slots for memory: it has %lld bytes, and %lld with its "
	        "next start",
	        has->name, has->memory_slots_used, has->memory_slots, (long long)has->memory_bytes,
	        (long long)bytes);
	return err_hint(e, "restart it, and let it grow in fewer and larger steps");
}

/* How much is to be plugged; 0: it has enough. */
static int plan_growth(
        const struct domain_facts *has, int64_t bytes, int64_t *ret_plug, struct err *e)
{
	int64_t missing = bytes - has->memory_bytes;
	int64_t steps = (missing + DRIVER_MEMORY_STEP_BYTES - 1) / DRIVER_MEMORY_STEP_BYTES;
	int64_t plug = missing > 0 ? steps * DRIVER_MEMORY_STEP_BYTES : 0;
	*ret_plug = plug;
	if (plug > 0 && has->memory_slots > 0 && has->memory_slots_used >= has->memory_slots)
		return refuse_slots(has, bytes, e);
	if (plug <= has->memory_max_bytes - has->memory_bytes)
		return 0;
	err_set(e, ERR_UNSUPPORTED,
	        "%s has %lld bytes and may grow to %lld: no room for %lld more in steps of %lld",
	        has->name, (long long)has->memory_bytes, (long long)has->memory_max_bytes,
	        (long long)plug, (long long)DRIVER_MEMORY_STEP_BYTES);
	err_hint(e, "set memory.max_bytes while the VM is stopped");
	return ERR_UNSUPPORTED;
}

static int plug(virDomainPtr domain, int64_t bytes, struct err *e)
{
	char *xml CLEANUP(cleanup_free) = NULL;
	int r = domain_xml_build_dimm(bytes, &xml, e);
	if (r < 0)
		return r;
	if (virDomainAttachDeviceFlags(domain, xml, VIR_DOMAIN_AFFECT_LIVE) < 0)
		return libvirt_domain_error(domain, "plugging memory into", e);
	return 0;
}

/* Guests that use new memory by themselves need no agent, so that its absence is no error. */
static void let_use(struct driver_connection *c, const char *id, size_t n_blocks)
{
	static const struct timespec again = {.tv_nsec = USE_AGAIN_NS};
	for (int i = 0; i < USE_TRIES; i++) {
		size_t n = 0;
		if (libvirt_agent_use_memory(c, id, &n, NULL) < 0 || n >= n_blocks)
			return;
		clock_nanosleep(CLOCK_MONOTONIC, 0, &again, NULL);
	}
}

int libvirt_live_grow_memory(
        struct driver_connection *c, const char *id, int64_t bytes, struct err *e)
{
	virDomainPtr domain CLEANUP(cleanup_libvirt_domain) = NULL;
	struct domain_facts has CLEANUP(domain_facts_done) = {0};
	int64_t missing = 0;
	size_t n_blocks = 0;
	int r = libvirt_domain_lookup(c, id, &domain, e);
	if (r == 0 && c->is_test)
		return err_set(e, ERR_UNSUPPORTED, "the test driver cannot plug memory");
	if (r == 0 && !libvirt_domain_is_active(domain))
		return err_set(e, ERR_WRONG_STATE, "%s is not running", virDomainGetName(domain));
	if (r == 0)
		r = check_not_busy(domain, e);
	if (r == 0)
		r = read_live(domain, &has, e);
	if (r == 0)
		r = plan_growth(&has, bytes, &missing, e);
	if (r < 0)
		return r;
	if (libvirt_agent_use_memory(c, id, &n_blocks, NULL) == 0)
		n_blocks += (size_t)(missing / DRIVER_MEMORY_STEP_BYTES);
	if (missing > 0)
		r = plug(domain, missing, e);
	if (r == 0 && n_blocks > 0 && missing > 0)
		let_use(c, id, n_blocks);
	return r;
}

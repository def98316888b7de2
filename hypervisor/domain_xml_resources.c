/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a domain gets of its host: memory and where it comes from, vCPUs, their weight, limit and
 * pins, I/O threads. In the order in which libvirt prints them. Any thread, pure.
 */
#include "base/str.h"
#include "hypervisor/domain_xml_internal.h"
#include "hypervisor/driver.h"

/* cgroup period of a CPU limit in microseconds; the quota per vCPU is a share of it. */
#define CPU_PERIOD_US 100000
#define IOTHREADS_MAX 64

int64_t domain_config_memory_max(const struct domain_config *c)
{
	return c->memory_max_bytes > c->memory_bytes ? c->memory_max_bytes : c->memory_bytes;
}

int domain_config_vcpus_max(const struct domain_config *c)
{
	return c->vcpus_max > c->vcpus ? c->vcpus_max : c->vcpus;
}

bool domain_config_can_grow(const struct domain_config *c)
{
	return domain_config_memory_max(c) > c->memory_bytes && !c->is_test_driver;
}

static void check_memory(struct xml_builder *b)
{
	static const char *const policies[] = {"strict", "preferred", "interleave", NULL};
	const struct domain_config *c = b->config;
	if (c->memory_bytes < 1024 * 1024)
		xml_fail(b, ERR_INVALID, "memory is %lld bytes: at least 1 MiB is needed",
		        (long long)c->memory_bytes);
	if (c->memory_current_bytes < 0 || c->memory_current_bytes > c->memory_bytes)
		xml_fail(b, ERR_INVALID, "current memory is %lld bytes of %lld",
		        (long long)c->memory_current_bytes, (long long)c->memory_bytes);
	if (c->hugepage_bytes < 0 || c->hugepage_bytes % 1024 != 0)
		xml_fail(b, ERR_INVALID, "huge pages of %lld bytes are not possible",
		        (long long)c->hugepage_bytes);
	if (c->memory_policy && !xml_is_one_of(c->memory_policy, policies))
		xml_fail(b, ERR_INVALID, "a memory policy is strict, preferred or interleave");
}

static void check_cpus(struct xml_builder *b)
{
	const struct domain_config *c = b->config;
	if (c->vcpus < 1)
		xml_fail(b, ERR_INVALID, "%d vCPUs: at least 1 is needed", c->vcpus);
	if (c->cpu_shares < 0 || c->cpu_shares > UINT32_MAX)
		xml_fail(b, ERR_INVALID, "CPU shares of %lld are out of range",
		        (long long)c->cpu_shares);
	if (c->cpu_limit_percent < 0 || c->cpu_limit_percent > 100000)
		xml_fail(b, ERR_INVALID, "a CPU limit of %lld%% is out of range",
		        (long long)c->cpu_limit_percent);
	if (c->n_vcpu_pins > (size_t)domain_config_vcpus_max(c))
		xml_fail(b, ERR_INVALID, "pins of %zu vCPUs for a domain of %d", c->n_vcpu_pins,
		        domain_config_vcpus_max(c));
	if (c->iothreads < 0 || c->iothreads > IOTHREADS_MAX)
		xml_fail(b, ERR_INVALID, "%d I/O threads are out of range", c->iothreads);
}

static void add_backing(struct xml_builder *b, xmlNode *domain)
{
	const struct domain_config *c = b->config;
	if (c->memory_merge && !c->hugepages)
		return;
	xmlNode *backing = xml_add(b, domain, "memoryBacking");
	xmlNode *pages = c->hugepages ? xml_add(b, backing, "hugepages") : NULL;
	if (pages && c->hugepage_bytes > 0) {
		xmlNode *page = xml_add(b, pages, "page");
		xml_set_int(b, page, "size", c->hugepage_bytes / 1024);
		xml_set(b, page, "unit", "KiB");
	}
	if (!c->memory_merge)
		xml_add(b, backing, "nosharepages");
}

static void add_memory(struct xml_builder *b, xmlNode *domain)
{
	const struct domain_config *c = b->config;
	int64_t current = c->memory_current_bytes ? c->memory_current_bytes : c->memory_bytes;
	if (domain_config_can_grow(c)) {
		xmlNode *ceiling = xml_add_kib(b, domain, "maxMemory", domain_config_memory_max(c));
		xml_set_int(b, ceiling, "slots", DRIVER_MEMORY_SLOTS);
	}
	xml_add_kib(b, domain, "memory", c->memory_bytes);
	xml_add_kib(b, domain, "currentMemory", current);
	if (!c->is_test_driver)
		add_backing(b, domain);
}

static void add_vcpus(struct xml_builder *b, xmlNode *domain)
{
	const struct domain_config *c = b->config;
	int max = domain_config_vcpus_max(c);
	xmlNode *vcpu = xml_add_int(b, domain, "vcpu", max);
	xml_set(b, vcpu, "placement", "static");
	if (max != c->vcpus)
		xml_set_int(b, vcpu, "current", c->vcpus);
	if (c->iothreads > 0 && !c->is_test_driver)
		xml_add_int(b, domain, "iothreads", c->iothreads);
}

/* --- <cputune> --- */

static bool is_pinned(const struct domain_config *c)
{
	for (size_t i = 0; i < c->n_vcpu_pins; i++)
		if (c->vcpu_pins[i])
			return true;
	return c->emulator_pins || (c->iothread_pins && c->iothreads > 0);
}

static xmlNode *add_pin(
        struct xml_builder *b, xmlNode *tune, const char *element, const char *key, size_t number)
{
	xmlNode *pin = xml_add(b, tune, element);
	if (key)
		xml_set_int(b, pin, key, (int64_t)number);
	return pin;
}

static void add_pins(struct xml_builder *b, xmlNode *tune)
{
	const struct domain_config *c = b->config;
	for (size_t i = 0; i < c->n_vcpu_pins; i++)
		if (c->vcpu_pins[i])
			xml_set_checked(b, add_pin(b, tune, "vcpupin", "vcpu", i), "cpuset",
			        XML_TEXT_SET, c->vcpu_pins[i]);
	if (c->emulator_pins)
		xml_set_checked(b, add_pin(b, tune, "emulatorpin", NULL, 0), "cpuset", XML_TEXT_SET,
		        c->emulator_pins);
	for (int i = 1; c->iothread_pins && i <= c->iothreads; i++)
		xml_set_checked(b, add_pin(b, tune, "iothreadpin", "iothread", (size_t)i), "cpuset",
		        XML_TEXT_SET, c->iothread_pins);
}

static void add_tune(struct xml_builder *b, xmlNode *domain)
{
	const struct domain_config *c = b->config;
	if (c->cpu_shares == 0 && c->cpu_limit_percent == 0 && !is_pinned(c))
		return;
	xmlNode *tune = xml_add(b, domain, "cputune");
	if (c->cpu_shares > 0)
		xml_add_int(b, tune, "shares", c->cpu_shares);
	if (c->cpu_limit_percent > 0) {
		xml_add_int(b, tune, "period", CPU_PERIOD_US);
		xml_add_int(b, tune, "quota", CPU_PERIOD_US / 100 * c->cpu_limit_percent);
	}
	add_pins(b, tune);
}

/* --- <numatune> --- */

static void add_nodes(struct xml_builder *b, xmlNode *domain)
{
	const struct domain_config *c = b->config;
	if (!c->memory_nodes)
		return;
	xmlNode *memory = xml_add(b, xml_add(b, domain, "numatune"), "memory");
	xml_set(b, memory, "mode", c->memory_policy ? c->memory_policy : "strict");
	xml_set_checked(b, memory, "nodeset", XML_TEXT_SET, c->memory_nodes);
}

void domain_xml_add_resources(struct xml_builder *b, xmlNode *domain)
{
	check_memory(b);
	check_cpus(b);
	add_memory(b, domain);
	add_vcpus(b, domain);
	if (b->config->is_test_driver)
		return;
	add_tune(b, domain);
	add_nodes(b, domain);
}

void domain_xml_set_iothread(struct xml_builder *b, xmlNode *driver, size_t index)
{
	const struct domain_config *c = b->config;
	size_t position = 0;
	if (c->iothreads <= 0 || c->is_test_driver || !str_equal(c->disks[index].bus, "virtio"))
		return;
	for (size_t i = 0; i < index; i++)
		position += str_equal(c->disks[i].bus, "virtio");
	xml_set_int(b, driver, "iothread", (int64_t)(position % (size_t)c->iothreads) + 1);
}

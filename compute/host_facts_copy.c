/* SPDX-License-Identifier: Apache-2.0 */
/* Copies host facts with everything they own. */
#include "compute/host_facts_copy.h"

#include "base/alloc.h"
#include "base/str.h"

static struct arch_facts copy_arch(const struct arch_facts *arch)
{
	struct arch_facts copy = *arch;
	copy.emulator = xstrdup(arch->emulator);
	copy.default_machine = xstrdup(arch->default_machine);
	copy.machines = str_list_copy(arch->machines);
	copy.cpu_models = str_list_copy(arch->cpu_models);
	return copy;
}

#define COPY_ITEMS(items, n) ((n) > 0 ? xmemdup((items), (n) * sizeof((items)[0])) : NULL)

struct host_facts host_facts_copy(const struct host_facts *facts)
{
	struct host_facts copy = *facts;
	copy.hostname = xstrdup(facts->hostname);
	copy.cpu_arch = xstrdup(facts->cpu_arch);
	copy.cpu_model = xstrdup(facts->cpu_model);
	copy.cpu_vendor = xstrdup(facts->cpu_vendor);
	copy.cpu_baseline = xstrdup(facts->cpu_baseline);
	copy.domain_type = xstrdup(facts->domain_type);
	copy.networks = str_list_copy(facts->networks);
	copy.archs = NULL;
	if (facts->n_archs > 0)
		copy.archs = xcalloc(facts->n_archs, sizeof(*copy.archs));
	for (size_t i = 0; i < facts->n_archs; i++)
		copy.archs[i] = copy_arch(&facts->archs[i]);
	copy.numa = COPY_ITEMS(facts->numa, facts->n_numa);
	copy.host_cpus = COPY_ITEMS(facts->host_cpus, facts->n_host_cpus);
	copy.hugepages = COPY_ITEMS(facts->hugepages, facts->n_hugepages);
	return copy;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads libvirt's capabilities (formatcaps) and domain capabilities (formatdomaincaps).
 *
 * The accelerator: libvirt offers KVM as soon as /dev/kvm opens, also where guests then hang
 * (nested paravirtual KVM). On x86 the truth is a host CPU with vmx or svm; elsewhere libvirt's
 * word is all there is.
 */
#include "hypervisor/host_facts.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/cpu_set.h"
#include "base/str.h"
#include "base/vec.h"
#include "hypervisor/xml_read.h"

static void arch_done(struct arch_facts *a)
{
	free(a->emulator);
	free(a->default_machine);
	str_list_free(a->machines);
	str_list_free(a->cpu_models);
}

void host_facts_done(struct host_facts *facts)
{
	for (size_t i = 0; i < facts->n_archs; i++)
		arch_done(&facts->archs[i]);
	free(facts->archs);
	free(facts->numa);
	free(facts->host_cpus);
	free(facts->hugepages);
	str_list_free(facts->networks);
	free(facts->cpu_baseline);
	free(facts->hostname);
	free(facts->cpu_arch);
	free(facts->cpu_model);
	free(facts->cpu_vendor);
	free(facts->domain_type);
	*facts = (struct host_facts){0};
}

/* --- the host --- */

/* A hardware thread's place; libvirt leaves it out for threads that are offline. */
struct cpu_place {
	int64_t socket, die, core;
};

typedef VEC(struct cpu_place) cpu_places;

static int compare_places(const void *left, const void *right)
{
	const struct cpu_place *a = left, *b = right;
	if (a->socket != b->socket)
		return a->socket < b->socket ? -1 : 1;
	if (a->die != b->die)
		return a->die < b->die ? -1 : 1;
	return a->core == b->core ? 0 : a->core < b->core ? -1 : 1;
}

typedef VEC(struct host_cpu) host_cpus;
typedef VEC(struct hugepage_pool) hugepage_pools;

/* What is gathered over the cells. */
struct topology {
	cpu_places places; /* of cpus.items, one each */
	host_cpus cpus;
	hugepage_pools hugepages;
};

static int read_cell_cpus(const xmlNode *cell, int node, struct topology *t)
{
	int n = 0;
	XML_FOR_EACH_CHILD(xml_read_child(cell, "cpus"), "cpu", cpu)
	{
		char *socket CLEANUP(cleanup_free) = xml_read_attribute(cpu, "socket_id");
		n++;
		if (!socket)
			continue;
		struct cpu_place place = {xml_read_attribute_int(cpu, "socket_id"),
		        xml_read_attribute_int(cpu, "die_id"),
		        xml_read_attribute_int(cpu, "core_id")};
		struct host_cpu host_cpu = {.id = (int)xml_read_attribute_int(cpu, "id"),
		        .node = node,
		        .socket = (int)place.socket};
		VEC_PUSH(&t->places, place);
		VEC_PUSH(&t->cpus, host_cpu);
	}
	return n;
}

/* The first size is the ordinary one. */
static void read_cell_pages(const xmlNode *cell, int node, struct topology *t)
{
	bool is_first = true;
	XML_FOR_EACH_CHILD(cell, "pages", it)
	{
		int64_t kib = xml_read_attribute_int(it, "size");
		struct hugepage_pool pool = {.node = node,
		        .page_bytes = kib < INT64_MAX / 1024 ? kib * 1024 : 0,
		        .pages = xml_read_content_int(it)};
		if (!is_first && pool.pages > 0 && pool.page_bytes > 0)
			VEC_PUSH(&t->hugepages, pool);
		is_first = false;
	}
}

/* Numbers the cores: threads in the same place are siblings. `sorted` has each place once. */
static void number_cores(struct topology *t, const cpu_places *sorted)
{
	for (size_t i = 0; i < t->cpus.len; i++) {
		const struct cpu_place *place = bsearch(&t->places.items[i], sorted->items,
		        sorted->len, sizeof(sorted->items[0]), compare_places);
		t->cpus.items[i].core = (int)(place - sorted->items);
	}
}

static int compare_cpus(const void *left, const void *right)
{
	const struct host_cpu *a = left, *b = right;
	return a->node != b->node ? (a->node < b->node ? -1 : 1)
	                          : (a->id > b->id) - (a->id < b->id);
}

/* Each place once, in order. */
static cpu_places distinct_places(const cpu_places *places)
{
	cpu_places sorted = {0};
	for (size_t i = 0; i < places->len; i++)
		VEC_PUSH(&sorted, places->items[i]);
	if (sorted.len > 1)
		qsort(sorted.items, sorted.len, sizeof(sorted.items[0]), compare_places);
	size_t kept = 0;
	for (size_t i = 0; i < sorted.len; i++)
		if (kept == 0 || compare_places(&sorted.items[kept - 1], &sorted.items[i]) != 0)
			sorted.items[kept++] = sorted.items[i];
	sorted.len = kept;
	return sorted;
}

static void count_places(struct topology *t, struct host_facts *facts)
{
	if (t->places.len == 0)
		return;
	cpu_places cores = distinct_places(&t->places);
	for (size_t i = 0; i < cores.len; i++)
		facts->sockets += i == 0 || cores.items[i - 1].socket != cores.items[i].socket;
	facts->cores = (int)cores.len;
	facts->threads_per_core = ((int)t->places.len + facts->cores - 1) / facts->cores;
	number_cores(t, &cores);
	VEC_DONE(&cores);
	qsort(t->cpus.items, t->cpus.len, sizeof(t->cpus.items[0]), compare_cpus);
}

static void read_numa(const xmlNode *host, struct host_facts *facts)
{
	const xmlNode *cells = xml_read_child(xml_read_child(host, "topology"), "cells");
	struct topology t = {0};
	VEC(struct numa_node) nodes = {0};
	XML_FOR_EACH_CHILD(cells, "cell", cell)
	{
		int id = (int)xml_read_attribute_int(cell, "id");
		struct numa_node node = {.id = id,
		        .memory_bytes = xml_read_bytes(xml_read_child(cell, "memory")),
		        .cpus = read_cell_cpus(cell, id, &t)};
		read_cell_pages(cell, id, &t);
		facts->threads += node.cpus;
		facts->memory_bytes += node.memory_bytes;
		VEC_PUSH(&nodes, node);
	}
	count_places(&t, facts);
	VEC_DONE(&t.places);
	facts->host_cpus = t.cpus.items;
	facts->n_host_cpus = t.cpus.len;
	facts->hugepages = t.hugepages.items;
	facts->n_hugepages = t.hugepages.len;
	facts->numa = nodes.items;
	facts->n_numa = nodes.len;
}

/* What hosts without NUMA cells say; counts there are per node, of which such a host has one. */
static void read_topology(const xmlNode *cpu, struct host_facts *facts)
{
	const xmlNode *topology = xml_read_child(cpu, "topology");
	if (facts->threads > 0 || !topology)
		return;
	int64_t dies = xml_read_attribute_int(topology, "dies");
	facts->sockets = (int)xml_read_attribute_int(topology, "sockets");
	facts->cores = facts->sockets * (int)(dies > 0 ? dies : 1) *
	               (int)xml_read_attribute_int(topology, "cores");
	facts->threads_per_core = (int)xml_read_attribute_int(topology, "threads");
	facts->threads = facts->cores * facts->threads_per_core;
}

static enum hardware_virtualization read_hardware(const xmlNode *cpu)
{
	XML_FOR_EACH_CHILD(cpu, "feature", feature)
	{
		if (xml_read_attribute_is(feature, "name", "vmx"))
			return HARDWARE_VMX;
		if (xml_read_attribute_is(feature, "name", "svm"))
			return HARDWARE_SVM;
	}
	return HARDWARE_NONE;
}

static int compare_texts(const void *left, const void *right)
{
	return strcmp(*(char *const *)left, *(char *const *)right);
}

/* FNV-1a; a terminating NUL belongs to the text. */
static uint64_t hash_text(uint64_t hash, const char *text)
{
	do
		hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
	while (*text++);
	return hash;
}

/* "VENDOR/MODEL/HASH of the sorted features". Caller frees; NULL: the host does not say its CPU. */
static char *cpu_baseline(const xmlNode *cpu, const struct host_facts *facts)
{
	VEC(char *) names = {0};
	uint64_t hash = 0xcbf29ce484222325u;
	if (!facts->cpu_model)
		return NULL;
	XML_FOR_EACH_CHILD(cpu, "feature", feature)
	{
		char *name = xml_read_attribute(feature, "name");
		if (name)
			VEC_PUSH(&names, name);
	}
	if (names.len > 1)
		qsort(names.items, names.len, sizeof(names.items[0]), compare_texts);
	for (size_t i = 0; i < names.len; i++) {
		hash = hash_text(hash, names.items[i]);
		free(names.items[i]);
	}
	VEC_DONE(&names);
	return str_format("%s/%s/%016llx", facts->cpu_vendor ? facts->cpu_vendor : "",
	        facts->cpu_model, (unsigned long long)hash);
}

static void read_host(const xmlNode *host, struct host_facts *facts)
{
	const xmlNode *cpu = xml_read_child(host, "cpu");
	facts->cpu_arch = xml_read_content(xml_read_child(cpu, "arch"));
	facts->cpu_model = xml_read_content(xml_read_child(cpu, "model"));
	facts->cpu_vendor = xml_read_content(xml_read_child(cpu, "vendor"));
	facts->cpu_baseline = cpu_baseline(cpu, facts);
	facts->hardware = read_hardware(cpu);
	facts->has_iommu = xml_read_attribute_is(xml_read_child(host, "iommu"), "support", "yes");
	read_numa(host, facts);
	read_topology(cpu, facts);
}

/* --- the guests it can run --- */

/* The alias of the machine family we use; "" for architectures without a favourite. */
static const char *preferred_machine(const char *arch)
{
	static const char *const table[][2] = {
	        {"x86_64", "q35"},
	        {"i686", "q35"},
	        {"aarch64", "virt"},
	        {"armv7l", "virt"},
	        {"armv6l", "virt"},
	        {"riscv64", "virt"},
	        {"riscv32", "virt"},
	        {"ppc64", "pseries"},
	        {"ppc64le", "pseries"},
	        {"s390x", "s390-ccw-virtio"},
	};
	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		if (strcmp(table[i][0], arch) == 0)
			return table[i][1];
	return "";
}

static void read_machines(const xmlNode *arch, struct arch_facts *facts)
{
	const char *preferred = preferred_machine(facts->name);
	VEC(char *) machines = {0};
	XML_FOR_EACH_CHILD(arch, "machine", machine)
	{
		char *name = xml_read_content(machine);
		if (!facts->default_machine && str_equal(name, preferred)) {
			char *canonical = xml_read_attribute(machine, "canonical");
			facts->default_machine = canonical ? canonical : xstrdup(name);
		}
		VEC_PUSH(&machines, name);
	}
	if (!facts->default_machine && machines.len > 0)
		facts->default_machine = xstrdup(machines.items[0]);
	VEC_PUSH(&machines, NULL);
	facts->machines = machines.items;
}

static bool arch_has_type(const xmlNode *arch, const char *type)
{
	XML_FOR_EACH_CHILD(arch, "domain", domain)
	if (xml_read_attribute_is(domain, "type", type))
		return true;
	return false;
}

static void read_guests(const xmlNode *capabilities, struct host_facts *facts)
{
	VEC(struct arch_facts) archs = {0};
	XML_FOR_EACH_CHILD(capabilities, "guest", guest)
	{
		const xmlNode *arch = xml_read_child(guest, "arch");
		if (!arch || !xml_read_content_is(xml_read_child(guest, "os_type"), "hvm"))
			continue;
		char *name CLEANUP(cleanup_free) = xml_read_attribute(arch, "name");
		struct arch_facts a = {.has_kvm = arch_has_type(arch, "kvm")};
		snprintf(a.name, sizeof(a.name), "%s", name ? name : "");
		a.emulator = xml_read_content(xml_read_child(arch, "emulator"));
		read_machines(arch, &a);
		facts->is_test_driver = facts->is_test_driver || arch_has_type(arch, "test");
		VEC_PUSH(&archs, a);
	}
	facts->archs = archs.items;
	facts->n_archs = archs.len;
}

const struct arch_facts *host_facts_arch(const struct host_facts *facts, const char *name)
{
	for (size_t i = 0; i < facts->n_archs; i++)
		if (strcmp(facts->archs[i].name, name) == 0)
			return &facts->archs[i];
	return NULL;
}

static bool is_x86(const char *arch)
{
	return str_equal(arch, "x86_64") || str_equal(arch, "i686");
}

bool host_facts_can_use_kvm(const struct host_facts *facts, const char *architecture)
{
	const struct arch_facts *arch = host_facts_arch(facts, architecture);
	if (!arch || !arch->has_kvm)
		return false;
	return facts->hardware != HARDWARE_NONE || !is_x86(facts->cpu_arch);
}

static const char *domain_type(const struct host_facts *facts)
{
	if (facts->is_test_driver)
		return "test";
	return facts->cpu_arch && host_facts_can_use_kvm(facts, facts->cpu_arch) ? "kvm" : "qemu";
}

int host_facts_parse(const char *capabilities_xml, struct host_facts *facts, struct err *e)
{
	xmlDoc *doc CLEANUP(cleanup_xml_document) = NULL;
	int r = xml_read_document(capabilities_xml, "capabilities", &doc, e);
	if (r < 0)
		return err_prefix(e, "the host's capabilities");
	const xmlNode *root = xmlDocGetRootElement(doc);
	read_host(xml_read_child(root, "host"), facts);
	read_guests(root, facts);
	facts->domain_type = xstrdup(domain_type(facts));
	return 0;
}

/* --- one architecture --- */

static bool enum_has(const xmlNode *parent, const char *name, const char *value)
{
	XML_FOR_EACH_CHILD(parent, "enum", list)
	{
		if (!xml_read_attribute_is(list, "name", name))
			continue;
		XML_FOR_EACH_CHILD(list, "value", v)
		if (xml_read_content_is(v, value))
			return true;
	}
	return false;
}

/* Those of <mode name="custom">, but for what the host is sure not to have. NULL: it lists none. */
static char **read_cpu_models(const xmlNode *root)
{
	VEC(char *) models = {0};
	XML_FOR_EACH_CHILD(xml_read_child(root, "cpu"), "mode", mode)
	{
		if (!xml_read_attribute_is(mode, "name", "custom"))
			continue;
		XML_FOR_EACH_CHILD(mode, "model", model)
		if (!xml_read_attribute_is(model, "usable", "no"))
			VEC_PUSH(&models, xml_read_content(model));
	}
	if (models.len > 0)
		VEC_PUSH(&models, NULL);
	return models.items;
}

int host_facts_parse_domain(
        const char *domain_capabilities_xml, struct arch_facts *arch, struct err *e)
{
	xmlDoc *doc CLEANUP(cleanup_xml_document) = NULL;
	int r = xml_read_document(domain_capabilities_xml, "domainCapabilities", &doc, e);
	if (r < 0)
		return err_prefix(e, "the host's domain capabilities");
	const xmlNode *root = xmlDocGetRootElement(doc);
	const xmlNode *os = xml_read_child(root, "os");
	char *machine CLEANUP(cleanup_free) = xml_read_content(xml_read_child(root, "machine"));
	arch->has_uefi = enum_has(os, "firmware", "efi");
	arch->has_secure_boot =
	        arch->has_uefi && enum_has(xml_read_child(os, "loader"), "secure", "yes");
	if (!str_is_empty(machine))
		str_replace(&arch->default_machine, machine);
	str_list_free(arch->cpu_models);
	arch->cpu_models = read_cpu_models(root);
	return 0;
}

/* --- JSON --- */

static const char *hardware_name(enum hardware_virtualization hardware)
{
	static const char *const names[] = {
	        [HARDWARE_NONE] = "none", [HARDWARE_VMX] = "vmx", [HARDWARE_SVM] = "svm"};
	return names[hardware];
}

static void encode_node(
        const struct host_facts *f, const struct numa_node *node, struct json_writer *w)
{
	struct cpu_set cpus = {{0}};
	struct str list CLEANUP(str_done) = {0};
	for (size_t i = 0; i < f->n_host_cpus; i++)
		if (f->host_cpus[i].node == node->id)
			cpu_set_add(&cpus, f->host_cpus[i].id);
	cpu_set_format(&cpus, &list);
	json_object_begin(w);
	json_member_int(w, "id", node->id);
	json_member_int(w, "memory_bytes", node->memory_bytes);
	json_member_int(w, "cpus", node->cpus);
	json_member_string(w, "cpu_list", str_text(&list));
	json_object_end(w);
}

static void encode_cpu(const struct host_facts *f, struct json_writer *w)
{
	json_key(w, "cpu");
	json_object_begin(w);
	json_member_string(w, "model", f->cpu_model);
	json_member_string(w, "vendor", f->cpu_vendor);
	json_member_string(w, "architecture", f->cpu_arch);
	json_member_int(w, "threads", f->threads);
	json_member_int(w, "sockets", f->sockets);
	json_member_int(w, "cores", f->cores);
	json_member_int(w, "threads_per_core", f->threads_per_core);
	json_key(w, "numa_nodes");
	json_array_begin(w);
	for (size_t i = 0; i < f->n_numa; i++)
		encode_node(f, &f->numa[i], w);
	json_array_end(w);
	json_object_end(w);
}

static void encode_memory(const struct host_facts *f, struct json_writer *w)
{
	json_key(w, "memory");
	json_object_begin(w);
	json_member_int(w, "total_bytes", f->memory_bytes);
	json_key(w, "hugepages");
	json_array_begin(w);
	for (size_t i = 0; i < f->n_hugepages; i++) {
		json_object_begin(w);
		json_member_int(w, "node", f->hugepages[i].node);
		json_member_int(w, "page_bytes", f->hugepages[i].page_bytes);
		json_member_int(w, "pages", f->hugepages[i].pages);
		json_object_end(w);
	}
	json_array_end(w);
	json_object_end(w);
}

static void encode_virtualization(const struct host_facts *f, struct json_writer *w)
{
	json_key(w, "virtualization");
	json_object_begin(w);
	json_member_string(w, "hardware", hardware_name(f->hardware));
	json_key(w, "accelerators");
	json_array_begin(w);
	if (str_equal(f->domain_type, "kvm"))
		json_put_string(w, "kvm");
	if (!f->is_test_driver)
		json_put_string(w, "tcg");
	json_array_end(w);
	json_member_bool(w, "iommu", f->has_iommu);
	json_object_end(w);
}

/* libvirt packs versions as major*1000000 + minor*1000 + release. */
static void encode_version(struct json_writer *w, const char *key, uint64_t version)
{
	json_key(w, key);
	if (version == 0) {
		json_put_null(w);
		return;
	}
	char *text CLEANUP(cleanup_free) = str_format("%llu.%llu.%llu",
	        (unsigned long long)version / 1000000, (unsigned long long)version / 1000 % 1000,
	        (unsigned long long)version % 1000);
	json_put_string(w, text);
}

static void encode_architecture(
        const struct host_facts *f, const struct arch_facts *a, struct json_writer *w)
{
	json_object_begin(w);
	json_member_string(w, "name", a->name);
	json_member_string(w, "machines_default", a->default_machine);
	json_member_bool(w, "uefi", a->has_uefi);
	json_member_bool(w, "secure_boot", a->has_secure_boot);
	json_member_bool(w, "kvm", host_facts_can_use_kvm(f, a->name));
	json_object_end(w);
}

static void encode_networks(const struct host_facts *f, struct json_writer *w)
{
	json_key(w, "networks");
	if (!f->networks) {
		json_put_null(w);
		return;
	}
	json_array_begin(w);
	for (char **network = f->networks; *network; network++)
		json_put_string(w, *network);
	json_array_end(w);
}

void host_facts_encode(const struct host_facts *facts, struct json_writer *w)
{
	json_member_string(w, "hostname", facts->hostname);
	encode_cpu(facts, w);
	encode_memory(facts, w);
	encode_networks(facts, w);
	encode_virtualization(facts, w);
	json_key(w, "versions");
	json_object_begin(w);
	encode_version(w, "libvirt", facts->libvirt_version);
	encode_version(w, "hypervisor", facts->hypervisor_version);
	json_object_end(w);
	json_key(w, "architectures");
	json_array_begin(w);
	for (size_t i = 0; i < facts->n_archs; i++)
		encode_architecture(facts, &facts->archs[i], w);
	json_array_end(w);
}

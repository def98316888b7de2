/* SPDX-License-Identifier: Apache-2.0 */
/* What a host can do, as read from the hypervisor's capabilities. Immutable once published. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json_writer.h"

enum hardware_virtualization { HARDWARE_NONE, HARDWARE_VMX, HARDWARE_SVM };

/* One guest architecture that the host can run. */
struct arch_facts {
	char name[24];  /* x86_64, aarch64, ... */
	char *emulator; /* owned */
	bool has_kvm;   /* the hypervisor offers hardware acceleration for it */
	bool has_uefi;
	bool has_secure_boot;
	char *default_machine; /* owned; the canonical newest of the family we use (q35, virt) */
	char **machines;       /* owned, NULL-terminated */
	char **cpu_models; /* owned, NULL-terminated; named models that guests may get; NULL: not known */
};

struct numa_node {
	int id;
	int64_t memory_bytes;
	int cpus;
};

/* A thread of the host's CPUs; offline ones are left out. */
struct host_cpu {
	int id, node, socket;
	int core; /* threads with the same number are siblings; counted from 0 over the whole host */
};

/* Huge pages that the host has set aside. */
struct hugepage_pool {
	int node;
	int64_t page_bytes, pages; /* both of them, used ones included */
};

struct host_facts {
	char *hostname, *cpu_arch, *cpu_model, *cpu_vendor; /* owned */
	/* Owned; equal on hosts whose CPUs have the same vendor, model and features as far as libvirt says. NULL: not
	 * known. */
	char *cpu_baseline;
	char *domain_type; /* owned: virt types offered for the native arch, "kvm", "qemu" or "test"
	                    */
	int threads, sockets, cores, threads_per_core;
	int64_t memory_bytes;
	enum hardware_virtualization
	        hardware; /* the honest test for KVM: vmx or svm in the host CPU */
	bool has_iommu;
	uint64_t libvirt_version, hypervisor_version; /* major*1000000 + minor*1000 + release */
	struct arch_facts *archs;                     /* owned */
	size_t n_archs;
	struct numa_node *numa; /* owned */
	size_t n_numa;
	struct host_cpu *host_cpus; /* owned; by node, then id; none on hosts without NUMA cells */
	size_t n_host_cpus;
	struct hugepage_pool *hugepages; /* owned; pools without pages are left out */
	size_t n_hugepages;
	char **networks; /* owned, NULL-terminated, sorted: the active virtual ones; NULL: not known */
	bool has_libvirt_storage; /* the connection serves storage pools */
	bool is_test_driver;      /* test:/// : no devices, no agent */
};
void host_facts_done(struct host_facts *facts);

/* Reads libvirt's capabilities XML (schema: formatcaps); fills everything but versions and
 * hostname. */
int host_facts_parse(const char *capabilities_xml, struct host_facts *facts, struct err *e);
/* Adds what domcapabilities says of one architecture (firmware, canonical machine). */
int host_facts_parse_domain(
        const char *domain_capabilities_xml, struct arch_facts *arch, struct err *e);
const struct arch_facts *host_facts_arch(const struct host_facts *facts, const char *name);
/* Whether guests of that architecture may use KVM: libvirt offers it, and on x86 the CPU has vmx or
 * svm. */
bool host_facts_can_use_kvm(const struct host_facts *facts, const char *architecture);
/* Writes hostname, cpu, memory, networks, virtualization, versions, architectures as members of an object
 * begun by the caller. */
void host_facts_encode(const struct host_facts *facts, struct json_writer *w);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which CPUs of a host a VM is pinned to. Pure; any thread.
 *
 * auto: all vCPUs may float over the CPUs of one NUMA node, the one with the most CPUs that are not
 * dedicated to others, if it has enough CPUs and memory; else of as few nodes as possible.
 * dedicated: one CPU for each vCPU, whole cores first (both siblings), from one node if one has
 * enough, never a CPU that another VM owns; the emulator and I/O threads stay on the shared CPUs.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cpu_set.h"
#include "base/err.h"

struct cpu_thread {
	int id;
	int core; /* siblings share it; unique in the host */
};
struct cpu_node {
	int id;
	int64_t memory_bytes;
	struct cpu_thread *cpus;
	size_t n_cpus;
};
struct cpu_topology {
	struct cpu_node *nodes;
	size_t n_nodes; /* 0: not known, no VM is pinned */
};

enum cpu_pinning { CPU_PINNING_NONE, CPU_PINNING_AUTO, CPU_PINNING_DEDICATED };

struct cpu_layout_request {
	enum cpu_pinning pinning;
	int64_t vcpus;
	int64_t memory_bytes;       /* that should come from the same node; 0: no wish */
	struct cpu_set dedicated;   /* CPUs that other VMs own */
	const int64_t *node_memory; /* held by others, by index of the node; NULL: nothing */
	int64_t shared_min;         /* CPUs that must stay shared (host, emulators); at least 1 */
};

struct cpu_layout {
	bool is_pinned;       /* false: floats over all CPUs */
	int64_t vcpus;        /* that have a CPU of their own; 0: all of them float over `cpus` */
	struct cpu_set nodes; /* ids of the nodes that memory comes from */
	struct cpu_set cpus;  /* auto: where every vCPU may run; dedicated: all of its own */
	int vcpu_cpu[CPU_SET_MAX]; /* dedicated: the CPU of each vCPU, siblings adjacent */
	struct cpu_set emulator;   /* for the emulator and I/O threads */
};

/* ERR_NO_CAPACITY with the arithmetic when there are not enough free CPUs, ERR_UNPROCESSABLE when
 * the host never has as many. */
int cpu_layout_choose(const struct cpu_topology *topology, const struct cpu_layout_request *request,
        struct cpu_layout *ret_layout, struct err *e);

/*
 * Where a VM belongs when others own the CPUs `dedicated`. One with CPUs of its own keeps them, and its emulator has all that
 * nobody owns; one with nodes has what nobody owns of them, or of the host if that is nothing; one that floats has what
 * nobody owns of the host, and is pinned by that until `is_pinned` is cleared.
 */
void cpu_layout_follow(const struct cpu_topology *topology, const struct cpu_set *dedicated,
        struct cpu_layout *layout);

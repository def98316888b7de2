/* SPDX-License-Identifier: Apache-2.0 */
/* Choosing CPUs: whole cores first, one node if one has enough. */
#include "scheduler/cpu_layout.h"

#include <inttypes.h>
#include <string.h>

/* ---- nodes ---- */

struct node_state {
	const struct cpu_node *node;
	int64_t shared, memory_left; /* CPUs that nobody owns; bytes that nobody holds */
	bool is_used;
};

struct choosing {
	const struct cpu_topology *topology;
	const struct cpu_layout_request *request;
	struct node_state nodes[CPU_SET_MAX];
	size_t n_nodes;
	int64_t threads, shared;
};

static void look_at_node(struct choosing *c, size_t i)
{
	const struct cpu_node *node = &c->topology->nodes[i];
	struct node_state *state = &c->nodes[i];
	*state = (struct node_state){.node = node, .memory_left = node->memory_bytes};
	if (c->request->node_memory)
		state->memory_left -= c->request->node_memory[i];
	for (size_t j = 0; j < node->n_cpus; j++)
		state->shared += !cpu_set_has(&c->request->dedicated, node->cpus[j].id);
	c->threads += (int64_t)node->n_cpus;
	c->shared += state->shared;
}

static bool has_memory(const struct choosing *c, const struct node_state *n)
{
	return n->memory_left >= c->request->memory_bytes;
}

/* With room for the memory first, then with more CPUs; ties: the first. */
static bool is_better(
        const struct choosing *c, const struct node_state *a, const struct node_state *b)
{
	if (has_memory(c, a) != has_memory(c, b))
		return has_memory(c, a);
	return a->shared != b->shared ? a->shared > b->shared : a->memory_left > b->memory_left;
}

/* The best node that is not used yet and has so many CPUs; NULL: none. */
static struct node_state *find_node(struct choosing *c, int64_t cpus)
{
	struct node_state *best = NULL;
	for (size_t i = 0; i < c->n_nodes; i++) {
		struct node_state *n = &c->nodes[i];
		if (!n->is_used && n->shared >= cpus && (!best || is_better(c, n, best)))
			best = n;
	}
	return best;
}

/* ---- taking ---- */

static bool is_free(
        const struct choosing *c, const struct cpu_layout *layout, const struct cpu_thread *cpu)
{
	return !cpu_set_has(&c->request->dedicated, cpu->id) &&
	       !cpu_set_has(&layout->cpus, cpu->id);
}

static void take_cpu(struct cpu_layout *layout, int cpu)
{
	cpu_set_add(&layout->cpus, cpu);
	layout->vcpu_cpu[layout->vcpus++] = cpu;
}

static int64_t count_siblings(const struct choosing *c, const struct cpu_layout *layout,
        const struct cpu_node *node, int core, bool *ret_is_whole)
{
	int64_t n = 0;
	*ret_is_whole = true;
	for (size_t i = 0; i < node->n_cpus; i++) {
		if (node->cpus[i].core != core)
			continue;
		if (is_free(c, layout, &node->cpus[i]))
			n++;
		else
			*ret_is_whole = false;
	}
	return n;
}

static void take_core(
        const struct choosing *c, struct cpu_layout *layout, const struct cpu_node *node, int core)
{
	for (size_t i = 0; i < node->n_cpus && layout->vcpus < c->request->vcpus; i++)
		if (node->cpus[i].core == core && is_free(c, layout, &node->cpus[i]))
			take_cpu(layout, node->cpus[i].id);
}

/* What a pass over the cores of a node takes. */
enum core_pass {
	WHOLE_CORES,  /* all siblings free, and all of them needed */
	BROKEN_CORES, /* of which others own a part already */
	ANY_CORES,
	CORE_PASSES
};

static bool suits(enum core_pass pass, bool is_whole, int64_t siblings, int64_t needed)
{
	switch (pass) {
	case WHOLE_CORES:
		return is_whole && siblings <= needed;
	case BROKEN_CORES:
		return !is_whole;
	default:
		return true;
	}
}

static void take_of_node(
        const struct choosing *c, struct cpu_layout *layout, const struct cpu_node *node)
{
	for (enum core_pass pass = WHOLE_CORES; pass < CORE_PASSES; pass++) {
		for (size_t i = 0; i < node->n_cpus; i++) {
			bool is_whole = false;
			int core = node->cpus[i].core;
			int64_t siblings = count_siblings(c, layout, node, core, &is_whole);
			int64_t needed = c->request->vcpus - layout->vcpus;
			if (siblings > 0 && needed > 0 && suits(pass, is_whole, siblings, needed))
				take_core(c, layout, node, core);
		}
	}
}

static void use_node(struct node_state *n, struct cpu_layout *layout)
{
	n->is_used = true;
	cpu_set_add(&layout->nodes, n->node->id);
}

static void add_shared_of(
        const struct cpu_set *dedicated, const struct cpu_node *node, struct cpu_set *set)
{
	for (size_t i = 0; i < node->n_cpus; i++)
		if (!cpu_set_has(dedicated, node->cpus[i].id))
			cpu_set_add(set, node->cpus[i].id);
}

static void add_all_shared(
        const struct cpu_topology *topology, const struct cpu_set *dedicated, struct cpu_set *set)
{
	for (size_t i = 0; i < topology->n_nodes; i++)
		add_shared_of(dedicated, &topology->nodes[i], set);
}

/* As few nodes as possible: one that has all that is missing, else the largest. */
static struct node_state *next_node(struct choosing *c, int64_t missing)
{
	struct node_state *n = find_node(c, missing);
	return n ? n : find_node(c, 1);
}

static void choose_auto(struct choosing *c, struct cpu_layout *layout)
{
	int64_t found = 0;
	while (found < c->request->vcpus) {
		struct node_state *n = next_node(c, c->request->vcpus - found);
		if (!n)
			break; /* more vCPUs than shared CPUs: they float over all of them */
		use_node(n, layout);
		add_shared_of(&c->request->dedicated, n->node, &layout->cpus);
		found += n->shared;
	}
	layout->emulator = layout->cpus;
}

static void choose_dedicated(struct choosing *c, struct cpu_layout *layout)
{
	while (layout->vcpus < c->request->vcpus) {
		struct node_state *n = next_node(c, c->request->vcpus - layout->vcpus);
		use_node(n, layout);
		take_of_node(c, layout, n->node);
	}
	add_all_shared(c->topology, &c->request->dedicated, &layout->emulator);
	cpu_set_subtract(&layout->emulator, &layout->cpus);
}

/* ---- the decision ---- */

static int refuse(const struct choosing *c, int64_t available, int64_t shared_min, struct err *e)
{
	bool is_never = c->request->vcpus > c->threads - shared_min;
	err_set_at(e, is_never ? ERR_UNPROCESSABLE : ERR_NO_CAPACITY, "/cpu/pinning",
	        "%" PRId64 " dedicated CPUs were asked for, %" PRId64 " of %" PRId64
	        " can be dedicated: %d are owned by VMs, %" PRId64 " stay shared",
	        c->request->vcpus, available, c->threads, cpu_set_count(&c->request->dedicated),
	        shared_min);
	err_numbers(e,
	        "{\"asked_vcpus\":%" PRId64 ",\"free_vcpus\":%" PRId64 ",\"host_threads\":%" PRId64
	        ",\"dedicated_vcpus\":%d}",
	        c->request->vcpus, available, c->threads, cpu_set_count(&c->request->dedicated));
	err_hint(e, "ask for at most %" PRId64 " vCPUs, for pinning auto, or choose another host",
	        available);
	return is_never ? ERR_UNPROCESSABLE : ERR_NO_CAPACITY;
}

int cpu_layout_choose(const struct cpu_topology *topology, const struct cpu_layout_request *request,
        struct cpu_layout *ret_layout, struct err *e)
{
	struct choosing c = {.topology = topology, .request = request};
	struct cpu_layout layout = {0};
	c.n_nodes = topology->n_nodes < CPU_SET_MAX ? topology->n_nodes : CPU_SET_MAX;
	for (size_t i = 0; i < c.n_nodes; i++)
		look_at_node(&c, i);
	if (request->pinning == CPU_PINNING_DEDICATED) {
		int64_t shared_min = request->shared_min > 1 ? request->shared_min : 1;
		int64_t available = c.shared > shared_min ? c.shared - shared_min : 0;
		if (request->vcpus > available || request->vcpus > CPU_SET_MAX)
			return refuse(&c, available, shared_min, e);
		choose_dedicated(&c, &layout);
	} else if (request->pinning == CPU_PINNING_AUTO && c.shared > 0) {
		choose_auto(&c, &layout);
	}
	layout.is_pinned = cpu_set_count(&layout.cpus) > 0;
	*ret_layout = layout;
	return 0;
}

/* ---- following ---- */

static struct cpu_set shared_of_nodes(const struct cpu_topology *topology,
        const struct cpu_set *dedicated, const struct cpu_set *nodes)
{
	struct cpu_set shared = {{0}};
	for (size_t i = 0; i < topology->n_nodes; i++)
		if (cpu_set_has(nodes, topology->nodes[i].id))
			add_shared_of(dedicated, &topology->nodes[i], &shared);
	return shared;
}

void cpu_layout_follow(const struct cpu_topology *topology, const struct cpu_set *dedicated,
        struct cpu_layout *layout)
{
	struct cpu_set shared = {{0}};
	add_all_shared(topology, dedicated, &shared);
	if (layout->vcpus > 0) {
		cpu_set_subtract(&shared, &layout->cpus);
		layout->emulator = shared;
		return;
	}
	layout->cpus = shared_of_nodes(topology, dedicated, &layout->nodes);
	if (cpu_set_count(&layout->cpus) == 0)
		layout->cpus = shared;
	layout->emulator = layout->cpus;
	layout->is_pinned = layout->is_pinned || cpu_set_count(dedicated) > 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Deep copies in one block each: one walk over the struct measures, a second one copies. */
#include <stdint.h>
#include <string.h>

#include "scheduler/inventory_internal.h"

struct block {
	char *memory; /* NULL: measuring */
	size_t used;
};

/* Room for `size` bytes; while measuring nothing may be written there. */
static void *take(struct block *b, size_t size)
{
	void *p = b->memory ? b->memory + b->used : NULL;
	b->used += (size + sizeof(void *) - 1) & ~(sizeof(void *) - 1);
	return p;
}

static void *copy(struct block *b, const void *from, size_t size)
{
	void *p = take(b, size);
	if (p && size > 0)
		memcpy(p, from, size);
	return p;
}

/* While measuring, *text stays as it is. */
static void copy_text(struct block *b, const char **text)
{
	if (!*text)
		return;
	char *p = copy(b, *text, strlen(*text) + 1);
	if (p)
		*text = p;
}

static void copy_owned_text(struct block *b, char **text)
{
	const char *t = *text;
	copy_text(b, &t);
	if (b->memory)
		memcpy(text, &t, sizeof(t));
}

static void copy_strings(struct block *b, struct field_strings *s)
{
	char **items = copy(b, s->items, s->len * sizeof(*s->items));
	if (items)
		s->items = items;
	for (size_t i = 0; i < s->len; i++)
		copy_owned_text(b, &s->items[i]);
}

static void copy_labels(struct block *b, struct field_labels *labels)
{
	struct field_label *items = copy(b, labels->items, labels->len * sizeof(*labels->items));
	if (items)
		labels->items = items;
	for (size_t i = 0; i < labels->len; i++) {
		copy_owned_text(b, &labels->items[i].key);
		copy_owned_text(b, &labels->items[i].value);
	}
}

static void walk_group(struct block *b, struct inventory_group *pub)
{
	copy_text(b, &pub->id);
	copy_text(b, &pub->name);
}

static void walk_topology(struct block *b, struct cpu_topology *topology)
{
	struct cpu_node *nodes =
	        copy(b, topology->nodes, topology->n_nodes * sizeof(*topology->nodes));
	if (nodes)
		topology->nodes = nodes;
	for (size_t i = 0; i < topology->n_nodes; i++) {
		struct cpu_node *node = &topology->nodes[i];
		struct cpu_thread *cpus = copy(b, node->cpus, node->n_cpus * sizeof(*node->cpus));
		if (cpus)
			node->cpus = cpus;
	}
}

static void walk_architectures(struct block *b, struct inventory_host *pub)
{
	size_t size = pub->n_architectures * sizeof(*pub->architectures);
	struct inventory_architecture *copied = copy(b, pub->architectures, size);
	for (size_t i = 0; i < pub->n_architectures; i++) {
		struct inventory_architecture architecture = pub->architectures[i];
		copy_text(b, &architecture.name);
		copy_strings(b, &architecture.cpu_models);
		if (copied)
			copied[i] = architecture;
	}
	if (copied)
		pub->architectures = copied;
}

static void walk_host(struct block *b, struct inventory_host *pub)
{
	copy_text(b, &pub->id);
	copy_text(b, &pub->name);
	copy_text(b, &pub->failure_domain);
	copy_labels(b, &pub->labels);
	copy_strings(b, &pub->pools);
	copy_strings(b, &pub->networks);
	walk_architectures(b, pub);
	walk_topology(b, &pub->topology);
}

static void walk_rules(struct block *b, struct placement_rules *rules)
{
	struct placement_rule *items = copy(b, rules->items, rules->len * sizeof(*rules->items));
	for (size_t i = 0; i < rules->len; i++) {
		struct placement_rule rule = rules->items[i];
		copy_strings(b, &rule.names);
		copy_labels(b, &rule.labels);
		if (items)
			items[i] = rule;
	}
	if (items)
		rules->items = items;
}

static void walk_vm(struct block *b, struct inventory_vm *pub)
{
	copy_text(b, &pub->id);
	copy_text(b, &pub->name);
	copy_labels(b, &pub->labels);
	walk_rules(b, &pub->rules);
}

static struct block allocate(const struct block *measured)
{
	return (struct block){.memory = xcalloc(1, measured->used + 1)};
}

void *copy_group(struct inventory_group *pub)
{
	struct block measured = {0};
	walk_group(&measured, pub);
	struct block b = allocate(&measured);
	walk_group(&b, pub);
	return b.memory;
}

void *copy_host(struct inventory_host *pub)
{
	struct block measured = {0};
	walk_host(&measured, pub);
	struct block b = allocate(&measured);
	walk_host(&b, pub);
	return b.memory;
}

void *copy_vm(struct inventory_vm *pub)
{
	struct block measured = {0};
	walk_vm(&measured, pub);
	struct block b = allocate(&measured);
	walk_vm(&b, pub);
	return b.memory;
}

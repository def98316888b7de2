/* SPDX-License-Identifier: Apache-2.0 */
/* Choosing and keeping a VM's CPU sets: {"cpus":"0-3","vcpus":[0,2],"emulator":"4-7","nodes":"0"};
 * `vcpus` has the CPU of each vCPU of a dedicated VM, and is empty for one that floats; `nodes` is empty for one that was
 * pinned when it started and is no more. */
#include "compute/room_cpus.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/field.h"
#include "base/json_writer.h"
#include "base/number.h"
#include "hypervisor/domain_xml.h"

static void put_set(struct json_writer *w, const char *key, const struct cpu_set *set)
{
	struct str text CLEANUP(str_done) = {0};
	cpu_set_format(set, &text);
	json_member_string(w, key, str_text(&text));
}

static bool get_set(const json_t *json, const char *key, struct cpu_set *ret_set)
{
	const char *text = json_string_value(json_object_get(json, key));
	return text && cpu_set_parse(text, ret_set);
}

char *room_cpus_format(const struct cpu_layout *layout)
{
	struct json_writer w = {0};
	if (!layout->is_pinned)
		return NULL;
	json_object_begin(&w);
	put_set(&w, "cpus", &layout->cpus);
	json_key(&w, "vcpus");
	json_array_begin(&w);
	for (int64_t i = 0; i < layout->vcpus; i++)
		json_put_int(&w, layout->vcpu_cpu[i]);
	json_array_end(&w);
	put_set(&w, "emulator", &layout->emulator);
	put_set(&w, "nodes", &layout->nodes);
	json_object_end(&w);
	return str_take(&w.out);
}

bool room_cpus_parse(const char *text, struct cpu_layout *ret_layout)
{
	json_t *json CLEANUP(cleanup_json) = text ? json_loads(text, 0, NULL) : NULL;
	json_t *vcpu;
	size_t i;
	if (!get_set(json, "cpus", &ret_layout->cpus) ||
	        !get_set(json, "emulator", &ret_layout->emulator) ||
	        !get_set(json, "nodes", &ret_layout->nodes))
		return false;
	ret_layout->is_pinned = true;
	json_array_foreach(json_object_get(json, "vcpus"), i, vcpu)
	{
		if (i < CPU_SET_MAX)
			ret_layout->vcpu_cpu[i] = (int)json_integer_value(vcpu);
		ret_layout->vcpus = (int64_t)i + 1;
	}
	return true;
}

/* What the other pinned VMs of a host hold. */
struct others {
	const struct cpu_topology *topology;
	struct cpu_set dedicated;
	int64_t *node_memory; /* owned; bytes by index of the node */
};

static void cleanup_others(struct others *others)
{
	free(others->node_memory);
}

/* A VM of several nodes has its memory in equal parts. */
static void add_memory(struct others *others, const struct cpu_set *nodes, int64_t size_bytes)
{
	int n = cpu_set_count(nodes);
	for (size_t i = 0; i < others->topology->n_nodes; i++)
		if (cpu_set_has(nodes, others->topology->nodes[i].id))
			others->node_memory[i] += size_bytes / n;
}

static void add_other(void *arg, const char *cpus, int64_t size_bytes)
{
	struct others *others = arg;
	struct cpu_layout layout = {0};
	if (!room_cpus_parse(cpus, &layout))
		return;
	add_memory(others, &layout.nodes, size_bytes);
	if (layout.vcpus > 0)
		cpu_set_merge(&others->dedicated, &layout.cpus);
}

static int find_others(
        struct db *db, const struct room_row *row, struct others *others, struct err *e)
{
	others->node_memory = xcalloc(others->topology->n_nodes + 1, sizeof(*others->node_memory));
	return room_store_each_cpus(db, row->host_id, row->vm_id, add_other, others, e);
}

static int64_t most_vcpus(const struct room_row *row, const struct vm_spec *spec)
{
	return int64_max(row->held.vcpus, spec->cpu.has_max ? spec->cpu.max : spec->cpu.count);
}

int room_cpus_choose(struct db *db, const struct inventory *inventory,
        const struct inventory_host *host, const struct vm_spec *spec, struct room_row *row,
        struct err *e)
{
	struct cpu_layout layout = {0};
	struct others others CLEANUP(cleanup_others) = {.topology = &host->topology};
	struct cpu_layout_request request = {
	        .pinning = (enum cpu_pinning)spec->cpu.pinning,
	        .vcpus = most_vcpus(row, spec),
	        .memory_bytes = spec->memory.size_bytes,
	        .shared_min = 1,
	};
	bool floats = spec->cpu.pinning == PINNING_NONE;
	free(TAKE(row->cpus));
	if (host->topology.n_nodes == 0 ||
	        (floats && inventory_held(inventory, host->id).dedicated_vcpus == 0))
		return 0;
	int rc = find_others(db, row, &others, e);
	request.dedicated = others.dedicated;
	request.node_memory = others.node_memory;
	if (rc == 0 && floats)
		cpu_layout_follow(&host->topology, &others.dedicated, &layout);
	else if (rc == 0)
		rc = cpu_layout_choose(&host->topology, &request, &layout, e);
	if (rc == 0)
		row->cpus = room_cpus_format(&layout);
	return rc;
}

/* A process that was pinned has to be told where else it may run: on all CPUs that nobody owns, of no node. */
static int float_again(
        struct db *db, const struct inventory_host *host, struct room_row *row, struct err *e)
{
	struct cpu_layout layout = {.is_pinned = true};
	struct others others CLEANUP(cleanup_others) = {.topology = &host->topology};
	int rc = find_others(db, row, &others, e);
	if (rc < 0)
		return rc;
	cpu_layout_follow(&host->topology, &others.dedicated, &layout);
	free(row->cpus);
	row->cpus = room_cpus_format(&layout);
	return 0;
}

static enum vm_pinning kind_of(const struct cpu_layout *layout)
{
	if (cpu_set_count(&layout->nodes) == 0)
		return PINNING_NONE;
	return layout->vcpus > 0 ? PINNING_DEDICATED : PINNING_AUTO;
}

enum vm_pinning room_cpus_kind(const char *text)
{
	struct cpu_layout layout = {0};
	return room_cpus_parse(text, &layout) ? kind_of(&layout) : PINNING_NONE;
}

bool room_cpus_fit(const struct room_row *row, const struct vm_spec *spec)
{
	struct cpu_layout layout = {0};
	if (spec->cpu.pinning == PINNING_NONE || !room_cpus_parse(row->cpus, &layout) ||
	        kind_of(&layout) != (enum vm_pinning)spec->cpu.pinning)
		return false;
	return spec->cpu.pinning == PINNING_AUTO || layout.vcpus >= most_vcpus(row, spec);
}

int room_cpus_change(struct db *db, const struct inventory *inventory,
        const struct inventory_host *host, const struct vm_spec *spec, struct room_row *row,
        struct err *e)
{
	if (room_cpus_kind(row->cpus) == (enum vm_pinning)spec->cpu.pinning)
		return 0;
	return spec->cpu.pinning == PINNING_NONE
	               ? float_again(db, host, row, e)
	               : room_cpus_choose(db, inventory, host, spec, row, e);
}

static char *set_text(const struct cpu_set *set)
{
	struct str text = {0};
	cpu_set_format(set, &text);
	return str_take(&text);
}

void room_pins_fill(const char *text, int64_t n_vcpus, struct room_pins *ret_pins)
{
	struct cpu_layout layout = {0};
	if (!room_cpus_parse(text, &layout))
		return;
	ret_pins->is_dedicated = layout.vcpus > 0;
	ret_pins->emulator = set_text(&layout.emulator);
	ret_pins->nodes = set_text(&layout.nodes);
	ret_pins->n_vcpus =
	        (size_t)(ret_pins->is_dedicated && layout.vcpus < n_vcpus ? layout.vcpus : n_vcpus);
	ret_pins->vcpus = xcalloc(ret_pins->n_vcpus, sizeof(char *));
	for (size_t i = 0; i < ret_pins->n_vcpus; i++)
		ret_pins->vcpus[i] = ret_pins->is_dedicated ? str_format("%d", layout.vcpu_cpu[i])
		                                            : set_text(&layout.cpus);
}

void room_pins_done(struct room_pins *pins)
{
	for (size_t i = 0; i < pins->n_vcpus; i++)
		free(pins->vcpus[i]);
	free(pins->vcpus);
	free(pins->emulator);
	free(pins->nodes);
	*pins = (struct room_pins){0};
}

/* vCPUs that are not plugged cannot be pinned. */
int room_pins_apply(const struct driver *driver, struct driver_connection *c, const char *vm_id,
        const char *text, struct err *e)
{
	struct domain_info info CLEANUP(domain_info_done) = {0};
	struct domain_facts facts CLEANUP(domain_facts_done) = {0};
	struct room_pins pins CLEANUP(room_pins_done) = {0};
	if (!driver->set_cpu_pins_live)
		return ERR_UNSUPPORTED;
	int rc = driver->get_domain(c, vm_id, &info, e);
	if (rc == 0)
		rc = info.live_xml ? domain_xml_parse(info.live_xml, &facts, e)
		                   : err_set(e, ERR_WRONG_STATE, "it does not run");
	if (rc < 0)
		return rc;
	room_pins_fill(text, facts.vcpus, &pins);
	if (pins.n_vcpus == 0)
		return 0;
	const struct cpu_pins live = {.vcpus = (const char *const *)pins.vcpus,
	        .n_vcpus = pins.n_vcpus,
	        .emulator = pins.emulator,
	        .iothreads = pins.emulator};
	return driver->set_cpu_pins_live(c, vm_id, &live, e);
}

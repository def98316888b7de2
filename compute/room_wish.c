/* SPDX-License-Identifier: Apache-2.0 */
/* From a VM's configuration to a reservation, rules and a request for a place. */
#include "compute/room_wish.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"

int64_t room_max_bytes(const struct vm_spec *spec)
{
	return spec->memory.has_max ? spec->memory.max_bytes : spec->memory.size_bytes;
}

struct reservation room_reservation(const struct vm_spec *spec, enum reservation_state state)
{
	const struct vm_cpu *cpu = &spec->cpu;
	const struct vm_memory *memory = &spec->memory;
	int64_t max_vcpus = cpu->has_max ? cpu->max : cpu->count;
	bool dedicated = cpu->pinning == PINNING_DEDICATED;
	return (struct reservation){
	        .state = state,
	        .size_bytes = memory->size_bytes,
	        .min_bytes = memory->has_min ? memory->min_bytes : memory->size_bytes,
	        .booked_bytes = memory->size_bytes,
	        .overhead_bytes = admission_overhead_bytes(max_vcpus, room_max_bytes(spec)),
	        .vcpus = cpu->count,
	        .max_vcpus = max_vcpus,
	        .reservation_percent = dedicated ? 100 : cpu->reservation_percent,
	        .dedicated = dedicated,
	        .hugepages = memory->hugepages,
	        .inflexible = memory->ballooning == BALLOONING_OFF,
	};
}

/* ---- rules ---- */

static struct placement_rule convert(
        const struct vm_placement_rule *from, bool is_anti, char **domain)
{
	struct placement_rule rule = {
	        .is_anti = is_anti,
	        .is_hard = from->hard,
	        .scope = vm_placement_rule_by_domain(from) ? PLACEMENT_SCOPE_FAILURE_DOMAIN
	                                                   : PLACEMENT_SCOPE_HOST,
	        .target = PLACEMENT_TARGET_VMS,
	        .names = from->vms,
	};
	*domain = vm_placement_rule_domain(from);
	if (from->labels.len > 0) {
		rule.target = PLACEMENT_TARGET_VM_LABELS;
		rule.labels = from->labels;
	} else if (from->hosts.len > 0) {
		rule.target = PLACEMENT_TARGET_HOSTS;
		rule.names = from->hosts;
	} else if (from->host_labels.len > 0) {
		rule.target = PLACEMENT_TARGET_HOST_LABELS;
		rule.labels = from->host_labels;
	} else if (*domain) {
		rule.target = PLACEMENT_TARGET_FAILURE_DOMAINS;
		rule.names = (struct field_strings){.items = domain, .len = 1};
	}
	return rule;
}

void room_rules_fill(const struct vm_placement *placement, struct room_rules *ret_rules)
{
	size_t n_affinity = placement->affinity.len;
	size_t n = n_affinity + placement->anti_affinity.len;
	if (n == 0)
		return;
	ret_rules->items = xcalloc(n, sizeof(*ret_rules->items));
	ret_rules->domains = xcalloc(n, sizeof(*ret_rules->domains));
	for (size_t i = 0; i < n; i++) {
		bool is_anti = i >= n_affinity;
		const struct vm_placement_rule *from =
		        is_anti ? vm_placement_rule_at(&placement->anti_affinity, i - n_affinity)
		                : vm_placement_rule_at(&placement->affinity, i);
		ret_rules->items[i] = convert(from, is_anti, &ret_rules->domains[i]);
	}
	ret_rules->rules = (struct placement_rules){.items = ret_rules->items, .len = n};
}

int room_rules_load(const char *stored, struct room_rules *ret_rules, struct err *e)
{
	struct field_errors errors = {0};
	if (!stored)
		return 0;
	json_t *json CLEANUP(cleanup_json) = json_loads(stored, 0, NULL);
	if (!json || field_decode(&vm_placement_table, json, FIELD_DECODE_STORED,
	                     &ret_rules->stored, &errors) < 0)
		return err_set(e, ERR_INTERNAL, "a stored placement is invalid: %s", stored);
	room_rules_fill(&ret_rules->stored, ret_rules);
	return 0;
}

void room_rules_done(struct room_rules *rules)
{
	for (size_t i = 0; i < rules->rules.len; i++)
		free(rules->domains[i]);
	free(rules->domains);
	free(rules->items);
	field_release(&vm_placement_table, &rules->stored);
	*rules = (struct room_rules){0};
}

/* ---- a request ---- */

static void add_pools(struct room_request *request, const struct vm_spec *spec)
{
	if (spec->disks.len == 0)
		return;
	request->pools.items = xcalloc(spec->disks.len, sizeof(char *));
	for (size_t i = 0; i < spec->disks.len; i++) {
		const struct vm_disk *disk = vm_spec_disk(spec, i);
		bool is_empty_drive = disk->kind == VM_DISK_CDROM && !disk->volume && !disk->image;
		if (disk->pool && !is_empty_drive)
			request->pools.items[request->pools.len++] = disk->pool;
	}
}

static void add_networks(struct room_request *request, const struct vm_spec *spec)
{
	if (spec->nics.len == 0)
		return;
	request->networks.items = xcalloc(spec->nics.len, sizeof(char *));
	for (size_t i = 0; i < spec->nics.len; i++)
		request->networks.items[request->networks.len++] = vm_spec_nic(spec, i)->network;
}

/* NULL: what any host can give. */
static const char *named_model(const struct vm_spec *spec)
{
	bool is_any = str_equal(spec->cpu.model, "host") || str_equal(spec->cpu.model, "maximum");
	return is_any ? NULL : spec->cpu.model;
}

void room_request_fill(struct room_request *request, const struct vm_spec *spec, const char *vm_id,
        enum room_scope scope)
{
	struct placement_request *place = &request->place;
	room_rules_fill(&spec->placement, &request->rules);
	place->vm_id = vm_id;
	place->name = spec->name;
	place->labels = spec->labels;
	place->rules = request->rules.rules;
	place->asked = room_reservation(spec, RESERVATION_STARTING);
	if (scope == ROOM_AT_HOME)
		return;
	add_pools(request, spec);
	add_networks(request, spec);
	place->pools = request->pools;
	place->networks = request->networks;
	place->architecture = spec->architecture;
	place->cpu_baseline = named_model(spec);
	place->needs_uefi = spec->boot.firmware == VM_FIRMWARE_UEFI;
	place->needs_secure_boot = spec->boot.secure_boot;
}

void room_request_done(struct room_request *request)
{
	room_rules_done(&request->rules);
	free(request->pools.items); /* the texts are the configuration's */
	free(request->networks.items);
	*request = (struct room_request){0};
}

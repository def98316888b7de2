/* SPDX-License-Identifier: Apache-2.0 */
/* How a host is answered, and what of its facts is kept. Pure. */
#include "compute/host_view.h"

#include <string.h>

#include "base/cleanup.h"
#include "compute/host_group.h"

const char *host_choose_domain_type(
        const struct host_facts *facts, enum host_accelerator accelerator, const char *architecture)
{
	if (facts->is_test_driver)
		return "test";
	if (!host_facts_arch(facts, architecture))
		return NULL;
	if (accelerator == ACCELERATOR_TCG || !str_equal(facts->cpu_arch, architecture))
		return "qemu";
	/* Asked for by name, KVM is tried: the hypervisor's refusal says more than a silent TCG. */
	if (accelerator == ACCELERATOR_KVM)
		return "kvm";
	return host_facts_can_use_kvm(facts, architecture) ? "kvm" : "qemu";
}

/* By architecture; none for one whose models are not known. */
static void store_cpu_models(const struct host_facts *facts, struct json_writer *w)
{
	json_key(w, "cpu_models");
	json_object_begin(w);
	for (size_t i = 0; i < facts->n_archs; i++) {
		const struct arch_facts *arch = &facts->archs[i];
		if (!arch->cpu_models)
			continue;
		json_key(w, arch->name);
		json_array_begin(w);
		for (char **model = arch->cpu_models; *model; model++)
			json_put_string(w, *model);
		json_array_end(w);
	}
	json_object_end(w);
}

/* Not answered: what room_load.c reads of each thread, of CPU models and of huge pages. */
static void store_topology(const struct host_facts *facts, struct json_writer *w)
{
	json_member_string(w, "cpu_baseline", facts->cpu_baseline);
	store_cpu_models(facts, w);
	json_key(w, "host_cpus");
	json_array_begin(w);
	for (size_t i = 0; i < facts->n_host_cpus; i++) {
		const struct host_cpu *cpu = &facts->host_cpus[i];
		json_object_begin(w);
		json_member_int(w, "id", cpu->id);
		json_member_int(w, "node", cpu->node);
		json_member_int(w, "core", cpu->core);
		json_object_end(w);
	}
	json_array_end(w);
	int64_t bytes = 0;
	for (size_t i = 0; i < facts->n_hugepages; i++)
		bytes += facts->hugepages[i].page_bytes * facts->hugepages[i].pages;
	json_member_int(w, "hugepage_bytes", bytes);
}

char *host_facts_store(const struct host_facts *facts)
{
	struct json_writer w = {0};
	json_object_begin(&w);
	host_facts_encode(facts, &w);
	/* What host_encode needs for virtualization.accelerator when the setting is "auto". */
	const char *type =
	        facts->cpu_arch ? host_choose_domain_type(facts, ACCELERATOR_AUTO, facts->cpu_arch)
	                        : NULL;
	json_member_string(&w, "auto_type", type);
	store_topology(facts, &w);
	json_object_end(&w);
	return str_take(&w.out);
}

static const char *chosen_accelerator(const char *setting, const char *auto_type)
{
	if (!auto_type || str_equal(auto_type, "test"))
		return NULL;
	if (!str_equal(setting, host_accelerator_names[ACCELERATOR_AUTO]))
		return setting;
	return str_equal(auto_type, "kvm") ? "kvm" : "tcg";
}

/* A member of the facts as it is; null until they are known. */
static void encode_fact(const json_t *facts, const char *key, struct json_writer *w)
{
	char *text CLEANUP(cleanup_free) =
	        json_dumps(json_object_get(facts, key), JSON_COMPACT | JSON_ENCODE_ANY);
	json_member_raw(w, key, text ? text : "null");
}

static void encode_virtualization(
        const json_t *facts, const char *accelerator, struct json_writer *w)
{
	const json_t *virtualization = json_object_get(facts, "virtualization");
	json_key(w, "virtualization");
	if (!virtualization) {
		json_put_null(w);
		return;
	}
	const char *auto_type = json_string_value(json_object_get(facts, "auto_type"));
	json_object_begin(w);
	json_member_string(
	        w, "hardware", json_string_value(json_object_get(virtualization, "hardware")));
	json_member_string(w, "accelerator", chosen_accelerator(accelerator, auto_type));
	json_member_bool(w, "iommu", json_is_true(json_object_get(virtualization, "iommu")));
	json_object_end(w);
}

static void encode_memory(const struct host_full_row *full, const json_t *facts, int64_t reserved,
        struct json_writer *w)
{
	int64_t total = full->row.memory_bytes;
	int64_t left = total - reserved - full->allocation.memory_bytes;
	json_key(w, "memory");
	if (total <= 0) {
		json_put_null(w);
		return;
	}
	json_object_begin(w);
	json_member_int(w, "total_bytes", total);
	json_member_int(w, "reserved_bytes", reserved);
	json_member_int(w, "free_bytes", left > 0 ? left : 0);
	encode_fact(json_object_get(facts, "memory"), "hugepages", w);
	json_object_end(w);
}

/* What may be held at most, and what of that is left, by the group's mode. */
static void encode_limit(const struct host_full_row *full, const struct host_group_spec *group,
        struct json_writer *w)
{
	const struct host_allocation *held = &full->allocation;
	bool is_ratio = group->overcommit.mode == OVERCOMMIT_RATIO;
	bool is_balloon = group->overcommit.mode == OVERCOMMIT_BALLOON;
	int64_t usable = full->row.memory_bytes - group->host_reserve.memory_bytes;
	int64_t limit = usable < 0 ? 0 : usable;
	if (is_ratio)
		limit = (int64_t)((double)limit * group->overcommit.memory_ratio);
	int64_t left = limit - (is_balloon ? held->starting_bytes : held->configured_bytes);
	json_member_int(w, "limit_bytes", limit);
	json_member_int(w, "free_bytes", left > 0 ? left : 0);
}

static void encode_allocation(const struct host_full_row *full, const struct host_group_spec *group,
        struct json_writer *w)
{
	const struct host_allocation *allocation = &full->allocation;
	json_key(w, "allocation");
	json_object_begin(w);
	json_member_int(w, "vms", allocation->vms);
	json_member_int(w, "vcpus", allocation->vcpus);
	json_member_int(w, "memory_bytes", allocation->memory_bytes);
	json_member_int(w, "held_vms", allocation->held);
	json_member_int(w, "held_vcpus", allocation->held_vcpus);
	json_member_int(w, "held_bytes", allocation->configured_bytes);
	json_member_int(w, "guaranteed_bytes", allocation->guaranteed_bytes);
	json_member_int(w, "booked_bytes", allocation->booked_bytes);
	json_member_int(w, "overhead_bytes", allocation->overhead_bytes);
	encode_limit(full, group, w);
	json_object_end(w);
}

static void encode_configuration(
        const struct host_row *row, const struct host_spec *extra, struct json_writer *w)
{
	json_member_string(w, "id", row->id);
	json_member_string(w, "name", row->name);
	json_member_string(w, "uri", row->uri);
	json_member_string(w, "group", row->group);
	json_member_string(w, "accelerator", row->accelerator);
	field_encode_members(&host_extra_fields, extra, FIELD_ENCODE_ANSWER, w);
	json_member_string(w, "access", row->access);
	json_member_string(w, "state", row->state);
	json_member_string(w, "state_reason", row->state_reason);
	json_member_time(w, "state_since", row->state_since);
}

static void encode_facts(const struct host_full_row *full, int64_t reserved, struct json_writer *w)
{
	json_t *facts = json_loads(full->row.facts, 0, NULL);
	encode_fact(facts, "cpu", w);
	encode_memory(full, facts, reserved, w);
	encode_fact(facts, "networks", w);
	encode_virtualization(facts, full->row.accelerator, w);
	encode_fact(facts, "versions", w);
	encode_fact(facts, "architectures", w);
	json_decref(facts);
}

int host_load_extra(const struct host_row *row, struct host_spec *ret_extra, struct err *e)
{
	struct field_errors errors = {0};
	json_t *json = json_loads(row->spec, 0, NULL);
	int rc = field_decode(&host_extra_fields, json, FIELD_DECODE_STORED, ret_extra, &errors);
	json_decref(json);
	if (rc == 0)
		return 0;
	return err_set(e, ERR_INTERNAL, "the stored configuration of host %s is invalid at %s: %s",
	        row->name, errors.items[0].pointer, errors.items[0].detail);
}

int host_encode(const struct host_full_row *full, struct json_writer *w, struct err *e)
{
	struct host_group_spec group CLEANUP(host_group_spec_done) = {0};
	struct host_spec extra CLEANUP(host_spec_done) = {0};
	int rc = host_group_load(full->group_spec, &group, e);
	if (rc < 0 || (rc = host_load_extra(&full->row, &extra, e)) < 0)
		return rc;
	json_object_begin(w);
	encode_configuration(&full->row, &extra, w);
	encode_facts(full, group.host_reserve.memory_bytes, w);
	encode_allocation(full, &group, w);
	json_member_time(w, "created_at", full->row.created_at);
	json_member_int(w, "version", full->row.version);
	json_object_end(w);
	return 0;
}

json_t *host_patch_base(const struct host_row *row)
{
	json_t *base = json_loads(row->spec, 0, NULL);
	if (!base)
		base = json_object();
	json_object_set_new(base, "name", json_string(row->name));
	json_object_set_new(base, "uri", json_string(row->uri));
	json_object_set_new(base, "group", json_string(row->group));
	json_object_set_new(base, "accelerator", json_string(row->accelerator));
	return base;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What a VM shall run near to, or away from: the field tables and the rules of one rule. Pure. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "compute/room_wish.h"
#include "compute/vm_spec_tables.h"

#define OF(member) .offset = offsetof(struct vm_placement_rule, member)

static const struct field rule_fields[] = {
        {.name = "vms",
                .type = FIELD_STRINGS,
                OF(vms),
                .max = 64,
                .check = field_check_name,
                .doc = "These VMs, by name"},
        {.name = "labels",
                .type = FIELD_LABELS,
                OF(labels),
                .max = 16,
                .doc = "VMs that have all these labels"},
        {.name = "hosts",
                .type = FIELD_STRINGS,
                OF(hosts),
                .max = 64,
                .check = field_check_name,
                .doc = "These hosts, by name"},
        {.name = "host_labels",
                .type = FIELD_LABELS,
                OF(host_labels),
                .max = 16,
                .doc = "Hosts that have all these labels"},
        {.name = "failure_domain",
                .type = FIELD_JSON,
                OF(failure_domain),
                .doc = "true, beside vms or labels: the same failure domain counts, not only the "
                       "same host. A text: the hosts of that failure domain"},
        {.name = "hard",
                .type = FIELD_BOOL,
                OF(hard),
                .default_text = "true",
                .doc = "Whether it must hold; else it only counts against a host"},
};
static const struct field_table rule_table =
        FIELD_TABLE("VmPlacementRule", struct vm_placement_rule, rule_fields);

static const struct field placement_fields[] = {
        {.name = "affinity",
                .type = FIELD_LIST,
                .offset = offsetof(struct vm_placement, affinity),
                .max = 16,
                .sub = &rule_table,
                .doc = "Together with what each of these names"},
        {.name = "anti_affinity",
                .type = FIELD_LIST,
                .offset = offsetof(struct vm_placement, anti_affinity),
                .max = 16,
                .sub = &rule_table,
                .doc = "Away from what each of these names"},
};
const struct field_table vm_placement_table =
        FIELD_TABLE("VmPlacement", struct vm_placement, placement_fields);

const struct vm_placement_rule *vm_placement_rule_at(const struct field_list *rules, size_t i)
{
	return (const struct vm_placement_rule *)rules->items + i;
}

bool vm_placement_rule_by_domain(const struct vm_placement_rule *rule)
{
	return str_equal(rule->failure_domain, "true");
}

char *vm_placement_rule_domain(const struct vm_placement_rule *rule)
{
	if (!rule->failure_domain)
		return NULL;
	json_t *value CLEANUP(cleanup_json) =
	        json_loads(rule->failure_domain, JSON_DECODE_ANY, NULL);
	return json_is_string(value) ? xstrdup(json_string_value(value)) : NULL;
}

/* One rule names one kind of thing. */
static void check_targets(
        const struct vm_placement_rule *rule, const char *pointer, struct field_errors *errors)
{
	char *domain CLEANUP(cleanup_free) = vm_placement_rule_domain(rule);
	int named = (rule->vms.len > 0) + (rule->labels.len > 0) + (rule->hosts.len > 0) +
	            (rule->host_labels.len > 0) + (domain != NULL);
	if (named != 1)
		field_errors_add(errors, named ? "bad_value" : "missing", pointer,
		        "must name one of vms, labels, hosts, host_labels and failure_domain");
	if (vm_placement_rule_by_domain(rule) && rule->vms.len + rule->labels.len == 0)
		field_errors_add(errors, "bad_value", pointer,
		        "\"failure_domain\": true stands beside vms or labels");
}

static void check_domain(
        const struct vm_placement_rule *rule, const char *pointer, struct field_errors *errors)
{
	if (!rule->failure_domain || str_equal(rule->failure_domain, "true") ||
	        str_equal(rule->failure_domain, "false"))
		return;
	char at[160];
	snprintf(at, sizeof(at), "%s/failure_domain", pointer);
	char *domain CLEANUP(cleanup_free) = vm_placement_rule_domain(rule);
	const char *wrong = domain ? field_check_label(domain) : "must be true, false or a text";
	if (wrong)
		field_errors_add(errors, "bad_value", at, "%s", wrong);
}

static void check_rules(
        const struct field_list *rules, const char *member, struct field_errors *errors)
{
	for (size_t i = 0; i < rules->len; i++) {
		const struct vm_placement_rule *rule = vm_placement_rule_at(rules, i);
		char pointer[128];
		snprintf(pointer, sizeof(pointer), "/placement/%s/%zu", member, i);
		check_domain(rule, pointer, errors);
		check_targets(rule, pointer, errors);
	}
}

/* Each rule for itself, then whether all of them can hold together. */
void vm_placement_check(const struct vm_spec *spec, struct field_errors *errors)
{
	struct room_rules rules CLEANUP(room_rules_done) = {0};
	size_t before = errors->len;
	check_rules(&spec->placement.affinity, "affinity", errors);
	check_rules(&spec->placement.anti_affinity, "anti_affinity", errors);
	if (errors->len > before)
		return;
	room_rules_fill(&spec->placement, &rules);
	placement_check_rules(NULL, spec->name, &rules.rules, errors);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Rules that no placement can satisfy, whatever the inventory is. */
#include <stdarg.h>

#include "base/uuid.h"
#include "scheduler/placement_internal.h"

struct check {
	const char *vm_id, *name;
	const struct placement_rules *rules;
	struct field_errors *errors;
};

/* "/placement/anti_affinity/2": its place among the rules of its kind. */
__attribute__((format(printf, 3, 4))) static void complain(
        struct check *c, size_t i, const char *format, ...)
{
	const struct placement_rule *rule = &c->rules->items[i];
	char pointer[64], detail[256];
	size_t index = 0;
	for (size_t j = 0; j < i; j++)
		index += c->rules->items[j].is_anti == rule->is_anti;
	snprintf(pointer, sizeof(pointer), "/placement/%s/%zu",
	        rule->is_anti ? "anti_affinity" : "affinity", index);
	va_list args;
	va_start(args, format);
	vsnprintf(detail, sizeof(detail), format, args);
	va_end(args);
	field_errors_add(c->errors, "contradiction", pointer, "%s", detail);
}

static bool has_names(const struct placement_rule *rule)
{
	return rule->target == PLACEMENT_TARGET_VMS || rule->target == PLACEMENT_TARGET_HOSTS ||
	       rule->target == PLACEMENT_TARGET_FAILURE_DOMAINS;
}

static bool has_name(const struct placement_rule *rule, const char *name)
{
	for (size_t i = 0; i < rule->names.len; i++)
		if (str_equal(rule->names.items[i], name))
			return true;
	return false;
}

/* ---- one rule ---- */

static void check_target(struct check *c, size_t i)
{
	const struct placement_rule *rule = &c->rules->items[i];
	if (has_names(rule) ? rule->names.len == 0 : rule->labels.len == 0)
		complain(c, i, "the rule names nothing to be %s",
		        rule->is_anti ? "apart from" : "together with");
}

static void check_self(struct check *c, size_t i)
{
	const struct placement_rule *rule = &c->rules->items[i];
	bool names_itself =
	        (c->name && has_name(rule, c->name)) || (c->vm_id && has_name(rule, c->vm_id));
	if (rule->target == PLACEMENT_TARGET_VMS && names_itself)
		complain(c, i, "a VM can be neither together with nor apart from itself");
}

/* ---- two rules ---- */

/* Where the one forbids, the other cannot be satisfied. A wish for the same failure domain can be
 * met by another host of it. */
static bool scopes_collide(const struct placement_rule *with, const struct placement_rule *apart)
{
	return with->scope == PLACEMENT_SCOPE_HOST || apart->scope != PLACEMENT_SCOPE_HOST;
}

static void check_vms(struct check *c, const struct placement_rule *with, size_t i)
{
	const struct placement_rule *apart = &c->rules->items[i];
	if (!scopes_collide(with, apart))
		return;
	for (size_t j = 0; j < with->names.len; j++)
		if (has_name(apart, with->names.items[j]))
			complain(c, i, "VM %s is also a target of affinity", with->names.items[j]);
}

static void check_vm_labels(struct check *c, const struct placement_rule *with, size_t i)
{
	const struct placement_rule *apart = &c->rules->items[i];
	/* Every VM that the affinity looks for is one that the anti-affinity avoids. */
	if (scopes_collide(with, apart) && apart->labels.len > 0 &&
	        labels_contain(&with->labels, &apart->labels))
		complain(c, i, "VMs with label %s=%s are also a target of affinity",
		        apart->labels.items[0].key, apart->labels.items[0].value);
}

/* Affinity means any of the names: it is contradicted when all of them are forbidden. */
static void check_named_places(struct check *c, const struct placement_rule *with, size_t i)
{
	const struct placement_rule *apart = &c->rules->items[i];
	for (size_t j = 0; j < with->names.len; j++)
		if (!has_name(apart, with->names.items[j]))
			return;
	if (with->names.len > 0)
		complain(c, i, "it leaves nothing of the affinity to %s", with->names.items[0]);
}

static void check_host_labels(struct check *c, const struct placement_rule *with, size_t i)
{
	const struct placement_rule *apart = &c->rules->items[i];
	if (apart->labels.len > 0 && labels_contain(&with->labels, &apart->labels))
		complain(c, i, "hosts with label %s=%s are also a target of affinity",
		        apart->labels.items[0].key, apart->labels.items[0].value);
}

static void (*const collisions[])(
        struct check *c, const struct placement_rule *with, size_t apart) = {
        [PLACEMENT_TARGET_VMS] = check_vms,
        [PLACEMENT_TARGET_VM_LABELS] = check_vm_labels,
        [PLACEMENT_TARGET_HOSTS] = check_named_places,
        [PLACEMENT_TARGET_HOST_LABELS] = check_host_labels,
        [PLACEMENT_TARGET_FAILURE_DOMAINS] = check_named_places,
};

/* A name and an id may mean the same host, so only lists of the same sort can be told apart. */
static bool are_disjoint(const struct placement_rule *a, const struct placement_rule *b)
{
	for (size_t i = 0; i < a->names.len; i++) {
		bool is_id = uuid_is_shaped(a->names.items[i]);
		for (size_t j = 0; j < b->names.len; j++)
			if (uuid_is_shaped(b->names.items[j]) != is_id ||
			        str_equal(a->names.items[i], b->names.items[j]))
				return false;
	}
	return a->names.len > 0 && b->names.len > 0;
}

static void check_two_places(struct check *c, const struct placement_rule *first, size_t i)
{
	const struct placement_rule *second = &c->rules->items[i];
	if (first->target != PLACEMENT_TARGET_VMS && has_names(first) &&
	        are_disjoint(first, second))
		complain(c, i, "it cannot be on %s and on %s at once", first->names.items[0],
		        second->names.items[0]);
}

static void check_pair(struct check *c, size_t i, size_t j)
{
	const struct placement_rule *a = &c->rules->items[i], *b = &c->rules->items[j];
	if (!a->is_hard || !b->is_hard || a->target != b->target)
		return;
	if (!a->is_anti && !b->is_anti && i < j)
		check_two_places(c, a, j);
	else if (!a->is_anti && b->is_anti)
		collisions[a->target](c, a, j);
}

int placement_check_rules(const char *vm_id, const char *name, const struct placement_rules *rules,
        struct field_errors *errors)
{
	struct check c = {vm_id, name, rules, errors};
	size_t before = errors->len;
	for (size_t i = 0; i < rules->len; i++) {
		check_target(&c, i);
		check_self(&c, i);
		for (size_t j = 0; j < rules->len; j++)
			check_pair(&c, i, j);
	}
	return errors->len > before ? ERR_INVALID : 0;
}

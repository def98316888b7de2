/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What rules say of hosts. A binding is one rule applied to this request: its own, or one of a VM
 * that is placed already and speaks of the newcomer (one binding for each VM that a rule names). A
 * binding has places: the hosts that it points at. Marks are made from the places once for all
 * hosts; the words for a refused host are found again by asking each binding about that host.
 */
#include <string.h>

#include "scheduler/placement_internal.h"

struct binding {
	const struct placement_rule *rule;
	const struct vm_entry *owner;  /* NULL: the request's own rule */
	const struct host_entry *host; /* of the owner */
	const char *name;              /* of the target VM; NULL: not a rule about named VMs */
};

typedef void (*binding_fn)(void *arg, const struct binding *b);
/* `vm` is why the host is a place; NULL: it is named itself. */
typedef void (*place_fn)(void *arg, const struct host_entry *host, const struct vm_entry *vm);

/* ---- the places of a binding ---- */

static bool is_self(const struct placing *p, const struct vm_entry *vm)
{
	return p->own && str_equal(vm->pub.id, p->request->vm_id);
}

/* Who stands on the word of a rule's first label has that one; the others are looked at. */
static bool has_other_labels(const struct field_labels *all, const struct placement_rule *rule)
{
	return rule->labels.len < 2 || labels_contain(all, &rule->labels);
}

static const struct token *find_vm_word(const struct placing *p, const struct binding *b)
{
	if (b->name)
		return index_find(p->inv, WORD_VM, b->name);
	if (b->rule->labels.len == 0)
		return NULL;
	return index_find_label(p->inv, WORD_VM_LABEL, &b->rule->labels.items[0]);
}

static void each_target_vm(const struct placing *p, const struct binding *b, place_fn fn, void *arg)
{
	const struct token *t = find_vm_word(p, b);
	MEMBERS_FOR_EACH (t, LINK_VMS, member) {
		const struct vm_entry *vm = member->entry;
		if (!is_self(p, vm) && has_other_labels(&vm->pub.labels, b->rule))
			fn(arg, member->host, vm);
	}
}

static void each_host_of(
        const struct token *t, const struct placement_rule *rule, place_fn fn, void *arg)
{
	MEMBERS_FOR_EACH (t, LINK_HOSTS, member) {
		if (has_other_labels(&member->host->pub.labels, rule))
			fn(arg, member->host, NULL);
	}
}

static void each_place(const struct placing *p, const struct binding *b, place_fn fn, void *arg)
{
	const struct placement_rule *rule = b->rule;
	char word = rule->target == PLACEMENT_TARGET_HOSTS ? WORD_HOST : WORD_DOMAIN;
	if (b->owner) {
		fn(arg, b->host, b->owner);
		return;
	}
	switch (rule->target) {
	case PLACEMENT_TARGET_VMS:
	case PLACEMENT_TARGET_VM_LABELS:
		each_target_vm(p, b, fn, arg);
		return;
	case PLACEMENT_TARGET_HOST_LABELS:
		if (rule->labels.len > 0)
			each_host_of(
			        index_find_label(p->inv, WORD_HOST_LABEL, &rule->labels.items[0]),
			        rule, fn, arg);
		return;
	case PLACEMENT_TARGET_HOSTS:
	case PLACEMENT_TARGET_FAILURE_DOMAINS:
		for (size_t i = 0; i < rule->names.len; i++)
			each_host_of(index_find(p->inv, word, rule->names.items[i]), rule, fn, arg);
	}
}

static bool is_about_vms(const struct placement_rule *rule)
{
	return rule->target == PLACEMENT_TARGET_VMS || rule->target == PLACEMENT_TARGET_VM_LABELS;
}

static bool is_wide(const struct placement_rule *rule)
{
	return is_about_vms(rule) && rule->scope == PLACEMENT_SCOPE_FAILURE_DOMAIN;
}

static bool is_within(const struct placement_rule *rule, const struct host_entry *place,
        const struct host_entry *host)
{
	return is_wide(rule) ? place->domain == host->domain : place == host;
}

/* ---- all bindings ---- */

/* Who else, beside the owner of a rule of affinity, is what it looks for. */
struct company {
	const struct placing *p;
	const struct binding *binding;
	bool is_near, is_far, was_self_near;
};

static void see_company(struct company *c, const struct vm_entry *vm)
{
	bool is_near = is_within(c->binding->rule, vm->host, c->binding->owner->host);
	if (vm == c->binding->owner || strcmp(vm->pub.id, c->binding->owner->pub.id) == 0)
		return;
	if (is_near && is_self(c->p, vm))
		c->was_self_near = true;
	else if (is_near)
		c->is_near = true;
	else
		c->is_far = true;
}

/*
 * Whether an affinity of a VM that is there already needs the newcomer beside it: by name always;
 * by labels only while nobody else near it is what it looks for, and nobody anywhere (or the
 * newcomer is about to leave it): a rule that is broken already binds no further VM.
 */
static bool needs_newcomer(const struct placing *p, const struct binding *b)
{
	if (!b->rule->is_anti && b->rule->target == PLACEMENT_TARGET_VM_LABELS) {
		struct company c = {.p = p, .binding = b};
		const struct token *t = find_vm_word(p, b);
		MEMBERS_FOR_EACH (t, LINK_VMS, member) {
			const struct vm_entry *vm = member->entry;
			if (has_other_labels(&vm->pub.labels, b->rule))
				see_company(&c, vm);
		}
		return !c.is_near && (!c.is_far || c.was_self_near);
	}
	return true;
}

static void each_foreign_binding(
        const struct placing *p, const struct token *t, binding_fn fn, void *arg)
{
	MEMBERS_FOR_EACH (t, LINK_RULES, member) {
		const struct vm_entry *owner = member->entry;
		struct binding b = {.rule = member->rule, .owner = owner, .host = member->host};
		if (!is_self(p, owner) && has_other_labels(&p->request->labels, member->rule) &&
		        needs_newcomer(p, &b))
			fn(arg, &b);
	}
}

static void each_own_binding(const struct placing *p, binding_fn fn, void *arg)
{
	for (size_t i = 0; i < p->request->rules.len; i++) {
		const struct placement_rule *rule = &p->request->rules.items[i];
		struct binding b = {.rule = rule};
		if (rule->target != PLACEMENT_TARGET_VMS) {
			fn(arg, &b);
			continue;
		}
		for (size_t j = 0; j < rule->names.len; j++) {
			b.name = rule->names.items[j];
			fn(arg, &b);
		}
	}
}

static void each_binding(const struct placing *p, binding_fn fn, void *arg)
{
	const struct placement_request *request = p->request;
	each_own_binding(p, fn, arg);
	if (request->vm_id)
		each_foreign_binding(p, index_find(p->inv, WORD_VM, request->vm_id), fn, arg);
	if (request->name)
		each_foreign_binding(p, index_find(p->inv, WORD_VM, request->name), fn, arg);
	for (size_t i = 0; i < request->labels.len; i++)
		each_foreign_binding(p,
		        index_find_label(p->inv, WORD_VM_LABEL, &request->labels.items[i]), fn,
		        arg);
}

/* ---- marking ---- */

struct marking {
	struct placing *p;
	const struct binding *binding;
	size_t places;
};

static void mark_host(const struct marking *m, const struct host_entry *host)
{
	struct host_mark *mark = &m->p->scratch->marks.items[host->slot];
	const struct placement_rule *rule = m->binding->rule;
	bool counts_each = rule->is_anti && !rule->is_hard && !is_wide(rule);
	if (mark->stamp == m->p->stamp && !counts_each)
		return;
	mark->stamp = m->p->stamp;
	if (!rule->is_hard)
		mark->soft_penalty += rule->is_anti ? 1 : -1;
	else if (rule->is_anti)
		mark->is_forbidden = true;
	else
		mark->wants_met++;
}

static void mark_place(void *arg, const struct host_entry *host, const struct vm_entry *vm)
{
	struct marking *m = arg;
	(void)vm;
	m->places++;
	if (!is_wide(m->binding->rule)) {
		mark_host(m, host);
		return;
	}
	if (m->p->scratch->marks.items[host->slot].stamp == m->p->stamp)
		return; /* and with it its whole failure domain */
	MEMBERS_FOR_EACH (host->domain, LINK_HOSTS, member) {
		mark_host(m, member->host);
	}
}

static void mark_binding(void *arg, const struct binding *b)
{
	struct placing *p = arg;
	struct marking m = {.p = p, .binding = b};
	p->stamp++;
	each_place(p, b, mark_place, &m);
	/* Together with a VM that is nowhere: no wish yet. */
	if (b->rule->is_anti || (is_about_vms(b->rule) && m.places == 0))
		return;
	if (b->rule->is_hard)
		p->n_wants++;
	else
		p->n_soft_wants++;
}

void rules_mark(struct placing *p)
{
	each_binding(p, mark_binding, p);
}

/* ---- explaining ---- */

struct inquiry {
	const struct placing *p;
	const struct host_entry *host;
	const struct binding *binding;
	bool is_anti;
	/* Of the current binding. */
	bool is_any, is_here;
	const struct vm_entry *other;
	struct rule_reason found;
};

static bool is_named_before(const struct inventory_vm *a, const struct inventory_vm *b)
{
	int order = strcmp(a->name, b->name);
	return (order ? order : strcmp(a->id, b->id)) < 0;
}

static void ask_place(void *arg, const struct host_entry *place, const struct vm_entry *vm)
{
	struct inquiry *q = arg;
	bool is_here = is_within(q->binding->rule, place, q->host);
	q->is_any = true;
	q->is_here |= is_here;
	/* Anti-affinity is about a VM that is here, affinity about one that is elsewhere. */
	if (vm && is_here == q->is_anti && (!q->other || is_named_before(&vm->pub, &q->other->pub)))
		q->other = vm;
}

static void ask_binding(void *arg, const struct binding *b)
{
	struct inquiry *q = arg;
	if (!b->rule->is_hard || b->rule->is_anti != q->is_anti)
		return;
	if (q->found.rule && !q->found.owner)
		return; /* its own rules come first, in their order */
	q->binding = b;
	q->is_any = q->is_here = false;
	q->other = NULL;
	each_place(q->p, b, ask_place, q);
	bool breaks =
	        q->is_anti ? q->is_here : !q->is_here && (q->is_any || !is_about_vms(b->rule));
	if (!breaks || (q->found.owner && !is_named_before(&b->owner->pub, q->found.owner)))
		return;
	q->found = (struct rule_reason){.rule = b->rule,
	        .owner = b->owner ? &b->owner->pub : NULL,
	        .other = q->other ? &q->other->pub : NULL};
}

struct rule_reason rules_explain(
        const struct placing *p, const struct host_entry *host, bool is_anti)
{
	struct inquiry q = {.p = p, .host = host, .is_anti = is_anti};
	each_binding(p, ask_binding, &q);
	return q.found;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Which VMs and hosts carry a word, and which rules speak of it. */
#include <stddef.h>
#include <string.h>

#include "scheduler/inventory_internal.h"

static const struct token *find_word(const struct inventory *inv)
{
	return map_get(inv->tokens, str_text(&inv->word));
}

/* The scratch text is no part of what an inventory means. */
static struct str *scratch_word(const struct inventory *inv)
{
	struct str *word = &((struct inventory *)(uintptr_t)inv)->word;
	str_reset(word);
	return word;
}

static void spell(const struct inventory *inv, char kind, const char *text)
{
	struct str *word = scratch_word(inv);
	str_add_char(word, kind);
	str_add(word, text);
}

static void spell_label(const struct inventory *inv, char kind, const struct field_label *label)
{
	struct str *word = scratch_word(inv);
	str_add_char(word, kind);
	str_add(word, label->key);
	str_add_char(word, '=');
	str_add(word, label->value);
}

const struct token *index_find(const struct inventory *inv, char kind, const char *text)
{
	spell(inv, kind, text);
	return find_word(inv);
}

const struct token *index_find_label(
        const struct inventory *inv, char kind, const struct field_label *label)
{
	spell_label(inv, kind, label);
	return find_word(inv);
}

/* The token of the word in the scratch text. */
static struct token *token_get(struct inventory *inv)
{
	struct token *t = map_get(inv->tokens, str_text(&inv->word));
	if (t)
		return t;
	t = xcalloc(1, sizeof(*t) + inv->word.len + 1);
	memcpy(t->word, str_text(&inv->word), inv->word.len);
	map_put(inv->tokens, t->word, t);
	return t;
}

static void link_to(
        struct link *link, struct token *token, enum link_list which, const struct member *member)
{
	struct member_list *list = &token->lists[which];
	if ((list->len & (list->len - 1)) == 0) { /* full: its room is a power of two */
		size_t room = list->len ? (size_t)list->len * 2 : 1;
		list->items = xrealloc(list->items, room * sizeof(*list->items));
	}
	*link = (struct link){.token = token, .list = which, .index = list->len};
	list->items[list->len] = *member;
	list->items[list->len++].link = link;
}

static bool token_is_unused(const struct token *t)
{
	for (size_t i = 0; i < LINK_LISTS; i++)
		if (t->lists[i].len > 0)
			return false;
	return true;
}

static void token_drop(struct inventory *inv, struct token *t)
{
	map_remove(inv->tokens, t->word);
	for (size_t i = 0; i < LINK_LISTS; i++)
		free(t->lists[i].items);
	free(t);
}

void index_remove(struct inventory *inv, struct link *links, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct token *token = links[i].token;
		struct member_list *list = &token->lists[links[i].list];
		list->items[links[i].index] = list->items[--list->len];
		list->items[links[i].index].link->index = links[i].index;
		if (token_is_unused(token))
			token_drop(inv, token);
	}
}

/* ---- VMs ---- */

static size_t count_rule_links(const struct placement_rule *rule)
{
	if (rule->target == PLACEMENT_TARGET_VMS)
		return rule->names.len;
	return rule->target == PLACEMENT_TARGET_VM_LABELS && rule->labels.len > 0;
}

static struct link *link_rule(struct inventory *inv, struct vm_entry *vm, struct link *link,
        const struct placement_rule *rule)
{
	size_t n = count_rule_links(rule);
	for (size_t i = 0; i < n; i++) {
		if (rule->target == PLACEMENT_TARGET_VMS)
			spell(inv, WORD_VM, rule->names.items[i]);
		else
			spell_label(inv, WORD_VM_LABEL, &rule->labels.items[0]);
		struct member member = {.entry = vm, .host = vm->host, .rule = rule};
		link_to(link++, token_get(inv), LINK_RULES, &member);
	}
	return link;
}

static struct link *link_entry(struct inventory *inv, void *entry, struct host_entry *host,
        struct link *link, enum link_list list)
{
	struct member member = {.entry = entry, .host = host};
	link_to(link, token_get(inv), list, &member);
	return link + 1;
}

void index_add_vm(struct inventory *inv, struct vm_entry *vm)
{
	const struct inventory_vm *pub = &vm->pub;
	vm->n_links = 2 + pub->labels.len;
	for (size_t i = 0; i < pub->rules.len; i++)
		vm->n_links += count_rule_links(&pub->rules.items[i]);
	struct link *link = vm->links = xcalloc(vm->n_links, sizeof(*vm->links));
	spell(inv, WORD_VM, pub->id);
	link = link_entry(inv, vm, vm->host, link, LINK_VMS);
	spell(inv, WORD_VM, pub->name);
	link = link_entry(inv, vm, vm->host, link, LINK_VMS);
	for (size_t i = 0; i < pub->labels.len; i++) {
		spell_label(inv, WORD_VM_LABEL, &pub->labels.items[i]);
		link = link_entry(inv, vm, vm->host, link, LINK_VMS);
	}
	for (size_t i = 0; i < pub->rules.len; i++)
		link = link_rule(inv, vm, link, &pub->rules.items[i]);
}

/* ---- hosts ---- */

/* A host without a failure domain is one of its own. */
static void spell_domain(const struct inventory *inv, const struct inventory_host *pub)
{
	bool has_one = !str_is_empty(pub->failure_domain);
	spell(inv, has_one ? WORD_DOMAIN : WORD_OWN_DOMAIN,
	        has_one ? pub->failure_domain : pub->id);
}

void index_add_host(struct inventory *inv, struct host_entry *host)
{
	const struct inventory_host *pub = &host->pub;
	host->n_links = 3 + pub->labels.len;
	struct link *link = host->links = xcalloc(host->n_links, sizeof(*host->links));
	spell(inv, WORD_HOST, pub->id);
	link = link_entry(inv, host, host, link, LINK_HOSTS);
	spell(inv, WORD_HOST, pub->name);
	link = link_entry(inv, host, host, link, LINK_HOSTS);
	spell_domain(inv, pub);
	host->domain = token_get(inv);
	link = link_entry(inv, host, host, link, LINK_HOSTS);
	for (size_t i = 0; i < pub->labels.len; i++) {
		spell_label(inv, WORD_HOST_LABEL, &pub->labels.items[i]);
		link = link_entry(inv, host, host, link, LINK_HOSTS);
	}
}

bool labels_contain(const struct field_labels *all, const struct field_labels *wanted)
{
	for (size_t i = 0; i < wanted->len; i++) {
		size_t j = 0;
		while (j < all->len &&
		        (strcmp(all->items[j].key, wanted->items[i].key) != 0 ||
		                strcmp(all->items[j].value, wanted->items[i].value) != 0))
			j++;
		if (j == all->len)
			return false;
	}
	return true;
}

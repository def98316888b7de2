/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inventory inside: entries around the public structs, and the index. For scheduler/ only.
 *
 * The index is a map from a word to a token. A word is a kind and a text: 'v' a VM's id or name,
 * 'l' a VM's label "key=value", 'h' a host's id or name, 'H' a host's label, 'd' a failure domain,
 * 'D' a host that is a failure domain of its own.
 * Three lists hang on a token: the VMs and the hosts that carry the word, and the rules of VMs that
 * speak of it (a rule about labels hangs on its first one). An entry knows its place in
 * each of them, so that it goes in as many steps as it has words, however common they are.
 */
#pragma once

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/map.h"
#include "base/str.h"
#include "base/vec.h"
#include "scheduler/inventory.h"

enum link_list { LINK_VMS, LINK_HOSTS, LINK_RULES, LINK_LISTS };

struct token;
/* Of an entry: where it stands on a token. */
struct link {
	struct token *token;
	enum link_list list;
	uint32_t index;
};
/* On a token: who stands there, with what a walk over thousands needs at hand. */
struct member {
	struct link *link;
	void *entry; /* struct vm_entry or struct host_entry */
	struct host_entry *host;
	const struct placement_rule *rule; /* LINK_RULES */
};
struct member_list {
	struct member *items; /* owned; room for the next power of two */
	uint32_t len;
};
struct token {
	struct member_list lists[LINK_LISTS];
	char word[];
};

/* Walks one list of a token, which may be NULL. */
#define MEMBERS_FOR_EACH(token, list, it)                                                          \
	for (const struct member *it = (token) ? (token)->lists[list].items : NULL,                \
	                         *end_##it = it ? it + (token)->lists[list].len : NULL;            \
	        it < end_##it; it++)

struct group_entry {
	struct inventory_group pub;
	size_t slot;                    /* in inventory.group_list */
	VEC(struct host_entry *) hosts; /* by name, then id */
	void *texts;                    /* owned: the block of pub's texts */
};

struct vm_entry {
	struct inventory_vm pub;
	struct host_entry *host;
	size_t index;           /* in host->vms */
	struct holding holding; /* of pub.reservation */
	struct link *links;     /* owned */
	size_t n_links;
	void *texts; /* owned */
};

struct host_entry {
	struct inventory_host pub;
	struct group_entry *group;
	size_t slot;        /* in inventory.hosts */
	size_t group_index; /* in group->hosts */
	struct holding held;
	struct holding largest;     /* of its VMs, each amount for itself */
	int64_t most_vcpus;         /* of its VMs */
	VEC(struct vm_entry *) vms; /* in no order; owned */
	const struct token *domain; /* of its failure domain; hosts without one have their own */
	struct link *links;         /* owned */
	size_t n_links;
	char *reason; /* owned: pub.state_reason */
	void *texts;  /* owned */
};

struct inventory {
	struct map *groups, *hosts_by_id, *tokens;
	VEC(struct group_entry *) group_list;
	VEC(struct host_entry *) hosts; /* by name, then id */
	size_t n_vms;
	struct str word; /* scratch */
};

static inline const struct host_entry *host_entry_of(const struct inventory_host *host)
{
	return (const struct host_entry *)(const void *)host; /* pub is its first member */
}

static inline const struct group_entry *group_entry_of(const struct inventory_group *group)
{
	return (const struct group_entry *)(const void *)group;
}

/* ---- inventory_index.c ---- */

#define WORD_VM         'v'
#define WORD_VM_LABEL   'l'
#define WORD_HOST       'h'
#define WORD_HOST_LABEL 'H'
#define WORD_DOMAIN     'd'
#define WORD_OWN_DOMAIN 'D'
const struct token *index_find(const struct inventory *inv, char kind, const char *text);
const struct token *index_find_label(
        const struct inventory *inv, char kind, const struct field_label *label);
void index_add_vm(struct inventory *inv, struct vm_entry *vm);
void index_add_host(struct inventory *inv, struct host_entry *host);
void index_remove(struct inventory *inv, struct link *links, size_t n);

/* Both lists are sorted by key. */
bool labels_contain(const struct field_labels *all, const struct field_labels *wanted);

/* ---- inventory_copy.c ---- */

/* Replace every pointer of *pub by one into a new block, which is returned. */
void *copy_group(struct inventory_group *pub);
void *copy_host(struct inventory_host *pub);
void *copy_vm(struct inventory_vm *pub);

/* SPDX-License-Identifier: Apache-2.0 */
/* Entries, their sums, and the way to them. */
#include "scheduler/inventory.h"

#include <string.h>

#include "scheduler/inventory_internal.h"

const char *const inventory_host_state_names[] = {
        [INVENTORY_HOST_OK] = "ok",
        [INVENTORY_HOST_CONNECTING] = "connecting",
        [INVENTORY_HOST_SLOW] = "slow",
        [INVENTORY_HOST_DOWN] = "down",
        [INVENTORY_HOST_DRAINING] = "draining",
        [INVENTORY_HOST_MAINTENANCE] = "maintenance",
        NULL,
};

enum inventory_host_state inventory_host_state_from_name(const char *name)
{
	for (int i = 0; inventory_host_state_names[i]; i++)
		if (str_equal(inventory_host_state_names[i], name))
			return (enum inventory_host_state)i;
	return INVENTORY_HOST_CONNECTING;
}

static int compare_hosts(const struct host_entry *a, const struct host_entry *b)
{
	int order = strcmp(a->pub.name, b->pub.name);
	return order ? order : strcmp(a->pub.id, b->pub.id);
}

/* ---- groups ---- */

static void group_free(struct group_entry *g)
{
	VEC_DONE(&g->hosts);
	free(g->texts);
	free(g);
}

void inventory_put_group(struct inventory *inv, const struct inventory_group *group)
{
	struct inventory_group pub = *group;
	void *texts = copy_group(&pub);
	struct group_entry *g = map_get(inv->groups, pub.id);
	if (!g) {
		g = xcalloc(1, sizeof(*g));
		g->slot = inv->group_list.len;
		map_put(inv->groups, pub.id, g);
		VEC_PUSH(&inv->group_list, g);
	}
	free(g->texts);
	g->pub = pub;
	g->texts = texts;
	VEC_FOR_EACH (&g->hosts, host) {
		(*host)->pub.group_id = pub.id;
	}
}

bool inventory_remove_group(struct inventory *inv, const char *id)
{
	struct group_entry *g = map_get(inv->groups, id);
	if (!g || g->hosts.len > 0)
		return false;
	map_remove(inv->groups, id);
	VEC_REMOVE(&inv->group_list, g->slot);
	for (size_t i = g->slot; i < inv->group_list.len; i++)
		inv->group_list.items[i]->slot = i;
	group_free(g);
	return true;
}

/* ---- VMs ---- */

static void vm_free(struct vm_entry *vm)
{
	free(vm->links);
	free(vm->texts);
	free(vm);
}

static void add_to_largest(struct host_entry *host, const struct vm_entry *vm)
{
	int64_t vcpus = reservation_most_vcpus(&vm->pub.reservation);
	if (vm->holding.vms == 0)
		return;
	holding_maximize(&host->largest, &vm->holding);
	if (vcpus > host->most_vcpus)
		host->most_vcpus = vcpus;
}

static void find_largest(struct host_entry *host)
{
	host->largest = (struct holding){0};
	host->most_vcpus = 0;
	for (size_t i = 0; i < host->vms.len; i++)
		add_to_largest(host, host->vms.items[i]);
}

static void remove_vm(struct inventory *inv, struct vm_entry *vm)
{
	struct host_entry *host = vm->host;
	index_remove(inv, vm->links, vm->n_links);
	holding_subtract(&host->held, &vm->holding);
	struct vm_entry *last = host->vms.items[--host->vms.len];
	host->vms.items[vm->index] = last;
	last->index = vm->index;
	inv->n_vms--;
	if (vm->holding.vms > 0)
		find_largest(host);
	vm_free(vm);
}

static void add_vm(struct inventory *inv, struct host_entry *host, const struct inventory_vm *pub)
{
	struct vm_entry *vm = xcalloc(1, sizeof(*vm));
	vm->pub = *pub;
	vm->texts = copy_vm(&vm->pub);
	vm->pub.host_id = host->pub.id;
	vm->host = host;
	vm->holding = reservation_holding(&pub->reservation);
	vm->index = host->vms.len;
	VEC_PUSH(&host->vms, vm);
	holding_add(&host->held, &vm->holding);
	add_to_largest(host, vm);
	index_add_vm(inv, vm);
	inv->n_vms++;
}

static struct vm_entry *find_vm(const struct inventory *inv, const char *id, const char *host_id)
{
	const struct token *t = index_find(inv, WORD_VM, id);
	MEMBERS_FOR_EACH (t, LINK_VMS, member) {
		struct vm_entry *vm = member->entry;
		if (strcmp(vm->pub.id, id) == 0 &&
		        (!host_id || strcmp(vm->pub.host_id, host_id) == 0))
			return vm;
	}
	return NULL;
}

bool inventory_put_vm(struct inventory *inv, const struct inventory_vm *vm)
{
	struct host_entry *host = map_get(inv->hosts_by_id, vm->host_id);
	if (!host)
		return false;
	struct vm_entry *old = find_vm(inv, vm->id, vm->host_id);
	add_vm(inv, host, vm); /* before the old one goes: texts may be borrowed from it */
	if (old)
		remove_vm(inv, old);
	return true;
}

void inventory_remove_vm(struct inventory *inv, const char *vm_id, const char *host_id)
{
	char *id CLEANUP(cleanup_free) = xstrdup(vm_id); /* may be the text of what goes */
	char *host CLEANUP(cleanup_free) = xstrdup(host_id);
	for (struct vm_entry *vm; (vm = find_vm(inv, id, host));)
		remove_vm(inv, vm);
}

bool inventory_set_host_vms(
        struct inventory *inv, const char *host_id, const struct inventory_vm *vms, size_t n_vms)
{
	struct host_entry *host = map_get(inv->hosts_by_id, host_id);
	if (!host)
		return false;
	size_t n_old = host->vms.len;
	for (size_t i = 0; i < n_vms; i++)
		add_vm(inv, host, &vms[i]);
	while (n_old > 0)
		remove_vm(inv, host->vms.items[--n_old]);
	return true;
}

/* ---- hosts ---- */

static void host_free(struct host_entry *host)
{
	VEC_DONE(&host->vms);
	free(host->reason);
	free(host->texts);
	free(host);
}

/* Both lists of hosts are kept in order, so that answers do not depend on who came first. */
#define HOSTS_INSERT(v, host, member)                                                              \
	do {                                                                                       \
		size_t at_ = (v)->len;                                                             \
		VEC_PUSH(v, host);                                                                 \
		for (; at_ > 0 && compare_hosts(host, (v)->items[at_ - 1]) < 0; at_--) {           \
			(v)->items[at_] = (v)->items[at_ - 1];                                     \
			(v)->items[at_]->member = at_;                                             \
		}                                                                                  \
		(v)->items[at_] = (host);                                                          \
		(host)->member = at_;                                                              \
	} while (0)

#define HOSTS_REMOVE(v, host, member)                                                              \
	do {                                                                                       \
		VEC_REMOVE(v, (host)->member);                                                     \
		for (size_t at_ = (host)->member; at_ < (v)->len; at_++)                           \
			(v)->items[at_]->member = at_;                                             \
	} while (0)

static void link_host(struct inventory *inv, struct host_entry *host, struct group_entry *group)
{
	host->group = group;
	host->pub.group_id = group->pub.id;
	HOSTS_INSERT(&inv->hosts, host, slot);
	HOSTS_INSERT(&group->hosts, host, group_index);
	index_add_host(inv, host);
}

static void unlink_host(struct inventory *inv, struct host_entry *host)
{
	HOSTS_REMOVE(&inv->hosts, host, slot);
	HOSTS_REMOVE(&host->group->hosts, host, group_index);
	index_remove(inv, host->links, host->n_links);
	free(host->links);
	host->links = NULL;
}

static void set_reason(struct host_entry *host, const char *reason)
{
	char *copy = xstrdup(reason);
	free(host->reason);
	host->reason = copy;
	host->pub.state_reason = copy;
}

bool inventory_put_host(struct inventory *inv, const struct inventory_host *new_host)
{
	struct group_entry *group = map_get(inv->groups, new_host->group_id);
	if (!group)
		return false;
	struct inventory_host pub = *new_host;
	void *texts = copy_host(&pub);
	struct host_entry *host = map_get(inv->hosts_by_id, pub.id);
	if (host) {
		unlink_host(inv, host);
	} else {
		host = xcalloc(1, sizeof(*host));
		map_put(inv->hosts_by_id, pub.id, host);
	}
	void *old_texts = host->texts;
	host->pub = pub;
	host->texts = texts;
	set_reason(host, pub.state_reason);
	free(old_texts);
	link_host(inv, host, group);
	VEC_FOR_EACH (&host->vms, vm) {
		(*vm)->pub.host_id = host->pub.id;
	}
	return true;
}

void inventory_remove_host(struct inventory *inv, const char *id)
{
	struct host_entry *host = map_remove(inv->hosts_by_id, id);
	if (!host)
		return;
	while (host->vms.len > 0)
		remove_vm(inv, host->vms.items[host->vms.len - 1]);
	unlink_host(inv, host);
	host_free(host);
}

bool inventory_set_host_state(struct inventory *inv, const char *host_id,
        enum inventory_host_state state, const char *reason)
{
	struct host_entry *host = map_get(inv->hosts_by_id, host_id);
	if (!host)
		return false;
	host->pub.state = state;
	set_reason(host, reason);
	return true;
}

bool inventory_set_host_busy(struct inventory *inv, const char *host_id, int64_t cpu_busy_percent)
{
	struct host_entry *host = map_get(inv->hosts_by_id, host_id);
	if (!host)
		return false;
	host->pub.cpu_busy_percent = cpu_busy_percent;
	return true;
}

/* ---- looking ---- */

const struct inventory_group *inventory_group(const struct inventory *inv, const char *id)
{
	const struct group_entry *g = map_get(inv->groups, id);
	return g ? &g->pub : NULL;
}

const struct inventory_host *inventory_host(const struct inventory *inv, const char *id)
{
	const struct host_entry *host = map_get(inv->hosts_by_id, id);
	return host ? &host->pub : NULL;
}

const struct inventory_vm *inventory_vm(
        const struct inventory *inv, const char *vm_id, const char *host_id)
{
	const struct vm_entry *vm = find_vm(inv, vm_id, host_id);
	return vm ? &vm->pub : NULL;
}

struct holding inventory_held(const struct inventory *inv, const char *host_id)
{
	const struct host_entry *host = map_get(inv->hosts_by_id, host_id);
	return host ? host->held : (struct holding){0};
}

const struct inventory_group *inventory_next_group(const struct inventory *inv, size_t *cursor)
{
	return *cursor < inv->group_list.len ? &inv->group_list.items[(*cursor)++]->pub : NULL;
}

const struct inventory_host *inventory_next_host(const struct inventory *inv, size_t *cursor)
{
	return *cursor < inv->hosts.len ? &inv->hosts.items[(*cursor)++]->pub : NULL;
}

const struct inventory_vm *inventory_next_vm(
        const struct inventory *inv, const char *host_id, size_t *cursor)
{
	const struct host_entry *host = map_get(inv->hosts_by_id, host_id);
	if (!host || *cursor >= host->vms.len)
		return NULL;
	return &host->vms.items[(*cursor)++]->pub;
}

size_t inventory_count_hosts(const struct inventory *inv)
{
	return inv->hosts.len;
}

size_t inventory_count_vms(const struct inventory *inv)
{
	return inv->n_vms;
}

/* ---- all of it ---- */

struct inventory *inventory_new(void)
{
	struct inventory *inv = xcalloc(1, sizeof(*inv));
	inv->groups = map_new();
	inv->hosts_by_id = map_new();
	inv->tokens = map_new();
	return inv;
}

void inventory_free(struct inventory *inv)
{
	if (!inv)
		return;
	while (inv->hosts.len > 0)
		inventory_remove_host(inv, inv->hosts.items[inv->hosts.len - 1]->pub.id);
	VEC_FOR_EACH (&inv->group_list, group) {
		group_free(*group);
	}
	VEC_DONE(&inv->group_list);
	VEC_DONE(&inv->hosts);
	map_free(inv->groups);
	map_free(inv->hosts_by_id);
	map_free(inv->tokens);
	str_done(&inv->word);
	free(inv);
}

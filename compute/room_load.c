/* SPDX-License-Identifier: Apache-2.0 */
/* From a host's row and facts to the inventory. */
#include "compute/room_load.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "compute/host_view.h"
#include "compute/room_store.h"
#include "scheduler/cpu_layout.h"

/* ---- pools ---- */

void room_pools_done(struct room_pools *pools)
{
	VEC_FOR_EACH (&pools->items, pool) {
		free(pool->id);
		free(pool->name);
		for (size_t i = 0; i < pool->hosts.len; i++)
			free(pool->hosts.items[i]);
		free(pool->hosts.items);
	}
	VEC_DONE(&pools->items);
}

/* Of the stored configuration only `hosts` matters here. */
static void on_pool(void *arg, const char *id, const char *name, const char *spec)
{
	struct room_pools *pools = arg;
	json_t *json CLEANUP(cleanup_json) = json_loads(spec, 0, NULL);
	json_t *hosts = json_object_get(json, "hosts"), *host;
	struct room_pool pool = {.id = xstrdup(id), .name = xstrdup(name)};
	size_t i;
	pool.hosts.items = xcalloc(json_array_size(hosts) + 1, sizeof(char *));
	json_array_foreach(hosts, i, host)
	{
		pool.hosts.items[pool.hosts.len++] = xstrdup(json_string_value(host));
	}
	VEC_PUSH(&pools->items, pool);
}

int room_pools_load(struct db *db, struct room_pools *ret_pools, struct err *e)
{
	return room_store_each_pool(db, on_pool, ret_pools, e);
}

struct reach {
	const struct room_pools *pools;
	bool *is_broken; /* owned; by index */
};

static void cleanup_reach(struct reach *reach)
{
	free(reach->is_broken);
}

static void on_broken(void *arg, const char *pool_id)
{
	const struct reach *reach = arg;
	for (size_t i = 0; i < reach->pools->items.len; i++)
		if (strcmp(reach->pools->items.items[i].id, pool_id) == 0)
			reach->is_broken[i] = true;
}

static bool strings_have(const struct field_strings *strings, const char *text)
{
	for (size_t i = 0; i < strings->len; i++)
		if (strcmp(strings->items[i], text) == 0)
			return true;
	return false;
}

/* The names of the pools that the host reaches; the texts are borrowed from `pools`. */
static int find_pools(struct db *db, const char *host_id, const struct room_pools *pools,
        struct field_strings *ret_names, struct err *e)
{
	struct reach reach CLEANUP(cleanup_reach) = {
	        .pools = pools, .is_broken = xcalloc(pools->items.len + 1, sizeof(bool))};
	int rc = room_store_each_broken_pool(db, host_id, on_broken, &reach, e);
	ret_names->items = xcalloc(pools->items.len + 1, sizeof(char *));
	for (size_t i = 0; i < pools->items.len; i++) {
		const struct room_pool *pool = &pools->items.items[i];
		bool is_member = pool->hosts.len == 0 || strings_have(&pool->hosts, host_id);
		if (is_member && !reach.is_broken[i])
			ret_names->items[ret_names->len++] = pool->name;
	}
	return rc;
}

/* ---- facts ---- */

/* The inventory's form of a host, as long as its row and facts live. */
struct load {
	struct inventory_host host;
	struct host_spec extra; /* owned */
	json_t *facts;          /* owned */
	VEC(struct inventory_architecture) architectures;
	VEC(struct cpu_node) nodes;
};

static void cleanup_load(struct load *load)
{
	VEC_FOR_EACH (&load->architectures, architecture)
		free(architecture->cpu_models.items); /* the texts are the facts' */
	VEC_FOR_EACH (&load->nodes, node)
		free(node->cpus);
	VEC_DONE(&load->nodes);
	VEC_DONE(&load->architectures);
	free(load->host.pools.items); /* the texts are the pools' */
	free(load->host.networks.items);
	host_spec_done(&load->extra);
	json_decref(load->facts);
}

/* Guests of the host's own architecture get what its setting and its CPU allow, others are emulated. */
static enum placement_accelerator accelerator_of(
        const struct host_row *row, const json_t *facts, const char *architecture, bool has_kvm)
{
	const char *own =
	        json_string_value(json_object_get(json_object_get(facts, "cpu"), "architecture"));
	if (!str_equal(own, architecture) || str_equal(row->accelerator, "tcg"))
		return PLACEMENT_TCG;
	return has_kvm || str_equal(row->accelerator, "kvm") ? PLACEMENT_KVM : PLACEMENT_TCG;
}

/* What nothing is known of refuses nothing: a host that was never reached, and libvirt's test driver. */
static const char *const any_architecture[] = {
        "x86_64", "i686", "aarch64", "armv7l", "ppc64", "ppc64le", "riscv64", "s390x"};

static void add_any_architecture(struct load *load)
{
	for (size_t i = 0; i < ARRAY_LEN(any_architecture); i++) {
		const struct inventory_architecture architecture = {
		        .name = any_architecture[i], .has_uefi = true, .has_secure_boot = true};
		VEC_PUSH(&load->architectures, architecture);
	}
}

static bool is_architecture_known(const struct load *load)
{
	const char *type = json_string_value(json_object_get(load->facts, "auto_type"));
	return !str_equal(type, "test") &&
	       json_array_size(json_object_get(load->facts, "architectures")) > 0;
}

/* The texts are borrowed from `list`, the array is the caller's. */
static struct field_strings texts_of(const json_t *list)
{
	struct field_strings texts = {.len = json_array_size(list)};
	if (texts.len == 0)
		return texts;
	texts.items = xcalloc(texts.len, sizeof(char *));
	for (size_t i = 0; i < texts.len; i++)
		texts.items[i] = (char *)json_string_value(json_array_get(list, i));
	return texts;
}

/* Which models a guest can get was asked for the accelerator that the host offers. With another one that its setting
 * names nothing is known. */
static struct field_strings cpu_models(
        const json_t *facts, const struct inventory_architecture *architecture, bool has_kvm)
{
	if ((architecture->accelerator == PLACEMENT_KVM) != has_kvm)
		return (struct field_strings){0};
	return texts_of(json_object_get(json_object_get(facts, "cpu_models"), architecture->name));
}

static void add_architectures(struct load *load, const struct host_row *row)
{
	json_t *item;
	size_t i;
	json_array_foreach(json_object_get(load->facts, "architectures"), i, item)
	{
		const char *name = json_string_value(json_object_get(item, "name"));
		bool has_kvm = json_is_true(json_object_get(item, "kvm"));
		struct inventory_architecture architecture = {
		        .name = name,
		        .accelerator = accelerator_of(row, load->facts, name, has_kvm),
		        .has_uefi = json_is_true(json_object_get(item, "uefi")),
		        .has_secure_boot = json_is_true(json_object_get(item, "secure_boot")),
		};
		architecture.cpu_models = cpu_models(load->facts, &architecture, has_kvm);
		VEC_PUSH(&load->architectures, architecture);
	}
}

static int64_t integer(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static void add_cpus(struct cpu_node *node, const json_t *cpus)
{
	json_t *cpu;
	size_t i;
	node->cpus = xcalloc(json_array_size(cpus) + 1, sizeof(*node->cpus));
	json_array_foreach(cpus, i, cpu)
	{
		if (integer(cpu, "node") == node->id)
			node->cpus[node->n_cpus++] = (struct cpu_thread){
			        .id = (int)integer(cpu, "id"),
			        .core = (int)integer(cpu, "core"),
			};
	}
}

/* Without its single CPUs nothing can be pinned on a host. */
static void add_nodes(struct load *load)
{
	json_t *item;
	size_t i;
	const json_t *cpus = json_object_get(load->facts, "host_cpus");
	load->host.hugepage_bytes = integer(load->facts, "hugepage_bytes");
	if (json_array_size(cpus) == 0)
		return;
	json_array_foreach(
	        json_object_get(json_object_get(load->facts, "cpu"), "numa_nodes"), i, item)
	{
		struct cpu_node node = {.id = (int)integer(item, "id"),
		        .memory_bytes = integer(item, "memory_bytes")};
		add_cpus(&node, cpus);
		VEC_PUSH(&load->nodes, node);
	}
	load->host.topology =
	        (struct cpu_topology){.nodes = load->nodes.items, .n_nodes = load->nodes.len};
}

/* A host that was never reached, or cannot tell, is not refused for its networks. */
static void add_networks(struct load *load)
{
	const json_t *networks = json_object_get(load->facts, "networks");
	load->host.has_networks = json_is_array(networks);
	load->host.networks = texts_of(networks);
}

int room_load_host(struct db *db, struct inventory *inventory, const struct host_row *row,
        const struct room_pools *pools, struct err *e)
{
	struct load load CLEANUP(cleanup_load) = {.facts = json_loads(row->facts, 0, NULL)};
	int rc = host_load_extra(row, &load.extra, e);
	if (rc == 0)
		rc = find_pools(db, row->id, pools, &load.host.pools, e);
	if (rc < 0)
		return rc;
	load.host.id = row->id;
	load.host.name = row->name;
	load.host.group_id = row->group_id;
	load.host.failure_domain = load.extra.failure_domain;
	load.host.labels = load.extra.labels;
	load.host.state = inventory_host_state_from_name(row->state);
	load.host.state_reason = row->state_reason;
	load.host.cpu_threads = row->cpu_threads;
	load.host.memory_bytes = row->memory_bytes;
	load.host.cpu_busy_percent = -1;
	if (is_architecture_known(&load))
		add_architectures(&load, row);
	else
		add_any_architecture(&load);
	load.host.architectures = load.architectures.items;
	load.host.n_architectures = load.architectures.len;
	add_nodes(&load);
	add_networks(&load);
	if (!inventory_put_host(inventory, &load.host))
		return err_set(
		        e, ERR_INTERNAL, "host %s is in a group that is not known", row->name);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What decisions are made from: host groups, hosts, and what VMs hold on them, in memory. Built and
 * changed by plain calls; per-host sums and indexes follow at once. It knows no database, clock or
 * thread: one owner (the writer thread).
 *
 * What is put is copied: texts and lists of the argument are borrowed for the call. What is looked
 * up is borrowed from the inventory until the next change of it.
 *
 * A VM has one entry for each host where it holds something (two while it migrates), and one in
 * state NONE on its home while it is stopped: rules of affinity see it there.
 */
#pragma once

#include "base/field.h"
#include "scheduler/cpu_layout.h"
#include "scheduler/policy.h"
#include "scheduler/reservation.h"

struct inventory;

struct inventory_group {
	const char *id, *name;
	enum overcommit_mode mode;
	double cpu_ratio, memory_ratio;
	int64_t reserve_memory_bytes, reserve_cpu_percent; /* of each host, for the host itself */
	enum placement_policy policy;
	int64_t survive_host_loss; /* 0 or 1 */
};

enum inventory_host_state {
	INVENTORY_HOST_OK,
	INVENTORY_HOST_CONNECTING,
	INVENTORY_HOST_SLOW,
	INVENTORY_HOST_DOWN,
	INVENTORY_HOST_DRAINING,
	INVENTORY_HOST_MAINTENANCE,
};
extern const char *const inventory_host_state_names[]; /* NULL-terminated, in the enum's order */
/* INVENTORY_HOST_CONNECTING for a word it does not know. */
enum inventory_host_state inventory_host_state_from_name(const char *name);

enum placement_accelerator { PLACEMENT_ANY_ACCELERATOR, PLACEMENT_KVM, PLACEMENT_TCG };

struct inventory_architecture {
	const char *name;
	enum placement_accelerator accelerator; /* that guests of it get on this host */
	bool has_uefi, has_secure_boot;
	struct field_strings
	        cpu_models; /* that guests of it can get; none: not known, which refuses nothing */
};

struct inventory_host {
	const char *id, *name, *group_id;
	const char *failure_domain; /* NULL or "": the host is one of its own */
	struct field_labels labels;
	enum inventory_host_state state;
	const char *state_reason;          /* NULL: none */
	int64_t cpu_threads, memory_bytes; /* 0: not yet known, which refuses nothing */
	int64_t hugepage_bytes;            /* in total, of the memory */
	int64_t cpu_busy_percent;          /* real use of all threads; -1: unknown */
	struct cpu_topology topology;
	const struct inventory_architecture *architectures;
	size_t n_architectures;
	struct field_strings pools;    /* names or ids of those it reaches */
	struct field_strings networks; /* likewise, if that is known */
	bool has_networks;             /* false: not known, which refuses nothing */
};

/*
 * A rule of affinity (be together) or anti-affinity (be apart). Targets by kind:
 *	VMS             `names`: names or ids; affinity: where each of those is that is somewhere
 *	VM_LABELS       `labels`: VMs that carry all of them; affinity: where at least one is, as
 *	                soon as there is one
 *	HOSTS           `names`: names or ids; affinity: on any of them
 *	HOST_LABELS     `labels`: hosts that carry all of them
 *	FAILURE_DOMAINS `names`; affinity: in any of them
 * Rules about VMs bind both sides: the target, too, is placed by them when it comes later.
 */
enum placement_target {
	PLACEMENT_TARGET_VMS,
	PLACEMENT_TARGET_VM_LABELS,
	PLACEMENT_TARGET_HOSTS,
	PLACEMENT_TARGET_HOST_LABELS,
	PLACEMENT_TARGET_FAILURE_DOMAINS,
};
/* What "together" means in a rule about VMs. */
enum placement_scope { PLACEMENT_SCOPE_HOST, PLACEMENT_SCOPE_FAILURE_DOMAIN };

struct placement_rule {
	enum placement_target target;
	enum placement_scope scope;
	bool is_anti, is_hard;
	struct field_strings names;
	struct field_labels labels;
};
struct placement_rules {
	const struct placement_rule *items;
	size_t len;
};

struct inventory_vm {
	const char *id, *name, *host_id;
	struct field_labels labels;
	struct placement_rules rules;
	struct reservation reservation;
	bool is_managed;
};

struct inventory *inventory_new(void);
void inventory_free(struct inventory *inv);

/* Each put replaces what has the same id (a VM: the same id and host). */
void inventory_put_group(struct inventory *inv, const struct inventory_group *group);
/* False: there is no group of that id, and nothing was changed. VMs of the host stay. */
bool inventory_put_host(struct inventory *inv, const struct inventory_host *host);
/* False: there is no host of that id. */
bool inventory_put_vm(struct inventory *inv, const struct inventory_vm *vm);
/* Replaces all that is on the host; `host_id` of each VM is ignored. False: no such host. */
bool inventory_set_host_vms(
        struct inventory *inv, const char *host_id, const struct inventory_vm *vms, size_t n_vms);

/* False: it has hosts, or does not exist. */
bool inventory_remove_group(struct inventory *inv, const char *id);
/* With its VMs. */
void inventory_remove_host(struct inventory *inv, const char *id);
/* NULL as host: everywhere. */
void inventory_remove_vm(struct inventory *inv, const char *vm_id, const char *host_id);

/* Small changes that come often. False: no such host. */
bool inventory_set_host_state(struct inventory *inv, const char *host_id,
        enum inventory_host_state state, const char *reason);
bool inventory_set_host_busy(struct inventory *inv, const char *host_id, int64_t cpu_busy_percent);

/* By id; NULL if there is none. */
const struct inventory_group *inventory_group(const struct inventory *inv, const char *id);
const struct inventory_host *inventory_host(const struct inventory *inv, const char *id);
/* `host_id` NULL: any of its entries. */
const struct inventory_vm *inventory_vm(
        const struct inventory *inv, const char *vm_id, const char *host_id);
/* The sums of what is held on a host. */
struct holding inventory_held(const struct inventory *inv, const char *host_id);

/* In no particular order; start with *cursor = 0; NULL at the end. No change meanwhile. */
const struct inventory_group *inventory_next_group(const struct inventory *inv, size_t *cursor);
const struct inventory_host *inventory_next_host(const struct inventory *inv, size_t *cursor);
/* The VMs of one host. */
const struct inventory_vm *inventory_next_vm(
        const struct inventory *inv, const char *host_id, size_t *cursor);
size_t inventory_count_hosts(const struct inventory *inv);
size_t inventory_count_vms(const struct inventory *inv); /* entries */

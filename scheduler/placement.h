/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which host takes a VM: filters that refuse, then a score that ranks. One pure function for
 * create, dry run, start, migrate, drain and rebalance; the inventory's owner. README.md has the
 * algorithm, placement_score.c the formula.
 */
#pragma once

#include "base/err.h"
#include "base/json_writer.h"
#include "base/vec.h"
#include "scheduler/admission.h"
#include "scheduler/inventory.h"

/* In the order in which they are asked; the first that refuses is the reason. */
enum placement_filter {
	PLACEMENT_FILTER_STATE,
	PLACEMENT_FILTER_ARCHITECTURE,
	PLACEMENT_FILTER_ACCELERATOR,
	PLACEMENT_FILTER_FIRMWARE,
	PLACEMENT_FILTER_CPU_BASELINE,
	PLACEMENT_FILTER_POOLS,
	PLACEMENT_FILTER_NETWORKS,
	PLACEMENT_FILTER_HOST_TOO_SMALL,
	PLACEMENT_FILTER_CAPACITY,
	PLACEMENT_FILTER_AFFINITY,
	PLACEMENT_FILTER_ANTI_AFFINITY,
	PLACEMENT_FILTER_HOST_LOSS,
	PLACEMENT_FILTER_COUNT,
};
extern const char *const placement_filter_names[]; /* "state", ..., NULL-terminated */

/* All texts are borrowed, and as long as the answer is used. NULL and 0: no wish. */
struct placement_request {
	const char *vm_id; /* of one that exists: what it holds does not count against it */
	const char *name;
	struct field_labels labels;
	struct placement_rules rules;
	struct reservation asked; /* in state STARTING */
	const char *architecture;
	enum placement_accelerator accelerator;
	bool needs_uefi, needs_secure_boot;
	const char *cpu_baseline; /* a named CPU model */
	struct field_strings pools, networks;
	const char *host_id, *group_id; /* only these hosts are looked at */
	const char *not_host_id;        /* migration: this host is not looked at */
	bool any_state;                 /* the caller waits for the host */
};

/* The parts of the score, each 0 (good) and up; the lowest sum wins. */
enum placement_part {
	PLACEMENT_PART_MEMORY,        /* how full (spread) or empty (pack) its memory would be */
	PLACEMENT_PART_CPU,           /* likewise its CPUs, by what is promised of them */
	PLACEMENT_PART_BUSY,          /* real use of its CPUs */
	PLACEMENT_PART_BALANCE,       /* memory and CPUs would be used unevenly */
	PLACEMENT_PART_FRAGMENTATION, /* room for big VMs would be broken up */
	PLACEMENT_PART_AFFINITY,      /* soft rules that it would break */
	PLACEMENT_PART_COUNT,
};
extern const char *const placement_part_names[];

struct placement_choice {
	const struct inventory_host *host;
	double score;
	float parts[PLACEMENT_PART_COUNT];
};

/* Small: the words are made when someone wants to read them. */
struct placement_refusal {
	const struct inventory_host *host;
	enum placement_filter filter;
	enum admission_bound bound; /* HOST_TOO_SMALL, CAPACITY */
	int64_t asked, held, limit; /* what the filter compared, if it compared amounts */
	/* HOST_LOSS: the host whose loss would not be absorbed; then `asked` is what its VMs need,
	 * `limit` what the others have free, in bytes. */
	const struct inventory_host *lost;
};

struct placement {
	VEC(struct placement_choice) ranked;   /* best first; ties by name, then id */
	VEC(struct placement_refusal) refused; /* by name, then id */
	const struct inventory *inventory;     /* borrowed: use the answer before the next change */
	const struct placement_request *request;
	struct placement_scratch *scratch; /* owned */
};

/* Ranks every host or refuses it with its first reason. *p is zeroed or was used before, which
 * saves its allocations; the caller releases it with placement_done. */
void place(
        const struct inventory *inv, const struct placement_request *request, struct placement *p);
void placement_done(struct placement *p);

/* One sentence that names the host, the reason and the numbers. */
void placement_refusal_text(
        const struct placement *p, const struct placement_refusal *refusal, struct str *out);
/* The members filter, detail, numbers of an object begun by the caller. */
void placement_refusal_encode(
        const struct placement *p, const struct placement_refusal *refusal, struct json_writer *w);
/* 0 if a host was ranked. Else: one host looked at: its own refusal; more: ERR_NO_CAPACITY, or
 * ERR_UNPROCESSABLE when none could ever hold it, with how many each filter refused. */
int placement_check(const struct placement *p, struct err *e);

/* Whether the rules make sense by themselves: to itself, the same target wanted and unwanted, no
 * target, several places at once. `vm_id` and `name` are the VM's own; anti-affinity to its own labels is fine, it spreads
 * its like. Adds every violation below `pointer` ("/placement"); ERR_INVALID if there was one. */
int placement_check_rules(const char *vm_id, const char *name, const struct placement_rules *rules,
        struct field_errors *errors);

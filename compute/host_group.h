/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host groups: the policy of a set of hosts: how far CPU and memory are overcommitted, what is kept
 * for the hosts themselves, how VMs are placed. Every host is in exactly one group; "default" is
 * always there.
 */
#pragma once

#include "base/field.h"
#include "base/uuid.h"
#include "db/db.h"
#include "scheduler/balloon_plan.h"
#include "scheduler/policy.h"

#define HOST_GROUP_DEFAULT_ID "00000000-0000-4000-8000-000000000001"

struct host_overcommit {
	double cpu_ratio, memory_ratio; /* configured : physical, 1.0 and up */
	int mode;                       /* enum overcommit_mode */
};
struct host_reserve {
	int64_t memory_bytes, cpu_percent; /* of each host, for the host itself */
};
struct host_placement {
	int policy;                /* enum placement_policy */
	int64_t survive_host_loss; /* hosts that may fail at once without VMs losing their room */
};

/* The policy, as stored in host_group.spec; the name is a column of its own. */
struct host_group_spec {
	char *name; /* owned */
	struct host_overcommit overcommit;
	struct host_reserve host_reserve;
	struct host_placement placement;
	struct balloon_policy balloon; /* but for period_ms, which is the daemon's */
};
extern const struct field_table host_group_config_fields; /* stored */
extern const struct field_table host_group_write_fields;  /* POST, PUT */
extern const struct field_table host_group_fields;        /* answers */
void host_group_spec_done(struct host_group_spec *spec);

struct host_group_row {
	char id[UUID_TEXT_SIZE];
	struct host_group_spec spec; /* owned, with the name */
	int64_t hosts;               /* how many are in it */
	int64_t version, created_at;
};
void host_group_row_done(struct host_group_row *row);
void host_group_encode(const struct host_group_row *row, struct json_writer *w);

/* What the bounds of the field table cannot say (not a number, infinite). ERR_INVALID. Pure. */
int host_group_check(const struct host_group_spec *spec, struct err *e);
/* Reads the stored form; whatever it lacks has its default. The caller releases *ret_spec in any
 * case. */
int host_group_load(const char *stored, struct host_group_spec *ret_spec, struct err *e);

/* Mutations: writer thread, inside a job. ERR_EXISTS for a taken name. */
int host_group_create(struct db *db, const struct host_group_spec *spec,
        char ret_id[UUID_TEXT_SIZE], struct err *e);
/* ERR_PROTECTED for another name of the default group: hosts that name no group are put there. */
int host_group_replace(struct db *db, const struct host_group_row *row,
        const struct host_group_spec *spec, struct err *e);
/* Applies a merge patch to the policy and name. */
int host_group_update(struct db *db, const struct host_group_row *row, json_t *patch,
        struct field_errors *errors, struct err *e);
/* ERR_IN_USE naming hosts that are still in it; ERR_PROTECTED for the default group. */
int host_group_delete(struct db *db, const struct host_group_row *row, struct err *e);

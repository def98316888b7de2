/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which kinds of work may run together on one VM: the bits for `job` and `beside` of struct operation_kind. vm_jobs.c says
 * why (docs/decisions/0009-jobs-that-run-together.md is the long form). What may not run together waits in the VM's queue.
 */
#pragma once

#include "base/uuid.h"
#include "db/db.h"

enum vm_job {
	VM_JOB_START = 1 << 0, /* gives the VM a process */
	VM_JOB_POWER = 1 << 1, /* stop, shutdown, pause, resume, reset, reboot: never give it one */
	VM_JOB_SUSPEND = 1 << 2, /* memory to a file, then off */
	VM_JOB_CONFIGURE =
	        1 << 3, /* create, update, delete, rename; disks and NICs added, removed, resized */
	VM_JOB_BLOCK = 1 << 4, /* a long block job on a disk: move, flatten, clone */
	VM_JOB_MERGE = 1 << 5, /* the block jobs of a snapshot's deletion */
	VM_JOB_SNAPSHOT = 1 << 6,
	VM_JOB_REVERT = 1 << 7,
	VM_JOB_MIGRATE = 1 << 8,
	VM_JOB_BACKUP = 1 << 9, /* and an instant restore that still streams */
};
#define VM_JOBS 10

/* The `beside` of each; constant, for the tables of kinds. */
#define VM_BESIDE_START     0u
#define VM_BESIDE_POWER     (VM_JOB_BLOCK | VM_JOB_MERGE)
#define VM_BESIDE_SUSPEND   0u
#define VM_BESIDE_CONFIGURE 0u
#define VM_BESIDE_BLOCK     VM_JOB_POWER
#define VM_BESIDE_MERGE     VM_JOB_POWER
#define VM_BESIDE_SNAPSHOT  0u
#define VM_BESIDE_REVERT    0u
#define VM_BESIDE_MIGRATE   0u
#define VM_BESIDE_BACKUP    0u

/* Members of a struct operation_kind: `VM_JOB(BLOCK)` is `.job = VM_JOB_BLOCK, .beside = VM_BESIDE_BLOCK`. */
#define VM_JOB(name) .job = VM_JOB_##name, .beside = VM_BESIDE_##name

struct vm_job_rule {
	const char *name;
	unsigned job, beside;
	const char *why; /* not beside the others */
};
extern const struct vm_job_rule vm_job_rules[VM_JOBS];

/*
 * The oldest unfinished operation of a VM that has a say in its power; *ret_id is "" if there is none. What leaves power
 * to others (VM_JOB_BLOCK, VM_JOB_MERGE: hours, perhaps) does not count. Any connection.
 */
int vm_jobs_find_busy(struct db *db, const char *vm_id, char ret_id[UUID_TEXT_SIZE],
        char ret_kind[64], struct err *e);
/* The kinds of operations that do not count there; NULL-terminated. A test compares them with the bits. */
extern const char *const vm_jobs_without_power[];

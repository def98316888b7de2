/* SPDX-License-Identifier: Apache-2.0 */
/* SQL of the balloon controller: whom a host's plan is about, and what is durable of it. */
#pragma once

#include "base/uuid.h"
#include "db/db.h"

/* Marks in table meta: what was changed and has to be put back. */
#define BALLOON_THROTTLE_MARK "cpu_throttled:" /* + VM id */
#define BALLOON_KSM_MARK      "ksm_changed:"   /* + host id */

/* Hosts that rows of the change feed after `after` are about; *ret_newest is the last of those rows. Events that the
 * controller writes itself are left out. */
int balloon_store_changed_hosts(struct db *db, int64_t after, int64_t *ret_newest,
        void (*each)(void *arg, const char *host_id), void *arg, struct err *e);
int balloon_store_all_hosts(
        struct db *db, void (*each)(void *arg, const char *host_id), void *arg, struct err *e);

/* The host with its group; borrowed for the call. */
struct balloon_host_row {
	const char *name, *group_spec, *ksm_mark;
	int64_t memory_bytes;
};
/* *ret_found false: no such host. */
int balloon_store_get_host(struct db *db, const char *host_id,
        void (*each)(void *arg, const struct balloon_host_row *row), void *arg, bool *ret_found,
        struct err *e);

/* A VM that has, or may have, a process on the host; borrowed for the call. */
struct balloon_vm_row {
	const char *id, *name, *spec, *active_spec; /* active_spec may be NULL */
	bool managed, is_reserved, is_starting, is_throttled;
	int64_t booked_bytes, overhead_bytes; /* of its reservation */
};
/* In order of their ids. */
int balloon_store_each_vm(struct db *db, const char *host_id,
        int (*each)(void *arg, const struct balloon_vm_row *row, struct err *e), void *arg,
        struct err *e);

/* Writer. Without such a reservation nothing happens. */
int balloon_store_book(
        struct db *db, const char *host_id, const char *vm_id, int64_t booked_bytes, struct err *e);
/* Writer. `value` NULL: removes it. */
int balloon_store_mark(struct db *db, const char *key, const char *value, struct err *e);

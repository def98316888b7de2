/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of table reservation, and what the inventory is filled from. */
#pragma once

#include "base/field.h"
#include "base/uuid.h"
#include "db/db.h"
#include "scheduler/reservation.h"

/* What one VM holds on one host. */
struct room_row {
	char vm_id[UUID_TEXT_SIZE], host_id[UUID_TEXT_SIZE];
	struct reservation held; /* state STARTING or RUNNING */
	int64_t max_bytes;
	char *cpus;       /* owned; where it is pinned (room_cpus.h); NULL: nowhere */
	int64_t cpus_due; /* more than 0: its process may be elsewhere; counts the reasons */
	int64_t since;    /* wall ms */
};
void room_row_done(struct room_row *row);

/* *ret_found false: the VM holds nothing there. Any connection. */
int room_store_get(struct db *db, const char *vm_id, const char *host_id, struct room_row *ret_row,
        bool *ret_found, struct err *e);
/* Inserts or replaces it; `since` is set to now for a new one. Writer. */
int room_store_put(struct db *db, const struct room_row *row, struct err *e);
/* Nothing there is fine. Writer. */
int room_store_delete(struct db *db, const char *vm_id, const char *host_id, struct err *e);
/* Whether an unfinished operation may give the VM a process. */
int room_store_has_giver(struct db *db, const char *vm_id, bool *ret_has, struct err *e);
/* `cpus` and size of all other VMs on the host that are pinned. */
int room_store_each_cpus(struct db *db, const char *host_id, const char *but_vm_id,
        void (*each)(void *arg, const char *cpus, int64_t size_bytes), void *arg, struct err *e);

/* What each VM holds on the host; `is_ours`: it lives there, and its domain was made by us. Rows are borrowed for the call,
 * and have no max_bytes and no since. */
int room_store_each_on_host(struct db *db, const char *host_id,
        void (*each)(void *arg, const struct room_row *row, bool is_ours), void *arg,
        struct err *e);
/* Sets `cpus` and `cpus_due` alone. Writer. */
int room_store_set_cpus(struct db *db, const struct room_row *row, struct err *e);
/* Its process may be elsewhere than `cpus` says; `only_pinned`: unless that is NULL. Writer. */
int room_store_make_cpus_due(
        struct db *db, const char *vm_id, const char *host_id, bool only_pinned, struct err *e);
/* Likewise for all that are pinned on the host and have a process. Writer. */
int room_store_make_all_cpus_due(struct db *db, const char *host_id, struct err *e);
/* Its process is where `cpus` says; nothing if that, or the count, has changed meanwhile. Writer. */
int room_store_clear_cpus_due(struct db *db, const char *vm_id, const char *host_id,
        const char *cpus, int64_t cpus_due, struct err *e);
/* The hosts where the VM is pinned or owns CPUs. Any connection. */
int room_store_each_pinned_host(struct db *db, const char *vm_id,
        void (*each)(void *arg, const char *host_id), void *arg, struct err *e);

/* One entry of the inventory: a VM on its home, or where else it holds something. Borrowed for the call. */
struct room_entry {
	const char *vm_id, *name, *host_id, *placement; /* placement: JSON, or NULL */
	bool is_managed;
	struct reservation held; /* state NONE: nothing */
	struct field_labels labels;
};
/* The entries of one VM, or of all (NULL). */
int room_store_each_entry(struct db *db, const char *vm_id,
        void (*each)(void *arg, const struct room_entry *entry), void *arg, struct err *e);

/* Names of the pools that the last look from the host found broken. */
int room_store_each_broken_pool(struct db *db, const char *host_id,
        void (*each)(void *arg, const char *pool_id), void *arg, struct err *e);
/* All pools, with the stored configuration. */
int room_store_each_pool(struct db *db,
        void (*each)(void *arg, const char *id, const char *name, const char *spec), void *arg,
        struct err *e);
/* Ids and configurations of all VMs, for a pass over each of them; `each` may write. */
int room_store_each_vm(struct db *db,
        int (*each)(struct db *db, const char *id, const char *spec, struct err *e), struct err *e);

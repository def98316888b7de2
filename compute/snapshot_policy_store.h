/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of table snapshot_policy, and what policies ask of snapshots. */
#pragma once

#include "compute/snapshot_policy.h"

/* By name or UUID; ERR_NOT_FOUND. */
int snapshot_policy_store_get(
        struct db *db, const char *name_or_id, struct snapshot_policy_row *ret_row, struct err *e);
int snapshot_policy_store_list(struct db *db, const struct db_page *page,
        int (*each)(void *arg, const struct snapshot_policy_row *row), void *arg, struct err *e);
int snapshot_policy_store_insert(
        struct db *db, const struct snapshot_policy_row *row, const char *spec, struct err *e);
int snapshot_policy_store_update(struct db *db, const char *id, const char *name, const char *spec,
        int64_t next_run_at, struct err *e);
int snapshot_policy_store_delete(struct db *db, const char *id, struct err *e);
int snapshot_policy_store_set_next(
        struct db *db, const char *id, int64_t next_run_at, struct err *e);
int snapshot_policy_store_set_last(
        struct db *db, const char *id, int64_t at, const char *result, struct err *e);

struct snapshot_ids {
	char (*ids)[UUID_TEXT_SIZE];
	size_t len, capacity;
};
void snapshot_ids_done(struct snapshot_ids *ids);
/* Policies whose time has come. */
int snapshot_policy_store_due(
        struct db *db, int64_t now_ms, struct snapshot_ids *ret_ids, struct err *e);
/* Snapshots that are ready and whose time is over. */
int snapshot_policy_store_expired(
        struct db *db, int64_t now_ms, struct snapshot_ids *ret_ids, struct err *e);
/* A VM's snapshots of a policy that are ready, oldest first. */
int snapshot_policy_store_of_vm(struct db *db, const char *policy_id, const char *vm_id,
        struct snapshot_ids *ret_ids, struct err *e);
/* Those of them whose layer of that disk the VM writes above; the others are other branches'. */
int snapshot_policy_store_in_chain(struct db *db, const char *policy_id, const char *vm_id,
        const char *disk, struct snapshot_ids *ret_ids, struct err *e);
/* Whose it is; ERR_NOT_FOUND. */
int snapshot_policy_store_vm_of(
        struct db *db, const char *snapshot_id, char ret_vm_id[UUID_TEXT_SIZE], struct err *e);

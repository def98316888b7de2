/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of tables pool and pool_host. */
#pragma once

#include "base/vec.h"
#include "storage/pool.h"

/* By name or UUID; ERR_NOT_FOUND. Any connection. */
int pool_store_get(struct db *db, const char *name_or_id, struct pool_row *ret_row, struct err *e);
/* The same for who needs no more than the id. */
int pool_store_get_id(
        struct db *db, const char *name_or_id, char ret_id[UUID_TEXT_SIZE], struct err *e);
/* NULL: it has none. Caller frees. */
int pool_store_get_secret(struct db *db, const char *id, char **ret_secret, struct err *e);

struct pool_insert {
	const char *id, *name, *kind, *path, *spec, *state;
	const char *secret; /* NULL: none */
	bool shared;
	int64_t created_at;
};
int pool_store_insert(struct db *db, const struct pool_insert *row, struct err *e);
/* What a change may change. */
int pool_store_update(struct db *db, const char *id, const char *path, const char *spec,
        bool shared, const char *secret, struct err *e);
int pool_store_set_state(struct db *db, const char *id, const char *state, struct err *e);
int pool_store_delete(struct db *db, const char *id, struct err *e);

/* The name of another pool whose path that is; NULL: none. Caller frees. */
int pool_store_find_path(
        struct db *db, const char *path, const char *own_id, char **ret_name, struct err *e);

/* One page of the list; the row is borrowed for the call. */
int pool_store_list(struct db *db, const struct db_page *page,
        int (*each)(void *arg, const struct pool_row *row), void *arg, struct err *e);

/* Names of what lies in it (volumes, image copies, memory of snapshots), at most 6; "" for nothing. */
struct str;
int pool_store_users(struct db *db, const char *id, struct str *users, struct err *e);
/* The same for what host `host_id` has or uses of it. */
int pool_store_host_users(
        struct db *db, const char *id, const char *host_id, struct str *users, struct err *e);
/* Calls `each` for every other shared pool that has a volume of that file; an error of its ends it. */
int pool_store_file_elsewhere(struct db *db, const char *id, const char *file,
        int (*each)(void *arg, const char *pool_id, const char *volume, struct err *e), void *arg,
        struct err *e);
/* Sum of the volumes' sizes, of images' copies and of what is being moved into it: on that host, or (NULL) on all. */
int pool_store_provisioned(
        struct db *db, const char *id, const char *host_id, int64_t *ret_bytes, struct err *e);
/* A volume whose resize has not ended; of several in its VM's queue, by the largest. */
struct pool_growing {
	char volume_id[UUID_TEXT_SIZE], vm_id[UUID_TEXT_SIZE]; /* vm_id: "" if it has none */
	int64_t more_bytes;
};
/* NULL: of all pools, on all hosts. An error of `each` ends it. */
int pool_store_each_growing(struct db *db, const char *pool_id, const char *host_id,
        int (*each)(void *arg, const struct pool_growing *growing, struct err *e), void *arg,
        struct err *e);
/* What that will add to the pool. */
int pool_store_growing(
        struct db *db, const char *id, const char *host_id, int64_t *ret_bytes, struct err *e);

/* ---- how hosts see it ---- */

struct pool_host {
	char host_id[UUID_TEXT_SIZE];
	char *host, *host_state; /* owned: its name, and what its connection does */
	char *host_reason;       /* owned */
	int64_t host_since;
	bool is_seen;         /* has a row: the rest is set */
	char *state, *reason; /* owned: ok, error, unknown */
	int64_t since, capacity_bytes, allocation_bytes, available_bytes, checked_at;
	bool warned;
};
struct pool_host_list {
	struct pool_host *items; /* owned */
	size_t len;
};
void pool_host_done(struct pool_host *host);
void pool_host_list_done(struct pool_host_list *list);
/* All hosts, by name, with how they see that pool; who calls leaves out those that are not its. */
int pool_store_hosts(
        struct db *db, const char *pool_id, struct pool_host_list *ret_list, struct err *e);
int pool_store_host(struct db *db, const char *pool_id, const char *host_id,
        struct pool_host *ret_host, struct err *e); /* ERR_REFERENCE without that host */
/* Inserts or replaces; a pool or host that is gone is ERR_REFERENCE. */
int pool_store_put_host(
        struct db *db, const char *pool_id, const struct pool_host *host, struct err *e);

/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of table volume; volume.h has what others use of it (get, find, of_vm). */
#pragma once

#include "base/str.h"
#include "storage/volume.h"

struct volume_insert {
	const char *id, *name, *pool_id, *host_id, *format; /* host_id NULL: shared */
	int64_t size_bytes;
	const char *layer_id;     /* inserted in the same transaction */
	const char *vm_id, *disk; /* NULL: free-standing */
	int64_t created_at;
};
int volume_store_insert(struct db *db, const struct volume_insert *row, struct err *e);
int volume_store_set_state(struct db *db, const char *id, const char *state, struct err *e);
/* NULL, NULL: nobody's. */
int volume_store_set_owner(
        struct db *db, const char *id, const char *vm_id, const char *disk, struct err *e);
int volume_store_delete(struct db *db, const char *id, struct err *e);
/* The name of a VM; *ret_name is owned, NULL if there is none. */
int volume_store_vm_name(struct db *db, const char *vm_id, char **ret_name, struct err *e);

int volume_store_set_layer(struct db *db, const char *id, const char *layer_id, struct err *e);
/* Its pool, host and format become those of the layer it is written through. */
int volume_store_follow_layer(struct db *db, const char *id, struct err *e);
int volume_store_set_size(struct db *db, const char *id, int64_t size_bytes, struct err *e);
int volume_store_set_full_backup(struct db *db, const char *id, struct err *e);
/* Appends who holds it, in words: linked clones of others, snapshots (but of own_vm_id's). Some of them if many. */
int volume_store_users(
        struct db *db, const char *id, const char *own_vm_id, struct str *users, struct err *e);

/* One page of a pool's volumes; the row is borrowed for the call. */
int volume_store_list(struct db *db, const char *pool_id, const struct db_page *page,
        int (*each)(void *arg, const struct volume_row *row), void *arg, struct err *e);

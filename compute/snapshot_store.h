/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of tables snapshot and snapshot_disk, and vm.snapshot_id; snapshot.h has what others ask of them. */
#pragma once

#include "compute/snapshot.h"

struct snapshot_insert {
	const char *id, *vm_id, *name, *description, *parent_id,
	        *vm_spec;                                                /* parent_id NULL: none */
	const char *memory_pool_id, *memory_file, *group_id, *policy_id; /* NULL: none */
	enum snapshot_kind kind;
	enum vm_power power;
	bool quiesced;
	int64_t expires_at, created_at;
};
int snapshot_store_insert(struct db *db, const struct snapshot_insert *row, struct err *e);
int snapshot_store_add_disk(struct db *db, const char *id, const char *disk, const char *volume_id,
        const char *layer_id, struct err *e);
/* One page of a VM's; the row is borrowed for the call of `each`. */
int snapshot_store_list(struct db *db, const char *vm_id, const struct db_page *page,
        int (*each)(void *arg, const struct snapshot_row *row), void *arg, struct err *e);
/* All of a VM's, oldest first; caller releases each and frees the array. */
int snapshot_store_of_vm(struct db *db, const char *vm_id, struct snapshot_row **ret_rows,
        size_t *ret_n, struct err *e);
int snapshot_store_set_state(
        struct db *db, const char *id, enum snapshot_state state, struct err *e);
/* What is known when its turn has come; `row` has the new values but name, description and times. */
int snapshot_store_set_origin(struct db *db, const struct snapshot_insert *row, struct err *e);
/* What is known once it was taken. */
struct snapshot_taken {
	enum snapshot_kind kind;
	enum vm_power power;
	bool quiesced;
	int64_t memory_bytes;
};
int snapshot_store_set_taken(
        struct db *db, const char *id, const struct snapshot_taken *taken, struct err *e);
int snapshot_store_update(struct db *db, const char *id, const char *name, const char *description,
        int64_t expires_at, struct err *e);
/* The memory file is gone. */
int snapshot_store_drop_memory(struct db *db, const char *id, struct err *e);
/* Its children and the VM's current state become `parent_id`'s (NULL: no one's). */
int snapshot_store_reparent(struct db *db, const char *id, const char *parent_id, struct err *e);
int snapshot_store_delete(struct db *db, const char *id, struct err *e);
int snapshot_store_delete_all(struct db *db, const char *vm_id, struct err *e);

/* What the VM's current state descends from: "" for none. */
int snapshot_store_get_current(
        struct db *db, const char *vm_id, char ret_id[UUID_TEXT_SIZE], struct err *e);
int snapshot_store_set_current(struct db *db, const char *vm_id, const char *id, struct err *e);

/* Whether one that is not being deleted holds the layer. */
int snapshot_store_is_held(struct db *db, const char *layer_id, bool *ret_is_held, struct err *e);
/* Those that are being deleted hold this layer no longer. */
int snapshot_store_release_layer(struct db *db, const char *layer_id, struct err *e);
/* Forgets the VM's snapshots that are being deleted and hold nothing any more. */
int snapshot_store_forget_empty(struct db *db, const char *vm_id, struct err *e);
/* Layers that only snapshots which are being deleted hold; caller frees each and the array. */
int snapshot_store_released_layers(
        struct db *db, const char *vm_id, char ***ret_ids, size_t *ret_n, struct err *e);
/* The volumes of the VM and of its snapshots; caller frees each and the array. */
int snapshot_store_volumes(
        struct db *db, const char *vm_id, char ***ret_ids, size_t *ret_n, struct err *e);
/* Stopped VMs since `since_ms` that have snapshots being deleted; caller frees each and the array. */
int snapshot_store_sweepable(
        struct db *db, int64_t since_ms, char ***ret_ids, size_t *ret_n, struct err *e);
/* Names of what a snapshot is the parent of, oldest first; caller frees each and the array. */
int snapshot_store_children(
        struct db *db, const char *id, char ***ret_names, size_t *ret_n, struct err *e);

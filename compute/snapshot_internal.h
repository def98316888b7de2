/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of snapshots share. */
#pragma once

#include "compute/snapshot_store.h"
#include "compute/vm_call.h"
#include "storage/layer.h"
#include "storage/volume.h"

extern const struct operation_kind snapshot_create_kind, snapshot_revert_kind, snapshot_delete_kind,
        snapshot_sweep_kind;

/* ---- rules: any connection ---- */

/* A disk of the VM whose content a snapshot keeps, with its volume. */
struct snapshot_source {
	char disk[64];
	char volume_id[UUID_TEXT_SIZE], layer_id[UUID_TEXT_SIZE];
	char files_id[UUID_TEXT_SIZE]; /* the pool where a snapshot's files lie */
	int64_t size_bytes;
};
struct snapshot_sources {
	struct snapshot_source *items; /* owned */
	size_t len;
};
void snapshot_sources_done(struct snapshot_sources *sources);
/* All disks but CD-ROMs. ERR_UNSUPPORTED, ERR_LIMIT, ERR_UNPROCESSABLE name the disk that cannot be kept. */
int snapshot_find_sources(struct db *db, const struct vm_row *vm, const struct vm_spec *spec,
        struct snapshot_sources *ret_sources, struct err *e);
/* How many layers a chain has from this one down. */
int snapshot_layer_depth(struct db *db, const char *layer_id, int64_t *ret_depth, struct err *e);
/* ERR_LIMIT with the arithmetic if one more layer on this one is too many. */
int snapshot_check_depth(struct db *db, const char *disk, const char *layer_id, struct err *e);
/* The new layer of that volume on that layer, reserved by the operation under way: "" if there is none. */
int snapshot_find_overlay(struct db *db, const char *layer_id, const char *volume_id,
        char ret_id[UUID_TEXT_SIZE], struct err *e);
/* Reserves it, where files lie that stand on that layer (pool_choose_files). Writer. */
int snapshot_reserve_overlay(struct db *db, const char *layer_id, const char *volume_id,
        const char *host_id, struct err *e);
/* Forgets the overlays on these layers that never came into use. Writer. */
int snapshot_forget_overlays(struct db *db, const struct snapshot_disks *disks, struct err *e);

/* The snapshot in an operation's input. */
const char *snapshot_id_of(json_t *input);
int snapshot_add_change(
        struct db *db, const char *event, const struct snapshot_row *row, struct err *e);
/* Refuses what no snapshot work can be done on: not managed, adopted, its host away. */
int snapshot_check_vm(
        struct db *db, const struct vm_row *vm, const struct vm_request *asked, struct err *e);

/* Refuses what would change layers that the saved memory of a suspended VM names: ERR_WRONG_STATE; `what` ends the sentence. */
int snapshot_refuse_suspended(const struct vm_row *vm, const char *what, struct err *e);
/* The same in a mutation: what stands in the way now may be gone when its turn comes, so a busy VM passes. */
int snapshot_check_awake(struct db *db, const struct vm_row *vm, const char *what, struct err *e);

/* ---- lane threads ---- */

/* This thread's connection and the snapshot that the operation is about. */
int snapshot_call_load(struct vm_call *call, struct db **ret_db, struct snapshot_row *ret_row,
        struct snapshot_disks *ret_disks, struct err *e);
/* As vm_call_fn: makes the files of the overlays on the snapshot's layers; removes those that are not in use. */
int snapshot_call_make_overlays(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e);
int snapshot_call_remove_overlays(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e);
/* As vm_call_fn: removes the snapshot's memory file. */
int snapshot_call_remove_memory(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e);
int snapshot_remove_memory(struct db *db, const struct snapshot_row *row,
        const struct driver *driver, struct driver_connection *c, struct err *e);
int snapshot_remove_all_memory(struct db *db, const char *vm_id, const struct driver *driver,
        struct driver_connection *c, struct err *e);
/* The path of a snapshot's memory file on the host. Caller frees. */
int snapshot_memory_path(
        struct db *db, const struct snapshot_row *row, char **ret_path, struct err *e);

/* What the hypervisor has a disk stand on: the path of its top layer. Caller frees; NULL: it has no such disk. */
int snapshot_find_top(const struct domain_info *info, const char *disk, const struct driver *driver,
        struct driver_connection *c, char **ret_path, struct err *e);
/*
 * What is recorded is not what the VM has open, so none of its files may be taken or written: ERR_UNPROCESSABLE names both
 * chains. `live`: NULL-terminated, top first.
 */
int snapshot_refuse_drift(const char *vm, const char *disk, char *const *live,
        const struct layer_chain *recorded, struct err *e);
/* Also while libvirt still prepares its start: the definition of that moment is what it runs with. */
bool snapshot_has_process(const struct domain_info *info);
/* It is suspended to disk: its saved memory names the layers of the moment when it was saved. */
bool snapshot_is_suspended(const struct domain_info *info);

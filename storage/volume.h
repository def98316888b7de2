/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Volumes: virtual disks. Its bytes lie in a chain of layers (storage/layer.h), of which it writes the top one. Files are
 * named after ids of ours, so creating and deleting are idempotent and nothing that is not ours can be hit; format and
 * size are recorded, never probed.
 */
#pragma once

#include "base/field.h"
#include "base/uuid.h"
#include "db/db.h"

struct pool_access;

struct volume_row {
	char id[UUID_TEXT_SIZE];
	char layer_id[UUID_TEXT_SIZE]; /* the layer it is written through */
	char *name, *pool_id, *pool, *host_id, *host, *format, *state, *vm_id, *disk,
	        *drift; /* owned; host_id, host, vm_id,
	                                                                                         disk: NULL: none */
	bool next_backup_full;
	int64_t size_bytes, version, created_at;
};
void volume_row_done(struct volume_row *row);

/* "ID.qcow2": the file's name in its pool. Caller frees. */
char *volume_file_name(const char *id, const char *format);

struct volume_request {
	const char *pool, *host_id, *name, *format; /* host_id: ignored in a shared pool */
	/* Where its first layer lies, a qcow2 file, until it moves into a `pool` that holds no files; NULL: in `pool`. */
	const struct pool_access *files;
	int64_t size_bytes;
	const char *vm_id, *disk;  /* NULL: free-standing */
	const char *backing_id;    /* a layer it stands on (a linked clone); NULL: empty */
	const char *existing_file; /* in a pool of existing volumes: its name there; else NULL */
	bool full; /* all of its space is taken now: counted so by pool_check_room */
};
/*
 * Inserts the volume and its first layer (with the same id), both "creating", after looking for room: ERR_REFERENCE
 * without that pool, ERR_EXISTS for a taken name, ERR_DISK_FULL with the numbers. Writer.
 */
int volume_reserve(struct db *db, const struct volume_request *request, char ret_id[UUID_TEXT_SIZE],
        struct err *e);
int volume_mark_ready(
        struct db *db, const char *id, struct err *e); /* the file exists now; its layer, too */
int volume_mark_deleting(struct db *db, const char *id, struct err *e);
int volume_forget(struct db *db, const char *id,
        struct err *e); /* all files are gone; its layers' rows go, too; missing row: success */
/*
 * Takes a ready, free volume for a VM's disk: ERR_IN_USE names its VM, or the volumes that stand on it (it must not be
 * written then); ERR_BUSY an operation that works on it.
 */
int volume_attach(
        struct db *db, const char *id, const char *vm_id, const char *disk, struct err *e);
int volume_detach(struct db *db, const char *id, struct err *e);
/* From now on it is written through another layer (a snapshot, a revert); it belongs to the pool it belonged to. */
int volume_set_layer(struct db *db, const char *id, const char *layer_id, struct err *e);
/* ... and its pool, host and format are that layer's (a move, a wipe). */
int volume_move_to_layer(struct db *db, const char *id, const char *layer_id, struct err *e);
int volume_set_size(
        struct db *db, const char *id, int64_t size_bytes, struct err *e); /* and its top layer's */
/* Its next backup cannot build on an earlier one. */
int volume_require_full_backup(struct db *db, const char *id, struct err *e);
/* ERR_IN_USE: names the VM whose disk it is. */
int volume_refuse_owned(struct db *db, const struct volume_row *row, struct err *e);
/*
 * Whether something else stands on it: ERR_IN_USE names the volumes (linked clones) and snapshots. `own_vm_id`'s own
 * snapshots do not count if given.
 */
int volume_check_unused(
        struct db *db, const struct volume_row *row, const char *own_vm_id, struct err *e);

int volume_store_get(struct db *db, const char *id, struct volume_row *ret_row, struct err *e);
/* In pool `pool` as seen from host `host_id` (NULL: any; ERR_CONFLICT if several), by name or id; ERR_NOT_FOUND. */
int volume_store_find(struct db *db, const char *pool, const char *host_id, const char *name_or_id,
        struct volume_row *ret_row, struct err *e);
/* All volumes of a VM; caller releases each and frees the array. */
int volume_store_of_vm(struct db *db, const char *vm_id, struct volume_row **ret_rows,
        size_t *ret_n, struct err *e);
/* Whether a VM of that host can use it: as pool_check_host; ERR_UNSUPPORTED if a file of its chain lies on another. */
int volume_check_host(
        struct db *db, const struct volume_row *row, const char *host_id, struct err *e);
/* The host on which work on it is done: where its files lie, or one that reaches its shared pool (pool_choose_host). */
int volume_choose_host(struct db *db, const struct volume_row *row,
        char ret_host_id[UUID_TEXT_SIZE], struct err *e);

/* The operation kinds volume.create, delete, resize, clone, wipe; their context is struct operation_services. */
struct operation_engine;
void volume_register_kinds(struct operation_engine *engine);

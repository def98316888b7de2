/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Volumes: disk files that Berth made. The file is named after the volume's id, so creating and
 * deleting are idempotent and nothing that is not ours can be hit; format and size are recorded,
 * never probed.
 */
#pragma once

#include "base/field.h"
#include "base/uuid.h"
#include "db/db.h"

struct volume_row {
	char id[UUID_TEXT_SIZE];
	char *name, *pool_id, *pool, *pool_path, *host_id, *host, *format, *state, *vm_id,
	        *disk; /* owned */
	int64_t size_bytes, version, created_at;
};
void volume_row_done(struct volume_row *row);

/* "ID.qcow2": the file's name in its pool. Caller frees. */
char *volume_file_name(const char *id, const char *format);
/* The file's absolute path on its host. Caller frees. */
char *volume_path(const struct volume_row *row);

struct volume_request {
	const char *pool, *host_id, *name, *format;
	int64_t size_bytes;
	const char *vm_id, *disk; /* NULL: free-standing */
};
/* Inserts a row in state "creating": ERR_REFERENCE without that pool, ERR_EXISTS for a taken name.
 * Writer. */
int volume_reserve(struct db *db, const struct volume_request *request, char ret_id[UUID_TEXT_SIZE],
        struct err *e);
int volume_mark_ready(struct db *db, const char *id, struct err *e); /* the file exists now */
int volume_mark_deleting(struct db *db, const char *id, struct err *e);
int volume_forget(
        struct db *db, const char *id, struct err *e); /* the file is gone; missing row: success */
/* Takes a ready, free volume for a VM's disk: ERR_IN_USE names its VM. */
int volume_attach(
        struct db *db, const char *id, const char *vm_id, const char *disk, struct err *e);
int volume_detach(struct db *db, const char *id, struct err *e);

int volume_store_get(struct db *db, const char *id, struct volume_row *ret_row, struct err *e);
/* In pool `pool` on host `host_id`, by name or id; ERR_NOT_FOUND. */
int volume_store_find(struct db *db, const char *pool, const char *host_id, const char *name_or_id,
        struct volume_row *ret_row, struct err *e);
/* All volumes of a VM; caller releases each and frees the array. */
int volume_store_of_vm(struct db *db, const char *vm_id, struct volume_row **ret_rows,
        size_t *ret_n, struct err *e);

/* The operation kinds volume.create and volume.delete; their context is struct operation_services.
 */
struct operation_engine;
void volume_register_kinds(struct operation_engine *engine);
/* The one pool of this version: makes the row "default" with this path if there is none. Writer. */
int pool_ensure_default(struct db *db, const char *path, struct err *e);
/* The name by which Berth's pool `name` is known to libvirt: "berth-NAME". Caller frees. */
char *pool_libvirt_name(const char *name);

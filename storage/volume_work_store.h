/* SPDX-License-Identifier: Apache-2.0 */
/* What work on volumes asks of other tables. Any connection. */
#pragma once

#include "base/uuid.h"
#include "db/db.h"

/* The VM whose disk a volume is. */
struct volume_vm {
	char *name, *power; /* owned; power as last seen: running, stopped, ... */
	char host_id[UUID_TEXT_SIZE];
};
void volume_vm_done(struct volume_vm *vm);
/* ERR_NOT_FOUND */
int volume_store_get_vm(struct db *db, const char *vm_id, struct volume_vm *ret_vm, struct err *e);
/* The connection URI of a host; caller frees. ERR_NOT_FOUND. */
int volume_store_host_uri(struct db *db, const char *host_id, char **ret_uri, struct err *e);
/* Calls `each` with the id and name of every snapshot that holds the layer. */
int volume_store_layer_snapshots(struct db *db, const char *layer_id,
        void (*each)(void *arg, const char *id, const char *name), void *arg, struct err *e);
/* The sum of its layers' allocation, as last seen. */
int volume_store_allocation(
        struct db *db, const char *volume_id, int64_t *ret_bytes, struct err *e);

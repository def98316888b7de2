/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of volume operations share. */
#pragma once

#include "storage/volume_call.h"
#include "storage/volume_operations.h"

extern const struct operation_kind volume_resize_kind, volume_clone_kind, volume_wipe_kind;

struct volume_start {
	const char *kind;
	const struct volume_row *row; /* the target */
	const char *host_id;          /* NULL: volume_choose_host */
	const char *queue;            /* NULL: the volume's id */
	json_t *input;                /* taken over, also on errors; the pool's id is added */
	const struct operation_asked *asked;
};
/* Writer thread. */
int volume_start_operation(struct db *db, struct operation_engine *engine,
        const struct volume_start *start, char ret_operation[UUID_TEXT_SIZE], struct err *e);
/* Lane thread: removes the files of all layers that belong to the call's volume. Missing ones: success. */
int volume_delete_files(struct volume_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e);
/* Lane thread: *ret_active whether the VM has a hypervisor process; ERR_WRONG_STATE when its memory is saved to disk. */
int volume_look_at_vm(const char *vm_id, const struct driver *driver, struct driver_connection *c,
        bool *ret_active, struct err *e);
/* ERR_INVALID unless a positive multiple of 1 MiB. */
int volume_check_size(int64_t size_bytes, struct err *e);

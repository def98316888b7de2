/* SPDX-License-Identifier: Apache-2.0 */
/* Creating and deleting volumes as operations, and what the API says of a volume. */
#pragma once

#include "operation/operation.h"
#include "storage/volume.h"

/* What a user writes. */
struct volume_spec {
	char *name, *host; /* owned; host NULL: chosen */
	int format;        /* index into volume_format_names */
	int64_t size_bytes;
};
extern const char *const volume_format_names[]; /* qcow2, raw; NULL-terminated */
extern const struct field_table volume_write_fields;
extern const struct field_table volume_fields; /* answers */
void volume_encode(const struct volume_row *row, struct json_writer *w);

/* Who asked, and how long the operation may wait for its host (wall ms, 0: the engine's patience).
 */
struct volume_asked {
	const char *requested_by, *request_id;
	int64_t deadline_ms;
};
/* Writer thread, inside a job. Reserves the row and starts volume.create on the request's host. */
int volume_create(struct db *db, struct operation_engine *engine,
        const struct volume_request *request, const struct volume_asked *asked,
        char ret_operation[UUID_TEXT_SIZE], char ret_id[UUID_TEXT_SIZE], struct err *e);
/*
 * Writer thread, inside a job. Starts volume.delete: ERR_IN_USE names the VM whose disk it is,
 * ERR_BUSY the operation that works on it. A volume whose earlier deletion failed may be deleted
 * again.
 */
int volume_delete(struct db *db, struct operation_engine *engine, const struct volume_row *row,
        const struct volume_asked *asked, char ret_operation[UUID_TEXT_SIZE], struct err *e);

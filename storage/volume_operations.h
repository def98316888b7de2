/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work on volumes as operations: create, delete, resize, clone, wipe; and what the API says of a volume.
 *
 * Which operations exclude each other follows from their queue. Work on a volume of a VM is queued with that VM, so the
 * VM neither starts nor changes its disks meanwhile, and a step looks again whether it runs (someone may have started
 * it by hand; QEMU's image lock then refuses one of both). Work on a free volume is queued with the volume; others that
 * would touch it are refused by volume_check_idle. A clone's new row stands on its source from the beginning, also while
 * a full one is copied, so the source cannot be attached, resized, wiped or deleted until that has ended.
 */
#pragma once

#include "operation/operation.h"
#include "storage/volume.h"

enum volume_allocation { VOLUME_THIN, VOLUME_FULL };
extern const char *const volume_allocation_names[]; /* thin, full; NULL-terminated */

/* What a user writes. */
struct volume_spec {
	char *name, *host;   /* owned; host NULL: chosen */
	char *existing_file; /* owned; NULL: a new one is made */
	int format;          /* index into volume_format_names */
	int allocation;      /* enum volume_allocation */
	int64_t size_bytes;
	bool has_format, has_size;
};
extern const char *const volume_format_names[]; /* qcow2, raw; NULL-terminated */
extern const struct field_table volume_write_fields;
extern const struct field_table volume_fields; /* answers */
/* With its chain, as read from `db`. */
int volume_encode(
        struct db *db, const struct volume_row *row, struct json_writer *w, struct err *e);

/* Writer thread, inside a job. Reserves the row and starts volume.create on the request's host. */
int volume_create(struct db *db, struct operation_engine *engine,
        const struct volume_request *request, const struct operation_asked *asked,
        char ret_operation[UUID_TEXT_SIZE], char ret_id[UUID_TEXT_SIZE], struct err *e);
/*
 * Writer thread, inside a job. Starts volume.delete: ERR_IN_USE names the VM whose disk it is, or who stands on it;
 * ERR_BUSY the operation that works on it. A volume whose earlier deletion failed may be deleted again.
 */
int volume_delete(struct db *db, struct operation_engine *engine, const struct volume_row *row,
        const struct operation_asked *asked, char ret_operation[UUID_TEXT_SIZE], struct err *e);
/*
 * Writer thread, inside a job. Starts volume.resize: by the VM's own QEMU if it runs, so that the guest sees it; else by
 * a carrier. ERR_INVALID for less than it has.
 */
int volume_resize(struct db *db, struct operation_engine *engine, const struct volume_row *row,
        int64_t size_bytes, const struct operation_asked *asked, char ret_operation[UUID_TEXT_SIZE],
        struct err *e);
/* Writer thread, inside a job. Starts volume.wipe: all that was written is gone afterwards, what it stood on too. */
int volume_wipe(struct db *db, struct operation_engine *engine, const struct volume_row *row,
        const struct operation_asked *asked, char ret_operation[UUID_TEXT_SIZE], struct err *e);

enum volume_clone_mode { VOLUME_CLONE_FULL, VOLUME_CLONE_LINKED };
extern const char *const volume_clone_mode_names[]; /* full, linked; NULL-terminated */
struct volume_clone_request {
	const char *name;
	const char *pool; /* NULL: the source's */
	const char *
	        host_id; /* NULL: chosen; where it shall lie, or from where shared pools are reached */
	enum volume_clone_mode mode;
	const char *format;       /* NULL: chosen */
	int64_t size_bytes;       /* 0: as the source, rounded up to 1 MiB */
	const char *vm_id, *disk; /* NULL: free-standing */
};
/*
 * Writer thread, inside a job. Reserves the new volume and starts volume.clone. The source is a layer: a volume's top, a
 * frozen one, or an image's copy; it is only read. ERR_IN_USE for the disk of a running VM (full) or of any VM (linked),
 * ERR_LIMIT for a chain that would become too long, ERR_UNSUPPORTED for what the pools cannot do.
 */
int volume_clone_start(struct db *db, struct operation_engine *engine, const char *source_layer_id,
        const struct volume_clone_request *request, const struct operation_asked *asked,
        char ret_operation[UUID_TEXT_SIZE], char ret_id[UUID_TEXT_SIZE], struct err *e);

/*
 * Whether it is ready and nothing works on it: ERR_BUSY names the operation, ERR_WRONG_STATE a deletion that failed.
 * A volume of a VM is busy with the VM's queue; this looks at its own. Any connection.
 */
int volume_check_idle(struct db *db, const struct volume_row *row, struct err *e);
/* Whether one more layer may be put on a chain of `depth` layers: ERR_LIMIT with the numbers. Any thread. */
int volume_check_depth(int64_t depth, struct err *e);

/* ---- set up by daemon/ before any thread uses them ---- */

/* Writer thread, in the transaction that records a disk's new size: the VM's configuration follows. */
typedef int (*volume_resized_hook)(struct db *db, const char *vm_id, const char *disk,
        int64_t size_bytes, void *arg, struct err *e);
void volume_set_resized_hook(volume_resized_hook hook, void *arg);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images: disks that VMs are made from. An image is uploaded or fetched, inspected, converted to qcow2 and kept in
 * the library of this machine; what VMs stand on are copies of it in pools, made when first asked for.
 *
 *	uploading --all bytes are there--+             +--> ready --delete--> deleting --> no row
 *	    ^                            v             |
 *	    |                        importing --------+--> failed --delete--> deleting
 *	created with a URL --------------^                    | (an upload may begin anew)
 *	    ^-------------------------------------------------+
 */
#pragma once

#include "base/field.h"
#include "base/uuid.h"
#include "db/db.h"
#include "operation/operation.h"
#include "storage/image_inspect.h"

struct images; /* storage/image_library.h */

struct image_os {
	char *name, *version; /* owned */
};
/* What a user writes; stored as JSON in image.spec. */
struct image_spec {
	char *name, *description; /* owned */
	struct field_labels labels;
	struct image_os os;
	char *architecture; /* owned; as in a VM */
	int firmware;       /* enum image_firmware */
	int64_t min_memory_bytes;
	char *default_user; /* owned; "" unknown */
	char *vm_defaults;  /* owned; JSON: what a VM made from it begins as; NULL: nothing */
	int format;         /* enum image_format, if has_format */
	bool has_format;
	char *url, *digest; /* owned; NULL: none. digest: "sha256:HEX" */
	int64_t max_bytes;  /* of what is uploaded or fetched; 0: the daemon's own limit */
};
enum image_firmware { IMAGE_FIRMWARE_ANY, IMAGE_FIRMWARE_BIOS, IMAGE_FIRMWARE_UEFI };
extern const char *const image_firmware_names[];     /* any, bios, uefi; NULL-terminated */
extern const struct field_table image_write_fields;  /* POST */
extern const struct field_table image_config_fields; /* stored: without the name */
extern const struct field_table image_fields;        /* answers */
void image_spec_done(struct image_spec *spec);
int image_spec_load(const char *stored, struct image_spec *ret_spec, struct err *e);

struct image_row {
	char id[UUID_TEXT_SIZE];
	struct image_spec spec; /* owned, with the name */
	char state[12];
	char *reason; /* owned */
	char source_format[8];
	char sha256[65];
	int64_t size_bytes, file_bytes, received_bytes, total_bytes, version, created_at;
};
void image_row_done(struct image_row *row);
void image_encode(const struct image_row *row, struct json_writer *w);

/* ---- any connection ---- */
int image_store_get(
        struct db *db, const char *name_or_id, struct image_row *ret_row, struct err *e);
/* Names of what stands on copies of it (volumes), at most 6, separated by commas; "" for nothing. Caller frees. */
int image_store_users(struct db *db, const char *id, char **ret_names, struct err *e);

/* ---- mutations: writer thread, inside a job ---- */

/* *ret_operation is "" without a URL: the content is to be uploaded. */
int image_create(struct db *db, struct images *images, struct operation_engine *engine,
        const struct image_spec *spec, const struct operation_asked *asked,
        char ret_id[UUID_TEXT_SIZE], char ret_operation[UUID_TEXT_SIZE], struct err *e);
/* Merge patch of the metadata; url, digest and format stay as they are (ERR_INVALID). */
int image_update(struct db *db, const struct image_row *row, json_t *patch,
        struct field_errors *errors, struct err *e);
/* The same from a whole body. */
int image_replace(struct db *db, const struct image_row *row, const struct image_spec *spec,
        struct field_errors *errors, struct err *e);
/* ERR_IN_USE names the volumes that stand on its copies; ERR_BUSY. Starts image.delete. */
int image_delete(struct db *db, struct images *images, struct operation_engine *engine,
        const struct image_row *row, const struct operation_asked *asked,
        char ret_operation[UUID_TEXT_SIZE], struct err *e);

/* ---- uploads: writer thread ---- */
struct image_upload_range {
	int64_t first, length, total; /* length, total -1: not told */
};
/*
 * Whether these bytes may come now: ERR_WRONG_STATE, ERR_RANGE with received_bytes in its numbers, ERR_TOO_LARGE,
 * ERR_LIMIT (quota). *ret_max_bytes: what this request may send.
 */
int image_upload_begin(struct db *db, struct images *images, const struct image_row *row,
        const struct image_upload_range *range, int64_t *ret_max_bytes, struct err *e);
/* So many bytes lie in the staging directory, synced. total_bytes -1: as before. */
int image_upload_record(
        struct db *db, const char *id, int64_t received_bytes, int64_t total_bytes, struct err *e);
/* The content is refused: state "failed". */
int image_upload_fail(struct db *db, const char *id, const struct err *error, struct err *e);
/* All is there: starts image.import. */
int image_import_start(struct db *db, struct operation_engine *engine, const struct image_row *row,
        const struct operation_asked *asked, char ret_operation[UUID_TEXT_SIZE], struct err *e);

/* ---- copies in pools: writer thread ---- */
/*
 * The image's copy in a pool: a ready layer, or one that image.copy is making. host_id: where it shall lie, or
 * (shared pool) the host that does the work. *ret_operation is "" when the copy is ready. A second caller gets the
 * operation of the first. ERR_WRONG_STATE unless the image is ready; ERR_UNSUPPORTED for a pool that holds no files.
 */
int image_copy_start(struct db *db, struct operation_engine *engine, const struct image_row *image,
        const char *pool_id, const char *host_id, const struct operation_asked *asked,
        char ret_operation[UUID_TEXT_SIZE], char ret_layer_id[UUID_TEXT_SIZE], struct err *e);
/* After something that stood on layer_id has gone: if that is a copy which nobody makes or waits for, its row goes, too. */
int image_copy_forget_unmade(struct db *db, const char *layer_id, struct err *e);

/* image.import, image.delete, image.copy; their context is struct operation_services with `images`. */
void image_register_kinds(struct operation_engine *engine);

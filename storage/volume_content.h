/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A volume's whole content, byte by byte as it lies in its file: in (volume.upload) or out (volume.download). The bytes move
 * on a bulk thread that belongs to whoever has the other end (a request); the operation keeps the volume meanwhile, so
 * that others queue behind it or are refused, and is what a crash leaves behind.
 *
 *	volume.upload     check -> head -> empty -> transfer      undo of empty: it is made empty again
 *	volume.download   check -> transfer
 *	                    ^        ^                 ^
 *	                    lane     the bulk thread has looked at the first bytes ... has moved the last one
 *
 * Before "empty" nothing is touched, so what is refused leaves the volume as it was. From then on the old content is gone:
 * an upload that fails, is cancelled or was cut off by the end of the process leaves an empty volume, never half of one.
 * What an uploaded raw content does not fill reads as zeroes.
 */
#pragma once

#include "storage/volume_operations.h"

struct bulk;
struct operation_services;
struct volume_content;

enum volume_content_direction { VOLUME_CONTENT_IN, VOLUME_CONTENT_OUT };

/* The other end. Bulk thread, but for cancel. */
struct volume_content_io {
	int64_t (*read)(void *arg, void *bytes, size_t n, struct err *e);    /* IN; 0: the end */
	int (*write)(void *arg, const void *bytes, size_t n, struct err *e); /* OUT */
	/* Any thread: read and write fail with this error from now on. */
	void (*cancel)(void *arg, int rc, const struct err *e);
	bool (*is_cancelled)(void *arg);
	bool (*is_stopping)(void *arg); /* the process ends: nothing is waited for any more */
	void *arg;
};

/*
 * Writer thread, inside a job. Checks and starts the operation; *ret_content is for volume_content_run. ERR_WRONG_STATE when
 * its VM has a process, ERR_UNSUPPORTED for a volume of several layers (OUT), ERR_IN_USE when others stand on it (IN),
 * ERR_BUSY. `length`: what is asked for, or comes; -1: unknown.
 */
int volume_content_begin(struct db *db, struct operation_engine *engine,
        const struct volume_row *row, enum volume_content_direction direction, int64_t length,
        const struct operation_asked *asked, struct volume_content **ret_content, struct err *e);
/* The most an upload may have: a raw volume's size; a qcow2 file with all its tables. Pure. */
int64_t volume_content_max_bytes(const struct volume_row *row);
/* How many bytes a download has, or -1: not known before. Pure. */
int64_t volume_content_length(const struct volume_row *row);

/*
 * Bulk thread, once: waits for the operation's turn, moves all bytes (OUT: `length` from `offset` on, -1: all), and returns
 * when the operation has ended. ERR_UNPROCESSABLE for a qcow2 file that is not harmless or has another size.
 */
int volume_content_run(struct volume_content *content, const struct operation_services *services,
        const struct volume_content_io *io, int64_t offset, int64_t length, struct err *e);
/* Any thread. Without a run before, the operation fails. Accepts NULL. */
void volume_content_unref(struct volume_content *content);

void volume_content_register_kinds(struct operation_engine *engine);

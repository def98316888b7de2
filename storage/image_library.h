/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The image library: a directory of this machine.
 *
 *	DIRECTORY/staging/ID.upload   what is uploaded or fetched, as it comes
 *	DIRECTORY/staging/ID.disk     the disk taken out of an ova
 *	DIRECTORY/staging/ID.qcow2    its conversion under way
 *	DIRECTORY/library/ID.qcow2    what is kept
 *
 * Everything is opened beneath these directories (base/beneath.h) by names made of our ids.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct image_options {
	const char *directory;                             /* its parent exists */
	int64_t max_bytes, max_virtual_bytes, quota_bytes; /* quota 0: none */
	bool allow_private_networks, require_digest;
	const char *qemu_img; /* absolute path */
	int64_t stall_ms;     /* a download that moves nothing for so long is given up; 0: 30 s */
};

/* Immutable but for the running uploads and the claims of room, which have a lock. */
struct images;
/* Start-up. Texts are copied. */
int images_new(const struct image_options *options, struct images **ret_images, struct err *e);
/* After all bulk threads have ended. Accepts NULL. */
void images_free(struct images *images);
const struct image_options *images_options(const struct images *images);

/* One upload of an image at a time: false if one runs. Any thread. */
bool images_claim_upload(struct images *images, const char *id);
void images_release_upload(struct images *images, const char *id);

/* What it takes of the quota although its row does not say so (storage/image_room.h); 0: nothing. Any thread. */
void images_claim_room(struct images *images, const char *id, int64_t bytes);
int64_t images_claimed_room(struct images *images, const char *id);

/* The first of the works under way (storage/image_work.h). Core loop. */
struct image_work;
struct image_work **images_works(struct images *images);
/* Frees those that were dropped at the end. */
void image_works_release(struct image_work *first);

/* ---- files: block; bulk threads and start-up ---- */
enum image_file { IMAGE_FILE_UPLOAD, IMAGE_FILE_DISK, IMAGE_FILE_CONVERTED, IMAGE_FILE_KEPT };
/* `flags` as of open; negative: error, ERR_NOT_FOUND. */
int images_open(const struct images *images, const char *id, enum image_file which, int flags,
        struct err *e);
int images_remove(
        const struct images *images, const char *id, enum image_file which, struct err *e);
/* All that lies in the staging directory for it. */
int images_clear_staging(const struct images *images, const char *id, struct err *e);
/* The synced conversion becomes what is kept. Again: success. */
int images_keep(const struct images *images, const char *id, struct err *e);
/* Whether the disk has room for so many bytes more: ERR_DISK_FULL with the numbers. */
int images_check_room(const struct images *images, int64_t bytes, struct err *e);

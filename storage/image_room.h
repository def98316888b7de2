/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The library's quota (images.quota_bytes). What is there counts by its row. A stream whose end nobody told, and a
 * conversion under way, claim room ahead of the bytes that they write, on the writer thread, where all that take room
 * come one after another: so those that run side by side do not overshoot together. Claims are in memory, for what
 * makes them ends with the process. Who claimed settles it by images_claim_room when the row says what there is.
 */
#pragma once

#include "base/uuid.h"
#include "db/writer.h"
#include "storage/image_library.h"

/* One image's; zero `claimed` at the beginning. Bulk thread. */
struct image_room {
	struct writer *writer; /* borrowed, as the images */
	struct images *images;
	char id[UUID_TEXT_SIZE];
	int64_t claimed; /* what the image may take in all */
};
/* Before the image takes `bytes` in all: ERR_LIMIT when the quota leaves less. Waits for the writer now and then. */
int image_room_take(struct image_room *room, int64_t bytes, struct err *e);

/* Of images.quota_bytes, without what this image itself takes; INT64_MAX: there is no quota. Any connection. */
int image_quota_left(
        struct db *db, struct images *images, const char *id, int64_t *ret_bytes, struct err *e);
/* ERR_LIMIT with the numbers. */
int image_quota_refuse(int64_t asked, int64_t left, struct err *e);

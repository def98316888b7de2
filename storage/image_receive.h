/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Receiving an upload into the staging directory: from a byte on, with the headers looked at as soon as they are
 * there, so that what will be refused is refused early. Blocks; one bulk thread.
 */
#pragma once

#include "base/uuid.h"
#include "storage/image_inspect.h"
#include "storage/image_library.h"

struct image_receiver {
	const struct images *images; /* borrowed */
	char id[UUID_TEXT_SIZE];
	enum image_format format; /* as declared; IMAGE_FORMATS: not */
	int64_t first, total;     /* total -1: not told */
	/* private */
	int fd;
	int64_t received; /* of the whole upload */
	bool is_looked_at;
};

/* Opens the file and cuts it to `first`: what lies beyond was never recorded. ERR_RANGE if it is shorter;
 * ERR_DISK_FULL. */
int image_receiver_open(struct image_receiver *receiver, struct err *e);
/* ERR_UNPROCESSABLE for what will not be taken, ERR_DISK_FULL. */
int image_receiver_take(
        struct image_receiver *receiver, const void *bytes, size_t n, struct err *e);
/* All is there: looked at now, if it was too small before. */
int image_receiver_end(struct image_receiver *receiver, struct err *e);
/* What was taken is durable after it. */
int image_receiver_sync(struct image_receiver *receiver, struct err *e);
/* Drops what came since `first`. */
int image_receiver_rewind(struct image_receiver *receiver, struct err *e);
void image_receiver_close(struct image_receiver *receiver);

/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of table layer; layer.h has what others ask of it. */
#pragma once

#include "storage/layer.h"

struct layer_insert {
	const char *id, *pool_id, *host_id, *file, *format; /* host_id NULL: shared */
	int64_t size_bytes;
	const char *backing_id, *volume_id, *image_id; /* NULL: none */
	int64_t created_at;
};
int layer_store_insert(struct db *db, const struct layer_insert *row, struct err *e);
int layer_store_set_state(struct db *db, const char *id, const char *state, struct err *e);
int layer_store_set_size(struct db *db, const char *id, int64_t size_bytes, struct err *e);
/* backing_id NULL: none. It is not being pulled into any more. */
int layer_store_set_backing(struct db *db, const char *id, const char *backing_id, struct err *e);
int layer_store_set_pulling(struct db *db, const char *id, bool is_pulling, struct err *e);
/* What a merge exchanges. */
/* `id` lies in `file` from now on, which is `place`'s, in its pool and host, with its format. backing_id NULL: on nothing. */
int layer_store_set_file(struct db *db, const char *id, const char *file,
        const struct layer_row *place, const char *backing_id, struct err *e);
int layer_store_delete(struct db *db, const char *id, struct err *e);
/* A layer of that image in that pool (host_id NULL: shared): *ret_id is "" if there is none. */
int layer_store_find_copy(struct db *db, const char *image_id, const char *pool_id,
        const char *host_id, char ret_id[UUID_TEXT_SIZE], struct err *e);

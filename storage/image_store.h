/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of table image; image.h has what others ask of it. */
#pragma once

#include "storage/image.h"

int image_store_insert(struct db *db, const char *id, const char *name, const char *spec,
        const char *state, int64_t created_at, struct err *e);
int image_store_update(
        struct db *db, const char *id, const char *name, const char *spec, struct err *e);
int image_store_set_state(
        struct db *db, const char *id, const char *state, const char *reason, struct err *e);
int image_store_set_received(
        struct db *db, const char *id, int64_t received_bytes, int64_t total_bytes, struct err *e);
struct image_outcome {
	const char *source_format, *sha256;
	int64_t size_bytes, file_bytes, total_bytes;
};
int image_store_set_outcome(
        struct db *db, const char *id, const struct image_outcome *outcome, struct err *e);
int image_store_delete(struct db *db, const char *id, struct err *e);
/* What each image but one takes of the quota, as its row says. */
int image_store_each_used(struct db *db, const char *except_id,
        void (*each)(void *arg, const char *id, int64_t bytes), void *arg, struct err *e);
int image_store_list(struct db *db, const struct db_page *page,
        int (*each)(void *arg, const struct image_row *row), void *arg, struct err *e);

/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of table pool. */
#pragma once

#include "storage/pool.h"

/* By name or UUID; ERR_NOT_FOUND. Any connection. */
int pool_store_get(struct db *db, const char *name_or_id, struct pool_row *ret_row, struct err *e);
/* The same for who needs no more than the id. */
int pool_store_get_id(
        struct db *db, const char *name_or_id, char ret_id[UUID_TEXT_SIZE], struct err *e);
int pool_store_insert(struct db *db, const char *id, const char *name, const char *kind,
        const char *path, int64_t created_at, struct err *e);

/* One page of the list; the row is borrowed for the call. */
int pool_store_list(struct db *db, const struct db_page *page,
        int (*each)(void *arg, const struct pool_row *row), void *arg, struct err *e);

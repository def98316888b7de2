/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of table host_group. */
#pragma once

#include "compute/host_group.h"

/* By name or UUID; ERR_NOT_FOUND. Any connection. */
int host_group_store_get(
        struct db *db, const char *name_or_id, struct host_group_row *ret_row, struct err *e);
int host_group_store_insert(struct db *db, const char *id, const char *name, const char *spec,
        int64_t created_at, struct err *e);
int host_group_store_update(
        struct db *db, const char *id, const char *name, const char *spec, struct err *e);
int host_group_store_delete(struct db *db, const char *id, struct err *e);
/* The names of up to `max` hosts in it, joined by ", "; *ret_names is owned, "" if there is none.
 */
int host_group_store_hosts(
        struct db *db, const char *id, int64_t max, char **ret_names, struct err *e);

/* One page of the list; the row is borrowed for the call. */
int host_group_store_list(struct db *db, const struct db_page *page,
        int (*each)(void *arg, const struct host_group_row *row), void *arg, struct err *e);

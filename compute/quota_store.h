/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of table quota, and what VMs use of them. */
#pragma once

#include "compute/quota.h"

int quota_store_get(
        struct db *db, const char *name_or_id, struct quota_row *ret_row, struct err *e);
int quota_store_list(struct db *db, const struct db_page *page,
        int (*each)(void *arg, const struct quota_row *row), void *arg, struct err *e);
int quota_store_insert(struct db *db, const char *id, const char *name, const char *spec,
        int64_t created_at, struct err *e);
int quota_store_update(
        struct db *db, const char *id, const char *name, const char *spec, struct err *e);
int quota_store_delete(struct db *db, const char *id, struct err *e);
/* Managed VMs that carry all of the labels, and their volumes. */
int quota_store_usage(struct db *db, const struct field_labels *labels,
        struct quota_usage *ret_usage, struct err *e);

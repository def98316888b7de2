/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of snapshot groups share. */
#pragma once

#include "compute/snapshot_group.h"

/* Reads the stored form; released by the caller in any case. */
int snapshot_group_load(const char *stored, struct snapshot_group_spec *ret_spec, struct err *e);
int snapshot_group_add_change(
        struct db *db, const char *event, const char *id, const char *name, struct err *e);
extern const struct operation_kind snapshot_group_create_kind, snapshot_group_delete_kind;

/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of snapshot policies share. */
#pragma once

#include "compute/snapshot_policy.h"

/* Reads the stored form; released by the caller in any case. */
int snapshot_policy_load(const char *stored, struct snapshot_policy_spec *ret_spec, struct err *e);
int snapshot_policy_add_change(
        struct db *db, const char *event, const char *id, const char *name, struct err *e);
extern const struct operation_kind snapshot_policy_run_kind;

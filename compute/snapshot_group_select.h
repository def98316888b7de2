/* SPDX-License-Identifier: Apache-2.0 */
/* Which VMs a snapshot group or a snapshot policy is about: those it names, and those that carry all of its labels. */
#pragma once

#include "base/field.h"
#include "base/uuid.h"
#include "db/db.h"

struct snapshot_selector {
	struct field_strings vms; /* names or ids */
	struct field_labels labels;
};
extern const struct field_table snapshot_selector_fields;

struct snapshot_selection {
	char (*ids)[UUID_TEXT_SIZE]; /* owned, sorted, each once */
	size_t len;
};
void snapshot_selection_done(struct snapshot_selection *selection);
/* ERR_INVALID at `pointer` if it selects nothing by its form. Pure. */
int snapshot_selector_check(
        const struct snapshot_selector *selector, const char *pointer, struct err *e);
/*
 * The managed VMs it means now. `is_strict`: ERR_REFERENCE for a named VM that is not there; else it is left out. Any
 * connection; looks through all VMs if there are labels.
 */
int snapshot_select(struct db *db, const struct snapshot_selector *selector, bool is_strict,
        struct snapshot_selection *ret_selection, struct err *e);

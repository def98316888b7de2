/* SPDX-License-Identifier: Apache-2.0 */
/* What the operations of images share with their rules. */
#pragma once

#include "storage/image.h"
#include "storage/image_library.h"

extern const struct operation_kind image_import_kind, image_delete_kind, image_copy_kind;

/* Writer thread, inside a job; both add their change. */
int image_set_state(struct db *db, const char *id, const char *name, const char *state,
        const char *reason, struct err *e);
int image_forget(struct db *db, const char *id, const char *name, struct err *e);
/* What may be uploaded or fetched for it. Pure. */
int64_t image_max_bytes(const struct image_options *options, const struct image_spec *spec);

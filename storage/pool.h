/* SPDX-License-Identifier: Apache-2.0 */
/* Pools: where volumes lie. This version has one, a directory that each host has a copy of. */
#pragma once

#include "base/field.h"
#include "base/uuid.h"
#include "db/db.h"

#define POOL_DEFAULT_NAME "default"

struct pool_row {
	char id[UUID_TEXT_SIZE];
	char *name, *kind, *path; /* owned */
	int64_t volumes;          /* how many are in it, on all hosts */
	int64_t version, created_at;
};
void pool_row_done(struct pool_row *row);
extern const struct field_table pool_fields; /* answers */
void pool_encode(const struct pool_row *row, struct json_writer *w);

/* pool_ensure_default and pool_libvirt_name: storage/volume.h. */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Quotas: what all VMs that carry certain labels may be configured for together, whether they run or not. Checked in the
 * transaction of each change that asks for more, after its rows are written: they are counted like all others.
 */
#pragma once

#include "base/field.h"
#include "base/uuid.h"
#include "compute/vm_spec.h"
#include "db/db.h"
#include "storage/volume.h"

struct quota_selector {
	struct field_labels labels;
};
struct quota_limits {
	int64_t vcpus, memory_bytes, disk_bytes, vms;
	bool has_vcpus, has_memory, has_disk, has_vms;
};
struct quota_spec {
	char *name; /* owned; a column of its own */
	struct quota_selector selector;
	struct quota_limits limits;
};
extern const struct field_table quota_config_fields; /* stored */
extern const struct field_table quota_write_fields;  /* POST, PUT */
extern const struct field_table quota_fields;        /* answers */
void quota_spec_done(struct quota_spec *spec);

struct quota_usage {
	int64_t vcpus, memory_bytes, disk_bytes, vms;
};

struct quota_row {
	char id[UUID_TEXT_SIZE];
	struct quota_spec spec; /* owned, with the name */
	int64_t version, created_at;
};
void quota_row_done(struct quota_row *row);
int quota_load(const char *stored, struct quota_spec *ret_spec, struct err *e);
/* With what the selected VMs use now. */
int quota_encode(struct db *db, const struct quota_row *row, struct json_writer *w, struct err *e);

/* Mutations: writer thread, inside a job. A quota that is exceeded already is accepted: nothing grows from then on. */
int quota_create(struct db *db, const struct quota_spec *spec, char ret_id[UUID_TEXT_SIZE],
        struct field_errors *errors, struct err *e);
int quota_replace(struct db *db, const struct quota_row *row, const struct quota_spec *spec,
        struct field_errors *errors, struct err *e);
int quota_update(struct db *db, const struct quota_row *row, json_t *patch,
        struct field_errors *errors, struct err *e);
int quota_delete(struct db *db, const struct quota_row *row, struct err *e);

enum quota_when {
	QUOTA_WRITTEN, /* `more` is in the rows already */
	QUOTA_TO_COME, /* it will be, at the end of an operation */
};
/*
 * A VM with these labels asks for so much more than it had: ERR_LIMIT names the quota, what is used and what is allowed.
 * Amounts that do not grow are not looked at. Writer.
 */
int quota_check(struct db *db, const struct field_labels *labels, const struct quota_usage *more,
        enum quota_when when, struct err *e);
/* A volume of a VM shall grow to that size. */
int quota_check_disk(
        struct db *db, const struct volume_row *volume, int64_t size_bytes, struct err *e);
/* What a configuration counts for; disks are counted by their volumes, so only as far as their size is known. */
struct quota_usage quota_of_spec(const struct vm_spec *spec);
/* `now` beyond `before`; with other labels than before all of it is more. */
struct quota_usage quota_more(const struct vm_spec *before, const struct vm_spec *now);

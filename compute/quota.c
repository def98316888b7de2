/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of quotas. */
#include "compute/quota.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "base/vec.h"
#include "compute/quota_store.h"
#include "compute/vm_store.h"
#include "db/change_feed.h"
#include "storage/pool_store.h"

/* ---- fields ---- */

static const struct field selector_fields[] = {
        {.name = "labels",
                .type = FIELD_LABELS,
                .offset = offsetof(struct quota_selector, labels),
                .max = 16,
                .doc = "VMs that carry all of these; none: all VMs"},
};
static const struct field_table selector_table =
        FIELD_TABLE("QuotaSelector", struct quota_selector, selector_fields);

#define LIMIT(member, has_member, text)                                                            \
	{                                                                                          \
		.name = #member, .type = FIELD_INT,                                                \
		.offset = offsetof(struct quota_limits, member),                                   \
		.present = offsetof(struct quota_limits, has_member), .min = 0, .max = INT64_MAX,  \
		.doc = text                                                                        \
	}
static const struct field limit_fields[] = {
        LIMIT(vcpus, has_vcpus, "Configured vCPUs; absent: no limit"),
        LIMIT(memory_bytes, has_memory, "Configured memory; absent: no limit"),
        LIMIT(disk_bytes, has_disk, "Sizes of volumes; absent: no limit"),
        LIMIT(vms, has_vms, "How many VMs; absent: no limit"),
};
static const struct field_table limits_table =
        FIELD_TABLE("QuotaLimits", struct quota_limits, limit_fields);

#define OF(member) .offset = offsetof(struct quota_spec, member)
#define NAME_FIELD                                                                                 \
	{                                                                                          \
		.name = "name", .type = FIELD_STRING, OF(name), .flags = FIELD_REQUIRED,           \
		.max = 63, .check = field_check_name, .format = "^[a-z][a-z0-9-]{0,62}$",          \
		.doc = "Unique name"                                                               \
	}
#define CONFIG_FIELDS                                                                              \
	{.name = "selector",                                                                       \
	        .type = FIELD_OBJECT,                                                              \
	        OF(selector),                                                                      \
	        .sub = &selector_table,                                                            \
	        .doc = "Which VMs it counts"},                                                     \
	{                                                                                          \
		.name = "limits", .type = FIELD_OBJECT, OF(limits), .sub = &limits_table,          \
		.doc = "What they may have together, stopped ones included"                        \
	}

static const struct field config_fields[] = {CONFIG_FIELDS};
const struct field_table quota_config_fields =
        FIELD_TABLE("QuotaConfig", struct quota_spec, config_fields);
static const struct field write_fields[] = {NAME_FIELD, CONFIG_FIELDS};
const struct field_table quota_write_fields =
        FIELD_TABLE("QuotaWrite", struct quota_spec, write_fields);

#define READ_ONLY .flags = FIELD_READ_ONLY
static const struct field usage_fields[] = {
        {.name = "vcpus", .type = FIELD_INT, READ_ONLY, .doc = "Configured vCPUs"},
        {.name = "memory_bytes", .type = FIELD_INT, READ_ONLY, .doc = "Configured memory"},
        {.name = "disk_bytes", .type = FIELD_INT, READ_ONLY, .doc = "Sizes of volumes"},
        {.name = "vms", .type = FIELD_INT, READ_ONLY, .doc = "How many VMs"},
};
static const struct field_table usage_table =
        FIELD_TABLE("QuotaUsage", struct quota_usage, usage_fields);
static const struct field answer_fields[] = {
        {.name = "id", .type = FIELD_STRING, READ_ONLY, .doc = "UUID"},
        NAME_FIELD,
        CONFIG_FIELDS,
        {.name = "usage",
                .type = FIELD_OBJECT,
                .sub = &usage_table,
                READ_ONLY,
                .doc = "What those VMs have now"},
        {.name = "created_at", .type = FIELD_TIME, READ_ONLY, .doc = "Time of creation"},
        {.name = "version",
                .type = FIELD_INT,
                READ_ONLY,
                .doc = "Counts changes of the configuration"},
};
const struct field_table quota_fields = FIELD_TABLE("Quota", struct quota_spec, answer_fields);

void quota_spec_done(struct quota_spec *spec)
{
	field_release(&quota_write_fields, spec);
}

void quota_row_done(struct quota_row *row)
{
	quota_spec_done(&row->spec);
}

int quota_load(const char *stored, struct quota_spec *ret_spec, struct err *e)
{
	struct field_errors errors = {0};
	json_t *json CLEANUP(cleanup_json) = json_loads(stored, 0, NULL);
	if (!json || field_decode(&quota_config_fields, json, FIELD_DECODE_STORED, ret_spec,
	                     &errors) < 0)
		return err_set(e, ERR_INTERNAL, "a stored quota is invalid: %s", stored);
	return 0;
}

static char *stored_form(const struct quota_spec *spec)
{
	struct json_writer w = {0};
	field_encode(&quota_config_fields, spec, FIELD_ENCODE_STORE, &w);
	return str_take(&w.out);
}

int quota_encode(struct db *db, const struct quota_row *row, struct json_writer *w, struct err *e)
{
	struct quota_usage usage;
	int rc = quota_store_usage(db, &row->spec.selector.labels, &usage, e);
	if (rc < 0)
		return rc;
	json_object_begin(w);
	json_member_string(w, "id", row->id);
	json_member_string(w, "name", row->spec.name);
	field_encode_members(&quota_config_fields, &row->spec, FIELD_ENCODE_ANSWER, w);
	json_key(w, "usage");
	json_object_begin(w);
	json_member_int(w, "vcpus", usage.vcpus);
	json_member_int(w, "memory_bytes", usage.memory_bytes);
	json_member_int(w, "disk_bytes", usage.disk_bytes);
	json_member_int(w, "vms", usage.vms);
	json_object_end(w);
	json_member_time(w, "created_at", row->created_at);
	json_member_int(w, "version", row->version);
	json_object_end(w);
	return 0;
}

/* ---- mutations ---- */

static int add_change(
        struct db *db, const char *event, const char *id, const char *name, struct err *e)
{
	const struct change change = {
	        .kind = "quota", .event = event, .object_id = id, .name = name};
	return change_add(db, &change, e);
}

static int name_taken(int rc, const char *name, struct err *e)
{
	return rc == ERR_EXISTS
	               ? err_set_at(e, ERR_EXISTS, "/name", "a quota named %s exists", name)
	               : rc;
}

static int check(const struct quota_spec *spec, struct field_errors *errors)
{
	const struct quota_limits *limits = &spec->limits;
	if (limits->has_vcpus || limits->has_memory || limits->has_disk || limits->has_vms)
		return 0;
	field_errors_add(errors, "missing", "/limits", "must limit something");
	return ERR_INVALID;
}

int quota_create(struct db *db, const struct quota_spec *spec, char ret_id[UUID_TEXT_SIZE],
        struct field_errors *errors, struct err *e)
{
	int rc = check(spec, errors);
	if (rc < 0)
		return rc;
	uuid_make(ret_id);
	char *stored CLEANUP(cleanup_free) = stored_form(spec);
	rc = quota_store_insert(db, ret_id, spec->name, stored, clock_wall_ms(), e);
	return rc < 0 ? name_taken(rc, spec->name, e)
	              : add_change(db, "created", ret_id, spec->name, e);
}

int quota_replace(struct db *db, const struct quota_row *row, const struct quota_spec *spec,
        struct field_errors *errors, struct err *e)
{
	int rc = check(spec, errors);
	if (rc < 0)
		return rc;
	char *stored CLEANUP(cleanup_free) = stored_form(spec);
	rc = quota_store_update(db, row->id, spec->name, stored, e);
	return rc < 0 ? name_taken(rc, spec->name, e)
	              : add_change(db, "updated", row->id, spec->name, e);
}

int quota_update(struct db *db, const struct quota_row *row, json_t *patch,
        struct field_errors *errors, struct err *e)
{
	struct quota_spec spec CLEANUP(quota_spec_done) = {0};
	char *stored CLEANUP(cleanup_free) = stored_form(&row->spec);
	json_t *before CLEANUP(cleanup_json) = json_loads(stored, 0, NULL);
	json_object_set_new(before, "name", json_string(row->spec.name));
	json_t *after CLEANUP(cleanup_json) = field_merge_patch(before, patch);
	int rc = field_decode(&quota_write_fields, after, FIELD_DECODE_CREATE, &spec, errors);
	return rc < 0 ? err_set(e, rc, "the patch does not lead to a valid quota")
	              : quota_replace(db, row, &spec, errors, e);
}

int quota_delete(struct db *db, const struct quota_row *row, struct err *e)
{
	int rc = quota_store_delete(db, row->id, e);
	return rc < 0 ? rc : add_change(db, "deleted", row->id, row->spec.name, e);
}

/* ---- the check ---- */

/* The amounts that are limited, by name. */
static const struct amount {
	const char *name, *pointer;
	size_t usage, limit, has;
} amounts[] = {
#define AMOUNT(member, has_member, at)                                                             \
	{                                                                                          \
#member, at, offsetof(struct quota_usage, member),                                 \
		        offsetof(struct quota_limits, member),                                     \
		        offsetof(struct quota_limits, has_member)                                  \
	}
        AMOUNT(vms, has_vms, ""),
        AMOUNT(vcpus, has_vcpus, "/cpu/count"),
        AMOUNT(memory_bytes, has_memory, "/memory/size_bytes"),
        AMOUNT(disk_bytes, has_disk, "/disks"),
};

static int64_t get(const void *object, size_t offset)
{
	return *(const int64_t *)(const void *)((const char *)object + offset);
}

static int refuse(const struct quota_row *row, const struct amount *amount, int64_t used,
        int64_t asked, struct err *e)
{
	int64_t limit = get(&row->spec.limits, amount->limit);
	err_set_at(e, ERR_LIMIT, amount->pointer,
	        "quota %s allows %lld %s: %lld are taken and %lld more were asked for",
	        row->spec.name, (long long)limit, amount->name, (long long)(used - asked),
	        (long long)asked);
	err_numbers(e, "{\"quota\":\"%s\",\"%s\":{\"limit\":%lld,\"used\":%lld,\"asked\":%lld}}",
	        row->spec.name, amount->name, (long long)limit, (long long)(used - asked),
	        (long long)asked);
	return err_hint(e, "ask for at most %lld more, delete or shrink a VM, or raise the quota",
	        (long long)(limit > used - asked ? limit - (used - asked) : 0));
}

struct checking {
	struct db *db;
	const struct field_labels *labels;
	const struct quota_usage *more;
	enum quota_when when;
	struct err *e;
};

static int check_one(const struct checking *c, const struct quota_row *row)
{
	struct quota_usage usage;
	int rc = quota_store_usage(c->db, &row->spec.selector.labels, &usage, c->e);
	for (size_t i = 0; i < ARRAY_LEN(amounts) && rc == 0; i++) {
		const struct amount *amount = &amounts[i];
		bool is_limited = *((const char *)&row->spec.limits + amount->has) != 0;
		int64_t asked = get(c->more, amount->usage);
		int64_t used = get(&usage, amount->usage) + (c->when == QUOTA_TO_COME ? asked : 0);
		if (is_limited && asked > 0 && used > get(&row->spec.limits, amount->limit))
			rc = refuse(row, amount, used, asked, c->e);
	}
	return rc;
}

static bool carries(const struct field_labels *labels, const struct field_label *wanted)
{
	for (size_t i = 0; i < labels->len; i++)
		if (strcmp(labels->items[i].key, wanted->key) == 0)
			return strcmp(labels->items[i].value, wanted->value) == 0;
	return false;
}

static bool selects(const struct quota_selector *selector, const struct field_labels *labels)
{
	for (size_t i = 0; i < selector->labels.len; i++)
		if (!carries(labels, &selector->labels.items[i]))
			return false;
	return true;
}

static int check_if_selected(void *arg, const struct quota_row *row)
{
	const struct checking *c = arg;
	return selects(&row->spec.selector, c->labels) ? check_one(c, row) : 0;
}

int quota_check(struct db *db, const struct field_labels *labels, const struct quota_usage *more,
        enum quota_when when, struct err *e)
{
	const struct db_page all = {
	        .where = "", .order = "ORDER BY quota.name", .limit = INT32_MAX};
	struct checking checking = {.db = db, .labels = labels, .more = more, .when = when, .e = e};
	if (more->vcpus <= 0 && more->memory_bytes <= 0 && more->disk_bytes <= 0 && more->vms <= 0)
		return 0;
	return quota_store_list(db, &all, check_if_selected, &checking, e);
}

struct quota_usage quota_of_spec(const struct vm_spec *spec)
{
	struct quota_usage usage = {
	        .vcpus = spec->cpu.count,
	        .memory_bytes = spec->memory.size_bytes,
	        .vms = 1,
	};
	for (size_t i = 0; i < spec->disks.len; i++)
		usage.disk_bytes += vm_spec_disk(spec, i)->size_bytes;
	return usage;
}

static bool same_labels(const struct field_labels *a, const struct field_labels *b)
{
	for (size_t i = 0; i < a->len; i++)
		if (!carries(b, &a->items[i]))
			return false;
	return a->len == b->len;
}

struct quota_usage quota_more(const struct vm_spec *before, const struct vm_spec *now)
{
	struct quota_usage more = quota_of_spec(now), had = quota_of_spec(before);
	if (!same_labels(&before->labels, &now->labels))
		return more;
	more.vcpus -= had.vcpus;
	more.memory_bytes -= had.memory_bytes;
	more.disk_bytes -= had.disk_bytes;
	more.vms = 0;
	return more;
}

/* By how much the volume grows already, which is counted as used. */
struct volume_growth {
	const char *volume_id;
	int64_t bytes;
};

static int note_growth(void *arg, const struct pool_growing *growing, struct err *e)
{
	struct volume_growth *growth = arg;
	(void)e;
	if (strcmp(growing->volume_id, growth->volume_id) == 0)
		growth->bytes = growing->more_bytes;
	return 0;
}

int quota_check_disk(
        struct db *db, const struct volume_row *volume, int64_t size_bytes, struct err *e)
{
	struct vm_row row CLEANUP(vm_row_done) = {0};
	struct vm_spec spec CLEANUP(vm_spec_done) = {0};
	struct volume_growth growth = {.volume_id = volume->id};
	int rc = vm_store_get(db, volume->vm_id, &row, e);
	if (rc == 0)
		rc = vm_spec_load(row.spec, &spec, e);
	if (rc == 0)
		rc = pool_store_each_growing(db, volume->pool_id, NULL, note_growth, &growth, e);
	if (rc < 0)
		return rc;
	const struct quota_usage more = {
	        .disk_bytes = size_bytes - volume->size_bytes - growth.bytes};
	return quota_check(db, &spec.labels, &more, QUOTA_TO_COME, e);
}

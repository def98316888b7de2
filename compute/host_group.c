/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of host groups. */
#include "compute/host_group.h"

#include <math.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "compute/host_group_store.h"
#include "db/change_feed.h"

#define CPU_RATIO_MAX    64.0
#define MEMORY_RATIO_MAX 8.0
#define TIB              ((int64_t)1 << 40)

static const char *const mode_names[] = {"strict", "ratio", "balloon", NULL};
static const char *const policy_names[] = {"spread", "pack", NULL};

static const struct field overcommit_fields[] = {
        {.name = "cpu_ratio",
                .type = FIELD_REAL,
                .offset = offsetof(struct host_overcommit, cpu_ratio),
                .real_min = 1.0,
                .real_max = CPU_RATIO_MAX,
                .default_text = "4.0",
                .doc = "Configured vCPUs per CPU thread"},
        {.name = "memory_ratio",
                .type = FIELD_REAL,
                .offset = offsetof(struct host_overcommit, memory_ratio),
                .real_min = 1.0,
                .real_max = MEMORY_RATIO_MAX,
                .default_text = "1.0",
                .doc = "Configured memory per byte of the host's, beyond its reserve"},
        {.name = "mode",
                .type = FIELD_ENUM,
                .offset = offsetof(struct host_overcommit, mode),
                .names = mode_names,
                .default_text = "\"strict\"",
                .doc = "strict: every byte is backed; ratio: up to memory_ratio; balloon: guests "
                       "give back what others need"},
};
static const struct field_table overcommit_table =
        FIELD_TABLE("HostGroupOvercommit", struct host_overcommit, overcommit_fields);

static const struct field reserve_fields[] = {
        {.name = "memory_bytes",
                .type = FIELD_INT,
                .offset = offsetof(struct host_reserve, memory_bytes),
                .min = 0,
                .max = 16 * TIB,
                .doc = "Bytes of each host that no VM gets"},
        {.name = "cpu_percent",
                .type = FIELD_INT,
                .offset = offsetof(struct host_reserve, cpu_percent),
                .min = 0,
                .max = 90,
                .doc = "Percentage of each host's CPU threads that no VM gets"},
};
static const struct field_table reserve_table =
        FIELD_TABLE("HostGroupReserve", struct host_reserve, reserve_fields);

static const struct field placement_fields[] = {
        {.name = "policy",
                .type = FIELD_ENUM,
                .offset = offsetof(struct host_placement, policy),
                .names = policy_names,
                .default_text = "\"spread\"",
                .doc = "spread: the emptiest host first; pack: the fullest that fits"},
        {.name = "survive_host_loss",
                .type = FIELD_INT,
                .offset = offsetof(struct host_placement, survive_host_loss),
                .min = 0,
                .max = 1,
                .doc = "Hosts that may fail while the others still have room for every VM"},
};
static const struct field_table placement_table =
        FIELD_TABLE("HostGroupPlacement", struct host_placement, placement_fields);

/* The defaults are those of balloon_policy_default. */
#define BALLOON(member) .offset = offsetof(struct balloon_policy, member)
static const struct field balloon_fields[] = {
        {.name = "enabled",
                .type = FIELD_BOOL,
                BALLOON(enabled),
                .default_text = "true",
                .doc = "Whether memory is moved between guests (mode balloon)"},
        {.name = "margin_percent",
                .type = FIELD_INT,
                BALLOON(margin_percent),
                .min = 0,
                .max = 100,
                .default_text = "12",
                .doc = "Room that a guest is left above what it uses, in percent of that"},
        {.name = "margin_bytes",
                .type = FIELD_INT,
                BALLOON(margin_bytes),
                .min = 0,
                .max = TIB,
                .default_text = "33554432",
                .doc = "And at least this much"},
        {.name = "step_percent",
                .type = FIELD_INT,
                BALLOON(step_percent),
                .min = 1,
                .max = 100,
                .default_text = "10",
                .doc = "The most that a guest is asked for at once while there is no hurry, in "
                       "percent of its size"},
        {.name = "idle_tax_percent",
                .type = FIELD_INT,
                BALLOON(idle_tax_percent),
                .min = 0,
                .max = 95,
                .default_text = "75",
                .doc = "How much more idle memory weighs when it is decided who gives: 1 / (1 - "
                       "tax); 0: as much as used memory"},
        {.name = "pool_percent",
                .type = FIELD_INT,
                BALLOON(pool_percent),
                .min = 0,
                .max = 50,
                .default_text = "4",
                .doc = "Kept free for guests that grow suddenly, in percent of what all may have"},
};
static const struct field_table balloon_table =
        FIELD_TABLE("HostGroupBalloon", struct balloon_policy, balloon_fields);

#define NAME_FIELD                                                                                 \
	{                                                                                          \
		.name = "name", .type = FIELD_STRING,                                              \
		.offset = offsetof(struct host_group_spec, name), .flags = FIELD_REQUIRED,         \
		.max = 63, .check = field_check_name, .format = "^[a-z][a-z0-9-]{0,62}$",          \
		.doc = "Unique name"                                                               \
	}
#define CONFIG_FIELDS                                                                              \
	{.name = "overcommit",                                                                     \
	        .type = FIELD_OBJECT,                                                              \
	        .offset = offsetof(struct host_group_spec, overcommit),                            \
	        .sub = &overcommit_table,                                                          \
	        .doc = "How much more may be configured than there is"},                           \
	        {.name = "host_reserve",                                                           \
	                .type = FIELD_OBJECT,                                                      \
	                .offset = offsetof(struct host_group_spec, host_reserve),                  \
	                .sub = &reserve_table,                                                     \
	                .doc = "What is kept for the hosts themselves"},                           \
	        {.name = "placement",                                                              \
	                .type = FIELD_OBJECT,                                                      \
	                .offset = offsetof(struct host_group_spec, placement),                     \
	                .sub = &placement_table,                                                   \
	                .doc = "How hosts are chosen for VMs"},                                    \
	{                                                                                          \
		.name = "balloon", .type = FIELD_OBJECT,                                           \
		.offset = offsetof(struct host_group_spec, balloon), .sub = &balloon_table,        \
		.doc = "How memory moves between guests"                                           \
	}

static const struct field config_fields[] = {CONFIG_FIELDS};
const struct field_table host_group_config_fields =
        FIELD_TABLE("HostGroupConfig", struct host_group_spec, config_fields);

static const struct field write_fields[] = {NAME_FIELD, CONFIG_FIELDS};
const struct field_table host_group_write_fields =
        FIELD_TABLE("HostGroupWrite", struct host_group_spec, write_fields);

/* Described here, written by host_group_encode. */
#define READ_ONLY .flags = FIELD_READ_ONLY
static const struct field answer_fields[] = {
        {.name = "id", .type = FIELD_STRING, READ_ONLY, .doc = "UUID"},
        {.name = "name",
                .type = FIELD_STRING,
                .offset = offsetof(struct host_group_spec, name),
                .doc = "Unique name"},
        CONFIG_FIELDS,
        {.name = "hosts", .type = FIELD_INT, READ_ONLY, .doc = "How many hosts are in it"},
        {.name = "created_at", .type = FIELD_TIME, READ_ONLY, .doc = "Time of creation"},
        {.name = "version",
                .type = FIELD_INT,
                READ_ONLY,
                .doc = "Counts changes of the configuration"},
};
const struct field_table host_group_fields =
        FIELD_TABLE("HostGroup", struct host_group_spec, answer_fields);

void host_group_spec_done(struct host_group_spec *spec)
{
	field_release(&host_group_write_fields, spec);
}

void host_group_row_done(struct host_group_row *row)
{
	host_group_spec_done(&row->spec);
}

void host_group_encode(const struct host_group_row *row, struct json_writer *w)
{
	json_object_begin(w);
	json_member_string(w, "id", row->id);
	json_member_string(w, "name", row->spec.name);
	field_encode_members(&host_group_config_fields, &row->spec, FIELD_ENCODE_ANSWER, w);
	json_member_int(w, "hosts", row->hosts);
	json_member_time(w, "created_at", row->created_at);
	json_member_int(w, "version", row->version);
	json_object_end(w);
}

static int check_ratio(double ratio, double max, const char *pointer, struct err *e)
{
	/* Written so that not-a-number, which compares false with everything, is refused. */
	if (ratio >= 1.0 && ratio <= max)
		return 0;
	return err_set_at(e, ERR_INVALID, pointer, "must be from 1 to %g, not %g", max, ratio);
}

int host_group_check(const struct host_group_spec *spec, struct err *e)
{
	int rc = check_ratio(spec->overcommit.cpu_ratio, CPU_RATIO_MAX, "/overcommit/cpu_ratio", e);
	if (rc < 0)
		return rc;
	return check_ratio(
	        spec->overcommit.memory_ratio, MEMORY_RATIO_MAX, "/overcommit/memory_ratio", e);
}

int host_group_load(const char *stored, struct host_group_spec *ret_spec, struct err *e)
{
	struct field_errors errors = {0};
	json_t *json = json_loads(stored, 0, NULL);
	if (!json)
		return err_set(e, ERR_INTERNAL, "a stored host group is not JSON");
	int rc = field_decode(
	        &host_group_config_fields, json, FIELD_DECODE_STORED, ret_spec, &errors);
	json_decref(json);
	if (rc < 0)
		return err_set(e, ERR_INTERNAL, "a stored host group is invalid at %s: %s",
		        errors.items[0].pointer, errors.items[0].detail);
	return 0;
}

static char *stored_form(const struct host_group_spec *spec)
{
	struct json_writer w = {0};
	field_encode(&host_group_config_fields, spec, FIELD_ENCODE_STORE, &w);
	return str_take(&w.out);
}

static int name_taken(int rc, const char *name, struct err *e)
{
	if (rc != ERR_EXISTS)
		return rc;
	return err_set_at(e, ERR_EXISTS, "/name", "a host group named \"%s\" exists", name);
}

static int add_change(
        struct db *db, const char *event, const char *id, const char *name, struct err *e)
{
	struct change change = {
	        .kind = "host_group", .event = event, .object_id = id, .name = name};
	return change_add(db, &change, e);
}

int host_group_create(struct db *db, const struct host_group_spec *spec,
        char ret_id[UUID_TEXT_SIZE], struct err *e)
{
	int rc = host_group_check(spec, e);
	if (rc < 0)
		return rc;
	char id[UUID_TEXT_SIZE];
	uuid_make(id);
	CLEANUP(cleanup_free) char *stored = stored_form(spec);
	rc = host_group_store_insert(db, id, spec->name, stored, clock_wall_ms(), e);
	if (rc < 0)
		return name_taken(rc, spec->name, e);
	snprintf(ret_id, UUID_TEXT_SIZE, "%s", id);
	return add_change(db, "created", id, spec->name, e);
}

int host_group_replace(struct db *db, const struct host_group_row *row,
        const struct host_group_spec *spec, struct err *e)
{
	if (str_equal(row->id, HOST_GROUP_DEFAULT_ID) && !str_equal(spec->name, row->spec.name))
		return err_set_at(
		        e, ERR_PROTECTED, "/name", "the default host group keeps its name");
	int rc = host_group_check(spec, e);
	if (rc < 0)
		return rc;
	CLEANUP(cleanup_free) char *stored = stored_form(spec);
	rc = host_group_store_update(db, row->id, spec->name, stored, e);
	if (rc < 0)
		return name_taken(rc, spec->name, e);
	return add_change(db, "updated", row->id, spec->name, e);
}

/* The spec that `row` has after the patch. */
static int merge(const struct host_group_row *row, json_t *patch, struct host_group_spec *ret_spec,
        struct field_errors *errors, struct err *e)
{
	struct json_writer w = {0};
	field_encode(&host_group_write_fields, &row->spec, FIELD_ENCODE_STORE, &w);
	json_t *before = json_loads(str_text(&w.out), 0, NULL);
	json_writer_done(&w);
	json_t *after = field_merge_patch(before, patch);
	int rc = field_decode(
	        &host_group_write_fields, after, FIELD_DECODE_CREATE, ret_spec, errors);
	json_decref(before);
	json_decref(after);
	return rc < 0 ? err_set(e, rc, "the patch does not lead to a valid host group") : 0;
}

int host_group_update(struct db *db, const struct host_group_row *row, json_t *patch,
        struct field_errors *errors, struct err *e)
{
	CLEANUP(host_group_spec_done) struct host_group_spec spec = {0};
	int rc = merge(row, patch, &spec, errors, e);
	return rc < 0 ? rc : host_group_replace(db, row, &spec, e);
}

int host_group_delete(struct db *db, const struct host_group_row *row, struct err *e)
{
	if (str_equal(row->id, HOST_GROUP_DEFAULT_ID))
		return err_set(e, ERR_PROTECTED, "the default host group cannot be removed");
	CLEANUP(cleanup_free) char *hosts = NULL;
	int rc = host_group_store_hosts(db, row->id, 5, &hosts, e);
	if (rc < 0)
		return rc;
	if (hosts[0]) {
		err_set(e, ERR_IN_USE, "host group \"%s\" still has %lld hosts: %s%s",
		        row->spec.name, (long long)row->hosts, hosts,
		        row->hosts > 5 ? ", ..." : "");
		err_numbers(e, "{\"hosts\":%lld}", (long long)row->hosts);
		return err_hint(e, "move its hosts to another group first");
	}
	rc = host_group_store_delete(db, row->id, e);
	return rc < 0 ? rc : add_change(db, "deleted", row->id, row->spec.name, e);
}

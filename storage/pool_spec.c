/* SPDX-License-Identifier: Apache-2.0 */
/* What a user wrote of a pool: checked by its kind, stored and loaded. Pure. */
#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/json_writer.h"
#include "base/str.h"
#include "storage/pool.h"

void pool_spec_done(struct pool_spec *spec)
{
	field_release(&pool_write_fields, spec);
}

/* ---- what a kind takes ---- */

struct member {
	enum pool_member bit;
	const char *pointer;
	size_t offset; /* of a char * */
};
static const struct member members[] = {
        {POOL_HAS_PATH, "/path", offsetof(struct pool_spec, path)},
        {POOL_HAS_DIR, "/source/dir", offsetof(struct pool_spec, source.dir)},
        {POOL_HAS_NAME, "/source/name", offsetof(struct pool_spec, source.name)},
        {POOL_HAS_DEVICE, "/source/device", offsetof(struct pool_spec, source.device)},
        {POOL_HAS_FORMAT, "/source/format", offsetof(struct pool_spec, source.format)},
        {POOL_HAS_INITIATOR, "/source/initiator", offsetof(struct pool_spec, source.initiator)},
        {POOL_HAS_USER, "/source/user", offsetof(struct pool_spec, source.user)},
};

static void check_member(const struct pool_kind *kind, enum pool_member bit, const char *pointer,
        bool is_given, struct field_errors *errors)
{
	if (is_given && !(kind->allowed & bit))
		field_errors_add(errors, "bad_value", pointer,
		        "must not be given: pools of kind %s have none", kind->name);
	if (!is_given && kind->required & bit)
		field_errors_add(
		        errors, "missing", pointer, "is required for pools of kind %s", kind->name);
}

static void check_members(const struct pool_spec *spec, struct field_errors *errors)
{
	const struct pool_kind *kind = pool_kind_of(spec);
	for (size_t i = 0; i < ARRAY_LEN(members); i++) {
		const char *text =
		        *(char *const *)(const void *)((const char *)spec + members[i].offset);
		check_member(kind, members[i].bit, members[i].pointer, !str_is_empty(text), errors);
	}
	check_member(kind, POOL_HAS_HOSTS, "/source/hosts", spec->source.hosts.len > 0, errors);
}

static void check_format(const struct pool_spec *spec, struct field_errors *errors)
{
	const char *const *known = pool_kind_of(spec)->formats;
	if (!spec->source.format || !known)
		return;
	struct str all CLEANUP(str_done) = {0};
	for (; *known; known++) {
		if (str_equal(*known, spec->source.format))
			return;
		str_printf(&all, "%s%s", all.len ? ", " : "", *known);
	}
	field_errors_add(
	        errors, "bad_value", "/source/format", "must be one of %s", str_text(&all));
}

static void check_secret(const struct pool_spec *spec, struct field_errors *errors)
{
	if (spec->source.secret && !spec->source.user)
		field_errors_add(errors, "missing", "/source/user",
		        "is required with a secret: whose it is");
}

static void check_shared(const struct pool_spec *spec, struct field_errors *errors)
{
	if (spec->has_shared && spec->shared != pool_spec_is_shared(spec))
		field_errors_add(errors, "bad_value", "/shared", "pools of kind %s are always %s",
		        pool_kind_of(spec)->name, pool_spec_is_shared(spec) ? "shared" : "local");
}

static void check_file_pool(const struct pool_spec *spec, struct field_errors *errors)
{
	const struct pool_kind *kind = pool_kind_of(spec);
	if (spec->file_pool && pool_kind_makes_files(kind))
		field_errors_add(errors, "bad_value", "/file_pool",
		        "must not be given: pools of kind %s hold files themselves", kind->name);
}

static void check_ratio(const struct pool_spec *spec, struct field_errors *errors)
{
	/* Written so that not-a-number, which compares false with everything, is refused. */
	if (!(spec->overcommit_ratio >= 0 && spec->overcommit_ratio <= 1000))
		field_errors_add(
		        errors, "out_of_range", "/overcommit_ratio", "must be from 0 to 1000");
}

int pool_spec_check(const struct pool_spec *spec, struct field_errors *errors, struct err *e)
{
	size_t before = errors->len;
	check_members(spec, errors);
	check_format(spec, errors);
	check_secret(spec, errors);
	check_shared(spec, errors);
	check_ratio(spec, errors);
	check_file_pool(spec, errors);
	if (errors->len == before)
		return 0;
	return err_set(e, ERR_INVALID, "the pool is not valid");
}

/* ---- the stored form ---- */

static int kind_index(const char *name)
{
	for (int i = 0; pool_kind_names[i]; i++)
		if (str_equal(pool_kind_names[i], name))
			return i;
	return -1;
}

int pool_spec_load(const char *stored, const char *kind, const char *path,
        struct pool_spec *ret_spec, struct err *e)
{
	struct field_errors errors = {0};
	json_t *json CLEANUP(cleanup_json) = json_loads(stored, 0, NULL);
	int index = kind_index(kind);
	if (!json || index < 0)
		return err_set(e, ERR_INTERNAL, "a stored pool of kind %s cannot be read", kind);
	int rc = field_decode(&pool_config_fields, json, FIELD_DECODE_STORED, ret_spec, &errors);
	if (rc < 0)
		return err_set(e, ERR_INTERNAL, "a stored pool is invalid at %s: %s",
		        errors.items[0].pointer, errors.items[0].detail);
	ret_spec->kind = index;
	str_replace(&ret_spec->path, path[0] ? path : NULL);
	return 0;
}

char *pool_spec_store(const struct pool_spec *spec)
{
	struct json_writer w = {0};
	field_encode(&pool_config_fields, spec, FIELD_ENCODE_STORE, &w);
	return str_take(&w.out);
}

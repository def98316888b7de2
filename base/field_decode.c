/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decoding by field tables: one walk over the table fills the struct, checks everything and
 * collects all errors. A valid input costs no allocation but the members' own texts: pointers are
 * only rendered for errors.
 *
 * Modes: in a PATCH, elements of lists are complete objects (a merge patch replaces arrays whole),
 * those of maps are partial. STORED trusts bounds and checks, and skips members this version does
 * not know, so that a later version with other rules still reads its rows. Any thread.
 */
#include "base/field_decoder.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"

static void decode_value(struct field_decoder *d, const struct field *f, json_t *value,
        const struct field_path *path, void *member);
static void decode_object(struct field_decoder *d, const struct field_table *table, json_t *value,
        const struct field_path *path, void *object);

static bool check_count(struct field_decoder *d, const struct field *f, size_t count,
        const char *what, const struct field_path *path)
{
	int64_t max = field_max(f);
	if (d->mode == FIELD_DECODE_STORED)
		return true;
	if ((int64_t)count > max) {
		field_decode_error(d, path, "too_many", "has %zu %s, at most %lld are allowed",
		        count, what, (long long)max);
		return false;
	}
	if ((int64_t)count < f->min) {
		field_decode_error(d, path, "out_of_range", "has %zu %s, at least %lld are needed",
		        count, what, (long long)f->min);
		return false;
	}
	return true;
}

static void decode_sub(struct field_decoder *d, const struct field *f, json_t *value,
        const struct field_path *path, void *member)
{
	if (json_is_object(value))
		decode_object(d, f->sub, value, path, member);
	else
		field_decode_wrong_type(d, path, "an object", value);
}

static void decode_strings(struct field_decoder *d, const struct field *f, json_t *value,
        const struct field_path *path, void *member)
{
	struct field_strings *strings = member;
	size_t count = json_array_size(value);
	if (!json_is_array(value)) {
		field_decode_wrong_type(d, path, "an array of strings", value);
		return;
	}
	if (!check_count(d, f, count, "elements", path))
		return;
	strings->items = count ? xcalloc(count, sizeof(*strings->items)) : NULL;
	for (size_t i = 0; i < count; i++) {
		struct field_path element = {.parent = path, .index = i};
		const char *text = field_decode_text(d, json_array_get(value, i), 0,
		        FIELD_STRINGS_BYTES_MAX, field_text_check(f), &element);
		if (text)
			strings->items[strings->len++] = xstrdup(text);
	}
}

static int compare_labels(const void *a, const void *b)
{
	return strcmp(((const struct field_label *)a)->key, ((const struct field_label *)b)->key);
}

static const char *check_label_key(const char *key)
{
	return key[0] == '\0' ? "must not be an empty key" : field_check_label(key);
}

static void decode_label(struct field_decoder *d, const char *key, json_t *value,
        const struct field_path *path, struct field_labels *labels)
{
	struct field_path element = {.parent = path, .name = key};
	const char *wrong = check_label_key(key);
	if (wrong && d->mode != FIELD_DECODE_STORED) {
		field_decode_error(d, &element, "bad_value", "the key %s", wrong);
		return;
	}
	const char *text = field_decode_text(d, value, 0, INT64_MAX, field_check_label, &element);
	if (!text)
		return;
	labels->items[labels->len++] =
	        (struct field_label){.key = xstrdup(key), .value = xstrdup(text)};
}

static void decode_labels(struct field_decoder *d, const struct field *f, json_t *value,
        const struct field_path *path, void *member)
{
	struct field_labels *labels = member;
	size_t count = json_object_size(value);
	if (!json_is_object(value)) {
		field_decode_wrong_type(d, path, "an object of strings", value);
		return;
	}
	if (!check_count(d, f, count, "labels", path))
		return;
	labels->items = xcalloc(count, sizeof(*labels->items));
	const char *key;
	json_t *text;
	json_object_foreach(value, key, text)
	{
		if (!json_is_null(text))
			decode_label(d, key, text, path, labels);
	}
	if (labels->len > 1)
		qsort(labels->items, labels->len, sizeof(*labels->items), compare_labels);
}

static void decode_list(struct field_decoder *d, const struct field *f, json_t *value,
        const struct field_path *path, void *member)
{
	struct field_list *list = member;
	size_t count = json_array_size(value);
	if (!json_is_array(value)) {
		field_decode_wrong_type(d, path, "an array of objects", value);
		return;
	}
	if (!check_count(d, f, count, "elements", path))
		return;
	enum field_decode_mode outer = d->mode;
	if (outer == FIELD_DECODE_PATCH)
		d->mode = FIELD_DECODE_CREATE;
	list->items = xcalloc(count, f->sub->size);
	for (size_t i = 0; i < count; i++) {
		struct field_path element = {.parent = path, .index = i};
		decode_sub(d, f, json_array_get(value, i), &element,
		        (char *)list->items + list->len++ * f->sub->size);
	}
	d->mode = outer;
}

static const char *check_map_key(const struct field *f, const char *key)
{
	if (key[0] == '\0')
		return "must not be empty";
	if (strlen(key) > FIELD_KEY_BYTES_MAX)
		return "must have at most 128 bytes";
	return field_text_check(f)(key);
}

static void decode_element(struct field_decoder *d, const struct field *f, const char *key,
        json_t *value, const struct field_path *path, struct field_list *list)
{
	struct field_path element = {.parent = path, .name = key};
	const char *wrong = check_map_key(f, key);
	if (wrong && d->mode != FIELD_DECODE_STORED) {
		field_decode_error(d, &element, "bad_value", "the key %s", wrong);
		return;
	}
	char *item = (char *)list->items + list->len++ * f->sub->size;
	decode_sub(d, f, value, &element, item);
	str_replace((char **)(void *)item, key);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void decode_map(struct field_decoder *d, const struct field *f, json_t *value,
        const struct field_path *path, void *member)
{
	struct field_list *list = member;
	size_t count = json_object_size(value);
	if (!json_is_object(value)) {
		field_decode_wrong_type(d, path, "an object keyed by name", value);
		return;
	}
	if (!check_count(d, f, count, "members", path))
		return;
	list->items = xcalloc(count, f->sub->size);
	const char *key;
	json_t *element;
	json_object_foreach(value, key, element)
	{
		if (!json_is_null(element))
			decode_element(d, f, key, element, path, list);
	}
	if (list->len > 1)
		qsort(list->items, list->len, f->sub->size, compare_names);
}

static const field_decode_fn decoders[] = {
        [FIELD_BOOL] = field_decode_bool,
        [FIELD_INT] = field_decode_int,
        [FIELD_REAL] = field_decode_real,
        [FIELD_STRING] = field_decode_string,
        [FIELD_ENUM] = field_decode_enum,
        [FIELD_TIME] = field_decode_time,
        [FIELD_OBJECT] = decode_sub,
        [FIELD_STRINGS] = decode_strings,
        [FIELD_LABELS] = decode_labels,
        [FIELD_LIST] = decode_list,
        [FIELD_MAP] = decode_map,
        [FIELD_JSON] = field_decode_json,
};

static void decode_value(struct field_decoder *d, const struct field *f, json_t *value,
        const struct field_path *path, void *member)
{
	decoders[f->type](d, f, value, path, member);
}

/* Most defaults are scalars and are read without building a JSON value. */
static bool set_scalar_default(const struct field *f, void *member)
{
	const char *text = f->default_text;
	size_t len = strlen(text);
	switch (f->type) {
	case FIELD_BOOL:
		*(bool *)member = text[0] == 't';
		return true;
	case FIELD_INT:
		*(int64_t *)member = strtoll(text, NULL, 10);
		return true;
	case FIELD_REAL:
		*(double *)member = strtod(text, NULL);
		return true;
	case FIELD_STRING:
		if (len < 2 || text[0] != '"' || strchr(text, '\\'))
			return false;
		free(*(char **)member);
		*(char **)member = xstrndup(text + 1, len - 2);
		return true;
	case FIELD_ENUM:
		for (int i = 0; f->names[i]; i++) {
			if (strlen(f->names[i]) + 2 == len &&
			        memcmp(f->names[i], text + 1, len - 2) == 0) {
				*(int *)member = i;
				return true;
			}
		}
		return false;
	default:
		return false;
	}
}

static void set_default(
        struct field_decoder *d, const struct field *f, const struct field_path *path, void *member)
{
	if (set_scalar_default(f, member))
		return;
	json_t *value = json_loads(f->default_text, JSON_DECODE_ANY, NULL);
	assert(value && "default_text is JSON");
	decode_value(d, f, value, path, member);
	json_decref(value);
}

static void set_present(const struct field *f, void *object)
{
	if (f->present != 0)
		*((bool *)object + f->present) = true;
}

/* `is_given`: the object itself is in the input, so that what it lacks is missing. */
static void handle_absent(struct field_decoder *d, const struct field *f, bool is_given,
        const struct field_path *path, void *object)
{
	void *member = (char *)object + f->offset;
	if (d->mode == FIELD_DECODE_PATCH || f->flags & FIELD_READ_ONLY)
		return;
	if (f->flags & FIELD_REQUIRED && d->mode == FIELD_DECODE_CREATE && is_given) {
		field_decode_error(d, path, "missing", "is required");
	} else if (f->default_text) {
		set_default(d, f, path, member);
		set_present(f, object);
	} else if (f->type == FIELD_OBJECT) {
		decode_object(d, f->sub, NULL, path, member);
	}
}

static void decode_member(struct field_decoder *d, const struct field *f, json_t *value,
        bool is_given, const struct field_path *path, void *object)
{
	if (value && f->flags & FIELD_READ_ONLY && d->mode != FIELD_DECODE_STORED) {
		field_decode_error(d, path, "read_only", "is set by Berth and cannot be written");
	} else if (!value || json_is_null(value)) {
		handle_absent(d, f, is_given, path, object);
	} else {
		size_t wrong_before = d->n_wrong;
		decode_value(d, f, value, path, (char *)object + f->offset);
		if (d->n_wrong == wrong_before)
			set_present(f, object);
	}
}

static void add_unknown(struct field_decoder *d, const struct field_table *table, json_t *value,
        const struct field_path *parent)
{
	const char *key;
	json_t *member;
	json_object_foreach(value, key, member)
	{
		if (field_find(table, key))
			continue;
		struct field_path path = {.parent = parent, .name = key};
		field_decode_error(d, &path, "unknown_member", "is not known here");
		if (d->errors->len >= FIELD_ERRORS_MAX)
			return;
	}
}

/* `value` is NULL for an object that was not given: only its defaults are filled in. */
static void decode_object(struct field_decoder *d, const struct field_table *table, json_t *value,
        const struct field_path *path, void *object)
{
	size_t n_known = 0;
	for (size_t i = 0; i < table->n_fields; i++) {
		const struct field *f = &table->fields[i];
		struct field_path member = {.parent = path, .name = f->name};
		json_t *given = value ? json_object_get(value, f->name) : NULL;
		n_known += given != NULL;
		decode_member(d, f, given, value != NULL, &member, object);
	}
	if (value && n_known < json_object_size(value) && d->mode != FIELD_DECODE_STORED)
		add_unknown(d, table, value, path);
}

int field_decode(const struct field_table *table, json_t *value, enum field_decode_mode mode,
        void *object, struct field_errors *errors)
{
	struct field_decoder d = {.mode = mode, .errors = errors};
	if (!json_is_object(value))
		field_decode_error(&d, NULL, "wrong_type", "must be an object");
	else
		decode_object(&d, table, value, NULL, object);
	return d.n_wrong > 0 ? ERR_INVALID : 0;
}

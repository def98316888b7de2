/* SPDX-License-Identifier: Apache-2.0 */
/* JSON documents before and beside the field tables: strict parsing, merge patch, difference. Any
 * thread. */
#include "base/field.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/field_path.h"
#include "base/str.h"
#include "base/vec.h"

#define DEPTH_MAX 32

/* What a scan over the text's strings and brackets saw. */
struct scan {
	size_t string_start, string_end; /* inside the quotes of the last string */
	size_t too_deep_at;              /* offset of the bracket beyond DEPTH_MAX; `len` if none */
};

/* Offset behind the closing quote of the string that opens at `i`. */
static size_t skip_string(const char *text, size_t len, size_t i)
{
	for (i++; i < len && text[i] != '"'; i++)
		if (text[i] == '\\')
			i++;
	return i < len ? i + 1 : len;
}

/* Does not validate: jansson does, but only after recursing as deep as the text says. */
static struct scan scan_text(const char *text, size_t len)
{
	struct scan seen = {.too_deep_at = len};
	int depth = 0;
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '"') {
			seen.string_start = i + 1;
			i = skip_string(text, len, i) - 1;
			seen.string_end = i;
		} else if (text[i] == '{' || text[i] == '[') {
			if (++depth > DEPTH_MAX) {
				seen.too_deep_at = i;
				return seen;
			}
		} else if (text[i] == '}' || text[i] == ']') {
			depth--;
		}
	}
	return seen;
}

static const char *describe_error(const json_error_t *error)
{
	switch (json_error_code(error)) {
	case json_error_invalid_utf8:
		return "it is not UTF-8";
	case json_error_null_character:
	case json_error_null_byte_in_key:
		return "a string contains a NUL character";
	case json_error_numeric_overflow:
		return "a number is too large";
	case json_error_premature_end_of_input:
		return "it ends too early";
	case json_error_end_of_input_expected:
		return "text follows its end";
	default:
		return "its syntax is wrong";
	}
}

/* jansson reports a duplicate right behind the key's closing quote. */
static void name_duplicate(const char *text, size_t position, char *ret_what, size_t size)
{
	struct scan seen = scan_text(text, position);
	char key[65];
	snprintf(key, sizeof(key), "%.*s", (int)(seen.string_end - seen.string_start),
	        text + seen.string_start);
	str_cut_utf8(key);
	snprintf(ret_what, size, "the key \"%s\" appears twice", key);
}

static int set_parse_error(struct err *e, const char *text, size_t len, const json_error_t *error)
{
	char what[128];
	size_t position = error->position > 0 ? (size_t)error->position : 0;
	if (json_error_code(error) == json_error_duplicate_key)
		name_duplicate(text, position < len ? position : len, what, sizeof(what));
	else
		snprintf(what, sizeof(what), "%s", describe_error(error));
	return err_set(e, ERR_MALFORMED,
	        "the body is not acceptable JSON: %s, at line %d, byte %zu", what, error->line,
	        position);
}

int field_parse_json(const char *text, size_t len, json_t **ret_value, struct err *e)
{
	size_t too_deep_at = scan_text(text, len).too_deep_at;
	if (len == 0)
		return err_set(e, ERR_MALFORMED, "the body is empty, a JSON object is needed");
	if (too_deep_at < len)
		return err_set(e, ERR_MALFORMED,
		        "the body is nested deeper than %d levels, at byte %zu", DEPTH_MAX,
		        too_deep_at);
	json_error_t error;
	json_t *value = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
	if (!value)
		return set_parse_error(e, text, len, &error);
	if (!json_is_object(value)) {
		json_decref(value);
		return err_set(e, ERR_MALFORMED, "the body must be a JSON object");
	}
	*ret_value = value;
	return 0;
}

/* Children are shared between the documents and never changed, only replaced in copies. */
json_t *field_merge_patch(json_t *target, json_t *patch)
{
	if (!json_is_object(patch))
		return json_incref(patch);
	json_t *result = json_is_object(target) ? json_copy(target) : json_object();
	const char *key;
	json_t *value;
	json_object_foreach(patch, key, value)
	{
		if (json_is_null(value))
			json_object_del(result, key);
		else
			json_object_set_new(result, key,
			        field_merge_patch(json_object_get(result, key), value));
	}
	return result;
}

typedef VEC(struct field_change) change_vec;

static void add_change(
        change_vec *changes, const struct field_path *path, json_t *before, json_t *after)
{
	struct field_change change = {.before = json_incref(before), .after = json_incref(after)};
	field_path_render(path, change.pointer, sizeof(change.pointer));
	VEC_PUSH(changes, change);
}

static void diff_values(
        change_vec *changes, const struct field_path *path, json_t *before, json_t *after);

static void diff_objects(
        change_vec *changes, const struct field_path *parent, json_t *before, json_t *after)
{
	const char *key;
	json_t *value;
	json_object_foreach(before, key, value)
	{
		struct field_path path = {.parent = parent, .name = key};
		diff_values(changes, &path, value, json_object_get(after, key));
	}
	json_object_foreach(after, key, value)
	{
		struct field_path path = {.parent = parent, .name = key};
		if (!json_object_get(before, key))
			add_change(changes, &path, NULL, value);
	}
}

static void diff_values(
        change_vec *changes, const struct field_path *path, json_t *before, json_t *after)
{
	if (json_is_object(before) && json_is_object(after))
		diff_objects(changes, path, before, after);
	else if (!json_equal(before, after))
		add_change(changes, path, before, after);
}

static int compare_changes(const void *a, const void *b)
{
	return strcmp(((const struct field_change *)a)->pointer,
	        ((const struct field_change *)b)->pointer);
}

void field_diff(json_t *before, json_t *after, struct field_changes *ret_changes)
{
	change_vec changes = {0};
	diff_objects(&changes, NULL, before, after);
	if (changes.len > 1)
		qsort(changes.items, changes.len, sizeof(*changes.items), compare_changes);
	*ret_changes = (struct field_changes){.items = changes.items, .len = changes.len};
}

void field_changes_done(struct field_changes *changes)
{
	for (size_t i = 0; i < changes->len; i++) {
		json_decref(changes->items[i].before);
		json_decref(changes->items[i].after);
	}
	free(changes->items);
	*changes = (struct field_changes){0};
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Decoding the scalar field types, with their checks. Any thread. */
#include "base/field_decoder.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"

void field_decode_error(struct field_decoder *d, const struct field_path *path, const char *code,
        const char *format, ...)
{
	d->n_wrong++;
	if (d->errors->len >= FIELD_ERRORS_MAX)
		return;
	char pointer[sizeof(d->errors->items[0].pointer)];
	char detail[sizeof(d->errors->items[0].detail)];
	field_path_render(path, pointer, sizeof(pointer));
	va_list args;
	va_start(args, format);
	vsnprintf(detail, sizeof(detail), format, args);
	va_end(args);
	field_errors_add(d->errors, code, pointer, "%s", detail);
}

static const char *type_name(const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "an array";
	case JSON_STRING:
		return "a string";
	case JSON_INTEGER:
		return "an integer";
	case JSON_REAL:
		return "a number with a fraction or exponent";
	case JSON_TRUE:
	case JSON_FALSE:
		return "a boolean";
	case JSON_NULL:
		break;
	}
	return "null";
}

void field_decode_wrong_type(struct field_decoder *d, const struct field_path *path,
        const char *wanted, const json_t *value)
{
	field_decode_error(d, path, "wrong_type", "must be %s, not %s", wanted, type_name(value));
}

const char *field_decode_text(struct field_decoder *d, json_t *value, int64_t min, int64_t max,
        field_check check, const struct field_path *path)
{
	if (!json_is_string(value)) {
		field_decode_wrong_type(d, path, "a string", value);
		return NULL;
	}
	const char *text = json_string_value(value);
	int64_t len = (int64_t)json_string_length(value);
	const char *wrong = NULL;
	if (d->mode == FIELD_DECODE_STORED)
		return text;
	if (strlen(text) != (size_t)len)
		wrong = "must not contain a NUL character";
	else if (len > max)
		field_decode_error(d, path, "too_long", "has %lld bytes, at most %lld are allowed",
		        (long long)len, (long long)max);
	else if (len < min)
		field_decode_error(d, path, "out_of_range",
		        "has %lld bytes, at least %lld are needed", (long long)len, (long long)min);
	else
		wrong = check(text);
	if (wrong)
		field_decode_error(d, path, "bad_value", "%s", wrong);
	return len > max || len < min || wrong ? NULL : text;
}

void field_decode_bool(struct field_decoder *d, const struct field *f, json_t *value,
        const struct field_path *path, void *member)
{
	(void)f;
	if (json_is_boolean(value))
		*(bool *)member = json_is_true(value);
	else
		field_decode_wrong_type(d, path, "true or false", value);
}

static void add_out_of_range(struct field_decoder *d, const struct field_path *path,
        struct field_range range, int64_t number)
{
	if (range.max == INT64_MAX)
		field_decode_error(d, path, "out_of_range", "must be at least %lld, not %lld",
		        (long long)range.min, (long long)number);
	else
		field_decode_error(d, path, "out_of_range", "must be from %lld to %lld, not %lld",
		        (long long)range.min, (long long)range.max, (long long)number);
}

void field_decode_int(struct field_decoder *d, const struct field *f, json_t *value,
        const struct field_path *path, void *member)
{
	if (!json_is_integer(value)) {
		field_decode_wrong_type(d, path, "an integer", value);
		return;
	}
	int64_t number = json_integer_value(value);
	struct field_range range = field_int_range(f);
	if (d->mode != FIELD_DECODE_STORED && (number < range.min || number > range.max)) {
		add_out_of_range(d, path, range, number);
		return;
	}
	*(int64_t *)member = number;
}

void field_decode_real(struct field_decoder *d, const struct field *f, json_t *value,
        const struct field_path *path, void *member)
{
	if (!json_is_number(value)) {
		field_decode_wrong_type(d, path, "a number", value);
		return;
	}
	double number = json_number_value(value);
	bool bounded = f->real_min < f->real_max;
	if (d->mode != FIELD_DECODE_STORED && bounded &&
	        (number < f->real_min || number > f->real_max)) {
		field_decode_error(d, path, "out_of_range", "must be from %g to %g, not %g",
		        f->real_min, f->real_max, number);
		return;
	}
	*(double *)member = number;
}

void field_decode_string(struct field_decoder *d, const struct field *f, json_t *value,
        const struct field_path *path, void *member)
{
	const char *text =
	        field_decode_text(d, value, f->min, field_max(f), field_text_check(f), path);
	if (text)
		str_replace(member, text);
}

static void add_bad_name(
        struct field_decoder *d, const struct field *f, const struct field_path *path)
{
	struct str allowed CLEANUP(str_done) = {0};
	for (const char *const *name = f->names; *name; name++)
		str_printf(&allowed, "%s%s", name == f->names ? "" : ", ", *name);
	field_decode_error(d, path, "bad_value", "must be one of %s", str_text(&allowed));
}

void field_decode_enum(struct field_decoder *d, const struct field *f, json_t *value,
        const struct field_path *path, void *member)
{
	if (!json_is_string(value)) {
		field_decode_wrong_type(d, path, "a string", value);
		return;
	}
	for (int i = 0; f->names[i]; i++) {
		if (str_equal(f->names[i], json_string_value(value))) {
			*(int *)member = i;
			return;
		}
	}
	add_bad_name(d, f, path);
}

void field_decode_time(struct field_decoder *d, const struct field *f, json_t *value,
        const struct field_path *path, void *member)
{
	(void)f;
	if (!json_is_string(value))
		field_decode_wrong_type(d, path, "a string", value);
	else if (clock_parse(json_string_value(value), member) != 0)
		field_decode_error(
		        d, path, "bad_value", "must be an RFC 3339 time like 2026-01-31T12:00:00Z");
}

void field_decode_json(struct field_decoder *d, const struct field *f, json_t *value,
        const struct field_path *path, void *member)
{
	char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
	int64_t max = field_max(f);
	if (text && (int64_t)strlen(text) > max && d->mode != FIELD_DECODE_STORED) {
		field_decode_error(d, path, "too_long",
		        "has %zu bytes of JSON, at most %lld are allowed", strlen(text),
		        (long long)max);
		free(text);
		return;
	}
	free(*(char **)member);
	*(char **)member = text;
}

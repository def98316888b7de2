/* SPDX-License-Identifier: Apache-2.0 */
/* JSON Schema (draft 2020-12) out of field tables, for OpenAPI 3.1. Any thread. */
#include "base/field.h"

#include "base/field_limits.h"
#include "base/str.h"

static void write_object(const struct field_table *table, struct json_writer *w);

static void write_reference(const struct field_table *table, struct json_writer *w)
{
	json_key(w, "$ref");
	struct str target = {0};
	str_printf(&target, "#/components/schemas/%s", table->name);
	json_put_string(w, str_text(&target));
	str_done(&target);
}

static void write_members_of(const struct field_table *table, struct json_writer *w)
{
	if (table->name)
		write_reference(table, w);
	else
		write_object(table, w);
}

static void write_type(const struct field *f, const char *type, struct json_writer *w)
{
	json_key(w, "type");
	if ((f->flags & FIELD_NULLABLE) == 0) {
		json_put_string(w, type);
		return;
	}
	json_array_begin(w);
	json_put_string(w, type);
	json_put_string(w, "null");
	json_array_end(w);
}

static void write_limits(
        const char *min_key, const char *max_key, int64_t min, int64_t max, struct json_writer *w)
{
	if (min > 0)
		json_member_int(w, min_key, min);
	json_member_int(w, max_key, max);
}

static void write_format(const struct field *f, struct json_writer *w)
{
	if (f->format)
		json_member_string(w, f->format[0] == '^' ? "pattern" : "format", f->format);
}

static void write_integer(const struct field *f, struct json_writer *w)
{
	struct field_range range = field_int_range(f);
	write_type(f, "integer", w);
	json_member_string(w, "format", "int64");
	if (range.min != INT64_MIN)
		json_member_int(w, "minimum", range.min);
	if (range.max != INT64_MAX)
		json_member_int(w, "maximum", range.max);
}

static void write_real(const struct field *f, struct json_writer *w)
{
	write_type(f, "number", w);
	if (f->real_min >= f->real_max)
		return;
	json_key(w, "minimum");
	json_put_real(w, f->real_min);
	json_key(w, "maximum");
	json_put_real(w, f->real_max);
}

/* JSON Schema counts characters where we count bytes: its limit is never the stricter one. */
static void write_string(const struct field *f, struct json_writer *w)
{
	write_type(f, "string", w);
	write_limits("minLength", "maxLength", f->min > 0, field_max(f), w);
	write_format(f, w);
}

static void write_enum(const struct field *f, struct json_writer *w)
{
	write_type(f, "string", w);
	json_key(w, "enum");
	json_array_begin(w);
	for (const char *const *name = f->names; *name; name++)
		json_put_string(w, *name);
	if (f->flags & FIELD_NULLABLE)
		json_put_null(w);
	json_array_end(w);
}

static void write_strings(const struct field *f, struct json_writer *w)
{
	write_type(f, "array", w);
	write_limits("minItems", "maxItems", f->min, field_max(f), w);
	json_key(w, "items");
	json_object_begin(w);
	json_member_string(w, "type", "string");
	json_member_int(w, "maxLength", FIELD_STRINGS_BYTES_MAX);
	write_format(f, w);
	json_object_end(w);
}

static void write_labels(const struct field *f, struct json_writer *w)
{
	write_type(f, "object", w);
	write_limits("minProperties", "maxProperties", f->min, field_max(f), w);
	json_key(w, "propertyNames");
	json_object_begin(w);
	json_member_int(w, "minLength", 1);
	json_member_int(w, "maxLength", FIELD_KEY_BYTES_MAX);
	json_object_end(w);
	json_key(w, "additionalProperties");
	json_object_begin(w);
	json_member_string(w, "type", "string");
	json_member_int(w, "maxLength", FIELD_KEY_BYTES_MAX);
	json_object_end(w);
}

static void write_list(const struct field *f, struct json_writer *w)
{
	write_type(f, "array", w);
	write_limits("minItems", "maxItems", f->min, field_max(f), w);
	json_key(w, "items");
	json_object_begin(w);
	write_members_of(f->sub, w);
	json_object_end(w);
}

static void write_map(const struct field *f, struct json_writer *w)
{
	write_type(f, "object", w);
	write_limits("minProperties", "maxProperties", f->min, field_max(f), w);
	json_key(w, "propertyNames");
	json_object_begin(w);
	json_member_int(w, "minLength", 1);
	json_member_int(w, "maxLength", FIELD_KEY_BYTES_MAX);
	write_format(f, w);
	json_object_end(w);
	json_key(w, "additionalProperties");
	json_object_begin(w);
	write_members_of(f->sub, w);
	json_object_end(w);
}

static void write_value_schema(const struct field *f, struct json_writer *w)
{
	switch (f->type) {
	case FIELD_BOOL:
		write_type(f, "boolean", w);
		break;
	case FIELD_INT:
		write_integer(f, w);
		break;
	case FIELD_REAL:
		write_real(f, w);
		break;
	case FIELD_STRING:
		write_string(f, w);
		break;
	case FIELD_ENUM:
		write_enum(f, w);
		break;
	case FIELD_TIME:
		write_type(f, "string", w);
		json_member_string(w, "format", "date-time");
		break;
	case FIELD_OBJECT:
		write_members_of(f->sub, w);
		break;
	case FIELD_STRINGS:
		write_strings(f, w);
		break;
	case FIELD_LABELS:
		write_labels(f, w);
		break;
	case FIELD_LIST:
		write_list(f, w);
		break;
	case FIELD_MAP:
		write_map(f, w);
		break;
	case FIELD_JSON:
		break; /* anything */
	}
}

static void write_flags(const struct field *f, struct json_writer *w)
{
	static const struct {
		unsigned flag;
		const char *key;
	} keys[] = {
	        {FIELD_READ_ONLY, "readOnly"},
	        {FIELD_SECRET, "writeOnly"},
	        {FIELD_IMMUTABLE, "x-immutable"},
	        {FIELD_FILTER, "x-filterable"},
	        {FIELD_SORT, "x-sortable"},
	};
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (f->flags & keys[i].flag)
			json_member_bool(w, keys[i].key, true);
}

/* A reference that may be null has to be an alternative: "type" beside "$ref" would exclude null.
 */
static bool is_nullable_reference(const struct field *f)
{
	return f->type == FIELD_OBJECT && f->flags & FIELD_NULLABLE;
}

static void write_alternative(const struct field *f, struct json_writer *w)
{
	json_key(w, "anyOf");
	json_array_begin(w);
	json_object_begin(w);
	write_members_of(f->sub, w);
	json_object_end(w);
	json_object_begin(w);
	json_member_string(w, "type", "null");
	json_object_end(w);
	json_array_end(w);
}

static void write_field(const struct field *f, struct json_writer *w)
{
	json_key(w, f->name);
	json_object_begin(w);
	if (is_nullable_reference(f))
		write_alternative(f, w);
	else
		write_value_schema(f, w);
	if (f->default_text)
		json_member_raw(w, "default", f->default_text);
	write_flags(f, w);
	if (f->doc)
		json_member_string(w, "description", f->doc);
	json_object_end(w);
}

static void write_required(const struct field_table *table, struct json_writer *w)
{
	bool begun = false;
	for (size_t i = 0; i < table->n_fields; i++) {
		if ((table->fields[i].flags & FIELD_REQUIRED) == 0)
			continue;
		if (!begun) {
			json_key(w, "required");
			json_array_begin(w);
			begun = true;
		}
		json_put_string(w, table->fields[i].name);
	}
	if (begun)
		json_array_end(w);
}

static void write_object(const struct field_table *table, struct json_writer *w)
{
	json_member_string(w, "type", "object");
	json_key(w, "properties");
	json_object_begin(w);
	for (size_t i = 0; i < table->n_fields; i++)
		write_field(&table->fields[i], w);
	json_object_end(w);
	write_required(table, w);
	json_member_bool(w, "additionalProperties", false);
}

void field_schema(const struct field_table *table, struct json_writer *w)
{
	json_object_begin(w);
	write_object(table, w);
	json_object_end(w);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Encoding by field tables, straight into a buffer: no allocation but the buffer's growth. Any
 * thread. */
#include "base/field.h"

static void encode_strings(const struct field_strings *strings, struct json_writer *w)
{
	json_array_begin(w);
	for (size_t i = 0; i < strings->len; i++)
		json_put_string(w, strings->items[i]);
	json_array_end(w);
}

static void encode_labels(const struct field_labels *labels, struct json_writer *w)
{
	json_object_begin(w);
	for (size_t i = 0; i < labels->len; i++) {
		json_key_any(w, labels->items[i].key);
		json_put_string(w, labels->items[i].value);
	}
	json_object_end(w);
}

static void encode_list(const struct field *f, const struct field_list *list,
        enum field_encode_mode mode, struct json_writer *w)
{
	json_array_begin(w);
	for (size_t i = 0; i < list->len; i++)
		field_encode(f->sub, (const char *)list->items + i * f->sub->size, mode, w);
	json_array_end(w);
}

static void encode_map(const struct field *f, const struct field_list *list,
        enum field_encode_mode mode, struct json_writer *w)
{
	json_object_begin(w);
	for (size_t i = 0; i < list->len; i++) {
		const char *element = (const char *)list->items + i * f->sub->size;
		json_key_any(w, *(char *const *)(const void *)element);
		field_encode(f->sub, element, mode, w);
	}
	json_object_end(w);
}

static void encode_value(const struct field *f, const void *member, enum field_encode_mode mode,
        struct json_writer *w)
{
	switch (f->type) {
	case FIELD_BOOL:
		json_put_bool(w, *(const bool *)member);
		break;
	case FIELD_INT:
		json_put_int(w, *(const int64_t *)member);
		break;
	case FIELD_REAL:
		json_put_real(w, *(const double *)member);
		break;
	case FIELD_STRING:
		json_put_string(w, *(char *const *)member);
		break;
	case FIELD_ENUM:
		json_put_string(w, f->names[*(const int *)member]);
		break;
	case FIELD_TIME:
		json_put_time(w, *(const int64_t *)member);
		break;
	case FIELD_OBJECT:
		field_encode(f->sub, member, mode, w);
		break;
	case FIELD_STRINGS:
		encode_strings(member, w);
		break;
	case FIELD_LABELS:
		encode_labels(member, w);
		break;
	case FIELD_LIST:
		encode_list(f, member, mode, w);
		break;
	case FIELD_MAP:
		encode_map(f, member, mode, w);
		break;
	case FIELD_JSON:
		json_put_raw(w, *(char *const *)member);
		break;
	}
}

static bool is_set(const struct field *f, const void *object, const void *member)
{
	if (f->present != 0 && !*((const bool *)object + f->present))
		return false;
	if (f->type == FIELD_STRING || f->type == FIELD_JSON)
		return *(char *const *)member != NULL;
	if (f->type == FIELD_TIME)
		return *(const int64_t *)member != 0;
	return true;
}

static bool is_wanted(const struct field *f, enum field_encode_mode mode)
{
	unsigned hidden = mode == FIELD_ENCODE_ANSWER ? FIELD_SECRET : FIELD_READ_ONLY;
	return (f->flags & hidden) == 0;
}

void field_encode_members(const struct field_table *table, const void *object,
        enum field_encode_mode mode, struct json_writer *w)
{
	for (size_t i = 0; i < table->n_fields; i++) {
		const struct field *f = &table->fields[i];
		const void *member = (const char *)object + f->offset;
		if (!is_wanted(f, mode))
			continue;
		if (is_set(f, object, member)) {
			json_key(w, f->name);
			encode_value(f, member, mode, w);
		} else if (f->flags & FIELD_NULLABLE && mode == FIELD_ENCODE_ANSWER) {
			json_key(w, f->name);
			json_put_null(w);
		}
	}
}

void field_encode(const struct field_table *table, const void *object, enum field_encode_mode mode,
        struct json_writer *w)
{
	json_object_begin(w);
	field_encode_members(table, object, mode, w);
	json_object_end(w);
}

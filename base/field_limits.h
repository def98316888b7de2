/* SPDX-License-Identifier: Apache-2.0 */
/* The limits a field has when its table says nothing: one place for decoding and for the schema. */
#pragma once

#include "base/field.h"

#define FIELD_STRING_BYTES_MAX  1024
#define FIELD_STRINGS_BYTES_MAX 4096 /* each of FIELD_STRINGS: any SSH key in use fits */
#define FIELD_KEY_BYTES_MAX     128  /* keys of maps; keys and values of labels */
#define FIELD_JSON_BYTES_MAX    65536
#define FIELD_ELEMENTS_MAX      256

struct field_range {
	int64_t min, max;
};

/* Of a FIELD_INT: 0,0 is any; a positive minimum alone has no maximum. */
static inline struct field_range field_int_range(const struct field *f)
{
	if (f->max == 0 && f->min >= 0)
		return (struct field_range){f->min > 0 ? f->min : INT64_MIN, INT64_MAX};
	return (struct field_range){f->min, f->max};
}

/* Of a text its bytes, of a list its elements. */
static inline int64_t field_max(const struct field *f)
{
	if (f->max > 0)
		return f->max;
	if (f->type == FIELD_STRING)
		return FIELD_STRING_BYTES_MAX;
	return f->type == FIELD_JSON ? FIELD_JSON_BYTES_MAX : FIELD_ELEMENTS_MAX;
}

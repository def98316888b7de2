/* SPDX-License-Identifier: Apache-2.0 */
/* Inside field decoding only: the state of one walk, and the decoders of scalar types. */
#pragma once

#include "base/field.h"
#include "base/field_limits.h"
#include "base/field_path.h"

struct field_decoder {
	enum field_decode_mode mode;
	struct field_errors *errors;
	size_t n_wrong; /* also counts what no longer fits into `errors` */
};

typedef void (*field_decode_fn)(struct field_decoder *d, const struct field *f, json_t *value,
        const struct field_path *path, void *member);

void field_decode_error(struct field_decoder *d, const struct field_path *path, const char *code,
        const char *format, ...) __attribute__((format(printf, 4, 5)));
void field_decode_wrong_type(struct field_decoder *d, const struct field_path *path,
        const char *wanted, const json_t *value);
/* The text of a JSON string that passes length and check, or NULL after adding an error. */
const char *field_decode_text(struct field_decoder *d, json_t *value, int64_t min, int64_t max,
        field_check check, const struct field_path *path);

/* A text without a check of its own still must not carry control characters. */
static inline field_check field_text_check(const struct field *f)
{
	return f->check ? f->check : field_check_text;
}

void field_decode_bool(struct field_decoder *d, const struct field *f, json_t *value,
        const struct field_path *path, void *member);
void field_decode_int(struct field_decoder *d, const struct field *f, json_t *value,
        const struct field_path *path, void *member);
void field_decode_real(struct field_decoder *d, const struct field *f, json_t *value,
        const struct field_path *path, void *member);
void field_decode_string(struct field_decoder *d, const struct field *f, json_t *value,
        const struct field_path *path, void *member);
void field_decode_enum(struct field_decoder *d, const struct field *f, json_t *value,
        const struct field_path *path, void *member);
void field_decode_time(struct field_decoder *d, const struct field *f, json_t *value,
        const struct field_path *path, void *member);
void field_decode_json(struct field_decoder *d, const struct field *f, json_t *value,
        const struct field_path *path, void *member);

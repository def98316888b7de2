/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes decoding by field tables. The first byte chooses the mode, the rest is the body. What a
 * create accepts must come back unchanged from our own encoding.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/base/field_sample_table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *encode(const struct sample *object, enum field_encode_mode mode)
{
	struct json_writer w = {0};
	field_encode(&sample_fields, object, mode, &w);
	return str_take(&w.out);
}

static void check_round_trip(const struct sample *object)
{
	char *first = encode(object, FIELD_ENCODE_STORE);
	json_t *value = json_loads(first, JSON_REJECT_DUPLICATES, NULL);
	struct sample again = {0};
	struct field_errors errors = {0};
	if (!value || field_decode(&sample_fields, value, FIELD_DECODE_CREATE, &again, &errors) < 0)
		abort();
	char *second = encode(&again, FIELD_ENCODE_STORE);
	if (strcmp(first, second) != 0)
		abort();
	free(first);
	free(second);
	json_decref(value);
	field_release(&sample_fields, &again);
}

/* Each error is answered as JSON and has a pointer that fits. */
static void check_errors(const struct field_errors *errors)
{
	if (errors->len == 0 || errors->len > FIELD_ERRORS_MAX)
		abort();
	for (size_t i = 0; i < errors->len; i++) {
		const struct field_error *error = &errors->items[i];
		if (error->pointer[0] != '\0' && error->pointer[0] != '/')
			abort();
		for (const char *c = error->pointer; *c; c += str_utf8_len(c))
			if (str_utf8_len(c) == 0)
				abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct field_errors errors;
	json_t *value = NULL;
	if (size < 1 || field_parse_json((const char *)data + 1, size - 1, &value, NULL) < 0)
		return 0;
	enum field_decode_mode mode = (enum field_decode_mode)(data[0] % 3);
	struct sample object = {0};
	errors.len = 0;
	int rc = field_decode(&sample_fields, value, mode, &object, &errors);
	if (rc < 0)
		check_errors(&errors);
	else if (mode == FIELD_DECODE_CREATE)
		check_round_trip(&object);
	else
		free(encode(&object, FIELD_ENCODE_ANSWER));
	field_release(&sample_fields, &object);
	json_decref(value);
	return 0;
}

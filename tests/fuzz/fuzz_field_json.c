/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes request bodies: parsing; what parses survives merge patch and diff; refusals are valid
 * UTF-8. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/field.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An error is answered as JSON, so the writer has to make JSON of it. */
static void check_error(const struct err *e)
{
	struct json_writer w = {0};
	json_put_string(&w, e->message);
	json_t *value = json_loadb(w.out.data, w.out.len, JSON_DECODE_ANY, NULL);
	if (!value || e->code != ERR_MALFORMED)
		abort();
	json_decref(value);
	json_writer_done(&w);
}

/* A patch applied twice changes nothing the second time; from nothing, each member is one change.
 */
static void check_patch(json_t *value)
{
	json_t *once = field_merge_patch(value, value);
	json_t *twice = field_merge_patch(once, value);
	struct field_changes changes;
	field_diff(once, twice, &changes);
	if (changes.len != 0 || !json_equal(once, twice))
		abort();
	field_changes_done(&changes);
	json_t *empty = json_object();
	field_diff(empty, value, &changes);
	if (changes.len != json_object_size(value))
		abort();
	field_changes_done(&changes);
	json_decref(empty);
	json_decref(twice);
	json_decref(once);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = {0};
	json_t *value = NULL;
	if (field_parse_json((const char *)data, size, &value, &e) < 0) {
		check_error(&e);
		return 0;
	}
	check_patch(value);
	json_decref(value);
	return 0;
}

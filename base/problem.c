/* SPDX-License-Identifier: Apache-2.0 */
/* Problems: encoding and decoding by hand, as there are only these members. */
#include "base/problem.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

static void encode_errors(const struct err *e, const char *code, struct json_writer *w)
{
	json_key(w, "errors");
	json_array_begin(w);
	json_object_begin(w);
	json_member_string(w, "pointer", e->pointer);
	json_member_string(w, "code", code);
	json_member_string(w, "detail", e->message);
	json_object_end(w);
	json_array_end(w);
}

void problem_encode_members(const struct err *e, struct json_writer *w)
{
	const struct err_info *info = err_info(e->code);
	char type[96];
	snprintf(type, sizeof(type), "urn:berth:error:%s", info->name);
	json_member_string(w, "type", type);
	json_member_string(w, "title", info->title);
	json_member_int(w, "status", info->http_status);
	json_member_string(w, "detail", e->message);
	json_member_string(w, "code", info->name);
	if (e->hint[0])
		json_member_string(w, "hint", e->hint);
	if (e->numbers[0])
		json_member_raw(w, "numbers", e->numbers);
	if (e->pointer[0])
		encode_errors(e, info->name, w);
}

/* Copies a string member; an absent one leaves "". */
static void copy_text(json_t *object, const char *key, char *to, size_t size)
{
	const char *text = json_string_value(json_object_get(object, key));
	snprintf(to, size, "%s", text ? text : "");
}

static void copy_numbers(json_t *object, struct err *e)
{
	json_t *numbers = json_object_get(object, "numbers");
	if (!json_is_object(numbers))
		return;
	CLEANUP(cleanup_free) char *text = json_dumps(numbers, JSON_COMPACT);
	if (text && strlen(text) < sizeof(e->numbers))
		snprintf(e->numbers, sizeof(e->numbers), "%s", text);
}

bool problem_from_json(const char *text, struct err *ret_error)
{
	json_t *problem = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	const char *code = json_string_value(json_object_get(problem, "code"));
	if (!code) {
		json_decref(problem);
		err_set(ret_error, ERR_INTERNAL, "not a problem: %.200s", text);
		return false;
	}
	struct err e = {.code = err_code_from_name(code)};
	copy_text(problem, "detail", e.message, sizeof(e.message));
	copy_text(problem, "hint", e.hint, sizeof(e.hint));
	json_t *first = json_array_get(json_object_get(problem, "errors"), 0);
	copy_text(first, "pointer", e.pointer, sizeof(e.pointer));
	copy_numbers(problem, &e);
	json_decref(problem);
	*ret_error = e;
	return true;
}

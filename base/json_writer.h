/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes JSON straight into a buffer, for answers. Commas are kept by the writer:
 *	json_object_begin(&w); json_key(&w, "name"); json_put_string(&w, name); json_object_end(&w);
 * jansson is used only for decoding. One owner, any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

struct json_writer {
	struct str out; /* owned; the text so far */
	bool need_comma;
};

void json_writer_done(struct json_writer *w);
void json_object_begin(struct json_writer *w);
void json_object_end(struct json_writer *w);
void json_array_begin(struct json_writer *w);
void json_array_end(struct json_writer *w);
/* The key must need no escaping (all of ours are [a-z_0-9]); json_key_any escapes. */
void json_key(struct json_writer *w, const char *key);
void json_key_any(struct json_writer *w, const char *key);
void json_put_string(struct json_writer *w, const char *text); /* NULL writes null */
void json_put_int(struct json_writer *w, int64_t value);
void json_put_real(struct json_writer *w, double value);
void json_put_bool(struct json_writer *w, bool value);
void json_put_null(struct json_writer *w);
/* Milliseconds since the epoch as RFC 3339; 0 writes null. */
void json_put_time(struct json_writer *w, int64_t wall_ms);
/* Text that is JSON already (one value). */
void json_put_raw(struct json_writer *w, const char *json_text);
/* The members of a JSON object text ("{...}") spliced into the object being written. */
void json_splice_members(struct json_writer *w, const char *object_text);
/* The same, and those of `more_text` (not "{}") go into the object within it that begins just before `at`. */
void json_splice_members_with(
        struct json_writer *w, const char *object_text, const char *at, const char *more_text);

/* Shorthands: key and value. */
void json_member_string(struct json_writer *w, const char *key, const char *text);
void json_member_int(struct json_writer *w, const char *key, int64_t value);
void json_member_bool(struct json_writer *w, const char *key, bool value);
void json_member_time(struct json_writer *w, const char *key, int64_t wall_ms);
void json_member_raw(struct json_writer *w, const char *key, const char *json_text);

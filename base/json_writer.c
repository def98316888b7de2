/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON writer. Escaping follows RFC 8259 section 7. */
#include "base/json_writer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

void json_writer_done(struct json_writer *w)
{
	str_done(&w->out);
	w->need_comma = false;
}

static void separate(struct json_writer *w)
{
	if (w->need_comma)
		str_add_char(&w->out, ',');
	w->need_comma = true;
}

static void open_with(struct json_writer *w, char c)
{
	separate(w);
	str_add_char(&w->out, c);
	w->need_comma = false;
}

static void close_with(struct json_writer *w, char c)
{
	str_add_char(&w->out, c);
	w->need_comma = true;
}

void json_object_begin(struct json_writer *w)
{
	open_with(w, '{');
}

void json_object_end(struct json_writer *w)
{
	close_with(w, '}');
}

void json_array_begin(struct json_writer *w)
{
	open_with(w, '[');
}

void json_array_end(struct json_writer *w)
{
	close_with(w, ']');
}

void json_key(struct json_writer *w, const char *key)
{
	size_t len = strlen(key);
	str_reserve(&w->out, len + 4);
	char *p = w->out.data + w->out.len;
	if (w->need_comma)
		*p++ = ',';
	*p++ = '"';
	memcpy(p, key, len);
	memcpy(p + len, "\":", 3);
	w->out.len = (size_t)(p + len + 2 - w->out.data);
	w->need_comma = false;
}

/* Bytes that stand for themselves; the others are escaped or checked as UTF-8. */
static bool is_plain(unsigned char c)
{
	return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

static void add_escaped(struct str *out, unsigned char c)
{
	switch (c) {
	case '"':
		str_add_len(out, "\\\"", 2);
		break;
	case '\\':
		str_add_len(out, "\\\\", 2);
		break;
	case '\n':
		str_add_len(out, "\\n", 2);
		break;
	case '\t':
		str_add_len(out, "\\t", 2);
		break;
	default:
		str_printf(out, "\\u%04x", c);
	}
}

/* Adds the character at `text`, which is not plain, and returns its length. What is not UTF-8
 * (texts of guests and libraries may be anything) becomes U+FFFD, or the answer would not be JSON.
 */
static size_t add_special(struct str *out, const char *text)
{
	size_t len = str_utf8_len(text);
	if (len == 0)
		str_add_len(out, "\xef\xbf\xbd", 3);
	else if (len == 1)
		add_escaped(out, (unsigned char)*text);
	else
		str_add_len(out, text, len);
	return len == 0 ? 1 : len;
}

static size_t plain_len(const char *text)
{
	size_t len = 0;
	while (is_plain((unsigned char)text[len]))
		len++;
	return len;
}

/* Nearly every text is plain from end to end: one reservation, one copy. */
static void add_quoted(struct str *out, const char *text)
{
	size_t plain = plain_len(text);
	str_reserve(out, plain + 2);
	out->data[out->len++] = '"';
	memcpy(out->data + out->len, text, plain);
	out->len += plain;
	while (text[plain]) {
		text += plain;
		text += add_special(out, text);
		plain = plain_len(text);
		str_add_len(out, text, plain);
	}
	str_add_char(out, '"');
}

void json_key_any(struct json_writer *w, const char *key)
{
	separate(w);
	add_quoted(&w->out, key);
	str_add_char(&w->out, ':');
	w->need_comma = false;
}

void json_put_string(struct json_writer *w, const char *text)
{
	if (!text) {
		json_put_null(w);
		return;
	}
	separate(w);
	add_quoted(&w->out, text);
}

void json_put_int(struct json_writer *w, int64_t value)
{
	separate(w);
	char digits[24];
	char *p = digits + sizeof(digits);
	uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
	do {
		*--p = (char)('0' + rest % 10);
		rest /= 10;
	} while (rest > 0);
	if (value < 0)
		*--p = '-';
	str_add_len(&w->out, p, (size_t)(digits + sizeof(digits) - p));
}

/* The fewest digits of 15 or 17 that read back as the same number. */
static void add_real(struct str *out, double value)
{
	char text[32];
	snprintf(text, sizeof(text), "%.15g", value);
	if (strtod(text, NULL) != value)
		snprintf(text, sizeof(text), "%.17g", value);
	str_add(out, text);
}

void json_put_real(struct json_writer *w, double value)
{
	if (!isfinite(value)) {
		json_put_null(w);
	} else if (fabs(value) < 1e15 && value == trunc(value)) {
		json_put_int(w, (int64_t)value);
	} else {
		separate(w);
		add_real(&w->out, value);
	}
}

void json_put_bool(struct json_writer *w, bool value)
{
	json_put_raw(w, value ? "true" : "false");
}

void json_put_null(struct json_writer *w)
{
	json_put_raw(w, "null");
}

void json_put_time(struct json_writer *w, int64_t wall_ms)
{
	if (wall_ms == 0) {
		json_put_null(w);
		return;
	}
	char text[CLOCK_TEXT_SIZE];
	clock_format(wall_ms, text);
	json_put_string(w, text);
}

void json_put_raw(struct json_writer *w, const char *json_text)
{
	separate(w);
	str_add(&w->out, json_text);
}

void json_splice_members(struct json_writer *w, const char *object_text)
{
	size_t len = strlen(object_text);
	if (len <= 2) /* "{}" */
		return;
	separate(w);
	str_add_len(&w->out, object_text + 1, len - 2);
}

void json_splice_members_with(
        struct json_writer *w, const char *object_text, const char *at, const char *more_text)
{
	size_t len = (size_t)(at - object_text);
	separate(w);
	str_add_len(&w->out, object_text + 1, len - 1);
	str_add_len(&w->out, more_text + 1, strlen(more_text) - 2);
	if (*at != '}')
		str_add_char(&w->out, ',');
	str_add_len(&w->out, at, strlen(at) - 1);
}

void json_member_string(struct json_writer *w, const char *key, const char *text)
{
	json_key(w, key);
	json_put_string(w, text);
}

void json_member_int(struct json_writer *w, const char *key, int64_t value)
{
	json_key(w, key);
	json_put_int(w, value);
}

void json_member_bool(struct json_writer *w, const char *key, bool value)
{
	json_key(w, key);
	json_put_bool(w, value);
}

void json_member_time(struct json_writer *w, const char *key, int64_t wall_ms)
{
	json_key(w, key);
	json_put_time(w, wall_ms);
}

void json_member_raw(struct json_writer *w, const char *key, const char *json_text)
{
	json_key(w, key);
	json_put_raw(w, json_text);
}

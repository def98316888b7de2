/* SPDX-License-Identifier: Apache-2.0 */
/* A growable string buffer, and small string predicates. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

/* Always terminated once anything was added; `data` is NULL while empty. Zero-initialise. */
struct str {
	char *data; /* owned */
	size_t len;
	size_t capacity;
};

void str_done(struct str *s);
void str_reset(struct str *s); /* keeps the memory */
void str_reserve(struct str *s, size_t extra);
void str_add(struct str *s, const char *text);
void str_add_len(struct str *s, const char *text, size_t len);
void str_add_char(struct str *s, char c);
void str_printf(struct str *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
void str_vprintf(struct str *s, const char *format, va_list args)
        __attribute__((format(printf, 2, 0)));
/* Hands over the text (never NULL; "" if empty) and leaves `s` empty. Caller frees. */
char *str_take(struct str *s);
/* Borrowed text, "" if empty. */
const char *str_text(const struct str *s);

/* printf into new memory; caller frees. */
char *str_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
bool str_equal(const char *a, const char *b); /* NULL equals only NULL */
bool str_starts_with(const char *s, const char *prefix);
bool str_is_empty(const char *s); /* NULL or "" */
/* Lists of texts, NULL-terminated; NULL is one, too: it stays NULL, and equals only NULL. */
void str_list_free(char **list);
char **str_list_copy(char *const *list); /* caller frees it by str_list_free */
bool str_list_equal(char *const *a, char *const *b);
void str_list_sort(char **list);
/* Parses a whole decimal int64 and nothing else; false on anything odd. */
bool str_to_int64(const char *text, long long *ret_value);
/* Removes an incomplete UTF-8 sequence from the end of a text that was cut to fit. */
void str_cut_utf8(char *text);
/* Length in bytes (1..4) of the valid UTF-8 character at `text`, 0 if it is not one (RFC 3629: no
 * overlong forms, no surrogates). Reads no further than the terminating NUL. */
size_t str_utf8_len(const char *text);

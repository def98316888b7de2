/* SPDX-License-Identifier: Apache-2.0 */
/* Growable strings. */
#include "base/str.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

void str_done(struct str *s)
{
	free(s->data);
	*s = (struct str){0};
}

void str_reset(struct str *s)
{
	s->len = 0;
	if (s->data)
		s->data[0] = '\0';
}

void str_reserve(struct str *s, size_t extra)
{
	size_t need = s->len + extra + 1;
	if (need <= s->capacity)
		return;
	size_t capacity = s->capacity ? s->capacity : 64;
	while (capacity < need)
		capacity *= 2;
	s->data = xrealloc(s->data, capacity);
	s->capacity = capacity;
}

void str_add_len(struct str *s, const char *text, size_t len)
{
	str_reserve(s, len);
	if (len > 0)
		memcpy(s->data + s->len, text, len);
	s->len += len;
	s->data[s->len] = '\0';
}

void str_add(struct str *s, const char *text)
{
	str_add_len(s, text, strlen(text));
}

void str_add_char(struct str *s, char c)
{
	str_add_len(s, &c, 1);
}

void str_vprintf(struct str *s, const char *format, va_list args)
{
	va_list again;
	va_copy(again, args);
	int need = vsnprintf(NULL, 0, format, args);
	if (need > 0) {
		str_reserve(s, (size_t)need);
		vsnprintf(s->data + s->len, (size_t)need + 1, format, again);
		s->len += (size_t)need;
	}
	va_end(again);
}

void str_printf(struct str *s, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	str_vprintf(s, format, args);
	va_end(args);
}

char *str_take(struct str *s)
{
	char *text = s->data ? s->data : xstrdup("");
	*s = (struct str){0};
	return text;
}

const char *str_text(const struct str *s)
{
	return s->data ? s->data : "";
}

char *str_format(const char *format, ...)
{
	struct str s = {0};
	va_list args;
	va_start(args, format);
	str_vprintf(&s, format, args);
	va_end(args);
	return str_take(&s);
}

bool str_equal(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

bool str_starts_with(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool str_is_empty(const char *s)
{
	return !s || s[0] == '\0';
}

bool str_to_int64(const char *text, long long *ret_value)
{
	bool signed_digit = text[0] == '-' && text[1] >= '0' && text[1] <= '9';
	if (!signed_digit && (text[0] < '0' || text[0] > '9'))
		return false;
	char *end = NULL;
	errno = 0;
	long long value = strtoll(text, &end, 10);
	if (errno != 0 || *end != '\0')
		return false;
	*ret_value = value;
	return true;
}

size_t str_utf8_len(const char *text)
{
	const unsigned char *s = (const unsigned char *)text;
	if (s[0] < 0x80)
		return s[0] ? 1 : 0;
	size_t len = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
	if (s[0] < 0xc2 || s[0] > 0xf4)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	bool overlong = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90);
	bool surrogate = s[0] == 0xed && s[1] > 0x9f;
	bool beyond = s[0] == 0xf4 && s[1] > 0x8f;
	return overlong || surrogate || beyond ? 0 : len;
}

void str_cut_utf8(char *text)
{
	size_t len = strlen(text);
	size_t start = len;
	while (start > 0 && len - start < 4 && ((unsigned char)text[start - 1] & 0xc0) == 0x80)
		start--;
	if (start == 0)
		return;
	if ((unsigned char)text[start - 1] >= 0xc0 && str_utf8_len(text + start - 1) == 0)
		text[start - 1] = '\0';
}

static size_t list_len(char *const *list)
{
	size_t n = 0;
	while (list && list[n])
		n++;
	return n;
}

void str_list_free(char **list)
{
	for (char **text = list; text && *text; text++)
		free(*text);
	free(list);
}

char **str_list_copy(char *const *list)
{
	if (!list)
		return NULL;
	size_t n = list_len(list);
	char **copy = xcalloc(n + 1, sizeof(*copy));
	for (size_t i = 0; i < n; i++)
		copy[i] = xstrdup(list[i]);
	return copy;
}

bool str_list_equal(char *const *a, char *const *b)
{
	if (!a || !b)
		return a == b;
	size_t i = 0;
	while (a[i] && b[i] && strcmp(a[i], b[i]) == 0)
		i++;
	return a[i] == b[i];
}

static int compare_texts(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void str_list_sort(char **list)
{
	size_t n = list_len(list);
	if (n > 1)
		qsort(list, n, sizeof(*list), compare_texts);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Filling and describing error values. */
#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

static const struct err_info table[] = {
#define X(n, s, h, r, t) {.code = ERR_##n, .name = s, .http_status = h, .retryable = r, .title = t},
        ERR_LIST(X)
#undef X
};

const struct err_info *err_info(int code)
{
	int index = -code - 1;
	if (index < 0 || index >= ERR_INDEX_COUNT)
		index = ERR_INDEX_INTERNAL;
	return &table[index];
}

int err_code_from_name(const char *name)
{
	for (size_t i = 0; i < ERR_INDEX_COUNT; i++)
		if (strcmp(table[i].name, name) == 0)
			return table[i].code;
	return ERR_INTERNAL;
}

void err_clear(struct err *e)
{
	if (e)
		*e = (struct err){0};
}

/* Formats before it clears: the arguments may be texts of `e` itself. */
__attribute__((format(printf, 3, 0))) static void fill(
        struct err *e, int code, const char *format, va_list args)
{
	char message[sizeof(e->message)];
	vsnprintf(message, sizeof(message), format, args);
	str_cut_utf8(message);
	*e = (struct err){.code = code};
	memcpy(e->message, message, sizeof(message));
}

int err_set(struct err *e, int code, const char *format, ...)
{
	if (!e)
		return code;
	va_list args;
	va_start(args, format);
	fill(e, code, format, args);
	va_end(args);
	return code;
}

int err_set_at(struct err *e, int code, const char *pointer, const char *format, ...)
{
	if (!e)
		return code;
	char copy[sizeof(e->pointer)]; /* `pointer` may be that of `e` */
	snprintf(copy, sizeof(copy), "%s", pointer);
	str_cut_utf8(copy);
	va_list args;
	va_start(args, format);
	fill(e, code, format, args);
	va_end(args);
	memcpy(e->pointer, copy, sizeof(copy));
	return code;
}

static int code_from_errno(int saved_errno)
{
	switch (saved_errno) {
	case ENOSPC:
	case EDQUOT:
		return ERR_DISK_FULL;
	case EACCES:
	case EPERM:
		return ERR_HOST_PERMISSION;
	case ENOENT:
		return ERR_NOT_FOUND;
	case ETIMEDOUT:
		return ERR_DEADLINE;
	default:
		return ERR_INTERNAL;
	}
}

int err_set_errno(struct err *e, int saved_errno, const char *format, ...)
{
	int code = code_from_errno(saved_errno);
	if (!e)
		return code;
	va_list args;
	va_start(args, format);
	fill(e, code, format, args);
	va_end(args);
	size_t used = strlen(e->message);
	snprintf(e->message + used, sizeof(e->message) - used, ": %s", strerror(saved_errno));
	e->source = ERR_SOURCE_OS;
	e->source_code = saved_errno;
	return code;
}

int err_hint(struct err *e, const char *format, ...)
{
	if (!e)
		return ERR_INTERNAL;
	va_list args;
	va_start(args, format);
	vsnprintf(e->hint, sizeof(e->hint), format, args);
	va_end(args);
	str_cut_utf8(e->hint);
	return e->code;
}

int err_prefix(struct err *e, const char *format, ...)
{
	if (!e)
		return ERR_INTERNAL;
	char before[sizeof(e->message)];
	memcpy(before, e->message, sizeof(before));
	va_list args;
	va_start(args, format);
	vsnprintf(e->message, sizeof(e->message), format, args);
	va_end(args);
	size_t used = strlen(e->message);
	snprintf(e->message + used, sizeof(e->message) - used, ": %s", before);
	str_cut_utf8(e->message);
	return e->code;
}

int err_numbers(struct err *e, const char *format, ...)
{
	if (!e)
		return ERR_INTERNAL;
	va_list args;
	va_start(args, format);
	int n = vsnprintf(e->numbers, sizeof(e->numbers), format, args);
	va_end(args);
	if (n < 0 || (size_t)n >= sizeof(e->numbers))
		e->numbers[0] = '\0'; /* cut JSON would be worse than none */
	return e->code;
}

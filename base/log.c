/* SPDX-License-Identifier: Apache-2.0 */
/* The log: each line is built whole and written by one write(2). */
#include "base/log.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include <systemd/sd-journal.h>

#include "base/clock.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "base/vec.h"

static _Atomic int lowest = LOG_LEVEL_INFO;
static bool to_journal;
static _Thread_local struct log_scope *scopes;

void log_set_level(enum log_level level)
{
	atomic_store(&lowest, level);
}

/* systemd sets JOURNAL_STREAM=device:inode of the stream it gave us as stderr (systemd.exec(5)). */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;
	return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
	       fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

void log_init(enum log_level level)
{
	log_set_level(level);
	to_journal = stderr_is_journal();
}

void log_scope_enter(struct log_scope *scope, const char *key, const char *value)
{
	*scope = (struct log_scope){.key = key, .value = value, .outer = scopes};
	scopes = scope;
}

void log_scope_leave(struct log_scope *scope)
{
	scopes = scope->outer;
}

static const char *level_name(enum log_level level)
{
	switch (level) {
	case LOG_LEVEL_ERROR:
		return "error";
	case LOG_LEVEL_WARNING:
		return "warning";
	case LOG_LEVEL_INFO:
		return "info";
	default:
		return "debug";
	}
}

/* A value is quoted when a reader of logfmt could misread it; control characters never pass. */
static void add_value(struct str *line, const char *value)
{
	str_add_char(line, '"');
	for (; *value; value++) {
		unsigned char c = (unsigned char)*value;
		if (c == '"' || c == '\\')
			str_add_char(line, '\\');
		if (c < 0x20 || c == 0x7f)
			str_printf(line, "\\x%02x", c);
		else
			str_add_char(line, (char)c);
	}
	str_add_char(line, '"');
}

static void add_field(struct str *line, const char *key, const char *value)
{
	str_printf(line, " %s=", key);
	add_value(line, value);
}

static void write_logfmt(enum log_level level, const char *message, const struct err *e)
{
	char now[CLOCK_TEXT_SIZE];
	clock_format(clock_wall_ms(), now);
	struct str line CLEANUP(str_done) = {0};
	str_printf(&line, "time=%s level=%s msg=", now, level_name(level));
	add_value(&line, message);
	if (e) {
		add_field(&line, "error", e->message);
		str_printf(&line, " code=%s", err_info(e->code)->name);
		if (e->source != ERR_SOURCE_BERTH)
			str_printf(&line, " source=%d:%d", (int)e->source, e->source_code);
	}
	for (const struct log_scope *s = scopes; s; s = s->outer)
		add_field(&line, s->key, s->value);
	str_add_char(&line, '\n');
	ssize_t written = write(STDERR_FILENO, line.data, line.len);
	(void)written; /* nowhere to report it */
}

static void upper_case(char *text)
{
	for (; *text && *text != '='; text++)
		if (*text >= 'a' && *text <= 'z')
			*text = (char)(*text - 'a' + 'A');
}

static void write_journal(enum log_level level, const char *message, const struct err *e)
{
	VEC(struct iovec) fields = {0};
	VEC_PUSH(&fields, ((struct iovec){.iov_base = str_format("PRIORITY=%d", (int)level)}));
	char *text = e ? str_format("MESSAGE=%s: %s", message, e->message)
	               : str_format("MESSAGE=%s", message);
	VEC_PUSH(&fields, ((struct iovec){.iov_base = text}));
	if (e)
		VEC_PUSH(&fields, ((struct iovec){.iov_base = str_format("BERTH_CODE=%s",
		                                          err_info(e->code)->name)}));
	for (const struct log_scope *s = scopes; s; s = s->outer) {
		char *field = str_format("berth_%s=%s", s->key, s->value);
		upper_case(field);
		VEC_PUSH(&fields, ((struct iovec){.iov_base = field}));
	}
	VEC_FOR_EACH (&fields, field)
		field->iov_len = strlen(field->iov_base);
	sd_journal_sendv(fields.items, (int)fields.len);
	VEC_FOR_EACH (&fields, field)
		free(field->iov_base);
	VEC_DONE(&fields);
}

__attribute__((format(printf, 3, 0))) static void write_line(
        enum log_level level, const struct err *e, const char *format, va_list args)
{
	struct str message CLEANUP(str_done) = {0};
	str_vprintf(&message, format, args);
	if (to_journal)
		write_journal(level, str_text(&message), e);
	else
		write_logfmt(level, str_text(&message), e);
}

void log_write(enum log_level level, const char *format, ...)
{
	if ((int)level > atomic_load(&lowest))
		return;
	va_list args;
	va_start(args, format);
	write_line(level, NULL, format, args);
	va_end(args);
}

void log_err(enum log_level level, const struct err *e, const char *format, ...)
{
	if ((int)level > atomic_load(&lowest))
		return;
	va_list args;
	va_start(args, format);
	write_line(level, e, format, args);
	va_end(args);
}

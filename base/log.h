/* SPDX-License-Identifier: Apache-2.0 */
/* Structured logging: logfmt on stderr, or the journal when stderr is one. Never log a secret. */
#pragma once

#include "base/err.h"

enum log_level {
	LOG_LEVEL_ERROR = 3,
	LOG_LEVEL_WARNING = 4,
	LOG_LEVEL_INFO = 6,
	LOG_LEVEL_DEBUG = 7
};

/* Chooses the sink and the lowest level that is written. Call once, before threads start; the level
 * may be changed later with log_set_level. */
void log_init(enum log_level level);
void log_set_level(enum log_level level);

void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* One line for an error value: message, code, source, hint. */
void log_err(enum log_level level, const struct err *e, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

#define log_error(...)   log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

/*
 * Fields that every line of this thread carries until the scope ends:
 *	LOG_SCOPE("request_id", rq->id);
 */
struct log_scope {
	const char *key;   /* borrowed */
	const char *value; /* borrowed */
	struct log_scope *outer;
};
void log_scope_enter(struct log_scope *scope, const char *key, const char *value);
void log_scope_leave(struct log_scope *scope);

#define LOG_SCOPE(key_text, value_text)                                                            \
	struct log_scope log_scope_local __attribute__((cleanup(log_scope_leave)));                \
	log_scope_enter(&log_scope_local, key_text, value_text)

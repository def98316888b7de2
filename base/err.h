/* SPDX-License-Identifier: Apache-2.0 */
/* The one error value that travels through Berth, and the one list of error codes. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>

/*
 * The list of codes: name, stable code string (problem+json `code`), HTTP status, whether the
 * same request may succeed later unchanged, title (RFC 9457 `title`).
 */
#define ERR_LIST(X)                                                                                \
	X(INVALID, "invalid", 400, false, "Invalid request")                                       \
	X(MALFORMED, "malformed", 400, false, "Malformed request")                                 \
	X(UNAUTHENTICATED, "unauthenticated", 401, false, "Authentication required")               \
	X(FORBIDDEN, "forbidden", 403, false, "Permission denied")                                 \
	X(NOT_FOUND, "not_found", 404, false, "Not found")                                         \
	X(METHOD_NOT_ALLOWED, "method_not_allowed", 405, false, "Method not allowed")              \
	X(NOT_ACCEPTABLE, "not_acceptable", 406, false, "Not acceptable")                          \
	X(REQUEST_TIMEOUT, "request_timeout", 408, true, "Request timed out")                      \
	X(CONFLICT, "conflict", 409, false, "Conflict")                                            \
	X(EXISTS, "already_exists", 409, false, "Already exists")                                  \
	X(BUSY, "busy", 409, true, "Busy with another operation")                                  \
	X(WRONG_STATE, "wrong_state", 409, false, "Not possible in this state")                    \
	X(IN_USE, "in_use", 409, false, "In use")                                                  \
	X(PROTECTED, "protected", 409, false, "Deletion protection is on")                         \
	X(NO_CAPACITY, "insufficient_capacity", 409, true, "Not enough room")                      \
	X(GONE, "gone", 410, false, "No longer available")                                         \
	X(PRECONDITION, "precondition_failed", 412, false, "Precondition failed")                  \
	X(TOO_LARGE, "too_large", 413, false, "Request too large")                                 \
	X(URI_TOO_LONG, "uri_too_long", 414, false, "Request target too long")                     \
	X(MEDIA_TYPE, "unsupported_media_type", 415, false, "Unsupported media type")              \
	X(RANGE, "range_not_satisfiable", 416, false, "Range not satisfiable")                     \
	X(UNPROCESSABLE, "unprocessable", 422, false, "Cannot be carried out")                     \
	X(REFERENCE, "reference_not_found", 422, false, "A named resource does not exist")         \
	X(UNSUPPORTED, "unsupported", 422, false, "Not supported here")                            \
	X(KEY_REUSED, "idempotency_key_reused", 422, false, "Idempotency key used before")         \
	X(LIMIT, "limit_reached", 429, true, "Limit reached")                                      \
	X(CANCELLED, "cancelled", 409, false, "Cancelled")                                         \
	X(INTERNAL, "internal", 500, false, "Internal error")                                      \
	X(DATABASE, "database", 500, true, "Database error")                                       \
	X(HYPERVISOR, "hypervisor", 502, false, "The hypervisor refused")                          \
	X(HOST_PERMISSION, "host_permission", 502, false, "The host denied access")                \
	X(UNAVAILABLE, "unavailable", 503, true, "Not available now")                              \
	X(HOST_DOWN, "host_down", 503, true, "The host is down")                                   \
	X(HOST_SLOW, "host_slow", 503, true, "The host does not answer in time")                   \
	X(VM_STUCK, "vm_stuck", 503, true, "The VM's hypervisor process does not answer")          \
	X(DEADLINE, "deadline_exceeded", 504, true, "Did not finish in time")                      \
	X(DISK_FULL, "disk_full", 507, true, "Not enough disk space")

enum err_code_index {
#define X(name, code, status, retryable, title) ERR_INDEX_##name,
	ERR_LIST(X)
#undef X
	        ERR_INDEX_COUNT
};

/* Functions return 0 or one of these negative values. */
enum err_code {
	ERR_OK = 0,
#define X(name, code, status, retryable, title) ERR_##name = -(1 + ERR_INDEX_##name),
	ERR_LIST(X)
#undef X
};

/* Where the underlying failure came from; `source_code` is that library's own number. */
enum err_source { ERR_SOURCE_BERTH, ERR_SOURCE_OS, ERR_SOURCE_SQLITE, ERR_SOURCE_LIBVIRT };

/*
 * Caller-owned value; copied freely, also across threads. `numbers` is "" or the text of a JSON
 * object with the arithmetic of a refusal ({"asked_bytes":...,"free_bytes":...}).
 */
struct err {
	int code; /* enum err_code */
	enum err_source source;
	int source_code;
	char message[480]; /* names the object, the reason and the numbers; no trailing dot */
	char pointer[160]; /* JSON pointer of the offending member, or "" */
	char hint[256];    /* what would help, or "" */
	char numbers[640];
};

struct err_info {
	int code;
	const char *name;
	int http_status;
	bool retryable;
	const char *title;
};

/* Describes a code; unknown codes are described as ERR_INTERNAL. Any thread. */
const struct err_info *err_info(int code);
/* Finds a code by its stable string, or ERR_INTERNAL. Any thread. */
int err_code_from_name(const char *name);

/* Fill `e` (may be NULL) and return `code`, so that `return err_set(e, ERR_X, ...)` reads well. */
int err_set(struct err *e, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Same, for one member of the request body. */
int err_set_at(struct err *e, int code, const char *pointer, const char *format, ...)
        __attribute__((format(printf, 4, 5)));
/* From errno. Maps ENOSPC/EDQUOT to DISK_FULL, EACCES/EPERM to HOST_PERMISSION, ENOENT to
 * NOT_FOUND. */
int err_set_errno(struct err *e, int saved_errno, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
/* Adds a hint to an error already set; returns its code. */
int err_hint(struct err *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Puts "prefix: " before the message; returns its code. */
int err_prefix(struct err *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Adds the arithmetic as a JSON object; returns its code. */
int err_numbers(struct err *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
void err_clear(struct err *e);

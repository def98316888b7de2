/* SPDX-License-Identifier: Apache-2.0 */
/* An error value as the members of an RFC 9457 problem, and back. Any thread. */
#pragma once

#include "base/err.h"
#include "base/json_writer.h"

/*
 * Writes type, title, status, detail and code, and where the error has them hint, numbers and
 * errors (one entry for the pointer), into an object the caller has begun.
 */
void problem_encode_members(const struct err *e, struct json_writer *w);
/* Reads what problem_encode_members wrote (further members are passed over). False, and
 * ERR_INTERNAL with the start of the text, if it is no such object. The library's own error number
 * is not kept. */
bool problem_from_json(const char *text, struct err *ret_error);

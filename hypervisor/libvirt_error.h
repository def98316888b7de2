/* SPDX-License-Identifier: Apache-2.0 */
/* libvirt's errors become ours: a code, the reason in libvirt's words, and what would help. */
#pragma once

#include "base/err.h"

struct _virError;

/* Translates one error into `e` (may be NULL); returns our code. Pure, any thread. */
int libvirt_error_translate(const struct _virError *error, struct err *e);
/* Translates the calling thread's last error and puts "what: " before it; returns our code. */
int libvirt_error_take(struct err *e, const char *format, ...)
        __attribute__((format(printf, 2, 3)));
/* The number (VIR_ERR_...) of the calling thread's last error, 0 for none. */
int libvirt_error_number(void);

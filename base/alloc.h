/* SPDX-License-Identifier: Apache-2.0 */
/* Small allocations that abort when memory is gone: guests survive a restart of the manager. */
#pragma once

#include <stddef.h>

/* Zeroed memory; never NULL. Free with free(). For sizes the program chooses, never a client. */
void *xcalloc(size_t count, size_t size) __attribute__((returns_nonnull));
/* Grows or shrinks; never NULL for size > 0. */
void *xrealloc(void *p, size_t size) __attribute__((returns_nonnull));
/* Copies; NULL stays NULL. */
char *xstrdup(const char *s);
/* Copies `len` bytes and terminates. */
char *xstrndup(const char *s, size_t len);
void *xmemdup(const void *p, size_t size);
/* Frees what *slot holds and stores a copy of `s` (NULL allowed). */
void str_replace(char **slot, const char *s);

/* SPDX-License-Identifier: Apache-2.0 */
/* Aborting allocation. */
#include "base/alloc.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void *xcalloc(size_t count, size_t size)
{
	void *p = calloc(count ? count : 1, size ? size : 1);
	if (!p)
		abort();
	return p;
}

void *xrealloc(void *p, size_t size)
{
	void *q = realloc(p, size ? size : 1);
	if (!q)
		abort();
	return q;
}

char *xstrndup(const char *s, size_t len)
{
	char *copy = xcalloc(1, len + 1);
	memcpy(copy, s, len);
	return copy;
}

char *xstrdup(const char *s)
{
	return s ? xstrndup(s, strlen(s)) : NULL;
}

void *xmemdup(const void *p, size_t size)
{
	void *copy = xcalloc(1, size);
	memcpy(copy, p, size);
	return copy;
}

void str_replace(char **slot, const char *s)
{
	char *copy = xstrdup(s);
	free(*slot);
	*slot = copy;
}

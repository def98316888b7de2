/* SPDX-License-Identifier: Apache-2.0 */
/* Where in a JSON document a walk stands: frames on the stack, rendered only when a pointer is
 * needed. */
#pragma once

#include <stddef.h>

struct field_path {
	const struct field_path *parent; /* NULL: directly in the document */
	const char *name;                /* member name; NULL: array element `index` */
	size_t index;
};

/* Writes the JSON pointer (RFC 6901), cut at a whole UTF-8 character if it does not fit. NULL: the
 * document itself, "". */
void field_path_render(const struct field_path *path, char *ret_text, size_t size);

/* SPDX-License-Identifier: Apache-2.0 */
/* Rendering JSON pointers. Pure. */
#include "base/field_path.h"

#include <stdio.h>

#include "base/str.h"

static size_t add_char(char *text, size_t size, size_t len, char c)
{
	if (len + 1 < size) {
		text[len] = c;
		text[len + 1] = '\0';
	}
	return len + 1;
}

static size_t add_name(char *text, size_t size, size_t len, const char *name)
{
	for (; *name && len < size; name++) {
		if (*name == '~' || *name == '/') {
			len = add_char(text, size, len, '~');
			len = add_char(text, size, len, *name == '~' ? '0' : '1');
		} else {
			len = add_char(text, size, len, *name);
		}
	}
	return len;
}

static size_t render(const struct field_path *path, char *text, size_t size)
{
	if (!path)
		return 0;
	size_t len = render(path->parent, text, size);
	len = add_char(text, size, len, '/');
	if (path->name)
		return add_name(text, size, len, path->name);
	char digits[24];
	snprintf(digits, sizeof(digits), "%zu", path->index);
	return add_name(text, size, len, digits);
}

void field_path_render(const struct field_path *path, char *ret_text, size_t size)
{
	ret_text[0] = '\0';
	render(path, ret_text, size);
	str_cut_utf8(ret_text);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The `fields` parameter: drops top-level members from JSON text of our own making, in place. Any
 * thread. */
#include <string.h>

#include "api/exchange.h"

/* Behind the string that begins at `at`. */
static size_t skip_string(const char *text, size_t at)
{
	for (at++; text[at] != '"'; at++)
		if (text[at] == '\\')
			at++;
	return at + 1;
}

/* Behind the value that begins at `at`: at the comma or the bracket that follows. */
static size_t skip_value(const char *text, size_t at, size_t end)
{
	int depth = 0;
	while (at < end) {
		char c = text[at];
		if (c == '"') {
			at = skip_string(text, at);
			continue;
		}
		if (depth == 0 && (c == ',' || c == '}'))
			break;
		depth += (c == '{' || c == '[') - (c == '}' || c == ']');
		at++;
	}
	return at;
}

static bool is_wanted(const struct exchange *ex, const char *name, size_t len)
{
	for (size_t i = 0; i < ex->n_fields; i++)
		if (strncmp(ex->fields[i], name, len) == 0 && ex->fields[i][len] == '\0')
			return true;
	return false;
}

void exchange_select_fields(const struct exchange *ex, struct str *out, size_t start)
{
	if (ex->n_fields == 0 || start >= out->len || out->data[start] != '{')
		return;
	char *text = out->data;
	size_t from = start + 1, to = start + 1;
	while (from < out->len && text[from] == '"') {
		size_t name_end = skip_string(text, from);
		size_t end = skip_value(text, name_end, out->len);
		if (is_wanted(ex, text + from + 1, name_end - from - 2)) {
			if (to > start + 1)
				text[to++] = ',';
			memmove(text + to, text + from, end - from);
			to += end - from;
		}
		from = end + (text[end] == ',');
	}
	text[to++] = '}';
	out->len = to;
	text[to] = '\0';
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Checks shared by field tables. Each returns NULL or what is wrong ("must ..."). Pure. */
#include "base/field.h"

#include <string.h>

#include "base/uuid.h"

#define NAME_BYTES_MAX  63
#define LABEL_BYTES_MAX 128

static bool is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
}

const char *field_check_name(const char *text)
{
	if (text[0] < 'a' || text[0] > 'z')
		return "must begin with a letter a-z";
	size_t len = 0;
	while (is_name_char(text[len]))
		len++;
	if (text[len] != '\0')
		return "must consist of a-z, 0-9 and -";
	if (len > NAME_BYTES_MAX)
		return "must have at most 63 characters";
	if (uuid_is_shaped(text))
		return "must not look like a UUID";
	return NULL;
}

/* C0, DEL and C1 controls, and the noncharacters U+FFFE and U+FFFF, which XML cannot carry. */
static bool has_control(const char *text, const char *allowed)
{
	const unsigned char *s = (const unsigned char *)text;
	for (; *s; s++) {
		if ((*s < 0x20 || *s == 0x7f) && !strchr(allowed, *s))
			return true;
		if (s[0] == 0xc2 && s[1] >= 0x80 && s[1] < 0xa0)
			return true;
		if (s[0] == 0xef && s[1] == 0xbf && s[2] >= 0xbe)
			return true;
	}
	return false;
}

const char *field_check_label(const char *text)
{
	if (strlen(text) > LABEL_BYTES_MAX)
		return "must have at most 128 bytes";
	if (has_control(text, ""))
		return "must not contain control characters";
	return NULL;
}

const char *field_check_text(const char *text)
{
	return has_control(text, "\n\t") ? "must not contain control characters" : NULL;
}

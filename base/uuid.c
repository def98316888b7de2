/* SPDX-License-Identifier: Apache-2.0 */
/* UUIDs by libuuid. */
#include "base/uuid.h"

#include <stdint.h>
#include <string.h>
#include <time.h>
#include <uuid/uuid.h>

/* Version 7 (RFC 9562, section 5.7): it begins with the milliseconds since 1970, so what is made one after another lies
 * side by side in the database's trees. With random keys each of a row's dozen index entries dirties a page of its own.
 */
void uuid_make(char ret_text[UUID_TEXT_SIZE])
{
	uuid_t raw;
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	uint64_t ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
	uuid_generate_random(raw);
	for (int i = 0; i < 6; i++)
		raw[i] = (unsigned char)(ms >> (40 - 8 * i));
	raw[6] = (unsigned char)((raw[6] & 0x0f) | 0x70);
	uuid_unparse_lower(raw, ret_text);
}

bool uuid_is_shaped(const char *text)
{
	uuid_t raw;
	return strlen(text) == UUID_TEXT_SIZE - 1 && uuid_parse(text, raw) == 0;
}

void uuid_text_copy(char target[UUID_TEXT_SIZE], const char *text)
{
	size_t len = text ? strnlen(text, UUID_TEXT_SIZE - 1) : 0;
	if (len > 0)
		memcpy(target, text, len);
	target[len] = '\0';
}

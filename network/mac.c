/* SPDX-License-Identifier: Apache-2.0 */
/* Checking and choosing MAC addresses. */
#include "network/mac.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

const char *mac_check(const char *text)
{
	if (strlen(text) != MAC_TEXT_SIZE - 1)
		return "must be six pairs of hex digits joined by colons";
	for (int i = 0; i < MAC_TEXT_SIZE - 1; i++) {
		bool ok = i % 3 == 2 ? text[i] == ':' : isxdigit((unsigned char)text[i]) != 0;
		if (!ok)
			return "must be six pairs of hex digits joined by colons";
	}
	if (strchr("13579bdfBDF", text[1]))
		return "must be a unicast address: the first byte must be even";
	return NULL;
}

void mac_make(char ret_text[MAC_TEXT_SIZE])
{
	unsigned char random[3] = {0};
	ssize_t got = getrandom(random, sizeof(random), 0);
	(void)got; /* so few bytes never fail or fall short (getrandom(2)) */
	snprintf(ret_text, MAC_TEXT_SIZE, "52:54:00:%02x:%02x:%02x", random[0], random[1],
	        random[2]);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* UUIDs as lower-case text of 36 characters. */
#pragma once

#include <stdbool.h>

#define UUID_TEXT_SIZE 37

/* A new UUID (version 7: the time, then 74 random bits). Any thread. */
void uuid_make(char ret_text[UUID_TEXT_SIZE]);
/* Whether the text has the shape of a UUID (8-4-4-4-12 hex digits, any case). */
bool uuid_is_shaped(const char *text);
/* Copies UUID text; longer text is cut, NULL makes it empty. */
void uuid_text_copy(char target[UUID_TEXT_SIZE], const char *text);

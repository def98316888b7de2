/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of CPUs as text, for comparisons. */
#pragma once

#include <stdio.h>

#include "base/cleanup.h"
#include "base/cpu_set.h"

/* Valid until the next call. */
static inline const char *text_of(const struct cpu_set *set)
{
	static char text[256];
	struct str s CLEANUP(str_done) = {0};
	cpu_set_format(set, &s);
	snprintf(text, sizeof(text), "%s", str_text(&s));
	return text;
}

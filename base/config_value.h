/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the configuration only: the values of one option. */
#pragma once

#include "base/config.h"

/* Parses into the member, freeing what it held. ERR_INVALID saying what is wrong with the value
 * (without naming the option); the member is unchanged then. */
int config_value_parse(
        const struct config_option *option, const char *text, void *member, struct err *e);
void config_value_release(const struct config_option *option, void *member);
bool config_value_equal(const struct config_option *option, const void *a, const void *b);
/* "a size from 1 MiB to 2 GiB", ... caller frees. */
char *config_value_describe(const struct config_option *option);

/* SPDX-License-Identifier: Apache-2.0 */
/* How base/process.c confines a tool: made before the fork, put on between fork and exec (no allocation, no
 * locks there). */
#pragma once

#include <linux/filter.h>
#include <stddef.h>

#include "base/process.h"

struct confinement {
	int ruleset_fd;
	struct sock_filter *filter; /* owned */
	size_t n_filter;
};
/* ERR_UNSUPPORTED without Landlock or seccomp. */
int confinement_make(
        const struct process_config *config, struct confinement *ret_confinement, struct err *e);
void confinement_done(struct confinement *confinement);
/* In the child: 0, or the number of the error. */
int confinement_put_on(const struct confinement *confinement);

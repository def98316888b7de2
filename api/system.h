/* SPDX-License-Identifier: Apache-2.0 */
/* What the daemon adds to the server's own resources. */
#pragma once

#include "api/app.h"

/* `write(arg, out)` adds families of its own to /metrics, on an HTTP thread (hosts by state,
 * memory, ...). Before the server starts. */
void system_set_metrics(struct app *app, void (*write)(void *arg, struct str *out), void *arg);

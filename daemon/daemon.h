/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon: creates the parts, joins them, and starts and stops them in order. */
#pragma once

#include "base/err.h"
#include "daemon/options.h"

struct daemon;

/*
 * Takes the state directory (one daemon at a time), brings the database up to date, starts all
 * parts. `config_path` (may be NULL) is what SIGHUP reads again; `overrides` are applied after it
 * each time: NULL-terminated pairs of name and value. All are borrowed for the daemon's life. Main
 * thread, which becomes the core loop's.
 */
int daemon_start(struct options *options, const char *config_path, const char *const *overrides,
        struct daemon **ret_daemon, struct err *e);
/* Serves until SIGTERM or SIGINT, then drains. */
void daemon_run(struct daemon *d);
/* Stops what was started, in reverse order, and frees. Accepts half-started ones and NULL. */
void daemon_free(struct daemon *d);

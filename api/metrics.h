/* SPDX-License-Identifier: Apache-2.0 */
/* Counters of requests per route, written as Prometheus text. Any thread; lock-free. */
#pragma once

#include <stdint.h>

#include "api/router.h"
#include "base/str.h"

struct metrics;

struct metrics *metrics_new(size_t n_routes);
void metrics_free(struct metrics *m);
/* A route's request begins and ends. */
void metrics_begin(struct metrics *m, size_t route);
void metrics_end(struct metrics *m, size_t route, int status, int64_t duration_ns);
/* Requests that met no route, by status. */
void metrics_count_unrouted(struct metrics *m, int status);
/* Connections open now. */
void metrics_add_connections(struct metrics *m, int difference);
void metrics_write(const struct metrics *m, const struct router *router, struct str *out);
/* Begins a metric family: # HELP and # TYPE. */
void metrics_family(struct str *out, const char *name, const char *type, const char *help);

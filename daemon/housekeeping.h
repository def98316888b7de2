/* SPDX-License-Identifier: Apache-2.0 */
/* Forgets what is old: events, ended operations, idempotency keys. Core loop; the deleting is the
 * writer's. */
#pragma once

#include "base/loop.h"
#include "daemon/options.h"
#include "db/writer.h"

struct housekeeping;
struct housekeeping_config {
	struct loop *loop;
	struct writer *writer;
	const struct options *options; /* borrowed; read at each turn, so that a reload counts */
};

struct housekeeping *housekeeping_start(const struct housekeeping_config *config);
void housekeeping_stop(struct housekeeping *h); /* accepts NULL */

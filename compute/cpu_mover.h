/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves running VMs off the CPUs that others own, and back when nobody owns them any more
 * (docs/decisions/0015-owned-cpus.md). Where each VM belongs is the rows' (room_settle_cpus); this carries it out.
 *
 *	who owns what has changed -> pass: settle (one writer job)
 *	      -> tell each VM that may be elsewhere (a lane call each)
 *	             -> is there: note it, settle
 *	             -> could not be told: another pass after a while
 *
 * VMs are told side by side, so one that hangs delays itself alone. When a host came up, all of its pinned VMs may be
 * elsewhere. Nothing is remembered that the rows do not say, so a restart goes on where they are. Core loop, but for the
 * writer jobs and lane calls.
 */
#pragma once

#include "operation/services.h"

struct cpu_mover;

/* Watches the change feed: before the writer has work, after change_feed_reset. `services` is borrowed. */
struct cpu_mover *cpu_mover_new(const struct operation_services *services);
/* The host can be told again. */
void cpu_mover_host_up(struct cpu_mover *mover, const char *host_id);
/* Tells nobody any more. Accepts NULL. */
void cpu_mover_stop(struct cpu_mover *mover);
/* After the loop has delivered what was under way. Accepts NULL. */
void cpu_mover_free(struct cpu_mover *mover);

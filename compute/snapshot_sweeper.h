/* SPDX-License-Identifier: Apache-2.0 */
/* Once a minute: takes up the merges of VMs that have stopped (snapshot_sweep). Core loop. */
#pragma once

#include "operation/services.h"

struct snapshot_sweeper;

/* `services` is borrowed. */
struct snapshot_sweeper *snapshot_sweeper_new(const struct operation_services *services);
/* Sweeps that wait for the writer go on. Accepts NULL. */
void snapshot_sweeper_free(struct snapshot_sweeper *sweeper);

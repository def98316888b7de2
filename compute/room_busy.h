/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How busy the hosts' CPUs really are, for the inventories: in memory alone, in steps of 10 %, measured over at least 10 s.
 * Both inventories take it from here before each decision, so a dry run sees what the commit sees. Any thread.
 */
#pragma once

#include "hypervisor/driver.h"
#include "scheduler/inventory.h"

struct room_busy;

struct room_busy *room_busy_new(void);
void room_busy_free(struct room_busy *busy);

/* Whether the host's counters are wanted again. */
bool room_busy_is_due(struct room_busy *busy, const char *host_id, int64_t now_ms);
/* Its counters; those that come too early, or are not known, change nothing. */
void room_busy_note(struct room_busy *busy, const char *host_id, const struct host_stats *stats,
        int64_t now_ms);
/* Writes what is known into the inventory, if it is newer than *version, which starts at 0. A host of which nothing was
 * heard for a minute is unknown again. */
void room_busy_apply(
        struct room_busy *busy, int64_t *version, struct inventory *inventory, int64_t now_ms);

/* SPDX-License-Identifier: Apache-2.0 */
/* Counts over all hosts and VMs, for monitoring. */
#pragma once

#include "db/db.h"

/* Calls add(arg, value, n) for each state of hosts, or power of VMs, that occurs. Any connection. */
int fleet_store_count_hosts(struct db *db, void (*add)(void *arg, const char *state, int64_t n),
        void *arg, struct err *e);
int fleet_store_count_vms(struct db *db, void (*add)(void *arg, const char *power, int64_t n),
        void *arg, struct err *e);

/* SPDX-License-Identifier: Apache-2.0 */
/* One host's row as the inventory takes it. */
#pragma once

#include "base/vec.h"
#include "compute/host.h"
#include "scheduler/inventory.h"
#include "storage/pool.h"

/* All pools, to tell which of them a host reaches. */
struct room_pool {
	char *id, *name;            /* owned */
	struct field_strings hosts; /* ids of those that reach it; empty: all */
};
struct room_pools {
	VEC(struct room_pool) items;
};
int room_pools_load(struct db *db, struct room_pools *ret_pools, struct err *e);
void room_pools_done(struct room_pools *pools);

int room_load_host(struct db *db, struct inventory *inventory, const struct host_row *row,
        const struct room_pools *pools, struct err *e);

/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of table freeze_guard: which processes may hold which guests frozen. */
#pragma once

#include "base/uuid.h"
#include "db/db.h"

struct freeze_guard_row {
	char operation_id[UUID_TEXT_SIZE], vm_id[UUID_TEXT_SIZE], host_id[UUID_TEXT_SIZE];
	int64_t pid, pid_start, started_at;
};
/* Inserts it, or gives the operation's guard of that VM another process. Writer thread, like the next. */
int freeze_guard_store_put(struct db *db, const struct freeze_guard_row *row, struct err *e);
/* Only the row of this very process. Missing: success. */
int freeze_guard_store_remove(struct db *db, const struct freeze_guard_row *row, struct err *e);
int freeze_guard_store_each(struct db *db,
        void (*each)(void *arg, const struct freeze_guard_row *row), void *arg, struct err *e);

/* SPDX-License-Identifier: Apache-2.0 */
/* Numbered, append-only schema migrations, embedded in the binary; PRAGMA user_version holds the
 * number. */
#pragma once

#include "base/err.h"
#include "db/db.h"

struct migration {
	int number;
	const char *name;
	const char *sql;
};

/* From migrations/NNNN_name.sql in order; ends with number 0. */
extern const struct migration migrations_embedded[];

/*
 * Brings the file to the newest schema: each migration in one transaction, after an online backup
 * (PATH.before-NNNN, 0600, synced) when there is anything to lose. A file newer than this binary is
 * refused with both numbers (ERR_UNSUPPORTED), one of another program with ERR_CONFLICT. `list` is
 * migrations_embedded except in tests. Start-up thread, before any other connection is open.
 */
int migrations_apply(const char *path, const struct migration *list, struct err *e);

/* SPDX-License-Identifier: Apache-2.0 */
/* A directory of its own per test with a database file in it, and shorthands to look into it. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <ftw.h>
#include <unistd.h>

#include "base/log.h"
#include "db/db_internal.h"
#include "db/migrations.h"

struct temp_db {
	char dir[64];
	char path[96];
};

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void temp_db_done(struct temp_db *temp)
{
	nftw(temp->dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

/* Only the directory; the file does not exist yet. */
static void temp_db_init_empty(struct temp_db *temp)
{
	log_init(LOG_LEVEL_ERROR - 1); /* provoked failures are not news */
	snprintf(temp->dir, sizeof(temp->dir), "/tmp/berth-db-XXXXXX");
	assert_non_null(mkdtemp(temp->dir));
	snprintf(temp->path, sizeof(temp->path), "%s/berth.db", temp->dir);
}

#define must(call, e)                                                                              \
	do {                                                                                       \
		if ((call) < 0)                                                                    \
			fail_msg("%s: %s", #call, (e)->message);                                   \
	} while (0)

/* With today's schema. */
static inline void temp_db_init(struct temp_db *temp)
{
	struct err e = {0};
	temp_db_init_empty(temp);
	must(migrations_apply(temp->path, migrations_embedded, &e), &e);
}

static inline struct db *temp_db_open(const struct temp_db *temp, enum db_mode mode)
{
	struct err e = {0};
	struct db *db = NULL;
	must(db_open(temp->path, mode, &db, &e), &e);
	return db;
}

/* The integer a query answers, by a connection of its own. */
static inline int64_t temp_db_int(const struct temp_db *temp, const char *sql)
{
	struct err e = {0};
	int64_t value = -1;
	struct db *db = temp_db_open(temp, DB_READ_ONLY);
	must(db_query_int(db, sql, &value, &e), &e);
	db_close(db);
	return value;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Read-only connections, one per thread, opened at first use and closed when the thread ends. */
#pragma once

#include "db/db.h"

struct readers;

struct readers *readers_new(const char *path);
/* After all threads that used it have ended or are ending, except the caller's; waits for those
 * that are, at most 2 s. */
void readers_free(struct readers *r);
/* This thread's connection, borrowed. Any thread but the core loop. */
int readers_get(struct readers *r, struct db **ret_db, struct err *e);
/* Begins and ends a read transaction, so that several SELECTs see one state. */
int reader_begin(struct db *db, struct err *e);
void reader_end(struct db *db);

/* SPDX-License-Identifier: Apache-2.0 */
/* Pools as they are answered. */
#pragma once

#include "storage/pool.h"

/* pool_fields. Any connection. */
int pool_encode(struct db *db, const struct pool_row *row, struct json_writer *w, struct err *e);

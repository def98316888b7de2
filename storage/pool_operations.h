/* SPDX-License-Identifier: Apache-2.0 */
/* Changing pools: rules on the writer thread, the rest by operations. */
#pragma once

#include "operation/operation.h"
#include "storage/pool.h"

/* All: writer thread, inside a job. Errors of single members are added to `errors`, with ERR_INVALID. */

/* Inserts the row ("creating") and starts pool.create: ERR_EXISTS, ERR_REFERENCE for an unknown host. */
int pool_create(struct db *db, struct operation_engine *engine, const struct pool_spec *spec,
        const struct operation_asked *asked, struct field_errors *errors,
        char ret_operation[UUID_TEXT_SIZE], char ret_id[UUID_TEXT_SIZE], struct err *e);
/*
 * The new configuration holds at once. What hosts must be told is done by pool.update, else *ret_operation is "". What
 * libvirt knows cannot change while the pool is in use: ERR_IN_USE names by what. Its name and kind stay.
 */
int pool_replace(struct db *db, struct operation_engine *engine, const struct pool_row *row,
        const struct pool_spec *spec, const struct operation_asked *asked,
        struct field_errors *errors, char ret_operation[UUID_TEXT_SIZE], struct err *e);
/* The same with a merge patch. */
int pool_update(struct db *db, struct operation_engine *engine, const struct pool_row *row,
        json_t *patch, const struct operation_asked *asked, struct field_errors *errors,
        char ret_operation[UUID_TEXT_SIZE], struct err *e);
/* Starts pool.delete: ERR_IN_USE names what is in it, ERR_PROTECTED for `default`. */
int pool_delete(struct db *db, struct operation_engine *engine, const struct pool_row *row,
        const struct operation_asked *asked, char ret_operation[UUID_TEXT_SIZE], struct err *e);

void pool_register_kinds(struct operation_engine *engine);
#define POOL_CREATE "pool.create"
#define POOL_UPDATE "pool.update"
#define POOL_DELETE "pool.delete"

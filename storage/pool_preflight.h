/* SPDX-License-Identifier: Apache-2.0 */
/* The preflight of a pool on one host: is it there, and can QEMU really write a disk in it? Lane threads. */
#pragma once

#include "storage/pool.h"

struct pool_probe {
	const struct pool_access *access;
	const char *operation_id, *host_id;
	struct pool_info *ret_info;
	char *ret_note; /* what was tried */
	size_t note_size;
};
/* Makes a small volume, lets a carrier open it, removes both. An error says in words what is wrong. */
int pool_preflight_run(const struct pool_probe *probe, const struct driver *driver,
        struct driver_connection *c, struct err *e);
/* Removes what a preflight may have left. Nothing there: success. */
int pool_preflight_undo(const struct pool_access *access, const char *operation_id,
        const char *host_id, const struct driver *driver, struct driver_connection *c,
        struct err *e);
/* Adds to the error, if it is a known one, what it means and what would help. Pure. */
void pool_explain(const struct pool_access *access, struct err *e);

/* SPDX-License-Identifier: Apache-2.0 */
/* The live connections by host id, so that storage/ and compute/ reach a host's lane alike. Core
 * loop only. */
#pragma once

#include "hypervisor/host_connection.h"

struct host_directory;

struct host_directory *host_directory_new(struct loop *loop);
/* The connections are not freed. */
void host_directory_free(struct host_directory *d);
void host_directory_put(struct host_directory *d, const char *host_id, struct host_connection *c);
void host_directory_remove(struct host_directory *d, const char *host_id);
/* NULL if unknown. */
struct host_connection *host_directory_get(const struct host_directory *d, const char *host_id);
/* Queues a call on that host's lane; for an unknown host `done` follows from the loop with
 * ERR_NOT_FOUND. */
void host_directory_submit(
        struct host_directory *d, const char *host_id, const struct lane_call *call);

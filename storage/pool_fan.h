/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One step of a pool's operation on several hosts at once: a lane call to each, with the pool's id as key, and the step
 * goes on when all have answered. Core loop, but for `run`.
 */
#pragma once

#include "operation/operation.h"
#include "storage/pool_store.h"

struct pool_fan;

/* One host's call. What `run` writes is read only when it returned in time. */
struct pool_fan_call {
	char pool_id[UUID_TEXT_SIZE], host_id[UUID_TEXT_SIZE], operation_id[UUID_TEXT_SIZE];
	char host[64];             /* its name */
	struct pool_access access; /* loaded before run */
	bool has_info;
	struct pool_info info; /* set by run */
	char note[160];        /* for users; set by run */
	/* private */
	struct pool_fan *fan;
	struct readers *readers;
	int (*run)(struct pool_fan_call *call, const struct driver *driver,
	        struct driver_connection *c, struct err *e);
};

struct pool_fan_answer {
	char host_id[UUID_TEXT_SIZE], host[64];
	int rc;
	bool has_info;
	struct pool_info info;
	char note[160];
};
struct pool_fan {
	struct operation *op;
	VEC(struct pool_fan_answer) answers; /* in the order in which they came */
	int rc;                              /* of the first that failed, its host named in `e` */
	struct err e;
	/* private */
	size_t pending;
	int references;
	void (*done)(struct pool_fan *fan);
};

/*
 * Calls the hosts of list `list` in the operation's input ([{"id","name"}]) for which `is_wanted` (NULL: all) says so.
 * One that was removed meanwhile is left out; one that is down fails the step with ERR_HOST_DOWN.
 * `done` must end the step.
 */
void pool_fan_out(struct operation *op, const char *list,
        bool (*is_wanted)(struct operation *op, const char *host_id),
        int (*run)(struct pool_fan_call *call, const struct driver *driver,
                struct driver_connection *c, struct err *e),
        void (*done)(struct pool_fan *fan));
/* Ends the step: with the first error, or with success and how the hosts see the pool recorded. */
void pool_fan_end(struct pool_fan *fan);

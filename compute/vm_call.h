/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One call of an operation's step to its VM's host: runs on a lane thread with the VM's plan
 * loaded, and ends the step with what was seen afterwards recorded in the same transaction.
 */
#pragma once

#include "compute/vm_domain.h"
#include "compute/vm_observe.h"
#include "hypervisor/driver.h"
#include "operation/operation.h"

struct vm_call;

/* Lane thread. call->plan is loaded, unless the row is gone. */
typedef int (*vm_call_fn)(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e);
/* Writer thread, in the transaction that advances the operation. */
typedef int (*vm_call_store)(struct db *db, struct vm_call *call, struct err *e);

enum vm_call_flags {
	VM_CALL_NO_PLAN = 1 << 0, /* the row may be gone already */
	VM_CALL_URGENT = 1 << 1,
	/* Also for a quarantined VM: destroying it is what frees a hung hypervisor process. */
	VM_CALL_FORCE = 1 << 2,
};

struct vm_call {
	/* For run: */
	char vm_id[UUID_TEXT_SIZE], host_id[UUID_TEXT_SIZE], operation_id[UUID_TEXT_SIZE];
	struct vm_platform platform;
	struct vm_plan plan;
	json_t *input, *memory; /* owned copies of the operation's, read-only */
	/* Set by run for store: */
	struct vm_observation seen; /* by vm_call_look */
	bool has_seen;
	char *active_spec; /* owned; what the guest runs with now, if that changed */
	json_t *found;     /* owned; what run found for `done` */
	bool again; /* not yet as wanted: vm_call_submit's caller asks again (see vm_update.c) */

	/* private */
	struct operation *op;
	vm_call_fn fn;
	vm_call_store store;
	struct readers *readers;
	unsigned flags;
	int references; /* core loop */
	void (*done)(struct vm_call *call, int rc, const struct err *e);
};

/* Queues the call and ends the step with its result; `store` may be NULL (what was seen is stored
 * anyway). */
void vm_call_submit(struct operation *op, vm_call_fn fn, vm_call_store store, int64_t timeout_ms,
        unsigned flags);
/* As above, but `done` (core loop) decides how the step ends. */
void vm_call_submit_then(struct operation *op, vm_call_fn fn, int64_t timeout_ms, unsigned flags,
        void (*done)(struct vm_call *call, int rc, const struct err *e));
/* From such a `done`: ends the step with success, storing what was seen and the call's store. */
void vm_call_finish_step(struct vm_call *call, vm_call_store store);
/* Lane thread, as a vm_call_fn: defines the domain as it is configured. */
int vm_call_define(struct vm_call *call, const struct driver *driver, struct driver_connection *c,
        struct err *e);
/* Lane thread: reads the domain's state into call->seen. */
int vm_call_look(struct vm_call *call, const struct driver *driver, struct driver_connection *c,
        struct err *e);

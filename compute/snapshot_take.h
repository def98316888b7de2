/* SPDX-License-Identifier: Apache-2.0 */
/* The part of snapshot.create that happens on the VM's host. Lane threads. */
#pragma once

#include "compute/vm_call.h"

/*
 * As vm_call_fn: the domain goes over to the layers that were made, if it has not yet, and is defined with them. Sets in
 * call->input what it came to be: "kind", "power", "memory_bytes". call->again: an earlier try is still under way.
 */
int snapshot_take_switch(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e);
/* As vm_call_fn, for undoing: sets "switched" in call->input if there is no way back. */
int snapshot_take_settle(struct vm_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e);

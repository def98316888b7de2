/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A block job on one disk of a VM as a step of an operation: the VM's own QEMU carries it while it runs, else a carrier
 * does (storage/carrier.h). When the VM stops meanwhile, a carrier takes over.
 *
 *	attach -> by the VM -----> job -> done
 *	   ^   -> by a carrier ----^ |
 *	   +---- it has ended -------+
 *
 * What to do is kept in the operation's memory, so that a restart goes on with it. Core loop.
 */
#pragma once

#include "compute/vm_call.h"
#include "storage/block_job.h"

/* Says what the step vm_block_run is to do; from an earlier step's end. Texts are copied; host and domain are found. */
void vm_block_plan(struct operation *op, const struct block_work *work);
/* The step: does what was planned, or sees that it was done before. ERR_WRONG_STATE for a suspended VM. */
void vm_block_run(struct operation *op);
/*
 * Undo: stops the job and the carrier. What QEMU has completed cannot be taken back: `settle` asks vm_block_was_done, and if
 * so records it as the step after this one would have; of a pull that is that its header has changed, no more.
 */
void vm_block_undo(struct operation *op, vm_call_store settle);
bool vm_block_was_done(const struct vm_call *call);
/* Whether a carrier has done it, or the VM. After vm_block_run. */
bool vm_block_was_by_carrier(const struct operation *op);
/* A later step: the carrier of a copy, if one was needed, is gone when it ends. That of a pull is gone with vm_block_run. */
void vm_block_release(struct operation *op);

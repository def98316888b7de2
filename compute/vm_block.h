/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A block job on one disk of a VM as a step of an operation: the VM's own QEMU carries it while it runs, else a carrier
 * does (storage/carrier.h). When the VM stops meanwhile, a carrier takes over.
 *
 *	attach -> by the VM -----> job -> done
 *	   ^   -> by a carrier ----^ |
 *	   +---- the VM stopped -----+
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
 * so records it as the step after this one would have.
 */
void vm_block_undo(struct operation *op, vm_call_store settle);
bool vm_block_was_done(const struct vm_call *call);
/* A later step: the carrier, if one was needed, is gone when it ends. */
void vm_block_release(struct operation *op);

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
/* The step: does what was planned. Undo: stops the job and the carrier. */
void vm_block_run(struct operation *op);
void vm_block_undo(struct operation *op);
/* A later step: the carrier, if one was needed, is gone when it ends. */
void vm_block_release(struct operation *op);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One call of a volume operation's step to its host: runs on a lane thread with the volume's row and chain loaded, and
 * ends the step. The volume is the operation's target.
 *
 * The lane's key is the pool's id, so a hung pool holds one call per host; and should a creation be given up because it
 * hangs, its undo is held back until the hung call has returned: otherwise the file could appear after its deletion.
 */
#pragma once

#include "hypervisor/driver.h"
#include "operation/operation.h"
#include "storage/layer.h"
#include "storage/volume.h"

struct volume_call;

/* Lane thread. */
typedef int (*volume_call_fn)(struct volume_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e);
/* Writer thread, in the transaction that advances the operation. */
typedef int (*volume_call_store)(struct db *db, struct volume_call *call, struct err *e);

struct volume_call {
	/* For run: */
	char operation_id[UUID_TEXT_SIZE];
	json_t *input; /* the operation's, a copy */
	struct db *db; /* the lane thread's, read-only */
	struct volume_row row;
	struct layer_chain chain; /* of the layer it is written through, top first */
	bool is_undo;
	/* Set by run, for store and for the steps after this one: becomes part of the operation's memory. */
	json_t *memory;
	int64_t size_bytes;

	/* private */
	char volume_id[UUID_TEXT_SIZE];
	struct operation *op;
	struct readers *readers;
	volume_call_fn fn;
	volume_call_store store;
	int references; /* core loop */
};

struct volume_call_options {
	volume_call_store store; /* NULL: nothing is stored */
	int64_t timeout_ms;      /* 0: VOLUME_CALL_TIMEOUT_MS */
	const char *key;         /* of the lane; NULL: the input's pool_id */
};
/* A slow network filesystem may take long to make or delete a file. */
#define VOLUME_CALL_TIMEOUT_MS 300000

/* Queues the call on the operation's host and ends the step with its result. Core loop. */
void volume_call_submit(
        struct operation *op, volume_call_fn fn, const struct volume_call_options *options);

const char *volume_input_text(const struct operation *op, const char *key); /* NULL: not there */

/* A view of the first `n` layers of a chain: borrows everything. */
struct layer_chain volume_chain_head(const struct layer_chain *chain, size_t n);

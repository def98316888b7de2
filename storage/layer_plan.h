/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of layers that nothing needs any more: the next thing to do to one volume's layers, until there is none.
 *
 *	nothing stands on it                        -> DELETE it
 *	one layer stands on it, and no one else
 *	reads what lies above                       -> COMMIT that one down into it
 *	... but several stand on that one           -> PULL it up into that one (only its own file changes);
 *	                                               if that lies in another pool -> DEFER: the volume would leave its own
 *	... which a running VM has open in its midst -> DEFER: QEMU can do neither while it runs
 *	several layers stand on it                  -> it stays: what they share lies there
 *
 *	    held                       held
 *	 A <--- L <--- C <--- top      A <--- L <--- C <--+- top     L is the lower, C the upper one of an
 *	        unheld                        unheld      +- D       action; after it C stands on A.
 *
 * A layer that is held is never the lower one of a COMMIT, so what a snapshot shows never changes. Pure; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* All layers of one volume, and those of others that stand on them. Ids borrowed. */
struct layer_node {
	const char *id,
	        *backing_id; /* backing_id "": none; one that is not in the list: below the volume's own layers */
	bool is_held;    /* a snapshot or an image refers to it, or it is not finished yet */
	bool is_top;     /* its volume is written through it: held, too */
	bool is_open;    /* in a chain that a running VM has open */
	bool is_foreign; /* another volume's (a linked clone's): never touched */
	bool is_abroad;  /* in another pool than the layer below it */
};

enum layer_action_kind {
	LAYER_ACTION_NONE,
	LAYER_ACTION_DELETE, /* the lower one's file and row */
	LAYER_ACTION_COMMIT, /* the upper one into the lower one, which then is the upper one's file */
	LAYER_ACTION_PULL, /* the lower one into the upper one, which then stands on what the lower one stood on */
	LAYER_ACTION_DEFER,
};
struct layer_action {
	enum layer_action_kind kind;
	size_t lower, upper; /* indexes of nodes */
	size_t open; /* COMMIT, PULL: the layer whose chain QEMU has open for it, upper itself or the one above it */
	bool is_running; /* by the running VM that has it open; else by a carrier opened on `open` */
	const char *reason; /* DEFER: why */
};

/* The first thing that can be done; NONE if there is nothing (left) but what must wait. */
struct layer_action layer_plan_next(const struct layer_node *nodes, size_t n);
/* What waits: calls back for each; how many there are. */
size_t layer_plan_deferred(const struct layer_node *nodes, size_t n,
        void (*each)(void *arg, const struct layer_action *action), void *arg);

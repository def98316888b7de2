/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One block job within one step of an operation: started (or found, after a restart), followed with progress, ended, and
 * its outcome seen in the domain's chain.
 *
 *	look -> no job, outcome not there -> start -> FOLLOW <-+
 *	  |  -> job running ------------------------^  |  +----+ again after 20 ms ... 1 s
 *	  |  -> outcome there -> done                  v ready or gone
 *	                                              end (pivot | leave) -> look: outcome there? -> done
 *
 * Core loop.
 */
#pragma once

#include "operation/operation.h"

enum block_job_kind {
	BLOCK_WORK_COPY,  /* the whole chain into `target`; then the domain writes there (pivot) */
	BLOCK_WORK_CLONE, /* the same, and the domain goes on with the source */
	BLOCK_WORK_COMMIT, /* `top` into `base`, the layer below it; top NULL: the active one, then pivot */
	BLOCK_WORK_PULL, /* all between the active layer and `base` (NULL: all below) into the active one */
};

struct block_work {
	enum block_job_kind kind;
	const char *host_id, *domain_id; /* a VM's or a carrier's */
	const char *disk;                /* its name in Berth, or CARRIER_DISK */
	const char *top, *base;          /* paths as in domain_source.path; NULL: see above */
	const char *target_xml,
	        *target_path; /* COPY, CLONE: domain_xml_build_copy_target, and its source's path */
	/* libvirt's name of the pool that is written to, so that a job which ended for lack of space says so; may be NULL */
	const char *pool;
};
/*
 * All texts are copied. `done` (core loop, once) gets 0, or: ERR_GONE when the domain ended meanwhile (the data is as it
 * was), ERR_CANCELLED after a cancel, ERR_DISK_FULL, ... It must end the step.
 */
void block_work_run(struct operation *op, const struct block_work *work,
        void (*done)(struct operation *op, int rc, const struct err *e));
/* For a kind's on_cancel: aborts the job that this operation follows, if there is one. */
void block_work_cancel(struct operation *op);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One step of an image's operation on a bulk thread: begun on the core loop, run there with progress and cancel,
 * ended on the core loop. What is under way belongs to the library's list, so that a stop in the middle frees it.
 */
#pragma once

#include <jansson.h>
#include <stdatomic.h>

#include "base/bulk.h"
#include "db/db.h"
#include "operation/operation.h"
#include "storage/image_library.h"

struct image_work {
	/* For run: */
	struct images *images;
	struct readers *readers;
	struct writer *writer;
	char image_id[UUID_TEXT_SIZE];
	json_t *input, *memory; /* the operation's, copies */
	/* Set by run: becomes part of the operation's memory when it succeeds. */
	json_t *results;

	/* private */
	struct image_work *next; /* core loop */
	struct operation *op;
	struct bulk_job *job;
	struct loop_timer *timer;
	int (*run)(struct image_work *work, struct err *e);
	struct bulk_job *_Atomic running; /* for image_work_is_cancelled */
	_Atomic bool is_running;
	_Atomic int64_t done_bytes, total_bytes;
};

/* For `place` below: work on the library, which lies on this machine. */
#define IMAGE_WORK_LIBRARY "image library"
/* Ends the operation's step with what `run` returns. `place`: what it may hang in (bulk_call.key). Core loop. */
void image_work_run(struct operation *op, const char *place,
        int (*run)(struct image_work *work, struct err *e));
/* For a kind's on_cancel. */
void image_work_cancel(struct operation *op);

/* ---- bulk thread, in run ---- */
void image_work_progress(struct image_work *work, int64_t done_bytes, int64_t total_bytes);
bool image_work_is_cancelled(struct image_work *work);
/* This thread's connection. */
int image_work_db(struct image_work *work, struct db **ret_db, struct err *e);
/* A text of the memory or input; "" without it. */
const char *image_work_text(const struct image_work *work, const char *key);
int64_t image_work_number(const struct image_work *work, const char *key);

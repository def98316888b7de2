/* SPDX-License-Identifier: Apache-2.0 */
/* Steps of images' operations on bulk threads. Core loop, but for what says otherwise. */
#include "storage/image_work.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/str.h"
#include "db/reader.h"
#include "operation/services.h"

#define REPORT_MS 500

/* A thread that hangs for ever (in a call to a host) still reads its work: it is left to it. */
static void release(void *arg)
{
	struct image_work *work = arg;
	loop_timer_free(work->timer);
	work->timer = NULL;
	if (work->is_running)
		return;
	json_decref(work->input);
	json_decref(work->memory);
	json_decref(work->results);
	free(work);
}

/* ---- bulk thread ---- */

static int run_work(struct bulk_job *job, void *arg, struct err *e)
{
	struct image_work *work = arg;
	work->is_running = true;
	work->running = job;
	int rc = work->run(work, e);
	work->is_running = false;
	return rc;
}

void image_work_progress(struct image_work *work, int64_t done_bytes, int64_t total_bytes)
{
	work->done_bytes = done_bytes;
	work->total_bytes = total_bytes;
}

bool image_work_is_cancelled(struct image_work *work)
{
	return bulk_is_cancelled(work->running);
}

int image_work_db(struct image_work *work, struct db **ret_db, struct err *e)
{
	return readers_get(work->readers, ret_db, e);
}

static json_t *find(const struct image_work *work, const char *key)
{
	json_t *value = json_object_get(work->memory, key);
	return value ? value : json_object_get(work->input, key);
}

const char *image_work_text(const struct image_work *work, const char *key)
{
	const char *text = json_string_value(find(work, key));
	return text ? text : "";
}

int64_t image_work_number(const struct image_work *work, const char *key)
{
	return json_integer_value(find(work, key));
}

/* ---- core loop ---- */

static void report(void *arg)
{
	struct image_work *work = arg;
	int64_t done = work->done_bytes, total = work->total_bytes;
	if (done > 0)
		operation_progress(
		        work->op, total > 0 ? (int)(done * 100 / total) : 0, done, total);
}

static void work_done(void *arg, int rc, const struct err *e)
{
	struct image_work *work = arg;
	struct operation *op = work->op;
	struct image_work **at = images_works(work->images);
	while (*at != work)
		at = &(*at)->next;
	*at = work->next;
	if (rc == 0 && work->results)
		json_object_update(operation_memory(op), work->results);
	release(work);
	operation_step_done(op, rc, e);
}

void image_work_run(
        struct operation *op, const char *place, int (*run)(struct image_work *work, struct err *e))
{
	struct operation_services *services = operation_context(op);
	struct image_work *work = xcalloc(1, sizeof(*work));
	struct image_work **first = images_works(services->images);
	work->images = services->images;
	work->readers = services->readers;
	work->writer = services->writer;
	work->op = op;
	work->run = run;
	uuid_text_copy(work->image_id, operation_target_id(op));
	/* Reference counts of JSON are not for two threads. */
	work->input = json_deep_copy(operation_input(op));
	work->memory = json_deep_copy(operation_memory(op));
	work->timer = loop_timer_start(services->loop, REPORT_MS, REPORT_MS, report, work);
	work->next = *first;
	*first = work;
	const struct bulk_call call = {
	        .run = run_work, .done = work_done, .arg = work, .key = place};
	work->job = bulk_submit(services->bulk, &call);
}

void image_work_cancel(struct operation *op)
{
	struct operation_services *services = operation_context(op);
	for (struct image_work *work = *images_works(services->images); work; work = work->next)
		if (work->op == op)
			bulk_cancel(work->job);
}

void image_works_release(struct image_work *first)
{
	while (first) {
		struct image_work *work = first;
		first = work->next;
		release(work);
	}
}

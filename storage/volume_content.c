/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operations volume.upload and volume.download. Their steps "head" and "transfer" wait for the bulk thread that has the
 * bytes (volume_content_run.c); they find it in a list of what is under way. What is not in it was interrupted.
 */
#include "storage/volume_content.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "storage/volume_content_internal.h"
#include "storage/volume_work_store.h"

#define MIB ((int64_t)1 << 20)
/* Of the queues' bits (compute/vm_jobs.h has the lower ones): only reading goes beside reading. */
#define JOB_READ (1u << 16)

static struct {
	pthread_mutex_t lock;
	struct volume_content *first;
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER};

struct volume_content *content_ref(struct volume_content *content)
{
	atomic_fetch_add(&content->refs, 1);
	return content;
}

/* Whether that was the last reference; then nobody finds it any more. */
static bool drop(struct volume_content *content)
{
	LOCK_SCOPE(&registry.lock);
	if (atomic_fetch_sub(&content->refs, 1) != 1)
		return false;
	for (struct volume_content **at = &registry.first; *at; at = &(*at)->next)
		if (*at == content) {
			*at = content->next;
			break;
		}
	return true;
}

void volume_content_unref(struct volume_content *content)
{
	if (!content || !drop(content))
		return;
	pthread_mutex_destroy(&content->lock);
	pthread_cond_destroy(&content->changed);
	free(content);
}
CLEANUP_DEFINE(struct volume_content, volume_content_unref);

/* A reference, or NULL. */
static struct volume_content *find(const struct operation *op)
{
	LOCK_SCOPE(&registry.lock);
	for (struct volume_content *content = registry.first; content; content = content->next)
		if (str_equal(content->operation_id, operation_id(op)))
			return content_ref(content);
	return NULL;
}

static struct volume_content *add(
        const struct volume_row *row, enum volume_content_direction direction, int64_t length)
{
	struct volume_content *content = xcalloc(1, sizeof(*content));
	content->refs = 1;
	content->direction = direction;
	content->is_qcow2 = str_equal(row->format, "qcow2");
	content->size_bytes = row->size_bytes;
	content->max_bytes = volume_content_max_bytes(row);
	content->total_bytes = length;
	uuid_text_copy(content->volume_id, row->id);
	pthread_mutex_init(&content->lock, NULL);
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&content->changed, &attr);
	pthread_condattr_destroy(&attr);
	return content;
}

/* ---- steps that wait: core loop ---- */

enum wait_for { WAIT_HEAD, WAIT_TRANSFER };

/* Whether the step may end, with *ret_rc. */
static bool is_ready(
        struct volume_content *content, enum wait_for what, int *ret_rc, struct err *ret_error)
{
	LOCK_SCOPE(&content->lock);
	*ret_rc = content->is_over ? content->rc : 0;
	*ret_error = content->error;
	return content->is_over || (what == WAIT_HEAD && content->is_approved);
}

static enum wait_for waits_for(const struct volume_content *content)
{
	return content->is_turn ? WAIT_TRANSFER : WAIT_HEAD;
}

void content_advance(void *arg)
{
	struct volume_content *content CLEANUP(cleanup_volume_content_unref) = arg;
	struct err e;
	int rc;
	if (!content->waiting || !is_ready(content, waits_for(content), &rc, &e))
		return;
	operation_step_done(TAKE(content->waiting), rc, &e);
}

static int percent_of(int64_t done_bytes, int64_t total_bytes)
{
	return total_bytes > 0 ? (int)(done_bytes * 100 / total_bytes) : 0;
}

void content_report(void *arg)
{
	struct volume_content *content CLEANUP(cleanup_volume_content_unref) = arg;
	int64_t done_bytes, total_bytes = content->total_bytes;
	{
		LOCK_SCOPE(&content->lock);
		done_bytes = content->done_bytes;
	}
	if (content->waiting)
		operation_progress(content->waiting, percent_of(done_bytes, total_bytes),
		        done_bytes, total_bytes > 0 ? total_bytes : 0);
}

static void wait_in_step(struct operation *op, enum wait_for what)
{
	struct volume_content *content = find(op);
	struct err e = {0};
	if (!content) {
		err_set(&e, ERR_GONE, "it was interrupted: the process ended meanwhile");
		operation_step_done(op, ERR_GONE, &e);
		return;
	}
	content->waiting = op;
	{
		LOCK_SCOPE(&content->lock);
		content->is_turn = what == WAIT_TRANSFER;
		pthread_cond_broadcast(&content->changed);
	}
	content_advance(content);
}

static void run_head(struct operation *op)
{
	wait_in_step(op, WAIT_HEAD);
}

static void run_transfer(struct operation *op)
{
	wait_in_step(op, WAIT_TRANSFER);
}

/* ---- steps on a lane ---- */

static int check_vm(const struct volume_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	bool is_active = false;
	const char *vm_id = json_string_value(json_object_get(call->input, "vm_id"));
	if (!str_equal(vm_id, call->row.vm_id))
		return err_set(e, ERR_CONFLICT, "volume %s has gone to or from a VM meanwhile",
		        call->row.name);
	int rc = vm_id ? volume_look_at_vm(vm_id, driver, c, &is_active, e) : 0;
	if (rc < 0 || !is_active)
		return rc;
	err_set(e, ERR_WRONG_STATE, "the VM whose disk volume %s is has a process", call->row.name);
	return err_hint(e, "shut the VM down first");
}

static int check(struct volume_call *call, const struct driver *driver, struct driver_connection *c,
        struct err *e)
{
	int rc = check_vm(call, driver, c, e);
	return rc < 0 ? rc : layer_chain_check(&call->chain, driver, c, e);
}

/* A VM that was started by hand meanwhile has the file open: then it is left alone, here and when this is undone. */
static int make_empty(struct volume_call *call, const struct driver *driver,
        struct driver_connection *c, struct err *e)
{
	int rc = check_vm(call, driver, c, e);
	if (rc == ERR_WRONG_STATE && call->is_undo) {
		err_clear(e);
		return 0;
	}
	if (rc == 0)
		rc = layer_chain_delete_top(&call->chain, driver, c, e);
	if (rc == 0)
		rc = layer_chain_create_top(&call->chain, /* preallocate= */ false, driver, c, e);
	if (rc == 0)
		call->memory = json_pack("{s:b}", "emptied", true);
	return rc;
}

static void submit(struct operation *op, volume_call_fn fn)
{
	const struct volume_call_options options = {0};
	volume_call_submit(op, fn, &options);
}

static void run_check(struct operation *op)
{
	submit(op, check);
}

static void run_empty(struct operation *op)
{
	submit(op, make_empty);
}

/* ---- ends ---- */

/* Core loop. */
static void on_cancel(struct operation *op)
{
	struct volume_content *content CLEANUP(cleanup_volume_content_unref) = find(op);
	struct err e = {0};
	if (!content)
		return;
	err_set(&e, ERR_CANCELLED, "the operation was cancelled");
	LOCK_SCOPE(&content->lock);
	if (content->io)
		content->io->cancel(content->io->arg, ERR_CANCELLED, &e);
}

/* Whoever still has bytes to move is told why not. Writer thread. */
static void tell(const struct operation *op, enum operation_state outcome, const struct err *error)
{
	struct volume_content *content CLEANUP(cleanup_volume_content_unref) = find(op);
	if (!content || outcome == OPERATION_SUCCEEDED)
		return;
	LOCK_SCOPE(&content->lock);
	if (!content->is_over) {
		content->is_over = true;
		content->rc = error ? error->code : ERR_CANCELLED;
		if (error)
			content->error = *error;
		else
			err_set(&content->error, ERR_CANCELLED, "the operation was cancelled");
	}
	if (content->io)
		content->io->cancel(content->io->arg, content->rc, &content->error);
	pthread_cond_broadcast(&content->changed);
}

static int finish_upload(struct db *db, const struct operation *op, enum operation_state outcome,
        const struct err *error, struct err *e)
{
	tell(op, outcome, error);
	if (!json_is_true(json_object_get(operation_memory(op), "emptied")))
		return 0;
	return volume_require_full_backup(db, operation_target_id(op), e);
}

static int finish_download(struct db *db, const struct operation *op, enum operation_state outcome,
        const struct err *error, struct err *e)
{
	(void)db, (void)e;
	tell(op, outcome, error);
	return 0;
}

static const struct operation_step upload_steps[] = {
        {.name = "check", .run = run_check},
        {.name = "head", .run = run_head},
        {.name = "empty", .run = run_empty, .undo = run_empty},
        {.name = "transfer", .run = run_transfer, .flags = OPERATION_HOST_FREE},
};
static const struct operation_step download_steps[] = {
        {.name = "check", .run = run_check},
        {.name = "transfer", .run = run_transfer, .flags = OPERATION_HOST_FREE},
};
static const struct operation_kind upload_kind = {
        .name = "volume.upload",
        .steps = upload_steps,
        .n_steps = ARRAY_LEN(upload_steps),
        .finish = finish_upload,
        .on_cancel = on_cancel,
};
static const struct operation_kind download_kind = {
        .name = "volume.download",
        .steps = download_steps,
        .n_steps = ARRAY_LEN(download_steps),
        .finish = finish_download,
        .on_cancel = on_cancel,
        .job = JOB_READ,
        .beside = JOB_READ,
};

void volume_content_register_kinds(struct operation_engine *engine)
{
	operation_engine_register(engine, &upload_kind);
	operation_engine_register(engine, &download_kind);
}

/* ---- the mutation: writer thread ---- */

int64_t volume_content_max_bytes(const struct volume_row *row)
{
	if (!str_equal(row->format, "qcow2"))
		return row->size_bytes;
	return row->size_bytes + row->size_bytes / 32 +
	       16 * MIB; /* tables of the smallest clusters */
}

int64_t volume_content_length(const struct volume_row *row)
{
	return str_equal(row->format, "qcow2") ? -1 : row->size_bytes;
}

static int check_stopped(const struct volume_row *row, const struct volume_vm *vm, struct err *e)
{
	if (str_equal(vm->power, "stopped"))
		return 0;
	err_set(e, ERR_WRONG_STATE, "volume %s is disk %s of VM %s, which is %s", row->name,
	        row->disk, vm->name, vm->power);
	return err_hint(e, "shut the VM down first, or take a snapshot and clone that");
}

/* Downloads are soon over, or end with their client: they are waited for. */
static int check_busy(struct db *db, const char *queue, struct err *e)
{
	static const char *const but[] = {"volume.download", NULL};
	char id[UUID_TEXT_SIZE], kind[64];
	int rc = operation_find_busy_but(db, queue, but, id, kind, e);
	if (rc < 0 || !id[0])
		return rc;
	err_set(e, ERR_BUSY, "operation %s (%s) has not ended", id, kind);
	return err_numbers(e, "{\"operation\":\"%s\",\"kind\":\"%s\"}", id, kind);
}

static int check_state(const struct volume_row *row, struct err *e)
{
	if (str_equal(row->state, "ready"))
		return 0;
	return err_set(e, ERR_WRONG_STATE, "volume %s is %s", row->name, row->state);
}

static int check_layers(struct db *db, const struct volume_row *row,
        enum volume_content_direction direction, struct err *e)
{
	struct layer_chain chain CLEANUP(layer_chain_done) = {0};
	int rc = layer_chain_load(db, row->layer_id, &chain, e);
	if (rc < 0)
		return rc;
	if (chain.len > 1) {
		err_set(e, ERR_UNSUPPORTED,
		        "volume %s lies in a chain of %zu layers, not in one file", row->name,
		        chain.len);
		return err_hint(e, "clone it in full, and use the clone");
	}
	const struct pool_kind *kind = chain.pools[0]->kind;
	if (!kind->libvirt_type)
		return err_set(e, ERR_UNSUPPORTED,
		        "libvirt has no streams for pools of the kind %s", kind->name);
	if (direction == VOLUME_CONTENT_IN && kind->flags & POOL_ADOPT_ONLY)
		return err_set(e, ERR_UNSUPPORTED,
		        "pool %s (%s) holds what Berth did not make: it is not replaced",
		        chain.pools[0]->name, kind->name);
	return 0;
}

static int check_all(struct db *db, const struct volume_row *row,
        enum volume_content_direction direction, struct volume_vm *ret_vm, struct err *e)
{
	int rc = check_state(row, e);
	if (rc == 0 && row->vm_id)
		rc = volume_store_get_vm(db, row->vm_id, ret_vm, e);
	if (rc == 0 && row->vm_id)
		rc = check_stopped(row, ret_vm, e);
	if (rc == 0)
		rc = check_busy(db, row->id, e);
	if (rc == 0 && row->vm_id)
		rc = check_busy(db, row->vm_id, e);
	if (rc == 0 && direction == VOLUME_CONTENT_IN)
		rc = volume_check_unused(db, row, NULL, e);
	return rc < 0 ? rc : check_layers(db, row, direction, e);
}

int volume_content_begin(struct db *db, struct operation_engine *engine,
        const struct volume_row *row, enum volume_content_direction direction, int64_t length,
        const struct operation_asked *asked, struct volume_content **ret_content, struct err *e)
{
	struct volume_vm vm CLEANUP(volume_vm_done) = {0};
	struct volume_content *content CLEANUP(cleanup_volume_content_unref) = NULL;
	int rc = check_all(db, row, direction, &vm, e);
	if (rc < 0)
		return rc;
	content = add(row, direction, length);
	if (row->vm_id)
		uuid_text_copy(content->host_id, vm.host_id);
	else
		rc = volume_choose_host(db, row, content->host_id, e);
	const struct volume_start start = {
	        .kind = direction == VOLUME_CONTENT_IN ? "volume.upload" : "volume.download",
	        .row = row,
	        .host_id = content->host_id,
	        .queue = row->vm_id,
	        .input = row->vm_id ? json_pack("{s:s}", "vm_id", row->vm_id) : json_object(),
	        .asked = asked,
	};
	if (rc < 0) {
		json_decref(start.input);
		return rc;
	}
	rc = volume_start_operation(db, engine, &start, content->operation_id, e);
	if (rc < 0)
		return rc;
	{
		LOCK_SCOPE(
		        &registry.lock); /* before the commit, after which the operation begins */
		content->next = registry.first;
		registry.first = content;
	}
	*ret_content = TAKE(content);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A volume's content on its way: the bulk thread's part. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/loop.h"
#include "db/reader.h"
#include "hypervisor/transfer.h"
#include "storage/image_inspect.h"
#include "storage/volume_content_internal.h"
#include "storage/volume_work_store.h"

#define TURN_WAIT_MS 60000 /* for those before it in the queue, and for the host */
#define END_WAIT_MS  30000
#define LOOK_MS      100
#define REPORT_MS    500

struct run {
	struct volume_content *content;
	const struct operation_services *services;
	const struct volume_content_io *io;
	char *head; /* owned: the first bytes, held back until they were looked at */
	size_t head_len, head_at;
	int64_t reported_ms;
};

/* ---- waiting ---- */

static struct timespec soon(void)
{
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += LOOK_MS * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	return until;
}

/* Waits a moment for a change, under the lock. */
static void wait_a_moment(struct volume_content *content)
{
	const struct timespec until = soon();
	pthread_cond_timedwait(&content->changed, &content->lock, &until);
}

/* Until the operation has come to the transfer. */
static int wait_for_turn(struct run *run, struct err *e)
{
	struct volume_content *content = run->content;
	int64_t end_ms = clock_now_ms() + TURN_WAIT_MS;
	LOCK_SCOPE(&content->lock);
	while (!content->is_turn && !content->is_over) {
		if (clock_now_ms() > end_ms)
			return err_set(e, ERR_BUSY, "operation %s did not begin within %d s",
			        content->operation_id, TURN_WAIT_MS / 1000);
		if (run->io->is_cancelled(run->io->arg))
			return err_set(e, ERR_GONE, "the client left before the end");
		wait_a_moment(content);
	}
	if (content->is_over && e)
		*e = content->error;
	return content->is_over ? content->rc : 0;
}

/* Core loop. */
static void on_ended(void *arg, bool ended)
{
	struct volume_content *content = arg;
	(void)ended;
	pthread_mutex_lock(&content->lock);
	content->has_ended = true;
	pthread_cond_broadcast(&content->changed);
	pthread_mutex_unlock(&content->lock);
	volume_content_unref(content);
}

/* So that who hears that it is over finds the volume free. */
static void wait_for_end(const struct run *run)
{
	struct volume_content *content = run->content;
	int64_t end_ms = clock_now_ms() + END_WAIT_MS;
	operation_engine_wait(run->services->engine, content->operation_id, END_WAIT_MS, on_ended,
	        content_ref(content));
	LOCK_SCOPE(&content->lock);
	while (!content->has_ended && clock_now_ms() < end_ms &&
	        !run->io->is_stopping(run->io->arg))
		wait_a_moment(content);
}

/* ---- moving ---- */

static void count(struct run *run, int64_t n)
{
	struct volume_content *content = run->content;
	pthread_mutex_lock(&content->lock);
	content->done_bytes += n;
	pthread_mutex_unlock(&content->lock);
	if (clock_now_ms() - run->reported_ms < REPORT_MS)
		return;
	run->reported_ms = clock_now_ms();
	loop_post(run->services->loop, content_report, content_ref(content));
}

static int64_t read_source(void *arg, void *buffer, size_t n, struct err *e)
{
	struct run *run = arg;
	int64_t got = (int64_t)(run->head_len - run->head_at);
	if (got == 0) {
		got = run->io->read(run->io->arg, buffer, n, e);
	} else {
		got = got < (int64_t)n ? got : (int64_t)n;
		memcpy(buffer, run->head + run->head_at, (size_t)got);
		run->head_at += (size_t)got;
	}
	if (got > 0)
		count(run, got);
	return got;
}

static int write_sink(void *arg, const void *bytes, size_t n, struct err *e)
{
	struct run *run = arg;
	int rc = run->io->write(run->io->arg, bytes, n, e);
	if (rc == 0)
		count(run, (int64_t)n);
	return rc;
}

static int load(const struct run *run, struct layer_chain *ret_chain, char **ret_uri, struct err *e)
{
	struct volume_row row CLEANUP(volume_row_done) = {0};
	struct db *db;
	int rc = readers_get(run->services->readers, &db, e);
	if (rc == 0)
		rc = volume_store_get(db, run->content->volume_id, &row, e);
	if (rc == 0)
		rc = layer_chain_load(db, row.layer_id, ret_chain, e);
	return rc < 0 ? rc : volume_store_host_uri(db, run->content->host_id, ret_uri, e);
}

static int move(struct run *run, int64_t offset, int64_t length, struct err *e)
{
	struct layer_chain chain CLEANUP(layer_chain_done) = {0};
	char *uri CLEANUP(cleanup_free) = NULL;
	int rc = load(run, &chain, &uri, e);
	if (rc < 0)
		return rc;
	assert(chain.len > 0);
	const struct transfer transfer = {
	        .uri = uri,
	        .pool = chain.pools[0]->libvirt_name,
	        .volume = chain.layers[0].file,
	        .offset = offset,
	        .length = length > 0 ? length : 0,
	};
	if (run->content->direction == VOLUME_CONTENT_IN) {
		const struct volume_source from = {.read = read_source, .arg = run};
		return transfer_upload(&transfer, &from, e);
	}
	const struct volume_sink to = {.write = write_sink, .arg = run};
	return transfer_download(&transfer, &to, e);
}

/* ---- the first bytes of an upload ---- */

/* Up to IMAGE_HEAD_BYTES, fewer at the end. */
static int read_head(struct run *run, bool *ret_whole, struct err *e)
{
	int64_t got = 1;
	run->head = xcalloc(1, IMAGE_HEAD_BYTES);
	while (got > 0 && run->head_len < IMAGE_HEAD_BYTES) {
		got = run->io->read(run->io->arg, run->head + run->head_len,
		        IMAGE_HEAD_BYTES - run->head_len, e);
		if (got < 0)
			return (int)got;
		run->head_len += (size_t)got;
	}
	*ret_whole = got == 0;
	return 0;
}

/* What a guest's disk may refer to is decided here, before any QEMU sees it. */
static int inspect(const struct run *run, bool is_whole, struct err *e)
{
	const struct volume_content *content = run->content;
	struct image_facts facts = {0};
	int64_t file_bytes = is_whole ? (int64_t)run->head_len : content->total_bytes;
	if (file_bytes < 0)
		file_bytes = content->max_bytes; /* it comes in chunks */
	int rc = image_inspect_head(run->head, run->head_len, file_bytes, IMAGE_QCOW2,
	        /* max_virtual_bytes= */ 0, &facts, e);
	if (rc < 0 || facts.virtual_bytes == content->size_bytes)
		return rc;
	err_set(e, ERR_UNPROCESSABLE, "the qcow2 file's disk has %lld bytes, the volume %lld",
	        (long long)facts.virtual_bytes, (long long)content->size_bytes);
	return err_numbers(e, "{\"virtual_bytes\":%lld,\"size_bytes\":%lld}",
	        (long long)facts.virtual_bytes, (long long)content->size_bytes);
}

static int check_head(struct run *run, struct err *e)
{
	struct volume_content *content = run->content;
	bool is_whole = false;
	int rc = read_head(run, &is_whole, e);
	if (rc == 0 && content->is_qcow2)
		rc = inspect(run, is_whole, e);
	if (rc < 0)
		return rc;
	pthread_mutex_lock(&content->lock);
	content->is_approved = true;
	pthread_mutex_unlock(&content->lock);
	loop_post(run->services->loop, content_advance, content_ref(content));
	return 0;
}

/* ---- the whole ---- */

static int run_all(struct run *run, int64_t offset, int64_t length, struct err *e)
{
	int rc = run->content->direction == VOLUME_CONTENT_IN ? check_head(run, e) : 0;
	if (rc == 0)
		rc = wait_for_turn(run, e);
	return rc < 0 ? rc : move(run, offset, length, e);
}

static void set_io(struct volume_content *content, const struct volume_content_io *io)
{
	LOCK_SCOPE(&content->lock);
	content->io = io;
}

static void set_outcome(struct volume_content *content, int rc, const struct err *e)
{
	LOCK_SCOPE(&content->lock);
	if (content->is_over)
		return;
	content->is_over = true;
	content->rc = rc;
	if (rc < 0 && e)
		content->error = *e;
}

int volume_content_run(struct volume_content *content, const struct operation_services *services,
        const struct volume_content_io *io, int64_t offset, int64_t length, struct err *e)
{
	struct run run = {.content = content, .services = services, .io = io};
	set_io(content, io);
	int rc = run_all(&run, offset, length, e);
	free(run.head);
	set_io(content, NULL);
	set_outcome(content, rc, e);
	loop_post(services->loop, content_advance, content_ref(content));
	wait_for_end(&run);
	return rc;
}

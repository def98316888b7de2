/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ring of bytes under one lock. on_ready is called under it, so that the end that does not wait can be sure, once it
 * has closed its side, that no call is under way or will come.
 */
#include "base/pipe.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"

/* Each side closes once; the first reason stays. */
struct side {
	bool is_closed;
	int rc;
	struct err error;
};

struct pipe_buffer {
	_Atomic int refs;
	pthread_mutex_t lock;
	pthread_cond_t changed; /* for the end that waits */
	void (*on_ready)(void *arg);
	void *arg;
	bool must_call; /* the end that does not wait was refused */
	struct side writer, reader;
	size_t capacity, used, at; /* `at`: of the oldest byte */
	char *bytes;               /* owned */
};

struct pipe_buffer *pipe_new(size_t capacity, void (*on_ready)(void *arg), void *arg)
{
	assert(capacity > 0);
	struct pipe_buffer *p = xcalloc(1, sizeof(*p));
	p->refs = 1;
	p->capacity = capacity;
	p->bytes = xcalloc(1, capacity);
	p->on_ready = on_ready;
	p->arg = arg;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->changed, NULL);
	return p;
}

struct pipe_buffer *pipe_ref(struct pipe_buffer *p)
{
	atomic_fetch_add(&p->refs, 1);
	return p;
}

void pipe_unref(struct pipe_buffer *p)
{
	if (!p || atomic_fetch_sub(&p->refs, 1) != 1)
		return;
	pthread_cond_destroy(&p->changed);
	pthread_mutex_destroy(&p->lock);
	free(p->bytes);
	free(p);
}

/* ---- under the lock ---- */

static size_t min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

static void call_ready(struct pipe_buffer *p)
{
	if (!p->must_call)
		return;
	p->must_call = false;
	p->on_ready(p->arg);
}

/* Both ends may be concerned: one waits here, the other is called. */
static void wake(struct pipe_buffer *p)
{
	pthread_cond_broadcast(&p->changed);
	call_ready(p);
}

static size_t put(struct pipe_buffer *p, const char *bytes, size_t n)
{
	n = min_size(n, p->capacity - p->used);
	size_t end = (p->at + p->used) % p->capacity;
	size_t first = min_size(n, p->capacity - end);
	memcpy(p->bytes + end, bytes, first);
	memcpy(p->bytes, bytes + first, n - first);
	p->used += n;
	return n;
}

static size_t get(struct pipe_buffer *p, char *bytes, size_t n)
{
	n = min_size(n, p->used);
	if (n == 0)
		return 0;
	size_t first = min_size(n, p->capacity - p->at);
	memcpy(bytes, p->bytes + p->at, first);
	memcpy(bytes + first, p->bytes, n - first);
	p->at = (p->at + n) % p->capacity;
	p->used -= n;
	return n;
}

/* Why the other side is gone, as an error of this one. */
static int side_error(const struct side *side, struct err *e)
{
	if (side->rc == 0)
		return err_set(e, ERR_GONE, "the other end of the stream wants no more");
	if (e)
		*e = side->error;
	return side->rc;
}

static void close_side(struct pipe_buffer *p, struct side *side, int rc, const struct err *e)
{
	if (side->is_closed)
		return;
	side->is_closed = true;
	side->rc = rc;
	if (rc < 0 && e)
		side->error = *e;
	else if (rc < 0)
		err_set(&side->error, rc, "%s", err_info(rc)->title);
	wake(p);
}

/* ---- the end that does not wait ---- */

int64_t pipe_offer(struct pipe_buffer *p, const void *bytes, size_t n)
{
	LOCK_SCOPE(&p->lock);
	if (p->reader.is_closed || p->writer.is_closed)
		return ERR_GONE;
	size_t taken = put(p, bytes, n);
	if (taken > 0)
		pthread_cond_broadcast(&p->changed);
	p->must_call = taken == 0 && n > 0;
	return (int64_t)taken;
}

int64_t pipe_poll(struct pipe_buffer *p, void *bytes, size_t n, bool *ret_end)
{
	LOCK_SCOPE(&p->lock);
	*ret_end = false;
	if (p->writer.is_closed && p->writer.rc < 0)
		return p->writer.rc;
	if (p->reader.is_closed)
		return p->reader.rc < 0 ? p->reader.rc : ERR_GONE;
	size_t given = get(p, bytes, n);
	if (given > 0)
		pthread_cond_broadcast(&p->changed);
	*ret_end = given == 0 && p->writer.is_closed;
	p->must_call = given == 0 && !p->writer.is_closed;
	return (int64_t)given;
}

/* ---- the end that waits ---- */

int pipe_write(struct pipe_buffer *p, const void *bytes, size_t n, struct err *e)
{
	LOCK_SCOPE(&p->lock);
	for (size_t done = 0; done < n && !p->reader.is_closed && !p->writer.is_closed;) {
		size_t taken = put(p, (const char *)bytes + done, n - done);
		done += taken;
		if (taken > 0)
			call_ready(p);
		else
			pthread_cond_wait(&p->changed, &p->lock);
	}
	if (p->reader.is_closed)
		return side_error(&p->reader, e);
	return p->writer.is_closed ? side_error(&p->writer, e) : 0;
}

int64_t pipe_read(struct pipe_buffer *p, void *bytes, size_t n, struct err *e)
{
	LOCK_SCOPE(&p->lock);
	for (;;) {
		if (p->writer.is_closed && p->writer.rc < 0)
			return side_error(&p->writer, e);
		if (p->reader.is_closed)
			return side_error(&p->reader, e);
		size_t given = get(p, bytes, n);
		if (given > 0)
			call_ready(p);
		if (given > 0 || p->writer.is_closed)
			return (int64_t)given;
		pthread_cond_wait(&p->changed, &p->lock);
	}
}

void pipe_close_writer(struct pipe_buffer *p, int rc, const struct err *e)
{
	LOCK_SCOPE(&p->lock);
	close_side(p, &p->writer, rc, e);
}

void pipe_close_reader(struct pipe_buffer *p, int rc, const struct err *e)
{
	LOCK_SCOPE(&p->lock);
	close_side(p, &p->reader, rc, e);
}

bool pipe_get_error(struct pipe_buffer *p, struct err *ret_error)
{
	LOCK_SCOPE(&p->lock);
	const struct side *side = p->reader.is_closed && p->reader.rc < 0 ? &p->reader : &p->writer;
	if (!side->is_closed || side->rc == 0)
		return false;
	*ret_error = side->error;
	ret_error->code = side->rc;
	return true;
}

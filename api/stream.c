/* SPDX-License-Identifier: Apache-2.0 */
/* Streams: the list of all of them, and the hand-over between their connection's thread and those
 * that wake. */
#include "api/stream.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "api/exchange.h"
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"

/*
 * `lock` guards the list, and of each stream is_waiting, is_woken, is_closed and the times. It is
 * never held while a source runs. resume() is called under it: the connection cannot end meanwhile,
 * as stream_free takes the lock.
 */
static struct {
	pthread_mutex_t lock;
	struct stream *first;
	size_t n;
} hub = {.lock = PTHREAD_MUTEX_INITIALIZER};

struct stream {
	struct stream *next, *previous;
	const struct stream_source *source;
	void *arg; /* owned through source->release */
	void *connection;
	void (*suspend)(void *connection);
	void (*resume)(void *connection);
	bool is_waiting; /* suspended */
	bool is_woken;   /* since the source was asked last */
	bool is_closed;
	bool beat_due;
	int64_t sent_ms; /* when the connection last took text or found none */
	int64_t beat_ms; /* of the last heartbeat or text */
	struct str out;  /* owned; connection's thread */
	size_t out_at;
};

static int enlist(struct stream *s, struct err *e)
{
	LOCK_SCOPE(&hub.lock);
	if (hub.n >= STREAMS_MAX)
		return err_set(e, ERR_LIMIT, "%zu streams are open, no more than %d can be", hub.n,
		        STREAMS_MAX);
	hub.n++;
	s->next = hub.first;
	if (s->next)
		s->next->previous = s;
	hub.first = s;
	return 0;
}

int stream_open(struct request *rq, const struct stream_source *source, void *arg, struct err *e)
{
	struct stream *s = xcalloc(1, sizeof(*s));
	s->source = source;
	s->arg = arg;
	s->sent_ms = s->beat_ms = clock_now_ms();
	int rc = enlist(s, e);
	if (rc < 0) {
		source->release(arg);
		free(s);
		return rc;
	}
	rq->exchange->stream = s;
	return 0;
}

void stream_attach(struct stream *s, void *connection, void (*suspend)(void *connection),
        void (*resume)(void *connection))
{
	LOCK_SCOPE(&hub.lock);
	s->connection = connection;
	s->suspend = suspend;
	s->resume = resume;
}

/* Under the lock. */
static void wake(struct stream *s)
{
	s->is_woken = true;
	if (!s->is_waiting)
		return;
	s->is_waiting = false;
	s->resume(s->connection);
}

void stream_wake_all(void)
{
	LOCK_SCOPE(&hub.lock);
	for (struct stream *s = hub.first; s; s = s->next)
		wake(s);
}

void stream_close(struct stream *s)
{
	LOCK_SCOPE(&hub.lock);
	s->is_closed = true;
	wake(s);
}

bool stream_tick(struct stream *s, int64_t now_ms)
{
	LOCK_SCOPE(&hub.lock);
	if (!s->is_waiting)
		return now_ms - s->sent_ms > STREAM_STALL_MS;
	if (now_ms - s->beat_ms >= STREAM_HEARTBEAT_MS) {
		s->beat_due = true;
		wake(s);
	}
	return false;
}

/* What the source is asked for now; false at the end. */
static bool begin_turn(struct stream *s, bool *ret_beat)
{
	LOCK_SCOPE(&hub.lock);
	s->sent_ms = clock_now_ms();
	s->is_woken = false;
	*ret_beat = s->beat_due;
	s->beat_due = false;
	return !s->is_closed;
}

/* With nothing to send: suspends, unless something happened since the source was asked. */
static bool end_turn(struct stream *s)
{
	LOCK_SCOPE(&hub.lock);
	if (s->is_woken)
		return false;
	s->is_waiting = true;
	s->suspend(s->connection);
	return true;
}

static int ask(struct stream *s, bool is_beat)
{
	str_reset(&s->out);
	s->out_at = 0;
	int rc = s->source->fill(s->arg, &s->out);
	if (rc == 0 && is_beat && s->out.len == 0)
		rc = s->source->heartbeat(s->arg, &s->out);
	return rc;
}

static long take(struct stream *s, char *to, size_t size)
{
	size_t n = s->out.len - s->out_at;
	if (n > size)
		n = size;
	memcpy(to, s->out.data + s->out_at, n);
	s->out_at += n;
	return (long)n;
}

long stream_read(struct stream *s, char *to, size_t size)
{
	do {
		bool is_beat;
		if (!begin_turn(s, &is_beat))
			return STREAM_END;
		if (s->out_at < s->out.len)
			return take(s, to, size);
		if (ask(s, is_beat) < 0)
			return STREAM_END;
		if (s->out.len > 0) {
			LOCK_SCOPE(&hub.lock);
			s->beat_ms = clock_now_ms();
			return take(s, to, size);
		}
	} while (!end_turn(s));
	return STREAM_WAIT;
}

static void delist(struct stream *s)
{
	LOCK_SCOPE(&hub.lock);
	hub.n--;
	if (s->next)
		s->next->previous = s->previous;
	if (s->previous)
		s->previous->next = s->next;
	else
		hub.first = s->next;
}

void stream_free(struct stream *s)
{
	if (!s)
		return;
	delist(s);
	s->source->release(s->arg);
	str_done(&s->out);
	free(s);
}

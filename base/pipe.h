/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bounded buffer of bytes between two threads: one end never waits (an HTTP thread), the other may (a bulk thread).
 * Thread-safe; the side that does not wait is told by a callback when it is worth trying again.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct pipe_buffer;

/*
 * on_ready(arg): space (or data) for the end that does not wait, or a side was closed; at most once per refusal, from the
 * thread that changed it. It runs under the pipe's lock and must not call the pipe; so after the end that does not wait
 * got an answer other than a refusal, or has closed the pipe, it does not come any more.
 */
struct pipe_buffer *pipe_new(size_t capacity, void (*on_ready)(void *arg), void *arg);
struct pipe_buffer *pipe_ref(struct pipe_buffer *p);
void pipe_unref(struct pipe_buffer *p);

/* Takes what fits and returns how much; 0 means full (on_ready follows); ERR_GONE when a side has closed. */
int64_t pipe_offer(struct pipe_buffer *p, const void *bytes, size_t n);
/* Waits until n bytes are in, or the reader closed (its error). */
int pipe_write(struct pipe_buffer *p, const void *bytes, size_t n, struct err *e);
/* Gives what is there; 0 means empty (on_ready follows) or, with *ret_end, the end. Negative: the writer's error, or
 * the reader's side was closed. */
int64_t pipe_poll(struct pipe_buffer *p, void *bytes, size_t n, bool *ret_end);
/* Waits for at least one byte; 0: the end; negative: the writer's error. */
int64_t pipe_read(struct pipe_buffer *p, void *bytes, size_t n, struct err *e);
/* Closing may be done from any thread, also from that of the other side, which is how to cancel; the first close of a side
 * counts.
 * The writer is finished: rc 0, or why there is no more (what is still inside is dropped then). */
void pipe_close_writer(struct pipe_buffer *p, int rc, const struct err *e);
/* The reader wants no more: rc 0, or why. */
void pipe_close_reader(struct pipe_buffer *p, int rc, const struct err *e);
/* Whether a side was closed with an error, and which (the reader's comes first). */
bool pipe_get_error(struct pipe_buffer *p, struct err *ret_error);

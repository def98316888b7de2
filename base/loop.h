/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The core loop: a libuv loop owned by one thread, which other threads reach only by loop_post.
 * A post is a queue entry and one uv_async_send; the queue is drained whole per wake, in order.
 * A callback that runs longer than 1 ms is counted, and logged past 20 ms.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct loop;
struct loop_timer;

/* Created on the thread that will run it. */
struct loop *loop_new(void);
/* After loop_run returned. Pending posts are dropped. */
void loop_free(struct loop *l);
/* Runs until loop_stop. Owner thread. */
void loop_run(struct loop *l);
/* Runs until `done(arg)` says true (asked after each turn) or timeout_ms have passed; also after
 * loop_stop, so that what was begun can end. Returns done's last answer. Owner thread. */
bool loop_run_until(struct loop *l, bool (*done)(void *arg), void *arg, int64_t timeout_ms);
/* Any thread. */
void loop_stop(struct loop *l);
/* The libuv loop, for parts that need their own handles. Owner thread. */
uv_loop_t *loop_uv(struct loop *l);
/* True on the owner's thread. */
bool loop_is_mine(const struct loop *l);
/* Any thread; `fn(arg)` runs on the loop. Order per posting thread is kept. Never blocks. */
void loop_post(struct loop *l, void (*fn)(void *arg), void *arg);

/* A one-shot or repeating timer (repeat_ms 0: once). Owner thread. Free with loop_timer_free, also
 * from inside its own callback. A one-shot timer that fired still has to be freed. */
struct loop_timer *loop_timer_start(
        struct loop *l, int64_t delay_ms, int64_t repeat_ms, void (*fn)(void *arg), void *arg);
void loop_timer_free(struct loop_timer *t); /* accepts NULL */

/* Longest callback seen since the last call, in nanoseconds; for /metrics. Any thread. */
int64_t loop_take_longest_ns(struct loop *l);
/* Monotonic ms of the last completed turn of the loop; a watchdog compares. Any thread. */
int64_t loop_last_turn_ms(const struct loop *l);

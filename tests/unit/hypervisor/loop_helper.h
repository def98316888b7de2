/* SPDX-License-Identifier: Apache-2.0 */
/* For tests on a core loop of their own: turning it until something is so, or a deadline has
 * passed. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/loop.h"

#define LOOP_PATIENCE_MS 20000 /* long, for slow machines; a passing test never waits it out */

static inline void loop_helper_tick(void *arg)
{
	(void)arg;
}

/* Turns the loop until `is_so(arg)`; false after the deadline. */
static inline bool loop_turn_until(
        struct loop *l, bool (*is_so)(void *arg), void *arg, int64_t deadline_ms)
{
	int64_t until_ns = clock_now_ns() + deadline_ms * 1000000;
	struct loop_timer *tick = loop_timer_start(l, 1, 1, loop_helper_tick, NULL);
	bool is_done;
	while (!(is_done = is_so(arg)) && clock_now_ns() < until_ns)
		uv_run(loop_uv(l), UV_RUN_ONCE);
	loop_timer_free(tick);
	uv_run(loop_uv(l), UV_RUN_NOWAIT);
	return is_done;
}

static inline bool loop_helper_never(void *arg)
{
	(void)arg;
	return false;
}

/* Turns the loop for a while, for tests that show that something does not happen. */
static inline void loop_turn_for(struct loop *l, int64_t duration_ms)
{
	loop_turn_until(l, loop_helper_never, NULL, duration_ms);
}

/* Turns until an expression over globals or locals in scope holds. */
#define TURN_UNTIL(loop, expression)                                                               \
	({                                                                                         \
		int64_t turn_until_ns_ = clock_now_ns() + (int64_t)LOOP_PATIENCE_MS * 1000000;     \
		struct loop_timer *turn_tick_ =                                                    \
		        loop_timer_start(loop, 1, 1, loop_helper_tick, NULL);                      \
		while (!(expression) && clock_now_ns() < turn_until_ns_)                           \
			uv_run(loop_uv(loop), UV_RUN_ONCE);                                        \
		loop_timer_free(turn_tick_);                                                       \
		bool turn_is_so_ = (expression);                                                   \
		turn_is_so_;                                                                       \
	})

/* SPDX-License-Identifier: Apache-2.0 */
/* Time: a monotonic clock for deadlines, wall time for records; both can be faked in tests. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define CLOCK_TEXT_SIZE 25 /* 2026-11-23T19:59:54.123Z */

/* Milliseconds of a monotonic clock. Any thread. */
int64_t clock_now_ms(void);
/* Nanoseconds of the same clock, never faked: for measuring. */
int64_t clock_now_ns(void);
/* Milliseconds since the epoch, UTC. What the database stores. */
int64_t clock_wall_ms(void);
/* RFC 3339 UTC with milliseconds; beyond the years 0 to 9999 the nearest time within. */
void clock_format(int64_t wall_ms, char ret_text[CLOCK_TEXT_SIZE]);
/* Parses RFC 3339 (Z or offset, optional fraction); 0 or -1. */
int clock_parse(const char *text, int64_t *ret_wall_ms);

/* Tests only: from now on both clocks stand at `now_ms` until set again; -1 gives real time back.
 */
void clock_fake_set(int64_t now_ms);

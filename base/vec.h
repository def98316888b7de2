/* SPDX-License-Identifier: Apache-2.0 */
/* A typed vector: `VEC(struct x) xs = {0}; VEC_PUSH(&xs, value);`. The owner calls VEC_DONE. */
#pragma once

#include <stdlib.h>

#include "base/alloc.h"

#define VEC(type)                                                                                  \
	struct {                                                                                   \
		type *items;                                                                       \
		size_t len, capacity;                                                              \
	}

#define VEC_RESERVE(v, n)                                                                          \
	do {                                                                                       \
		if ((n) > (v)->capacity) {                                                         \
			(v)->capacity = (n) < 8 ? 8 : (n) + (n) / 2;                               \
			(v)->items = xrealloc((v)->items, (v)->capacity * sizeof((v)->items[0]));  \
		}                                                                                  \
	} while (0)

#define VEC_PUSH(v, value)                                                                         \
	do {                                                                                       \
		VEC_RESERVE(v, (v)->len + 1);                                                      \
		(v)->items[(v)->len++] = (value);                                                  \
	} while (0)

/* Removes item `i`, keeping the order. */
#define VEC_REMOVE(v, i)                                                                           \
	do {                                                                                       \
		for (size_t vec_i_ = (i) + 1; vec_i_ < (v)->len; vec_i_++)                         \
			(v)->items[vec_i_ - 1] = (v)->items[vec_i_];                               \
		(v)->len--;                                                                        \
	} while (0)

/* `it` points at each item in turn. */
#define VEC_FOR_EACH(v, it)                                                                        \
	for (__typeof__((v)->items) it = (v)->items; it < (v)->items + (v)->len; it++)

#define VEC_DONE(v)                                                                                \
	do {                                                                                       \
		free((v)->items);                                                                  \
		(v)->items = NULL;                                                                 \
		(v)->len = (v)->capacity = 0;                                                      \
	} while (0)

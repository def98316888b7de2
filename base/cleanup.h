/* SPDX-License-Identifier: Apache-2.0 */
/* Scope-bound ownership: CLEANUP frees a local at scope end, TAKE hands it over, LOCK_SCOPE
 * unlocks. */
#pragma once

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

/* Declares that the local is released by `function(&local)` when its scope ends. */
#define CLEANUP(function) __attribute__((cleanup(function)))

/* Reads a local that owns and leaves NULL behind, so that its CLEANUP does nothing. */
#define TAKE(pointer)                                                                              \
	({                                                                                         \
		__auto_type take_tmp_ = (pointer);                                                 \
		(pointer) = NULL;                                                                  \
		take_tmp_;                                                                         \
	})

/* Defines `cleanup_NAME(T **)` for `void free_function(T *)`; the function must accept NULL. */
#define CLEANUP_DEFINE(type, free_function)                                                        \
	static inline void cleanup_##free_function(type **p)                                       \
	{                                                                                          \
		free_function(*p);                                                                 \
	}                                                                                          \
	struct cleanup_requires_semicolon_

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_fd(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline pthread_mutex_t *lock_scope_enter(pthread_mutex_t *m)
{
	pthread_mutex_lock(m);
	return m;
}

static inline void lock_scope_leave(pthread_mutex_t **m)
{
	pthread_mutex_unlock(*m);
}

#define LOCK_CONCAT_(a, b) a##b
#define LOCK_NAME_(line)   LOCK_CONCAT_(lock_scope_, line)
/* Holds `mutex` until the end of the scope. Never held across a wait. */
#define LOCK_SCOPE(mutex)                                                                          \
	pthread_mutex_t *LOCK_NAME_(__LINE__) CLEANUP(lock_scope_leave) __attribute__((unused)) =  \
	        lock_scope_enter(mutex)

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libvirt's event implementation on the core loop.
 *
 * libvirt adds, changes and removes handles from any thread, and closes a descriptor right after
 * removing its handle. So the descriptors are watched by an epoll instance of our own, which any
 * thread may change at once, and the core loop only polls that instance: after remove has returned,
 * nobody looks at the descriptor any more. Several handles on one descriptor share one registration
 * with merged events. Each registration has a generation, so that an event fetched before the
 * descriptor was closed and its number used again reaches nobody.
 *
 * Timeouts are kept in a list; one uv timer stands at the earliest. A thread that changes one posts
 * a single re-arm, however many changes follow.
 *
 * Lock: `lock` guards everything here but the uv handles (core loop). Callbacks run on the core
 * loop without it. What a removed handle or timeout leaves behind is freed by a post, hence after
 * any callback under way.
 */
#include "hypervisor/event_loop.h"

#include <assert.h>
#include <errno.h>
#include <libvirt/libvirt.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/vec.h"
#include "hypervisor/libvirt_guard.h"

#define EVENTS_PER_TURN 64
#define NEVER           INT64_MAX

struct handle {
	int watch, fd;
	int events; /* VIR_EVENT_HANDLE_*; 0: asleep */
	virEventHandleCallback callback;
	void *opaque;
	virFreeCallback free_opaque;
};

struct timeout {
	int id;
	int every_ms; /* -1: off; 0: at every turn */
	int64_t due_ns;
	virEventTimeoutCallback callback;
	void *opaque;
	virFreeCallback free_opaque;
};

/* What is registered for a descriptor number. */
struct watched {
	uint32_t mask; /* 0: not registered */
	uint32_t generation;
};

/* libvirt's registration is global, so this is. */
static struct {
	pthread_mutex_t lock;
	struct loop *loop;
	int epoll;
	uv_poll_t poll;
	uv_timer_t timer;
	VEC(struct handle) handles;   /* by rising watch */
	VEC(struct timeout) timeouts; /* by rising id */
	VEC(struct watched) watched;  /* by descriptor */
	uint32_t last_generation;
	int last_id;
	bool is_rearm_posted;
} state = {.lock = PTHREAD_MUTEX_INITIALIZER, .epoll = -1};

/* Freeing, from the loop. */

struct garbage {
	virFreeCallback free_opaque;
	void *opaque;
};

static void collect(void *arg)
{
	struct garbage *garbage = arg;
	garbage->free_opaque(garbage->opaque);
	free(garbage);
}

/* Under the lock. */
static void free_later(virFreeCallback free_opaque, void *opaque)
{
	if (!free_opaque || !state.loop) /* at the process's end it is left to that */
		return;
	struct garbage *garbage = xcalloc(1, sizeof(*garbage));
	*garbage = (struct garbage){.free_opaque = free_opaque, .opaque = opaque};
	loop_post(state.loop, collect, garbage);
}

/* Handles. */

static uint32_t to_epoll(int events)
{
	return ((events & VIR_EVENT_HANDLE_READABLE) ? EPOLLIN : 0u) |
	       ((events & VIR_EVENT_HANDLE_WRITABLE) ? EPOLLOUT : 0u) |
	       ((events & VIR_EVENT_HANDLE_ERROR) ? EPOLLERR : 0u) |
	       ((events & VIR_EVENT_HANDLE_HANGUP) ? EPOLLHUP : 0u);
}

static int from_epoll(uint32_t mask)
{
	return ((mask & EPOLLIN) ? VIR_EVENT_HANDLE_READABLE : 0) |
	       ((mask & EPOLLOUT) ? VIR_EVENT_HANDLE_WRITABLE : 0) |
	       ((mask & EPOLLERR) ? VIR_EVENT_HANDLE_ERROR : 0) |
	       ((mask & EPOLLHUP) ? VIR_EVENT_HANDLE_HANGUP : 0);
}

/* Under the lock; NULL if removed. Ids rise, so the list is sorted. */
static struct handle *find_handle(int watch)
{
	size_t low = 0, high = state.handles.len;
	while (low < high) {
		size_t middle = (low + high) / 2;
		if (state.handles.items[middle].watch < watch)
			low = middle + 1;
		else
			high = middle;
	}
	bool is_found = low < state.handles.len && state.handles.items[low].watch == watch;
	return is_found ? &state.handles.items[low] : NULL;
}

static uint32_t merged_mask(int fd)
{
	uint32_t mask = 0;
	for (size_t i = 0; i < state.handles.len; i++) {
		struct handle *handle = &state.handles.items[i];
		if (handle->fd == fd)
			mask |= to_epoll(handle->events);
	}
	return mask;
}

static struct watched *watched_slot(int fd)
{
	while (state.watched.len <= (size_t)fd)
		VEC_PUSH(&state.watched, (struct watched){0});
	return &state.watched.items[fd];
}

/*
 * Under the lock: brings a descriptor's registration up to date. Handles that want nothing are not
 * registered: epoll would report a hang-up for ever.
 */
static int watch_fd(int fd)
{
	struct watched *slot = watched_slot(fd);
	uint32_t mask = merged_mask(fd);
	if (mask == slot->mask)
		return 0;
	int operation = mask == 0 ? EPOLL_CTL_DEL : slot->mask == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
	if (operation == EPOLL_CTL_ADD)
		slot->generation = ++state.last_generation;
	struct epoll_event event = {
	        .events = mask, .data.u64 = (uint64_t)slot->generation << 32 | (uint32_t)fd};
	int rc = epoll_ctl(state.epoll, operation, fd, &event);
	slot->mask = rc == 0 || operation == EPOLL_CTL_DEL ? mask : 0;
	return rc;
}

static int add_handle(int fd, int events, virEventHandleCallback callback, void *opaque,
        virFreeCallback free_opaque)
{
	if (fd < 0)
		return -1;
	LOCK_SCOPE(&state.lock);
	struct handle handle = {.watch = ++state.last_id,
	        .fd = fd,
	        .events = events,
	        .callback = callback,
	        .opaque = opaque,
	        .free_opaque = free_opaque};
	VEC_PUSH(&state.handles, handle);
	if (watch_fd(fd) == 0)
		return handle.watch;
	state.handles.len--; /* the descriptor cannot be polled; libvirt keeps what it gave */
	watch_fd(fd);
	return -1;
}

static void update_handle(int watch, int events)
{
	LOCK_SCOPE(&state.lock);
	struct handle *handle = find_handle(watch);
	if (!handle || handle->events == events)
		return;
	handle->events = events;
	watch_fd(handle->fd);
}

static int remove_handle(int watch)
{
	LOCK_SCOPE(&state.lock);
	struct handle *handle = find_handle(watch);
	if (!handle)
		return -1;
	struct handle gone = *handle;
	VEC_REMOVE(&state.handles, (size_t)(handle - state.handles.items));
	watch_fd(gone.fd);
	free_later(gone.free_opaque, gone.opaque);
	return 0;
}

/* Copies the next handle after `watch` that wants any of the events; false if there is none. */
static bool next_handle(
        int fd, uint32_t generation, int events, int watch, struct handle *ret_handle)
{
	LOCK_SCOPE(&state.lock);
	if (watched_slot(fd)->mask == 0 || watched_slot(fd)->generation != generation)
		return false;
	for (size_t i = 0; i < state.handles.len; i++) {
		struct handle *handle = &state.handles.items[i];
		/* Errors and hang-ups concern everybody awake, asked for or not, as with poll. */
		int wanted = handle->events ? handle->events | VIR_EVENT_HANDLE_ERROR |
		                                      VIR_EVENT_HANDLE_HANGUP
		                            : 0;
		if (handle->watch <= watch || handle->fd != fd || (wanted & events) == 0)
			continue;
		*ret_handle = *handle;
		ret_handle->events = wanted & events;
		return true;
	}
	return false;
}

static void dispatch(const struct epoll_event *event)
{
	int fd = (int)(uint32_t)event->data.u64;
	uint32_t generation = (uint32_t)(event->data.u64 >> 32);
	struct handle handle = {.watch = 0};
	while (next_handle(fd, generation, from_epoll(event->events), handle.watch, &handle))
		handle.callback(handle.watch, fd, handle.events, handle.opaque);
}

static void on_epoll(uv_poll_t *poll, int status, int uv_events)
{
	(void)poll;
	(void)status;
	(void)uv_events;
	struct epoll_event events[EVENTS_PER_TURN];
	int n = epoll_wait(state.epoll, events, EVENTS_PER_TURN, 0);
	for (int i = 0; i < n; i++)
		dispatch(&events[i]);
}

/* Timeouts. */

static struct timeout *find_timeout(int id)
{
	for (size_t i = 0; i < state.timeouts.len; i++) {
		struct timeout *timeout = &state.timeouts.items[i];
		if (timeout->id == id)
			return timeout;
	}
	return NULL;
}

static void set_due(struct timeout *timeout, int64_t now_ns)
{
	timeout->due_ns =
	        timeout->every_ms < 0 ? NEVER : now_ns + (int64_t)timeout->every_ms * 1000000;
}

static void on_timer(uv_timer_t *timer);

/* Core loop. */
static void arm(void)
{
	int64_t due_ns = NEVER;
	{
		LOCK_SCOPE(&state.lock);
		state.is_rearm_posted = false;
		for (size_t i = 0; i < state.timeouts.len; i++) {
			struct timeout *timeout = &state.timeouts.items[i];
			if (timeout->due_ns < due_ns)
				due_ns = timeout->due_ns;
		}
	}
	if (due_ns == NEVER) {
		uv_timer_stop(&state.timer);
		return;
	}
	int64_t wait_ns = due_ns - clock_now_ns();
	uv_update_time(loop_uv(state.loop));
	uv_timer_start(&state.timer, on_timer,
	        wait_ns > 0 ? (uint64_t)(wait_ns + 999999) / 1000000 : 0, 0);
}

static void posted_arm(void *arg)
{
	(void)arg;
	arm();
}

/* Under the lock. */
static void rearm_later(void)
{
	if (state.is_rearm_posted || !state.loop)
		return;
	state.is_rearm_posted = true;
	loop_post(state.loop, posted_arm, NULL);
}

/* Copies the next timeout after `id` that is due, and sets its next time; false if there is none.
 */
static bool next_timeout(int id, int64_t now_ns, struct timeout *ret_timeout)
{
	LOCK_SCOPE(&state.lock);
	for (size_t i = 0; i < state.timeouts.len; i++) {
		struct timeout *timeout = &state.timeouts.items[i];
		if (timeout->id <= id || timeout->due_ns > now_ns)
			continue;
		set_due(timeout, now_ns);
		*ret_timeout = *timeout;
		return true;
	}
	return false;
}

static void on_timer(uv_timer_t *timer)
{
	(void)timer;
	int64_t now_ns = clock_now_ns();
	struct timeout timeout = {.id = 0};
	while (next_timeout(timeout.id, now_ns, &timeout))
		timeout.callback(timeout.id, timeout.opaque);
	arm();
}

static int add_timeout(
        int every_ms, virEventTimeoutCallback callback, void *opaque, virFreeCallback free_opaque)
{
	LOCK_SCOPE(&state.lock);
	struct timeout timeout = {.id = ++state.last_id,
	        .every_ms = every_ms,
	        .callback = callback,
	        .opaque = opaque,
	        .free_opaque = free_opaque};
	set_due(&timeout, clock_now_ns());
	VEC_PUSH(&state.timeouts, timeout);
	if (every_ms >= 0)
		rearm_later();
	return timeout.id;
}

static void update_timeout(int id, int every_ms)
{
	LOCK_SCOPE(&state.lock);
	struct timeout *timeout = find_timeout(id);
	if (!timeout)
		return;
	timeout->every_ms = every_ms;
	set_due(timeout, clock_now_ns());
	if (every_ms >= 0)
		rearm_later(); /* a timer set too early only finds nothing due */
}

static int remove_timeout(int id)
{
	LOCK_SCOPE(&state.lock);
	struct timeout *timeout = find_timeout(id);
	if (!timeout)
		return -1;
	struct timeout gone = *timeout;
	VEC_REMOVE(&state.timeouts, (size_t)(timeout - state.timeouts.items));
	free_later(gone.free_opaque, gone.opaque);
	return 0;
}

bool event_loop_post(void (*fn)(void *arg), void *arg)
{
	LOCK_SCOPE(&state.lock);
	if (state.loop)
		loop_post(state.loop, fn, arg);
	return state.loop != NULL;
}

void event_loop_detach(void)
{
	LOCK_SCOPE(&state.lock);
	state.loop = NULL;
}

int event_loop_register(struct loop *loop, struct err *e)
{
	libvirt_guard_init();
	assert(loop_is_mine(loop) && state.epoll < 0);
	state.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (state.epoll < 0)
		return err_set_errno(
		        e, errno, "cannot create the epoll instance for libvirt's events");
	state.loop = loop;
	uv_timer_init(loop_uv(loop), &state.timer);
	uv_poll_init(loop_uv(loop), &state.poll, state.epoll);
	int rc = uv_poll_start(&state.poll, UV_READABLE, on_epoll);
	if (rc != 0)
		return err_set(
		        e, ERR_INTERNAL, "cannot poll libvirt's events: %s", uv_strerror(rc));
	virEventRegisterImpl(add_handle, update_handle, remove_handle, add_timeout, update_timeout,
	        remove_timeout);
	return 0;
}

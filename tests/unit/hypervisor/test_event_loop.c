/* SPDX-License-Identifier: Apache-2.0 */
/* libvirt's event implementation: called through libvirt, from the loop and from other threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <libvirt/libvirt.h>

#include "hypervisor/event_loop.h"
#include "tests/unit/hypervisor/loop_helper.h"

static struct loop *loop; /* libvirt takes one implementation per process */

struct watcher {
	int watch, n_called, last_events;
	bool drains, removes_itself, adds_another;
	atomic_int n_freed;
	int frees_when_called; /* n_freed seen inside the callback */
	struct watcher *other;
};

static void on_free(void *opaque)
{
	struct watcher *w = opaque;
	assert_true(loop_is_mine(loop));
	atomic_fetch_add(&w->n_freed, 1);
}

static void on_handle(int watch, int fd, int events, void *opaque)
{
	struct watcher *w = opaque;
	char byte;
	assert_true(loop_is_mine(loop));
	assert_int_equal(watch, w->watch);
	assert_int_equal(atomic_load(&w->n_freed), 0);
	w->n_called++;
	w->last_events = events;
	if (w->drains)
		assert_true(read(fd, &byte, 1) <= 1);
	if (w->removes_itself) {
		assert_int_equal(virEventRemoveHandle(watch), 0);
		w->frees_when_called = atomic_load(&w->n_freed);
	}
	if (w->other && virEventRemoveHandle(w->other->watch) == 0)
		w->other = NULL;
}

static void watch_fd(struct watcher *w, int fd, int events)
{
	w->watch = virEventAddHandle(fd, events, on_handle, w, on_free);
	assert_true(w->watch > 0);
}

static void unwatch(struct watcher *w)
{
	assert_int_equal(virEventRemoveHandle(w->watch), 0);
	assert_true(TURN_UNTIL(loop, atomic_load(&w->n_freed) == 1));
	assert_int_equal(virEventRemoveHandle(w->watch), -1);
}

static void make_pair(int fds[2])
{
	assert_int_equal(
	        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
}

static void close_pair(const int fds[2])
{
	close(fds[0]);
	close(fds[1]);
}

static void say(int fd)
{
	assert_int_equal(write(fd, "x", 1), 1);
}

static void test_readable_handle_is_called_until_it_is_removed(void **state)
{
	(void)state;
	int fds[2];
	struct watcher w = {.drains = true};
	make_pair(fds);
	watch_fd(&w, fds[0], VIR_EVENT_HANDLE_READABLE);
	loop_turn_for(loop, 10);
	assert_int_equal(w.n_called, 0);
	say(fds[1]);
	assert_true(TURN_UNTIL(loop, w.n_called == 1));
	assert_int_equal(w.last_events, VIR_EVENT_HANDLE_READABLE);
	unwatch(&w);
	say(fds[1]);
	loop_turn_for(loop, 10);
	assert_int_equal(w.n_called, 1);
	close_pair(fds);
}

static void test_free_callback_comes_later_and_once(void **state)
{
	(void)state;
	int fds[2];
	struct watcher w = {.removes_itself = true};
	make_pair(fds);
	watch_fd(&w, fds[0], VIR_EVENT_HANDLE_READABLE);
	say(fds[1]);
	assert_true(TURN_UNTIL(loop, atomic_load(&w.n_freed) == 1));
	assert_int_equal(w.frees_when_called, 0);
	loop_turn_for(loop, 10);
	assert_int_equal(w.n_called, 1);
	assert_int_equal(atomic_load(&w.n_freed), 1);
	close_pair(fds);
}

static void test_two_handles_on_one_descriptor_get_their_own_events(void **state)
{
	(void)state;
	int fds[2];
	struct watcher reader = {.drains = true}, writer = {0};
	make_pair(fds);
	watch_fd(&reader, fds[0], VIR_EVENT_HANDLE_READABLE);
	watch_fd(&writer, fds[0], VIR_EVENT_HANDLE_WRITABLE);
	assert_true(TURN_UNTIL(loop, writer.n_called > 0));
	assert_int_equal(writer.last_events, VIR_EVENT_HANDLE_WRITABLE);
	assert_int_equal(reader.n_called, 0);
	virEventUpdateHandle(writer.watch, 0);
	int called = writer.n_called;
	say(fds[1]);
	assert_true(TURN_UNTIL(loop, reader.n_called == 1));
	assert_int_equal(writer.n_called, called);
	unwatch(&writer);
	say(fds[1]);
	assert_true(TURN_UNTIL(loop, reader.n_called == 2)); /* the one that stays still works */
	unwatch(&reader);
	close_pair(fds);
}

static void test_handle_removed_by_another_callback_is_not_called(void **state)
{
	(void)state;
	int fds[2];
	struct watcher first = {0}, second = {0};
	make_pair(fds);
	watch_fd(&first, fds[0], VIR_EVENT_HANDLE_READABLE);
	watch_fd(&second, fds[0], VIR_EVENT_HANDLE_READABLE);
	first.other = &second;
	say(fds[1]);
	assert_true(TURN_UNTIL(loop, first.n_called >= 2));
	assert_int_equal(second.n_called, 0);
	assert_int_equal(atomic_load(&second.n_freed), 1);
	unwatch(&first);
	close_pair(fds);
}

static void test_sleeping_handle_ignores_a_hangup_until_it_wakes(void **state)
{
	(void)state;
	int fds[2];
	struct watcher w = {0};
	make_pair(fds);
	watch_fd(&w, fds[0], VIR_EVENT_HANDLE_READABLE);
	virEventUpdateHandle(w.watch, 0);
	close(fds[1]);
	loop_turn_for(loop, 10);
	assert_int_equal(w.n_called, 0);
	virEventUpdateHandle(w.watch, VIR_EVENT_HANDLE_READABLE);
	assert_true(TURN_UNTIL(loop, w.n_called > 0));
	assert_true((w.last_events & VIR_EVENT_HANDLE_HANGUP) != 0);
	unwatch(&w);
	close(fds[0]);
}

static void test_unpollable_descriptor_is_refused(void **state)
{
	(void)state;
	struct watcher w = {0};
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	int file = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
	assert_int_equal(
	        virEventAddHandle(-1, VIR_EVENT_HANDLE_READABLE, on_handle, &w, on_free), -1);
	assert_int_equal(
	        virEventAddHandle(file, VIR_EVENT_HANDLE_READABLE, on_handle, &w, on_free), -1);
	close(fd);
	close(file);
	loop_turn_for(loop, 5);
	assert_int_equal(atomic_load(&w.n_freed), 0); /* libvirt keeps what it could not give */
}

/*
 * Two descriptors are ready in one turn. The callback of whichever comes first removes the other's
 * handle, closes its descriptor and watches a new socket that got the same number.
 */
struct swapper {
	int fds[2], fresh_fds[2];
	struct watcher old, fresh;
	struct swapper *peer;
	int n_called;
};

static void on_swap(int watch, int fd, int events, void *opaque)
{
	struct swapper *mine = opaque, *other = mine->peer;
	(void)events;
	mine->n_called++;
	virEventRemoveHandle(watch);
	virEventRemoveHandle(other->old.watch);
	close(other->fds[0]);
	make_pair(other->fresh_fds);
	assert_int_equal(other->fresh_fds[0], other->fds[0]);
	watch_fd(&other->fresh, other->fresh_fds[0], VIR_EVENT_HANDLE_READABLE);
	other->fresh.drains = true;
	assert_int_equal(fd, mine->fds[0]);
}

static void test_event_of_a_closed_descriptor_does_not_reach_its_successor(void **state)
{
	(void)state;
	struct swapper pair[2] = {{.peer = &pair[1]}, {.peer = &pair[0]}};
	for (int i = 0; i < 2; i++) {
		make_pair(pair[i].fds);
		pair[i].old.watch = virEventAddHandle(
		        pair[i].fds[0], VIR_EVENT_HANDLE_READABLE, on_swap, &pair[i], NULL);
		say(pair[i].fds[1]);
	}
	assert_true(TURN_UNTIL(loop, pair[0].n_called + pair[1].n_called > 0));
	assert_int_equal(pair[0].n_called + pair[1].n_called, 1);
	struct swapper *swapped = pair[0].n_called ? &pair[1] : &pair[0];
	loop_turn_for(loop, 5);
	assert_int_equal(swapped->fresh.n_called, 0);
	say(swapped->fresh_fds[1]);
	assert_true(TURN_UNTIL(loop, swapped->fresh.n_called == 1));
	unwatch(&swapped->fresh);
	close_pair(swapped->fresh_fds);
	close(swapped->fds[1]);
	close_pair(swapped->peer->fds);
}

enum { ROUNDS = 300 };

struct churn {
	struct watcher watchers[ROUNDS];
	atomic_bool is_over;
};

static void on_churn(int watch, int fd, int events, void *opaque)
{
	struct watcher *w = opaque;
	(void)watch;
	(void)fd;
	(void)events;
	w->n_called++;
}

/* As libvirt does: add, change, remove, close at once, from a thread of its own, while events fire.
 */
static void *churn_main(void *arg)
{
	struct churn *churn = arg;
	for (int i = 0; i < ROUNDS; i++) {
		int fds[2];
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) != 0)
			abort();
		int watch = virEventAddHandle(
		        fds[0], VIR_EVENT_HANDLE_READABLE, on_churn, &churn->watchers[i], on_free);
		if (write(fds[1], "x", 1) != 1)
			abort();
		virEventUpdateHandle(watch, VIR_EVENT_HANDLE_READABLE | VIR_EVENT_HANDLE_WRITABLE);
		if (i % 3 == 0)
			sched_yield();
		virEventRemoveHandle(watch);
		close_pair(fds);
	}
	atomic_store(&churn->is_over, true);
	return NULL;
}

static int n_freed(struct churn *churn)
{
	int n = 0;
	for (int i = 0; i < ROUNDS; i++)
		n += atomic_load(&churn->watchers[i].n_freed);
	return n;
}

static void test_threads_add_and_remove_while_events_fire(void **state)
{
	(void)state;
	struct churn *churns = calloc(2, sizeof(*churns));
	pthread_t threads[2];
	for (int i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, churn_main, &churns[i]);
	assert_true(TURN_UNTIL(
	        loop, atomic_load(&churns[0].is_over) && atomic_load(&churns[1].is_over)));
	for (int i = 0; i < 2; i++) {
		pthread_join(threads[i], NULL);
		assert_true(TURN_UNTIL(loop, n_freed(&churns[i]) == ROUNDS));
		for (int k = 0; k < ROUNDS; k++)
			assert_int_equal(atomic_load(&churns[i].watchers[k].n_freed), 1);
	}
	free(churns);
}

/* Timeouts. */

struct ticker {
	int id, n_called;
	bool removes_itself, switches_off;
	atomic_int n_freed;
};

static void on_tick_free(void *opaque)
{
	struct ticker *t = opaque;
	atomic_fetch_add(&t->n_freed, 1);
}

static void on_tick(int id, void *opaque)
{
	struct ticker *t = opaque;
	assert_true(loop_is_mine(loop));
	assert_int_equal(id, t->id);
	t->n_called++;
	if (t->switches_off)
		virEventUpdateTimeout(id, -1);
	if (t->removes_itself) {
		assert_int_equal(virEventRemoveTimeout(id), 0);
		assert_int_equal(atomic_load(&t->n_freed), 0);
	}
}

static void start_ticker(struct ticker *t, int every_ms)
{
	t->id = virEventAddTimeout(every_ms, on_tick, t, on_tick_free);
	assert_true(t->id > 0);
}

static void stop_ticker(struct ticker *t)
{
	assert_int_equal(virEventRemoveTimeout(t->id), 0);
	assert_true(TURN_UNTIL(loop, atomic_load(&t->n_freed) == 1));
}

static void test_timeout_repeats_and_never_comes_early(void **state)
{
	(void)state;
	struct ticker t = {0};
	int64_t started_ns = clock_now_ns();
	start_ticker(&t, 20);
	assert_true(TURN_UNTIL(loop, t.n_called == 3));
	assert_true(clock_now_ns() - started_ns >= 60 * 1000000LL);
	stop_ticker(&t);
	loop_turn_for(loop, 30);
	assert_int_equal(t.n_called, 3);
}

static void test_timeout_is_off_until_it_is_updated(void **state)
{
	(void)state;
	struct ticker off = {.switches_off = true}, other = {0};
	start_ticker(&off, -1);
	start_ticker(&other, 5);
	assert_true(TURN_UNTIL(loop, other.n_called >= 3));
	assert_int_equal(off.n_called, 0);
	virEventUpdateTimeout(off.id, 0);
	assert_true(TURN_UNTIL(loop, off.n_called == 1));
	int seen = other.n_called;
	assert_true(TURN_UNTIL(loop, other.n_called >= seen + 3));
	assert_int_equal(off.n_called, 1); /* it switched itself off */
	stop_ticker(&off);
	stop_ticker(&other);
}

static void test_earlier_timeout_overtakes_a_later_one(void **state)
{
	(void)state;
	struct ticker late = {0}, early = {0};
	start_ticker(&late, LOOP_PATIENCE_MS * 10);
	loop_turn_for(loop, 2);
	start_ticker(&early, 5);
	assert_true(TURN_UNTIL(loop, early.n_called > 0));
	assert_int_equal(late.n_called, 0);
	stop_ticker(&late);
	stop_ticker(&early);
}

static void test_timeout_may_remove_itself(void **state)
{
	(void)state;
	struct ticker t = {.removes_itself = true};
	start_ticker(&t, 0);
	assert_true(TURN_UNTIL(loop, atomic_load(&t.n_freed) == 1));
	loop_turn_for(loop, 10);
	assert_int_equal(t.n_called, 1);
}

struct thread_ticker {
	struct ticker ticker;
	atomic_int id;
	atomic_bool is_over;
};

static void on_thread_tick(int id, void *opaque)
{
	struct thread_ticker *t = opaque;
	t->ticker.n_called++;
	(void)id;
}

static void *timeout_main(void *arg)
{
	struct thread_ticker *t = arg;
	int id = virEventAddTimeout(-1, on_thread_tick, t, on_tick_free);
	for (int i = 0; i < 200; i++)
		virEventUpdateTimeout(id, i % 3 - 1);
	virEventUpdateTimeout(id, 1);
	atomic_store(&t->id, id);
	atomic_store(&t->is_over, true);
	return NULL;
}

static void test_timeouts_are_set_from_other_threads(void **state)
{
	(void)state;
	struct thread_ticker t = {0};
	pthread_t thread;
	pthread_create(&thread, NULL, timeout_main, &t);
	assert_true(TURN_UNTIL(loop, atomic_load(&t.is_over)));
	pthread_join(thread, NULL);
	int seen = t.ticker.n_called;
	assert_true(TURN_UNTIL(loop, t.ticker.n_called >= seen + 2));
	assert_int_equal(virEventRemoveTimeout(atomic_load(&t.id)), 0);
	assert_true(TURN_UNTIL(loop, atomic_load(&t.ticker.n_freed) == 1));
}

/* libvirt itself on it: its test driver delivers events by a timeout. */
static int n_lifecycle;

static void on_lifecycle(virConnectPtr c, virDomainPtr domain, int event, int detail, void *opaque)
{
	(void)c;
	(void)domain;
	(void)event;
	(void)detail;
	(void)opaque;
	n_lifecycle++;
}

static void test_libvirt_delivers_its_events(void **state)
{
	(void)state;
	virConnectPtr c = virConnectOpen("test:///default");
	assert_non_null(c);
	int id = virConnectDomainEventRegisterAny(c, NULL, VIR_DOMAIN_EVENT_ID_LIFECYCLE,
	        VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle), NULL, NULL);
	assert_true(id >= 0);
	virDomainPtr domain = virDomainLookupByName(c, "test");
	assert_int_equal(virDomainSuspend(domain), 0);
	assert_true(TURN_UNTIL(loop, n_lifecycle == 1));
	assert_int_equal(virConnectDomainEventDeregisterAny(c, id), 0);
	virDomainFree(domain);
	virConnectClose(c);
	loop_turn_for(loop, 5);
}

static int set_up_group(void **state)
{
	struct err e;
	(void)state;
	loop = loop_new();
	return event_loop_register(loop, &e);
}

static void on_no_timeout(int id, void *opaque)
{
	(void)id;
	(void)opaque;
	fail();
}

static int tear_down_group(void **state)
{
	(void)state;
	loop_free(loop);
	return 0;
}

/* Last: there is no way back. A thread that hung in libvirt returns when the process ends. */
static void test_what_comes_after_the_loop_is_left_alone(void **state)
{
	(void)state;
	struct watcher w = {0};
	int ends[2];
	assert_int_equal(pipe(ends), 0);
	watch_fd(&w, ends[0], VIR_EVENT_HANDLE_READABLE);
	event_loop_detach();
	assert_false(event_loop_post(free, NULL));
	assert_int_equal(virEventRemoveHandle(w.watch), 0);
	int id = virEventAddTimeout(-1, on_no_timeout, NULL, NULL);
	virEventUpdateTimeout(id, 1);
	assert_int_equal(virEventRemoveTimeout(id), 0);
	assert_int_equal(atomic_load(&w.n_freed), 0);
	close(ends[0]);
	close(ends[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_readable_handle_is_called_until_it_is_removed),
	        cmocka_unit_test(test_free_callback_comes_later_and_once),
	        cmocka_unit_test(test_two_handles_on_one_descriptor_get_their_own_events),
	        cmocka_unit_test(test_handle_removed_by_another_callback_is_not_called),
	        cmocka_unit_test(test_sleeping_handle_ignores_a_hangup_until_it_wakes),
	        cmocka_unit_test(test_unpollable_descriptor_is_refused),
	        cmocka_unit_test(test_event_of_a_closed_descriptor_does_not_reach_its_successor),
	        cmocka_unit_test(test_threads_add_and_remove_while_events_fire),
	        cmocka_unit_test(test_timeout_repeats_and_never_comes_early),
	        cmocka_unit_test(test_timeout_is_off_until_it_is_updated),
	        cmocka_unit_test(test_earlier_timeout_overtakes_a_later_one),
	        cmocka_unit_test(test_timeout_may_remove_itself),
	        cmocka_unit_test(test_timeouts_are_set_from_other_threads),
	        cmocka_unit_test(test_libvirt_delivers_its_events),
	        cmocka_unit_test(test_what_comes_after_the_loop_is_left_alone),
	};
	return cmocka_run_group_tests(tests, set_up_group, tear_down_group);
}

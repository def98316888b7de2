/* SPDX-License-Identifier: Apache-2.0 */
/* The core loop: posts from many threads, timers, stopping. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <pthread.h>

#include "base/clock.h"
#include "base/loop.h"

#define THREADS 4
#define POSTS   20000

struct order {
	struct loop *loop;
	int next[THREADS]; /* loop only */
	int out_of_order, off_thread, total;
};

struct message {
	struct order *order;
	int thread, number;
};

static void on_message(void *arg)
{
	struct message *m = arg;
	struct order *o = m->order;
	o->out_of_order += o->next[m->thread] != m->number;
	o->next[m->thread] = m->number + 1;
	o->off_thread += !loop_is_mine(o->loop);
	if (++o->total == THREADS * POSTS)
		loop_stop(o->loop);
}

static void *post_all(void *arg)
{
	struct message *messages = arg;
	for (int i = 0; i < POSTS; i++)
		loop_post(messages[i].order->loop, on_message, &messages[i]);
	return NULL;
}

static void test_posts_of_each_thread_arrive_in_order_on_the_loop(void **state)
{
	(void)state;
	struct order order = {.loop = loop_new()};
	pthread_t threads[THREADS];
	struct message *messages[THREADS];
	for (int t = 0; t < THREADS; t++) {
		messages[t] = calloc(POSTS, sizeof(*messages[t]));
		for (int i = 0; i < POSTS; i++)
			messages[t][i] = (struct message){&order, t, i};
		assert_int_equal(pthread_create(&threads[t], NULL, post_all, messages[t]), 0);
	}
	loop_run(order.loop);
	for (int t = 0; t < THREADS; t++) {
		pthread_join(threads[t], NULL);
		free(messages[t]);
	}
	assert_int_equal(order.total, THREADS * POSTS);
	assert_int_equal(order.out_of_order, 0);
	assert_int_equal(order.off_thread, 0);
	loop_free(order.loop);
}

static void stop(void *arg)
{
	loop_stop(arg);
}

static void post_stop(void *arg)
{
	loop_post(arg, stop, arg);
}

static void test_a_post_from_the_loop_itself_runs(void **state)
{
	(void)state;
	struct loop *l = loop_new();
	loop_post(l, post_stop, l);
	loop_run(l);
	loop_free(l);
}

struct ticker {
	struct loop *loop;
	struct loop_timer *timer;
	int ticks, stop_at;
};

static void on_tick(void *arg)
{
	struct ticker *t = arg;
	if (++t->ticks < t->stop_at)
		return;
	loop_timer_free(t->timer);
	t->timer = NULL;
	loop_stop(t->loop);
}

static void test_a_repeating_timer_may_free_itself(void **state)
{
	(void)state;
	struct ticker t = {.loop = loop_new(), .stop_at = 3};
	t.timer = loop_timer_start(t.loop, 1, 1, on_tick, &t);
	loop_run(t.loop);
	assert_int_equal(t.ticks, 3);
	loop_free(t.loop);
}

static void test_a_one_shot_timer_may_free_itself(void **state)
{
	(void)state;
	struct ticker t = {.loop = loop_new(), .stop_at = 1};
	t.timer = loop_timer_start(t.loop, -5, 0, on_tick, &t);
	loop_run(t.loop);
	assert_int_equal(t.ticks, 1);
	loop_free(t.loop);
}

static void test_a_freed_timer_does_not_fire(void **state)
{
	(void)state;
	struct loop *l = loop_new();
	struct ticker never = {.loop = l, .stop_at = 1};
	struct loop_timer *timer = loop_timer_start(l, 1, 0, on_tick, &never);
	loop_timer_free(timer);
	loop_timer_free(NULL);
	struct ticker later = {.loop = l, .stop_at = 5};
	later.timer = loop_timer_start(l, 2, 2, on_tick, &later);
	loop_run(l);
	assert_int_equal(never.ticks, 0);
	loop_free(l);
}

static void count(void *arg)
{
	++*(int *)arg;
}

static void test_posts_left_at_the_end_are_dropped(void **state)
{
	(void)state;
	int calls = 0;
	struct loop *l = loop_new();
	loop_stop(l);
	loop_run(l);
	loop_post(l, count, &calls);
	loop_free(l);
	loop_free(NULL);
	assert_int_equal(calls, 0);
}

static void burn(void *arg)
{
	int64_t end = clock_now_ns() + 3000000;
	while (clock_now_ns() < end)
		;
	loop_stop(arg);
}

static void test_the_longest_callback_is_measured_and_taken_once(void **state)
{
	(void)state;
	struct loop *l = loop_new();
	int64_t turn = loop_last_turn_ms(l);
	loop_post(l, burn, l);
	loop_run(l);
	assert_true(loop_take_longest_ns(l) >= 3000000);
	assert_true(loop_take_longest_ns(l) == 0);
	assert_true(loop_last_turn_ms(l) >= turn);
	assert_non_null(loop_uv(l));
	loop_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_posts_of_each_thread_arrive_in_order_on_the_loop),
	        cmocka_unit_test(test_a_post_from_the_loop_itself_runs),
	        cmocka_unit_test(test_a_repeating_timer_may_free_itself),
	        cmocka_unit_test(test_a_one_shot_timer_may_free_itself),
	        cmocka_unit_test(test_a_freed_timer_does_not_fire),
	        cmocka_unit_test(test_posts_left_at_the_end_are_dropped),
	        cmocka_unit_test(test_the_longest_callback_is_measured_and_taken_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

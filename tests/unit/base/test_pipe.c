/* SPDX-License-Identifier: Apache-2.0 */
/* The bounded buffer between two threads: order, back-pressure, ends, errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <pthread.h>
#include <semaphore.h>

#include "base/pipe.h"

#define TOTAL ((size_t)3 * 1024 * 1024 + 17)

static unsigned char byte_at(size_t i)
{
	return (unsigned char)(i * 7 + i / 251);
}

static void on_ready(void *arg)
{
	sem_post(arg);
}

static void nothing(void *arg)
{
	(void)arg;
}

/* ---- the other thread ---- */

struct other {
	struct pipe_buffer *pipe;
	size_t n, wrong;
	size_t block;
	int64_t rc;
	struct err error;
};

static void *read_all(void *arg)
{
	struct other *o = arg;
	unsigned char block[9000];
	while ((o->rc = pipe_read(o->pipe, block, o->block, &o->error)) > 0)
		for (int64_t i = 0; i < o->rc; i++)
			o->wrong += block[i] != byte_at(o->n++);
	return NULL;
}

static void *write_all(void *arg)
{
	struct other *o = arg;
	unsigned char block[9000];
	for (o->rc = 0; o->rc == 0 && o->n < TOTAL;) {
		size_t n = TOTAL - o->n < o->block ? TOTAL - o->n : o->block;
		for (size_t i = 0; i < n; i++)
			block[i] = byte_at(o->n + i);
		o->rc = pipe_write(o->pipe, block, n, &o->error);
		o->n += n;
	}
	pipe_close_writer(o->pipe, 0, NULL);
	return NULL;
}

/* ---- tests ---- */

static void test_offered_bytes_arrive_in_order_through_a_small_buffer(void **state)
{
	(void)state;
	sem_t ready;
	sem_init(&ready, 0, 0);
	struct other o = {.pipe = pipe_new(1000, on_ready, &ready), .block = 337};
	pthread_t thread;
	pthread_create(&thread, NULL, read_all, &o);
	unsigned char block[4096];
	for (size_t at = 0; at < TOTAL;) {
		size_t n = TOTAL - at < sizeof(block) ? TOTAL - at : sizeof(block);
		for (size_t i = 0; i < n; i++)
			block[i] = byte_at(at + i);
		int64_t taken = pipe_offer(o.pipe, block, n);
		assert_true(taken >= 0);
		if (taken == 0)
			sem_wait(&ready);
		at += (size_t)taken;
	}
	pipe_close_writer(o.pipe, 0, NULL);
	pthread_join(thread, NULL);
	assert_int_equal(o.rc, 0);
	assert_int_equal(o.n, TOTAL);
	assert_int_equal(o.wrong, 0);
	pipe_unref(o.pipe);
	sem_destroy(&ready);
}

static void test_written_bytes_arrive_in_order_at_who_polls(void **state)
{
	(void)state;
	sem_t ready;
	sem_init(&ready, 0, 0);
	struct other o = {.pipe = pipe_new(4096, on_ready, &ready), .block = 9000};
	pthread_t thread;
	pthread_create(&thread, NULL, write_all, &o);
	unsigned char block[701];
	size_t n = 0, wrong = 0;
	for (bool is_end = false; !is_end;) {
		int64_t got = pipe_poll(o.pipe, block, sizeof(block), &is_end);
		assert_true(got >= 0);
		for (int64_t i = 0; i < got; i++)
			wrong += block[i] != byte_at(n++);
		if (got == 0 && !is_end)
			sem_wait(&ready);
	}
	pthread_join(thread, NULL);
	assert_int_equal(o.rc, 0);
	assert_int_equal(n, TOTAL);
	assert_int_equal(wrong, 0);
	pipe_unref(o.pipe);
	sem_destroy(&ready);
}

static void test_full_pipe_refuses_and_calls_once_when_there_is_room(void **state)
{
	(void)state;
	sem_t ready;
	sem_init(&ready, 0, 0);
	struct pipe_buffer *p = pipe_new(4, on_ready, &ready);
	char two[2];
	int calls;
	assert_int_equal(pipe_offer(p, "abcdef", 6), 4);
	assert_int_equal(pipe_read(p, two, 2, NULL), 2);
	sem_getvalue(&ready, &calls);
	assert_int_equal(calls, 0); /* nothing was refused yet */
	assert_int_equal(pipe_offer(p, "ef", 2), 2);
	assert_int_equal(pipe_offer(p, "g", 1), 0);
	assert_int_equal(pipe_read(p, two, 2, NULL), 2);
	assert_int_equal(pipe_read(p, two, 2, NULL), 2);
	assert_memory_equal(two, "ef", 2);
	sem_getvalue(&ready, &calls);
	assert_int_equal(calls, 1);
	pipe_unref(p);
	sem_destroy(&ready);
}

static void test_end_comes_after_the_last_byte(void **state)
{
	(void)state;
	struct pipe_buffer *p = pipe_new(16, nothing, NULL);
	char text[16];
	bool is_end;
	pipe_offer(p, "last", 4);
	pipe_close_writer(p, 0, NULL);
	assert_int_equal(pipe_poll(p, text, sizeof(text), &is_end), 4);
	assert_false(is_end);
	assert_int_equal(pipe_poll(p, text, sizeof(text), &is_end), 0);
	assert_true(is_end);
	assert_int_equal(pipe_read(p, text, sizeof(text), NULL), 0);
	pipe_unref(p);
}

static void test_writers_error_reaches_a_waiting_reader(void **state)
{
	(void)state;
	struct other o = {.pipe = pipe_new(16, nothing, NULL), .block = 16};
	pthread_t thread;
	pthread_create(&thread, NULL, read_all, &o);
	struct err e = {0};
	err_set(&e, ERR_DEADLINE, "the client sent nothing for 30 s");
	pipe_close_writer(o.pipe, ERR_DEADLINE, &e);
	pipe_close_writer(o.pipe, 0, NULL); /* too late */
	pthread_join(thread, NULL);
	assert_int_equal(o.rc, ERR_DEADLINE);
	assert_string_equal(o.error.message, "the client sent nothing for 30 s");
	pipe_unref(o.pipe);
}

static void test_readers_close_ends_a_waiting_writer_and_refuses_offers(void **state)
{
	(void)state;
	struct other o = {.pipe = pipe_new(16, nothing, NULL), .block = 9000};
	pthread_t thread;
	pthread_create(&thread, NULL, write_all, &o);
	struct err e = {0};
	err_set(&e, ERR_DISK_FULL, "no room");
	pipe_close_reader(o.pipe, ERR_DISK_FULL, &e);
	pthread_join(thread, NULL);
	assert_int_equal(o.rc, ERR_DISK_FULL);
	assert_string_equal(o.error.message, "no room");
	assert_int_equal(pipe_offer(o.pipe, "x", 1), ERR_GONE);
	struct err seen = {0};
	assert_true(pipe_get_error(o.pipe, &seen));
	assert_int_equal(seen.code, ERR_DISK_FULL);
	pipe_unref(o.pipe);
}

static void test_close_calls_the_end_that_was_refused(void **state)
{
	(void)state;
	sem_t ready;
	sem_init(&ready, 0, 0);
	struct pipe_buffer *p = pipe_new(4, on_ready, &ready);
	int calls;
	bool is_end;
	char byte;
	assert_int_equal(pipe_poll(p, &byte, 1, &is_end), 0);
	pipe_close_writer(p, 0, NULL);
	sem_getvalue(&ready, &calls);
	assert_int_equal(calls, 1);
	assert_int_equal(pipe_poll(p, &byte, 1, &is_end), 0);
	assert_true(is_end);
	pipe_unref(p);
	sem_destroy(&ready);
}

static void test_close_without_error_gives_none(void **state)
{
	(void)state;
	struct pipe_buffer *p = pipe_new(4, nothing, NULL);
	struct err e = {0};
	assert_false(pipe_get_error(p, &e));
	pipe_close_reader(p, 0, NULL);
	assert_false(pipe_get_error(p, &e));
	assert_int_equal(pipe_write(p, "x", 1, &e), ERR_GONE);
	pipe_unref(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_offered_bytes_arrive_in_order_through_a_small_buffer),
	        cmocka_unit_test(test_written_bytes_arrive_in_order_at_who_polls),
	        cmocka_unit_test(test_full_pipe_refuses_and_calls_once_when_there_is_room),
	        cmocka_unit_test(test_end_comes_after_the_last_byte),
	        cmocka_unit_test(test_writers_error_reaches_a_waiting_reader),
	        cmocka_unit_test(test_readers_close_ends_a_waiting_writer_and_refuses_offers),
	        cmocka_unit_test(test_close_calls_the_end_that_was_refused),
	        cmocka_unit_test(test_close_without_error_gives_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

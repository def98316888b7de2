/* SPDX-License-Identifier: Apache-2.0 */
/* Bulk threads: order, limits, cancelling, the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bulk.h"

#define PATIENCE_MS 20000

struct world {
	struct loop *loop;
	struct bulk *bulk;
	_Atomic int running, most;
	int ended; /* loop */
	sem_t begun, go;
};

struct job {
	struct world *world;
	int rc; /* of done */
	int order, order_ended;
	_Atomic int was_run;
	char thread_name[16];
	int io_priority;
	struct err error;
	bool is_done;
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	w->loop = loop_new();
	sem_init(&w->begun, 0, 0);
	sem_init(&w->go, 0, 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	bulk_free(w->bulk);
	loop_free(w->loop);
	sem_destroy(&w->begun);
	sem_destroy(&w->go);
	free(w);
	return 0;
}

static void done(void *arg, int rc, const struct err *e)
{
	struct job *job = arg;
	assert_true(loop_is_mine(job->world->loop));
	assert_false(job->is_done);
	job->is_done = true;
	job->rc = rc;
	if (e)
		job->error = *e;
	job->order_ended = job->world->ended++;
}

/* Waits for its permission. */
static int run(struct bulk_job *bulk_job, void *arg, struct err *e)
{
	struct job *job = arg;
	struct world *w = job->world;
	(void)bulk_job, (void)e;
	int n = atomic_fetch_add(&w->running, 1) + 1;
	if (n > atomic_load(&w->most))
		atomic_store(&w->most, n);
	pthread_getname_np(pthread_self(), job->thread_name, sizeof(job->thread_name));
	job->io_priority = (int)syscall(SYS_ioprio_get, 1, 0);
	atomic_store(&job->was_run, 1);
	sem_post(&w->begun);
	sem_wait(&w->go);
	atomic_fetch_sub(&w->running, 1);
	return 0;
}

static int run_until_cancelled(struct bulk_job *bulk_job, void *arg, struct err *e)
{
	struct job *job = arg;
	sem_post(&job->world->begun);
	while (!bulk_is_cancelled(bulk_job))
		sched_yield();
	return err_set(e, ERR_CANCELLED, "stopped in the middle");
}

static struct bulk_job *submit(
        struct world *w, struct job *job, int (*fn)(struct bulk_job *, void *, struct err *))
{
	job->world = w;
	struct bulk_call call = {.run = fn, .done = done, .arg = job};
	return bulk_submit(w->bulk, &call);
}

struct wanted {
	struct world *world;
	int ended;
};

static bool have_ended(void *arg)
{
	struct wanted *wanted = arg;
	return wanted->world->ended >= wanted->ended;
}

static void wait_for(struct world *w, int ended)
{
	struct wanted wanted = {w, ended};
	assert_true(loop_run_until(w->loop, have_ended, &wanted, PATIENCE_MS));
}

static void test_no_more_jobs_run_at_once_than_there_are_threads(void **state)
{
	struct world *w = *state;
	w->bulk = bulk_new(w->loop, 2);
	struct job jobs[6] = {0};
	for (int i = 0; i < 6; i++)
		submit(w, &jobs[i], run);
	sem_wait(&w->begun);
	sem_wait(&w->begun); /* both threads are at work at the same time */
	for (int i = 0; i < 6; i++)
		sem_post(&w->go);
	wait_for(w, 6);
	assert_int_equal(w->most, 2);
	for (int i = 0; i < 6; i++)
		assert_int_equal(jobs[i].rc, 0);
}

static void test_jobs_run_in_order_on_a_named_thread_with_idle_io_priority(void **state)
{
	struct world *w = *state;
	w->bulk = bulk_new(w->loop, 1);
	struct job jobs[4] = {0};
	for (int i = 0; i < 4; i++) {
		sem_post(&w->go);
		submit(w, &jobs[i], run);
	}
	wait_for(w, 4);
	for (int i = 0; i < 4; i++)
		assert_int_equal(jobs[i].order_ended, i);
	assert_string_equal(jobs[0].thread_name, "bulk");
	assert_int_equal(jobs[0].io_priority >> 13, 3);
}

static void test_waiting_job_is_cancelled_at_once_without_running(void **state)
{
	struct world *w = *state;
	w->bulk = bulk_new(w->loop, 1);
	struct job first = {0}, second = {0}, third = {0};
	submit(w, &first, run);
	sem_wait(&w->begun);
	struct bulk_job *waiting = submit(w, &second, run);
	submit(w, &third, run);
	bulk_cancel(waiting);
	wait_for(w, 1); /* although the only thread is busy */
	assert_true(second.is_done);
	assert_int_equal(second.rc, ERR_CANCELLED);
	assert_int_equal(second.was_run, 0);
	sem_post(&w->go);
	sem_post(&w->go);
	wait_for(w, 3);
	assert_int_equal(third.rc, 0);
}

static void test_last_waiting_job_cancelled_leaves_the_line_usable(void **state)
{
	struct world *w = *state;
	w->bulk = bulk_new(w->loop, 1);
	struct job jobs[4] = {0};
	submit(w, &jobs[0], run);
	sem_wait(&w->begun);
	submit(w, &jobs[1], run);
	bulk_cancel(submit(w, &jobs[2], run));
	submit(w, &jobs[3], run);
	for (int i = 0; i < 3; i++)
		sem_post(&w->go);
	wait_for(w, 4);
	assert_int_equal(jobs[1].rc, 0);
	assert_int_equal(jobs[2].rc, ERR_CANCELLED);
	assert_int_equal(jobs[3].rc, 0);
}

static void test_running_job_sees_its_cancel(void **state)
{
	struct world *w = *state;
	w->bulk = bulk_new(w->loop, 1);
	struct job job = {0};
	struct bulk_job *handle = submit(w, &job, run_until_cancelled);
	sem_wait(&w->begun);
	bulk_cancel(handle);
	wait_for(w, 1);
	assert_int_equal(job.rc, ERR_CANCELLED);
	assert_string_equal(job.error.message, "stopped in the middle");
}

static void test_free_cancels_all_and_calls_nobody(void **state)
{
	struct world *w = *state;
	w->bulk = bulk_new(w->loop, 1);
	struct job running = {0}, waiting = {0};
	submit(w, &running, run_until_cancelled);
	sem_wait(&w->begun);
	submit(w, &waiting, run);
	bulk_free(w->bulk);
	w->bulk = NULL;
	struct wanted wanted = {w, 1};
	assert_false(loop_run_until(w->loop, have_ended, &wanted, 50));
	assert_false(running.is_done);
	assert_int_equal(waiting.was_run, 0);
}

static void test_free_drops_a_done_that_was_on_its_way(void **state)
{
	struct world *w = *state;
	w->bulk = bulk_new(w->loop, 1);
	struct job job = {0}, next = {0};
	sem_post(&w->go);
	submit(w, &job, run);
	submit(w, &next, run);
	sem_wait(&w->begun);
	sem_wait(&w->begun); /* the next runs, so the first has ended, and the loop did not turn */
	sem_post(&w->go);
	bulk_free(w->bulk);
	w->bulk = NULL;
	struct wanted wanted = {w, 1};
	assert_false(loop_run_until(w->loop, have_ended, &wanted, 50));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	        TEST(test_no_more_jobs_run_at_once_than_there_are_threads),
	        TEST(test_jobs_run_in_order_on_a_named_thread_with_idle_io_priority),
	        TEST(test_waiting_job_is_cancelled_at_once_without_running),
	        TEST(test_last_waiting_job_cancelled_leaves_the_line_usable),
	        TEST(test_running_job_sees_its_cancel),
	        TEST(test_free_cancels_all_and_calls_nobody),
	        TEST(test_free_drops_a_done_that_was_on_its_way),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Bulk threads: order, limits, places that hang, cancelling, the end. */
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

static struct bulk_job *submit_for(struct world *w, struct job *job, const char *key,
        int (*fn)(struct bulk_job *, void *, struct err *))
{
	job->world = w;
	struct bulk_call call = {.run = fn, .done = done, .arg = job, .key = key};
	return bulk_submit(w->bulk, &call);
}

static struct bulk_job *submit(
        struct world *w, struct job *job, int (*fn)(struct bulk_job *, void *, struct err *))
{
	return submit_for(w, job, NULL, fn);
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

static int run_at_once(struct bulk_job *bulk_job, void *arg, struct err *e)
{
	struct job *job = arg;
	(void)bulk_job, (void)e;
	atomic_store(&job->was_run, 1);
	return 0;
}

/* All that a hung pool is asked for; returns when as many hang as may. */
static void hang_pool(struct world *w, struct job *jobs, int n)
{
	for (int i = 0; i < n; i++)
		submit_for(w, &jobs[i], "hung pool", run);
	for (int i = 0; i < BULK_PER_KEY; i++)
		sem_wait(&w->begun);
}

static void release(struct world *w, int n)
{
	for (int i = 0; i < n; i++)
		sem_post(&w->go);
}

static void test_jobs_that_hang_in_one_place_leave_threads_to_others(void **state)
{
	struct world *w = *state;
	w->bulk = bulk_new(w->loop, BULK_PER_KEY + 1);
	struct job hung[2 * BULK_PER_KEY] = {0}, other = {0}, keyless[BULK_PER_KEY + 1] = {0};
	hang_pool(w, hung, 2 * BULK_PER_KEY);
	submit_for(w, &other, "other pool", run_at_once);
	for (int i = 0; i < BULK_PER_KEY + 1; i++)
		submit(w, &keyless[i], run_at_once);
	wait_for(w, BULK_PER_KEY + 2); /* they overtake */
	assert_int_equal(other.was_run, 1);
	for (int i = 0; i < BULK_PER_KEY + 1; i++)
		assert_true(keyless[i].is_done);
	for (int i = BULK_PER_KEY; i < 2 * BULK_PER_KEY; i++)
		assert_int_equal(hung[i].was_run, 0);
	release(w, 2 * BULK_PER_KEY);
	wait_for(w, 3 * BULK_PER_KEY + 2);
	assert_int_equal(w->most, BULK_PER_KEY);
}

static void test_jobs_of_one_place_keep_their_order(void **state)
{
	struct world *w = *state;
	w->bulk = bulk_new(w->loop, 2 * BULK_PER_KEY);
	struct job jobs[BULK_PER_KEY + 4] = {0};
	hang_pool(w, jobs, BULK_PER_KEY + 4);
	for (int i = BULK_PER_KEY; i < BULK_PER_KEY + 4; i++) {
		assert_int_equal(jobs[i].was_run, 0);
		release(w, 1); /* one ends, and the next begins */
		sem_wait(&w->begun);
		assert_int_equal(jobs[i].was_run, 1);
	}
	release(w, BULK_PER_KEY);
	wait_for(w, BULK_PER_KEY + 4);
}

static void test_job_that_is_held_back_can_be_cancelled(void **state)
{
	struct world *w = *state;
	w->bulk = bulk_new(w->loop, 2 * BULK_PER_KEY);
	struct job hung[BULK_PER_KEY] = {0}, first = {0}, second = {0};
	hang_pool(w, hung, BULK_PER_KEY);
	struct bulk_job *handle = submit_for(w, &first, "hung pool", run_at_once);
	submit_for(w, &second, "hung pool", run_at_once);
	bulk_cancel(handle);
	wait_for(w, 1);
	assert_int_equal(first.rc, ERR_CANCELLED);
	release(w, BULK_PER_KEY);
	wait_for(w, BULK_PER_KEY + 2);
	assert_int_equal(first.was_run, 0);
	assert_int_equal(second.was_run, 1);
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
	        TEST(test_jobs_that_hang_in_one_place_leave_threads_to_others),
	        TEST(test_jobs_of_one_place_keep_their_order),
	        TEST(test_job_that_is_held_back_can_be_cancelled),
	        TEST(test_waiting_job_is_cancelled_at_once_without_running),
	        TEST(test_last_waiting_job_cancelled_leaves_the_line_usable),
	        TEST(test_running_job_sees_its_cancel),
	        TEST(test_free_cancels_all_and_calls_nobody),
	        TEST(test_free_drops_a_done_that_was_on_its_way),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Lanes: order, limits, deadlines, quarantine; done and release exactly once on every path. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "hypervisor/lane_internal.h"
#include "tests/unit/hypervisor/loop_helper.h"

#define LONG_MS    60000
#define MAX_PROBES 600

struct fixture;

/* One call and what became of it. */
struct probe {
	struct fixture *f;
	int number;
	bool waits; /* until opened */
	atomic_bool is_open, has_run;
	int rc_to_return;
	int n_done, n_released, rc;
	char message[480];
};

struct fixture {
	struct loop *loop;
	struct lane_pool *pool;
	struct lane lane;
	struct lane_link link, second_link;
	pthread_mutex_t lock;
	pthread_cond_t opened;
	int order[MAX_PROBES]; /* numbers as they ran, under lock */
	int n_ran, n_running, most_running;
	struct probe probes[MAX_PROBES];
	int n_probes, n_hung, n_idle;
};

static void on_hung(struct lane_link *link)
{
	(void)link;
}

static void on_idle(struct lane_link *link)
{
	struct fixture *f = (struct fixture *)((char *)link->lane - offsetof(struct fixture, lane));
	f->n_idle++;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	f->loop = loop_new();
	f->pool = lane_pool_new(f->loop);
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->opened, NULL);
	f->lane = (struct lane){.loop = f->loop,
	        .pool = f->pool,
	        .name = "h",
	        .on_hung = on_hung,
	        .on_idle = on_idle};
	lane_init(&f->lane);
	f->link.lane = &f->lane;
	f->lane.link = &f->link;
	*state = f;
	return 0;
}

static bool all_released(void *arg)
{
	struct fixture *f = arg;
	for (int i = 0; i < f->n_probes; i++)
		if (f->probes[i].n_released == 0)
			return false;
	return true;
}

static void open_gate(struct probe *p)
{
	LOCK_SCOPE(&p->f->lock);
	atomic_store(&p->is_open, true);
	pthread_cond_broadcast(&p->f->opened);
}

/* Every test ends here: whatever happened, each call was done and released once. */
static int tear_down(void **state)
{
	struct fixture *f = *state;
	for (int i = 0; i < f->n_probes; i++)
		open_gate(&f->probes[i]);
	assert_true(loop_turn_until(f->loop, all_released, f, LOOP_PATIENCE_MS));
	for (int i = 0; i < f->n_probes; i++) {
		assert_int_equal(f->probes[i].n_done, 1);
		assert_int_equal(f->probes[i].n_released, 1);
	}
	assert_int_equal(f->lane.n_in_flight + f->lane.n_queued + f->lane.n_hung, 0);
	lane_done(&f->lane);
	lane_pool_free(f->pool);
	loop_free(f->loop);
	pthread_mutex_destroy(&f->lock);
	pthread_cond_destroy(&f->opened);
	free(f);
	return 0;
}

static int run_probe(
        const struct driver *driver, struct driver_connection *c, void *arg, struct err *e)
{
	struct probe *p = arg;
	struct fixture *f = p->f;
	(void)driver;
	(void)c;
	LOCK_SCOPE(&f->lock);
	atomic_store(&p->has_run, true);
	f->order[f->n_ran++] = p->number;
	f->n_running++;
	if (f->n_running > f->most_running)
		f->most_running = f->n_running;
	while (p->waits && !atomic_load(&p->is_open))
		pthread_cond_wait(&f->opened, &f->lock);
	f->n_running--;
	if (p->rc_to_return != 0)
		return err_set(e, p->rc_to_return, "as told");
	return 0;
}

static void on_done(void *arg, int rc, const struct err *e)
{
	struct probe *p = arg;
	assert_true(loop_is_mine(p->f->loop));
	assert_int_equal(p->n_released, 0);
	p->n_done++;
	p->rc = rc;
	snprintf(p->message, sizeof(p->message), "%s", e->message);
}

static void on_release(void *arg)
{
	struct probe *p = arg;
	assert_int_equal(p->n_done, 1);
	p->n_released++;
}

enum probe_kind { QUICK, WAITS };

static struct probe *submit(struct fixture *f, enum lane_class class, const char *domain,
        enum probe_kind kind, int64_t timeout_ms, int64_t queue_timeout_ms)
{
	struct probe *p = &f->probes[f->n_probes];
	p->f = f;
	p->number = f->n_probes++;
	p->waits = kind == WAITS;
	struct lane_call call = {.class = class,
	        .domain = domain,
	        .timeout_ms = timeout_ms,
	        .queue_timeout_ms = queue_timeout_ms,
	        .run = run_probe,
	        .done = on_done,
	        .release = on_release,
	        .arg = p};
	lane_submit(&f->lane, &call);
	assert_int_equal(p->n_done, 0); /* never from inside submit */
	return p;
}

static struct probe *submit_quick(struct fixture *f, enum lane_class class, const char *domain)
{
	return submit(f, class, domain, QUICK, LONG_MS, 0);
}

static struct probe *submit_waiting(struct fixture *f, enum lane_class class, const char *domain)
{
	return submit(f, class, domain, WAITS, LONG_MS, 0);
}

static void test_result_arrives_once_with_its_error(void **state)
{
	struct fixture *f = *state;
	struct probe *good = submit_quick(f, LANE_CONTROL, NULL);
	struct probe *bad = submit_waiting(f, LANE_CONTROL, "d");
	bad->rc_to_return = ERR_NO_CAPACITY;
	open_gate(bad);
	assert_true(TURN_UNTIL(f->loop, good->n_released && bad->n_released));
	assert_int_equal(good->rc, 0);
	assert_int_equal(bad->rc, ERR_NO_CAPACITY);
	assert_string_equal(bad->message, "as told");
}

static void test_three_run_at_once_and_one_urgent_beside_them(void **state)
{
	struct fixture *f = *state;
	struct probe *normal[4], *urgent[2];
	for (int i = 0; i < 4; i++)
		normal[i] = submit_waiting(f, LANE_CONTROL, NULL);
	for (int i = 0; i < 2; i++)
		urgent[i] = submit_waiting(f, LANE_URGENT, NULL);
	assert_true(TURN_UNTIL(
	        f->loop, atomic_load(&urgent[0]->has_run) && atomic_load(&normal[2]->has_run)));
	loop_turn_for(f->loop, 30);
	assert_false(atomic_load(&normal[3]->has_run));
	assert_false(atomic_load(&urgent[1]->has_run));
	open_gate(normal[0]);
	assert_true(TURN_UNTIL(f->loop, atomic_load(&urgent[1]->has_run))); /* urgent first */
	assert_false(atomic_load(&normal[3]->has_run));
	for (int i = 0; i < f->n_probes; i++)
		open_gate(&f->probes[i]);
	assert_true(loop_turn_until(f->loop, all_released, f, LOOP_PATIENCE_MS));
	assert_int_equal(f->most_running, 4);
}

static int position(const struct fixture *f, const struct probe *p)
{
	for (int i = 0; i < f->n_ran; i++)
		if (f->order[i] == p->number)
			return i;
	return -1;
}

static void test_fifo_per_class_and_urgent_control_background(void **state)
{
	struct fixture *f = *state;
	struct probe *gate[4], *queued[3][3];
	static const enum lane_class submitted[] = {LANE_BACKGROUND, LANE_CONTROL, LANE_URGENT};
	for (int i = 0; i < 3; i++)
		gate[i] = submit_waiting(f, LANE_CONTROL, NULL);
	gate[3] = submit_waiting(f, LANE_URGENT, NULL);
	for (int i = 0; i < 3; i++)
		for (int class = 0; class < 3; class ++)
			queued[submitted[class]][i] = submit_quick(f, submitted[class], NULL);
	for (int i = 0; i < 4; i++)
		assert_true(TURN_UNTIL(f->loop, atomic_load(&gate[i]->has_run)));
	open_gate(gate[0]); /* one slot only, so that they run one after the other */
	assert_true(TURN_UNTIL(f->loop, queued[LANE_BACKGROUND][2]->n_released));
	int expected = 4;
	for (int class = LANE_URGENT; class <= LANE_BACKGROUND; class ++)
		for (int i = 0; i < 3; i++)
			assert_int_equal(position(f, queued[class][i]), expected++);
}

static void test_one_call_per_domain_in_order_others_pass(void **state)
{
	struct fixture *f = *state;
	struct probe *first = submit_waiting(f, LANE_CONTROL, "a");
	struct probe *second = submit_quick(f, LANE_CONTROL, "a");
	struct probe *third = submit_quick(f, LANE_CONTROL, "a");
	struct probe *other = submit_quick(f, LANE_CONTROL, "b");
	assert_true(TURN_UNTIL(f->loop, other->n_released));
	assert_false(atomic_load(&second->has_run));
	open_gate(first);
	assert_true(TURN_UNTIL(f->loop, third->n_released));
	assert_true(position(f, second) < position(f, third));
}

static void test_hung_call_quarantines_its_domain_until_it_returns(void **state)
{
	struct fixture *f = *state;
	int64_t since_ms = 0;
	struct probe *hung = submit(f, LANE_CONTROL, "a", WAITS, 30, 0);
	struct probe *waiting = submit_quick(f, LANE_CONTROL, "a");
	struct probe *other = submit_quick(f, LANE_CONTROL, "b");
	assert_false(lane_is_stuck(&f->lane, "a", &since_ms));
	assert_true(TURN_UNTIL(f->loop, hung->n_done && waiting->n_released && other->n_released));
	assert_int_equal(hung->rc, ERR_DEADLINE);
	assert_int_equal(hung->n_released, 0); /* run may still write */
	assert_int_equal(waiting->rc, ERR_VM_STUCK);
	assert_false(atomic_load(&waiting->has_run));
	assert_int_equal(other->rc, 0);
	assert_true(lane_is_stuck(&f->lane, "a", &since_ms));
	assert_in_range(clock_now_ms() - since_ms, 20, LOOP_PATIENCE_MS);
	struct lane_pool_stats stats;
	lane_pool_get_stats(f->pool, &stats);
	assert_int_equal(stats.stuck, 1);
	struct probe *later = submit_quick(f, LANE_URGENT, "a");
	assert_true(TURN_UNTIL(f->loop, later->n_released));
	assert_int_equal(later->rc, ERR_VM_STUCK);
	open_gate(hung);
	assert_true(TURN_UNTIL(f->loop, hung->n_released));
	assert_false(lane_is_stuck(&f->lane, "a", &since_ms));
	lane_pool_get_stats(f->pool, &stats);
	assert_int_equal(stats.stuck, 0);
	struct probe *again = submit_quick(f, LANE_CONTROL, "a");
	assert_true(TURN_UNTIL(f->loop, again->n_released));
	assert_int_equal(again->rc, 0);
}

static void test_queue_timeout_ends_a_call_that_never_ran(void **state)
{
	struct fixture *f = *state;
	submit_waiting(f, LANE_CONTROL, "a");
	struct probe *late = submit(f, LANE_CONTROL, "a", QUICK, LONG_MS, 20);
	assert_true(TURN_UNTIL(f->loop, late->n_released));
	assert_int_equal(late->rc, ERR_DEADLINE);
	assert_false(atomic_load(&late->has_run));
	assert_int_equal(f->lane.n_queued, 0);
}

static void test_lost_link_frees_its_domains_and_ends_its_calls(void **state)
{
	struct fixture *f = *state;
	int64_t since_ms;
	struct probe *silent = submit_waiting(f, LANE_CONTROL, "a");
	struct probe *hung = submit(f, LANE_CONTROL, "b", WAITS, 20, 0);
	assert_true(TURN_UNTIL(f->loop, hung->n_done));
	lane_link_lose(&f->link);
	assert_false(lane_is_stuck(&f->lane, "b", &since_ms));
	f->second_link.lane = &f->lane;
	f->lane.link = &f->second_link;
	struct probe *again = submit_quick(f, LANE_CONTROL, "a");
	struct probe *more = submit_quick(f, LANE_CONTROL, "b");
	assert_true(TURN_UNTIL(f->loop, again->n_released && more->n_released));
	assert_int_equal(again->rc, 0);
	assert_int_equal(more->rc, 0);
	assert_true(TURN_UNTIL(f->loop, silent->n_done));
	assert_int_equal(silent->rc, ERR_DEADLINE);
	assert_int_equal(f->lane.n_hung, 0);
}

static void test_abandoned_calls_are_done_at_once_and_released_late(void **state)
{
	struct fixture *f = *state;
	struct err e;
	struct probe *waiting = submit_waiting(f, LANE_CONTROL, "a");
	struct probe *queued = submit_quick(f, LANE_CONTROL, "a");
	struct probe *returning = submit_quick(f, LANE_CONTROL, "b"); /* may return meanwhile */
	err_set(&e, ERR_CANCELLED, "gone");
	lane_fail_queued(&f->lane, &e, /* keep_urgent= */ false);
	lane_link_abandon(&f->link, &e);
	f->lane.link = NULL;
	assert_int_equal(waiting->n_done + queued->n_done + returning->n_done, 0);
	assert_true(TURN_UNTIL(
	        f->loop, waiting->n_done && queued->n_released && returning->n_released));
	assert_int_equal(waiting->rc, ERR_CANCELLED);
	assert_int_equal(queued->rc, ERR_CANCELLED);
	assert_int_equal(waiting->n_released, 0);
	assert_int_equal(f->n_idle, 0);
	open_gate(waiting);
	assert_true(TURN_UNTIL(f->loop, waiting->n_released));
	assert_int_equal(f->n_idle, 1);
}

static void test_urgent_calls_stay_when_the_rest_is_failed(void **state)
{
	struct fixture *f = *state;
	struct err e;
	f->lane.link = NULL;
	struct probe *urgent = submit_quick(f, LANE_URGENT, NULL);
	struct probe *control = submit_quick(f, LANE_CONTROL, NULL);
	err_set(&e, ERR_HOST_SLOW, "slow");
	lane_fail_queued(&f->lane, &e, /* keep_urgent= */ true);
	assert_true(TURN_UNTIL(f->loop, control->n_released));
	assert_int_equal(control->rc, ERR_HOST_SLOW);
	assert_int_equal(urgent->n_done, 0);
	f->lane.link = &f->link;
	lane_pump(&f->lane);
	assert_true(TURN_UNTIL(f->loop, urgent->n_released));
	assert_int_equal(urgent->rc, 0);
}

static void test_many_calls_keep_order_per_domain_and_limits(void **state)
{
	struct fixture *f = *state;
	enum { DOMAINS = 10, CALLS = 500 };
	struct probe *last[DOMAINS] = {0};
	for (int i = 0; i < CALLS; i++) {
		char domain[8];
		snprintf(domain, sizeof(domain), "d%d", (i * 7) % DOMAINS);
		submit_quick(f, i % 3 ? LANE_CONTROL : LANE_URGENT, domain);
	}
	assert_true(loop_turn_until(f->loop, all_released, f, LOOP_PATIENCE_MS));
	assert_int_equal(f->n_ran, CALLS);
	assert_in_range(f->most_running, 1, 4);
	/* Per domain and class, as submitted: urgent calls may pass the others. */
	for (int urgent = 0; urgent < 2; urgent++) {
		memset(last, 0, sizeof(last));
		for (int i = 0; i < CALLS; i++) {
			struct probe *p = &f->probes[f->order[i]];
			struct probe **before = &last[(p->number * 7) % DOMAINS];
			if ((p->number % 3 == 0) != (urgent == 1))
				continue;
			assert_true(!*before || (*before)->number < p->number);
			*before = p;
		}
	}
}

static void test_pool_grows_and_a_stuck_thread_outlives_it(void **state)
{
	struct fixture *f = *state;
	struct lane_pool *pool = lane_pool_new(f->loop);
	struct lane lane = {
	        .loop = f->loop, .pool = pool, .name = "x", .on_hung = on_hung, .on_idle = on_idle};
	struct lane_link link = {.lane = &lane};
	lane.link = &link;
	lane_init(&lane);
	static struct probe stuck; /* its thread reads it after everything else is gone */
	static struct fixture away;
	pthread_mutex_init(&away.lock, NULL);
	pthread_cond_init(&away.opened, NULL);
	stuck = (struct probe){.f = &away, .waits = true};
	away.loop = f->loop;
	struct lane_call call = {
	        .run = run_probe, .done = on_done, .timeout_ms = 20, .arg = &stuck};
	lane_submit(&lane, &call);
	struct lane_pool_stats stats;
	lane_pool_get_stats(pool, &stats);
	assert_int_equal(stats.threads, 1);
	assert_true(TURN_UNTIL(f->loop, stuck.n_done));
	lane_pool_free(pool); /* does not wait */
	assert_int_equal(stuck.rc, ERR_DEADLINE);
	/* It returns into a closed pool: nothing is posted, the call stays with it. */
	static struct lane_entry *volatile left_behind;
	left_behind = link.running;
	assert_non_null(left_behind);
	open_gate(&stuck);
	map_free(lane.running);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(test_result_arrives_once_with_its_error),
	        TEST(test_three_run_at_once_and_one_urgent_beside_them),
	        TEST(test_fifo_per_class_and_urgent_control_background),
	        TEST(test_one_call_per_domain_in_order_others_pass),
	        TEST(test_hung_call_quarantines_its_domain_until_it_returns),
	        TEST(test_queue_timeout_ends_a_call_that_never_ran),
	        TEST(test_lost_link_frees_its_domains_and_ends_its_calls),
	        TEST(test_abandoned_calls_are_done_at_once_and_released_late),
	        TEST(test_urgent_calls_stay_when_the_rest_is_failed),
	        TEST(test_many_calls_keep_order_per_domain_and_limits),
	        TEST(test_pool_grows_and_a_stuck_thread_outlives_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

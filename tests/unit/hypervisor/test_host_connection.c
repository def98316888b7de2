/* SPDX-License-Identifier: Apache-2.0 */
/* A host's states, heartbeat, replacement and reconnect, against the scripted driver with short
 * intervals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "hypervisor/driver_fake.h"
#include "hypervisor/host_connection_internal.h"
#include "tests/unit/hypervisor/loop_helper.h"

#define HOST       "one"
#define SLOW_MS    300
#define DOWN_MS    1200
#define OPEN_MS    200
#define MAX_CALLS  64
#define MAX_STATES 32

struct fixture;

struct call {
	struct fixture *f;
	char id[UUID_TEXT_SIZE];
	int n_done, n_released, rc;
	struct err e;
};

struct fixture {
	struct loop *loop;
	struct lane_pool *pool;
	struct host_connection *c;
	enum host_state states[MAX_STATES];
	char reasons[MAX_STATES][200];
	int n_states, n_up, n_domain;
	enum host_state state_at_up;
	char hostname[64];
	bool lists_in_up, frees_on_state;
	struct call calls[MAX_CALLS];
	int n_calls;
	char ids[10][UUID_TEXT_SIZE];
};

static int run_start(
        const struct driver *driver, struct driver_connection *c, void *arg, struct err *e)
{
	struct call *call = arg;
	return driver->start(c, call->id, e);
}

static void on_done(void *arg, int rc, const struct err *e)
{
	struct call *call = arg;
	call->n_done++;
	call->rc = rc;
	call->e = *e;
}

static void on_release(void *arg)
{
	struct call *call = arg;
	assert_int_equal(call->n_done, 1);
	call->n_released++;
}

static struct call *submit_with(
        struct fixture *f, const char *id, enum lane_class class, int64_t timeout_ms)
{
	struct call *call = &f->calls[f->n_calls++];
	call->f = f;
	snprintf(call->id, sizeof(call->id), "%s", id);
	host_connection_submit(f->c, &(struct lane_call){.class = class,
	                                     .domain = call->id,
	                                     .timeout_ms = timeout_ms,
	                                     .queue_timeout_ms = LOOP_PATIENCE_MS,
	                                     .run = run_start,
	                                     .done = on_done,
	                                     .release = on_release,
	                                     .arg = call});
	assert_int_equal(call->n_done, 0);
	return call;
}

static struct call *submit(struct fixture *f, const char *id)
{
	return submit_with(f, id, LANE_CONTROL, LOOP_PATIENCE_MS);
}

static void on_state(void *arg, enum host_state state, const char *reason)
{
	struct fixture *f = arg;
	assert_int_equal(host_connection_state(f->c), state);
	if (f->n_states < MAX_STATES) {
		f->states[f->n_states] = state;
		snprintf(f->reasons[f->n_states++], sizeof(f->reasons[0]), "%s", reason);
	}
	if (f->frees_on_state)
		host_connection_free(TAKE(f->c));
}

static void on_up(void *arg, const struct host_facts *facts)
{
	struct fixture *f = arg;
	f->n_up++;
	f->state_at_up = host_connection_state(f->c);
	snprintf(f->hostname, sizeof(f->hostname), "%s", facts->hostname);
	if (f->lists_in_up)
		submit(f, f->ids[0]);
}

static void on_domain(void *arg, const struct domain_event *event)
{
	struct fixture *f = arg;
	(void)event;
	f->n_domain++;
}

static struct host_connection *make_host(struct fixture *f, const char *uri)
{
	return host_connection_new(&(struct host_connection_config){.loop = f->loop,
	        .pool = f->pool,
	        .name = HOST,
	        .uri = uri,
	        .callbacks = {.state = on_state, .up = on_up, .domain = on_domain, .arg = f},
	        .heartbeat_ms = 15,
	        .slow_after_ms = SLOW_MS,
	        .down_after_ms = DOWN_MS,
	        .reconnect_min_ms = 20,
	        .reconnect_max_ms = 100,
	        .open_timeout_ms = OPEN_MS});
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	fake_enable();
	f->loop = loop_new();
	f->pool = lane_pool_new(f->loop);
	for (int i = 0; i < 10; i++) {
		char name[16];
		snprintf(name, sizeof(name), "vm%d", i);
		fake_domain_foreign_add(HOST, name, false, f->ids[i]);
	}
	*state = f;
	return 0;
}

static int n_connections(void)
{
	struct fake_host_stats stats;
	fake_host_get_stats(HOST, &stats);
	return stats.connections + stats.opening;
}

static bool all_quiet(void *arg)
{
	struct fixture *f = arg;
	for (int i = 0; i < f->n_calls; i++)
		if (f->calls[i].n_released == 0)
			return false;
	return n_connections() == 0;
}

/* Every test ends here: all connections closed, every call done and released once. */
static int tear_down(void **state)
{
	struct fixture *f = *state;
	host_connection_free(TAKE(f->c));
	fake_host_release(HOST);
	fake_script_clear(HOST);
	assert_true(loop_turn_until(f->loop, all_quiet, f, LOOP_PATIENCE_MS));
	loop_turn_for(f->loop, 5); /* the last close is told to the loop */
	for (int i = 0; i < f->n_calls; i++) {
		assert_int_equal(f->calls[i].n_done, 1);
		assert_int_equal(f->calls[i].n_released, 1);
	}
	lane_pool_free(f->pool);
	loop_free(f->loop);
	fake_reset();
	free(f);
	return 0;
}

static bool is_ok(struct fixture *f)
{
	return host_connection_state(f->c) == HOST_OK;
}

static void connect_host(struct fixture *f)
{
	f->c = make_host(f, "fake:///" HOST);
	assert_int_equal(host_connection_state(f->c), HOST_CONNECTING);
	assert_true(TURN_UNTIL(f->loop, is_ok(f)));
}

static void script(const char *call, const char *id, struct fake_behaviour behaviour)
{
	fake_script_set(HOST, call, id, &behaviour);
}

static void hang(const char *call, const char *id)
{
	script(call, id, (struct fake_behaviour){.hang = true});
}

static struct host_connection_stats stats_of(struct fixture *f)
{
	struct host_connection_stats stats;
	host_connection_get_stats(f->c, &stats);
	return stats;
}

static void assert_works(struct fixture *f, const char *id)
{
	struct call *call = submit(f, id);
	assert_true(TURN_UNTIL(f->loop, call->n_released));
	assert_int_equal(call->rc, 0);
}

static void test_up_with_fresh_facts_comes_before_ok(void **state)
{
	struct fixture *f = *state;
	f->lists_in_up = true;
	connect_host(f);
	assert_int_equal(f->n_up, 1);
	assert_int_equal(f->state_at_up, HOST_CONNECTING);
	assert_string_equal(f->hostname, HOST);
	assert_int_equal(f->n_states, 1);
	assert_string_equal(f->reasons[0], "");
	assert_true(TURN_UNTIL(f->loop, f->calls[0].n_released)); /* the call made inside `up` */
	assert_int_equal(f->calls[0].rc, 0);
	assert_true(TURN_UNTIL(f->loop, stats_of(f).heartbeat_rtt_ns > 0));
}

static void test_calls_fail_with_the_reason_while_not_connected(void **state)
{
	struct fixture *f = *state;
	script("open", NULL,
	        (struct fake_behaviour){.error_code = ERR_HOST_PERMISSION, .message = "no key"});
	f->c = make_host(f, "fake:///" HOST);
	struct call *early = submit(f, f->ids[0]);
	assert_true(TURN_UNTIL(f->loop, early->n_released));
	assert_int_equal(early->rc, ERR_HOST_DOWN);
	assert_true(TURN_UNTIL(f->loop, f->n_states > 0));
	assert_int_equal(f->states[0], HOST_DOWN);
	assert_string_equal(f->reasons[0], "cannot connect: no key");
	struct call *later = submit_with(f, f->ids[0], LANE_URGENT, 1000);
	assert_true(TURN_UNTIL(f->loop, later->n_released));
	assert_int_equal(later->rc, ERR_HOST_DOWN);
	assert_non_null(strstr(later->e.message, "no key"));
}

static void test_failed_opening_is_tried_again(void **state)
{
	struct fixture *f = *state;
	script("open", NULL, (struct fake_behaviour){.error_code = ERR_INTERNAL, .count = 3});
	f->c = make_host(f, "fake:///" HOST);
	assert_true(TURN_UNTIL(f->loop, is_ok(f)));
	assert_int_equal(fake_host_count_calls(HOST, "open"), 4);
	assert_int_equal(f->n_states, 2); /* down once, then ok */
}

static void test_host_without_facts_is_not_up_and_its_connection_is_closed(void **state)
{
	struct fixture *f = *state;
	script("get_facts", NULL, (struct fake_behaviour){.error_code = ERR_INTERNAL, .count = 2});
	f->c = make_host(f, "fake:///" HOST);
	assert_true(TURN_UNTIL(f->loop, is_ok(f)));
	assert_int_equal(f->n_up, 1);
	assert_true(TURN_UNTIL(f->loop, n_connections() == 1));
}

static void test_silent_opening_is_the_only_one_and_adopted_late(void **state)
{
	struct fixture *f = *state;
	struct fake_host_stats stats;
	fake_host_hang(HOST);
	f->c = make_host(f, "fake:///" HOST);
	assert_true(TURN_UNTIL(f->loop, host_connection_state(f->c) == HOST_DOWN));
	assert_string_equal(
	        host_connection_reason(f->c), "no answer to the connection attempt for 0.2 s");
	struct lane_pool_stats threads;
	lane_pool_get_stats(f->pool, &threads);
	assert_int_equal(threads.stuck, 1);
	host_connection_retry_now(f->c);
	loop_turn_for(f->loop, 2 * OPEN_MS);
	fake_host_get_stats(HOST, &stats);
	assert_int_equal(stats.opens, 1);
	fake_host_release(HOST);
	assert_true(TURN_UNTIL(f->loop, is_ok(f)));
	fake_host_get_stats(HOST, &stats);
	assert_int_equal(stats.opens, 1);
	assert_int_equal(f->n_up, 1);
	assert_works(f, f->ids[0]);
}

static void test_silent_host_does_not_delay_another(void **state)
{
	struct fixture *f = *state;
	connect_host(f);
	struct host_connection *other =
	        host_connection_new(&(struct host_connection_config){.loop = f->loop,
	                .pool = f->pool,
	                .name = "two",
	                .uri = "fake:///two",
	                .open_timeout_ms = OPEN_MS});
	fake_host_hang("two");
	int64_t started_ns = clock_now_ns();
	assert_works(f, f->ids[0]);
	int64_t took_ms = (clock_now_ns() - started_ns) / 1000000;
	assert_in_range(took_ms, 0, SLOW_MS);
	fake_host_release("two");
	assert_true(TURN_UNTIL(f->loop, host_connection_state(other) == HOST_OK));
	host_connection_free(other);
	struct fake_host_stats stats;
	assert_true(
	        TURN_UNTIL(f->loop, (fake_host_get_stats("two", &stats), stats.connections == 0)));
	loop_turn_for(f->loop, 5);
}

static void test_late_heartbeat_makes_slow_and_two_in_time_make_ok(void **state)
{
	struct fixture *f = *state;
	connect_host(f);
	hang("ping", NULL);
	assert_true(TURN_UNTIL(f->loop, host_connection_state(f->c) == HOST_SLOW));
	assert_memory_equal(f->reasons[1], "no answer to the heartbeat for ", 31);
	struct call *control = submit(f, f->ids[0]);
	struct call *urgent = submit_with(f, f->ids[1], LANE_URGENT, LOOP_PATIENCE_MS);
	assert_true(TURN_UNTIL(f->loop, control->n_released && urgent->n_released));
	assert_int_equal(control->rc, ERR_HOST_SLOW);
	assert_non_null(strstr(control->e.message, "heartbeat"));
	assert_int_equal(urgent->rc, 0);
	/* One late answer and one in time are not enough. */
	int64_t before = fake_host_count_calls(HOST, "ping");
	script("ping", NULL, (struct fake_behaviour){0});
	assert_true(TURN_UNTIL(f->loop, is_ok(f)));
	assert_in_range(fake_host_count_calls(HOST, "ping") - before, 2, 3);
	assert_int_equal(f->n_states, 3);
	assert_int_equal(f->n_up, 1); /* the same connection */
}

static void test_queued_calls_fail_when_the_host_gets_slow(void **state)
{
	struct fixture *f = *state;
	connect_host(f);
	hang("*", NULL);
	struct call *running = submit(f, f->ids[0]);
	struct call *queued = submit(f, f->ids[0]);
	assert_true(TURN_UNTIL(f->loop, queued->n_released));
	assert_int_equal(queued->rc, ERR_HOST_SLOW);
	assert_int_equal(running->n_done, 0);
	fake_script_clear(HOST);
	assert_true(TURN_UNTIL(f->loop, running->n_released));
	assert_int_equal(running->rc, 0);
}

static void test_silence_makes_down_and_the_host_comes_back(void **state)
{
	struct fixture *f = *state;
	struct fake_host_stats stats;
	connect_host(f);
	fake_host_hang(HOST);
	struct call *running = submit(f, f->ids[0]);
	assert_true(TURN_UNTIL(f->loop, host_connection_state(f->c) == HOST_DOWN));
	assert_non_null(strstr(f->reasons[2], "no answer for 1."));
	assert_true(TURN_UNTIL(f->loop, running->n_done));
	assert_int_equal(running->rc, ERR_DEADLINE);
	assert_int_equal(running->n_released, 0);
	fake_host_get_stats(HOST, &stats);
	assert_int_equal(stats.most_opening, 1);
	fake_host_release(HOST);
	assert_true(TURN_UNTIL(f->loop, is_ok(f) && running->n_released));
	assert_int_equal(f->states[1], HOST_SLOW);
	assert_int_equal(stats_of(f).reconnects, 1);
	assert_true(TURN_UNTIL(f->loop, n_connections() == 1));
	assert_works(f, f->ids[1]);
}

static void test_broken_connection_is_replaced_at_once(void **state)
{
	struct fixture *f = *state;
	connect_host(f);
	assert_true(TURN_UNTIL(f->loop, stats_of(f).heartbeat_rtt_ns > 0));
	hang("start", f->ids[0]);
	struct call *running = submit(f, f->ids[0]);
	assert_true(TURN_UNTIL(f->loop, fake_host_count_calls(HOST, "start") == 1));
	fake_host_break_connections(HOST);
	assert_true(TURN_UNTIL(f->loop, host_connection_state(f->c) == HOST_DOWN));
	assert_non_null(strstr(host_connection_reason(f->c), "closed"));
	assert_true(TURN_UNTIL(f->loop, is_ok(f) && running->n_released));
	assert_int_equal(running->rc, ERR_HOST_DOWN); /* what the call itself returned */
	assert_int_equal(f->n_up, 2);
	assert_int_equal(stats_of(f).reconnects, 1);
	script("start", f->ids[0], (struct fake_behaviour){0});
	assert_works(f, f->ids[0]);
}

static void test_failed_heartbeat_is_a_broken_connection(void **state)
{
	struct fixture *f = *state;
	connect_host(f);
	script("ping", NULL,
	        (struct fake_behaviour){
	                .error_code = ERR_HYPERVISOR, .message = "odd", .count = 1});
	assert_true(TURN_UNTIL(f->loop, f->n_states >= 2));
	assert_int_equal(f->states[1], HOST_DOWN);
	assert_string_equal(f->reasons[1], "the heartbeat failed: odd");
	assert_true(TURN_UNTIL(f->loop, is_ok(f)));
}

static void test_hung_domain_delays_no_other_and_recovers(void **state)
{
	struct fixture *f = *state;
	int64_t since_ms;
	connect_host(f);
	hang("start", f->ids[0]);
	struct call *hung = submit_with(f, f->ids[0], LANE_CONTROL, 50);
	for (int i = 1; i < 10; i++)
		assert_works(f, f->ids[i]);
	assert_true(TURN_UNTIL(f->loop, hung->n_done));
	assert_int_equal(hung->rc, ERR_DEADLINE);
	assert_true(host_connection_is_stuck(f->c, f->ids[0], &since_ms));
	assert_false(host_connection_is_stuck(f->c, f->ids[1], &since_ms));
	assert_int_equal(stats_of(f).hung, 1);
	struct call *again = submit(f, f->ids[0]);
	assert_true(TURN_UNTIL(f->loop, again->n_released));
	assert_int_equal(again->rc, ERR_VM_STUCK);
	assert_true(is_ok(f));
	fake_script_clear(HOST);
	assert_true(TURN_UNTIL(f->loop, hung->n_released));
	assert_works(f, f->ids[0]);
	assert_int_equal(f->n_states, 1);
	assert_int_equal(stats_of(f).replaced, 0);
}

static void test_three_hung_calls_replace_the_connection_and_five_never_hang(void **state)
{
	struct fixture *f = *state;
	struct call *hung[7];
	connect_host(f);
	for (int i = 0; i < 7; i++) {
		hang("start", f->ids[i]);
		hung[i] = submit_with(f, f->ids[i], LANE_CONTROL, 40);
	}
	assert_true(TURN_UNTIL(f->loop, hung[6]->n_done && stats_of(f).replaced == 2));
	for (int i = 0; i < 7; i++)
		assert_int_equal(hung[i]->rc, ERR_DEADLINE);
	assert_works(f, f->ids[8]);
	assert_int_equal(stats_of(f).hung, 7);
	assert_int_equal(n_connections(), 3);
	assert_true(is_ok(f));
	assert_int_equal(f->n_states, 1); /* nobody noticed */
	assert_int_equal(f->n_up, 3);     /* but events were subscribed anew */
	int n_domain = f->n_domain;
	fake_domain_foreign_start(HOST, f->ids[9]);
	assert_true(TURN_UNTIL(f->loop, f->n_domain > n_domain));
	loop_turn_for(f->loop, 5);
	assert_int_equal(f->n_domain, n_domain + 1); /* not once per connection */
	struct fake_host_stats stats;
	fake_host_get_stats(HOST, &stats);
	assert_in_range(stats.most_in_flight, 3, 4); /* three, and the heartbeat */
	assert_int_equal(stats.most_opening, 1);
	fake_script_clear(HOST);
	/* The old ones are closed; the last call that returned may still be on its way. */
	assert_true(TURN_UNTIL(f->loop, n_connections() == 1 && stats_of(f).hung == 0));
	assert_works(f, f->ids[0]);
}

static void test_replacement_that_fails_is_tried_again(void **state)
{
	struct fixture *f = *state;
	connect_host(f);
	script("open", NULL, (struct fake_behaviour){.error_code = ERR_INTERNAL, .count = 2});
	for (int i = 0; i < 3; i++) {
		hang("start", f->ids[i]);
		submit_with(f, f->ids[i], LANE_CONTROL, 20);
	}
	assert_true(TURN_UNTIL(f->loop, stats_of(f).replaced == 1));
	assert_int_equal(f->n_states, 1);
	assert_works(f, f->ids[5]);
}

static void test_free_cancels_all_and_lets_go_when_calls_return(void **state)
{
	struct fixture *f = *state;
	struct call *calls[6];
	connect_host(f);
	hang("start", NULL);
	for (int i = 0; i < 6; i++)
		calls[i] = submit(f, f->ids[i]);
	assert_true(TURN_UNTIL(f->loop, fake_host_count_calls(HOST, "start") == 3));
	host_connection_free(TAKE(f->c));
	fake_guest_shutdown(HOST, f->ids[9]);
	int n_states = f->n_states;
	assert_true(TURN_UNTIL(f->loop, calls[5]->n_released && calls[0]->n_done));
	for (int i = 0; i < 6; i++) {
		assert_int_equal(calls[i]->rc, ERR_CANCELLED);
		assert_int_equal(calls[i]->n_released, i < 3 ? 0 : 1);
	}
	fake_script_clear(HOST);
	assert_true(TURN_UNTIL(f->loop, n_connections() == 0));
	assert_int_equal(f->n_states, n_states);
}

static void test_free_while_opening_closes_the_late_connection(void **state)
{
	struct fixture *f = *state;
	fake_host_hang(HOST);
	f->c = make_host(f, "fake:///" HOST);
	assert_true(TURN_UNTIL(f->loop, n_connections() == 1));
	host_connection_free(TAKE(f->c));
	loop_turn_for(f->loop, OPEN_MS * 2);
	fake_host_release(HOST);
	assert_true(TURN_UNTIL(f->loop, n_connections() == 0));
	assert_int_equal(f->n_states + f->n_up, 0);
}

static void test_free_from_inside_a_callback(void **state)
{
	struct fixture *f = *state;
	f->frees_on_state = true;
	f->c = make_host(f, "fake:///" HOST);
	assert_true(TURN_UNTIL(f->loop, f->n_states == 1 && n_connections() == 0));
	f->c = make_host(f, "fake:///" HOST);
	f->frees_on_state = false;
	assert_true(TURN_UNTIL(f->loop, is_ok(f)));
	f->frees_on_state = true;
	fake_host_break_connections(HOST);
	assert_true(TURN_UNTIL(f->loop, !f->c && n_connections() == 0));
}

static void test_domain_events_arrive_and_end_with_the_host(void **state)
{
	struct fixture *f = *state;
	connect_host(f);
	fake_domain_foreign_start(HOST, f->ids[0]);
	assert_true(TURN_UNTIL(f->loop, f->n_domain == 1));
	fake_host_break_connections(HOST);
	assert_true(TURN_UNTIL(f->loop, f->n_up == 2 && is_ok(f)));
	fake_guest_crash(HOST, f->ids[0]);
	assert_true(TURN_UNTIL(f->loop, f->n_domain == 2));
	host_connection_free(TAKE(f->c));
	fake_domain_foreign_start(HOST, f->ids[0]);
	loop_turn_for(f->loop, 20);
	assert_int_equal(f->n_domain, 2);
}

static void test_retry_now_does_not_wait(void **state)
{
	struct fixture *f = *state;
	script("open", NULL, (struct fake_behaviour){.error_code = ERR_INTERNAL, .count = 1});
	f->c = host_connection_new(&(struct host_connection_config){.loop = f->loop,
	        .pool = f->pool,
	        .name = HOST,
	        .uri = "fake:///" HOST,
	        .callbacks = {.state = on_state, .arg = f},
	        .reconnect_min_ms = 10 * LOOP_PATIENCE_MS,
	        .reconnect_max_ms = 20 * LOOP_PATIENCE_MS});
	assert_true(TURN_UNTIL(f->loop, host_connection_state(f->c) == HOST_DOWN));
	host_connection_retry_now(f->c);
	assert_true(TURN_UNTIL(f->loop, is_ok(f)));
}

static void test_unknown_uri_is_down_with_the_reason(void **state)
{
	struct fixture *f = *state;
	f->c = make_host(f, "xen:///");
	assert_true(TURN_UNTIL(f->loop, f->n_states == 1));
	assert_int_equal(f->states[0], HOST_DOWN);
	assert_non_null(strstr(f->reasons[0], "xen:///"));
}

static void test_backoff_stays_in_its_bounds_and_spreads(void **state)
{
	(void)state;
	uint64_t random = 88172645463325252u;
	for (int round = 0; round < 1000; round++) {
		int64_t wait_ms = 0, highest = 0;
		for (int i = 0; i < 20; i++) {
			random ^= random << 13;
			random ^= random >> 7;
			random ^= random << 17;
			int64_t next_ms = host_backoff_next(wait_ms, false, 1000, 60000, random);
			assert_in_range(next_ms, 1000, 60000);
			assert_true(next_ms <= 3 * (wait_ms > 1000 ? wait_ms : 1000));
			wait_ms = next_ms;
			highest = wait_ms > highest ? wait_ms : highest;
		}
		assert_in_range(highest, 2000, 60000);
	}
	/* After a healthy connection broke: 50..150 ms, then growing. */
	assert_int_equal(host_backoff_next(0, true, 1000, 60000, 0), 50);
	assert_int_equal(host_backoff_next(0, true, 1000, 60000, 100), 150);
	assert_in_range(host_backoff_next(100, true, 1000, 60000, random), 150, 250);
	assert_in_range(host_backoff_next(2000, true, 1000, 60000, random), 1000, 6000);
	/* Even the longest quick waits leave room for four tries within five seconds. */
	int64_t total_ms = 150, wait_ms = 150;
	for (int i = 0; i < 2; i++)
		total_ms += wait_ms = wait_ms * 5 / 2;
	assert_in_range(host_backoff_next(wait_ms, true, 1000, 60000, random), 1, 5000 - total_ms);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(test_up_with_fresh_facts_comes_before_ok),
	        TEST(test_calls_fail_with_the_reason_while_not_connected),
	        TEST(test_failed_opening_is_tried_again),
	        TEST(test_host_without_facts_is_not_up_and_its_connection_is_closed),
	        TEST(test_silent_opening_is_the_only_one_and_adopted_late),
	        TEST(test_silent_host_does_not_delay_another),
	        TEST(test_late_heartbeat_makes_slow_and_two_in_time_make_ok),
	        TEST(test_queued_calls_fail_when_the_host_gets_slow),
	        TEST(test_silence_makes_down_and_the_host_comes_back),
	        TEST(test_broken_connection_is_replaced_at_once),
	        TEST(test_failed_heartbeat_is_a_broken_connection),
	        TEST(test_hung_domain_delays_no_other_and_recovers),
	        TEST(test_three_hung_calls_replace_the_connection_and_five_never_hang),
	        TEST(test_replacement_that_fails_is_tried_again),
	        TEST(test_free_cancels_all_and_lets_go_when_calls_return),
	        TEST(test_free_while_opening_closes_the_late_connection),
	        TEST(test_free_from_inside_a_callback),
	        TEST(test_domain_events_arrive_and_end_with_the_host),
	        TEST(test_retry_now_does_not_wait),
	        TEST(test_unknown_uri_is_down_with_the_reason),
	        cmocka_unit_test(test_backoff_stays_in_its_bounds_and_spreads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

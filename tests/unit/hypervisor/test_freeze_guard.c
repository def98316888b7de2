/* SPDX-License-Identifier: Apache-2.0 */
/* The guard freezes only an agent that answers, and thaws until the agent says so, whatever happened before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hypervisor/driver_fake.h"
#include "hypervisor/freeze_guard.h"

#define HOST "frozen"
#define URI  "fake:///frozen"
#define ID   "11111111-2222-4333-8444-555555555555"
#define XML                                                                                        \
	"<domain type='qemu'><name>web</name><uuid>11111111-2222-4333-8444-555555555555</uuid>"    \
	"<memory unit='MiB'>256</memory><vcpu>1</vcpu></domain>"

static const struct driver *const driver = &driver_fake;

struct fixture {
	struct driver_connection *c;
	/* Script: what the other side does while the guest is frozen. */
	bool tells_in_time;
	void (*meanwhile)(struct fixture *f);
	/* What was heard. */
	enum freeze_news news[8];
	int n_news, first_rc, last_rc;
	struct err last;
	bool was_frozen_in_wait;
};

static enum freeze_status status_of(struct fixture *f)
{
	enum freeze_status status = FREEZE_THAWED;
	assert_int_equal(driver->freeze_status(f->c, ID, &status, NULL), 0);
	return status;
}

static bool on_wait(void *arg, int timeout_ms)
{
	struct fixture *f = arg;
	assert_int_equal(timeout_ms, 10000);
	f->was_frozen_in_wait = status_of(f) == FREEZE_FROZEN;
	if (f->meanwhile)
		f->meanwhile(f);
	return f->tells_in_time;
}

static void on_news(void *arg, enum freeze_news news, int rc, const struct err *e)
{
	struct fixture *f = arg;
	if (f->n_news == 0)
		f->first_rc = rc;
	f->news[f->n_news++] = news;
	f->last_rc = rc;
	f->last = e ? *e : (struct err){0};
}

static void watch(struct fixture *f, bool freeze)
{
	const struct freeze_watch watch = {.uri = URI,
	        .vm_id = ID,
	        .freeze = freeze,
	        .hold_ms = 10000,
	        .pause_ms = 1,
	        .deadline_ms = 200,
	        .wait = on_wait,
	        .tell = on_news,
	        .arg = f};
	freeze_watch_run(&watch);
}

static void fail_calls(const char *call, int code, int count)
{
	const struct fake_behaviour behaviour = {.error_code = code, .count = count};
	fake_script_set(HOST, call, NULL, &behaviour);
}

static void assert_news(const struct fixture *f, enum freeze_news first, enum freeze_news second)
{
	assert_int_equal(f->n_news, 2);
	assert_int_equal(f->news[0], first);
	assert_int_equal(f->news[1], second);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	fake_enable();
	assert_int_equal(driver->open(URI, NULL, NULL, &f->c, NULL), 0);
	assert_int_equal(driver->define(f->c, XML, NULL), 0);
	assert_int_equal(driver->start(f->c, ID, NULL), 0);
	f->tells_in_time = true;
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	fake_script_clear(HOST);
	driver->close(f->c);
	fake_reset();
	free(f);
	return 0;
}

static void test_told_in_time_the_guest_was_frozen_without_a_gap(void **state)
{
	struct fixture *f = *state;
	watch(f, true);
	assert_news(f, FREEZE_NEWS_FROZEN, FREEZE_NEWS_THAWED);
	assert_true(f->was_frozen_in_wait);
	assert_int_equal(f->last_rc, 0);
	assert_int_equal(status_of(f), FREEZE_THAWED);
}

static void test_not_told_in_time_it_is_thawed_and_said_so(void **state)
{
	struct fixture *f = *state;
	f->tells_in_time = false;
	watch(f, true);
	assert_news(f, FREEZE_NEWS_FROZEN, FREEZE_NEWS_THAWED);
	assert_int_equal(f->last_rc, ERR_DEADLINE);
	assert_non_null(strstr(f->last.message, "10000 ms"));
	assert_int_equal(status_of(f), FREEZE_THAWED);
}

static void thaw_by_hand(struct fixture *f)
{
	assert_int_equal(driver->thaw(f->c, ID, NULL), 0);
}

static void test_thawed_by_someone_else_it_was_not_frozen_without_a_gap(void **state)
{
	struct fixture *f = *state;
	f->meanwhile = thaw_by_hand;
	watch(f, true);
	assert_news(f, FREEZE_NEWS_FROZEN, FREEZE_NEWS_THAWED);
	assert_int_equal(f->last_rc, ERR_DEADLINE);
}

static void test_agent_that_does_not_answer_is_not_asked_to_freeze(void **state)
{
	struct fixture *f = *state;
	fail_calls("freeze_status", ERR_UNAVAILABLE, 1);
	watch(f, true);
	assert_int_equal(f->n_news, 1);
	assert_int_equal(f->news[0], FREEZE_NEWS_REFUSED);
	assert_int_equal(f->last_rc, ERR_UNAVAILABLE);
	assert_int_equal(status_of(f), FREEZE_THAWED);
}

static void test_guest_frozen_by_someone_else_stays_so(void **state)
{
	int n;
	struct fixture *f = *state;
	assert_int_equal(driver->freeze(f->c, ID, &n, NULL), 0);
	watch(f, true);
	assert_int_equal(f->n_news, 1);
	assert_int_equal(f->news[0], FREEZE_NEWS_REFUSED);
	assert_int_equal(f->last_rc, ERR_WRONG_STATE);
	assert_int_equal(status_of(f), FREEZE_FROZEN);
}

static void test_host_that_cannot_be_reached_is_a_refusal(void **state)
{
	struct fixture *f = *state;
	fail_calls("open", ERR_HOST_DOWN, 1);
	watch(f, true);
	assert_int_equal(f->n_news, 1);
	assert_int_equal(f->news[0], FREEZE_NEWS_REFUSED);
	assert_int_equal(f->last_rc, ERR_HOST_DOWN);
}

static void test_guest_with_nothing_mounted_is_held_all_the_same_and_that_is_said(void **state)
{
	struct fixture *f = *state;
	fake_guest_set_bare(HOST, ID, true);
	f->tells_in_time = true;
	watch(f, true);
	assert_news(f, FREEZE_NEWS_FROZEN, FREEZE_NEWS_THAWED);
	assert_int_equal(f->first_rc, 0);
	assert_int_equal(f->last_rc, 0);
	fake_guest_set_bare(HOST, ID, false);
	f->n_news = 0;
	watch(f, true);
	assert_int_equal(f->first_rc, 1);
}

/* The agent was stopped between the question and the command: it freezes later all the same. */
static void test_unanswered_freeze_is_thawed_once_the_agent_goes_on(void **state)
{
	struct fixture *f = *state;
	fail_calls("freeze", ERR_UNAVAILABLE, 1);
	fail_calls("thaw", ERR_UNAVAILABLE, 3);
	watch(f, true);
	assert_news(f, FREEZE_NEWS_UNANSWERED, FREEZE_NEWS_THAWED);
	assert_int_equal(f->last_rc, ERR_DEADLINE);
}

static void test_thaw_is_repeated_over_new_connections_until_the_agent_says_thawed(void **state)
{
	int n;
	struct fixture *f = *state;
	assert_int_equal(driver->freeze(f->c, ID, &n, NULL), 0);
	fail_calls("thaw", ERR_HOST_DOWN, 4);
	struct fake_host_stats before, after;
	fake_host_get_stats(HOST, &before);
	watch(f, false);
	fake_host_get_stats(HOST, &after);
	assert_int_equal(f->n_news, 1);
	assert_int_equal(f->news[0], FREEZE_NEWS_THAWED);
	assert_int_equal(status_of(f), FREEZE_THAWED);
	assert_int_equal(after.opens - before.opens, 5);
	assert_int_equal(after.connections, before.connections);
}

static void test_after_the_deadline_it_gives_up_and_says_why(void **state)
{
	int n;
	struct fixture *f = *state;
	assert_int_equal(driver->freeze(f->c, ID, &n, NULL), 0);
	fail_calls("thaw", ERR_UNAVAILABLE, 0);
	watch(f, false);
	assert_int_equal(f->n_news, 1);
	assert_int_equal(f->news[0], FREEZE_NEWS_GAVE_UP);
	assert_int_equal(f->last_rc, ERR_UNAVAILABLE);
}

static void stop_guest(struct fixture *f)
{
	assert_int_equal(driver->destroy(f->c, ID, NULL), 0);
}

static void test_guest_that_stopped_needs_no_thaw(void **state)
{
	struct fixture *f = *state;
	f->meanwhile = stop_guest;
	watch(f, true);
	assert_news(f, FREEZE_NEWS_FROZEN, FREEZE_NEWS_THAWED);
	assert_int_equal(f->last_rc, ERR_DEADLINE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	        TEST(test_told_in_time_the_guest_was_frozen_without_a_gap),
	        TEST(test_not_told_in_time_it_is_thawed_and_said_so),
	        TEST(test_thawed_by_someone_else_it_was_not_frozen_without_a_gap),
	        TEST(test_agent_that_does_not_answer_is_not_asked_to_freeze),
	        TEST(test_guest_frozen_by_someone_else_stays_so),
	        TEST(test_host_that_cannot_be_reached_is_a_refusal),
	        TEST(test_guest_with_nothing_mounted_is_held_all_the_same_and_that_is_said),
	        TEST(test_unanswered_freeze_is_thawed_once_the_agent_goes_on),
	        TEST(test_thaw_is_repeated_over_new_connections_until_the_agent_says_thawed),
	        TEST(test_after_the_deadline_it_gives_up_and_says_why),
	        TEST(test_guest_that_stopped_needs_no_thaw),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

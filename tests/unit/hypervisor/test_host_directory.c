/* SPDX-License-Identifier: Apache-2.0 */
/* Hosts are found by id; a call to none is answered like any other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "hypervisor/driver_fake.h"
#include "hypervisor/host_directory.h"
#include "tests/unit/hypervisor/loop_helper.h"

#define ID "11111111-2222-4333-8444-555555555555"

struct outcome {
	int done, released, ran, rc;
	struct err e;
};

static int run(const struct driver *driver, struct driver_connection *c, void *arg, struct err *e)
{
	struct outcome *outcome = arg;
	outcome->ran++;
	return driver->ping(c, e);
}

static void on_done(void *arg, int rc, const struct err *e)
{
	struct outcome *outcome = arg;
	assert_int_equal(outcome->released, 0);
	outcome->done++;
	outcome->rc = rc;
	if (e)
		outcome->e = *e;
}

static void on_release(void *arg)
{
	((struct outcome *)arg)->released++;
}

static struct lane_call call_for(struct outcome *outcome)
{
	return (struct lane_call){.class = LANE_CONTROL,
	        .timeout_ms = LOOP_PATIENCE_MS,
	        .run = run,
	        .done = on_done,
	        .release = on_release,
	        .arg = outcome};
}

static void test_call_to_an_unknown_host_fails_from_the_loop(void **state)
{
	(void)state;
	struct outcome outcome = {0};
	struct loop *loop = loop_new();
	struct host_directory *d = host_directory_new(loop);
	struct lane_call call = call_for(&outcome);
	host_directory_submit(d, ID, &call);
	assert_int_equal(outcome.done, 0); /* never from inside the submission */
	assert_true(TURN_UNTIL(loop, outcome.released == 1));
	assert_int_equal(outcome.done, 1);
	assert_int_equal(outcome.ran, 0);
	assert_int_equal(outcome.rc, ERR_NOT_FOUND);
	assert_non_null(strstr(outcome.e.message, ID));
	host_directory_free(d);
	loop_free(loop);
}

static void test_call_goes_to_the_host_of_that_id_until_it_is_removed(void **state)
{
	(void)state;
	fake_enable();
	struct outcome outcome = {0};
	struct loop *loop = loop_new();
	struct lane_pool *pool = lane_pool_new(loop);
	struct host_directory *d = host_directory_new(loop);
	struct host_connection_config config = {
	        .loop = loop, .pool = pool, .name = "h1", .uri = "fake:///h1"};
	struct host_connection *c = host_connection_new(&config);
	struct lane_call call = call_for(&outcome);
	host_directory_put(d, ID, c);
	assert_ptr_equal(host_directory_get(d, ID), c);
	assert_true(TURN_UNTIL(loop, host_connection_state(c) == HOST_OK));
	host_directory_submit(d, ID, &call);
	assert_true(TURN_UNTIL(loop, outcome.released == 1));
	assert_int_equal(outcome.rc, 0);
	assert_int_equal(outcome.ran, 1);
	host_directory_remove(d, ID);
	assert_null(host_directory_get(d, ID));
	host_connection_free(c);
	loop_turn_for(loop, 30);
	host_directory_free(d);
	lane_pool_free(pool);
	loop_free(loop);
	fake_reset();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_call_to_an_unknown_host_fails_from_the_loop),
	        cmocka_unit_test(test_call_goes_to_the_host_of_that_id_until_it_is_removed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

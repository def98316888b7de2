/* SPDX-License-Identifier: Apache-2.0 */
/* What follows when a VM that should run is seen stopped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "compute/vm_observe.h"

static enum vm_follow_up decide(const struct vm_spec *spec, enum vm_power desired,
        enum vm_power seen, enum domain_reason reason)
{
	return vm_decide_follow_up(spec, desired, seen, reason, /* is_busy= */ false);
}

static void test_a_guest_that_shuts_itself_down_follows_its_policy(void **state)
{
	(void)state;
	struct vm_spec spec = {.restart_policy = {.on_guest_shutdown = ON_SHUTDOWN_STAY_OFF}};
	assert_int_equal(decide(&spec, POWER_RUNNING, POWER_STOPPED, DOMAIN_REASON_GUEST_SHUTDOWN),
	        VM_FOLLOW_STAY_OFF);
	spec.restart_policy.on_guest_shutdown = ON_SHUTDOWN_RESTART;
	assert_int_equal(decide(&spec, POWER_RUNNING, POWER_STOPPED, DOMAIN_REASON_GUEST_SHUTDOWN),
	        VM_FOLLOW_RESTART);
}

static void test_a_crash_follows_its_policy(void **state)
{
	(void)state;
	struct vm_spec spec = {.restart_policy = {.on_crash = ON_CRASH_RESTART}};
	assert_int_equal(decide(&spec, POWER_RUNNING, POWER_STOPPED, DOMAIN_REASON_CRASHED),
	        VM_FOLLOW_RESTART);
	assert_int_equal(decide(&spec, POWER_RUNNING, POWER_STOPPED, DOMAIN_REASON_FAILED),
	        VM_FOLLOW_RESTART);
	spec.restart_policy.on_crash = ON_CRASH_STAY_OFF;
	assert_int_equal(decide(&spec, POWER_RUNNING, POWER_STOPPED, DOMAIN_REASON_CRASHED),
	        VM_FOLLOW_STAY_OFF);
}

static void test_what_others_stopped_stays_off(void **state)
{
	(void)state;
	struct vm_spec spec = {.has_autostart = true,
	        .restart_policy = {
	                .on_guest_shutdown = ON_SHUTDOWN_RESTART, .on_crash = ON_CRASH_RESTART}};
	assert_int_equal(decide(&spec, POWER_RUNNING, POWER_STOPPED, DOMAIN_REASON_DESTROYED),
	        VM_FOLLOW_STAY_OFF);
}

static void test_after_a_host_restart_only_autostart_brings_it_back(void **state)
{
	(void)state;
	struct vm_spec spec = {.has_autostart = true};
	assert_int_equal(decide(&spec, POWER_RUNNING, POWER_STOPPED, DOMAIN_REASON_NONE),
	        VM_FOLLOW_AUTOSTART);
	spec.has_autostart = false;
	assert_int_equal(decide(&spec, POWER_RUNNING, POWER_STOPPED, DOMAIN_REASON_NONE),
	        VM_FOLLOW_STAY_OFF);
}

static void test_nothing_follows_when_off_is_wanted_or_work_is_under_way(void **state)
{
	(void)state;
	struct vm_spec spec = {.has_autostart = true};
	assert_int_equal(
	        decide(&spec, POWER_STOPPED, POWER_STOPPED, DOMAIN_REASON_CRASHED), VM_FOLLOW_NONE);
	assert_int_equal(
	        decide(&spec, POWER_RUNNING, POWER_RUNNING, DOMAIN_REASON_NONE), VM_FOLLOW_NONE);
	assert_int_equal(decide(&spec, POWER_SUSPENDED, POWER_SUSPENDED, DOMAIN_REASON_SAVED),
	        VM_FOLLOW_NONE);
	assert_int_equal(
	        vm_decide_follow_up(&spec, POWER_RUNNING, POWER_STOPPED, DOMAIN_REASON_CRASHED,
	                /* is_busy= */ true),
	        VM_FOLLOW_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_a_guest_that_shuts_itself_down_follows_its_policy),
	        cmocka_unit_test(test_a_crash_follows_its_policy),
	        cmocka_unit_test(test_what_others_stopped_stays_off),
	        cmocka_unit_test(test_after_a_host_restart_only_autostart_brings_it_back),
	        cmocka_unit_test(test_nothing_follows_when_off_is_wanted_or_work_is_under_way),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

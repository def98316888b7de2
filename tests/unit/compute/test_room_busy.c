/* SPDX-License-Identifier: Apache-2.0 */
/* Use of hosts' CPUs: from counters to steps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "compute/room_busy.h"

#define SECOND_NS 1000000000

static void test_use_is_measured_in_steps_and_forgotten_when_it_is_old(void **state)
{
	(void)state;
	struct inventory *inventory = inventory_new();
	const struct inventory_group group = {.id = "g", .name = "g"};
	const struct inventory_host host = {
	        .id = "h", .name = "h", .group_id = "g", .cpu_busy_percent = -1};
	inventory_put_group(inventory, &group);
	assert_true(inventory_put_host(inventory, &host));
	const struct {
		int64_t at_ms, busy_s, idle_s, expected;
	} steps[] = {
	        {1000, 100, 100, -1},
	        {6000, 105, 100, -1}, /* too early */
	        {11000, 103, 107, 30},
	        {21000, 106, 113, 30}, /* 33 % */
	        {31000, 110, 119, 40},
	        {41000, 1, 1, -1}, /* started anew */
	        {51000, 6, 1, 100},
	        {110000, -1, -1, 100}, /* not known */
	        {111000, -1, -1, -1},  /* too old */
	        {121000, 16, 11, -1},
	        {131000, 16, 21, 0},
	};
	struct room_busy *busy = room_busy_new();
	int64_t version = 0;
	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		struct host_stats stats;
		host_stats_init(&stats);
		stats.cpu_busy_ns = steps[i].busy_s * SECOND_NS;
		stats.cpu_idle_ns = steps[i].idle_s * SECOND_NS;
		room_busy_note(busy, "h", &stats, steps[i].at_ms);
		room_busy_apply(busy, &version, inventory, steps[i].at_ms);
		assert_int_equal(
		        inventory_host(inventory, "h")->cpu_busy_percent, steps[i].expected);
	}
	room_busy_free(busy);
	inventory_free(inventory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_use_is_measured_in_steps_and_forgotten_when_it_is_old),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

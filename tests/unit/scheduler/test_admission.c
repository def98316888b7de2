/* SPDX-License-Identifier: Apache-2.0 */
/* One guest against one host: the arithmetic of decision 0012. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/cleanup.h"
#include "tests/unit/scheduler/fleet.h"

/* One group, one host of 8 threads and 16 GiB of which 2 are reserved. */
static struct inventory *one_host(enum overcommit_mode mode, double memory_ratio)
{
	struct inventory *inv = inventory_new();
	struct inventory_group group = a_group("g", mode);
	group.memory_ratio = memory_ratio;
	group.reserve_memory_bytes = 2 * GIB;
	group.reserve_cpu_percent = 25;
	inventory_put_group(inv, &group);
	struct inventory_host h = a_host("h1", "g", 8, 16 * GIB);
	assert_true(inventory_put_host(inv, &h));
	return inv;
}

static void hold(struct inventory *inv, const char *id, struct reservation r)
{
	struct inventory_vm vm = a_vm(id, "h1", r);
	assert_true(inventory_put_vm(inv, &vm));
}

static struct reservation with_overhead(struct reservation r)
{
	r.overhead_bytes = admission_overhead_bytes(r.vcpus, r.size_bytes);
	return r;
}

static struct admission ask(
        const struct inventory *inv, struct reservation r, const char *vm_id, struct err *e)
{
	struct admission a;
	int rc = admission_admit(inv, inventory_host(inv, "h1"), &r, vm_id, &a, e);
	assert_int_equal(rc == 0, admission_fits(&a));
	return a;
}

static int64_t number(const struct err *e, const char *key)
{
	json_t *numbers = json_loads(e->numbers, 0, NULL);
	assert_non_null(numbers);
	json_t *value = json_object_get(numbers, key);
	assert_true(json_is_integer(value));
	int64_t n = json_integer_value(value);
	json_decref(numbers);
	return n;
}

static void test_overhead_is_as_decided(void **state)
{
	(void)state;
	assert_int_equal(admission_overhead_bytes(2, 4 * GIB), (32 + 2 * 8 + 8) * MIB);
}

static void test_strict_sums_sizes_with_overhead(void **state)
{
	(void)state;
	struct inventory *inv = one_host(OVERCOMMIT_STRICT, 1.0);
	struct err e = {0};
	hold(inv, "a", with_overhead(a_size(RESERVATION_RUNNING, 2, 8 * GIB, GIB)));
	int64_t overhead = admission_overhead_bytes(2, 8 * GIB);
	struct reservation r = a_size(RESERVATION_STARTING, 2, 6 * GIB - overhead, GIB);
	struct admission a = ask(inv, r, NULL, &e);
	assert_int_equal(a.bound, ADMISSION_NONE);
	assert_int_equal(a.usable_bytes, 14 * GIB);
	assert_int_equal(a.sums[ADMISSION_SIZE].held, 8 * GIB + overhead);
	r.size_bytes++;
	a = ask(inv, r, NULL, &e);
	assert_int_equal(a.bound, ADMISSION_SIZE);
	assert_int_equal(e.code, ERR_NO_CAPACITY);
	assert_string_equal(e.pointer, "/memory/size_bytes");
	assert_int_equal(number(&e, "asked_bytes"), 6 * GIB - overhead + 1);
	assert_int_equal(number(&e, "free_bytes"), 6 * GIB - overhead);
	assert_int_equal(number(&e, "held_bytes"), 8 * GIB + overhead);
	assert_int_equal(number(&e, "limit_bytes"), 14 * GIB);
	assert_int_equal(number(&e, "reserved_bytes"), 2 * GIB);
	inventory_free(inv);
}

static void test_ratio_bounds_sizes_and_floors(void **state)
{
	(void)state;
	struct inventory *inv = one_host(OVERCOMMIT_RATIO, 1.5);
	struct err e = {0};
	hold(inv, "a", a_size(RESERVATION_RUNNING, 1, 13 * GIB, 10 * GIB));
	assert_int_equal(
	        ask(inv, a_size(RESERVATION_STARTING, 1, 8 * GIB, 4 * GIB), NULL, &e).bound,
	        ADMISSION_NONE);
	struct admission a = ask(inv, a_size(RESERVATION_STARTING, 1, 8 * GIB + 1, GIB), NULL, &e);
	assert_int_equal(a.bound, ADMISSION_SIZE);
	assert_int_equal(a.sums[ADMISSION_SIZE].limit, 21 * GIB);
	a = ask(inv, a_size(RESERVATION_STARTING, 1, 8 * GIB, 4 * GIB + 1), NULL, &e);
	assert_int_equal(a.bound, ADMISSION_FLOOR);
	assert_int_equal(a.sums[ADMISSION_FLOOR].limit, 14 * GIB);
	assert_string_equal(e.pointer, "/memory/min_bytes");
	inventory_free(inv);
}

static void test_balloon_counts_floors_of_running_and_sizes_of_starting_vms(void **state)
{
	(void)state;
	struct inventory *inv = one_host(OVERCOMMIT_BALLOON, 1.0);
	struct err e = {0};
	struct reservation running = a_size(RESERVATION_RUNNING, 1, 10 * GIB, 2 * GIB);
	running.booked_bytes = 9 * GIB;
	hold(inv, "running", running);
	hold(inv, "starting", a_size(RESERVATION_STARTING, 1, 4 * GIB, GIB));
	struct admission a = ask(inv, a_size(RESERVATION_STARTING, 1, 8 * GIB, GIB), NULL, &e);
	assert_int_equal(a.bound, ADMISSION_NONE);
	assert_int_equal(a.sums[ADMISSION_FLOOR].held, 6 * GIB);
	assert_int_equal(a.wait_bytes, (9 + 4 + 8 - 14) * GIB);
	a = ask(inv, a_size(RESERVATION_STARTING, 1, 8 * GIB + 1, GIB), NULL, &e);
	assert_int_equal(a.bound, ADMISSION_FLOOR);
	assert_int_equal(a.wait_bytes, 0);
	assert_int_equal(e.code, ERR_NO_CAPACITY);
	inventory_free(inv);
}

static void test_a_vm_that_cannot_shrink_counts_with_what_it_has(void **state)
{
	(void)state;
	struct inventory *inv = one_host(OVERCOMMIT_BALLOON, 1.0);
	struct reservation stuck = a_size(RESERVATION_RUNNING, 1, 10 * GIB, 2 * GIB);
	stuck.booked_bytes = 9 * GIB;
	stuck.inflexible = true;
	hold(inv, "stuck", stuck);
	assert_int_equal(ask(inv, a_size(RESERVATION_STARTING, 1, 5 * GIB, GIB), NULL, NULL).bound,
	        ADMISSION_NONE);
	assert_int_equal(
	        ask(inv, a_size(RESERVATION_STARTING, 1, 5 * GIB + 1, GIB), NULL, NULL).bound,
	        ADMISSION_FLOOR);
	inventory_free(inv);
}

static void test_hugepages_hold_their_size_apart(void **state)
{
	(void)state;
	struct inventory *inv = one_host(OVERCOMMIT_STRICT, 1.0);
	struct inventory_host h = *inventory_host(inv, "h1");
	h.hugepage_bytes = 4 * GIB;
	assert_true(inventory_put_host(inv, &h));
	struct reservation r = with_overhead(a_size(RESERVATION_STARTING, 1, 4 * GIB, 0));
	r.hugepages = true;
	struct admission a = ask(inv, r, NULL, NULL);
	assert_int_equal(a.bound, ADMISSION_NONE);
	assert_int_equal(a.sums[ADMISSION_SIZE].asked, r.overhead_bytes);
	assert_int_equal(a.sums[ADMISSION_SIZE].limit, 10 * GIB); /* what no huge page is made of */
	hold(inv, "a", r);
	a = ask(inv, r, NULL, NULL);
	assert_int_equal(a.bound, ADMISSION_HUGEPAGES);
	assert_false(a.is_never);
	r.size_bytes = 4 * GIB + 1;
	assert_true(ask(inv, r, NULL, NULL).is_never);
	inventory_free(inv);
}

/* 8 threads, a quarter for the host: 6, times 4. */
static void test_cpu_is_bounded_by_ratio_and_reservations(void **state)
{
	(void)state;
	struct inventory *inv = one_host(OVERCOMMIT_STRICT, 1.0);
	struct err e = {0};
	char id[16];
	for (int i = 0; i < 3; i++) {
		snprintf(id, sizeof(id), "v%d", i);
		hold(inv, id, a_size(RESERVATION_RUNNING, 7, MIB, 0));
	}
	assert_int_equal(
	        ask(inv, a_size(RESERVATION_STARTING, 3, MIB, 0), NULL, &e).bound, ADMISSION_NONE);
	struct admission a = ask(inv, a_size(RESERVATION_STARTING, 4, MIB, 0), NULL, &e);
	assert_int_equal(a.bound, ADMISSION_VCPUS);
	assert_int_equal(a.sums[ADMISSION_VCPUS].limit, 24);
	assert_int_equal(number(&e, "free_vcpus"), 3);
	struct reservation r = a_size(RESERVATION_STARTING, 3, MIB, 0);
	r.reservation_percent = 100;
	assert_int_equal(ask(inv, r, NULL, &e).bound, ADMISSION_NONE);
	hold(inv, "r", r);
	inventory_remove_vm(inv, "v0", NULL);
	r.vcpus = 4;
	a = ask(inv, r, NULL, &e);
	assert_int_equal(a.bound, ADMISSION_CPU_RESERVATION);
	assert_int_equal(a.sums[ADMISSION_CPU_RESERVATION].limit, 600);
	inventory_free(inv);
}

static void test_dedicated_cpus_leave_the_shared_pool(void **state)
{
	(void)state;
	struct inventory *inv = one_host(OVERCOMMIT_STRICT, 1.0);
	struct reservation own = a_size(RESERVATION_STARTING, 4, MIB, 0);
	own.dedicated = true;
	hold(inv, "d", own);
	struct admission a = ask(inv, a_size(RESERVATION_STARTING, 8, MIB, 0), NULL, NULL);
	assert_int_equal(a.bound, ADMISSION_NONE);
	assert_int_equal(a.sums[ADMISSION_VCPUS].limit, 8);
	hold(inv, "s", a_size(RESERVATION_RUNNING, 8, MIB, 0));
	struct err e = {0};
	own.vcpus = 1; /* would leave one thread, four shared vCPUs, and eight are held */
	a = ask(inv, own, NULL, &e);
	assert_int_equal(a.bound, ADMISSION_VCPUS);
	assert_string_equal(e.message,
	        "with 1 dedicated CPUs for this VM, host \"h1\" has 4 vCPUs by the group's "
	        "cpu_ratio left, and other VMs hold 8");
	assert_string_equal(e.pointer, "/cpu/pinning");
	assert_string_equal(e.hint, "choose pinning auto or another host, or stop or move s");
	own.vcpus = 3;
	assert_int_equal(ask(inv, own, NULL, NULL).bound, ADMISSION_DEDICATED);
	own.vcpus = 7;
	a = ask(inv, own, NULL, NULL);
	assert_int_equal(a.bound, ADMISSION_DEDICATED);
	assert_true(a.is_never);
	inventory_free(inv);
}

static void test_a_stopped_vm_holds_nothing(void **state)
{
	(void)state;
	struct inventory *inv = one_host(OVERCOMMIT_STRICT, 1.0);
	hold(inv, "off", a_size(RESERVATION_NONE, 8, 14 * GIB, 0));
	assert_int_equal(ask(inv, a_size(RESERVATION_STARTING, 1, 14 * GIB, 0), NULL, NULL).bound,
	        ADMISSION_NONE);
	inventory_free(inv);
}

static void test_a_change_does_not_count_against_itself(void **state)
{
	(void)state;
	struct inventory *inv = one_host(OVERCOMMIT_STRICT, 1.0);
	hold(inv, "a", a_size(RESERVATION_RUNNING, 2, 10 * GIB, 0));
	struct reservation larger = a_size(RESERVATION_RUNNING, 2, 14 * GIB, 0);
	assert_int_equal(ask(inv, larger, NULL, NULL).bound, ADMISSION_SIZE);
	assert_int_equal(ask(inv, larger, "a", NULL).bound, ADMISSION_NONE);
	inventory_free(inv);
}

static void test_on_an_overfull_host_a_vm_may_shrink_but_not_grow(void **state)
{
	(void)state;
	struct inventory *inv = one_host(OVERCOMMIT_STRICT, 1.0);
	hold(inv, "foreign", a_size(RESERVATION_RUNNING, 2, 13 * GIB, 0));
	hold(inv, "a", a_size(RESERVATION_RUNNING, 2, 4 * GIB, 0));
	assert_int_equal(ask(inv, a_size(RESERVATION_RUNNING, 2, 3 * GIB, 0), "a", NULL).bound,
	        ADMISSION_NONE);
	assert_int_equal(ask(inv, a_size(RESERVATION_RUNNING, 2, 4 * GIB + 1, 0), "a", NULL).bound,
	        ADMISSION_SIZE);
	inventory_free(inv);
}

static void test_a_refusal_names_who_holds_most_and_what_helps(void **state)
{
	(void)state;
	struct inventory *inv = one_host(OVERCOMMIT_STRICT, 1.0);
	struct err e = {0};
	hold(inv, "small", a_size(RESERVATION_RUNNING, 1, GIB, 0));
	hold(inv, "big", a_size(RESERVATION_RUNNING, 1, 5 * GIB, 0));
	hold(inv, "middle", a_size(RESERVATION_RUNNING, 1, 3 * GIB, 0));
	hold(inv, "tiny", a_size(RESERVATION_RUNNING, 1, MIB, 0));
	ask(inv, a_size(RESERVATION_STARTING, 1, 8 * GIB, 0), NULL, &e);
	json_t *numbers = json_loads(e.numbers, 0, NULL);
	json_t *holders = json_object_get(numbers, "holders");
	static const char *const order[] = {"big", "middle", "small"};
	assert_int_equal(json_array_size(holders), ARRAY_LEN(order));
	for (size_t i = 0; i < ARRAY_LEN(order); i++)
		assert_string_equal(
		        json_string_value(json_object_get(json_array_get(holders, i), "vm")),
		        order[i]);
	json_decref(numbers);
	assert_non_null(strstr(e.hint, "big"));
	char fits[32];
	snprintf(fits, sizeof(fits), "%lld", (long long)(5 * GIB - MIB));
	assert_non_null(strstr(e.hint, fits));
	inventory_free(inv);
}

static void test_what_the_empty_host_could_not_hold_is_unprocessable(void **state)
{
	(void)state;
	struct inventory *inv = one_host(OVERCOMMIT_BALLOON, 1.0);
	struct err e = {0};
	assert_true(ask(inv, a_size(RESERVATION_STARTING, 1, 14 * GIB + 1, 0), NULL, &e).is_never);
	assert_int_equal(e.code, ERR_UNPROCESSABLE);
	assert_true(ask(inv, a_size(RESERVATION_STARTING, 9, GIB, 0), NULL, &e).is_never);
	assert_string_equal(e.pointer, "/cpu/count");
	assert_int_equal(number(&e, "limit_vcpus"), 8);
	inventory_free(inv);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_overhead_is_as_decided),
	        cmocka_unit_test(test_strict_sums_sizes_with_overhead),
	        cmocka_unit_test(test_ratio_bounds_sizes_and_floors),
	        cmocka_unit_test(test_balloon_counts_floors_of_running_and_sizes_of_starting_vms),
	        cmocka_unit_test(test_a_vm_that_cannot_shrink_counts_with_what_it_has),
	        cmocka_unit_test(test_hugepages_hold_their_size_apart),
	        cmocka_unit_test(test_cpu_is_bounded_by_ratio_and_reservations),
	        cmocka_unit_test(test_dedicated_cpus_leave_the_shared_pool),
	        cmocka_unit_test(test_a_stopped_vm_holds_nothing),
	        cmocka_unit_test(test_a_change_does_not_count_against_itself),
	        cmocka_unit_test(test_on_an_overfull_host_a_vm_may_shrink_but_not_grow),
	        cmocka_unit_test(test_a_refusal_names_who_holds_most_and_what_helps),
	        cmocka_unit_test(test_what_the_empty_host_could_not_hold_is_unprocessable),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

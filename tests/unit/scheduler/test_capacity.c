/* SPDX-License-Identifier: Apache-2.0 */
/* What is counted is what placement then really takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "scheduler/capacity.h"
#include "scheduler/placement.h"
#include "tests/unit/scheduler/fleet.h"

#define HOSTS_MAX 4
static const char *const hosts[HOSTS_MAX] = {"h0", "h1", "h2", "h3"};

static struct inventory *new_group(struct inventory_group group, int n_hosts, int64_t memory)
{
	struct inventory *inv = inventory_new();
	inventory_put_group(inv, &group);
	for (int i = 0; i < n_hosts; i++) {
		struct inventory_host h = a_host(hosts[i], group.id, 8, memory);
		assert_true(inventory_put_host(inv, &h));
	}
	return inv;
}

static struct capacity count(const struct inventory *inv, const struct reservation *each)
{
	struct capacity c;
	capacity_of_group(inv, inventory_group(inv, "g"), each, &c);
	return c;
}

static void put(struct inventory *inv, const char *id, const char *host, struct reservation r)
{
	struct inventory_vm vm = a_vm(id, host, r);
	assert_true(inventory_put_vm(inv, &vm));
}

static void test_sums_count_hosts_that_are_ok(void **state)
{
	(void)state;
	struct inventory_group group = a_group("g", OVERCOMMIT_RATIO);
	group.memory_ratio = 1.5;
	group.reserve_memory_bytes = 2 * GIB;
	struct inventory *inv = new_group(group, 3, 16 * GIB);
	assert_true(inventory_set_host_state(inv, "h2", INVENTORY_HOST_DOWN, NULL));
	struct reservation r = a_size(RESERVATION_RUNNING, 2, 8 * GIB, 2 * GIB);
	r.booked_bytes = 7 * GIB;
	put(inv, "a", "h0", r);
	struct capacity c CLEANUP(capacity_done) = count(inv, NULL);
	assert_int_equal(c.hosts, 3);
	assert_int_equal(c.hosts_ok, 2);
	assert_int_equal(c.total_bytes, 32 * GIB);
	assert_int_equal(c.reserved_bytes, 4 * GIB);
	assert_int_equal(c.usable_bytes, 28 * GIB);
	assert_int_equal(c.configured_bytes, 8 * GIB);
	assert_int_equal(c.guaranteed_bytes, 2 * GIB);
	assert_int_equal(c.booked_bytes, 7 * GIB);
	assert_int_equal(c.free_bytes, (12 + 14) * GIB); /* h0: by floors, 14 - 2; h1: 14 */
	assert_int_equal(c.vcpus_limit, 64);
	assert_int_equal(c.free_vcpus, 62);
	inventory_free(inv);
}

static void test_fits_are_whole_vms_per_host(void **state)
{
	(void)state;
	struct inventory *inv = new_group(a_group("g", OVERCOMMIT_STRICT), 3, 16 * GIB);
	struct reservation each = a_size(RESERVATION_STARTING, 1, 10 * GIB, 0);
	struct capacity c CLEANUP(capacity_done) = count(inv, &each);
	assert_int_equal(c.fits, 3); /* not 48 / 10 */
	assert_int_equal(c.free_bytes, 48 * GIB);
	inventory_free(inv);
}

static void test_the_largest_vm_is_the_largest_that_placement_takes(void **state)
{
	(void)state;
	struct inventory *inv = new_group(a_group("g", OVERCOMMIT_STRICT), 2, 16 * GIB);
	put(inv, "a", "h0", a_size(RESERVATION_RUNNING, 6, 4 * GIB, 0));
	struct capacity c CLEANUP(capacity_done) = count(inv, NULL);
	assert_string_equal(c.largest_host->name, "h1");
	int64_t mib = c.largest_bytes / MIB;
	assert_true(admission_overhead_bytes(1, mib * MIB) + mib * MIB <= 16 * GIB);
	assert_true(admission_overhead_bytes(1, (mib + 1) * MIB) + (mib + 1) * MIB > 16 * GIB);
	assert_int_equal(c.largest_vcpus, 8);
	inventory_free(inv);
}

static void test_losses_name_the_host_and_what_is_missing(void **state)
{
	(void)state;
	struct inventory *inv = new_group(a_group("g", OVERCOMMIT_STRICT), 2, 16 * GIB);
	put(inv, "a", "h0", a_size(RESERVATION_RUNNING, 2, 10 * GIB, 0));
	put(inv, "b", "h0", a_size(RESERVATION_RUNNING, 1, 2 * GIB, 0));
	struct capacity c = count(inv, NULL);
	assert_true(c.survives_host_loss);
	capacity_done(&c);
	put(inv, "c", "h1", a_size(RESERVATION_RUNNING, 1, 5 * GIB, 0));
	c = count(inv, NULL);
	assert_false(c.survives_host_loss);
	assert_int_equal(c.losses.len, 2);
	assert_string_equal(c.losses.items[0].host->name, "h0");
	assert_int_equal(c.losses.items[0].missing_bytes, 2 * GIB); /* the larger one finds room */
	assert_int_equal(c.losses.items[0].missing_vcpus, 1);
	assert_int_equal(c.losses.items[0].homeless, 1);
	assert_int_equal(c.losses.items[0].vms, 2);
	assert_string_equal(c.losses.items[1].host->name, "h1");
	capacity_done(&c);
	inventory_free(inv);
}

static void test_counting_with_survival_leaves_one_host_of_room(void **state)
{
	(void)state;
	struct inventory_group group = a_group("g", OVERCOMMIT_STRICT);
	group.survive_host_loss = 1;
	struct inventory *inv = new_group(group, 4, 16 * GIB);
	struct reservation each = a_size(RESERVATION_STARTING, 1, 2 * GIB, 0);
	struct capacity c CLEANUP(capacity_done) = count(inv, &each);
	assert_int_equal(c.fits, 24); /* three hosts of 8 */
	inventory_free(inv);
}

/* ---- random groups ---- */

static struct inventory *random_group(bool survives)
{
	struct inventory_group group = a_group("g", (enum overcommit_mode)random_below(3));
	group.memory_ratio = 1.5;
	group.survive_host_loss = survives;
	group.reserve_cpu_percent = random_below(2) * 10;
	struct inventory *inv =
	        new_group(group, 1 + (int)random_below(HOSTS_MAX), (4 + random_below(8)) * GIB);
	for (int i = 0; i < 6; i++) {
		char id[16];
		snprintf(id, sizeof(id), "v%d", i);
		struct reservation r = a_size(RESERVATION_STARTING, 1 + random_below(3),
		        (1 + random_below(16)) * 256 * MIB, 0);
		r.min_bytes = r.size_bytes / (1 + random_below(2));
		struct placement_request request = {.asked = r, .name = id};
		struct placement p CLEANUP(placement_done) = {0};
		place(inv, &request, &p);
		r.state = RESERVATION_RUNNING;
		if (p.ranked.len > 0)
			put(inv, id, p.ranked.items[random_below((int64_t)p.ranked.len)].host->id,
			        r);
	}
	return inv;
}

/* Starts one after another until placement refuses all hosts. */
static int64_t fill(struct inventory *inv, const struct reservation *each)
{
	struct placement p CLEANUP(placement_done) = {0};
	struct placement_request request = {.asked = *each};
	for (int64_t n = 0;; n++) {
		char id[16];
		snprintf(id, sizeof(id), "n%d", (int)n);
		place(inv, &request, &p);
		if (p.ranked.len == 0)
			return n;
		struct reservation r = *each;
		r.state = RESERVATION_RUNNING;
		put(inv, id, p.ranked.items[0].host->id, r);
	}
}

static struct reservation random_size(void)
{
	struct reservation each = a_size(
	        RESERVATION_STARTING, 1 + random_below(2), (1 + random_below(8)) * 256 * MIB, 0);
	each.min_bytes = each.size_bytes / (1 + random_below(3));
	each.dedicated = random_below(6) == 0;
	each.inflexible = random_below(6) == 0;
	each.reservation_percent = random_below(2) * 30;
	each.overhead_bytes = admission_overhead_bytes(each.vcpus, each.size_bytes);
	return each;
}

static void test_as_many_fit_as_are_counted(void **state)
{
	(void)state;
	int rounds = test_rounds(300, 2000);
	for (int i = 0; i < rounds; i++) {
		random_seed((uint64_t)i);
		struct inventory *inv = random_group(/* survives= */ false);
		struct reservation each = random_size();
		struct capacity c CLEANUP(capacity_done) = count(inv, &each);
		assert_int_equal(c.fits, fill(inv, &each));
		inventory_free(inv);
	}
}

/* The count is one that was shown to survive; filling one by one may end a little apart. */
static void test_as_many_survive_as_are_counted(void **state)
{
	(void)state;
	int rounds = test_rounds(300, 2000);
	int64_t counted = 0, filled = 0;
	for (int i = 0; i < rounds; i++) {
		random_seed((uint64_t)i);
		struct inventory *inv = random_group(/* survives= */ true);
		struct reservation each = random_size();
		struct capacity c CLEANUP(capacity_done) = count(inv, &each);
		assert_true(c.survives_host_loss);
		counted += c.fits;
		filled += fill(inv, &each);
		struct capacity full CLEANUP(capacity_done) = count(inv, &each);
		assert_true(full.survives_host_loss);
		inventory_free(inv);
	}
	print_message(
	        "%lld counted, %lld filled one by one\n", (long long)counted, (long long)filled);
	assert_true(counted * 10 >= filled * 9 && filled * 10 >= counted * 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_sums_count_hosts_that_are_ok),
	        cmocka_unit_test(test_fits_are_whole_vms_per_host),
	        cmocka_unit_test(test_the_largest_vm_is_the_largest_that_placement_takes),
	        cmocka_unit_test(test_losses_name_the_host_and_what_is_missing),
	        cmocka_unit_test(test_counting_with_survival_leaves_one_host_of_room),
	        cmocka_unit_test(test_as_many_fit_as_are_counted),
	        cmocka_unit_test(test_as_many_survive_as_are_counted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Which CPUs a VM gets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "scheduler/cpu_layout.h"
#include "tests/unit/base/cpu_set_text.h"
#include "tests/unit/scheduler/fleet.h"

/* Two nodes of four cores; siblings are n and n + 8. */
static struct cpu_thread threads[2][8];
static struct cpu_node nodes[2];
static const struct cpu_topology two_nodes = {nodes, 2};

static int make_topology(void **state)
{
	(void)state;
	for (int n = 0; n < 2; n++) {
		for (int i = 0; i < 8; i++)
			threads[n][i] = (struct cpu_thread){
			        .id = n * 4 + i % 4 + i / 4 * 8, .core = n * 4 + i % 4};
		nodes[n] = (struct cpu_node){n, 8 * GIB, threads[n], 8};
	}
	return 0;
}

static struct cpu_layout choose(struct cpu_layout_request request)
{
	struct cpu_layout layout;
	struct err e = {0};
	if (cpu_layout_choose(&two_nodes, &request, &layout, &e) < 0)
		fail_msg("%s", e.message);
	return layout;
}

static void follow(const char *dedicated, struct cpu_layout *layout)
{
	struct cpu_set owned;
	assert_true(cpu_set_parse(dedicated, &owned));
	cpu_layout_follow(&two_nodes, &owned, layout);
}

static void test_who_owns_no_cpus_follows_those_who_do(void **state)
{
	(void)state;
	struct cpu_layout near =
	        choose((struct cpu_layout_request){.pinning = CPU_PINNING_AUTO, .vcpus = 4});
	follow("0-1", &near);
	assert_string_equal(text_of(&near.cpus), "2-3,8-11");
	assert_string_equal(text_of(&near.emulator), "2-3,8-11");
	assert_string_equal(text_of(&near.nodes), "0");
	follow("0-3,8-11", &near); /* nothing of its node is left */
	assert_string_equal(text_of(&near.cpus), "4-7,12-15");
	assert_string_equal(text_of(&near.nodes), "0"); /* where its memory is */
	follow("", &near);
	assert_string_equal(text_of(&near.cpus), "0-3,8-11");

	struct cpu_layout any = {.is_pinned = false};
	follow("", &any);
	assert_false(any.is_pinned);
	follow("0,8", &any);
	assert_true(any.is_pinned);
	assert_string_equal(text_of(&any.cpus), "1-7,9-15");
	follow("", &any); /* it has to be told */
	assert_true(any.is_pinned);
	assert_string_equal(text_of(&any.cpus), "0-15");

	struct cpu_layout own =
	        choose((struct cpu_layout_request){.pinning = CPU_PINNING_DEDICATED, .vcpus = 2});
	assert_string_equal(text_of(&own.cpus), "0,8");
	follow("1,9", &own);
	assert_string_equal(text_of(&own.cpus), "0,8");
	assert_string_equal(text_of(&own.emulator), "2-7,10-15");
}

static void test_auto_takes_one_node_if_it_fits(void **state)
{
	(void)state;
	struct cpu_layout_request request = {.pinning = CPU_PINNING_AUTO, .vcpus = 8};
	struct cpu_layout layout = choose(request);
	assert_true(layout.is_pinned);
	assert_string_equal(text_of(&layout.nodes), "0");
	assert_string_equal(text_of(&layout.cpus), "0-3,8-11");
	assert_true(cpu_set_parse("0-1", &request.dedicated));
	layout = choose(request);
	assert_string_equal(text_of(&layout.nodes), "1");
	int64_t held[] = {0, 7 * GIB}; /* the node with memory comes first */
	request = (struct cpu_layout_request){.pinning = CPU_PINNING_AUTO,
	        .vcpus = 2,
	        .memory_bytes = 2 * GIB,
	        .node_memory = held};
	assert_true(cpu_set_parse("0-1", &request.dedicated));
	layout = choose(request);
	assert_string_equal(text_of(&layout.nodes), "0");
	assert_string_equal(text_of(&layout.cpus), "2-3,8-11");
}

static void test_auto_takes_more_nodes_only_if_it_must(void **state)
{
	(void)state;
	struct cpu_layout_request request = {.pinning = CPU_PINNING_AUTO, .vcpus = 9};
	struct cpu_layout layout = choose(request);
	assert_string_equal(text_of(&layout.nodes), "0-1");
	request.vcpus = 40; /* more than there are: over all of them */
	layout = choose(request);
	assert_string_equal(text_of(&layout.cpus), "0-15");
}

static void test_dedicated_takes_whole_cores_and_leaves_the_emulator_apart(void **state)
{
	(void)state;
	struct cpu_layout_request request = {.pinning = CPU_PINNING_DEDICATED, .vcpus = 4};
	assert_true(cpu_set_parse("0", &request.dedicated)); /* half of a core is gone */
	struct cpu_layout layout = choose(request);
	assert_string_equal(text_of(&layout.nodes), "1");
	assert_string_equal(text_of(&layout.cpus), "4-5,12-13");
	static const int order[] = {4, 12, 5, 13}; /* siblings side by side */
	for (int i = 0; i < 4; i++)
		assert_int_equal(layout.vcpu_cpu[i], order[i]);
	assert_string_equal(text_of(&layout.emulator), "1-3,6-11,14-15");
	cpu_set_merge(&request.dedicated, &layout.cpus);
	layout = choose(request);
	assert_string_equal(text_of(&layout.nodes), "0");
	assert_string_equal(text_of(&layout.cpus), "1-2,9-10");
}

static void test_an_odd_vcpu_uses_a_broken_core_first(void **state)
{
	(void)state;
	struct cpu_layout_request request = {.pinning = CPU_PINNING_DEDICATED, .vcpus = 3};
	assert_true(cpu_set_parse("0,4", &request.dedicated));
	struct cpu_layout layout = choose(request);
	assert_string_equal(text_of(&layout.cpus), "1,8-9"); /* the sibling of 0 */
}

static void test_dedicated_cpus_are_never_shared_nor_all_of_them(void **state)
{
	(void)state;
	struct cpu_layout_request request = {.pinning = CPU_PINNING_DEDICATED, .vcpus = 15};
	struct cpu_layout layout = choose(request);
	assert_int_equal(cpu_set_count(&layout.cpus), 15);
	assert_int_equal(cpu_set_count(&layout.emulator), 1);
	struct err e = {0};
	request.vcpus = 16;
	assert_int_equal(cpu_layout_choose(&two_nodes, &request, &layout, &e), ERR_UNPROCESSABLE);
	request.vcpus = 10;
	assert_true(cpu_set_parse("0-5", &request.dedicated));
	assert_int_equal(cpu_layout_choose(&two_nodes, &request, &layout, &e), ERR_NO_CAPACITY);
	assert_non_null(strstr(e.numbers, "\"free_vcpus\":9"));
}

static void test_without_a_topology_nothing_is_pinned(void **state)
{
	(void)state;
	struct cpu_topology unknown = {0};
	struct cpu_layout_request request = {.pinning = CPU_PINNING_AUTO, .vcpus = 2};
	struct cpu_layout layout;
	assert_int_equal(cpu_layout_choose(&unknown, &request, &layout, NULL), 0);
	assert_false(layout.is_pinned);
	request.pinning = CPU_PINNING_DEDICATED;
	assert_true(cpu_layout_choose(&unknown, &request, &layout, NULL) < 0);
}

static void test_random_owners_never_overlap(void **state)
{
	(void)state;
	for (int round = 0; round < 500; round++) {
		struct cpu_set taken = {{0}};
		random_seed((uint64_t)round);
		for (int i = 0; i < 8; i++) {
			struct cpu_layout_request request = {.pinning = CPU_PINNING_DEDICATED,
			        .vcpus = 1 + random_below(6),
			        .dedicated = taken};
			struct cpu_layout layout;
			int before = cpu_set_count(&taken);
			if (cpu_layout_choose(&two_nodes, &request, &layout, NULL) < 0) {
				assert_true(request.vcpus > 15 - before);
				continue;
			}
			cpu_set_merge(&taken, &layout.cpus);
			assert_int_equal(cpu_set_count(&taken), before + request.vcpus);
			cpu_set_subtract(&layout.emulator, &taken);
			assert_int_equal(
			        cpu_set_count(&layout.emulator), 16 - cpu_set_count(&taken));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_who_owns_no_cpus_follows_those_who_do),
	        cmocka_unit_test(test_auto_takes_one_node_if_it_fits),
	        cmocka_unit_test(test_auto_takes_more_nodes_only_if_it_must),
	        cmocka_unit_test(test_dedicated_takes_whole_cores_and_leaves_the_emulator_apart),
	        cmocka_unit_test(test_an_odd_vcpu_uses_a_broken_core_first),
	        cmocka_unit_test(test_dedicated_cpus_are_never_shared_nor_all_of_them),
	        cmocka_unit_test(test_without_a_topology_nothing_is_pinned),
	        cmocka_unit_test(test_random_owners_never_overlap),
	};
	return cmocka_run_group_tests(tests, make_topology, NULL);
}

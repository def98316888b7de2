/* SPDX-License-Identifier: Apache-2.0 */
/* Which jobs may run together on one VM: the table, and that the kinds of operations keep to it. */
#include "compute/vm_jobs.h"

#include "compute/snapshot.h"
#include "compute/vm.h"
#include "operation/operation_internal.h"
#include "tests/unit/operation/world.h"

static void test_two_jobs_agree_whether_they_run_together(void **state)
{
	(void)state;
	for (int i = 0; i < VM_JOBS; i++)
		for (int j = 0; j < VM_JOBS; j++) {
			const struct vm_job_rule *a = &vm_job_rules[i], *b = &vm_job_rules[j];
			if (!(a->beside & b->job) != !(b->beside & a->job))
				fail_msg("%s and %s do not agree", a->name, b->name);
		}
}

static void test_only_power_runs_beside_long_disk_work(void **state)
{
	(void)state;
	unsigned all = 0;
	for (int i = 0; i < VM_JOBS; i++) {
		const struct vm_job_rule *rule = &vm_job_rules[i];
		assert_int_equal(rule->job, 1u << i);
		assert_true(strlen(rule->why) > 20);
		bool runs = rule->beside & (VM_JOB_BLOCK | VM_JOB_MERGE);
		assert_int_equal(runs, rule->job == VM_JOB_POWER);
		all |= rule->job;
	}
	assert_int_equal(all, (1u << VM_JOBS) - 1);
}

static bool is_without_power(const char *kind)
{
	for (const char *const *name = vm_jobs_without_power; *name; name++)
		if (strcmp(*name, kind) == 0)
			return true;
	return false;
}

static const struct vm_job_rule *find_rule(unsigned job)
{
	for (int i = 0; i < VM_JOBS; i++)
		if (vm_job_rules[i].job == job)
			return &vm_job_rules[i];
	return NULL;
}

static void test_every_kind_of_work_on_a_vm_keeps_to_the_table(void **state)
{
	struct world *w = *state;
	vm_register_kinds(w->engine);
	snapshot_register_kinds(w->engine);
	size_t cursor = 0, n = 0;
	void *value;
	while (map_next(w->engine->kinds, &cursor, NULL, &value)) {
		const struct operation_kind *kind = value;
		if (strncmp(kind->name, "vm.", 3) != 0 && strncmp(kind->name, "snapshot.", 9) != 0)
			continue;
		const struct vm_job_rule *rule = find_rule(kind->job);
		if (!rule || rule->beside != kind->beside)
			fail_msg("%s is not in the table", kind->name);
		if (is_without_power(kind->name) !=
		        ((kind->job & (VM_JOB_BLOCK | VM_JOB_MERGE)) != 0))
			fail_msg("%s and vm_jobs_without_power do not agree", kind->name);
		n++;
	}
	assert_true(n >= 12);
}

static void noop(struct operation *op)
{
	world_call(op, "a");
}

static const struct operation_step hold_steps[] = {{.name = "a", .run = noop}};
static const struct operation_kind merge_kind = {
        .name = "snapshot.delete", .steps = hold_steps, .n_steps = 1, VM_JOB(MERGE)};
static const struct operation_kind stop_kind = {
        .name = "vm.stop", .steps = hold_steps, .n_steps = 1, VM_JOB(POWER)};
static const struct operation_kind start_kind = {
        .name = "vm.start", .steps = hold_steps, .n_steps = 1, VM_JOB(START)};

static void test_stop_passes_a_merge_and_start_waits_for_it(void **state)
{
	struct world *w = *state;
	char merge[UUID_TEXT_SIZE], stop[UUID_TEXT_SIZE], start[UUID_TEXT_SIZE], kind[64];
	char busy[UUID_TEXT_SIZE];
	struct err e;
	operation_engine_register(w->engine, &merge_kind);
	operation_engine_register(w->engine, &stop_kind);
	operation_engine_register(w->engine, &start_kind);
	world_hold(w, "x/run a");
	world_create(w, "snapshot.delete", "x", merge);
	world_wait_held(w, "x/run a");
	world_check(vm_jobs_find_busy(w->db, "x", busy, kind, &e), &e);
	assert_string_equal(busy, "");
	world_script(w, "x/run a")->hold = false;
	world_create(w, "vm.stop", "x", stop);
	world_wait_end(w, stop, OPERATION_SUCCEEDED);
	world_create(w, "vm.start", "x", start);
	world_drain(w);
	world_assert_state(w, start, OPERATION_QUEUED);
	world_check(vm_jobs_find_busy(w->db, "x", busy, kind, &e), &e);
	assert_string_equal(busy, start);
	assert_string_equal(kind, "vm.start");
	world_release(w, "x/run a");
	world_wait_end(w, start, OPERATION_SUCCEEDED);
	world_assert_state(w, merge, OPERATION_SUCCEEDED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
	        cmocka_unit_test(test_two_jobs_agree_whether_they_run_together),
	        cmocka_unit_test(test_only_power_runs_beside_long_disk_work),
	        TEST(test_every_kind_of_work_on_a_vm_keeps_to_the_table),
	        TEST(test_stop_passes_a_merge_and_start_waits_for_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Growing over the fake driver: whose QEMU does it, what follows in the rows, what is refused. */
#include "tests/unit/storage/volume_world.h"

static int resize(struct volume_world *v, const char *id, int64_t size_bytes, struct world_job *job)
{
	*job = (struct world_job){.id = id, .size_bytes = size_bytes};
	return world_run(v, world_resize_job, job);
}

static int64_t recorded(struct volume_world *v)
{
	return fixture_int(v->base, "SELECT volume.size_bytes FROM volume JOIN layer ON layer.id = "
	                            "volume.layer_id AND layer.size_bytes = volume.size_bytes");
}

static void test_free_volume_grows_in_a_carrier(void **state)
{
	struct volume_world *v = *state;
	struct world_job job;
	char id[UUID_TEXT_SIZE];
	world_make(v, "data", "raw", id);
	assert_int_equal(resize(v, id, 128 * MIB, &job), 0);
	world_assert_ends(v, job.operation, "succeeded");
	assert_int_equal(world_file_bytes(v, id, "raw"), 128 * MIB);
	assert_int_equal(recorded(v), 128 * MIB);
	assert_int_equal(fake_host_count_calls("h1", "create_transient"), 1);
	assert_int_equal(world_count_domains(v), 0);
}

static int hooked; /* writer thread, read when the operation has ended */

static int on_resized(struct db *db, const char *vm_id, const char *disk, int64_t size_bytes,
        void *arg, struct err *e)
{
	(void)e;
	assert_ptr_equal(arg, &hooked);
	assert_non_null(db);
	hooked += strcmp(vm_id, WORLD_VM) == 0 && strcmp(disk, "root") == 0 &&
	          size_bytes == 128 * MIB;
	return 0;
}

static void test_running_vm_grows_its_disk_itself_and_its_configuration_follows(void **state)
{
	struct volume_world *v = *state;
	struct world_job job;
	char id[UUID_TEXT_SIZE];
	world_make(v, "data", "qcow2", id);
	world_attach(v, id);
	world_start_vm(v, id, "qcow2");
	hooked = 0;
	volume_set_resized_hook(on_resized, &hooked);
	assert_int_equal(resize(v, id, 128 * MIB, &job), 0);
	world_assert_ends(v, job.operation, "succeeded");
	volume_set_resized_hook(NULL, NULL);
	assert_int_equal(hooked, 1);
	assert_int_equal(world_file_bytes(v, id, "qcow2"), 128 * MIB);
	assert_int_equal(recorded(v), 128 * MIB);
	assert_int_equal(fake_host_count_calls("h1", "create_transient"), 0);
	assert_true(fixture_is(
	        v->base, "SELECT queue FROM operation WHERE kind = 'volume.resize'", WORLD_VM));
}

static void test_stopped_vms_disk_grows_in_a_carrier(void **state)
{
	struct volume_world *v = *state;
	struct world_job job;
	char id[UUID_TEXT_SIZE];
	world_make(v, "data", "qcow2", id);
	world_attach(v, id);
	assert_int_equal(resize(v, id, 128 * MIB, &job), 0);
	world_assert_ends(v, job.operation, "succeeded");
	assert_int_equal(fake_host_count_calls("h1", "create_transient"), 1);
	assert_int_equal(world_file_bytes(v, id, "qcow2"), 128 * MIB);
}

static void test_shrinking_and_odd_sizes_are_refused_with_numbers(void **state)
{
	struct volume_world *v = *state;
	struct world_job job;
	char id[UUID_TEXT_SIZE];
	world_make(v, "data", "qcow2", id);
	assert_int_equal(resize(v, id, 32 * MIB, &job), ERR_INVALID);
	assert_non_null(strstr(v->base->e.message, "cannot shrink"));
	assert_non_null(strstr(v->base->e.numbers, "33554432"));
	assert_int_equal(resize(v, id, 64 * MIB + 1, &job), ERR_INVALID);
	assert_int_equal(recorded(v), 64 * MIB);
}

static void test_volume_at_work_is_not_resized(void **state)
{
	struct volume_world *v = *state;
	struct world_job first, second;
	char id[UUID_TEXT_SIZE];
	world_make(v, "data", "qcow2", id);
	fake_host_hang("h1");
	assert_int_equal(resize(v, id, 128 * MIB, &first), 0);
	assert_int_equal(resize(v, id, 256 * MIB, &second), ERR_BUSY);
	assert_non_null(strstr(v->base->e.message, first.operation));
	fake_host_release("h1");
	world_assert_ends(v, first.operation, "succeeded");
}

/* Work on a VM's disk waits in the VM's queue, so that a smaller size may come after a larger one. */
static void test_queued_resize_never_shrinks_what_an_earlier_one_grew(void **state)
{
	struct volume_world *v = *state;
	struct world_job first, second;
	char id[UUID_TEXT_SIZE];
	world_make(v, "data", "qcow2", id);
	world_attach(v, id);
	fake_host_hang("h1");
	assert_int_equal(resize(v, id, 256 * MIB, &first), 0);
	assert_int_equal(resize(v, id, 128 * MIB, &second), 0);
	fake_host_release("h1");
	world_assert_ends(v, first.operation, "succeeded");
	world_assert_ends(v, second.operation, "failed");
	world_assert_error(v, second.operation, "cannot shrink");
	assert_int_equal(world_file_bytes(v, id, "qcow2"), 256 * MIB);
	assert_int_equal(recorded(v), 256 * MIB);
}

static void test_failure_leaves_size_and_no_carrier(void **state)
{
	struct volume_world *v = *state;
	static const char *const calls[] = {"volume_get", "create_transient", "block_resize"};
	char id[UUID_TEXT_SIZE];
	world_make(v, "data", "qcow2", id);
	for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
		struct fake_behaviour fail = {.error_code = ERR_DISK_FULL};
		struct world_job job;
		fake_script_set("h1", calls[i], NULL, &fail);
		assert_int_equal(resize(v, id, 128 * MIB, &job), 0);
		world_assert_ends(v, job.operation, "failed");
		world_assert_error(v, job.operation, "disk_full");
		fake_script_clear("h1");
		assert_int_equal(recorded(v), 64 * MIB);
		assert_int_equal(world_count_domains(v), 0);
	}
}

/* Killed after QEMU had grown the file and before that was recorded. */
static void test_step_that_runs_again_finds_the_file_grown(void **state)
{
	struct volume_world *v = *state;
	struct world_job job;
	char id[UUID_TEXT_SIZE];
	world_make(v, "data", "qcow2", id);
	assert_int_equal(resize(v, id, 128 * MIB, &job), 0);
	world_assert_ends(v, job.operation, "succeeded");
	fixture_exec(v->base, "UPDATE volume SET size_bytes = 67108864");
	fixture_exec(v->base, "UPDATE layer SET size_bytes = 67108864");
	assert_int_equal(resize(v, id, 128 * MIB, &job), 0);
	world_assert_ends(v, job.operation, "succeeded");
	assert_int_equal(recorded(v), 128 * MIB);
}

static void test_drifted_file_is_not_resized(void **state)
{
	struct volume_world *v = *state;
	struct world_job job;
	char id[UUID_TEXT_SIZE];
	world_make(v, "data", "qcow2", id);
	fixture_exec(v->base, "UPDATE volume SET size_bytes = 33554432");
	fixture_exec(v->base, "UPDATE layer SET size_bytes = 33554432");
	assert_int_equal(resize(v, id, 128 * MIB, &job), 0);
	world_assert_ends(v, job.operation, "failed");
	world_assert_error(v, job.operation, "not as recorded");
	assert_int_equal(world_file_bytes(v, id, "qcow2"), 64 * MIB);
}

static void test_resizes_side_by_side_do_not_overshoot_the_quota(void **state)
{
	struct volume_world *v = *state;
	struct fake_behaviour hang = {.hang = true};
	struct world_job first, second;
	char a[UUID_TEXT_SIZE], b[UUID_TEXT_SIZE];
	world_make(v, "a", "raw", a);
	world_make(v, "b", "raw", b);
	fixture_exec(v->base, "UPDATE pool SET spec = '{\"quota_bytes\":201326592}'"); /* 192 MiB */
	fake_script_set("h1", "create_transient", NULL, &hang);
	assert_int_equal(resize(v, a, 128 * MIB, &first), 0);
	assert_int_equal(resize(v, b, 65 * MIB, &second), ERR_DISK_FULL);
	assert_non_null(strstr(v->base->e.numbers, "\"provisioned_bytes\":201326592"));
	fake_script_clear("h1");
	world_assert_ends(v, first.operation, "succeeded");
	assert_int_equal(resize(v, b, 65 * MIB, &second), ERR_DISK_FULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        WORLD_TEST(test_resizes_side_by_side_do_not_overshoot_the_quota),
	        WORLD_TEST(test_free_volume_grows_in_a_carrier),
	        WORLD_TEST(test_running_vm_grows_its_disk_itself_and_its_configuration_follows),
	        WORLD_TEST(test_stopped_vms_disk_grows_in_a_carrier),
	        WORLD_TEST(test_shrinking_and_odd_sizes_are_refused_with_numbers),
	        WORLD_TEST(test_volume_at_work_is_not_resized),
	        WORLD_TEST(test_queued_resize_never_shrinks_what_an_earlier_one_grew),
	        WORLD_TEST(test_failure_leaves_size_and_no_carrier),
	        WORLD_TEST(test_step_that_runs_again_finds_the_file_grown),
	        WORLD_TEST(test_drifted_file_is_not_resized),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

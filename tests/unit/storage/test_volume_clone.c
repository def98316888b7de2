/* SPDX-License-Identifier: Apache-2.0 */
/* Clones over the fake driver: what is made, what is refused by name, and that nothing is left of one that fails. */
#include "tests/unit/storage/volume_world.h"

static int start_clone(struct volume_world *v, const char *id, enum volume_clone_mode mode,
        const char *name, struct world_job *job)
{
	*job = (struct world_job){.id = id, .clone = {.name = name, .mode = mode}};
	return world_run(v, world_clone_job, job);
}

static void assert_made(struct volume_world *v, struct world_job *job)
{
	if (v->base->e.code)
		fail_msg("%s", v->base->e.message);
	world_assert_ends(v, job->operation, "succeeded");
}

static bool stands_on(struct volume_world *v, const char *id, const char *backing_id)
{
	char *sql CLEANUP(cleanup_free) =
	        str_format("SELECT coalesce(backing_id, '') FROM layer WHERE id = '%s'", id);
	return fixture_is(v->base, sql, backing_id);
}

/* ---- full ---- */

static void test_full_clone_is_a_volume_of_its_own(void **state)
{
	struct volume_world *v = *state;
	struct world_job job;
	char source[UUID_TEXT_SIZE];
	world_make(v, "data", "raw", source);
	assert_int_equal(start_clone(v, source, VOLUME_CLONE_FULL, "copy", &job), 0);
	assert_true(stands_on(v, job.made, source)); /* so that it stays as it is meanwhile */
	assert_made(v, &job);
	assert_true(stands_on(v, job.made, ""));
	struct volume_info info CLEANUP(volume_info_done) = {0};
	assert_int_equal(world_get_file(v, job.made, "raw", &info), 0);
	assert_null(info.backing_path);
	assert_int_equal(info.capacity_bytes, 64 * MIB);
	assert_int_equal(world_count_domains(v), 0);
	assert_int_equal(fake_host_count_calls("h1", "block_copy"), 1);
}

static void test_full_clone_may_be_larger_and_of_another_format(void **state)
{
	struct volume_world *v = *state;
	char source[UUID_TEXT_SIZE];
	world_make(v, "data", "raw", source);
	struct world_job job = {.id = source,
	        .clone = {.name = "copy",
	                .mode = VOLUME_CLONE_FULL,
	                .format = "qcow2",
	                .size_bytes = 96 * MIB}};
	assert_int_equal(world_run(v, world_clone_job, &job), 0);
	assert_made(v, &job);
	assert_int_equal(world_file_bytes(v, job.made, "qcow2"), 96 * MIB);
	assert_int_equal(world_file_bytes(v, source, "raw"), 64 * MIB);
	assert_int_equal(world_count_domains(v), 0);
}

static void test_source_is_not_touched_while_it_is_copied(void **state)
{
	struct volume_world *v = *state;
	struct world_job job, other = {0};
	char source[UUID_TEXT_SIZE];
	world_make(v, "data", "qcow2", source);
	fake_jobs_set_step("h1", 0);
	assert_int_equal(start_clone(v, source, VOLUME_CLONE_FULL, "copy", &job), 0);
	assert_true(TURN_UNTIL(v->base->loop, fake_host_count_calls("h1", "block_copy") == 1));
	other.id = source;
	other.size_bytes = 128 * MIB;
	assert_int_equal(world_run(v, world_delete_job, &other), ERR_IN_USE);
	assert_non_null(strstr(v->base->e.message, "copy"));
	assert_int_equal(world_run(v, world_resize_job, &other), ERR_IN_USE);
	assert_int_equal(world_run(v, world_wipe_job, &other), ERR_IN_USE);
	other.id = job.made;
	assert_int_equal(world_run(v, world_delete_job, &other), ERR_BUSY);
	fake_jobs_set_step("h1", 50);
	world_assert_ends(v, job.operation, "succeeded");
	other.id = source;
	assert_int_equal(world_run(v, world_delete_job, &other), 0);
	world_assert_ends(v, other.operation, "succeeded");
}

static void test_two_clones_of_one_source_are_made_side_by_side(void **state)
{
	struct volume_world *v = *state;
	struct world_job first, second;
	char source[UUID_TEXT_SIZE];
	world_make(v, "data", "qcow2", source);
	fake_jobs_set_step("h1", 0);
	assert_int_equal(start_clone(v, source, VOLUME_CLONE_FULL, "one", &first), 0);
	assert_int_equal(start_clone(v, source, VOLUME_CLONE_FULL, "two", &second), 0);
	assert_true(TURN_UNTIL(v->base->loop, fake_host_count_calls("h1", "block_copy") == 2));
	fake_jobs_set_step("h1", 50);
	world_assert_ends(v, first.operation, "succeeded");
	world_assert_ends(v, second.operation, "succeeded");
}

/* ---- linked ---- */

static void test_linked_clone_stands_on_its_source_and_guards_it(void **state)
{
	struct volume_world *v = *state;
	struct world_job job, other = {0};
	char source[UUID_TEXT_SIZE];
	world_make(v, "data", "raw", source);
	assert_int_equal(start_clone(v, source, VOLUME_CLONE_LINKED, "leaf", &job), 0);
	assert_made(v, &job);
	assert_true(stands_on(v, job.made, source));
	struct volume_info info CLEANUP(volume_info_done) = {0};
	assert_int_equal(world_get_file(v, job.made, "qcow2", &info), 0);
	char *below CLEANUP(cleanup_free) = str_format("/pool/%s.raw", source);
	assert_string_equal(info.backing_path, below);
	other.id = source;
	other.size_bytes = 128 * MIB;
	int (*const verbs[])(struct db *, void *, struct err *) = {
	        world_delete_job, world_resize_job, world_wipe_job};
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
		assert_int_equal(world_run(v, verbs[i], &other), ERR_IN_USE);
		assert_non_null(strstr(v->base->e.message, "leaf"));
	}
	other.id = job.made;
	assert_int_equal(world_run(v, world_delete_job, &other), 0);
	world_assert_ends(v, other.operation, "succeeded");
	other.id = source;
	assert_int_equal(world_run(v, world_delete_job, &other), 0);
	world_assert_ends(v, other.operation, "succeeded");
	assert_int_equal(world_count_files(v), 0);
	assert_int_equal(world_count_rows(v), 0);
}

static void test_chain_of_linked_clones_ends_at_the_limit(void **state)
{
	struct volume_world *v = *state;
	struct world_job job;
	char source[UUID_TEXT_SIZE];
	world_make(v, "data", "qcow2", source);
	layer_set_max_chain_depth(3);
	assert_int_equal(start_clone(v, source, VOLUME_CLONE_LINKED, "two", &job), 0);
	assert_made(v, &job);
	memcpy(source, job.made, sizeof(source));
	assert_int_equal(start_clone(v, source, VOLUME_CLONE_LINKED, "three", &job), 0);
	assert_made(v, &job);
	memcpy(source, job.made, sizeof(source));
	int rc = start_clone(v, source, VOLUME_CLONE_LINKED, "four", &job);
	layer_set_max_chain_depth(16);
	assert_int_equal(rc, ERR_LIMIT);
	assert_string_equal(v->base->e.numbers, "{\"layers\":3,\"limit\":3}");
	assert_int_equal(start_clone(v, source, VOLUME_CLONE_FULL, "flat", &job), 0);
	assert_made(v, &job);
}

/* ---- refusals ---- */

static void test_what_cannot_be_is_refused_with_its_reason(void **state)
{
	struct volume_world *v = *state;
	char source[UUID_TEXT_SIZE];
	world_make(v, "data", "qcow2", source);
	struct world_job small = {.id = source, .clone = {.name = "x", .size_bytes = MIB}};
	assert_int_equal(world_run(v, world_clone_job, &small), ERR_INVALID);
	assert_string_equal(v->base->e.pointer, "/size_bytes");
	struct world_job raw = {
	        .id = source, .clone = {.name = "x", .mode = VOLUME_CLONE_LINKED, .format = "raw"}};
	assert_int_equal(world_run(v, world_clone_job, &raw), ERR_INVALID);
	assert_string_equal(v->base->e.pointer, "/format");
	struct world_job elsewhere = {.id = source, .clone = {.name = "x", .pool = "nowhere"}};
	assert_int_equal(world_run(v, world_clone_job, &elsewhere), ERR_REFERENCE);
	struct world_job taken = {.id = source, .clone = {.name = "data"}};
	assert_int_equal(world_run(v, world_clone_job, &taken), ERR_EXISTS);
	assert_int_equal(world_count_rows(v), 101);
}

static void test_disk_of_a_running_vm_is_not_cloned(void **state)
{
	struct volume_world *v = *state;
	struct world_job job;
	char source[UUID_TEXT_SIZE];
	world_make(v, "data", "qcow2", source);
	world_attach(v, source);
	assert_int_equal(start_clone(v, source, VOLUME_CLONE_LINKED, "leaf", &job), ERR_IN_USE);
	assert_non_null(strstr(v->base->e.message, "VM web"));
	world_start_vm(v, source, "qcow2");
	assert_int_equal(start_clone(v, source, VOLUME_CLONE_FULL, "copy", &job), ERR_IN_USE);
	assert_non_null(strstr(v->base->e.hint, "snapshot"));
	/* Someone started it behind our back: seen when the step looks. */
	fixture_exec(v->base, "UPDATE vm SET power = 'stopped'");
	assert_int_equal(start_clone(v, source, VOLUME_CLONE_FULL, "copy", &job), 0);
	world_assert_ends(v, job.operation, "failed");
	world_assert_error(v, job.operation, "running");
	assert_int_equal(world_count_files(v), 1);
}

static void test_clone_of_a_stopped_vms_disk_stands_in_that_vms_queue(void **state)
{
	struct volume_world *v = *state;
	struct world_job job, second;
	char source[UUID_TEXT_SIZE];
	world_make(v, "data", "qcow2", source);
	world_attach(v, source);
	assert_int_equal(start_clone(v, source, VOLUME_CLONE_FULL, "copy", &job), 0);
	assert_true(fixture_is(
	        v->base, "SELECT queue FROM operation WHERE kind = 'volume.clone'", WORLD_VM));
	assert_int_equal(start_clone(v, source, VOLUME_CLONE_FULL, "more", &second), ERR_BUSY);
	world_assert_ends(v, job.operation, "succeeded");
}

static void test_drift_of_the_source_is_found_before_anything_is_made(void **state)
{
	struct volume_world *v = *state;
	struct world_job job;
	char source[UUID_TEXT_SIZE];
	world_make(v, "data", "qcow2", source);
	char *file CLEANUP(cleanup_free) = str_format("%s.qcow2", source);
	fake_volume_foreign_remove("h1", "berth-default", file);
	assert_int_equal(start_clone(v, source, VOLUME_CLONE_FULL, "copy", &job), 0);
	world_assert_ends(v, job.operation, "failed");
	world_assert_error(v, job.operation, "not as recorded");
	assert_int_equal(world_count_files(v), 0);
	assert_int_equal(world_count_rows(v), 101);
}

/* ---- failures ---- */

/* Each call that a full clone makes fails once: all is undone. */
static void test_failure_of_any_call_leaves_nothing(void **state)
{
	struct volume_world *v = *state;
	static const char *const calls[] = {"volume_get", "volume_create", "create_transient",
	        "block_copy", "block_job_get", "block_job_end", "block_resize"};
	char source[UUID_TEXT_SIZE];
	world_make(v, "data", "qcow2", source);
	for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
		struct fake_behaviour fail = {.error_code = ERR_HYPERVISOR, .message = "scripted"};
		struct world_job job = {
		        .id = source, .clone = {.name = "copy", .size_bytes = 96 * MIB}};
		fake_script_set("h1", calls[i], NULL, &fail);
		assert_int_equal(world_run(v, world_clone_job, &job), 0);
		world_assert_ends(v, job.operation, "failed");
		world_assert_error(v, job.operation, "scripted");
		fake_script_clear("h1");
		assert_int_equal(world_count_files(v), 1);
		assert_int_equal(world_count_domains(v), 0);
		assert_int_equal(world_count_rows(v), 101);
	}
}

static void test_undo_is_repeated_until_carrier_and_file_are_gone(void **state)
{
	struct volume_world *v = *state;
	struct fake_behaviour fail = {.error_code = ERR_HYPERVISOR};
	struct fake_behaviour fail_thrice = {.error_code = ERR_HYPERVISOR, .count = 3};
	struct world_job job;
	char source[UUID_TEXT_SIZE];
	world_make(v, "data", "qcow2", source);
	fake_script_set("h1", "block_copy", NULL, &fail);
	fake_script_set("h1", "destroy", NULL, &fail_thrice);
	fake_script_set("h1", "volume_delete", NULL, &fail_thrice);
	assert_int_equal(start_clone(v, source, VOLUME_CLONE_FULL, "copy", &job), 0);
	world_assert_ends(v, job.operation, "failed");
	assert_int_equal(world_count_files(v), 1);
	assert_int_equal(world_count_domains(v), 0);
}

static int cancel_job(struct db *db, void *arg, struct err *e)
{
	struct world_job *job = arg;
	return operation_cancel(db, job->v->base->engine, job->operation, e);
}

static void test_cancelled_copy_ends_soon_and_leaves_nothing(void **state)
{
	struct volume_world *v = *state;
	struct world_job job;
	char source[UUID_TEXT_SIZE];
	world_make(v, "data", "qcow2", source);
	fake_jobs_set_step("h1", 0);
	assert_int_equal(start_clone(v, source, VOLUME_CLONE_FULL, "copy", &job), 0);
	assert_true(TURN_UNTIL(v->base->loop, fake_host_count_calls("h1", "block_job_get") > 2));
	assert_int_equal(world_run(v, cancel_job, &job), 0);
	world_assert_ends(v, job.operation, "cancelled");
	assert_int_equal(world_count_files(v), 1);
	assert_int_equal(world_count_domains(v), 0);
	assert_int_equal(world_count_rows(v), 101);
}

static void test_copy_goes_on_after_a_restart(void **state)
{
	struct volume_world *v = *state;
	struct world_job job;
	char source[UUID_TEXT_SIZE];
	world_make(v, "data", "qcow2", source);
	fake_jobs_set_step("h1", 0);
	assert_int_equal(start_clone(v, source, VOLUME_CLONE_FULL, "copy", &job), 0);
	assert_true(TURN_UNTIL(v->base->loop, fake_host_count_calls("h1", "block_job_get") > 2));
	world_restart(v);
	fake_jobs_set_step("h1", 50);
	world_assert_ends(v, job.operation, "succeeded");
	assert_int_equal(fake_host_count_calls("h1", "block_copy"), 1);
	assert_int_equal(world_count_domains(v), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        WORLD_TEST(test_full_clone_is_a_volume_of_its_own),
	        WORLD_TEST(test_full_clone_may_be_larger_and_of_another_format),
	        WORLD_TEST(test_source_is_not_touched_while_it_is_copied),
	        WORLD_TEST(test_two_clones_of_one_source_are_made_side_by_side),
	        WORLD_TEST(test_linked_clone_stands_on_its_source_and_guards_it),
	        WORLD_TEST(test_chain_of_linked_clones_ends_at_the_limit),
	        WORLD_TEST(test_what_cannot_be_is_refused_with_its_reason),
	        WORLD_TEST(test_disk_of_a_running_vm_is_not_cloned),
	        WORLD_TEST(test_clone_of_a_stopped_vms_disk_stands_in_that_vms_queue),
	        WORLD_TEST(test_drift_of_the_source_is_found_before_anything_is_made),
	        WORLD_TEST(test_failure_of_any_call_leaves_nothing),
	        WORLD_TEST(test_undo_is_repeated_until_carrier_and_file_are_gone),
	        WORLD_TEST(test_cancelled_copy_ends_soon_and_leaves_nothing),
	        WORLD_TEST(test_copy_goes_on_after_a_restart),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

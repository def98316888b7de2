/* SPDX-License-Identifier: Apache-2.0 */
/* Wiping over the fake driver: overwritten or made again, never what others stand on. */
#include "tests/unit/storage/volume_world.h"

static void wipe(struct volume_world *v, const char *id)
{
	struct world_job job = {.id = id};
	if (world_run(v, world_wipe_job, &job) < 0)
		fail_msg("%s", v->base->e.message);
	world_assert_ends(v, job.operation, "succeeded");
}

/* The size of the file that a volume is written to; -1: it has none. */
static int64_t written_bytes(struct volume_world *v, const char *id)
{
	char *sql CLEANUP(cleanup_free) =
	        str_format("SELECT layer_id FROM volume WHERE state = 'ready' AND id = '%s'", id);
	char *layer CLEANUP(cleanup_free) = fixture_text(v->base, sql);
	return layer ? world_file_bytes(v, layer, "qcow2") : -1;
}

static void test_raw_volume_is_overwritten_where_it_lies(void **state)
{
	struct volume_world *v = *state;
	char id[UUID_TEXT_SIZE];
	world_make(v, "data", "raw", id);
	wipe(v, id);
	assert_int_equal(fake_host_count_calls("h1", "volume_wipe"), 1);
	assert_int_equal(fake_host_count_calls("h1", "volume_delete"), 0);
}

static void test_qcow2_volume_is_made_again_with_its_size(void **state)
{
	struct volume_world *v = *state;
	char id[UUID_TEXT_SIZE];
	world_make(v, "data", "qcow2", id);
	wipe(v, id);
	assert_int_equal(fake_host_count_calls("h1", "volume_wipe"), 0);
	assert_int_equal(fake_host_count_calls("h1", "volume_delete"), 1);
	assert_int_equal(fake_host_count_calls("h1", "volume_create"), 2);
	assert_int_equal(world_file_bytes(v, id, "qcow2"), -1);
	assert_int_equal(written_bytes(v, id), 64 * MIB);
	assert_int_equal(world_count_rows(v), 101);
	assert_int_equal(world_count_files(v), 1);
}

static void test_wiped_linked_clone_stands_on_nothing_any_more(void **state)
{
	struct volume_world *v = *state;
	struct volume_info info CLEANUP(volume_info_done) = {0};
	char id[UUID_TEXT_SIZE];
	world_make(v, "data", "raw", id);
	struct world_job clone = {.id = id, .clone = {.name = "leaf", .mode = VOLUME_CLONE_LINKED}};
	assert_int_equal(world_run(v, world_clone_job, &clone), 0);
	world_assert_ends(v, clone.operation, "succeeded");
	wipe(v, clone.made);
	char *layer CLEANUP(cleanup_free) =
	        fixture_text(v->base, "SELECT layer_id FROM volume WHERE name = 'leaf'");
	assert_int_equal(world_get_file(v, layer, "qcow2", &info), 0);
	assert_null(info.backing_path);
	assert_int_equal(fixture_int(v->base, "SELECT count(backing_id) FROM layer"), 0);
	assert_int_equal(world_file_bytes(v, id, "raw"), 64 * MIB);
	wipe(v, id); /* free again */
}

static void test_disk_of_a_vm_is_not_wiped(void **state)
{
	struct volume_world *v = *state;
	char id[UUID_TEXT_SIZE];
	world_make(v, "data", "raw", id);
	world_attach(v, id);
	struct world_job job = {.id = id};
	assert_int_equal(world_run(v, world_wipe_job, &job), ERR_IN_USE);
	assert_non_null(strstr(v->base->e.message, "VM web"));
}

static void test_failed_wipe_is_told_and_may_be_asked_for_again(void **state)
{
	struct volume_world *v = *state;
	char id[UUID_TEXT_SIZE];
	static const char *const calls[] = {"volume_delete", "volume_create"};
	world_make(v, "data", "qcow2", id);
	for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
		struct fake_behaviour fail = {.error_code = ERR_HYPERVISOR};
		struct world_job job = {.id = id};
		fake_script_set("h1", calls[i], NULL, &fail);
		assert_int_equal(world_run(v, world_wipe_job, &job), 0);
		world_assert_ends(v, job.operation, "failed");
		fake_script_clear("h1");
		assert_int_equal(written_bytes(v, id), 64 * MIB); /* never without a file */
	}
	wipe(v, id);
	assert_int_equal(written_bytes(v, id), 64 * MIB);
	assert_int_equal(world_count_rows(v), 101);
	assert_int_equal(world_count_files(v), 1);
}

static void test_volume_has_a_file_while_its_wipe_hangs(void **state)
{
	struct volume_world *v = *state;
	char id[UUID_TEXT_SIZE];
	static const char *const calls[] = {"volume_delete", "volume_create"};
	world_make(v, "data", "qcow2", id);
	for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
		struct fake_behaviour hang = {.hang = true};
		struct world_job job = {.id = id};
		int64_t before = fake_host_count_calls("h1", calls[i]);
		fake_script_set("h1", calls[i], NULL, &hang);
		assert_int_equal(world_run(v, world_wipe_job, &job), 0);
		assert_true(
		        TURN_UNTIL(v->base->loop, fake_host_count_calls("h1", calls[i]) > before));
		assert_int_equal(written_bytes(v, id), 64 * MIB);
		fake_script_clear("h1");
		world_assert_ends(v, job.operation, "succeeded");
	}
	assert_int_equal(world_count_files(v), 1);
}

static int run_other(struct bulk_job *job, void *arg, struct err *e)
{
	(void)job, (void)arg, (void)e;
	return 0;
}

static void other_done(void *arg, int rc, const struct err *e)
{
	(void)rc, (void)e;
	*(bool *)arg = true;
}

static void test_wipes_that_hang_in_one_pool_leave_bulk_threads_to_others(void **state)
{
	struct volume_world *v = *state;
	struct host_fixture *f = v->base;
	struct world_job jobs[BULK_PER_KEY + 2] = {0};
	struct fake_behaviour hang = {.hang = true};
	bool is_done = false;
	bulk_free(f->bulk);
	f->bulk = f->services.bulk = bulk_new(f->loop, BULK_PER_KEY + 1);
	fake_script_set("h1", "volume_wipe", NULL, &hang);
	for (size_t i = 0; i < ARRAY_LEN(jobs); i++) {
		char name[16], id[UUID_TEXT_SIZE];
		snprintf(name, sizeof(name), "data%zu", i);
		world_make(v, name, "raw", id);
		jobs[i].id = id;
		assert_int_equal(world_run(v, world_wipe_job, &jobs[i]), 0);
	}
	assert_true(
	        TURN_UNTIL(f->loop, fake_host_count_calls("h1", "volume_wipe") == BULK_PER_KEY));
	const struct bulk_call other = {.run = run_other, .done = other_done, .arg = &is_done};
	bulk_submit(f->bulk, &other);
	assert_true(TURN_UNTIL(f->loop, is_done));
	assert_int_equal(fake_host_count_calls("h1", "volume_wipe"), BULK_PER_KEY);
	fake_script_clear("h1");
	for (size_t i = 0; i < ARRAY_LEN(jobs); i++)
		world_assert_ends(v, jobs[i].operation, "succeeded");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        WORLD_TEST(test_raw_volume_is_overwritten_where_it_lies),
	        WORLD_TEST(test_qcow2_volume_is_made_again_with_its_size),
	        WORLD_TEST(test_wiped_linked_clone_stands_on_nothing_any_more),
	        WORLD_TEST(test_disk_of_a_vm_is_not_wiped),
	        WORLD_TEST(test_wipes_that_hang_in_one_pool_leave_bulk_threads_to_others),
	        WORLD_TEST(test_volume_has_a_file_while_its_wipe_hangs),
	        WORLD_TEST(test_failed_wipe_is_told_and_may_be_asked_for_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

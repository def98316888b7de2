/* SPDX-License-Identifier: Apache-2.0 */
/* Volumes over the fake driver: row and file come and go together, whatever fails in between. */
#include "tests/unit/storage/volume_world.h"

#include "hypervisor/domain_xml.h"

#include "storage/volume_store.h"

struct attach_job {
	const char *id, *vm_id, *disk;
};

static int attach_job(struct db *db, void *arg, struct err *e)
{
	struct attach_job *job = arg;
	return volume_attach(db, job->id, job->vm_id, job->disk, e);
}

static int attach(struct volume_world *v, const char *id, const char *disk)
{
	struct attach_job job = {.id = id, .vm_id = WORLD_VM, .disk = disk};
	return writer_run(v->base->writer, attach_job, &job, &v->base->e);
}

static int create(
        struct volume_world *v, const char *name, int64_t size_bytes, struct world_job *job)
{
	*job = (struct world_job){.create = {.pool = "default",
	                                  .host_id = v->host_id,
	                                  .name = name,
	                                  .format = "qcow2",
	                                  .size_bytes = size_bytes}};
	return world_run(v, world_create_job, job);
}

static int delete_volume(struct volume_world *v, const char *id, struct world_job *job)
{
	*job = (struct world_job){.id = id};
	return world_run(v, world_delete_job, job);
}

/* ---- creating ---- */

static void test_created_volume_has_a_ready_row_and_a_file_named_by_its_id(void **state)
{
	struct volume_world *v = *state;
	struct volume_row row CLEANUP(volume_row_done) = {0};
	struct world_job job;
	assert_int_equal(create(v, "data", 64 * MIB, &job), 0);
	world_assert_ends(v, job.operation, "succeeded");
	assert_int_equal(volume_store_find(
	                         v->base->reader, "default", v->host_id, "data", &row, &v->base->e),
	        0);
	assert_string_equal(row.state, "ready");
	assert_string_equal(row.layer_id, job.made);
	assert_int_equal(world_file_bytes(v, job.made, "qcow2"), 64 * MIB);
	assert_int_equal(world_count_files(v), 1);
}

static void test_failed_creation_leaves_neither_row_nor_file(void **state)
{
	struct volume_world *v = *state;
	struct fake_behaviour fail = {.error_code = ERR_DISK_FULL};
	struct world_job job;
	fake_script_set("h1", "volume_create", NULL, &fail);
	assert_int_equal(create(v, "data", 64 * MIB, &job), 0);
	world_assert_ends(v, job.operation, "failed");
	assert_int_equal(world_count_rows(v), 0);
	assert_int_equal(world_count_files(v), 0);
	assert_true(fixture_is(v->base,
	        "SELECT event FROM change WHERE kind = 'volume' ORDER BY seq DESC LIMIT 1",
	        "deleted"));
}

static void test_undo_is_repeated_until_the_file_is_gone(void **state)
{
	struct volume_world *v = *state;
	struct fake_behaviour fail = {.error_code = ERR_DISK_FULL};
	struct fake_behaviour fail_thrice = {.error_code = ERR_HYPERVISOR, .count = 3};
	struct world_job job;
	fake_script_set("h1", "volume_create", NULL, &fail);
	fake_script_set("h1", "volume_delete", NULL, &fail_thrice);
	assert_int_equal(create(v, "data", 64 * MIB, &job), 0);
	world_assert_ends(v, job.operation, "failed");
	assert_true(fake_host_count_calls("h1", "volume_delete") >= 4);
	assert_int_equal(world_count_rows(v), 0);
}

static void test_creation_waits_for_a_host_whose_connection_broke(void **state)
{
	struct volume_world *v = *state;
	struct fake_behaviour refuse = {.error_code = ERR_HOST_PERMISSION};
	struct world_job job;
	fake_script_set("h1", "open", NULL, &refuse);
	fake_host_break_connections("h1");
	assert_true(
	        TURN_UNTIL(v->base->loop, fixture_is(v->base, "SELECT state FROM host", "down")));
	assert_int_equal(create(v, "data", 64 * MIB, &job), 0);
	loop_turn_for(v->base->loop, 60);
	assert_true(fixture_is(v->base, "SELECT state FROM volume", "creating"));
	fake_script_clear("h1");
	world_assert_ends(v, job.operation, "succeeded");
	assert_true(fixture_is(v->base, "SELECT state FROM volume", "ready"));
}

static void test_creation_is_taken_up_again_after_a_restart(void **state)
{
	struct volume_world *v = *state;
	struct world_job job;
	fake_host_hang("h1");
	assert_int_equal(create(v, "data", 64 * MIB, &job), 0);
	loop_turn_for(v->base->loop, 30);
	operation_engine_stop(v->base->engine);
	fake_host_release("h1"); /* the call may end now, with nobody there to hear of it */
	world_restart(v);
	/* The hosts still poke the old engine; the new one tries by itself. */
	assert_true(TURN_UNTIL(
	        v->base->loop, (operation_engine_poke(v->base->engine, NULL),
	                               fixture_is(v->base, "SELECT state FROM volume", "ready"))));
	world_assert_ends(v, job.operation, "succeeded");
	assert_int_equal(world_count_files(v), 1);
}

static void test_taken_name_and_odd_size_and_unknown_pool_are_refused(void **state)
{
	struct volume_world *v = *state;
	struct world_job job;
	assert_int_equal(create(v, "data", 64 * MIB, &job), 0);
	assert_int_equal(create(v, "data", 64 * MIB, &job), ERR_EXISTS);
	assert_string_equal(v->base->e.pointer, "/name");
	const int64_t sizes[] = {0, -MIB, MIB - 1, MIB + 1};
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		assert_int_equal(create(v, "odd", sizes[i], &job), ERR_INVALID);
		assert_string_equal(v->base->e.pointer, "/size_bytes");
	}
	struct world_job elsewhere = {.create = {.pool = "nowhere",
	                                      .host_id = v->host_id,
	                                      .name = "x",
	                                      .format = "raw",
	                                      .size_bytes = MIB}};
	assert_int_equal(world_run(v, world_create_job, &elsewhere), ERR_REFERENCE);
	assert_int_equal(world_count_rows(v), 101);
}

/* ---- deleting ---- */

static void test_deleted_volume_leaves_neither_row_nor_file(void **state)
{
	struct volume_world *v = *state;
	struct world_job made, deleted;
	assert_int_equal(create(v, "data", 64 * MIB, &made), 0);
	world_assert_ends(v, made.operation, "succeeded");
	assert_int_equal(delete_volume(v, made.made, &deleted), 0);
	world_assert_ends(v, deleted.operation, "succeeded");
	assert_int_equal(world_count_rows(v), 0);
	assert_int_equal(world_count_files(v), 0);
}

/* A domain that no row knows of, with that file. */
static void start_stranger(struct volume_world *v, const char *path)
{
	const struct domain_source source = {
	        .type = DOMAIN_SOURCE_FILE, .path = path, .format = "qcow2"};
	const struct domain_disk disk = {
	        .name = "x", .kind = DOMAIN_DISK, .bus = "virtio", .chain = &source, .n_chain = 1};
	const struct domain_carrier domain = {.id = WORLD_VM,
	        .name = "stranger",
	        .domain_type = "qemu",
	        .architecture = "x86_64",
	        .machine = "q35",
	        .disks = &disk,
	        .n_disks = 1};
	char *xml CLEANUP(cleanup_free) = NULL;
	assert_int_equal(domain_xml_build_carrier(&domain, &xml, &v->base->e), 0);
	WORLD_ASK(c, assert_int_equal(driver_fake.define(c, xml, &e_), 0));
	WORLD_ASK(c, assert_int_equal(driver_fake.start(c, WORLD_VM, &e_), 0));
}

static void assert_not_deleted(struct volume_world *v, const char *id)
{
	struct world_job job;
	assert_int_equal(delete_volume(v, id, &job), 0);
	world_assert_ends(v, job.operation, "failed");
	world_assert_error(v, job.operation, "domain stranger has it in use");
	assert_int_equal(world_count_files(v), 1);
}

static void test_file_that_a_domain_runs_with_or_was_suspended_with_is_not_deleted(void **state)
{
	struct volume_world *v = *state;
	struct world_job made, deleted;
	assert_int_equal(create(v, "data", 64 * MIB, &made), 0);
	world_assert_ends(v, made.operation, "succeeded");
	char *path CLEANUP(cleanup_free) = str_format("/pool/%s.qcow2", made.made);
	start_stranger(v, path);
	assert_not_deleted(v, made.made);
	WORLD_ASK(c, assert_int_equal(driver_fake.managed_save(c, WORLD_VM, &e_), 0));
	assert_not_deleted(v, made.made);
	WORLD_ASK(c, assert_int_equal(driver_fake.managed_save_remove(c, WORLD_VM, &e_), 0));
	assert_int_equal(delete_volume(v, made.made, &deleted), 0);
	world_assert_ends(v, deleted.operation, "succeeded");
	assert_int_equal(world_count_files(v), 0);
}

static void test_volume_of_a_vm_is_not_deleted_and_the_vm_is_named(void **state)
{
	struct volume_world *v = *state;
	struct world_job made, refused;
	assert_int_equal(create(v, "data", 64 * MIB, &made), 0);
	world_assert_ends(v, made.operation, "succeeded");
	world_attach(v, made.made);
	assert_int_equal(delete_volume(v, made.made, &refused), ERR_IN_USE);
	assert_non_null(strstr(v->base->e.message, "disk root of VM web"));
	assert_true(fixture_is(v->base, "SELECT state FROM volume", "ready"));
	assert_int_equal(attach(v, made.made, "root"), 0);
	assert_int_equal(attach(v, made.made, "other"), ERR_IN_USE);
}

static void test_volume_at_work_is_not_deleted(void **state)
{
	struct volume_world *v = *state;
	struct world_job made, refused;
	fake_host_hang("h1");
	assert_int_equal(create(v, "data", 64 * MIB, &made), 0);
	assert_int_equal(delete_volume(v, made.made, &refused), ERR_BUSY);
	assert_non_null(strstr(v->base->e.message, made.operation));
	fake_host_release("h1");
	world_assert_ends(v, made.operation, "succeeded");
}

static void test_failed_deletion_can_be_asked_for_again(void **state)
{
	struct volume_world *v = *state;
	struct fake_behaviour fail = {.error_code = ERR_HYPERVISOR, .count = 1};
	struct world_job made, first, second;
	assert_int_equal(create(v, "data", 64 * MIB, &made), 0);
	world_assert_ends(v, made.operation, "succeeded");
	fake_script_set("h1", "volume_delete", NULL, &fail);
	assert_int_equal(delete_volume(v, made.made, &first), 0);
	world_assert_ends(v, first.operation, "failed");
	assert_true(fixture_is(v->base, "SELECT state FROM volume", "deleting"));
	assert_int_equal(delete_volume(v, made.made, &second), 0);
	world_assert_ends(v, second.operation, "succeeded");
	assert_int_equal(world_count_rows(v), 0);
	assert_int_equal(world_count_files(v), 0);
}

static void test_volume_is_found_without_a_host_only_if_the_name_is_unambiguous(void **state)
{
	struct volume_world *v = *state;
	struct volume_row row CLEANUP(volume_row_done) = {0};
	struct db *db = v->base->reader;
	struct err *e = &v->base->e;
	struct world_job job, other;
	char first_host[UUID_TEXT_SIZE];
	assert_int_equal(create(v, "data", MIB, &job), 0);
	memcpy(first_host, v->host_id, UUID_TEXT_SIZE);
	assert_int_equal(fixture_create(v->base, NULL, "h2", "fake:///h2", v->host_id), 0);
	assert_int_equal(volume_store_find(db, "default", NULL, "data", &row, e), 0);
	volume_row_done(&row);
	assert_int_equal(create(v, "data", MIB, &other), 0);
	assert_int_equal(volume_store_find(db, "default", NULL, "data", &row, e), ERR_CONFLICT);
	assert_int_equal(volume_store_find(db, "default", first_host, "data", &row, e), 0);
	assert_string_equal(row.id, job.made);
	volume_row_done(&row);
	assert_int_equal(
	        volume_store_find(db, "default", v->host_id, job.made, &row, e), ERR_NOT_FOUND);
}

/* ---- full, adopted, guarded ---- */

static void test_full_volume_takes_its_space_now(void **state)
{
	struct volume_world *v = *state;
	struct volume_info info CLEANUP(volume_info_done) = {0};
	struct world_job job = {.create = {.pool = "default",
	                                .host_id = v->host_id,
	                                .name = "data",
	                                .format = "raw",
	                                .size_bytes = 64 * MIB,
	                                .full = true}};
	assert_int_equal(world_run(v, world_create_job, &job), 0);
	world_assert_ends(v, job.operation, "succeeded");
	assert_int_equal(world_get_file(v, job.made, "raw", &info), 0);
	assert_int_equal(info.allocation_bytes, 64 * MIB);
}

static void test_existing_files_are_not_taken_over_in_a_pool_of_ours(void **state)
{
	struct volume_world *v = *state;
	struct world_job job = {.create = {.pool = "default",
	                                .host_id = v->host_id,
	                                .name = "data",
	                                .format = "raw",
	                                .existing_file = "somebodys.raw",
	                                .size_bytes = 64 * MIB}};
	assert_int_equal(world_run(v, world_create_job, &job), ERR_UNSUPPORTED);
	assert_string_equal(v->base->e.pointer, "/existing_file");
}

#define LUN_ID "0192f000-0000-7000-8000-0000000000aa"
#define LUN_POOL                                                                                   \
	"INSERT INTO pool (id, name, kind, path, spec, shared, created_at) VALUES ('" LUN_ID "', " \
	"'lun', "                                                                                  \
	"'iscsi-direct', '', "                                                                     \
	"'{\"source\":{\"hosts\":[\"san:3260\"],\"device\":\"iqn.2001-01.t:a\","                   \
	"\"initiator\":\"iqn.2001-01.t:b\"}}', 1, 0)"

static void test_registered_volume_has_the_size_it_was_found_with_and_is_never_deleted(void **state)
{
	struct volume_world *v = *state;
	struct pool_access pool CLEANUP(pool_access_done) = {0};
	fixture_exec(v->base, LUN_POOL);
	assert_int_equal(pool_access_load(v->base->reader, LUN_ID, &pool, &v->base->e), 0);
	WORLD_ASK(c, assert_int_equal(pool_access_ensure(&pool, &driver_fake, c, &e_), 0));
	fake_volume_foreign_add("h1", "berth-lun", "unit:0:0:1", "raw", 100 * MIB);
	struct world_job job = {.create = {.pool = "lun",
	                                .name = "data",
	                                .format = "raw",
	                                .existing_file = "unit:0:0:1",
	                                .size_bytes = MIB}};
	if (world_run(v, world_create_job, &job) < 0)
		fail_msg("%s", v->base->e.message);
	world_assert_ends(v, job.operation, "succeeded");
	assert_int_equal(fixture_int(v->base, "SELECT size_bytes FROM volume"), 100 * MIB);
	struct world_job again = job;
	again.create.name = "again";
	assert_int_equal(world_run(v, world_create_job, &again), ERR_EXISTS);
	struct world_job missing = job;
	missing.create.name = "missing";
	missing.create.existing_file = "unit:0:0:2";
	assert_int_equal(world_run(v, world_create_job, &missing), 0);
	world_assert_ends(v, missing.operation, "failed");
	struct world_job deleted;
	assert_int_equal(delete_volume(v, job.made, &deleted), 0);
	world_assert_ends(v, deleted.operation, "succeeded");
	assert_int_equal(world_count_rows(v), 0);
	assert_int_equal(fake_host_count_calls("h1", "volume_delete"), 0);
}

static void insert_san_pool(
        struct volume_world *v, const char *name, const char *kind, const char *device)
{
	char *sql CLEANUP(cleanup_free) = str_format(
	        "INSERT INTO pool (id, name, kind, path, spec, shared, created_at) VALUES ('%s', "
	        "'%s', '%s', '', '{\"source\":{\"hosts\":[\"10.0.0.9\"],\"device\":\"%s\","
	        "\"initiator\":\"iqn.2001-01.t:c\"}}', 1, 0)",
	        name, name, kind, device);
	fixture_exec(v->base, sql);
}

static int register_unit(struct volume_world *v, const char *pool, struct world_job *job)
{
	*job = (struct world_job){.create = {.pool = pool,
	                                  .name = "data",
	                                  .format = "raw",
	                                  .existing_file = "unit:0:0:1",
	                                  .size_bytes = MIB}};
	return world_run(v, world_create_job, job);
}

static void test_unit_of_a_target_is_registered_in_one_pool_only(void **state)
{
	struct volume_world *v = *state;
	struct world_job job;
	fixture_exec(v->base, LUN_POOL);
	insert_san_pool(v, "same", "iscsi-direct", "iqn.2001-01.T:a");
	insert_san_pool(v, "kernel", "iscsi", "iqn.2001-01.t:a");
	insert_san_pool(v, "other", "iscsi-direct", "iqn.2001-01.t:z");
	assert_int_equal(register_unit(v, "lun", &job), 0);
	static const char *const refused[] = {"same", "kernel"};
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		struct world_job again;
		assert_int_equal(register_unit(v, refused[i], &again), ERR_IN_USE);
		assert_string_equal(v->base->e.pointer, "/existing_file");
		assert_non_null(strstr(v->base->e.message, "volume data of pool lun"));
	}
	assert_int_equal(register_unit(v, "other", &job), 0);
	fixture_exec(v->base, "PRAGMA foreign_keys = OFF; DELETE FROM volume; DELETE FROM layer");
	assert_int_equal(register_unit(v, "same", &job), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        WORLD_TEST(test_created_volume_has_a_ready_row_and_a_file_named_by_its_id),
	        WORLD_TEST(test_failed_creation_leaves_neither_row_nor_file),
	        WORLD_TEST(test_undo_is_repeated_until_the_file_is_gone),
	        WORLD_TEST(test_creation_waits_for_a_host_whose_connection_broke),
	        WORLD_TEST(test_creation_is_taken_up_again_after_a_restart),
	        WORLD_TEST(test_taken_name_and_odd_size_and_unknown_pool_are_refused),
	        WORLD_TEST(test_deleted_volume_leaves_neither_row_nor_file),
	        WORLD_TEST(test_file_that_a_domain_runs_with_or_was_suspended_with_is_not_deleted),
	        WORLD_TEST(test_volume_of_a_vm_is_not_deleted_and_the_vm_is_named),
	        WORLD_TEST(test_volume_at_work_is_not_deleted),
	        WORLD_TEST(test_failed_deletion_can_be_asked_for_again),
	        WORLD_TEST(test_volume_is_found_without_a_host_only_if_the_name_is_unambiguous),
	        WORLD_TEST(test_full_volume_takes_its_space_now),
	        WORLD_TEST(test_existing_files_are_not_taken_over_in_a_pool_of_ours),
	        WORLD_TEST(test_unit_of_a_target_is_registered_in_one_pool_only),
	        WORLD_TEST(
	                test_registered_volume_has_the_size_it_was_found_with_and_is_never_deleted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

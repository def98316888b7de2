/* SPDX-License-Identifier: Apache-2.0 */
/* Volumes over the fake driver: row and file come and go together, whatever fails in between. */
#include "tests/unit/compute/host_fixture.h"

#include "hypervisor/driver.h"
#include "storage/volume_operations.h"
#include "storage/volume_store.h"

#define MIB ((int64_t)1 << 20)

struct volume_fixture {
	struct host_fixture *base;
	char host_id[UUID_TEXT_SIZE];
};

static int ensure_pool_job(struct db *db, void *arg, struct err *e)
{
	(void)arg;
	return pool_ensure_default(db, "/pool", e);
}

static int setup(void **state)
{
	struct volume_fixture *v = xcalloc(1, sizeof(*v));
	struct host_fixture *f = v->base = fixture_start();
	assert_int_equal(writer_run(f->writer, ensure_pool_job, NULL, &f->e), 0);
	assert_int_equal(fixture_create(f, f->hosts, "h1", "fake:///h1", v->host_id), 0);
	assert_true(TURN_UNTIL(f->loop, fixture_is(f, "SELECT state FROM host", "ok")));
	*state = v;
	return 0;
}

static int teardown(void **state)
{
	struct volume_fixture *v = *state;
	fixture_stop(v->base);
	free(v);
	return 0;
}

struct job {
	struct volume_fixture *v;
	struct volume_request request;
	const char *id, *vm_id, *disk;
	char operation[UUID_TEXT_SIZE], made[UUID_TEXT_SIZE];
};

static const struct volume_asked asked = {.requested_by = "root@unix", .request_id = "r1"};

static int create_job(struct db *db, void *arg, struct err *e)
{
	struct job *job = arg;
	return volume_create(
	        db, job->v->base->engine, &job->request, &asked, job->operation, job->made, e);
}

static int delete_job(struct db *db, void *arg, struct err *e)
{
	struct job *job = arg;
	struct volume_row row CLEANUP(volume_row_done) = {0};
	int rc = volume_store_get(db, job->id, &row, e);
	return rc < 0 ? rc
	              : volume_delete(db, job->v->base->engine, &row, &asked, job->operation, e);
}

static int attach_job(struct db *db, void *arg, struct err *e)
{
	struct job *job = arg;
	return volume_attach(db, job->id, job->vm_id, job->disk, e);
}

static int create(struct volume_fixture *v, const char *name, int64_t size_bytes, struct job *job)
{
	*job = (struct job){.v = v,
	        .request = {.pool = "default",
	                .host_id = v->host_id,
	                .name = name,
	                .format = "qcow2",
	                .size_bytes = size_bytes}};
	return writer_run(v->base->writer, create_job, job, &v->base->e);
}

static int delete_volume_of(struct volume_fixture *v, const char *id, struct job *job)
{
	*job = (struct job){.v = v, .id = id};
	return writer_run(v->base->writer, delete_job, job, &v->base->e);
}

static void assert_ends(struct volume_fixture *v, const char *operation, const char *expected)
{
	struct host_fixture *f = v->base;
	char *sql CLEANUP(cleanup_free) = str_format(
	        "SELECT state FROM operation WHERE ended_at > 0 AND id = '%s'", operation);
	assert_true(TURN_UNTIL(f->loop, !fixture_is(f, sql, NULL)));
	char *state CLEANUP(cleanup_free) = fixture_text(f, sql);
	assert_string_equal(state, expected);
}

/* How many files lie in the pool on the host, by asking the driver itself. */
static int count_files(struct volume_fixture *v)
{
	struct driver_events events = {0};
	struct driver_connection *c = NULL;
	char **names = NULL;
	int n = 0;
	struct err e = {0};
	assert_int_equal(driver_fake.open("fake:///h1", v->base->loop, &events, &c, &e), 0);
	int rc = driver_fake.volume_list(c, "berth-default", &names, &e);
	for (; rc == 0 && names[n]; n++)
		free(names[n]);
	free(names);
	driver_fake.close(c);
	return n;
}

static int count_rows(struct volume_fixture *v)
{
	return (int)fixture_int(v->base, "SELECT count(*) FROM volume");
}

static void add_vm(struct volume_fixture *v)
{
	fixture_exec(v->base, "INSERT INTO vm (id, name, host_id, managed, spec, desired_power, "
	                      "power, power_since, vcpus, memory_bytes, created_at) SELECT 'vm-1', "
	                      "'web', id, 1, '{}', 'stopped', 'stopped', 0, 1, 1, 0 FROM host");
}

/* ---- creating ---- */

static void test_created_volume_has_a_ready_row_and_a_file_named_by_its_id(void **state)
{
	struct volume_fixture *v = *state;
	struct volume_row row CLEANUP(volume_row_done) = {0};
	struct job job;
	assert_int_equal(create(v, "data", 64 * MIB, &job), 0);
	assert_ends(v, job.operation, "succeeded");
	assert_int_equal(volume_store_find(
	                         v->base->reader, "default", v->host_id, "data", &row, &v->base->e),
	        0);
	assert_string_equal(row.state, "ready");
	char *path CLEANUP(cleanup_free) = volume_path(&row);
	char *expected CLEANUP(cleanup_free) = str_format("/pool/%s.qcow2", job.made);
	assert_string_equal(path, expected);
	assert_int_equal(count_files(v), 1);
}

static void test_failed_creation_leaves_neither_row_nor_file(void **state)
{
	struct volume_fixture *v = *state;
	struct fake_behaviour fail = {.error_code = ERR_DISK_FULL};
	struct job job;
	fake_script_set("h1", "volume_create", NULL, &fail);
	assert_int_equal(create(v, "data", 64 * MIB, &job), 0);
	assert_ends(v, job.operation, "failed");
	assert_int_equal(count_rows(v), 0);
	assert_int_equal(count_files(v), 0);
	assert_true(fixture_is(v->base,
	        "SELECT event FROM change WHERE kind = 'volume' ORDER BY seq DESC LIMIT 1",
	        "deleted"));
}

static void test_undo_is_repeated_until_the_file_is_gone(void **state)
{
	struct volume_fixture *v = *state;
	struct fake_behaviour fail = {.error_code = ERR_DISK_FULL};
	struct fake_behaviour fail_thrice = {.error_code = ERR_HYPERVISOR, .count = 3};
	struct job job;
	fake_script_set("h1", "volume_create", NULL, &fail);
	fake_script_set("h1", "volume_delete", NULL, &fail_thrice);
	assert_int_equal(create(v, "data", 64 * MIB, &job), 0);
	assert_ends(v, job.operation, "failed");
	assert_true(fake_host_count_calls("h1", "volume_delete") >= 4);
	assert_int_equal(count_rows(v), 0);
}

static void test_creation_waits_for_a_host_whose_connection_broke(void **state)
{
	struct volume_fixture *v = *state;
	struct fake_behaviour refuse = {.error_code = ERR_HOST_PERMISSION};
	struct job job;
	fake_script_set("h1", "open", NULL, &refuse);
	fake_host_break_connections("h1");
	assert_true(
	        TURN_UNTIL(v->base->loop, fixture_is(v->base, "SELECT state FROM host", "down")));
	assert_int_equal(create(v, "data", 64 * MIB, &job), 0);
	loop_turn_for(v->base->loop, 60);
	assert_true(fixture_is(v->base, "SELECT state FROM volume", "creating"));
	fake_script_clear("h1");
	assert_ends(v, job.operation, "succeeded");
	assert_true(fixture_is(v->base, "SELECT state FROM volume", "ready"));
}

static void test_creation_is_taken_up_again_after_a_restart(void **state)
{
	struct volume_fixture *v = *state;
	struct job job;
	fake_host_hang("h1");
	assert_int_equal(create(v, "data", 64 * MIB, &job), 0);
	loop_turn_for(v->base->loop, 30);
	operation_engine_stop(v->base->engine);
	fake_host_release("h1"); /* the call may end now, with nobody there to hear of it */
	loop_turn_for(v->base->loop, 30);
	struct operation_engine *old = v->base->engine;
	v->base->engine = operation_engine_new(v->base->loop, v->base->writer, &v->base->services);
	volume_register_kinds(v->base->engine);
	assert_int_equal(operation_engine_load(v->base->engine, v->base->reader, &v->base->e), 0);
	/* The hosts still poke the old engine; the new one tries by itself. */
	assert_true(TURN_UNTIL(
	        v->base->loop, (operation_engine_poke(v->base->engine, NULL),
	                               fixture_is(v->base, "SELECT state FROM volume", "ready"))));
	assert_ends(v, job.operation, "succeeded");
	assert_int_equal(count_files(v), 1);
	struct operation_engine *new = v->base->engine;
	v->base->engine = old;
	operation_engine_stop(new);
	loop_turn_for(v->base->loop, 5);
	operation_engine_free(new);
}

static void test_taken_name_and_odd_size_and_unknown_pool_are_refused(void **state)
{
	struct volume_fixture *v = *state;
	struct job job;
	assert_int_equal(create(v, "data", 64 * MIB, &job), 0);
	assert_int_equal(create(v, "data", 64 * MIB, &job), ERR_EXISTS);
	assert_string_equal(v->base->e.pointer, "/name");
	const int64_t sizes[] = {0, -MIB, MIB - 1, MIB + 1};
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		assert_int_equal(create(v, "odd", sizes[i], &job), ERR_INVALID);
		assert_string_equal(v->base->e.pointer, "/size_bytes");
	}
	struct job elsewhere = {.v = v,
	        .request = {.pool = "nowhere",
	                .host_id = v->host_id,
	                .name = "x",
	                .format = "raw",
	                .size_bytes = MIB}};
	assert_int_equal(
	        writer_run(v->base->writer, create_job, &elsewhere, &v->base->e), ERR_REFERENCE);
	assert_int_equal(count_rows(v), 1);
}

/* ---- deleting ---- */

static void test_deleted_volume_leaves_neither_row_nor_file(void **state)
{
	struct volume_fixture *v = *state;
	struct job made, deleted;
	assert_int_equal(create(v, "data", 64 * MIB, &made), 0);
	assert_ends(v, made.operation, "succeeded");
	assert_int_equal(delete_volume_of(v, made.made, &deleted), 0);
	assert_ends(v, deleted.operation, "succeeded");
	assert_int_equal(count_rows(v), 0);
	assert_int_equal(count_files(v), 0);
}

static void test_volume_of_a_vm_is_not_deleted_and_the_vm_is_named(void **state)
{
	struct volume_fixture *v = *state;
	struct job made, refused;
	assert_int_equal(create(v, "data", 64 * MIB, &made), 0);
	assert_ends(v, made.operation, "succeeded");
	add_vm(v);
	struct job attach = {.v = v, .id = made.made, .vm_id = "vm-1", .disk = "root"};
	assert_int_equal(writer_run(v->base->writer, attach_job, &attach, &v->base->e), 0);
	assert_int_equal(delete_volume_of(v, made.made, &refused), ERR_IN_USE);
	assert_non_null(strstr(v->base->e.message, "disk root of VM web"));
	assert_true(fixture_is(v->base, "SELECT state FROM volume", "ready"));
	assert_int_equal(writer_run(v->base->writer, attach_job, &attach, &v->base->e), 0);
	attach.disk = "other";
	assert_int_equal(writer_run(v->base->writer, attach_job, &attach, &v->base->e), ERR_IN_USE);
}

static void test_volume_at_work_is_not_deleted(void **state)
{
	struct volume_fixture *v = *state;
	struct job made, refused;
	fake_host_hang("h1");
	assert_int_equal(create(v, "data", 64 * MIB, &made), 0);
	assert_int_equal(delete_volume_of(v, made.made, &refused), ERR_BUSY);
	assert_non_null(strstr(v->base->e.message, made.operation));
	fake_host_release("h1");
	assert_ends(v, made.operation, "succeeded");
}

static void test_failed_deletion_can_be_asked_for_again(void **state)
{
	struct volume_fixture *v = *state;
	struct fake_behaviour fail = {.error_code = ERR_HYPERVISOR, .count = 1};
	struct job made, first, second;
	assert_int_equal(create(v, "data", 64 * MIB, &made), 0);
	assert_ends(v, made.operation, "succeeded");
	fake_script_set("h1", "volume_delete", NULL, &fail);
	assert_int_equal(delete_volume_of(v, made.made, &first), 0);
	assert_ends(v, first.operation, "failed");
	assert_true(fixture_is(v->base, "SELECT state FROM volume", "deleting"));
	assert_int_equal(delete_volume_of(v, made.made, &second), 0);
	assert_ends(v, second.operation, "succeeded");
	assert_int_equal(count_rows(v), 0);
	assert_int_equal(count_files(v), 0);
}

static void test_volume_is_found_without_a_host_only_if_the_name_is_unambiguous(void **state)
{
	struct volume_fixture *v = *state;
	struct volume_row row CLEANUP(volume_row_done) = {0};
	struct db *db = v->base->reader;
	struct err *e = &v->base->e;
	struct job job, other;
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(test_created_volume_has_a_ready_row_and_a_file_named_by_its_id),
	        TEST(test_failed_creation_leaves_neither_row_nor_file),
	        TEST(test_undo_is_repeated_until_the_file_is_gone),
	        TEST(test_creation_waits_for_a_host_whose_connection_broke),
	        TEST(test_creation_is_taken_up_again_after_a_restart),
	        TEST(test_taken_name_and_odd_size_and_unknown_pool_are_refused),
	        TEST(test_deleted_volume_leaves_neither_row_nor_file),
	        TEST(test_volume_of_a_vm_is_not_deleted_and_the_vm_is_named),
	        TEST(test_volume_at_work_is_not_deleted),
	        TEST(test_failed_deletion_can_be_asked_for_again),
	        TEST(test_volume_is_found_without_a_host_only_if_the_name_is_unambiguous),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

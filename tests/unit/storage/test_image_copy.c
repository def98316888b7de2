/* SPDX-License-Identifier: Apache-2.0 */
/* Images' copies in pools over the fake driver: made once, shared, undone whole, deleted with their image. */
#include "tests/unit/compute/host_fixture.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "storage/image.h"
#include "storage/image_library.h"
#include "storage/pool.h"

#define MIB        ((int64_t)1 << 20)
#define FILE_BYTES (3 * MIB)
#define IMAGE_ID   "11111111-1111-4111-8111-111111111111"

struct copy_fixture {
	struct host_fixture *base;
	struct images *images;
	char host_id[UUID_TEXT_SIZE], pool_id[UUID_TEXT_SIZE], directory[96];
	char operation[UUID_TEXT_SIZE], layer[UUID_TEXT_SIZE];
};

static int ensure_pool_job(struct db *db, void *arg, struct err *e)
{
	(void)arg;
	return pool_ensure_default(db, "/pool", e);
}

static void keep_file(struct copy_fixture *c)
{
	int fd CLEANUP(cleanup_fd) =
	        images_open(c->images, IMAGE_ID, IMAGE_FILE_KEPT, O_RDWR | O_CREAT, NULL);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, FILE_BYTES), 0);
}

static int setup(void **state)
{
	struct copy_fixture *c = xcalloc(1, sizeof(*c));
	struct host_fixture *f = c->base = fixture_start();
	snprintf(c->directory, sizeof(c->directory), "%s/images", f->directory_path);
	const struct image_options options = {.directory = c->directory,
	        .max_bytes = MIB << 10,
	        .max_virtual_bytes = MIB << 20,
	        .qemu_img = "/bin/false"};
	assert_int_equal(images_new(&options, &c->images, &f->e), 0);
	f->services.images = c->images;
	image_register_kinds(f->engine);
	assert_int_equal(writer_run(f->writer, ensure_pool_job, NULL, &f->e), 0);
	assert_int_equal(fixture_create(f, f->hosts, "h1", "fake:///h1", c->host_id), 0);
	assert_true(TURN_UNTIL(f->loop, fixture_is(f, "SELECT state FROM host", "ok")));
	char *pool CLEANUP(cleanup_free) = fixture_text(f, "SELECT id FROM pool");
	uuid_text_copy(c->pool_id, pool);
	fixture_exec(f,
	        "INSERT INTO image (id, name, spec, state, size_bytes, file_bytes, created_at) "
	        "VALUES ('" IMAGE_ID "', 'debian', '{}', 'ready', 1073741824, 3145728, 1)");
	keep_file(c);
	*state = c;
	return 0;
}

static int teardown(void **state)
{
	struct copy_fixture *c = *state;
	operation_engine_stop(c->base->engine);
	bulk_free(c->base->bulk);
	c->base->bulk = bulk_new(c->base->loop, 1);
	images_free(c->images);
	fixture_stop(c->base);
	free(c);
	return 0;
}

static const struct operation_asked asked = {.requested_by = "root@unix", .request_id = "r1"};

static int copy_job(struct db *db, void *arg, struct err *e)
{
	struct copy_fixture *c = arg;
	struct image_row row CLEANUP(image_row_done) = {0};
	int rc = image_store_get(db, "debian", &row, e);
	return rc < 0 ? rc
	              : image_copy_start(db, c->base->engine, &row, c->pool_id, c->host_id, &asked,
	                        c->operation, c->layer, e);
}

static int delete_job(struct db *db, void *arg, struct err *e)
{
	struct copy_fixture *c = arg;
	struct image_row row CLEANUP(image_row_done) = {0};
	int rc = image_store_get(db, "debian", &row, e);
	return rc < 0 ? rc
	              : image_delete(db, c->images, c->base->engine, &row, &asked, c->operation, e);
}

static int start(struct copy_fixture *c)
{
	return writer_run(c->base->writer, copy_job, c, &c->base->e);
}

static void assert_ends(struct copy_fixture *c, const char *expected)
{
	char *sql CLEANUP(cleanup_free) =
	        str_format("SELECT state FROM operation WHERE id = '%s'", c->operation);
	assert_true(TURN_UNTIL(c->base->loop,
	        !fixture_is(c->base, sql, "queued") && !fixture_is(c->base, sql, "running")));
	if (!fixture_is(c->base, sql, expected))
		fail_msg("operation %s did not end as %s", c->operation, expected);
}

static void test_copy_is_made_once_and_then_there(void **state)
{
	struct copy_fixture *c = *state;
	char first[UUID_TEXT_SIZE], layer[UUID_TEXT_SIZE];
	assert_int_equal(start(c), 0);
	uuid_text_copy(first, c->operation);
	uuid_text_copy(layer, c->layer);
	assert_true(first[0]);
	assert_int_equal(start(c), 0); /* while it runs: the same */
	assert_string_equal(c->operation, first);
	assert_string_equal(c->layer, layer);
	assert_ends(c, "succeeded");
	assert_true(fixture_is(c->base, "SELECT state FROM layer", "ready"));
	assert_true(fixture_is(c->base, "SELECT format FROM layer", "qcow2"));
	assert_int_equal(fixture_int(c->base, "SELECT size_bytes FROM layer"), 1073741824);
	assert_int_equal(start(c), 0);
	assert_string_equal(c->operation, "");
	assert_string_equal(c->layer, layer);
	assert_int_equal(fake_host_count_calls("h1", "volume_upload"), 1);
	assert_int_equal(fixture_int(c->base, "SELECT count(*) FROM layer"), 1);
}

static void test_failed_copy_leaves_neither_row_nor_file(void **state)
{
	struct copy_fixture *c = *state;
	const struct fake_behaviour full = {.error_code = ERR_DISK_FULL};
	fake_script_set("h1", "volume_upload_block", NULL, &full);
	assert_int_equal(start(c), 0);
	assert_ends(c, "failed");
	assert_int_equal(fixture_int(c->base, "SELECT count(*) FROM layer"), 0);
	assert_true(fake_host_count_calls("h1", "volume_delete") >= 2); /* before and after */
	fake_script_clear("h1");
	assert_int_equal(start(c), 0);
	assert_ends(c, "succeeded");
}

static void stand_on_copy(struct copy_fixture *c)
{
	char *sql CLEANUP(cleanup_free) = str_format(
	        "INSERT INTO layer (id, pool_id, host_id, file, format, size_bytes, backing_id, "
	        "state, created_at) VALUES ('l2', '%s', '%s', 'l2.qcow2', 'qcow2', 1, '%s', "
	        "'ready', 1)",
	        c->pool_id, c->host_id, c->layer);
	fixture_exec(c->base, sql);
}

static int forget_job(struct db *db, void *arg, struct err *e)
{
	const struct copy_fixture *c = arg;
	return image_copy_forget_unmade(db, c->layer, e);
}

static int64_t count_after_forgetting(struct copy_fixture *c)
{
	assert_int_equal(writer_run(c->base->writer, forget_job, c, &c->base->e), 0);
	return fixture_int(c->base, "SELECT count(*) FROM layer");
}

static void test_failed_copy_goes_with_the_last_that_stood_on_it(void **state)
{
	struct copy_fixture *c = *state;
	const struct fake_behaviour full = {.error_code = ERR_DISK_FULL};
	fake_script_set("h1", "volume_upload_block", NULL, &full);
	assert_int_equal(start(c), 0);
	assert_int_equal(count_after_forgetting(c), 1); /* it is being made */
	stand_on_copy(c);
	assert_ends(c, "failed");
	assert_int_equal(count_after_forgetting(c), 2);
	fixture_exec(c->base, "DELETE FROM layer WHERE id = 'l2'");
	assert_int_equal(count_after_forgetting(c), 0);
	fake_script_clear("h1");
	assert_int_equal(start(c), 0);
	assert_ends(c, "succeeded");
	assert_int_equal(count_after_forgetting(c), 1); /* it is there */
}

static void test_missing_library_file_fails_the_copy(void **state)
{
	struct copy_fixture *c = *state;
	assert_int_equal(images_remove(c->images, IMAGE_ID, IMAGE_FILE_KEPT, NULL), 0);
	assert_int_equal(start(c), 0);
	assert_ends(c, "failed");
	assert_int_equal(fixture_int(c->base, "SELECT count(*) FROM layer"), 0);
}

static void test_image_that_is_not_ready_is_not_copied(void **state)
{
	struct copy_fixture *c = *state;
	fixture_exec(c->base, "UPDATE image SET state = 'importing'");
	assert_int_equal(start(c), ERR_WRONG_STATE);
	assert_non_null(strstr(c->base->e.message, "importing"));
	assert_int_equal(fixture_int(c->base, "SELECT count(*) FROM layer"), 0);
}

static void test_image_is_deleted_with_its_copies_and_file(void **state)
{
	struct copy_fixture *c = *state;
	assert_int_equal(start(c), 0);
	assert_int_equal(writer_run(c->base->writer, delete_job, c, &c->base->e), ERR_BUSY);
	assert_ends(c, "succeeded");
	assert_int_equal(writer_run(c->base->writer, delete_job, c, &c->base->e), 0);
	assert_int_equal(start(c), ERR_WRONG_STATE);
	writer_run(c->base->writer, delete_job, c, &c->base->e);
	char *sql = "SELECT count(*) FROM image";
	assert_true(TURN_UNTIL(c->base->loop, fixture_int(c->base, sql) == 0));
	assert_int_equal(fixture_int(c->base, "SELECT count(*) FROM layer"), 0);
	assert_int_equal(
	        images_open(c->images, IMAGE_ID, IMAGE_FILE_KEPT, O_RDONLY, NULL), ERR_NOT_FOUND);
}

static void test_image_that_volumes_stand_on_is_not_deleted(void **state)
{
	struct copy_fixture *c = *state;
	assert_int_equal(start(c), 0);
	assert_ends(c, "succeeded");
	stand_on_copy(c);
	assert_int_equal(writer_run(c->base->writer, delete_job, c, &c->base->e), ERR_IN_USE);
	assert_non_null(strstr(c->base->e.message, "l2.qcow2"));
	assert_true(fixture_is(c->base, "SELECT state FROM image", "ready"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(test_copy_is_made_once_and_then_there),
	        TEST(test_failed_copy_leaves_neither_row_nor_file),
	        TEST(test_failed_copy_goes_with_the_last_that_stood_on_it),
	        TEST(test_missing_library_file_fails_the_copy),
	        TEST(test_image_that_is_not_ready_is_not_copied),
	        TEST(test_image_is_deleted_with_its_copies_and_file),
	        TEST(test_image_that_volumes_stand_on_is_not_deleted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

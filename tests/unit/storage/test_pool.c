/* SPDX-License-Identifier: Apache-2.0 */
/* The default pool: made once, found by name or id. */
#include "tests/unit/compute/host_fixture.h"

#include "storage/pool_store.h"

static int ensure_job(struct db *db, void *arg, struct err *e)
{
	return pool_ensure_default(db, arg, e);
}

static void ensure(struct host_fixture *f, const char *path)
{
	char *text CLEANUP(cleanup_free) = xstrdup(path);
	assert_int_equal(writer_run(f->writer, ensure_job, text, &f->e), 0);
}

static void test_default_pool_is_made_once_and_keeps_its_path(void **state)
{
	struct host_fixture *f = *state;
	ensure(f, "/var/lib/berth/pools/default");
	ensure(f, "/somewhere/else");
	assert_int_equal(fixture_int(f, "SELECT count(*) FROM pool"), 1);
	assert_true(fixture_is(f, "SELECT path FROM pool", "/var/lib/berth/pools/default"));
	assert_int_equal(fixture_int(f, "SELECT count(*) FROM change WHERE kind = 'pool'"), 1);
}

static void test_pool_is_found_by_name_and_by_id(void **state)
{
	struct host_fixture *f = *state;
	struct pool_row by_name CLEANUP(pool_row_done) = {0};
	struct pool_row by_id CLEANUP(pool_row_done) = {0};
	struct pool_row none CLEANUP(pool_row_done) = {0};
	ensure(f, "/p");
	assert_int_equal(pool_store_get(f->reader, "default", &by_name, &f->e), 0);
	assert_int_equal(pool_store_get(f->reader, by_name.id, &by_id, &f->e), 0);
	assert_string_equal(by_id.name, "default");
	assert_int_equal(by_id.volumes, 0);
	assert_int_equal(pool_store_get(f->reader, "other", &none, &f->e), ERR_NOT_FOUND);
	assert_non_null(strstr(f->e.message, "other"));
}

static void test_libvirt_name_shows_whose_pool_it_is(void **state)
{
	(void)state;
	char *name CLEANUP(cleanup_free) = pool_libvirt_name("default");
	assert_string_equal(name, "berth-default");
}

static void test_place_is_the_pool_and_of_a_local_one_the_host_too(void **state)
{
	char here[POOL_PLACE_SIZE], there[POOL_PLACE_SIZE], shared[POOL_PLACE_SIZE];
	(void)state;
	pool_place("p", "h1", here);
	pool_place("p", "h2", there);
	pool_place("p", "", shared);
	assert_string_equal(shared, "p");
	assert_string_not_equal(here, shared);
	assert_string_not_equal(here, there);
	pool_place("p", NULL, here);
	assert_string_equal(here, shared);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(test_default_pool_is_made_once_and_keeps_its_path),
	        TEST(test_pool_is_found_by_name_and_by_id),
	        cmocka_unit_test(test_libvirt_name_shows_whose_pool_it_is),
	        cmocka_unit_test(test_place_is_the_pool_and_of_a_local_one_the_host_too),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

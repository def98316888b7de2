/* SPDX-License-Identifier: Apache-2.0 */
/* Host groups: defaults, bounds, and what keeps one from being removed. */
#include "tests/unit/compute/host_fixture.h"

#include <math.h>

#include "compute/host_group_store.h"

#define DEFAULT "00000000-0000-4000-8000-000000000001"

struct group_job {
	const struct host_group_spec *spec;
	const char *name;
	json_t *patch;
	struct field_errors errors;
	char id[UUID_TEXT_SIZE];
};

static int create_job(struct db *db, void *arg, struct err *e)
{
	struct group_job *job = arg;
	return host_group_create(db, job->spec, job->id, e);
}

static int patch_job(struct db *db, void *arg, struct err *e)
{
	struct group_job *job = arg;
	struct host_group_row row CLEANUP(host_group_row_done) = {0};
	int rc = host_group_store_get(db, job->name, &row, e);
	return rc < 0 ? rc : host_group_update(db, &row, job->patch, &job->errors, e);
}

static int delete_job(struct db *db, void *arg, struct err *e)
{
	struct group_job *job = arg;
	struct host_group_row row CLEANUP(host_group_row_done) = {0};
	int rc = host_group_store_get(db, job->name, &row, e);
	return rc < 0 ? rc : host_group_delete(db, &row, e);
}

static int create(struct host_fixture *f, const struct host_group_spec *spec)
{
	struct group_job job = {.spec = spec};
	return writer_run(f->writer, create_job, &job, &f->e);
}

static int patch(struct host_fixture *f, const char *name, const char *text, size_t *ret_errors)
{
	struct group_job job = {.name = name, .patch = json_loads(text, 0, NULL)};
	int rc = writer_run(f->writer, patch_job, &job, &f->e);
	json_decref(job.patch);
	if (ret_errors)
		*ret_errors = job.errors.len;
	return rc;
}

static int delete_group(struct host_fixture *f, const char *name)
{
	struct group_job job = {.name = name};
	return writer_run(f->writer, delete_job, &job, &f->e);
}

static struct host_group_spec valid(char *name)
{
	return (struct host_group_spec){
	        .name = name, .overcommit = {.cpu_ratio = 2.0, .memory_ratio = 1.0}};
}

static void test_default_group_has_the_default_policy(void **state)
{
	struct host_fixture *f = *state;
	struct host_group_row row CLEANUP(host_group_row_done) = {0};
	assert_int_equal(host_group_store_get(f->reader, "default", &row, &f->e), 0);
	assert_string_equal(row.id, DEFAULT);
	assert_true(row.spec.overcommit.cpu_ratio == 4.0);
	assert_true(row.spec.overcommit.memory_ratio == 1.0);
	assert_int_equal(row.spec.overcommit.mode, OVERCOMMIT_STRICT);
	assert_int_equal(row.spec.host_reserve.memory_bytes, 0);
}

static void test_ratios_below_one_and_not_numbers_are_refused(void **state)
{
	struct host_fixture *f = *state;
	const double wrong[] = {0.99, 0.0, -1.0, 64.5, NAN, INFINITY, -INFINITY};
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		struct host_group_spec spec = valid("g");
		spec.overcommit.cpu_ratio = wrong[i];
		assert_int_equal(create(f, &spec), ERR_INVALID);
		assert_string_equal(f->e.pointer, "/overcommit/cpu_ratio");
		spec = valid("g");
		spec.overcommit.memory_ratio = wrong[i];
		assert_int_equal(create(f, &spec), ERR_INVALID);
		assert_string_equal(f->e.pointer, "/overcommit/memory_ratio");
	}
	assert_int_equal(fixture_int(f, "SELECT count(*) FROM host_group"), 1);
}

static void test_patch_changes_one_member_and_keeps_the_others(void **state)
{
	struct host_fixture *f = *state;
	assert_int_equal(patch(f, "default", "{\"overcommit\":{\"memory_ratio\":1.5}}", NULL), 0);
	struct host_group_row row CLEANUP(host_group_row_done) = {0};
	assert_int_equal(host_group_store_get(f->reader, DEFAULT, &row, &f->e), 0);
	assert_true(row.spec.overcommit.memory_ratio == 1.5);
	assert_true(row.spec.overcommit.cpu_ratio == 4.0);
	assert_int_equal(row.version, 2);
	assert_string_equal(row.spec.name, "default");
}

static void test_patch_reports_every_error_and_changes_nothing(void **state)
{
	struct host_fixture *f = *state;
	size_t n = 0;
	assert_int_equal(patch(f, "default",
	                         "{\"overcommit\":{\"cpu_ratio\":0.5,\"mode\":\"wild\"},"
	                         "\"placement\":{\"survive_host_loss\":2},\"version\":7}",
	                         &n),
	        ERR_INVALID);
	assert_int_equal(n, 4);
	assert_int_equal(fixture_int(f, "SELECT version FROM host_group"), 1);
}

static void test_balloon_has_the_defaults_of_the_plan(void **state)
{
	struct host_fixture *f = *state;
	struct balloon_policy expected = {0};
	struct host_group_row row CLEANUP(host_group_row_done) = {0};
	balloon_policy_default(&expected);
	assert_int_equal(patch(f, "default", "{\"balloon\":{\"enabled\":true}}", NULL), 0);
	assert_int_equal(host_group_store_get(f->reader, DEFAULT, &row, &f->e), 0);
	expected.period_ms = 0; /* not the group's */
	assert_memory_equal(&row.spec.balloon, &expected, sizeof(expected));
}

/* A group of an earlier version. */
static void test_balloon_is_complete_where_less_was_stored(void **state)
{
	(void)state;
	struct err e = {0};
	struct host_group_spec spec CLEANUP(host_group_spec_done) = {0};
	assert_int_equal(host_group_load("{\"balloon\":{\"enabled\":false}}", &spec, &e), 0);
	assert_false(spec.balloon.enabled);
	assert_int_equal(spec.balloon.margin_percent, 12);
	assert_int_equal(spec.balloon.pool_percent, 4);
}

static void test_balloon_members_have_bounds(void **state)
{
	struct host_fixture *f = *state;
	static const struct {
		const char *member, *below, *least, *most, *above;
	} members[] = {
	        {"margin_percent", "-1", "0", "100", "101"},
	        {"margin_bytes", "-1", "0", "1099511627776", "1099511627777"},
	        {"step_percent", "0", "1", "100", "101"},
	        {"idle_tax_percent", "-1", "0", "95", "96"},
	        {"pool_percent", "-1", "0", "50", "51"},
	};
	for (size_t i = 0; i < ARRAY_LEN(members); i++) {
		const char *const values[] = {
		        members[i].below, members[i].above, members[i].least, members[i].most};
		for (size_t k = 0; k < ARRAY_LEN(values); k++) {
			char text[128];
			size_t n = 0;
			snprintf(text, sizeof(text), "{\"balloon\":{\"%s\":%s}}", members[i].member,
			        values[k]);
			assert_int_equal(patch(f, "default", text, &n), k < 2 ? ERR_INVALID : 0);
			assert_int_equal(n, k < 2 ? 1 : 0);
		}
	}
}

static void test_a_taken_name_is_refused(void **state)
{
	struct host_fixture *f = *state;
	struct host_group_spec spec = valid("default");
	assert_int_equal(create(f, &spec), ERR_EXISTS);
	assert_string_equal(f->e.pointer, "/name");
}

static void test_default_group_cannot_be_removed_or_renamed(void **state)
{
	struct host_fixture *f = *state;
	assert_int_equal(delete_group(f, "default"), ERR_PROTECTED);
	assert_int_equal(patch(f, "default", "{\"name\":\"other\"}", NULL), ERR_PROTECTED);
	assert_int_equal(fixture_int(f, "SELECT count(*) FROM host_group"), 1);
}

static void test_a_group_with_hosts_cannot_be_removed_and_names_them(void **state)
{
	struct host_fixture *f = *state;
	struct host_group_spec spec = valid("lab");
	assert_int_equal(create(f, &spec), 0);
	assert_int_equal(fixture_create(f, NULL, "h1", "fake:///h1", NULL), 0);
	assert_int_equal(fixture_patch(f, NULL, "h1", "{\"group\":\"lab\"}", NULL), 0);
	assert_int_equal(delete_group(f, "lab"), ERR_IN_USE);
	assert_non_null(strstr(f->e.message, "h1"));
	assert_int_equal(fixture_patch(f, NULL, "h1", "{\"group\":null}", NULL), 0);
	assert_int_equal(delete_group(f, "lab"), 0);
	assert_true(fixture_is(f,
	        "SELECT event FROM change WHERE kind = 'host_group' ORDER BY seq DESC LIMIT 1",
	        "deleted"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        TEST(test_default_group_has_the_default_policy),
	        TEST(test_ratios_below_one_and_not_numbers_are_refused),
	        TEST(test_patch_changes_one_member_and_keeps_the_others),
	        TEST(test_patch_reports_every_error_and_changes_nothing),
	        TEST(test_balloon_has_the_defaults_of_the_plan),
	        TEST(test_balloon_is_complete_where_less_was_stored),
	        TEST(test_balloon_members_have_bounds),
	        TEST(test_a_taken_name_is_refused),
	        TEST(test_default_group_cannot_be_removed_or_renamed),
	        TEST(test_a_group_with_hosts_cannot_be_removed_and_names_them),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Idempotency records: found again, per principal, for a day. */
#include "tests/unit/db/temp_db.h"

#include "api/idempotency_store.h"
#include "base/clock.h"

#define NOW_MS 1800000000000

struct fixture {
	struct temp_db temp;
	struct db *db;
};

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));
	temp_db_init(&f->temp);
	f->db = temp_db_open(&f->temp, DB_READ_WRITE);
	clock_fake_set(NOW_MS);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	clock_fake_set(-1);
	db_close(f->db);
	temp_db_done(&f->temp);
	free(f);
	return 0;
}

static int add(struct fixture *f, const char *principal, const char *key, char *body, struct err *e)
{
	const struct idempotency_record record = {
	        .digest = {1, 2, 3}, .status = 201, .location = "/api/v1/vms/x", .body = body};
	return idempotency_add(f->db, principal, key, &record, e);
}

static bool find(struct fixture *f, const char *principal, const char *key)
{
	struct err e = {0};
	struct idempotency_record record = {0};
	bool found = false;
	must(idempotency_find(f->db, principal, key, &record, &found, &e), &e);
	idempotency_record_done(&record);
	return found;
}

static void test_record_comes_back_whole(void **state)
{
	struct fixture *f = *state;
	struct err e = {0};
	struct idempotency_record record = {0};
	bool found = false;
	const unsigned char digest[IDEMPOTENCY_DIGEST_SIZE] = {1, 2, 3};
	must(add(f, "root", "k", "{\"id\":1}", &e), &e);
	must(idempotency_find(f->db, "root", "k", &record, &found, &e), &e);
	assert_true(found);
	assert_memory_equal(record.digest, digest, sizeof(digest));
	assert_int_equal(record.status, 201);
	assert_string_equal(record.location, "/api/v1/vms/x");
	assert_null(record.etag);
	assert_string_equal(record.body, "{\"id\":1}");
	assert_int_equal(record.created_at, NOW_MS);
	idempotency_record_done(&record);
}

static void test_answer_without_a_body_is_kept_too(void **state)
{
	struct fixture *f = *state;
	struct err e = {0};
	must(add(f, "root", "k", NULL, &e), &e);
	assert_true(find(f, "root", "k"));
}

static void test_keys_of_principals_are_apart(void **state)
{
	struct fixture *f = *state;
	struct err e = {0};
	must(add(f, "root", "k", "", &e), &e);
	assert_false(find(f, "token:ci", "k"));
	assert_false(find(f, "root", "K"));
	must(add(f, "token:ci", "k", "", &e), &e);
	assert_true(find(f, "token:ci", "k"));
}

static void test_live_record_is_never_replaced(void **state)
{
	struct fixture *f = *state;
	struct err e = {0};
	must(add(f, "root", "k", "first", &e), &e);
	assert_int_equal(add(f, "root", "k", "second", &e), ERR_EXISTS);
	assert_int_equal(
	        temp_db_int(&f->temp, "SELECT count(*) FROM idempotency WHERE body = 'first'"), 1);
}

static void test_key_may_be_used_anew_after_a_day(void **state)
{
	struct fixture *f = *state;
	struct err e = {0};
	must(add(f, "root", "k", "first", &e), &e);
	clock_fake_set(NOW_MS + IDEMPOTENCY_KEEP_MS);
	assert_true(find(f, "root", "k"));
	clock_fake_set(NOW_MS + IDEMPOTENCY_KEEP_MS + 1);
	assert_false(find(f, "root", "k"));
	must(add(f, "root", "k", "second", &e), &e);
	assert_true(find(f, "root", "k"));
	assert_int_equal(
	        temp_db_int(&f->temp, "SELECT count(*) FROM idempotency WHERE body = 'second'"), 1);
}

static void test_pruning_removes_only_older_records(void **state)
{
	struct fixture *f = *state;
	struct err e = {0};
	must(add(f, "root", "old", "", &e), &e);
	clock_fake_set(NOW_MS + 10);
	must(add(f, "root", "new", "", &e), &e);
	must(idempotency_prune(f->db, NOW_MS + 10, &e), &e);
	assert_false(find(f, "root", "old"));
	assert_true(find(f, "root", "new"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	        T(test_record_comes_back_whole),
	        T(test_answer_without_a_body_is_kept_too),
	        T(test_keys_of_principals_are_apart),
	        T(test_live_record_is_never_replaced),
	        T(test_key_may_be_used_anew_after_a_day),
	        T(test_pruning_removes_only_older_records),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* API tokens: secrets, expiry, revocation, listing. */
#include "tests/unit/db/temp_db.h"

#include "api/token.h"
#include "base/clock.h"
#include "base/str.h"

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

static struct token create(struct fixture *f, const char *name, enum token_role role,
        int64_t expires_at, char secret[TOKEN_SECRET_SIZE])
{
	struct err e = {0};
	struct token token = {0};
	const struct token_spec spec = {.name = name, .role = role, .expires_at = expires_at};
	must(token_create(f->db, &spec, &token, secret, &e), &e);
	return token;
}

static void test_secret_finds_its_token(void **state)
{
	struct fixture *f = *state;
	struct err e = {0};
	char secret[TOKEN_SECRET_SIZE], other[TOKEN_SECRET_SIZE];
	struct token made = create(f, "ci", TOKEN_OPERATOR, 0, secret);
	struct token second = create(f, "web", TOKEN_VIEWER, 0, other);
	struct token found = {0};
	must(token_find_by_secret(f->db, secret, &found, &e), &e);
	assert_string_equal(found.id, made.id);
	assert_string_equal(found.name, "ci");
	assert_int_equal(found.role, TOKEN_OPERATOR);
	assert_int_equal(found.created_at, NOW_MS);
	assert_int_equal(found.expires_at, 0);
	assert_int_equal(found.version, 1);
	token_done(&found);
	token_done(&made);
	token_done(&second);
}

static void test_secret_has_the_documented_shape_and_is_never_the_same(void **state)
{
	struct fixture *f = *state;
	char a[TOKEN_SECRET_SIZE], b[TOKEN_SECRET_SIZE];
	struct token first = create(f, "a", TOKEN_ADMIN, 0, a);
	struct token second = create(f, "b", TOKEN_ADMIN, 0, b);
	assert_true(str_starts_with(a, "berth_"));
	assert_int_equal(strlen(a), 49);
	assert_int_equal(
	        strspn(a + 6, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
	        43);
	assert_string_not_equal(a, b);
	token_done(&first);
	token_done(&second);
}

static bool file_contains(const char *path, const char *text)
{
	FILE *file = fopen(path, "r");
	if (!file)
		return false;
	char *data = xcalloc(1, 4 << 20);
	size_t len = fread(data, 1, 4 << 20, file);
	bool found = memmem(data, len, text, strlen(text)) != NULL;
	free(data);
	fclose(file);
	return found;
}

static void test_secret_is_not_in_the_database(void **state)
{
	struct fixture *f = *state;
	char secret[TOKEN_SECRET_SIZE], wal[128];
	struct token token = create(f, "findable-name", TOKEN_ADMIN, 0, secret);
	snprintf(wal, sizeof(wal), "%s-wal", f->temp.path);
	assert_true(file_contains(wal, "findable-name"));
	assert_false(file_contains(wal, secret));
	assert_false(file_contains(wal, secret + 6));
	assert_false(file_contains(f->temp.path, secret + 6));
	token_done(&token);
}

static void test_wrong_secrets_are_unauthenticated(void **state)
{
	struct fixture *f = *state;
	char secret[TOKEN_SECRET_SIZE];
	struct token token = create(f, "ci", TOKEN_ADMIN, 0, secret);
	struct token found = {0};
	struct err e = {0};
	secret[20] = secret[20] == 'A' ? 'B' : 'A';
	const char *const wrong[] = {"", "berth_", "x", secret, secret + 6, token.id, "ci"};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_equal(
		        token_find_by_secret(f->db, wrong[i], &found, &e), ERR_UNAUTHENTICATED);
		assert_null(found.name);
	}
	token_done(&token);
}

static void test_token_ends_at_its_expiry(void **state)
{
	struct fixture *f = *state;
	char secret[TOKEN_SECRET_SIZE];
	struct err e = {0};
	struct token token = create(f, "ci", TOKEN_ADMIN, NOW_MS + 1000, secret), found = {0};
	clock_fake_set(NOW_MS + 999);
	must(token_find_by_secret(f->db, secret, &found, &e), &e);
	token_done(&found);
	clock_fake_set(NOW_MS + 1000);
	assert_int_equal(token_find_by_secret(f->db, secret, &found, &e), ERR_UNAUTHENTICATED);
	assert_non_null(strstr(e.message, "expired"));
	token_done(&token);
}

static void test_expiry_in_the_past_is_refused(void **state)
{
	struct fixture *f = *state;
	char secret[TOKEN_SECRET_SIZE];
	struct token token = {0};
	struct err e = {0};
	const struct token_spec spec = {.name = "ci", .expires_at = NOW_MS};
	assert_int_equal(token_create(f->db, &spec, &token, secret, &e), ERR_INVALID);
	assert_string_equal(e.pointer, "/expires_at");
	assert_int_equal(temp_db_int(&f->temp, "SELECT count(*) FROM token"), 0);
}

static void test_name_in_use_is_refused(void **state)
{
	struct fixture *f = *state;
	char secret[TOKEN_SECRET_SIZE];
	struct token first = create(f, "ci", TOKEN_ADMIN, 0, secret), second = {0};
	struct err e = {0};
	const struct token_spec spec = {.name = "ci"};
	assert_int_equal(token_create(f->db, &spec, &second, secret, &e), ERR_EXISTS);
	assert_non_null(strstr(e.message, "ci"));
	assert_string_equal(e.pointer, "/name");
	token_done(&first);
}

static void test_deleted_token_is_revoked_at_once(void **state)
{
	struct fixture *f = *state;
	char secret[TOKEN_SECRET_SIZE];
	struct token token = create(f, "ci", TOKEN_ADMIN, 0, secret), found = {0};
	struct err e = {0};
	must(token_delete(f->db, &token, &e), &e);
	assert_int_equal(token_find_by_secret(f->db, secret, &found, &e), ERR_UNAUTHENTICATED);
	assert_int_equal(token_delete(f->db, &token, &e), ERR_NOT_FOUND);
	token_done(&token);
}

static void test_mutations_write_change_rows(void **state)
{
	struct fixture *f = *state;
	char secret[TOKEN_SECRET_SIZE];
	struct token token = create(f, "ci", TOKEN_ADMIN, 0, secret);
	struct err e = {0};
	must(token_delete(f->db, &token, &e), &e);
	assert_int_equal(
	        temp_db_int(&f->temp, "SELECT count(*) FROM change WHERE kind = 'token' AND "
	                              "name = 'ci' AND event = 'created' AND seq = 1"),
	        1);
	assert_int_equal(
	        temp_db_int(&f->temp, "SELECT count(*) FROM change WHERE kind = 'token' AND "
	                              "name = 'ci' AND event = 'deleted' AND seq = 2"),
	        1);
	token_done(&token);
}

static void test_get_takes_a_name_or_an_id(void **state)
{
	struct fixture *f = *state;
	char secret[TOKEN_SECRET_SIZE];
	struct token token = create(f, "ci", TOKEN_ADMIN, 0, secret), found = {0};
	struct err e = {0};
	must(token_store_get(f->db, "ci", &found, &e), &e);
	assert_string_equal(found.id, token.id);
	token_done(&found);
	must(token_store_get(f->db, token.id, &found, &e), &e);
	assert_string_equal(found.name, "ci");
	token_done(&found);
	assert_int_equal(token_store_get(f->db, "other", &found, &e), ERR_NOT_FOUND);
	token_done(&token);
}

static int add_name(void *arg, const struct token *token)
{
	str_printf(arg, "%s,", token->name);
	return 0;
}

static void test_list_follows_the_given_fragments(void **state)
{
	struct fixture *f = *state;
	char secret[TOKEN_SECRET_SIZE];
	const char *const names[] = {"a", "b", "c", "d"};
	for (int i = 0; i < 4; i++) {
		struct token token =
		        create(f, names[i], i % 2 ? TOKEN_ADMIN : TOKEN_VIEWER, 0, secret);
		token_done(&token);
	}
	struct err e = {0};
	struct str out = {0};
	struct db_page all = {.where = "", .order = "ORDER BY name", .limit = 3};
	must(token_store_list(f->db, &all, add_name, &out, &e), &e);
	assert_string_equal(out.data, "a,b,c,");
	str_reset(&out);
	const struct sql_bind bind = {.type = SQL_BIND_TEXT, .text = "admin"};
	struct db_page admins = {.where = "role = ?",
	        .order = "ORDER BY name DESC",
	        .binds = &bind,
	        .n_binds = 1,
	        .limit = 10};
	must(token_store_list(f->db, &admins, add_name, &out, &e), &e);
	assert_string_equal(out.data, "d,b,");
	str_done(&out);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	        T(test_secret_finds_its_token),
	        T(test_secret_has_the_documented_shape_and_is_never_the_same),
	        T(test_secret_is_not_in_the_database),
	        T(test_wrong_secrets_are_unauthenticated),
	        T(test_token_ends_at_its_expiry),
	        T(test_expiry_in_the_past_is_refused),
	        T(test_name_in_use_is_refused),
	        T(test_deleted_token_is_revoked_at_once),
	        T(test_mutations_write_change_rows),
	        T(test_get_takes_a_name_or_an_id),
	        T(test_list_follows_the_given_fragments),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

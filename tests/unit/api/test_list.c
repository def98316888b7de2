/* SPDX-License-Identifier: Apache-2.0 */
/* Lists over a real server: pages, filter, sort, fields. */
#include "api_world.h"

static int insert_many(struct db *db, void *arg, struct err *e)
{
	(void)arg;
	for (int i = 0; i < 25; i++) {
		char name[16];
		snprintf(name, sizeof(name), "n%02d", i);
		int rc = insert_thing(db, name, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int setup_many(void **state)
{
	setup(state);
	struct err e = {0};
	return writer_run(world.writer, insert_many, NULL, &e);
}

static json_t *get(const char *path)
{
	struct answer a = ask("GET", path, "", NULL);
	if (a.status != 200)
		fail_msg("%s: %s", path, a.text);
	json_t *value = json_loads(a.body, 0, NULL);
	assert_non_null(value);
	answer_done(&a);
	return value;
}

static const char *name_at(json_t *page, size_t i)
{
	return json_string_value(
	        json_object_get(json_array_get(json_object_get(page, "items"), i), "name"));
}

static void test_pages_cover_all_rows_once(void **state)
{
	(void)state;
	char path[600] = "/api/v1/things?page_size=10", seen[25] = {0};
	int pages = 0;
	for (;;) {
		json_t *page = get(path);
		json_t *items = json_object_get(page, "items");
		for (size_t i = 0; i < json_array_size(items); i++)
			seen[atoi(name_at(page, i) + 1)]++;
		pages++;
		const char *token = json_string_value(json_object_get(page, "next_page_token"));
		snprintf(path, sizeof(path), "/api/v1/things?page_size=10&page_token=%s",
		        token ? token : "");
		bool is_last = !token;
		json_decref(page);
		if (is_last)
			break;
	}
	assert_int_equal(pages, 3);
	for (int i = 0; i < 25; i++)
		assert_int_equal(seen[i], 1);
}

static void test_exact_page_has_no_next(void **state)
{
	(void)state;
	json_t *page = get("/api/v1/things?page_size=25");
	assert_int_equal(json_array_size(json_object_get(page, "items")), 25);
	assert_true(json_is_null(json_object_get(page, "next_page_token")));
	json_decref(page);
}

static void test_link_header_leads_to_the_next_page(void **state)
{
	(void)state;
	struct answer a = ask("GET", "/api/v1/things?page_size=20&sort=-name", "", NULL);
	const char *link = find_header(a.text, "Link: <");
	assert_non_null(link);
	char path[600];
	snprintf(path, sizeof(path), "%.*s", (int)strcspn(link, ">"), link);
	assert_non_null(strstr(a.text, ">; rel=\"next\""));
	answer_done(&a);
	json_t *page = get(path);
	assert_int_equal(json_array_size(json_object_get(page, "items")), 5);
	assert_string_equal(name_at(page, 0), "n04");
	json_decref(page);
}

static void test_sort_and_filter(void **state)
{
	(void)state;
	json_t *page = get("/api/v1/things?filter=name%20gt%20n20&sort=-name");
	assert_int_equal(json_array_size(json_object_get(page, "items")), 4);
	assert_string_equal(name_at(page, 0), "n24");
	json_decref(page);
}

static void test_fields_select_members_of_each_item(void **state)
{
	(void)state;
	struct answer a = ask("GET", "/api/v1/things?page_size=2&fields=name", "", NULL);
	assert_non_null(strstr(a.body, "{\"items\":[{\"name\":\"n00\"},{\"name\":\"n01\"}],"));
	answer_done(&a);
}

static void test_wrong_parameters_are_told(void **state)
{
	(void)state;
	expect(ask("GET", "/api/v1/things?page_size=0", "", NULL), 400, "?page_size");
	expect(ask("GET", "/api/v1/things?page_size=1001", "", NULL), 400, "?page_size");
	expect(ask("GET", "/api/v1/things?filter=colour%20eq%20red", "", NULL), 400, "?filter");
	expect(ask("GET", "/api/v1/things?sort=colour", "", NULL), 400, "?sort");
	expect(ask("GET", "/api/v1/things?page_token=x", "", NULL), 400, "?page_token");
	expect(ask("GET", "/api/v1/things?fields=colour", "", NULL), 400, "?fields");
}

static void test_empty_list(void **state)
{
	(void)state;
	struct answer a = ask("GET", "/api/v1/things?filter=name%20eq%20none", "", NULL);
	assert_string_equal(a.body, "{\"items\":[],\"next_page_token\":null}");
	answer_done(&a);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup_many, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        T(test_pages_cover_all_rows_once),
	        T(test_exact_page_has_no_next),
	        T(test_link_header_leads_to_the_next_page),
	        T(test_sort_and_filter),
	        T(test_fields_select_members_of_each_item),
	        T(test_wrong_parameters_are_told),
	        T(test_empty_list),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

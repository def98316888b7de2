/* SPDX-License-Identifier: Apache-2.0 */
/* The router: finding, decoding, refusing. Pure. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "api/router.h"
#include "base/cleanup.h"

static int handler(struct request *rq, struct reply *reply, struct err *e)
{
	(void)rq, (void)reply, (void)e;
	return 0;
}

#define ROUTE(method_, path_, id_)                                                                 \
	{                                                                                          \
		.method = method_, .path = path_, .permission = "vm.read", .status = 200,          \
		.id = id_, .summary = "s", .handler = handler                                      \
	}
static const struct route routes[] = {
        ROUTE("GET", "/vms", "list"),
        ROUTE("POST", "/vms", "create"),
        ROUTE("GET", "/vms/{vm}", "get"),
        ROUTE("DELETE", "/vms/{vm}", "delete"),
        ROUTE("POST", "/vms/{vm}/start", "start"),
        ROUTE("POST", "/vms/{vm}/disks/{disk}/move", "move"),
        ROUTE("GET", "/vms/special", "special"),
        ROUTE("GET", "!/healthz", "health"),
        ROUTE("GET", "!/api/v1", "root"),
};
static const struct route_table table = {
        .tag = "T", .routes = routes, .n_routes = ARRAY_LEN(routes)};

static struct router *router;
static struct router_match match;

static int setup(void **state)
{
	(void)state;
	struct err e = {0};
	const struct route_table *const tables[] = {&table, NULL};
	return router_new(tables, &router, &e);
}

static int teardown(void **state)
{
	(void)state;
	router_free(router);
	return 0;
}

static int find(const char *method, const char *path)
{
	struct err e = {0};
	return router_find(router, method, path, strlen(path), &match, &e);
}

static void expect_route(const char *method, const char *path, const char *id)
{
	assert_int_equal(find(method, path), 0);
	assert_string_equal(match.entry->route->id, id);
}

static void test_routes_are_found(void **state)
{
	(void)state;
	expect_route("GET", "/api/v1/vms", "list");
	expect_route("POST", "/api/v1/vms", "create");
	expect_route("GET", "/healthz", "health");
	expect_route("GET", "/api/v1", "root");
	expect_route("POST", "/api/v1/vms/web1/start", "start");
	expect_route("HEAD", "/api/v1/vms", "list");
}

static void test_parameters_are_decoded_in_order(void **state)
{
	(void)state;
	expect_route("POST", "/api/v1/vms/we%62/disks/d%20%C3%A9+/move", "move");
	assert_int_equal(match.n_params, 2);
	assert_string_equal(match.params[0], "web");
	assert_string_equal(match.params[1], "d \xc3\xa9+");
}

static void test_fixed_segment_wins_over_parameter(void **state)
{
	(void)state;
	expect_route("GET", "/api/v1/vms/special", "special");
	expect_route("GET", "/api/v1/vms/specia", "get");
	expect_route("GET", "/api/v1/vms/special2", "get");
}

static void test_missing_paths(void **state)
{
	(void)state;
	static const char *const paths[] = {"/", "", "/api", "/api/v1/", "/api/v1/vms/",
	        "/api/v1//vms", "/api/v1/vms/a/b", "/api/v2/vms", "api/v1/vms",
	        "/api/v1/vms/a/disks/b", "/vms", "*"};
	for (size_t i = 0; i < ARRAY_LEN(paths); i++)
		if (find("GET", paths[i]) != ERR_NOT_FOUND)
			fail_msg("found: %s", paths[i]);
}

static void test_wrong_method_names_the_right_ones(void **state)
{
	(void)state;
	assert_int_equal(find("PUT", "/api/v1/vms/a"), ERR_METHOD_NOT_ALLOWED);
	assert_string_equal(match.allow, "GET, HEAD, DELETE");
	assert_int_equal(find("BREW", "/api/v1/vms"), ERR_METHOD_NOT_ALLOWED);
	assert_int_equal(find("get", "/api/v1/vms"), ERR_METHOD_NOT_ALLOWED);
	assert_null(match.entry);
}

static void test_bad_encodings_are_refused(void **state)
{
	(void)state;
	static const char *const paths[] = {"/api/v1/vms/%", "/api/v1/vms/%4", "/api/v1/vms/%zz",
	        "/api/v1/vms/%00", "/api/v1/vms/a%2fb", "/api/v1/vms/%C3", "/api/v1/vms/%C0%80",
	        "/api/v1/vms/%0a", "/api/v1/vms/%7f", "/api/v1/vms/\xff", "/%2e%2f/x"};
	for (size_t i = 0; i < ARRAY_LEN(paths); i++)
		if (find("GET", paths[i]) != ERR_MALFORMED)
			fail_msg("not refused: %s", paths[i]);
}

static void test_long_paths_are_refused(void **state)
{
	(void)state;
	static char path[ROUTER_PATH_MAX + 1];
	memset(path, 'a', ROUTER_PATH_MAX);
	memcpy(path, "/api/v1/vms/", 12);
	assert_int_equal(find("GET", path), ERR_URI_TOO_LONG);
	path[ROUTER_PATH_MAX - 1] = '\0';
	assert_int_equal(find("GET", path), 0);
}

static int try(struct route route)
{
	struct err e = {0};
	struct router *r = NULL;
	const struct route two[] = {routes[0], route};
	const struct route_table bad = {.tag = "T", .routes = two, .n_routes = 2};
	const struct route_table *const tables[] = {&bad, NULL};
	int rc = router_new(tables, &r, &e);
	router_free(r);
	return rc;
}

static void test_wrong_declarations_are_refused_at_start(void **state)
{
	(void)state;
	struct route route = ROUTE("GET", "/other", "other");
	assert_int_equal(try(route), 0);
	assert_int_equal(try(routes[0]), ERR_INTERNAL); /* twice */
	route.permission = NULL;
	assert_int_equal(try(route), ERR_INTERNAL);
	route.flags = ROUTE_PUBLIC;
	assert_int_equal(try(route), 0);
	route.permission = "vm.read";
	assert_int_equal(try(route), ERR_INTERNAL);
	route.flags = 0;
	route.method = "BREW";
	assert_int_equal(try(route), ERR_INTERNAL);
	route.method = "GET";
	route.handler = NULL;
	assert_int_equal(try(route), ERR_INTERNAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_routes_are_found),
	        cmocka_unit_test(test_parameters_are_decoded_in_order),
	        cmocka_unit_test(test_fixed_segment_wins_over_parameter),
	        cmocka_unit_test(test_missing_paths),
	        cmocka_unit_test(test_wrong_method_names_the_right_ones),
	        cmocka_unit_test(test_bad_encodings_are_refused),
	        cmocka_unit_test(test_long_paths_are_refused),
	        cmocka_unit_test(test_wrong_declarations_are_refused_at_start),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the router: "METHOD PATH". Parameters that come out are clean: no slash, no control
 * character, valid UTF-8. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/router.h"
#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int handler(struct request *rq, struct reply *reply, struct err *e)
{
	(void)rq, (void)reply, (void)e;
	return 0;
}

#define ROUTE(method_, path_)                                                                      \
	{                                                                                          \
		.method = method_, .path = path_, .permission = "x", .status = 200, .id = "x",     \
		.summary = "x", .handler = handler                                                 \
	}
static const struct route routes[] = {
        ROUTE("GET", "/vms"),
        ROUTE("POST", "/vms"),
        ROUTE("GET", "/vms/{vm}"),
        ROUTE("PATCH", "/vms/{vm}"),
        ROUTE("POST", "/vms/{vm}/start"),
        ROUTE("GET", "/pools/{pool}/volumes/{volume}"),
        ROUTE("GET", "/a/{a}/{b}/{c}/{d}"),
        ROUTE("GET", "!/healthz"),
};
static const struct route_table table = {
        .tag = "T", .routes = routes, .n_routes = ARRAY_LEN(routes)};
static const struct route_table *const tables[] = {&table, NULL};

static void check_param(const char *param)
{
	if (!param[0] || strchr(param, '/'))
		abort();
	for (const char *at = param; *at;) {
		size_t len = str_utf8_len(at);
		if (len == 0 || (unsigned char)*at < 0x20)
			abort();
		at += len;
	}
}

static void find(const struct router *r, const char *method, const char *path, size_t len)
{
	struct router_match match;
	struct err e = {0};
	int rc = router_find(r, method, path, len, &match, &e);
	if ((rc == 0) != (match.entry != NULL) || (rc < 0 && e.code != rc))
		abort();
	for (size_t i = 0; rc == 0 && i < match.n_params; i++)
		check_param(match.params[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct router *router;
	if (!router && router_new(tables, &router, NULL) < 0)
		abort();
	CLEANUP(cleanup_free) char *text = xstrndup((const char *)data, size);
	char *space = strchr(text, ' ');
	if (!space)
		return 0;
	*space = '\0';
	/* the path in memory of its own size, so that a step beyond its end is seen */
	size_t len = strlen(space + 1);
	CLEANUP(cleanup_free) char *path = xmemdup(space + 1, len ? len : 1);
	find(router, text, path, len);
	CLEANUP(cleanup_free) char *decoded = malloc(len + 1);
	if (decoded && router_decode(path, len, true, decoded) > (long)len)
		abort();
	return 0;
}

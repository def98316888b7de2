/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From method and path to a route: the tables compiled into a tree of path segments.
 *
 * A segment is percent-decoded by itself, so an encoded slash can never make a new one: it is
 * refused, as are NUL, control characters and bad UTF-8. HEAD finds the GET route. Immutable after
 * router_new; any thread.
 */
#pragma once

#include "api/route.h"

#define ROUTER_PATH_MAX   2048 /* bytes of a path */
#define ROUTER_PARAMS_MAX 4

struct router;

/* One route as the server knows it. */
struct router_entry {
	const struct route *route;
	const char *tag;
	char *path;   /* owned: the full path, "/api/v1/vms/{vm}" */
	size_t index; /* 0..n-1 over all tables */
};

struct router_match {
	const struct router_entry *entry;      /* NULL unless found */
	const char *params[ROUTER_PARAMS_MAX]; /* decoded, in `text` */
	size_t n_params;
	char allow[48]; /* for a 405: the methods there are */
	char text[ROUTER_PATH_MAX];
};

/*
 * ERR_INTERNAL names a route that is declared twice, has no permission nor ROUTE_PUBLIC (or both),
 * too many parameters, or no handler. The tables are borrowed for ever.
 */
int router_new(const struct route_table *const *tables, struct router **ret_router, struct err *e);
void router_free(struct router *r);
/*
 * Finds the route of a raw (still encoded) path without query. 0; ERR_MALFORMED, ERR_URI_TOO_LONG,
 * ERR_NOT_FOUND, or ERR_METHOD_NOT_ALLOWED with ret_match->allow filled in. No allocation.
 */
int router_find(const struct router *r, const char *method, const char *path, size_t path_len,
        struct router_match *ret_match, struct err *e);
size_t router_count(const struct router *r);
const struct router_entry *router_entry_at(const struct router *r, size_t index);

/*
 * Decodes %XX (and '+' as a space if plus_is_space) into `to`, which must hold len + 1 bytes. The
 * length, or -1 for a bad escape, NUL, a control character or bad UTF-8. Pure.
 */
long router_decode(const char *text, size_t len, bool plus_is_space, char *to);

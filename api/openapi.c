/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The OpenAPI 3.1 document, from the route and field tables alone. The same tables give the same
 * text: paths in the order of their first route, schemas in the order they are met. Pure.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/exchange.h"
#include "base/cleanup.h"
#include "base/vec.h"

/* Any route may answer these. */
static const int common_errors[] = {ERR_INVALID, ERR_LIMIT, ERR_INTERNAL, 0};
static const int private_errors[] = {ERR_UNAUTHENTICATED, ERR_FORBIDDEN, 0};
static const int write_errors[] = {
        ERR_MEDIA_TYPE, ERR_TOO_LARGE, ERR_KEY_REUSED, ERR_UNAVAILABLE, 0};
static const int upload_errors[] = {ERR_MALFORMED, ERR_MEDIA_TYPE, ERR_REQUEST_TIMEOUT,
        ERR_TOO_LARGE, ERR_UNPROCESSABLE, ERR_UNAVAILABLE, ERR_DEADLINE, 0};
static const int download_errors[] = {ERR_RANGE, ERR_UNAVAILABLE, ERR_DEADLINE, 0};

struct document {
	const struct route_table *const *tables;
	struct json_writer *w;
	VEC(const struct field_table *) schemas; /* each name once */
};

static void member_ref(struct json_writer *w, const char *key, const char *name)
{
	CLEANUP(cleanup_free) char *ref = str_format("#/components/schemas/%s", name);
	json_key(w, key);
	json_object_begin(w);
	json_key_any(w, "$ref");
	json_put_string(w, ref);
	json_object_end(w);
}

static void write_schema_of(struct json_writer *w, const struct field_table *table)
{
	if (table->name) {
		member_ref(w, "schema", table->name);
		return;
	}
	json_key(w, "schema");
	field_schema(table, w);
}

/* ---- parameters ---- */

static void write_path_param(struct json_writer *w, const char *name, size_t len)
{
	CLEANUP(cleanup_free) char *text = xstrndup(name, len);
	CLEANUP(cleanup_free) char *doc = str_format("Name or id of the %s", text);
	json_object_begin(w);
	json_member_string(w, "name", text);
	json_member_string(w, "in", "path");
	json_member_bool(w, "required", true);
	json_member_string(w, "description", doc);
	json_member_raw(w, "schema", "{\"type\":\"string\"}");
	json_object_end(w);
}

static void write_param_schema(struct json_writer *w, const struct query_param *p)
{
	static const char *const types[] = {
	        [QUERY_BOOL] = "boolean", [QUERY_INT] = "integer", [QUERY_TEXT] = "string"};
	json_key(w, "schema");
	json_object_begin(w);
	json_member_string(w, "type", types[p->type]);
	if (p->type == QUERY_INT && (p->min != 0 || p->max != 0)) {
		json_member_int(w, "minimum", p->min);
		if (p->max < INT64_MAX)
			json_member_int(w, "maximum", p->max);
	}
	if (p->type == QUERY_TEXT && p->max > 0)
		json_key(w, "maxLength"), json_put_int(w, p->max);
	json_object_end(w);
}

static void write_query_param(struct json_writer *w, const struct query_param *p)
{
	json_object_begin(w);
	json_member_string(w, "name", p->name);
	json_member_string(w, "in", "query");
	json_member_string(w, "description", p->doc);
	write_param_schema(w, p);
	json_object_end(w);
}

static void write_header_param(struct json_writer *w, const char *name, const char *doc)
{
	json_object_begin(w);
	json_member_string(w, "name", name);
	json_member_string(w, "in", "header");
	json_member_string(w, "description", doc);
	json_member_raw(w, "schema", "{\"type\":\"string\"}");
	json_object_end(w);
}

static void write_header_params(struct json_writer *w, const struct route *route)
{
	bool is_post = strcmp(route->method, "POST") == 0;
	if (is_post && route->mode == ROUTE_WRITE && (route->flags & ROUTE_SECRET_ANSWER) == 0)
		write_header_param(w, "Idempotency-Key",
		        "The same key with the same request answers as the first time, for 24 h.");
	if (route->mode == ROUTE_WRITE && !is_post)
		write_header_param(
		        w, "If-Match", "The ETag the resource must still have, else 412.");
	if (route->mode == ROUTE_STREAM)
		write_header_param(w, "Last-Event-ID", "The number of the last event seen.");
	if (route->mode == ROUTE_UPLOAD) {
		write_header_param(
		        w, "Content-Digest", "RFC 9530; its sha-256 is compared with what came.");
		write_header_param(
		        w, "If-Match", "The ETag the resource must still have, else 412.");
	}
	if (route->mode == ROUTE_DOWNLOAD)
		write_header_param(w, "Range", "One range of bytes, where the length is known.");
}

static void write_params(struct json_writer *w, const struct route *route)
{
	const struct query_param *params[QUERY_MAX];
	size_t n = route_list_params(route, params);
	json_key(w, "parameters");
	json_array_begin(w);
	for (const char *at = strchr(route->path, '{'); at; at = strchr(at, '{')) {
		size_t len = strcspn(++at, "}");
		write_path_param(w, at, len);
	}
	for (size_t i = 0; i < n; i++)
		write_query_param(w, params[i]);
	write_header_params(w, route);
	json_array_end(w);
}

/* ---- bodies ---- */

#define ANY_BYTES "{\"schema\":{\"type\":\"string\",\"format\":\"binary\"}}"

static void write_request_body(struct json_writer *w, const struct route *route)
{
	bool is_patch = route->flags & ROUTE_MERGE_PATCH;
	if (route->mode == ROUTE_UPLOAD)
		json_member_raw(w, "requestBody",
		        "{\"required\":true,\"content\":{\"application/octet-stream\":" ANY_BYTES
		        "}}");
	if (!route->body && !is_patch)
		return;
	json_key(w, "requestBody");
	json_object_begin(w);
	json_member_bool(w, "required", (route->flags & ROUTE_BODY_OPTIONAL) == 0);
	json_key(w, "content");
	json_object_begin(w);
	json_key_any(w, is_patch ? "application/merge-patch+json" : "application/json");
	json_object_begin(w);
	if (is_patch) /* a patch needs none of the members, and null removes */
		json_member_raw(w, "schema", "{\"type\":\"object\"}");
	else
		write_schema_of(w, route->body);
	json_object_end(w);
	json_object_end(w);
	json_object_end(w);
}

static void write_list_schema(struct json_writer *w, const struct field_table *item)
{
	json_key(w, "schema");
	json_object_begin(w);
	json_member_string(w, "type", "object");
	json_member_raw(w, "required", "[\"items\",\"next_page_token\"]");
	json_key(w, "properties");
	json_object_begin(w);
	json_key(w, "items");
	json_object_begin(w);
	json_member_string(w, "type", "array");
	if (item->name) {
		member_ref(w, "items", item->name);
	} else {
		json_key(w, "items");
		field_schema(item, w);
	}
	json_object_end(w);
	json_member_raw(w, "next_page_token", "{\"type\":[\"string\",\"null\"]}");
	json_object_end(w);
	json_object_end(w);
}

/* A part is answered as the whole is. */
static void write_part(struct json_writer *w)
{
	json_member_raw(w, "206",
	        "{\"description\":\"The range that was asked for\","
	        "\"content\":{\"application/octet-stream\":" ANY_BYTES "}}");
}

static void write_answer_content(struct json_writer *w, const struct route *route)
{
	json_key(w, "content");
	json_object_begin(w);
	if (route->mode == ROUTE_DOWNLOAD) {
		json_member_raw(w, "application/octet-stream", ANY_BYTES);
		json_object_end(w);
		return;
	}
	json_key_any(w, route->flags & ROUTE_PLAIN_TEXT ? "text/plain"
	                : route->mode == ROUTE_STREAM   ? "text/event-stream"
	                                                : "application/json");
	json_object_begin(w);
	if (route->mode == ROUTE_STREAM || route->flags & ROUTE_PLAIN_TEXT)
		json_member_raw(w, "schema", "{\"type\":\"string\"}");
	else if (route->response && route->flags & ROUTE_LIST)
		write_list_schema(w, route->response);
	else if (route->response)
		write_schema_of(w, route->response);
	else
		json_member_raw(w, "schema", "{\"type\":\"object\"}");
	json_object_end(w);
	if (route->mode == ROUTE_STREAM && route->response) {
		json_key_any(w, "application/json");
		json_object_begin(w);
		write_schema_of(w, route->response);
		json_object_end(w);
	}
	json_object_end(w);
}

static void write_success(struct json_writer *w, const struct route *route, int status)
{
	char key[16];
	snprintf(key, sizeof(key), "%d", status);
	json_key_any(w, key);
	json_object_begin(w);
	json_member_string(w, "description",
	        status == 202   ? "Accepted: the operation that does it"
	        : status == 201 ? "Created"
	        : status == 204 ? "Done"
	                        : "OK");
	if (status != 204)
		write_answer_content(w, route);
	json_object_end(w);
}

/* ---- errors ---- */

static const int *errors_of_mode(const struct route *route)
{
	return route->mode == ROUTE_WRITE      ? write_errors
	       : route->mode == ROUTE_UPLOAD   ? upload_errors
	       : route->mode == ROUTE_DOWNLOAD ? download_errors
	                                       : NULL;
}

/* All codes of a status share one response; `statuses` collects which were written. */
static void add_statuses(const int *codes, bool statuses[600])
{
	for (; codes && *codes; codes++)
		statuses[err_info(*codes)->http_status] = true;
}

static void add_names(const int *codes, int status, struct str *names)
{
	for (; codes && *codes; codes++) {
		const struct err_info *info = err_info(*codes);
		if (info->http_status == status && !strstr(str_text(names), info->name))
			str_printf(names, "%s%s", names->len ? ", " : "", info->name);
	}
}

static void write_error(struct json_writer *w, const struct route *route, int status)
{
	struct str names CLEANUP(str_done) = {0};
	char key[16];
	add_names(common_errors, status, &names);
	add_names(private_errors, status, &names);
	add_names(errors_of_mode(route), status, &names);
	add_names(route->errors, status, &names);
	snprintf(key, sizeof(key), "%d", status);
	json_key_any(w, key);
	json_object_begin(w);
	json_member_string(w, "description", str_text(&names));
	json_member_raw(w, "content",
	        "{\"application/problem+json\":{\"schema\":{\"$ref\":\"#/components/schemas/"
	        "Problem\"}}}");
	json_object_end(w);
}

static void write_responses(struct json_writer *w, const struct route *route)
{
	bool statuses[600] = {0};
	add_statuses(common_errors, statuses);
	if ((route->flags & ROUTE_PUBLIC) == 0)
		add_statuses(private_errors, statuses);
	add_statuses(errors_of_mode(route), statuses);
	add_statuses(route->errors, statuses);
	json_key(w, "responses");
	json_object_begin(w);
	if (route->mode != ROUTE_READ && route->flags & ROUTE_OPERATION && route->status != 200)
		write_success(w, route, 200); /* with ?wait, once it has ended */
	write_success(w, route, route->status);
	if (route->mode == ROUTE_DOWNLOAD)
		write_part(w);
	for (int status = 300; status < 600; status++)
		if (statuses[status])
			write_error(w, route, status);
	json_object_end(w);
}

/* ---- paths ---- */

static void write_operation(
        struct json_writer *w, const struct route_table *table, const struct route *route)
{
	char method[16] = "";
	for (size_t i = 0; i < sizeof(method) - 1 && route->method[i]; i++)
		method[i] = (char)tolower((unsigned char)route->method[i]);
	json_key(w, method);
	json_object_begin(w);
	json_key(w, "operationId");
	json_put_string(w, route->id);
	json_member_string(w, "summary", route->summary);
	json_key(w, "tags");
	json_array_begin(w);
	json_put_string(w, table->tag);
	json_array_end(w);
	if (route->flags & ROUTE_PUBLIC)
		json_member_raw(w, "security", "[]");
	else
		json_key_any(w, "x-permission"), json_put_string(w, route->permission);
	write_params(w, route);
	write_request_body(w, route);
	write_responses(w, route);
	json_object_end(w);
}

/* Whether a route before this one has the same path: then it is written there. */
static bool is_first_of_path(const struct document *d, const struct route *route)
{
	for (const struct route_table *const *t = d->tables; *t; t++)
		for (size_t i = 0; i < (*t)->n_routes; i++) {
			const struct route *other = &(*t)->routes[i];
			if (other == route)
				return true;
			if (strcmp(other->path, route->path) == 0)
				return false;
		}
	return true;
}

static void write_path(const struct document *d, const struct route *first)
{
	CLEANUP(cleanup_free)
	char *path = first->path[0] == '!' ? xstrdup(first->path + 1)
	                                   : str_format("/api/v1%s", first->path);
	json_key_any(d->w, path);
	json_object_begin(d->w);
	for (const struct route_table *const *t = d->tables; *t; t++)
		for (size_t i = 0; i < (*t)->n_routes; i++)
			if (strcmp((*t)->routes[i].path, first->path) == 0)
				write_operation(d->w, *t, &(*t)->routes[i]);
	json_object_end(d->w);
}

static void write_paths(const struct document *d)
{
	json_key(d->w, "paths");
	json_object_begin(d->w);
	for (const struct route_table *const *t = d->tables; *t; t++)
		for (size_t i = 0; i < (*t)->n_routes; i++)
			if (is_first_of_path(d, &(*t)->routes[i]))
				write_path(d, &(*t)->routes[i]);
	json_object_end(d->w);
}

/* ---- components ---- */

static void add_schema(const struct field_table *table, void *arg)
{
	struct document *d = arg;
	if (!table->name)
		return;
	for (size_t i = 0; i < d->schemas.len; i++)
		if (strcmp(d->schemas.items[i]->name, table->name) == 0)
			return;
	VEC_PUSH(&d->schemas, table); /* NOLINT(bugprone-sizeof-expression): pointers are meant */
}

static void collect_schemas(struct document *d)
{
	for (const struct route_table *const *t = d->tables; *t; t++)
		for (size_t i = 0; i < (*t)->n_routes; i++) {
			const struct route *route = &(*t)->routes[i];
			if (route->body)
				field_visit_tables(route->body, add_schema, d);
			if (route->response)
				field_visit_tables(route->response, add_schema, d);
		}
}

static const char problem_schema[] =
        "{\"type\":\"object\",\"description\":\"RFC 9457 problem details\","
        "\"required\":[\"type\",\"title\",\"status\",\"code\",\"request_id\"],\"properties\":{"
        "\"type\":{\"type\":\"string\"},\"title\":{\"type\":\"string\"},\"status\":{\"type\":"
        "\"integer\"},"
        "\"detail\":{\"type\":\"string\"},\"instance\":{\"type\":\"string\"},"
        "\"code\":{\"type\":\"string\",\"description\":\"Stable; what programs should look at\"},"
        "\"request_id\":{\"type\":\"string\"},\"hint\":{\"type\":\"string\"},"
        "\"retryable\":{\"type\":\"boolean\"},"
        "\"numbers\":{\"type\":\"object\",\"description\":\"The arithmetic of a refusal\"},"
        "\"errors\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{"
        "\"pointer\":{\"type\":\"string\",\"description\":\"JSON pointer, or ?name of a "
        "parameter\"},"
        "\"code\":{\"type\":\"string\"},\"detail\":{\"type\":\"string\"}}}}}}";

static void write_components(struct document *d)
{
	struct json_writer *w = d->w;
	json_key(w, "components");
	json_object_begin(w);
	json_key(w, "schemas");
	json_object_begin(w);
	for (size_t i = 0; i < d->schemas.len; i++) {
		json_key_any(w, d->schemas.items[i]->name);
		field_schema(d->schemas.items[i], w);
	}
	json_member_raw(w, "Problem", problem_schema);
	json_object_end(w);
	json_key_any(w, "securitySchemes");
	json_put_raw(w, "{\"bearer\":{\"type\":\"http\",\"scheme\":\"bearer\",\"description\":"
	                "\"An API token; not needed on the unix socket for root and the group's "
	                "members\"}}");
	json_object_end(w);
}

void openapi_write(const struct route_table *const *tables, struct json_writer *w)
{
	struct document d = {.tables = tables, .w = w};
	collect_schemas(&d);
	json_object_begin(w);
	json_member_string(w, "openapi", "3.1.0");
	json_key(w, "info");
	json_object_begin(w);
	json_member_string(w, "title", "Berth");
	json_member_string(w, "version", BERTH_VERSION);
	json_object_end(w);
	json_member_raw(w, "security", "[{\"bearer\":[]}]");
	write_paths(&d);
	write_components(&d);
	json_object_end(w);
	VEC_DONE(&d.schemas);
}

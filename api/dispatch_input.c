/* SPDX-License-Identifier: Apache-2.0 */
/* What a request asks: query parameters and body, checked against the route, all errors at once.
 * HTTP thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/exchange.h"
#include "api/list.h"
#include "base/alloc.h"
#include "base/cleanup.h"

#define FIELDS_TEXT_MAX 1024

enum common_for { FOR_LIST, FOR_FIELDS, FOR_WAIT, FOR_QUEUE, FOR_DRY_RUN };

/* Parameters that flags give to a route. */
static const struct {
	enum common_for whom;
	struct query_param param;
} common[] = {
        {FOR_LIST, {"page_size", QUERY_INT, 1, LIST_PAGE_MAX, "Items per page; 100 unless given."}},
        {FOR_LIST, {"page_token", QUERY_TEXT, 0, 16384, "The next_page_token of the page before."}},
        {FOR_LIST, {"filter", QUERY_TEXT, 0, FILTER_BYTES_MAX,
                           "Conditions joined by `and`: column eq|ne|lt|gt|contains value."}},
        {FOR_LIST, {"sort", QUERY_TEXT, 0, 256,
                           "Columns to sort by, joined by commas; - before one reverses it."}},
        {FOR_FIELDS, {"fields", QUERY_TEXT, 0, FIELDS_TEXT_MAX,
                             "Top-level members to answer with, joined by commas."}},
        {FOR_WAIT, {"wait", QUERY_INT, 0, WAIT_MAX_S,
                           "Seconds to hold the answer until the operation has ended."}},
        {FOR_QUEUE, {"if_busy", QUERY_TEXT, 0, 5,
                            "`fail`: refuse if another operation is in the way; `queue`: wait in "
                            "line."}},
        {FOR_DRY_RUN,
                {"dry_run", QUERY_BOOL, 0, 0, "Check, authorize and plan, and change nothing."}},
};

static bool applies(enum common_for whom, const struct route *route)
{
	switch (whom) {
	case FOR_LIST:
		return route->flags & ROUTE_LIST;
	case FOR_FIELDS:
		return route->flags & (ROUTE_LIST | ROUTE_FIELDS);
	case FOR_WAIT:
		return route->mode == ROUTE_WRITE || route->flags & ROUTE_OPERATION;
	case FOR_QUEUE:
		return route->mode == ROUTE_WRITE && route->flags & ROUTE_OPERATION;
	case FOR_DRY_RUN:
		return route->mode == ROUTE_WRITE && (route->flags & ROUTE_NO_DRY_RUN) == 0;
	}
	return false;
}

size_t route_list_params(const struct route *route, const struct query_param **ret)
{
	size_t n = 0;
	for (const struct query_param *p = route->query; p && p->name && n < QUERY_MAX; p++)
		ret[n++] = p;
	for (size_t i = 0; i < ARRAY_LEN(common) && n < QUERY_MAX; i++)
		if (applies(common[i].whom, route))
			ret[n++] = &common[i].param;
	return n;
}

static const struct query_param *find_param(const struct route *route, const char *name)
{
	for (const struct query_param *p = route->query; p && p->name; p++)
		if (strcmp(p->name, name) == 0)
			return p;
	for (size_t i = 0; i < ARRAY_LEN(common); i++)
		if (strcmp(common[i].param.name, name) == 0 && applies(common[i].whom, route))
			return &common[i].param;
	return NULL;
}

static void add_error(struct exchange *ex, const char *code, const char *name, const char *detail)
{
	char pointer[100];
	snprintf(pointer, sizeof(pointer), "?%.90s", name);
	field_errors_add(ex->errors, code, pointer, "%s", detail);
}

static void check_value(struct exchange *ex, const struct query_param *p, const char *value)
{
	char detail[120];
	long long number;
	switch (p->type) {
	case QUERY_BOOL:
		if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
			add_error(ex, "bad_value", p->name, "must be true or false");
		break;
	case QUERY_INT:
		if (!str_to_int64(value, &number))
			add_error(ex, "wrong_type", p->name, "must be a whole number");
		else if ((p->min != 0 || p->max != 0) && (number < p->min || number > p->max)) {
			snprintf(detail, sizeof(detail), "must be between %lld and %lld",
			        (long long)p->min, (long long)p->max);
			add_error(ex, "out_of_range", p->name, detail);
		}
		break;
	case QUERY_TEXT:
		if (p->max > 0 && strlen(value) > (size_t)p->max) {
			snprintf(detail, sizeof(detail), "must have no more than %lld bytes",
			        (long long)p->max);
			add_error(ex, "too_long", p->name, detail);
		}
		break;
	}
}

static void add_param(struct exchange *ex, const char *name, const char *value)
{
	const struct query_param *p = find_param(ex->rq.route, name);
	if (!p)
		add_error(ex, "unknown_parameter", name, "there is no such query parameter here");
	else if (request_query(&ex->rq, name))
		add_error(ex, "duplicate", name, "is given twice");
	else if (ex->n_query == QUERY_MAX)
		add_error(ex, "too_many", name, "there are too many query parameters");
	else {
		check_value(ex, p, value);
		ex->query[ex->n_query].name = p->name;
		ex->query[ex->n_query++].value = value;
	}
}

/* One NAME=VALUE of `len` bytes. */
static int parse_pair(struct exchange *ex, const char *pair, size_t len, struct err *e)
{
	const char *equals = memchr(pair, '=', len);
	size_t name_len = equals ? (size_t)(equals - pair) : len;
	size_t value_len = equals ? len - name_len - 1 : 0;
	char *name = exchange_alloc(ex, name_len + 1);
	char *value = exchange_alloc(ex, value_len + 1);
	if (router_decode(pair, name_len, true, name) < 0 ||
	        router_decode(equals ? equals + 1 : "", value_len, true, value) < 0)
		return err_set(e, ERR_MALFORMED,
		        "the query has a bad percent-encoding, a control character or bad UTF-8");
	add_param(ex, name, value);
	return 0;
}

/* Members must be declared by the answer's table. */
static void parse_fields(struct exchange *ex, const char *text)
{
	char detail[120];
	while (*text) {
		size_t len = strcspn(text, ",");
		const char *name = exchange_copy(ex, text, len);
		if (ex->n_fields == FIELDS_MAX) {
			add_error(ex, "too_many", "fields", "names too many members");
			return;
		}
		if (ex->rq.route->response && !field_find(ex->rq.route->response, name)) {
			snprintf(detail, sizeof(detail), "'%.60s' is not a member of the answer",
			        name);
			add_error(ex, "bad_value", "fields", detail);
		}
		ex->fields[ex->n_fields++] = name;
		text += len + (text[len] == ',');
	}
}

static void read_common(struct exchange *ex)
{
	struct request *rq = &ex->rq;
	rq->dry_run = request_query_bool(rq, "dry_run", false);
	const char *if_busy = request_query(rq, "if_busy");
	rq->if_busy_fail = str_equal(if_busy, "fail");
	if (if_busy && !rq->if_busy_fail && !str_equal(if_busy, "queue"))
		add_error(ex, "bad_value", "if_busy", "must be fail or queue");
	rq->wait_ms = request_query(rq, "wait") ? request_query_int(rq, "wait", 0) * 1000 : -1;
	const char *fields = request_query(rq, "fields");
	if (fields)
		parse_fields(ex, fields);
	if (rq->route->flags & ROUTE_LIST)
		list_query_parse(rq, ex->errors);
}

int exchange_parse_query(struct exchange *ex, struct err *e)
{
	const char *at = ex->query_text;
	while (*at) {
		size_t len = strcspn(at, "&");
		int rc = len > 0 ? parse_pair(ex, at, len, e) : 0;
		if (rc < 0)
			return rc;
		at += len + (at[len] == '&');
	}
	read_common(ex);
	return 0;
}

bool exchange_wants_body(const struct exchange *ex)
{
	return ex->rq.route->body || ex->rq.route->flags & ROUTE_MERGE_PATCH;
}

static int parse_body(struct exchange *ex, struct err *e)
{
	const struct route *route = ex->rq.route;
	if (ex->body.len == 0) {
		if (!exchange_wants_body(ex) || route->flags & ROUTE_BODY_OPTIONAL)
			return 0;
		return err_set(e, ERR_MALFORMED, "a JSON object is needed as the body");
	}
	if (!exchange_wants_body(ex))
		return err_set(e, ERR_MALFORMED, "no body is possible here");
	int rc = field_parse_json(ex->body.data, ex->body.len, &ex->json, e);
	ex->rq.json = ex->json;
	return rc;
}

/* Merge patches are decoded by their handler, which knows the resource. */
static void decode_body(struct exchange *ex)
{
	const struct route *route = ex->rq.route;
	if (!route->body || route->flags & ROUTE_MERGE_PATCH)
		return;
	json_t *empty = ex->json ? NULL : json_object();
	ex->decoded = xcalloc(1, route->body->size);
	field_decode(route->body, ex->json ? ex->json : empty, FIELD_DECODE_CREATE, ex->decoded,
	        ex->errors);
	json_decref(empty);
	ex->rq.body = ex->decoded;
}

int exchange_check_errors(const struct exchange *ex, struct err *e)
{
	size_t n = ex->errors ? ex->errors->len : 0;
	if (n == 0)
		return 0;
	const struct field_error *first = &ex->errors->items[0];
	if (n == 1)
		return err_set(e, ERR_INVALID, "%s: %s", first->pointer, first->detail);
	return err_set(e, ERR_INVALID, "%zu things are wrong, the first is %s: %s", n,
	        first->pointer, first->detail);
}

int exchange_decode(struct exchange *ex, struct err *e)
{
	int rc = exchange_parse_query(ex, e);
	if (rc == 0)
		rc = parse_body(ex, e);
	if (rc < 0)
		return rc;
	decode_body(ex);
	return exchange_check_errors(ex, e);
}

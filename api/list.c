/* SPDX-License-Identifier: Apache-2.0 */
/* Lists: the query parameters as SQL fragments, and the page as JSON. Any thread. */
#include "api/list.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "api/exchange.h"
#include "api/filter.h"
#include "api/page_token.h"
#include "base/alloc.h"
#include "base/cleanup.h"

/* The public part and what it borrows from. */
struct list_query_state {
	struct list_query query; /* first: list_query_free gets its address */
	struct filter filter;
	struct sort sort;
	struct page_position position;
	struct filter_sql sql;
	struct str order;
	char *next; /* owned: the page token of the last row the page holds */
};

static struct list_query_state *state_of(const struct list_query *query)
{
	return (struct list_query_state *)(uintptr_t)query;
}

void list_query_free(const struct list_query *query)
{
	if (!query)
		return;
	struct list_query_state *state = state_of(query);
	filter_done(&state->filter);
	page_position_done(&state->position);
	filter_sql_done(&state->sql);
	str_done(&state->order);
	free(state->next);
	free(state);
}

/* The parsers speak of members; here they are query parameters. */
static void add_error(struct field_errors *errors, struct err *e)
{
	if (e->pointer[0] == '/')
		e->pointer[0] = '?';
	field_errors_add(errors, "bad_value", e->pointer, "%s", e->message);
}

static const char *default_sort(const struct route *route)
{
	if (route->default_sort)
		return route->default_sort;
	const struct filter_column *c = route->columns;
	while (c->name && (c->flags & FILTER_SORTABLE) == 0)
		c++;
	assert(c->name && "a list has a sortable column");
	return c->name;
}

static int parse_token(const char *token, struct list_query_state *state, struct err *e)
{
	if (str_is_empty(token))
		return 0;
	int rc = page_token_parse(token, &state->filter, &state->sort, &state->position, e);
	if (rc < 0)
		return rc;
	sort_render_after(&state->sort, state->position.values, &state->sql);
	return 0;
}

void list_query_parse(struct request *rq, struct field_errors *errors)
{
	struct list_query_state *state = xcalloc(1, sizeof(*state));
	struct list_query *query = &state->query;
	rq->list = query;
	struct err e = {0};
	size_t n_before = errors->len;
	if (filter_parse(rq->route->columns, request_query(rq, "filter"), &state->filter, &e) < 0)
		add_error(errors, &e);
	const char *sort_text = request_query(rq, "sort");
	if (sort_parse(rq->route->columns, sort_text, default_sort(rq->route), &state->sort, &e) <
	        0)
		add_error(errors, &e);
	if (errors->len > n_before)
		return;
	filter_render(&state->filter, &state->sql);
	if (parse_token(request_query(rq, "page_token"), state, &e) < 0) {
		add_error(errors, &e);
		return;
	}
	sort_render_order(&state->sort, &state->order);
	query->page_size = (size_t)request_query_int(rq, "page_size", LIST_PAGE_DEFAULT);
	query->page.limit = query->page_size + 1;
	query->page.where = str_text(&state->sql.where);
	query->page.order = str_text(&state->order);
	query->page.binds = state->sql.binds;
	query->page.n_binds = state->sql.n_binds;
}

void list_begin(struct list *list, struct request *rq, struct reply *reply)
{
	*list = (struct list){.rq = rq, .reply = reply, .query = rq->list};
	json_object_begin(&reply->body);
	json_key(&reply->body, "items");
	json_array_begin(&reply->body);
}

struct json_writer *list_writer(struct list *list)
{
	return &list->reply->body;
}

/* Applies `fields` to the item just written. */
static void finish_item(struct list *list)
{
	if (list->n == 0)
		return;
	struct str *out = &list->reply->body.out;
	size_t start = list->item_start;
	if (start < out->len && out->data[start] == ',')
		start++;
	exchange_select_fields(list->rq->exchange, out, start);
}

/* Where this row stands in the order, as a token: the next page begins behind it. */
static char *make_token(const struct list *list, const struct sql_bind *values)
{
	const struct list_query_state *state = state_of(list->query);
	struct sql_bind keys[SORT_KEYS_MAX];
	for (size_t i = 0; i < state->sort.n_keys; i++)
		keys[i] = values[state->sort.keys[i].column - list->rq->route->columns];
	return page_token_make(&state->filter, &state->sort, keys);
}

bool list_item(struct list *list, const struct sql_bind *values)
{
	finish_item(list);
	list->item_start = list->reply->body.out.len;
	if (list->n == list->query->page_size) {
		list->has_more = true;
		return false;
	}
	if (++list->n == list->query->page_size) {
		struct list_query_state *state = state_of(list->query);
		free(state->next);
		state->next = make_token(list, values);
	}
	return true;
}

void list_end(struct list *list)
{
	struct json_writer *w = &list->reply->body;
	if (!list->has_more)
		finish_item(list);
	json_array_end(w);
	struct list_query_state *state = state_of(list->query);
	json_member_string(w, "next_page_token", list->has_more ? state->next : NULL);
	json_object_end(w);
	if (list->has_more)
		list->reply->link_next = TAKE(state->next);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists: what the handler of a ROUTE_LIST route gets, and how it writes a page.
 *
 *	static const struct filter_column columns[] = {name, state, created_at, ... };
 *	...
 *	struct list list;
 *	list_begin(&list, rq, reply);
 *	rc = vm_store_list(rq->db, &rq->list->page, each, &list, e);
 *	if (rc < 0)
 *		return rc;
 *	list_end(&list);
 *
 * and in `each`, with one value per column of the route, in the same order, the id included (those
 * of columns that are not sortable are never looked at):
 *
 *	struct sql_bind values[] = {LIST_TEXT(row->name), LIST_TEXT(row->id), ...};
 *	if (!list_item(list, values))
 *		return 0;        // the row beyond the page: it only says that there is more
 *	write_vm(row, list_writer(list));
 *
 * Unless the user sorts, the order is route->default_sort, or else the first sortable column.
 * The `fields` parameter is applied to each item by list_item and list_end; handlers need not care.
 */
#pragma once

#include "api/route.h"

/* A list's query, rendered for SQL. Borrowed by the handler for the request. */
struct list_query {
	size_t page_size;
	struct db_page
	        page; /* asks for one row more than the page, to know whether there is a next */
};

#define LIST_TEXT(value)                                                                           \
	{                                                                                          \
		.type = SQL_BIND_TEXT, .text = (value)                                             \
	}
#define LIST_INT(value)                                                                            \
	{                                                                                          \
		.type = SQL_BIND_INT, .integer = (value)                                           \
	}

#define LIST_PAGE_DEFAULT 100
#define LIST_PAGE_MAX     1000

struct list {
	struct request *rq;
	struct reply *reply;
	const struct list_query *query;
	size_t n;          /* items begun */
	size_t item_start; /* where the newest item's text begins in the body */
	bool has_more;
};

/* Writes the list's head into the reply's body. */
void list_begin(struct list *list, struct request *rq, struct reply *reply);
/* Before each row is written. False: the page is full, write nothing and stop. */
bool list_item(struct list *list, const struct sql_bind *values);
/* Where items are written. */
struct json_writer *list_writer(struct list *list);
/* Closes the list: next_page_token and the Link header. To be called on success only. */
void list_end(struct list *list);

/*
 * For the dispatcher: parses page_size, page_token, filter and sort of a request whose route is a
 * list into rq->list. Everything wrong is added to `errors`.
 */
void list_query_parse(struct request *rq, struct field_errors *errors);
void list_query_free(const struct list_query *query); /* accepts NULL */

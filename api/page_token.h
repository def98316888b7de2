/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Page tokens: where a list stopped, as opaque URL-safe text. A token holds the sort values of the
 * last row and a checksum over them, the filter and the sort order, so that it only fits the list
 * it came from. It grants nothing: its values are only ever bound as parameters. Pure; any thread.
 */
#pragma once

#include <jansson.h>

#include "api/filter.h"

/* The sort values of the last row of a page, one per key of the sort order. */
struct page_position {
	struct sql_bind values[SORT_KEYS_MAX]; /* texts borrowed from `owner` */
	json_t *owner;                         /* owned */
};
void page_position_done(struct page_position *position);

/* `values`: one per key of `sort`. Caller frees. */
char *page_token_make(
        const struct filter *filter, const struct sort *sort, const struct sql_bind *values);
/* ERR_INVALID at /page_token if the token is damaged or made for another filter or sort order. */
int page_token_parse(const char *token, const struct filter *filter, const struct sort *sort,
        struct page_position *ret_position, struct err *e);

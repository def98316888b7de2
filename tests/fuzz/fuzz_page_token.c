/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes page tokens: once as a token (nearly always refused), once as the values of a token of our
 * own, which must come back.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/page_token.h"
#include "base/alloc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct filter_column columns[] = {
        {"id", "id", FILTER_TEXT, FILTER_FILTERABLE | FILTER_SORTABLE | FILTER_UNIQUE},
        {"vcpus", "vcpus", FILTER_INT, FILTER_FILTERABLE | FILTER_SORTABLE},
        {NULL, NULL, FILTER_TEXT, 0},
};

static bool is_utf8(const char *text)
{
	size_t len = 1;
	for (; *text && len > 0; text += len)
		len = str_utf8_len(text);
	return len > 0;
}

static void check_own(
        const char *text, int64_t number, const struct filter *filter, const struct sort *sort)
{
	const struct sql_bind values[] = {
	        {.type = SQL_BIND_INT, .integer = number}, {.type = SQL_BIND_TEXT, .text = text}};
	char *token = page_token_make(filter, sort, values);
	struct page_position position;
	if (page_token_parse(token, filter, sort, &position, NULL) < 0 ||
	        position.values[0].integer != number || strcmp(position.values[1].text, text) != 0)
		abort();
	page_position_done(&position);
	free(token);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct filter filter = {0};
	struct sort sort;
	struct page_position position = {0};
	struct err e = {0};
	char *text = xstrndup((const char *)data, size);
	sort_parse(columns, "vcpus", "vcpus", &sort, NULL);
	if (page_token_parse(text, &filter, &sort, &position, &e) == 0)
		page_position_done(&position);
	else if (e.code != ERR_INVALID || strcmp(e.pointer, "/page_token") != 0 || position.owner)
		abort();
	if (size < 2000 && is_utf8(text)) {
		int64_t number = 0;
		memcpy(&number, data, size < sizeof(number) ? size : sizeof(number));
		check_own(text, number, &filter, &sort);
	}
	free(text);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Page tokens: base64url(checksum, JSON array of the sort values). Pure; any thread. */
#include "api/page_token.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/json_writer.h"

#define CHECKSUM_SIZE   crypto_generichash_BYTES_MIN
#define TOKEN_BYTES_MAX 16384
#define BASE64          sodium_base64_VARIANT_URLSAFE_NO_PADDING

typedef crypto_generichash_state hash_state;

/* With its NUL, so that no two sequences of texts hash alike. */
static void hash_text(hash_state *state, const char *text)
{
	crypto_generichash_update(state, (const unsigned char *)text, strlen(text) + 1);
}

static void hash_int(hash_state *state, int64_t value)
{
	crypto_generichash_update(state, (const unsigned char *)&value, sizeof(value));
}

static void hash_filter(hash_state *state, const struct filter *filter)
{
	hash_int(state, (int64_t)filter->n_terms);
	for (size_t i = 0; i < filter->n_terms; i++) {
		const struct filter_term *term = &filter->terms[i];
		hash_text(state, term->column->name);
		hash_int(state, term->operator);
		hash_int(state, term->value.integer);
		hash_text(state, term->value.text ? term->value.text : "");
	}
}

static void hash_sort(hash_state *state, const struct sort *sort)
{
	for (size_t i = 0; i < sort->n_keys; i++) {
		hash_text(state, sort->keys[i].column->name);
		hash_int(state, sort->keys[i].descending);
	}
}

/* BLAKE2b over the values and the query they belong to. */
static void make_checksum(const struct filter *filter, const struct sort *sort, const char *payload,
        size_t len, unsigned char ret_checksum[CHECKSUM_SIZE])
{
	hash_state state;
	crypto_generichash_init(&state, NULL, 0, CHECKSUM_SIZE);
	hash_filter(&state, filter);
	hash_sort(&state, sort);
	crypto_generichash_update(&state, (const unsigned char *)payload, len);
	crypto_generichash_final(&state, ret_checksum, CHECKSUM_SIZE);
}

static void write_values(
        const struct sort *sort, const struct sql_bind *values, struct json_writer *w)
{
	json_array_begin(w);
	for (size_t i = 0; i < sort->n_keys; i++) {
		if (values[i].type == SQL_BIND_TEXT)
			json_put_string(w, values[i].text);
		else
			json_put_int(w, values[i].integer);
	}
	json_array_end(w);
}

char *page_token_make(
        const struct filter *filter, const struct sort *sort, const struct sql_bind *values)
{
	struct json_writer w CLEANUP(json_writer_done) = {0};
	write_values(sort, values, &w);
	unsigned char checksum[CHECKSUM_SIZE];
	make_checksum(filter, sort, w.out.data, w.out.len, checksum);
	size_t len = sizeof(checksum) + w.out.len;
	unsigned char *raw CLEANUP(cleanup_free) = xcalloc(1, len);
	memcpy(raw, checksum, sizeof(checksum));
	memcpy(raw + sizeof(checksum), w.out.data, w.out.len);
	size_t text_size = sodium_base64_ENCODED_LEN(len, BASE64);
	char *text = xcalloc(1, text_size);
	return sodium_bin2base64(text, text_size, raw, len, BASE64);
}

void page_position_done(struct page_position *position)
{
	json_decref(position->owner);
	*position = (struct page_position){0};
}

static int refuse(struct err *e, const char *why)
{
	err_set_at(e, ERR_INVALID, "/page_token", "the page token %s", why);
	err_hint(e, "begin again without page_token");
	return ERR_INVALID;
}

static bool read_value(const struct sort_key *key, json_t *value, struct sql_bind *ret_value)
{
	if (key->column->type == FILTER_TEXT) {
		*ret_value =
		        (struct sql_bind){.type = SQL_BIND_TEXT, .text = json_string_value(value)};
		return json_is_string(value);
	}
	*ret_value = (struct sql_bind){.type = SQL_BIND_INT, .integer = json_integer_value(value)};
	return json_is_integer(value);
}

static int read_values(
        const struct sort *sort, json_t *values, struct page_position *position, struct err *e)
{
	if (json_array_size(values) != sort->n_keys)
		return refuse(e, "is damaged");
	for (size_t i = 0; i < sort->n_keys; i++)
		if (!read_value(&sort->keys[i], json_array_get(values, i), &position->values[i]))
			return refuse(e, "is damaged");
	return 0;
}

/* Checks the decoded token and reads its values. */
static int read_raw(const unsigned char *raw, size_t len, const struct filter *filter,
        const struct sort *sort, struct page_position *position, struct err *e)
{
	if (len < CHECKSUM_SIZE)
		return refuse(e, "is damaged");
	const char *payload = (const char *)raw + CHECKSUM_SIZE;
	unsigned char checksum[CHECKSUM_SIZE];
	make_checksum(filter, sort, payload, len - CHECKSUM_SIZE, checksum);
	if (memcmp(raw, checksum, sizeof(checksum)) != 0)
		return refuse(e, "is damaged, or belongs to another filter or sort order");
	position->owner = json_loadb(payload, len - CHECKSUM_SIZE, 0, NULL);
	return read_values(sort, position->owner, position, e);
}

int page_token_parse(const char *token, const struct filter *filter, const struct sort *sort,
        struct page_position *ret_position, struct err *e)
{
	size_t token_len = strlen(token);
	if (token_len > TOKEN_BYTES_MAX)
		return refuse(e, "is too long");
	unsigned char *raw CLEANUP(cleanup_free) = xcalloc(1, token_len + 1);
	size_t len = 0;
	if (sodium_base642bin(raw, token_len + 1, token, token_len, NULL, &len, NULL, BASE64) != 0)
		return refuse(e, "is damaged");
	struct page_position position CLEANUP(page_position_done) = {0};
	int rc = read_raw(raw, len, filter, sort, &position, e);
	if (rc < 0)
		return rc;
	*ret_position = position;
	position.owner = NULL;
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Parsing and rendering filters; api/sort.c does the same for sort orders. Pure; any thread. */
#include "api/filter.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/clock.h"

#define BLANKS " \t"

static const char *const operator_names[] = {"eq", "ne", "lt", "gt", "contains"};

/* A piece of the filter's text. */
struct token {
	const char *start;
	size_t len;
};

struct parser {
	const struct filter_column *columns;
	const char *text;
	const char *at;
	struct err *e;
};

/* Refuses, telling where in the text. */
static int refuse(const struct parser *p, const char *at, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

static int refuse(const struct parser *p, const char *at, const char *format, ...)
{
	struct str why CLEANUP(str_done) = {0};
	va_list args;
	va_start(args, format);
	str_vprintf(&why, format, args);
	va_end(args);
	return err_set_at(p->e, ERR_INVALID, "/filter", "filter, character %zu: %s",
	        (size_t)(at - p->text) + 1, str_text(&why));
}

static bool token_is(struct token t, const char *text)
{
	return strlen(text) == t.len && memcmp(t.start, text, t.len) == 0;
}

/* At most 40 bytes of it are shown in messages. */
static int shown_len(struct token t)
{
	return t.len > 40 ? 40 : (int)t.len;
}

static void skip_blanks(struct parser *p)
{
	p->at += strspn(p->at, BLANKS);
}

static struct token next_word(struct parser *p)
{
	skip_blanks(p);
	struct token t = {.start = p->at, .len = strcspn(p->at, BLANKS "\"")};
	p->at += t.len;
	return t;
}

/* A string with its quotes, up to the end of the text if it is not closed. */
static struct token next_string(struct parser *p)
{
	struct token t = {.start = p->at};
	for (p->at++; *p->at && *p->at != '"'; p->at++)
		if (*p->at == '\\' && p->at[1])
			p->at++;
	if (*p->at == '"')
		p->at++;
	t.len = (size_t)(p->at - t.start);
	return t;
}

static int parse_column(struct parser *p, const struct filter_column **ret_column)
{
	struct token name = next_word(p);
	struct str known CLEANUP(str_done) = {0};
	for (const struct filter_column *c = p->columns; c->name; c++) {
		if ((c->flags & FILTER_FILTERABLE) == 0)
			continue;
		if (token_is(name, c->name)) {
			*ret_column = c;
			return 0;
		}
		str_printf(&known, "%s%s", known.len > 0 ? ", " : "", c->name);
	}
	return refuse(p, name.start, "'%.*s' is not one of the columns that can be filtered: %s",
	        shown_len(name), name.start, str_text(&known));
}

static bool is_allowed(enum filter_type type, enum filter_operator operator)
{
	if (operator== FILTER_CONTAINS)
		return type == FILTER_TEXT;
	return type != FILTER_BOOL || operator== FILTER_EQ || operator== FILTER_NE;
}

static int parse_operator(struct parser *p, struct filter_term *term)
{
	struct token name = next_word(p);
	for (size_t i = 0; i < ARRAY_LEN(operator_names); i++) {
		if (!token_is(name, operator_names[i]))
			continue;
		term->operator=(enum filter_operator) i;
		if (!is_allowed(term->column->type, term->operator))
			return refuse(p, name.start, "'%s' does not apply to %s", operator_names[i],
			        term->column->name);
		return 0;
	}
	return refuse(p, name.start, "'%.*s' is not an operator: eq, ne, lt, gt, contains",
	        shown_len(name), name.start);
}

/* The value's text without quotes; caller frees. */
static int parse_value_text(struct parser *p, bool *ret_quoted, char **ret_text)
{
	skip_blanks(p);
	*ret_quoted = *p->at == '"';
	if (!*ret_quoted) {
		struct token word = next_word(p);
		if (word.len == 0)
			return refuse(p, word.start, "a value is missing");
		*ret_text = xstrndup(word.start, word.len);
		return 0;
	}
	struct token quoted = next_string(p);
	json_t *value = json_loadb(quoted.start, quoted.len, JSON_DECODE_ANY, NULL);
	if (!json_is_string(value)) {
		json_decref(value);
		return refuse(p, quoted.start, "not a JSON string");
	}
	*ret_text = xstrdup(json_string_value(value));
	json_decref(value);
	return 0;
}

/* What a value of the type looks like, if `text` is none; else NULL with *ret_number set. */
static const char *convert(
        enum filter_type type, const char *text, bool quoted, int64_t *ret_number)
{
	long long number = 0;
	switch (type) {
	case FILTER_INT:
		if (quoted || !str_to_int64(text, &number))
			return "an integer";
		*ret_number = number;
		return NULL;
	case FILTER_BOOL:
		*ret_number = str_equal(text, "true");
		return !quoted && (*ret_number || str_equal(text, "false")) ? NULL
		                                                            : "true or false";
	case FILTER_TIME:
		return clock_parse(text, ret_number) == 0
		               ? NULL
		               : "an RFC 3339 time like 2026-01-31T12:00:00Z";
	case FILTER_TEXT:
		break;
	}
	return NULL;
}

static int parse_value(struct parser *p, struct filter_term *term, char **ret_text)
{
	char *text CLEANUP(cleanup_free) = NULL;
	bool quoted;
	skip_blanks(p);
	const char *start = p->at;
	int rc = parse_value_text(p, &quoted, &text);
	if (rc < 0)
		return rc;
	const char *wanted = convert(term->column->type, text, quoted, &term->value.integer);
	if (wanted)
		return refuse(p, start, "%s needs %s", term->column->name, wanted);
	if (term->column->type != FILTER_TEXT) {
		term->value.type = SQL_BIND_INT;
		return 0;
	}
	term->value.type = SQL_BIND_TEXT;
	term->value.text = *ret_text = TAKE(text);
	return 0;
}

static int parse_term(struct parser *p, struct filter *filter)
{
	if (filter->n_terms == FILTER_TERMS_MAX)
		return refuse(p, p->at, "has more than %d terms", FILTER_TERMS_MAX);
	struct filter_term *term = &filter->terms[filter->n_terms];
	int rc = parse_column(p, &term->column);
	if (rc == 0)
		rc = parse_operator(p, term);
	if (rc == 0)
		rc = parse_value(p, term, &filter->texts[filter->n_terms]);
	if (rc == 0)
		filter->n_terms++;
	return rc;
}

static int parse_terms(struct parser *p, struct filter *filter)
{
	for (;;) {
		int rc = parse_term(p, filter);
		if (rc < 0)
			return rc;
		if (*p->at && !strchr(BLANKS, *p->at))
			return refuse(p, p->at, "a blank is missing");
		struct token joint = next_word(p);
		if (*joint.start == '\0')
			return 0;
		if (!token_is(joint, "and"))
			return refuse(p, joint.start, "'and' is expected here");
	}
}

static int check_text(const struct parser *p)
{
	if (strlen(p->text) > FILTER_BYTES_MAX)
		return refuse(p, p->text, "has more than %d bytes", FILTER_BYTES_MAX);
	for (const char *c = p->text; *c;) {
		size_t len = str_utf8_len(c);
		if (len == 0)
			return refuse(p, c, "is not UTF-8");
		c += len;
	}
	return 0;
}

int filter_parse(const struct filter_column *columns, const char *text, struct filter *ret_filter,
        struct err *e)
{
	*ret_filter = (struct filter){0};
	if (!text || text[strspn(text, BLANKS)] == '\0')
		return 0;
	struct parser p = {.columns = columns, .text = text, .at = text, .e = e};
	int rc = check_text(&p);
	if (rc == 0)
		rc = parse_terms(&p, ret_filter);
	if (rc < 0)
		filter_done(ret_filter);
	return rc;
}

void filter_done(struct filter *filter)
{
	for (size_t i = 0; i < FILTER_TERMS_MAX; i++)
		free(filter->texts[i]);
	*filter = (struct filter){0};
}

void filter_sql_done(struct filter_sql *sql)
{
	str_done(&sql->where);
	sql->n_binds = 0;
}

void filter_render(const struct filter *filter, struct filter_sql *sql)
{
	static const char *const forms[] = {
	        "%s = ?", "%s <> ?", "%s < ?", "%s > ?", "instr(%s, ?) > 0"};
	for (size_t i = 0; i < filter->n_terms; i++) {
		const struct filter_term *term = &filter->terms[i];
		if (sql->where.len > 0)
			str_add(&sql->where, " AND ");
		const char *form = forms[term->operator];
		const char *hole = strchr(form, '%');
		str_add_len(&sql->where, form, (size_t)(hole - form));
		str_add(&sql->where, term->column->sql);
		str_add(&sql->where, hole + 2);
		sql->binds[sql->n_binds++] = term->value;
	}
}

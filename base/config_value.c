/* SPDX-License-Identifier: Apache-2.0 */
/* Values of configuration options: parsing, bounds, comparing. Pure. */
#include "base/config_value.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "base/vec.h"

#define TEXT_BYTES_MAX 1024

struct unit {
	const char *name;
	int64_t factor;
};

static const struct unit size_units[] = {{"", 1}, {"B", 1}, {"K", 1LL << 10}, {"KiB", 1LL << 10},
        {"M", 1LL << 20}, {"MiB", 1LL << 20}, {"G", 1LL << 30}, {"GiB", 1LL << 30},
        {"T", 1LL << 40}, {"TiB", 1LL << 40}, {NULL, 0}};
static const struct unit duration_units[] = {
        {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}, {NULL, 0}};

static int parse_bool(const char *text, bool *ret_value, struct err *e)
{
	static const char *const words[] = {"false", "true", "no", "yes", "off", "on"};
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		if (strcmp(text, words[i]) == 0) {
			*ret_value = i % 2 == 1;
			return 0;
		}
	}
	return err_set(e, ERR_INVALID, "must be true or false");
}

/* Digits, optional blanks, a unit of the list. */
static bool parse_with_unit(const char *text, const struct unit *units, int64_t *ret_value)
{
	size_t digits = strspn(text, "0123456789");
	if (digits == 0 || digits > 18)
		return false;
	int64_t number = strtoll(text, NULL, 10);
	const char *unit = text + digits + strspn(text + digits, " \t");
	if (number == 0 && *unit == '\0') {
		*ret_value = 0;
		return true;
	}
	for (; units->name; units++)
		if (strcmp(units->name, unit) == 0)
			return !__builtin_mul_overflow(number, units->factor, ret_value);
	return false;
}

static int parse_number(const struct config_option *option, const char *text, int64_t *ret_value)
{
	long long number = 0;
	switch (option->type) {
	case CONFIG_SIZE:
		return parse_with_unit(text, size_units, ret_value) ? 0 : -1;
	case CONFIG_DURATION:
		return parse_with_unit(text, duration_units, ret_value) ? 0 : -1;
	default:
		if (!str_to_int64(text, &number))
			return -1;
		*ret_value = number;
		return 0;
	}
}

static bool has_bounds(const struct config_option *option)
{
	return option->min != 0 || option->max != 0;
}

static int parse_bounded(
        const struct config_option *option, const char *text, int64_t *member, struct err *e)
{
	int64_t value = 0;
	bool wrong = parse_number(option, text, &value) != 0;
	if (!wrong && (!has_bounds(option) || (value >= option->min && value <= option->max))) {
		*member = value;
		return 0;
	}
	char *wanted CLEANUP(cleanup_free) = config_value_describe(option);
	return err_set(e, ERR_INVALID, "must be %s", wanted);
}

static int parse_text(
        const struct config_option *option, const char *text, char **member, struct err *e)
{
	size_t max = option->max > 0 ? (size_t)option->max : TEXT_BYTES_MAX;
	size_t len = strlen(text);
	if (len > max || len < (size_t)option->min)
		return err_set(e, ERR_INVALID, "must have from %lld to %zu bytes, not %zu",
		        (long long)option->min, max, len);
	if (option->type == CONFIG_PATH && len > 0 && text[0] != '/')
		return err_set(e, ERR_INVALID, "must be an absolute path");
	str_replace(member, text);
	return 0;
}

static int parse_enum(
        const struct config_option *option, const char *text, int *member, struct err *e)
{
	for (int i = 0; option->names[i]; i++) {
		if (strcmp(option->names[i], text) == 0) {
			*member = i;
			return 0;
		}
	}
	char *wanted CLEANUP(cleanup_free) = config_value_describe(option);
	return err_set(e, ERR_INVALID, "must be %s", wanted);
}

static void release_list(struct config_list *list)
{
	for (size_t i = 0; i < list->len; i++)
		free(list->items[i]);
	free(list->items);
	*list = (struct config_list){0};
}

static void parse_list(const char *text, struct config_list *member)
{
	VEC(char *) items = {0};
	while (*text) {
		text += strspn(text, ", \t");
		size_t len = strcspn(text, ",");
		const char *next = text + len;
		while (len > 0 && strchr(" \t", text[len - 1]))
			len--;
		if (len > 0)
			VEC_PUSH(&items, xstrndup(text, len));
		text = next;
	}
	release_list(member);
	*member = (struct config_list){.items = items.items, .len = items.len};
}

int config_value_parse(
        const struct config_option *option, const char *text, void *member, struct err *e)
{
	switch (option->type) {
	case CONFIG_BOOL:
		return parse_bool(text, member, e);
	case CONFIG_INT:
	case CONFIG_SIZE:
	case CONFIG_DURATION:
		return parse_bounded(option, text, member, e);
	case CONFIG_STRING:
	case CONFIG_PATH:
		return parse_text(option, text, member, e);
	case CONFIG_ENUM:
		return parse_enum(option, text, member, e);
	case CONFIG_LIST:
		parse_list(text, member);
		break;
	}
	return 0;
}

void config_value_release(const struct config_option *option, void *member)
{
	if (option->type == CONFIG_STRING || option->type == CONFIG_PATH)
		free(*(char **)member);
	else if (option->type == CONFIG_LIST)
		release_list(member);
}

static bool lists_equal(const struct config_list *a, const struct config_list *b)
{
	if (a->len != b->len)
		return false;
	for (size_t i = 0; i < a->len; i++)
		if (strcmp(a->items[i], b->items[i]) != 0)
			return false;
	return true;
}

bool config_value_equal(const struct config_option *option, const void *a, const void *b)
{
	switch (option->type) {
	case CONFIG_BOOL:
		return *(const bool *)a == *(const bool *)b;
	case CONFIG_ENUM:
		return *(const int *)a == *(const int *)b;
	case CONFIG_STRING:
	case CONFIG_PATH:
		return str_equal(*(char *const *)a, *(char *const *)b);
	case CONFIG_LIST:
		return lists_equal(a, b);
	case CONFIG_INT:
	case CONFIG_SIZE:
	case CONFIG_DURATION:
		break;
	}
	return *(const int64_t *)a == *(const int64_t *)b;
}

/* With the largest unit that divides it. */
static void add_with_unit(struct str *out, const struct unit *units, int64_t value)
{
	const struct unit *best = units;
	for (const struct unit *u = units; u->name; u++)
		if (value != 0 && value % u->factor == 0)
			best = u;
	str_printf(out, "%lld%s", (long long)(value / best->factor), best->name);
}

static void add_number(struct str *out, const struct config_option *option, int64_t value)
{
	if (option->type == CONFIG_SIZE)
		add_with_unit(out, size_units, value);
	else if (option->type == CONFIG_DURATION)
		add_with_unit(out, duration_units, value);
	else
		str_printf(out, "%lld", (long long)value);
}

static void describe_enum(struct str *out, const struct config_option *option)
{
	for (int i = 0; option->names[i]; i++)
		str_printf(out, "%s%s", i > 0 ? ", " : "one of ", option->names[i]);
}

char *config_value_describe(const struct config_option *option)
{
	static const char *const types[] = {
	        [CONFIG_BOOL] = "true or false",
	        [CONFIG_INT] = "a whole number",
	        [CONFIG_SIZE] = "a size like 64MiB",
	        [CONFIG_DURATION] = "a duration like 30s",
	        [CONFIG_STRING] = "text",
	        [CONFIG_PATH] = "an absolute path, or empty",
	        [CONFIG_LIST] = "a list separated by commas",
	};
	struct str text = {0};
	if (option->type == CONFIG_ENUM)
		describe_enum(&text, option);
	else
		str_add(&text, types[option->type]);
	bool numeric = option->type == CONFIG_INT || option->type == CONFIG_SIZE ||
	               option->type == CONFIG_DURATION;
	if (numeric && has_bounds(option)) {
		str_add(&text, " from ");
		add_number(&text, option, option->min);
		str_add(&text, " to ");
		add_number(&text, option, option->max);
	}
	return str_take(&text);
}

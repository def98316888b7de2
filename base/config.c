/* SPDX-License-Identifier: Apache-2.0 */
/* Loading and reloading the configuration; the INI syntax is libinih's. */
#include "base/config.h"

#include <assert.h>
#include <errno.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/config_value.h"
#include "base/str.h"

#define FILE_BYTES_MAX (1 << 20)
#define LINE_BYTES_MAX 4096

static void *member_of(const struct config_option *option, void *target)
{
	return (char *)target + option->offset;
}

static const struct config_option *find_option(const struct config_table *table, const char *name)
{
	for (size_t i = 0; i < table->n_options; i++)
		if (strcmp(table->options[i].name, name) == 0)
			return &table->options[i];
	return NULL;
}

void config_release(const struct config_table *table, void *target)
{
	for (size_t i = 0; i < table->n_options; i++)
		config_value_release(&table->options[i], member_of(&table->options[i], target));
	memset(target, 0, table->size);
}

static void set_default(const struct config_option *option, void *member)
{
	bool is_text = option->type == CONFIG_STRING || option->type == CONFIG_PATH;
	if (!option->default_text && is_text)
		*(char **)member = xstrdup("");
	if (!option->default_text)
		return;
	int rc = config_value_parse(option, option->default_text, member, NULL);
	assert(rc == 0 && "the default is a good value");
	(void)rc;
}

static void set_defaults(const struct config_table *table, void *target)
{
	memset(target, 0, table->size);
	for (size_t i = 0; i < table->n_options; i++)
		set_default(&table->options[i], member_of(&table->options[i], target));
}

/* One file being read; libinih pulls lines through read_line and pushes values through on_value. */
struct reading {
	const struct config_table *table;
	const char *name; /* of the file, for messages */
	const char *text;
	size_t len, at;
	int line;
	void *target;
	bool *given; /* owned: per option */
	int rc;      /* of the first error */
	struct err *e;
};

static void refuse(struct reading *r, const char *format, ...)
        __attribute__((format(printf, 2, 3)));

static void refuse(struct reading *r, const char *format, ...)
{
	if (r->rc < 0)
		return;
	struct str why CLEANUP(str_done) = {0};
	va_list args;
	va_start(args, format);
	str_vprintf(&why, format, args);
	va_end(args);
	r->rc = err_set(r->e, ERR_INVALID, "%s, line %d: %s", r->name, r->line, str_text(&why));
}

/* fgets for libinih. Ends the file at the first error: libinih itself would go on, and it would
 * take the rest of a line that is too long for a line of its own. */
static char *read_line(char *line, int size, void *arg)
{
	struct reading *r = arg;
	if (r->rc < 0 || r->at == r->len)
		return NULL;
	r->line++;
	const char *start = r->text + r->at;
	const char *newline = memchr(start, '\n', r->len - r->at);
	size_t len = newline ? (size_t)(newline - start) + 1 : r->len - r->at;
	if (len + 2 > (size_t)size)
		refuse(r, "the line has more than %d bytes", size - 3);
	else if (memchr(start, '\0', len))
		refuse(r, "the line contains a NUL byte");
	if (r->rc < 0)
		return NULL;
	memcpy(line, start, len);
	line[len] = '\0';
	r->at += len;
	return line;
}

static int on_value(void *arg, const char *section, const char *key, const char *value)
{
	struct reading *r = arg;
	char *name CLEANUP(cleanup_free) =
	        section[0] ? str_format("%s.%s", section, key) : xstrdup(key);
	const struct config_option *option = find_option(r->table, name);
	if (!option) {
		refuse(r, "there is no option '%s'", name);
		return 0;
	}
	bool *given = &r->given[option - r->table->options];
	if (*given) {
		refuse(r, "'%s' is set twice", name);
		return 0;
	}
	*given = true;
	struct err why = {0};
	if (config_value_parse(option, value, member_of(option, r->target), &why) < 0)
		refuse(r, "'%s' %s", name, why.message);
	return r->rc == 0;
}

/* libinih's behaviour is set by globals: no continuation lines, and lines as long as ours. */
static int parse_ini(struct reading *r)
{
	ini_allow_multiline = false;
	ini_use_stack = false;
	ini_max_line = LINE_BYTES_MAX;
	ini_initial_alloc = LINE_BYTES_MAX;
	ini_stop_on_first_error = true;
	int bad_line = ini_parse_stream(read_line, r, on_value, r);
	if (bad_line != 0)
		refuse(r, "is neither [section] nor key = value nor a comment");
	return r->rc;
}

int config_load_text(const struct config_table *table, const char *name, const char *text,
        size_t len, void *target, struct err *e)
{
	bool *given CLEANUP(cleanup_free) = xcalloc(table->n_options, sizeof(bool));
	struct reading r = {.table = table,
	        .name = name,
	        .text = text,
	        .len = len,
	        .target = target,
	        .given = given,
	        .e = e};
	set_defaults(table, target);
	int rc = parse_ini(&r);
	if (rc < 0)
		config_release(table, target);
	return rc;
}

static int read_file(const char *path, char **ret_text, size_t *ret_len, struct err *e)
{
	FILE *file = fopen(path, "re");
	if (!file)
		return err_set_errno(e, errno, "cannot open %s", path);
	char *text CLEANUP(cleanup_free) = xcalloc(1, FILE_BYTES_MAX);
	size_t len = fread(text, 1, FILE_BYTES_MAX, file);
	int failed = ferror(file) ? errno : 0;
	fclose(file);
	if (failed)
		return err_set_errno(e, failed, "cannot read %s", path);
	if (len == FILE_BYTES_MAX)
		return err_set(
		        e, ERR_INVALID, "%s has more than %d bytes", path, FILE_BYTES_MAX - 1);
	*ret_text = TAKE(text);
	*ret_len = len;
	return 0;
}

int config_load(const struct config_table *table, const char *path, void *target, struct err *e)
{
	char *text CLEANUP(cleanup_free) = NULL;
	size_t len = 0;
	int rc = path ? read_file(path, &text, &len, e) : 0;
	if (rc < 0) {
		memset(target, 0, table->size);
		return rc;
	}
	return config_load_text(
	        table, path ? path : "the defaults", text ? text : "", len, target, e);
}

int config_set(const struct config_table *table, void *target, const char *name,
        const char *value_text, struct err *e)
{
	const struct config_option *option = find_option(table, name);
	if (!option)
		return err_set(e, ERR_INVALID, "there is no option '%s'", name);
	struct err why = {0};
	if (config_value_parse(option, value_text, member_of(option, target), &why) < 0)
		return err_set(e, ERR_INVALID, "'%s' %s", name, why.message);
	return 0;
}

static size_t value_size(const struct config_option *option)
{
	switch (option->type) {
	case CONFIG_BOOL:
		return sizeof(bool);
	case CONFIG_ENUM:
		return sizeof(int);
	case CONFIG_LIST:
		return sizeof(struct config_list);
	case CONFIG_STRING:
	case CONFIG_PATH:
		return sizeof(char *);
	case CONFIG_INT:
	case CONFIG_SIZE:
	case CONFIG_DURATION:
		break;
	}
	return sizeof(int64_t);
}

static void swap_bytes(void *a, void *b, size_t size)
{
	char kept[sizeof(struct config_list)];
	memcpy(kept, a, size);
	memcpy(a, b, size);
	memcpy(b, kept, size);
}

size_t config_reload(
        const struct config_table *table, void *current, void *fresh, const char **ret_kept)
{
	size_t n_kept = 0;
	for (size_t i = 0; i < table->n_options; i++) {
		const struct config_option *option = &table->options[i];
		void *now = member_of(option, current);
		void *next = member_of(option, fresh);
		if (option->flags & CONFIG_RELOADABLE)
			swap_bytes(now, next, value_size(option));
		else if (!config_value_equal(option, now, next))
			ret_kept[n_kept++] = option->name;
	}
	return n_kept;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Printing the option table: the example file and the man page's list. */
#include "base/config.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/config_value.h"

#define COMMENT_COLUMNS 90

/* Length of the section in "section.key", 0 for a flat key. */
static size_t section_len(const struct config_option *option)
{
	const char *dot = strchr(option->name, '.');
	return dot ? (size_t)(dot - option->name) : 0;
}

static const char *key_of(const struct config_option *option)
{
	size_t len = section_len(option);
	return len > 0 ? option->name + len + 1 : option->name;
}

static bool begins_section(const struct config_table *table, size_t i)
{
	size_t len = section_len(&table->options[i]);
	return i == 0 || section_len(&table->options[i - 1]) != len ||
	       memcmp(table->options[i - 1].name, table->options[i].name, len) != 0;
}

/* As one would write it; "" for empty texts and lists. */
static const char *default_of(const struct config_option *option)
{
	if (option->default_text)
		return option->default_text;
	switch (option->type) {
	case CONFIG_BOOL:
		return "false";
	case CONFIG_INT:
	case CONFIG_SIZE:
	case CONFIG_DURATION:
		return "0";
	case CONFIG_ENUM:
		return option->names[0];
	case CONFIG_STRING:
	case CONFIG_PATH:
	case CONFIG_LIST:
		break;
	}
	return "";
}

/* Fills lines of comment with words. */
static void print_comment(const char *text, FILE *out)
{
	size_t column = 0;
	while (*text) {
		size_t len = strcspn(text, " ");
		if (column > 0 && column + 1 + len > COMMENT_COLUMNS) {
			fputc('\n', out);
			column = 0;
		}
		fputs(column == 0 ? "# " : " ", out);
		fwrite(text, 1, len, out);
		column += len + (column == 0 ? 2 : 1);
		text += len + strspn(text + len, " ");
	}
	fputc('\n', out);
}

static void print_example_option(const struct config_option *option, FILE *out)
{
	char *wanted CLEANUP(cleanup_free) = config_value_describe(option);
	fputc('\n', out);
	print_comment(option->doc, out);
	fprintf(out, "# (%s; %s)\n#%s =%s%s\n", wanted,
	        option->flags & CONFIG_RELOADABLE ? "applied by a reload" : "needs a restart",
	        key_of(option), *default_of(option) ? " " : "", default_of(option));
}

void config_print_example(const struct config_table *table, FILE *out)
{
	fputs("# Every option is shown with its default. Remove the # to change one.\n", out);
	for (size_t i = 0; i < table->n_options; i++) {
		const struct config_option *option = &table->options[i];
		if (begins_section(table, i) && section_len(option) > 0)
			fprintf(out, "\n[%.*s]\n", (int)section_len(option), option->name);
		print_example_option(option, out);
	}
}

/* roff reads a leading dot or apostrophe as a request, a backslash as an escape. */
static void print_roff(const char *text, FILE *out)
{
	if (*text == '.' || *text == '\'')
		fputs("\\&", out);
	for (; *text; text++) {
		if (*text == '\\')
			fputs("\\e", out);
		else
			fputc(*text, out);
	}
}

static void print_man_option(const struct config_option *option, FILE *out)
{
	char *wanted CLEANUP(cleanup_free) = config_value_describe(option);
	fputs(".It Cm ", out);
	print_roff(key_of(option), out);
	fputc('\n', out);
	print_roff(option->doc, out);
	fprintf(out, "\nThe value is %s.\n", wanted);
	if (*default_of(option)) {
		fputs("The default is\n.Ql ", out);
		print_roff(default_of(option), out);
		fputs(" .\n", out);
	}
	if ((option->flags & CONFIG_RELOADABLE) == 0)
		fputs("A change needs a restart.\n", out);
}

void config_print_man(const struct config_table *table, FILE *out)
{
	for (size_t i = 0; i < table->n_options; i++) {
		const struct config_option *option = &table->options[i];
		if (begins_section(table, i)) {
			if (i > 0)
				fputs(".El\n", out);
			if (section_len(option) > 0)
				fprintf(out, ".Ss Section [%.*s]\n", (int)section_len(option),
				        option->name);
			fputs(".Bl -tag -width indent\n", out);
		}
		print_man_option(option, out);
	}
	if (table->n_options > 0)
		fputs(".El\n", out);
}

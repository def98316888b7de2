/* SPDX-License-Identifier: Apache-2.0 */
/* Field tables: looking up fields, collecting errors, releasing objects. Pure; any thread. */
#include "base/field.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

const struct field *field_find(const struct field_table *table, const char *name)
{
	for (size_t i = 0; i < table->n_fields; i++)
		if (strcmp(table->fields[i].name, name) == 0)
			return &table->fields[i];
	return NULL;
}

void field_errors_add(struct field_errors *errors, const char *code, const char *pointer,
        const char *detail_format, ...)
{
	if (errors->len >= FIELD_ERRORS_MAX)
		return;
	struct field_error *error = &errors->items[errors->len++];
	error->code = code;
	snprintf(error->pointer, sizeof(error->pointer), "%s", pointer);
	str_cut_utf8(error->pointer);
	va_list args;
	va_start(args, detail_format);
	vsnprintf(error->detail, sizeof(error->detail), detail_format, args);
	va_end(args);
	str_cut_utf8(error->detail);
}

static void visit_below(const struct field_table *table,
        void (*visit)(const struct field_table *table, void *arg), void *arg)
{
	for (size_t i = 0; i < table->n_fields; i++) {
		const struct field_table *sub = table->fields[i].sub;
		if (!sub)
			continue;
		if (sub->name)
			visit(sub, arg);
		visit_below(sub, visit, arg);
	}
}

void field_visit_tables(const struct field_table *table,
        void (*visit)(const struct field_table *table, void *arg), void *arg)
{
	visit(table, arg);
	visit_below(table, visit, arg);
}

static void release_strings(struct field_strings *strings)
{
	for (size_t i = 0; i < strings->len; i++)
		free(strings->items[i]);
	free(strings->items);
}

static void release_labels(struct field_labels *labels)
{
	for (size_t i = 0; i < labels->len; i++) {
		free(labels->items[i].key);
		free(labels->items[i].value);
	}
	free(labels->items);
}

static void release_list(const struct field *f, struct field_list *list)
{
	for (size_t i = 0; i < list->len; i++) {
		char *element = (char *)list->items + i * f->sub->size;
		if (f->type == FIELD_MAP) {
			char **name = (char **)(void *)element;
			free(*name);
			*name = NULL; /* the table may list the name as a field as well */
		}
		field_release(f->sub, element);
	}
	free(list->items);
}

static void release_member(const struct field *f, void *member)
{
	switch (f->type) {
	case FIELD_STRING:
	case FIELD_JSON:
		free(*(char **)member);
		*(char **)member = NULL;
		break;
	case FIELD_OBJECT:
		field_release(f->sub, member);
		break;
	case FIELD_STRINGS:
		release_strings(member);
		*(struct field_strings *)member = (struct field_strings){0};
		break;
	case FIELD_LABELS:
		release_labels(member);
		*(struct field_labels *)member = (struct field_labels){0};
		break;
	case FIELD_LIST:
	case FIELD_MAP:
		release_list(f, member);
		*(struct field_list *)member = (struct field_list){0};
		break;
	case FIELD_BOOL:
	case FIELD_INT:
	case FIELD_REAL:
	case FIELD_ENUM:
	case FIELD_TIME:
		break;
	}
}

void field_release(const struct field_table *table, void *object)
{
	for (size_t i = 0; i < table->n_fields; i++)
		release_member(&table->fields[i], (char *)object + table->fields[i].offset);
	memset(object, 0, table->size);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A typed configuration: a const table says once what options there are; from it come loading an
 * INI file into a struct, the commented example file, the man page's list and the rules of a reload.
 *
 * The C type behind each option type:
 *	CONFIG_BOOL      bool               true, false, yes, no, on, off
 *	CONFIG_INT       int64_t            decimal
 *	CONFIG_SIZE      int64_t bytes      512, 64K, 64KiB, 2M, 1G, 1T (powers of 1024)
 *	CONFIG_DURATION  int64_t ms         0, 500ms, 30s, 5m, 2h, 7d
 *	CONFIG_STRING    char * (owned, never NULL)
 *	CONFIG_PATH      char * (owned, never NULL)   absolute, or empty
 *	CONFIG_ENUM      int (index into names)
 *	CONFIG_LIST      struct config_list (owned)   separated by commas
 *
 * In the file, "section.key" is `key = value` below `[section]`; a flat key stands before any
 * section. Lines beginning with # or ; are comments, as is what follows " ;". Start-up and reload
 * only: one thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

enum config_type {
	CONFIG_BOOL,
	CONFIG_INT,
	CONFIG_SIZE,
	CONFIG_DURATION,
	CONFIG_STRING,
	CONFIG_PATH,
	CONFIG_ENUM,
	CONFIG_LIST,
};

enum config_flags {
	CONFIG_RELOADABLE = 1 << 0, /* a reload changes it; otherwise it takes a restart */
};

struct config_list {
	char **items; /* owned, each owned */
	size_t len;
};

struct config_option {
	const char *name; /* "section.key" or "key"; options of a section stand together */
	enum config_type type;
	unsigned flags;           /* enum config_flags */
	size_t offset;            /* of the member in the C struct */
	const char *default_text; /* as in the file; NULL: empty, 0, false */
	int64_t min, max;         /* of the number, or bytes of the text; 0,0: none (texts: 1024) */
	const char *const *names; /* CONFIG_ENUM, NULL-terminated */
	const char *doc;          /* one or two sentences */
};

struct config_table {
	const struct config_option *options;
	size_t n_options;
	size_t size; /* of the C struct */
};

#define CONFIG_TABLE(type, array)                                                                  \
	{                                                                                          \
		.options = array, .n_options = sizeof(array) / sizeof((array)[0]),                 \
		.size = sizeof(type)                                                               \
	}

/*
 * Fills `target` with the defaults and then the file's values (path NULL: defaults only). On an
 * error, naming file, line and key, `target` is zeroed and owns nothing. ERR_NOT_FOUND without the
 * file, ERR_INVALID for what is in it.
 */
int config_load(const struct config_table *table, const char *path, void *target, struct err *e);
/* The same from text; `name` stands for the file in messages. */
int config_load_text(const struct config_table *table, const char *name, const char *text,
        size_t len, void *target, struct err *e);
/* Sets one option, as the command line does. */
int config_set(const struct config_table *table, void *target, const char *name,
        const char *value_text, struct err *e);
/* Frees what the struct owns and zeroes it. */
void config_release(const struct config_table *table, void *target);

/*
 * Moves the reloadable options of `fresh` into `current`. Returns how many of the others differ,
 * which `current` keeps until a restart, with their names (borrowed) in ret_kept (room for
 * n_options). The caller still releases both.
 */
size_t config_reload(
        const struct config_table *table, void *current, void *fresh, const char **ret_kept);

/* Writes the example file: every option commented out, with its default. */
void config_print_example(const struct config_table *table, FILE *out);
/* Writes the options as an mdoc(7) list per section. */
void config_print_man(const struct config_table *table, FILE *out);

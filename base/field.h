/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Field tables: a const table says once what members a JSON object has, and from it come decoding
 * with validation (all errors at once, with JSON pointers), encoding, secret redaction and JSON
 * Schema.
 *
 * A table describes a C struct by offsets. The C type behind each field type:
 *	FIELD_BOOL      bool              FIELD_INT     int64_t        FIELD_REAL   double
 *	FIELD_STRING    char * (owned)    FIELD_ENUM    int (index into names)
 *	FIELD_TIME      int64_t wall ms   FIELD_OBJECT  the struct itself, embedded
 *	FIELD_STRINGS   struct field_strings            FIELD_LABELS  struct field_labels
 *	FIELD_LIST      struct field_list of elements described by `sub`
 *	FIELD_MAP       struct field_list whose elements' first member is `char *name` (the key)
 *	FIELD_JSON      char * (owned): any JSON value, kept as compact text
 * Whether an optional member was given is recorded where `present` points (offset of a bool), or
 * for FIELD_STRING by NULL; a default counts as given. A null value equals absence.
 * FIELD_STRINGS: min and max count elements, each is at most 4096 bytes. A positive min with max 0
 * is a lower bound alone. Texts without a check of their own are checked by field_check_text.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json_writer.h"

enum field_type {
	FIELD_BOOL,
	FIELD_INT,
	FIELD_REAL,
	FIELD_STRING,
	FIELD_ENUM,
	FIELD_TIME,
	FIELD_OBJECT,
	FIELD_STRINGS,
	FIELD_LABELS,
	FIELD_LIST,
	FIELD_MAP,
	FIELD_JSON,
};

enum field_flags {
	FIELD_REQUIRED = 1 << 0,  /* must be in a create */
	FIELD_READ_ONLY = 1 << 1, /* in answers only; in a write it is an error */
	FIELD_SECRET = 1 << 2,    /* never encoded for answers (writeOnly in the schema) */
	FIELD_IMMUTABLE = 1 << 3, /* may be given at creation only; the caller compares */
	FIELD_NULLABLE = 1 << 4,  /* encoded as null when unset instead of left out */
	FIELD_FILTER = 1 << 5,    /* a list may be filtered on it */
	FIELD_SORT = 1 << 6,      /* and sorted by it */
};

/* Checks text; returns NULL if fine, else what is wrong ("must ..."). Pure. */
typedef const char *(*field_check)(const char *text);

struct field_table;

struct field {
	const char *name;
	enum field_type type;
	unsigned flags;   /* enum field_flags */
	size_t offset;    /* of the member in the C struct */
	size_t present;   /* offset of a bool that is set when given; 0: none */
	int64_t min, max; /* FIELD_INT bounds; bytes for strings; elements for lists (0,0: default
	                     bounds: any int64 / 0..1024 bytes / 0..256 elements) */
	double real_min, real_max;     /* FIELD_REAL */
	const char *default_text;      /* JSON text of the default, or NULL: zero */
	const char *const *names;      /* FIELD_ENUM, NULL-terminated */
	field_check check;             /* FIELD_STRING, each of FIELD_STRINGS, keys of FIELD_MAP */
	const char *format;            /* for the schema: pattern or format of the check, or NULL */
	const struct field_table *sub; /* FIELD_OBJECT, FIELD_LIST, FIELD_MAP */
	const char *doc;               /* one sentence, with the unit */
};

/* A table names itself for OpenAPI's components. */
struct field_table {
	const char *name; /* "Vm", "VmDisk"; NULL: inlined */
	size_t size;      /* of the C struct */
	const struct field *fields;
	size_t n_fields;
};

#define FIELD_TABLE(schema_name, type, array)                                                      \
	{                                                                                          \
		.name = schema_name, .size = sizeof(type), .fields = array,                        \
		.n_fields = sizeof(array) / sizeof((array)[0])                                     \
	}

struct field_strings {
	char **items; /* owned, each owned */
	size_t len;
};

struct field_label {
	char *key, *value; /* owned */
};

struct field_labels {
	struct field_label *items; /* owned, sorted by key */
	size_t len;
};

struct field_list {
	void *items; /* owned: len elements of sub->size bytes; maps are sorted by name */
	size_t len;
};

/* One thing wrong with the input. */
struct field_error {
	char pointer[160];
	const char *code; /* unknown_member, missing, read_only, wrong_type, out_of_range, too_long,
	                     bad_value, too_many, duplicate */
	char detail[200];
};

#define FIELD_ERRORS_MAX 64

/* All of them, up to FIELD_ERRORS_MAX. Zero-initialise; plain value, nothing to free. */
struct field_errors {
	struct field_error items[FIELD_ERRORS_MAX];
	size_t len;
};

enum field_decode_mode {
	FIELD_DECODE_CREATE, /* required members must be there, defaults are filled in */
	FIELD_DECODE_PATCH,  /* nothing is required, no defaults: only what is given is set */
	FIELD_DECODE_STORED, /* our own earlier encoding: read-only members and secrets are
	                        accepted; bounds are trusted, unknown members skipped, defaults
	                        filled in */
};

/* Adds an error; `pointer` printf-like. Beyond the maximum it is dropped. */
void field_errors_add(struct field_errors *errors, const char *code, const char *pointer,
        const char *detail_format, ...) __attribute__((format(printf, 4, 5)));

/*
 * Decodes `value` into `object` (zeroed by the caller; on errors it may be half filled and must
 * still be released with field_release). Returns 0, or ERR_INVALID with at least one error added.
 */
int field_decode(const struct field_table *table, json_t *value, enum field_decode_mode mode,
        void *object, struct field_errors *errors);

enum field_encode_mode {
	FIELD_ENCODE_ANSWER, /* without secrets */
	FIELD_ENCODE_STORE,  /* with secrets, without read-only members; decodes with _STORED */
};

/* Writes a JSON object with all members that are set. */
void field_encode(const struct field_table *table, const void *object, enum field_encode_mode mode,
        struct json_writer *w);
/* Writes only the members, into an object the caller has begun. */
void field_encode_members(const struct field_table *table, const void *object,
        enum field_encode_mode mode, struct json_writer *w);
/* Frees everything the object owns and zeroes it. */
void field_release(const struct field_table *table, void *object);
/* Writes the JSON Schema (draft 2020-12) of the table; named sub-tables as $ref to
 * #/components/schemas/NAME. */
void field_schema(const struct field_table *table, struct json_writer *w);
/* Calls back for the table and each named table below it, each once per call (caller dedups). */
void field_visit_tables(const struct field_table *table,
        void (*visit)(const struct field_table *table, void *arg), void *arg);
const struct field *field_find(const struct field_table *table, const char *name);

/*
 * Parses a request body: UTF-8 JSON, no duplicate keys, no NUL, depth <= 32, an object at the top.
 * Returns a new reference in *ret_value. ERR_MALFORMED with the position otherwise.
 */
int field_parse_json(const char *text, size_t len, json_t **ret_value, struct err *e);
/* For CLEANUP: gives a local's reference back. */
static inline void cleanup_json(json_t **json)
{
	json_decref(*json);
}
/* Applies an RFC 7396 merge patch; returns a new reference (never NULL). */
json_t *field_merge_patch(json_t *target, json_t *patch);

struct field_change {
	char pointer[160];
	json_t *before, *after; /* owned references; NULL: absent */
};
struct field_changes {
	struct field_change *items; /* owned */
	size_t len;
};
/* Lists the leaves (and whole map entries) in which two JSON objects differ, sorted by pointer. */
void field_diff(json_t *before, json_t *after, struct field_changes *ret_changes);
void field_changes_done(struct field_changes *changes);

/* Common checks. */
const char *field_check_name(const char *text);  /* ^[a-z][a-z0-9-]{0,62}$, not UUID-shaped */
const char *field_check_label(const char *text); /* key or value: printable, <= 128 bytes */
const char *field_check_text(const char *text);  /* no control characters except newline and tab */

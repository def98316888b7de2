/* SPDX-License-Identifier: Apache-2.0 */
/* What the API says of images. Pure. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "storage/image.h"

#define TIB ((int64_t)1 << 40)

const char *const image_firmware_names[] = {"any", "bios", "uefi", NULL};
static const char *const state_names[] = {
        "uploading", "importing", "ready", "failed", "deleting", NULL};

static const char *check_digest(const char *text)
{
	static const char wrong[] = "must be \"sha256:\" and 64 hexadecimal digits";
	if (!str_starts_with(text, "sha256:") || strlen(text) != 7 + 64)
		return wrong;
	for (const char *p = text + 7; *p; p++)
		if (!isxdigit((unsigned char)*p))
			return wrong;
	return NULL;
}

/* As an architecture or a user name is written. */
static const char *check_word(const char *text)
{
	for (const char *p = text; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("._-", *p))
			return "must consist of letters, digits, dots, underscores and hyphens";
	return NULL;
}

#define OS(member) .offset = offsetof(struct image_os, member)
static const struct field os_fields[] = {
        {.name = "name", .type = FIELD_STRING, OS(name), .max = 64, .doc = "As in \"debian\""},
        {.name = "version", .type = FIELD_STRING, OS(version), .max = 64, .doc = "As in \"12\""},
};
static const struct field_table os_table = FIELD_TABLE("ImageOs", struct image_os, os_fields);

#define OF(member) .offset = offsetof(struct image_spec, member)
#define NAME_FIELD                                                                                 \
	{                                                                                          \
		.name = "name", .type = FIELD_STRING, OF(name), .flags = FIELD_REQUIRED,           \
		.max = 63, .check = field_check_name, .format = "^[a-z][a-z0-9-]{0,62}$",          \
		.doc = "Unique name"                                                               \
	}
#define META_FIELDS                                                                                \
	{.name = "description",                                                                    \
	        .type = FIELD_STRING,                                                              \
	        OF(description),                                                                   \
	        .max = 1024,                                                                       \
	        .doc = "What it is"},                                                              \
	        {.name = "labels",                                                                 \
	                .type = FIELD_LABELS,                                                      \
	                OF(labels),                                                                \
	                .max = 64,                                                                 \
	                .doc = "Keys and values of your own"},                                     \
	        {.name = "os",                                                                     \
	                .type = FIELD_OBJECT,                                                      \
	                OF(os),                                                                    \
	                .sub = &os_table,                                                          \
	                .doc = "The operating system in it"},                                      \
	        {.name = "architecture",                                                           \
	                .type = FIELD_STRING,                                                      \
	                OF(architecture),                                                          \
	                .max = 16,                                                                 \
	                .check = check_word,                                                       \
	                .default_text = "\"x86_64\"",                                              \
	                .doc = "Of the VMs that can run it"},                                      \
	        {.name = "firmware",                                                               \
	                .type = FIELD_ENUM,                                                        \
	                OF(firmware),                                                              \
	                .names = image_firmware_names,                                             \
	                .default_text = "\"any\"",                                                 \
	                .doc = "What it boots by"},                                                \
	        {.name = "min_memory_bytes",                                                       \
	                .type = FIELD_INT,                                                         \
	                OF(min_memory_bytes),                                                      \
	                .min = 0,                                                                  \
	                .max = 16 * TIB,                                                           \
	                .doc = "A VM needs at least so much memory, in bytes; 0: not known"},      \
	        {.name = "vm_defaults",                                                            \
	                .type = FIELD_JSON,                                                        \
	                OF(vm_defaults),                                                           \
	                .max = 65536,                                                              \
	                .doc = "Members of VmWrite that a VM made by POST /images/{image}/vms "    \
	                       "begins with"},                                                     \
	{                                                                                          \
		.name = "default_user", .type = FIELD_STRING, OF(default_user), .max = 32,         \
		.check = check_word, .doc = "The user that cloud-init sets up in it"               \
	}
#define FORMAT_FIELD                                                                               \
	{                                                                                          \
		.name = "format", .type = FIELD_ENUM, OF(format),                                  \
		.present = offsetof(struct image_spec, has_format), .names = image_format_names,   \
		.doc = "What is uploaded; needed for raw, found out otherwise"                     \
	}
#define SOURCE_FIELDS                                                                              \
	{.name = "url",                                                                            \
	        .type = FIELD_STRING,                                                              \
	        OF(url),                                                                           \
	        .max = 2048,                                                                       \
	        .doc = "Fetched from there (http or https); without it the content is uploaded"},  \
	        {.name = "digest",                                                                 \
	                .type = FIELD_STRING,                                                      \
	                OF(digest),                                                                \
	                .max = 71,                                                                 \
	                .check = check_digest,                                                     \
	                .format = "^sha256:[0-9a-fA-F]{64}$",                                      \
	                .doc = "What the content must have: sha256:HEX"},                          \
	{                                                                                          \
		.name = "max_bytes", .type = FIELD_INT, OF(max_bytes), .min = 0, .max = 256 * TIB, \
		.doc = "The content may have at most so many bytes; 0: the daemon's own limit"     \
	}

static const struct field write_fields[] = {NAME_FIELD, META_FIELDS, FORMAT_FIELD, SOURCE_FIELDS};
const struct field_table image_write_fields =
        FIELD_TABLE("ImageWrite", struct image_spec, write_fields);

static const struct field config_fields[] = {META_FIELDS, FORMAT_FIELD, SOURCE_FIELDS};
const struct field_table image_config_fields =
        FIELD_TABLE("ImageConfig", struct image_spec, config_fields);

static const struct field meta_fields[] = {META_FIELDS};
static const struct field_table meta_table = FIELD_TABLE(NULL, struct image_spec, meta_fields);

/* Described for readers of the API, written by image_encode. */
#define READ_ONLY .flags = FIELD_READ_ONLY
static const struct field answer_fields[] = {
        {.name = "id", .type = FIELD_STRING, READ_ONLY, .doc = "UUID"},
        {.name = "name", .type = FIELD_STRING, OF(name), .doc = "Unique name"},
        META_FIELDS,
        {.name = "state",
                .type = FIELD_ENUM,
                .names = state_names,
                READ_ONLY,
                .doc = "uploading: its content is awaited; ready: VMs can be made from it"},
        {.name = "reason", .type = FIELD_STRING, READ_ONLY, .doc = "Why it failed"},
        {.name = "format",
                .type = FIELD_STRING,
                .flags = FIELD_READ_ONLY | FIELD_NULLABLE,
                .doc = "Of what was uploaded: qcow2, raw, vmdk, vdi, ova"},
        {.name = "url",
                .type = FIELD_STRING,
                .flags = FIELD_READ_ONLY | FIELD_NULLABLE,
                .doc = "Where it came from; a query in it is not shown"},
        {.name = "digest",
                .type = FIELD_STRING,
                .flags = FIELD_READ_ONLY | FIELD_NULLABLE,
                .doc = "What its content must have"},
        {.name = "sha256",
                .type = FIELD_STRING,
                .flags = FIELD_READ_ONLY | FIELD_NULLABLE,
                .doc = "Of what was uploaded, hexadecimal"},
        {.name = "size_bytes", .type = FIELD_INT, READ_ONLY, .doc = "Size as guests see it"},
        {.name = "file_bytes", .type = FIELD_INT, READ_ONLY, .doc = "What it takes in the library"},
        {.name = "max_bytes", .type = FIELD_INT, READ_ONLY, .doc = "Limit of its own; 0: none"},
        {.name = "received_bytes",
                .type = FIELD_INT,
                READ_ONLY,
                .doc = "How much of the upload is there: it goes on from here"},
        {.name = "total_bytes",
                .type = FIELD_INT,
                READ_ONLY,
                .doc = "Size of what is uploaded; 0: not told yet"},
        {.name = "warnings",
                .type = FIELD_STRINGS,
                READ_ONLY,
                .doc = "What should be known before it is trusted"},
        {.name = "created_at", .type = FIELD_TIME, READ_ONLY, .doc = "Time of creation"},
        {.name = "version", .type = FIELD_INT, READ_ONLY, .doc = "Counts changes"},
};
const struct field_table image_fields = FIELD_TABLE("Image", struct image_spec, answer_fields);

void image_spec_done(struct image_spec *spec)
{
	field_release(&image_write_fields, spec);
}

void image_row_done(struct image_row *row)
{
	image_spec_done(&row->spec);
	free(row->reason);
	*row = (struct image_row){0};
}

int image_spec_load(const char *stored, struct image_spec *ret_spec, struct err *e)
{
	struct field_errors errors = {0};
	json_t *json CLEANUP(cleanup_json) = json_loads(stored, 0, NULL);
	if (!json)
		return err_set(e, ERR_INTERNAL, "a stored image is not JSON");
	int rc = field_decode(&image_config_fields, json, FIELD_DECODE_STORED, ret_spec, &errors);
	if (rc < 0)
		return err_set(e, ERR_INTERNAL, "a stored image is invalid at %s: %s",
		        errors.items[0].pointer, errors.items[0].detail);
	return 0;
}

/* A query may hold a key to what is fetched. */
static void encode_url(const char *url, struct json_writer *w)
{
	const char *query = url ? strpbrk(url, "?#") : NULL;
	if (!query) {
		json_member_string(w, "url", url);
		return;
	}
	char *shown CLEANUP(cleanup_free) = str_format("%.*s?...", (int)(query - url), url);
	json_member_string(w, "url", shown);
}

static void encode_warnings(const struct image_row *row, struct json_writer *w)
{
	json_key(w, "warnings");
	json_array_begin(w);
	if (row->spec.url && !row->spec.digest)
		json_put_string(w, "it was fetched without a digest: nobody has checked that it is "
		                   "what its publisher made");
	json_array_end(w);
}

static const char *null_if_empty(const char *text)
{
	return str_is_empty(text) ? NULL : text;
}

static const char *shown_format(const struct image_row *row)
{
	if (row->source_format[0])
		return row->source_format;
	return row->spec.has_format ? image_format_names[row->spec.format] : NULL;
}

void image_encode(const struct image_row *row, struct json_writer *w)
{
	json_object_begin(w);
	json_member_string(w, "id", row->id);
	json_member_string(w, "name", row->spec.name);
	field_encode_members(&meta_table, &row->spec, FIELD_ENCODE_ANSWER, w);
	json_member_string(w, "state", row->state);
	json_member_string(w, "reason", row->reason ? row->reason : "");
	json_member_string(w, "format", shown_format(row));
	encode_url(row->spec.url, w);
	json_member_string(w, "digest", row->spec.digest);
	json_member_string(w, "sha256", null_if_empty(row->sha256));
	json_member_int(w, "size_bytes", row->size_bytes);
	json_member_int(w, "file_bytes", row->file_bytes);
	json_member_int(w, "max_bytes", row->spec.max_bytes);
	json_member_int(w, "received_bytes", row->received_bytes);
	json_member_int(w, "total_bytes", row->total_bytes);
	encode_warnings(row, w);
	json_member_time(w, "created_at", row->created_at);
	json_member_int(w, "version", row->version);
	json_object_end(w);
}
